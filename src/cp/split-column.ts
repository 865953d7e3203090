/** A split in a column of the database: deployments and assignments have one. */

import { type SplitView, splitViewSchema } from '../protocol/split.ts'

export function writeSplit(split: SplitView | null): string | null {
  return split === null ? null : JSON.stringify(split)
}

export function readSplit(column: unknown): SplitView | null {
  return typeof column === 'string' ? splitViewSchema.parse(JSON.parse(column)) : null
}
