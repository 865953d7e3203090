/** Referees of ingest and rewriter: wabt and this runtime's engine judge what edgefn accepts, and what its rewriting does. */

import { EdgefnError } from '../../src/errors.ts'
import { LIMITS } from '../../src/protocol/limits.ts'
import { decodeModule } from '../../src/wasm/decode.ts'
import type { WasmModule } from '../../src/wasm/module.ts'
import { normaliseModule } from '../../src/wasm/normalise.ts'
import { safeguardForCompiler, safeguardModule } from '../../src/wasm/rewrite/safeguard.ts'
import { validateAll } from '../wasm/wabt.ts'
import { observe } from './execution.ts'
import type { Observation } from './execution.ts'
import { randomModule } from './random-module.ts'
import { below, randomOf } from './random.ts'

type Bytes = Uint8Array<ArrayBuffer>

/** As in service, and so few that the few recursions of a random module are enough to use them up. */
const bytesInService = LIMITS.stackBytesMax
const bytesFew = 2_000

/** What became of one seed. `problems` is empty unless edgefn is at fault. */
export interface Verdict {
  readonly problems: readonly string[]
  readonly accepted: boolean
  /** Whether the interpreter gets another form of it. */
  readonly rewritten: boolean
  readonly calls: number
  /** Calls that ended for want of stack when there was little of it; both forms must agree on them. */
  readonly overflown: number
}

function decoded(bytes: Bytes): WasmModule | null {
  try {
    return decodeModule(bytes)
  } catch (thrown) {
    if (thrown instanceof EdgefnError) return null
    throw thrown
  }
}

/** What ingest takes of a module, before its rules about exports and imports. */
function ingested(bytes: Bytes): { module: WasmModule; normalised: Bytes } | null {
  const module = decoded(bytes)
  if (module === null) return null
  const normalised = normaliseModule(module)
  return WebAssembly.validate(normalised) ? { module, normalised } : null
}

/** A module as it runs, or only as it must be valid: with polls it runs nowhere but in service. */
interface Form {
  readonly what: string
  readonly bytes: Bytes
  readonly runs: boolean
}

/** All that the rewriter makes of a module. */
export function formsOf(normalised: Bytes, stackBytes: number): Form[] {
  const module = decodeModule(normalised)
  const interpreted = safeguardModule(module, stackBytes)
  const compiled = (polls: boolean) =>
    safeguardForCompiler(module, { stackBytes, measured: null, polls }).bytes
  return [
    ...(interpreted === null ? [] : [{ what: 'interpreted', bytes: interpreted, runs: true }]),
    { what: 'compiled', bytes: compiled(false), runs: true },
    { what: 'compiled with polls', bytes: compiled(true), runs: false },
  ]
}

/** Bytes changed, put in and taken out, at one to three places behind the header. */
function mutated(bytes: Bytes, random: () => number): Bytes {
  const out = [...bytes]
  for (let edits = 1 + below(random, 3); edits > 0; edits -= 1) {
    const at = 8 + below(random, Math.max(out.length - 8, 1))
    const kind = below(random, 3)
    if (kind === 0) out[at] = below(random, 256)
    else if (kind === 1) out.splice(at, 0, below(random, 256))
    else out.splice(at, 1)
  }
  return Uint8Array.from(out)
}

/** Judges the random module of a seed, and one mutation of it. */
export async function judge(seed: number): Promise<Verdict> {
  const bytes = randomModule(seed)
  const mutant = mutated(bytes, randomOf(seed))
  const problems = [...overAcceptance('the module', bytes), ...overAcceptance('the mutant', mutant)]
  const taken = ingested(bytes)
  if (taken === null) return { problems, accepted: false, rewritten: false, calls: 0, overflown: 0 }
  const { module, normalised } = taken
  const names = module.exports.filter(({ kind }) => kind === 'function').map(({ name }) => name)
  const before = await observe(bytes, names, seed)
  const forms = formsOf(normalised, bytesInService)
  problems.push(...invalidForms([normalised, ...forms.map((form) => form.bytes)]))
  for (const { what, bytes: form } of forms.filter(({ runs }) => runs)) {
    const after = await observe(form, names, seed)
    problems.push(...differences(before, after, bytesInService).map((each) => `${what}: ${each}`))
  }
  const withLittle: { what: string; after: Observation[] }[] = []
  for (const { what, bytes: form } of formsOf(normalised, bytesFew).filter(({ runs }) => runs)) {
    const after = await observe(form, names, seed)
    const found = differencesUnlessOverflown(before, after)
    problems.push(...found.map((each) => `${what}, little stack: ${each}`))
    withLittle.push({ what, after })
  }
  const [first, second] = withLittle
  if (first !== undefined && second !== undefined) {
    const found = differences(first.after, second.after, bytesFew)
    problems.push(...found.map((each) => `${first.what} and ${second.what}, little stack: ${each}`))
  }
  const overflown = withLittle.at(-1)?.after.filter((each) => each.overflown).length ?? 0
  return {
    problems: problems.map((problem) => `seed ${seed}: ${problem}`),
    accepted: true,
    rewritten: forms.some(({ what }) => what === 'interpreted'),
    calls: names.length,
    overflown,
  }
}

/** What edgefn takes, wabt must take. */
function overAcceptance(what: string, bytes: Bytes): string[] {
  if (ingested(bytes) === null) return []
  const [answer] = validateAll([bytes])
  return answer?.ok === true ? [] : [`wabt refuses ${what}: ${answer?.output.trim()}`]
}

/** What edgefn makes of a valid module must be valid, for wabt and for this runtime. */
export function invalidForms(forms: readonly Bytes[]): string[] {
  const judged = validateAll(forms)
  return forms.flatMap((bytes, at) => {
    const found = judged[at]?.ok === true ? [] : [`wabt: ${judged[at]?.output.trim()}`]
    return WebAssembly.validate(bytes) ? found : [...found, 'this runtime finds it invalid']
  })
}

/** Both forms must show the same, and give back all of the stack. */
function differences(
  before: readonly Observation[],
  after: readonly Observation[],
  stackBytes: number,
): string[] {
  return before.flatMap((first, at) => {
    const second = after[at]
    if (second === undefined) return [`${first.call} was not made again`]
    if (second.depth !== null && second.depth !== stackBytes) {
      return [`${first.call} left ${second.depth} of ${stackBytes} bytes of stack`]
    }
    const [was, is] = [first, second].map((each) => JSON.stringify({ ...each, depth: null }))
    return was === is ? [] : [`before ${was}, after ${is}`]
  })
}

/** With little stack a call may end early, by the counter's own trap, and in no other way. */
function differencesUnlessOverflown(
  before: readonly Observation[],
  after: readonly Observation[],
): string[] {
  const kept = after.map((each) => !each.overflown)
  return differences(
    before.filter((_, at) => kept[at]),
    after.filter((_, at) => kept[at]),
    bytesFew,
  )
}
