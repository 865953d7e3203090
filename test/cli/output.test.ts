/** Tables, names made of file names, hints: what the commands print. */

import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'

import { functionNameOf } from '../../src/cli/deploy/module-file.ts'
import { engineHint } from '../../src/cli/engine-hint.ts'
import { alignColumns, bytesText, clean } from '../../src/cli/output.ts'
import { functionNameSchema } from '../../src/protocol/ids.ts'

test('columns are as wide as their widest cell', () => {
  expect(
    alignColumns([
      ['A', 'BB', 'C'],
      ['long', '', 'x'],
      ['日本', 'b', ''],
    ]),
  ).toEqual(['A     BB  C', 'long      x', '日本  b'])
})

test('bytes are shown in the unit that suits them', () => {
  const cases = [0, 1023, 1024, 1_572_864, 10 * 2 ** 30].map(bytesText)
  expect(cases).toEqual(['0 B', '1023 B', '1.0 KiB', '1.5 MiB', '10.0 GiB'])
})

test('text from elsewhere cannot move the cursor', () => {
  expect(clean('a\x1b[2Jb\r\nc\x9b')).toBe('a·[2Jb··c·')
})

test('a function name is made of any file name that has a letter or digit', () => {
  expect(functionNameOf('/tmp/My_Echo (2).wasm')).toBe('my-echo-2')
  expect(() => functionNameOf('---.wasm')).toThrow('gives no name')
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), (text) => {
      const name = functionNameOf(`a${text.replaceAll('/', '')}`)
      expect(functionNameSchema.safeParse(name).success).toBe(true)
    }),
  )
})

describe('the hint for a missing engine', () => {
  test('is the commands for the system', () => {
    const bookworm = engineHint('ID=debian\nVERSION_ID="12"\n')
    expect(bookworm).toContain('apt-get install -y -t trixie libwasmedge0')
    const trixie = engineHint('ID=debian\nVERSION_ID="13"\n')
    expect(trixie).toContain('apt-get install -y libwasmedge0')
    expect(trixie).not.toContain('-t trixie')
  })

  test('is the official installer on an unknown one', () => {
    expect(engineHint('')).toContain('https://wasmedge.org')
  })
})
