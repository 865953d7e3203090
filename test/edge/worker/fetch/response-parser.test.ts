import { describe, expect, test } from 'bun:test'

import fc from 'fast-check'

import { FetchError } from '../../../../src/edge/worker/fetch/outcome.ts'
import { ResponseParser } from '../../../../src/edge/worker/fetch/response-parser.ts'
import type { ResponseHead } from '../../../../src/edge/worker/fetch/response-parser.ts'

interface Read {
  heads: ResponseHead[]
  body: string
  ended: boolean
  failure: string | null
}

/** Reads pieces as a connection would bring them, and its end. Only a FetchError may stop it. */
function read(pieces: readonly Buffer[], method = 'GET'): Read {
  const result: Read = { heads: [], body: '', ended: false, failure: null }
  const parser = new ResponseParser(method, {
    onHead: (head) => result.heads.push(head),
    onBody: (bytes) => {
      result.body += Buffer.from(bytes).toString('latin1')
    },
  })
  try {
    for (const piece of pieces) parser.push(piece)
    parser.finish()
    result.ended = parser.ended
  } catch (thrown) {
    if (!(thrown instanceof FetchError)) throw thrown
    result.failure = thrown.failure
  }
  return result
}

/** The same bytes in pieces that end at `cuts`. */
function cut(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [0, ...cuts.map((each) => each % (bytes.length + 1)), bytes.length].sort(
    (a, b) => a - b,
  )
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end))
}

const bodies = fc.string({ unit: 'binary', maxLength: 300 }).map((text) => Buffer.from(text))
const fields = fc.array(
  fc.tuple(fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/), fc.stringMatching(/^[!-~]{0,12}$/)),
  { maxLength: 5 },
)
const statuses = fc
  .integer({ min: 200, max: 599 })
  .filter((status) => status !== 204 && status !== 304)
const framings = fc.constantFrom('length', 'chunked', 'close')
const cuts = fc.array(fc.nat(2000), { maxLength: 20 })

const FRAMING_FIELDS = ['content-length', 'transfer-encoding']

function write(
  status: number,
  named: readonly (readonly [string, string])[],
  body: Buffer,
  framing: string,
): Buffer {
  const lines = named.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  const head = (field: string) => Buffer.from(`HTTP/1.1 ${status} X\r\n${lines}${field}\r\n`)
  if (framing === 'length') return Buffer.concat([head(`content-length: ${body.length}\r\n`), body])
  if (framing === 'close') return Buffer.concat([head(''), body])
  const chunks: Buffer[] = []
  for (let at = 0; at < body.length; at += 7) {
    const piece = body.subarray(at, at + 7)
    chunks.push(Buffer.from(`${piece.length.toString(16)};x\r\n`), piece, Buffer.from('\r\n'))
  }
  return Buffer.concat([
    head('Transfer-Encoding: Chunked\r\n'),
    ...chunks,
    Buffer.from('0\r\n\r\n'),
  ])
}

describe('responses', () => {
  test('Promise 10: a well-formed one is read the same however it is cut', () => {
    fc.assert(
      fc.property(statuses, fields, bodies, framings, cuts, (status, named, body, framing, at) => {
        const plain = named.filter(([name]) => !FRAMING_FIELDS.includes(name))
        const result = read(cut(write(status, plain, body, framing), at))
        expect(result.failure).toBeNull()
        expect([result.ended, result.heads.length]).toEqual([true, 1])
        expect(result.heads[0]?.status).toBe(status)
        expect(result.heads[0]?.headers.slice(0, plain.length)).toEqual(plain)
        expect(result.body).toBe(body.toString('latin1'))
      }),
      { numRuns: 1000 },
    )
  })

  test('Promise 10: a damaged one ends or fails, and never otherwise', () => {
    const damage = fc.array(fc.tuple(fc.nat(2000), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 6,
    })
    fc.assert(
      fc.property(fields, bodies, framings, cuts, damage, (named, body, framing, at, hits) => {
        const bytes = write(200, named, body, framing)
        for (const [where, value] of hits) bytes[where % bytes.length] = value
        const result = read(cut(bytes, at))
        expect(result.ended).toBe(result.failure === null)
        expect(result.heads.length).toBeLessThanOrEqual(1)
        for (const [name, value] of result.heads.flatMap((head) => head.headers)) {
          expect(`${name}${value}`).not.toMatch(/[\r\n\0]/)
        }
        // How it was cut makes no difference to a damaged one either.
        expect(read([bytes])).toEqual(result)
      }),
      { numRuns: 2000 },
    )
  })
})
