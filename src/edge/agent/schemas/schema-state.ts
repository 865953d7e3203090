/** What a node knows of the schemas of its functions: pure, part of the desired state. Values are never mutated. */

import { z } from 'zod'

import type { Plan } from '../../../protocol/plan.ts'
import type { PlanSchema, SchemaResult } from '../../../protocol/schemas.ts'
import { schemaBodySchema } from '../../../protocol/schemas.ts'
import type { SqlAnswer } from '../../../sql/job.ts'

const schemaEntrySchema = z.strictObject({
  ...schemaBodySchema.shape,
  state: z.enum(['pending', 'applied', 'failed']),
  error: z.strictObject({ code: z.string(), message: z.string() }).nullable(),
})
export type SchemaEntry = z.infer<typeof schemaEntrySchema>

/** The schemas of one function by their numbers. */
export const schemaSetSchema = z.array(schemaEntrySchema)
export type SchemaSet = readonly SchemaEntry[]
export type SchemaSets = ReadonlyMap<string, SchemaSet>

/**
 * The set with a schema of a plan in it. One that is there already keeps its state, but is tried again when it failed; with another
 * text under its number it is for the database to say that this one was applied.
 */
export function putSchema(set: SchemaSet, { number, sha256, sql }: PlanSchema): SchemaSet {
  const known = set.find((entry) => entry.number === number)
  if (known?.sha256 === sha256 && known.state !== 'failed') return set
  const entry: SchemaEntry = { number, sha256, sql, state: 'pending', error: null }
  return [...set.filter((other) => other.number !== number), entry].sort(
    (a, b) => a.number - b.number,
  )
}

/** What a full plan leaves of the sets: it names every schema that is to be. */
export function keepNamed(sets: SchemaSets, plan: Plan): Map<string, SchemaSet> {
  const named = new Set<string>()
  for (const action of plan.actions) {
    if (action.action === 'put_schema') named.add(nameOf(action.schema.function_id, action.schema))
  }
  const kept = new Map<string, SchemaSet>()
  for (const [functionId, set] of sets) {
    const entries = set.filter((entry) => named.has(nameOf(functionId, entry)))
    if (entries.length > 0) kept.set(functionId, entries.length === set.length ? set : entries)
  }
  return kept
}

function nameOf(functionId: string, { number }: { readonly number: number }): string {
  return `${functionId}/${number}`
}

/** The set after a try: those that it told of, up to the first that failed; nothing is known of the others. */
export function settleSet(set: SchemaSet, answers: readonly SqlAnswer[]): SchemaSet {
  const byNumber = new Map(answers.map((answer) => [answer.number, answer]))
  return set.map((entry) => {
    const answer = byNumber.get(entry.number)
    if (answer === undefined) return entry
    const { error } = answer
    return { ...entry, state: error === null ? 'applied' : 'failed', error }
  })
}

/** The set when the database is gone: everything is to be applied again. */
export function startOver(set: SchemaSet): SchemaSet {
  return set.map((entry) => ({ ...entry, state: 'pending', error: null }))
}

export function isApplied(set: SchemaSet): boolean {
  return set.every(({ state }) => state === 'applied')
}

/** The first that failed; those after it wait. */
export function failureOf(set: SchemaSet): SchemaEntry | null {
  return set.find(({ state }) => state === 'failed') ?? null
}

/** What there is to report of schemas, from the state before to the one after. */
export function schemaResults(before: SchemaSets, after: SchemaSets): SchemaResult[] {
  const results: SchemaResult[] = []
  for (const [functionId, set] of after) {
    const earlier = before.get(functionId)
    if (earlier === set) continue
    for (const { number, state, error } of set) {
      const known = earlier?.find((entry) => entry.number === number)
      const isNews = known?.state !== state || known.error?.message !== error?.message
      if (state === 'pending' || !isNews) continue
      const function_id = functionId as SchemaResult['function_id']
      results.push({ function_id, number, state, error })
    }
  }
  return results
}
