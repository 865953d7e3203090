/** The ingress over HTTP/2 with prior knowledge. */

import { afterEach, describe, expect, test } from 'bun:test'
import http2 from 'node:http2'

import { answered, openIngress } from './harness.ts'

let ingress = openIngress()
afterEach(() => ingress.close())

function open(options: Parameters<typeof openIngress>[0] = {}) {
  ingress.close()
  ingress = openIngress(options)
  return ingress
}

describe('HTTP/2 with prior knowledge', () => {
  async function request(headers: http2.OutgoingHttpHeaders, body = '') {
    const client = http2.connect(ingress.url)
    client.on('error', () => undefined)
    const { promise, resolve, reject } = Promise.withResolvers<Record<string, unknown>>()
    const stream = client.request(headers)
    let got = {}
    let text = ''
    stream.on('response', (fields) => (got = fields))
    stream.on('data', (data: Buffer) => (text += data.toString()))
    stream.on('end', () => resolve({ ...got, text }))
    stream.on('error', reject)
    stream.end(body)
    return promise.finally(() => client.destroy())
  }

  test('serves a request and its body', async () => {
    open({
      invoke: (_fn, call) => answered(`${call.method} ${call.target} ${call.body.byteLength}`),
    })
    const answer = await request(
      { ':path': '/x?y', ':method': 'POST', ':authority': 'a.com', 'x-request-id': 'r2' },
      'abc',
    )
    expect(answer).toMatchObject({ ':status': 200, 'x-request-id': 'r2', text: 'POST /x?y 3' })
  })

  test('refuses a bad authority and a body over the limit', async () => {
    open({ bodyBytesMax: 10 })
    expect(await request({ ':path': '/', ':authority': 'a/b?c' })).toMatchObject({ ':status': 400 })
    const large = await request(
      { ':path': '/', ':method': 'POST', ':authority': 'a' },
      'x'.repeat(11),
    )
    expect(large).toMatchObject({ ':status': 413 })
  })

  test('takes the body before it refuses, for clients that lose an answer that comes sooner', async () => {
    open({ bodyBytesMax: 1000 })
    for (const [authority, status] of [
      ['a', 413],
      ['a/b?c', 400],
    ] as const) {
      const client = http2.connect(ingress.url)
      const stream = client.request({ ':path': '/', ':method': 'POST', ':authority': authority })
      const answered = Promise.withResolvers<unknown>()
      stream.on('response', (fields) => answered.resolve(fields[':status']))
      stream.on('error', answered.reject)
      stream.write('x'.repeat(2000))
      const early = await Promise.race([answered.promise, Bun.sleep(200)])
      expect([authority, early]).toEqual([authority, undefined])
      stream.end('x')
      expect(await answered.promise).toBe(status)
      client.destroy()
    }
  })

  test('waits for no body that does not end', async () => {
    open()
    const client = http2.connect(ingress.url)
    const stream = client.request({ ':path': '/', ':method': 'POST', ':authority': 'a/b?c' })
    const answered = Promise.withResolvers<unknown>()
    stream.on('response', (fields) => answered.resolve(fields[':status']))
    stream.on('error', answered.reject)
    stream.write('x')
    expect(await answered.promise).toBe(400)
    client.destroy()
  })
})
