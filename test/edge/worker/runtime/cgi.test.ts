import { expect, test } from 'bun:test'
import fc from 'fast-check'

import { EdgefnError } from '../../../../src/errors.ts'
import { assembleResponse, parseCgiResponse } from '../../../../src/edge/worker/runtime/cgi.ts'
import { detectContentType } from '../../../../src/edge/worker/runtime/content-type.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const parse = (text: string) => {
  const { status, headers, body } = parseCgiResponse(bytes(text))
  return { status, headers: Object.fromEntries(headers), body: new TextDecoder().decode(body) }
}
const refusal = (text: string): string => {
  try {
    parseCgiResponse(bytes(text))
  } catch (thrown) {
    if (thrown instanceof EdgefnError && thrown.code === 'invalid_response') return thrown.message
    throw thrown
  }
  throw new Error(`Accepted: ${text}`)
}

test('reads status, header and body, with either line ending', () => {
  for (const eol of ['\n', '\r\n']) {
    const text = `Status: 201 Created${eol}Content-Type: text/x${eol}X-A: 1${eol}${eol}body${eol}`
    expect(parse(text)).toEqual({
      status: 201,
      headers: { 'content-type': 'text/x', 'x-a': '1' },
      body: `body${eol}`,
    })
  }
})

test('an empty header block is a 200 whose content type is detected', () => {
  expect(parse('\n{"a":1}')).toEqual({
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: '{"a":1}',
  })
})

test('an empty content type is none', () => {
  expect(parse('Content-Type:\n\n{"a":1}').headers).toEqual({ 'content-type': 'application/json' })
  expect(parse('Content-Type: \nX-A: 1\n\n').headers).toEqual({ 'x-a': '1' })
})

test('a Location without a status redirects', () => {
  expect(parse('Location: /next\n\n').status).toBe(302)
  expect(parse('Status: 301\nLocation: /next\n\n').status).toBe(301)
})

test('a status given apart stays, with a Location too', () => {
  const lines = bytes('Location: /items/7\r\n')
  for (const status of [201, 301, 307, 308]) {
    expect(assembleResponse(status, lines, bytes('')).status).toBe(status)
  }
})

test('keeps repeated fields and drops what only the host may say', () => {
  const text =
    'Set-Cookie: a=1\nSet-Cookie: b=2\nContent-Length: 9\nTransfer-Encoding: chunked\nConnection: x\n\n'
  expect(parseCgiResponse(bytes(text)).headers).toEqual([
    ['set-cookie', 'a=1'],
    ['set-cookie', 'b=2'],
  ])
})

test('drops the fields that its own Connection names', () => {
  const text =
    'Connection: close, X-Secret\r\nX-Secret: 1\r\nX-Kept: 2\r\nConnection: ,x-other ,\r\nX-Other: 3\r\n\r\n'
  expect(parseCgiResponse(bytes(text)).headers).toEqual([['x-kept', '2']])
})

test('values beyond ASCII are kept byte for byte', () => {
  for (const value of ['50 €', 'あい', 'voilà', '\u0081\u009f']) {
    const { headers } = parseCgiResponse(bytes(`X-A:  ${value} \t\r\n\r\n`))
    expect(Buffer.from(headers[0]?.[1] ?? '', 'latin1').toString('utf8')).toBe(value)
  }
})

test('refuses malformed headers by name', () => {
  expect(refusal('no header at all')).toContain('no empty line')
  expect(refusal('Status: 99\n\n')).toContain('malformed Status')
  expect(refusal('Status: 101 Switching\n\n')).toContain('malformed Status')
  expect(refusal('Status: 200x\n\n')).toContain('malformed Status')
  expect(refusal('no colon\n\n')).toContain('malformed line')
  expect(refusal(': empty\n\n')).toContain('malformed line')
  expect(refusal('x y: space in name\n\n')).toContain('malformed line')
  expect(refusal('x: a\rb\n\n')).toContain('malformed line')
  expect(refusal('x: a\0b\n\n')).toContain('malformed line')
  expect(refusal('x: 1\n'.repeat(LIMITS.responseHeadersMax + 1) + '\n')).toContain('header fields')
  expect(refusal(`x: ${'y'.repeat(LIMITS.responseHeaderBytesMax)}\n\n`)).toContain(
    'over 65536 bytes',
  )
  expect(refusal('y'.repeat(LIMITS.responseHeaderBytesMax + 1))).toContain('over 65536 bytes')
})

test('whatever the bytes, the result is a refusal or a response that HTTP can carry', () => {
  const line = fc.string({
    unit: fc.constantFrom('a', ':', ' ', '\n', '\r', '\0', 'S', 'é', '\t', '1'),
  })
  fc.assert(
    fc.property(
      fc.oneof(
        line,
        fc.uint8Array().map((raw) => new TextDecoder('latin1').decode(raw)),
      ),
      (text) => {
        let response
        try {
          response = parseCgiResponse(bytes(text))
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(EdgefnError)
          return
        }
        expect(response.status).toBeWithin(200, 600)
        // The constructor throws on anything that is no legal field.
        new Headers(response.headers.map(([name, value]) => [name, value] as [string, string]))
      },
    ),
    { numRuns: 1000 },
  )
})

test('a header made of blanks takes no longer to read than its bytes do', () => {
  const value = `a${' '.repeat(LIMITS.responseHeaderBytesMax - 100)}b`
  const startedAt = performance.now()
  expect(parse(`X-Wide: ${value}\n\n`).headers).toEqual({ 'x-wide': value })
  // Trimmed by a regular expression it took seconds, in which nothing stops the thread.
  expect(performance.now() - startedAt).toBeLessThan(3000)
})

test('detects content types', () => {
  expect(detectContentType(bytes('plain text'))).toBe('text/plain; charset=utf-8')
  expect(detectContentType(bytes(' <!DOCTYPE html><p>'))).toBe('text/html; charset=utf-8')
  expect(detectContentType(bytes('[1,2'))).toBe('text/plain; charset=utf-8')
  expect(detectContentType(bytes('[1,2]'))).toBe('application/json')
  expect(detectContentType(new Uint8Array([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]))).toBe(
    'image/png',
  )
  expect(detectContentType(new Uint8Array([0, 1, 2]))).toBe('application/octet-stream')
})
