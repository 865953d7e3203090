import { expect, test } from 'bun:test'

import { checkWholeModule, inspectWholeModule, validateTypes } from '../../src/wasm/validate.ts'
import { numberGuest } from '../edge/worker/runtime/wat.ts'

const SETTINGS = { entrypoint: 'handle', memory_pages: 16 }

/** `(module (func (result i32) (i64.const 0)))` with the ABI's exports missing: ill-typed, but well-formed. */
const ILL_TYPED = Uint8Array.of(
  0,
  0x61,
  0x73,
  0x6d,
  1,
  0,
  0,
  0,
  1,
  5,
  1,
  0x60,
  0,
  1,
  0x7f,
  3,
  2,
  1,
  0,
  10,
  6,
  1,
  4,
  0,
  0x42,
  0,
  0x0b,
)

test('a module whose types are right is valid', async () => {
  expect(await validateTypes(numberGuest('(i32.const 1)'))).toBeNull()
  const checked = await checkWholeModule(numberGuest('(i32.const 1)'), SETTINGS)
  expect(checked.abi).toBe('edgefn')
})

test('a well-formed module whose types are wrong is invalid, and the reason is told', async () => {
  const problem = await validateTypes(ILL_TYPED)
  expect(problem?.code).toBe('module_invalid')
  expect(problem?.message).toMatch(/The module is not valid: .*i32/i)
})

test('ingest and inspection refuse an ill-typed guest', async () => {
  const guest = numberGuest('(i32.const 7)')
  // i32.const 7 becomes i64.const 7.
  const at = guest.findIndex((byte, index) => byte === 0x41 && guest[index + 1] === 7)
  const broken = Uint8Array.from(guest, (byte, index) => (index === at ? 0x42 : byte))
  await expect(checkWholeModule(broken, SETTINGS)).rejects.toThrow('The module is not valid')
  const inspection = await inspectWholeModule(broken, SETTINGS)
  expect(inspection.problems.map(({ code }) => code)).toEqual(['module_invalid'])
})
