/** Header fields on their way from the socket to the guest. */

import { afterEach, expect, test } from 'bun:test'

import { headerFields } from '../../../../src/edge/worker/header-lines.ts'
import { openIngress, raw } from './harness.ts'

let ingress: ReturnType<typeof openIngress>
afterEach(() => ingress.close())

const CLOSE = 'Connection: close\r\n'

test('values reach the guest as the text they are: UTF-8, or Latin-1 where that is not valid', async () => {
  ingress = openIngress()
  const { port, calls } = ingress
  const utf8 = Buffer.from('héllo €').toString('latin1')
  await raw(port, `GET / HTTP/1.1\r\nHost: h\r\nX-A: ${utf8}\r\nX-B: h\xe9llo\r\n${CLOSE}\r\n`)
  const headers = Object.fromEntries(headerFields(calls[0]!.request.header_lines))
  expect(headers).toMatchObject({ 'x-a': 'héllo €', 'x-b': 'héllo' })
})

test('content-length is that of the body the guest gets, also for a GET, whose body is read and dropped', async () => {
  ingress = openIngress()
  const { port, calls } = ingress
  for (const method of ['GET', 'POST']) {
    await raw(port, `${method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n${CLOSE}\r\nabc`)
    const { header_lines, body } = calls.at(-1)!.request
    expect(headerFields(header_lines)).toContainEqual(['content-length', String(body.byteLength)])
  }
})
