/** Runs a random module in this runtime's own engine and writes down all that can be seen of it, to compare two forms of it. */

import { DEPTH_EXPORT } from '../../src/wasm/rewrite/depth.ts'
import { START_EXPORT } from '../../src/wasm/rewrite/safeguard.ts'
import { pick, randomOf } from './random.ts'

/** What one call showed. */
export interface Observation {
  readonly call: string
  /** The result, or what it trapped with. */
  readonly outcome: string
  /** What it logged on the way. */
  readonly logs: readonly string[]
  readonly memory: string
  /** Bytes of stack left afterwards, where they are counted and the call did not trap. */
  readonly depth: number | null
  /** Whether the counter of stack ended it. */
  readonly overflown: boolean
}

const NUMBERS = [0, 1, -1, 2, 7, 255, 65_536, -2_147_483_648, 2_147_483_647, 0.5, -0, 1e10]

type Exported = (...args: unknown[]) => unknown

/** Calls every export with numbers of the seed, each in an instance of its own, because a trap leaves one half-way. */
export async function observe(
  bytes: Uint8Array<ArrayBuffer>,
  exports: readonly string[],
  seed: number,
): Promise<Observation[]> {
  const module = await WebAssembly.compile(bytes)
  const random = randomOf(seed)
  return exports.map((name) => observeCall(module, name, random))
}

function observeCall(module: WebAssembly.Module, name: string, random: () => number): Observation {
  const logs: string[] = []
  const log = (kind: string) => (value: unknown) => {
    logs.push(`${kind} ${String(value)}`)
  }
  const kinds = ['log-i32', 'log-i64', 'log-f32', 'log-f64', 'log-v128']
  const support = Object.fromEntries(kinds.map((kind) => [kind, log(kind)]))
  const instance = new WebAssembly.Instance(module, { 'fuzzing-support': support })
  const exported = instance.exports as Record<string, unknown>
  // The host calls the start function of a rewritten module itself.
  ;(exported[START_EXPORT] as (() => void) | undefined)?.()
  const args = Array.from({ length: 6 }, () => pick(random, NUMBERS))
  const outcome = outcomeOf(exported[name] as Exported, args)
  const depth = exported[DEPTH_EXPORT] as (() => number) | undefined
  const { buffer } = exported['memory'] as { buffer: ArrayBuffer }
  return {
    call: `${name}(${args.join(', ')})`,
    outcome,
    logs,
    memory: Bun.hash(buffer).toString(16),
    depth: depth === undefined || outcome.startsWith('threw') ? null : depth(),
    overflown: depth?.() === -1,
  }
}

/** Arguments of type i64 must be BigInts, and nobody tells which are: both are tried, in the same order for both forms. */
function outcomeOf(exported: Exported, args: readonly number[]): string {
  const attempts = [
    (value: number) => value,
    (value: number) => BigInt(Math.trunc(value)),
    (value: number, at: number) => (at % 2 === 0 ? value : BigInt(Math.trunc(value))),
  ]
  let last = ''
  for (const as of attempts) {
    try {
      return `returned ${shown(exported(...args.map(as)))}`
    } catch (thrown) {
      const { name, message } = thrown as Error
      // Behind the parenthesis the engine says where, which differs when functions are added.
      last = `threw ${name}: ${message.replace(/ \(evaluating.*$/s, '')}`
      if (!(thrown instanceof TypeError)) return last
    }
  }
  return last
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return value.map(shown).join()
  if (typeof value === 'function') return 'a function'
  return Object.is(value, -0) ? '-0' : String(value)
}
