import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'

import { EdgefnError } from '../../src/errors.ts'
import { decodeModule } from '../../src/wasm/decode.ts'
import { moduleOfBody, section, vector } from './module-bytes.ts'
import { SAMPLES } from './samples.ts'
import { assemble, validateAll } from './wabt.ts'

/** What the engine validates on the node and ingest does not: stack types and what stands on them. */
const LEFT_TO_THE_ENGINE =
  /type mismatch|type stack|immutable|can't global\.set|is not declared in any elem|if without else|table type mismatch|must be a reference|expected (?:a )?(?:funcref|externref)|br_table labels/

interface Verdict {
  readonly code: string | null
  readonly message: string
}

function decodeVerdict(module: Uint8Array): Verdict {
  try {
    decodeModule(module)
    return { code: null, message: '' }
  } catch (error) {
    if (!(error instanceof EdgefnError)) throw error
    return { code: error.code, message: error.message }
  }
}

/** Where edgefn and wabt disagree without a reason, as lines to read. */
function disagreements(modules: readonly Uint8Array<ArrayBuffer>[]): string[] {
  const answers = validateAll(modules)
  return modules.flatMap((module, i) => {
    const ours = decodeVerdict(module)
    const theirs = answers[i] ?? { ok: false, output: '' }
    const shown = Buffer.from(module).toString('hex')
    // wabt lets two things pass that the specification does not (a select of no type, a block without end); the second
    // referee, this runtime's own WebAssembly, refuses them as we do.
    if (theirs.ok && ours.code === 'module_invalid' && WebAssembly.validate(module)) {
      return [`we refuse: ${ours.message} ${shown}`]
    }
    if (!theirs.ok && ours.code === null && !LEFT_TO_THE_ENGINE.test(theirs.output)) {
      return [`we accept: ${theirs.output.trim()} ${shown}`]
    }
    return []
  })
}

const bases = Object.values(SAMPLES).map((text) => assemble(text))
const edit = fc.record({
  place: fc.nat(),
  byte: fc.nat(255),
  action: fc.constantFrom('set', 'add', 'cut'),
})

function mutate(
  base: Uint8Array,
  edits: readonly { place: number; byte: number; action: string }[],
) {
  const out = [...base]
  for (const { place, byte, action } of edits) {
    // The header is spared: everything else is behind it.
    const at = 8 + (place % Math.max(1, out.length - 8))
    if (action === 'set') out[at] = byte
    else if (action === 'add') out.splice(at, 0, byte)
    else out.splice(at, 1)
  }
  return Uint8Array.from(out)
}

describe('wasm-validate as referee', () => {
  test('agrees on the samples', () => {
    expect(disagreements(bases)).toEqual([])
    expect(validateAll(bases).every((answer) => answer.ok)).toBe(true)
    expect(bases.map((base) => decodeVerdict(base).code)).toEqual(bases.map(() => null))
  })

  test('agrees on mutated modules, save for named limits, proposals and stack types', () => {
    const mutants = fc.tuple(
      fc.constantFrom(...bases),
      fc.array(edit, { minLength: 1, maxLength: 3 }),
    )
    // A fixed seed: a disagreement found later is a case to look into, not a reason for a red build at random.
    const seed = Number(process.env['EDGEFN_TEST_SEED'] ?? 1)
    const runs = Number(process.env['EDGEFN_TEST_RUNS'] ?? 600)
    const modules = fc
      .sample(mutants, { numRuns: runs, seed })
      .map(([base, edits]) => mutate(base, edits))
    expect(disagreements(modules)).toEqual([])
  }, 600_000)

  test('agrees on every opcode there is', () => {
    const declarations = [
      ...section(4, vector([0x70, 0x00, 0x01])),
      ...section(5, vector([0x00, 0x01])),
      ...section(6, vector([0x7f, 0x01, 0x41, 0x00, 0x0b])),
      ...section(9, vector([0x00, 0x41, 0x00, 0x0b, 0x01, 0x00])),
      ...section(12, 1),
    ]
    const data = section(11, vector([0x01, 0x00]))
    const modules = opcodes().map((opcode) => {
      // Zeros serve as immediates, and as `unreachable` where there are none; the stack before is polymorphic.
      const opens = opcode.length === 1 && (opcode[0] ?? 0) >= 0x02 && (opcode[0] ?? 0) <= 0x04
      const code = [0x00, ...opcode, ...Array<number>(20).fill(0), ...(opens ? [0x0b] : [])]
      const module = moduleOfBody(code, declarations, [1, 1, 0x7f])
      return Uint8Array.from([...module, ...data])
    })
    expect(disagreements(modules)).toEqual([])
    // A table full of refusals would agree too, so the number is pinned: of 437 opcodes, those that zeros are immediates for.
    const known = modules.filter((module) => decodeVerdict(module).code === null).length
    expect(known).toBe(433)
  })
})

function opcodes(): number[][] {
  const all: number[][] = []
  for (let opcode = 0; opcode < 0xfc; opcode++) all.push([opcode])
  for (let number = 0; number < 32; number++) all.push([0xfc, number])
  for (let number = 0; number < 0x120; number++) {
    all.push([
      0xfd,
      (number & 0x7f) | (number > 0x7f ? 0x80 : 0),
      ...(number > 0x7f ? [number >> 7] : []),
    ])
  }
  return all
}
