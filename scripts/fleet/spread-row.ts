/** A row of a table: what was measured round by round, by its least, middle and greatest value. */

import { spread } from '../benchmarks/statistics.ts'
import { figure } from '../benchmarks/table.ts'

export function spreadRow(
  name: string,
  values: readonly number[],
  show: (value: number) => string = figure,
): readonly string[] {
  const { min, median, max } = spread(values)
  return [name, show(min), show(median), show(max)]
}
