/** What the agent asks of a compile process, on its command line, and what it answers, as one JSON line on stdout. */

import { z } from 'zod'

import { sha256Schema } from '../../protocol/ids.ts'
import { compileLevelSchema, stopModeSchema } from '../compiled.ts'

export const compileJobSchema = z.discriminatedUnion('kind', [
  /** Rewrites and compiles the artifact at `source` into `output`. */
  z.strictObject({
    kind: z.literal('module'),
    source: z.string(),
    sha256: sha256Schema,
    level: compileLevelSchema,
    stop_mode: stopModeSchema,
    output: z.string(),
    cpu_seconds_max: z.int().min(1),
  }),
  /** Proves that guests can be stopped on this machine in one of the ways, and leaves the compiled holder at `output`. */
  z.strictObject({
    kind: z.literal('self_test'),
    stop_mode: stopModeSchema,
    output: z.string(),
    cpu_seconds_max: z.int().min(1),
  }),
])
export type CompileJob = z.infer<typeof compileJobSchema>

export const compileAnswerSchema = z.discriminatedUnion('ok', [
  z.strictObject({
    ok: z.literal(true),
    /** Version of libwasmedge. */
    engine: z.string(),
    /** REWRITER_VERSION of the program that did it, which may have been replaced since the agent was started. */
    rewriter: z.int(),
    /** How often the module was compiled until all frames were within what the rewriting reckoned with. */
    rounds: z.int().min(1),
  }),
  z.strictObject({ ok: z.literal(false), error: z.string() }),
])
export type CompileAnswer = z.infer<typeof compileAnswerSchema>
