/**
 * Reads what the control plane answers. Requests are strict on both sides; answers are not: a node or a command that is older
 * than the control plane leaves out the fields that it does not know, so that the control plane can be upgraded first.
 */

import { z } from 'zod'

import { decodeMessage } from './messages.ts'
import { functionResultSchema, planSchema, type FunctionResult, type Plan } from './plan.ts'

/** Each pass may bring to light unknown fields that were hidden behind others, in unions. */
const passesMax = 8

/** Like `safeParse`, but fields that a strict schema does not know are left out. Costs nothing where there are none. */
export function readAnswer<T>(schema: z.ZodType<T>, answer: unknown): z.ZodSafeParseResult<T> {
  let parsed = schema.safeParse(answer)
  let known = answer
  for (let pass = 0; pass < passesMax && !parsed.success; pass += 1) {
    const unknown = unknownFields(parsed.error.issues)
    if (unknown.length === 0) return parsed
    if (known === answer) known = structuredClone(answer)
    for (const path of unknown) drop(known, path)
    parsed = schema.safeParse(known)
  }
  return parsed
}

/** Like `decodeMessage`, for what the control plane sends. */
export function decodeAnswer<T>(schema: z.ZodType<T>, payload: Uint8Array | string): T | null {
  const answer = decodeMessage(z.unknown(), payload)
  return readAnswer(schema, answer).data ?? null
}

type Issue = z.core.$ZodIssue
type Path = readonly PropertyKey[]

function unknownFields(issues: readonly Issue[], above: Path = []): Path[] {
  return issues.flatMap((issue) => {
    const path = [...above, ...issue.path]
    if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => [...path, key])
    if (issue.code !== 'invalid_union') return []
    // Of a union the alternative that would do but for fields it does not know.
    const nearly = issue.errors.find(
      (option) => option.length > 0 && option.every((one) => one.code === 'unrecognized_keys'),
    )
    return nearly === undefined ? [] : unknownFields(nearly, path)
  })
}

function drop(value: unknown, path: Path): void {
  let holder = value
  for (const key of path.slice(0, -1)) holder = (holder as Record<PropertyKey, unknown>)[key]
  const last = path.at(-1)
  if (last !== undefined) delete (holder as Record<PropertyKey, unknown>)[last]
}

/** An action that this version cannot read: of a kind it does not know, or with values it does not know. */
export interface UnreadAction {
  /** Its kind, as far as it has one. */
  readonly action: string
  /** The function or route it is about; what the node has under this name stays as it is. */
  readonly subject: string | null
  /** For a function: that it failed, to be reported. */
  readonly result: FunctionResult | null
}

/** A plan without what could not be read of it. */
export type PlanAsRead = Plan & { readonly unread?: readonly UnreadAction[] }

/** Reads a plan: actions that this version does not understand are put aside, and the rest is done without them. */
export function readPlan(answer: unknown): z.ZodSafeParseResult<PlanAsRead> {
  const whole = readAnswer(planSchema, answer)
  if (whole.success) return whole
  const head = readAnswer(planSchema.extend({ actions: z.array(z.unknown()) }), answer)
  if (!head.success) return whole
  const actions: Plan['actions'] = []
  const unread: UnreadAction[] = []
  for (const action of head.data.actions) {
    const read = readAnswer(planSchema.shape.actions.element, action)
    if (read.success) actions.push(read.data)
    else unread.push(unreadAction(action))
  }
  return { success: true, data: { ...head.data, actions, unread } }
}

const kindSchema = z.object({ action: z.string().min(1).max(100) })
const subjectSchema = z.union([
  z
    .object({ function: z.object({ function_id: z.string() }) })
    .transform((it) => it.function.function_id),
  z.object({ route: z.object({ route_id: z.string() }) }).transform((it) => it.route.route_id),
])
const deployedSchema = z.object({
  function: functionResultSchema
    .pick({ function_id: true, version: true, deployment_id: true })
    .strip(),
})

function unreadAction(action: unknown): UnreadAction {
  const kind = kindSchema.safeParse(action).data?.action ?? 'unknown'
  const subject = subjectSchema.safeParse(action).data ?? null
  const deployed = deployedSchema.safeParse(action)
  if (kind !== 'put_function' || !deployed.success) return { action: kind, subject, result: null }
  const error = {
    code: 'unsupported',
    message: 'This version of edgefn on the node cannot read what the control plane asks of it.',
  }
  return { action: kind, subject, result: { ...deployed.data.function, state: 'failed', error } }
}
