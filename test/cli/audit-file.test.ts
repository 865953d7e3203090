/** What an exported audit log proves by itself. */

import { expect, test } from 'bun:test'

import { verifyExport } from '../../src/cli/audit-file.ts'
import { FIRST_PREVIOUS_HASH, hashOf } from '../../src/protocol/audit-chain.ts'

function exported(count: number): string[] {
  let previous_hash: string = FIRST_PREVIOUS_HASH
  return Array.from({ length: count }, (_, index) => {
    const row = {
      seq: index + 1,
      id: Bun.randomUUIDv7(),
      actor: 'key:a',
      resource_type: 'route',
      resource_id: 'r',
      operation: 'create',
      old_value: null,
      new_value: null,
      request_id: 'q',
      created_at: '2026-01-31T00:00:00.000Z',
      previous_hash,
    }
    previous_hash = hashOf(row)
    return JSON.stringify({ ...row, hash: previous_hash })
  })
}

const whole = { anchor: null, filtered: false }

test('a row that was taken out is missed, wherever it was, unless the export had filters', () => {
  const lines = exported(5)
  expect(verifyExport(lines.join('\n'), whole)).toMatchObject({ intact: true, entries: 5 })
  for (const at of [0, 1, 3]) {
    const text = lines.toSpliced(at, 1).join('\n')
    const problem = { seq: at + 1, reason: 'the row is missing' }
    expect(verifyExport(text, whole)).toMatchObject({ intact: false, problem })
    const gaps = at === 0 ? 0 : 1
    expect(verifyExport(text, { ...whole, filtered: true })).toMatchObject({ intact: true, gaps })
  }
})

test('an empty file proves nothing', () => {
  expect(verifyExport('', whole)).toMatchObject({ intact: false, entries: 0, problem: { seq: 1 } })
  expect(verifyExport('\n', { ...whole, filtered: true })).toMatchObject({ intact: true })
})

test('a line that is no row is named by its number, without the words of a parser', () => {
  for (const line of ['{"x":1}', 'hello', '[]']) {
    const text = `${exported(1)[0]}\n${line}`
    const problem = { seq: 2, reason: 'line 2 of the file is no row of an audit log' }
    expect(verifyExport(text, whole)).toMatchObject({ intact: false, entries: 1, problem })
  }
})
