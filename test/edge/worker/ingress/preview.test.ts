/** Requests that name a version, over a real socket: who may, what is answered, and what the guest sees of it. */

import { afterEach, expect, test } from 'bun:test'

import { armKey, type WorkerFunction } from '../../../../src/edge/ipc.ts'
import { previewTokenOf } from '../../agent/fixtures/manifests.ts'
import { aFunction, answered, openIngress, type IngressOptions } from './harness.ts'

type Ingress = ReturnType<typeof openIngress>

const hour = Math.floor(Date.now() / 1000) + 3600
let opened: Ingress[] = []

afterEach(() => {
  for (const ingress of opened) ingress.close()
  opened = []
})

function open(options: IngressOptions = {}) {
  const fn = aFunction({ version: 41 })
  const { function_id } = fn
  const arm = aFunction({
    ...{ function_id, version: 42, slot: 4, key: armKey({ function_id, version: 42 }) },
  })
  const ingress = openIngress({
    fn,
    arms: [arm],
    previewDomain: 'preview.test',
    invoke: (each, request) => answered(`v${each.version} ${request.header_lines}`),
    ...options,
  })
  opened.push(ingress)
  const token = (version: number, expires = hour, id: string = function_id) =>
    previewTokenOf({ function_id: id, version, expires })
  const ask = async (headers: Record<string, string>, path = '/', method = 'GET') => {
    const response = await fetch(`${ingress.url}${path}`, { method, headers, redirect: 'manual' })
    return { status: response.status, text: await response.text(), headers: response.headers }
  }
  return { ingress, fn, arm, token, ask }
}

test('with its token a version answers that has no traffic, and without one nothing changes', async () => {
  const { token, ask, ingress } = open()
  const field = { 'x-edgefn-version': 'v42', 'x-edgefn-preview-token': token(42) }
  const preview = await ask(field)
  expect([preview.status, preview.text.slice(0, 3)]).toEqual([200, 'v42'])
  // Neither is the guest's to have.
  expect(preview.text).not.toContain('epv_')
  expect(preview.text).toContain('x-edgefn-version: v42')
  expect((await ask({})).text.slice(0, 3)).toBe('v41')
  expect(ingress.stats.get(4, 'invocations')).toBe(1)
  // The version that has the traffic can be asked for as well.
  const same = { 'x-edgefn-version': '41', 'x-edgefn-preview-token': token(41) }
  expect((await ask(same)).text.slice(0, 3)).toBe('v41')
})

test('no token, another’s, an old or a forged one is 403, and the version is not run', async () => {
  const { token, ask, ingress } = open()
  const status = async (version: string, given?: string) => {
    const headers = { 'x-edgefn-version': version }
    return (
      await ask(given === undefined ? headers : { ...headers, 'x-edgefn-preview-token': given })
    ).status
  }
  const good = token(42)
  expect(await status('v42')).toBe(403)
  expect(await status('v42', '')).toBe(403)
  expect(await status('v42', 'epv_x')).toBe(403)
  expect(await status('v42', token(41))).toBe(403)
  expect(await status('v42', token(42, 1_000_000_000))).toBe(403)
  expect(await status('v42', token(42, hour, Bun.randomUUIDv7()))).toBe(403)
  expect(await status('v42', good.replace('.42.', '.43.'))).toBe(403)
  expect(await status('v42', good.replace(String(hour), String(hour + 1)))).toBe(403)
  // In the middle: the last byte of a signature is 0 in one of sixteen.
  const at = good.length - 40
  const other = good[at] === 'A' ? 'B' : 'A'
  expect(await status('v42', `${good.slice(0, at)}${other}${good.slice(at + 1)}`)).toBe(403)
  expect(await status('newest', good)).toBe(400)
  expect(ingress.calls).toEqual([])
  expect(await status('v42', good)).toBe(200)
})

test('a host below the preview domain names function and version; a browser gets the token as a cookie', async () => {
  const { token, ask, fn } = open()
  const host = 'v42--hello.preview.test'
  expect((await ask({ host })).status).toBe(403)
  expect((await ask({ host, 'x-edgefn-preview-token': token(41) })).status).toBe(403)
  expect((await ask({ host, 'x-edgefn-preview-token': token(42) })).text).toStartWith('v42')
  expect(
    (await ask({ host: 'v42--other.preview.test', 'x-edgefn-preview-token': token(42) })).status,
  ).toBe(403)
  const first = await ask({ host }, `/a//b?x=1&edgefn_preview=${token(42)}&y=2`)
  expect([first.status, first.headers.get('location')]).toEqual([303, '/a//b?x=1&y=2'])
  const cookie = first.headers.get('set-cookie') ?? ''
  expect(cookie).toContain('HttpOnly')
  const [pair = ''] = cookie.split(';')
  const second = await ask({ host, cookie: `theme=dark; ${pair}; a=b` })
  expect(second.text).toStartWith('v42')
  expect(second.text).toContain('cookie: theme=dark; a=b\r\n')
  expect(second.text).not.toContain('epv_')
  const elsewhere = await ask({ host }, `//evil.example/?edgefn_preview=${token(42)}`)
  expect(elsewhere.headers.get('location')).toBe('/evil.example/')
  const posted = await ask({ host }, `/?edgefn_preview=${token(42)}`, 'POST')
  expect([posted.status, posted.text.slice(0, 3)]).toEqual([200, 'v42'])
  // Other names there are routed like any.
  expect((await ask({ host: 'www.preview.test' })).text).toStartWith(`v${fn.version}`)
})

test('a version that is not in the table is asked for once for all who wait, with the token that was seen', async () => {
  const asked: string[] = []
  let row: WorkerFunction | null = null
  const opened = open({
    arms: [],
    onPreview: (arm, given) => {
      asked.push(given)
      setTimeout(() => {
        if (row !== null) opened.ingress.table.functions.set(row.key, row)
        const refusal = { code: 'version_not_found', message: 'There is no version 42.' }
        opened.ingress.previewFlights.previewed(arm, row === null ? refusal : null)
      }, 20)
      return true
    },
  })
  const given = opened.token(42)
  const field = { 'x-edgefn-version': 'v42', 'x-edgefn-preview-token': given }
  const missing = await opened.ask(field)
  expect([missing.status, missing.text]).toEqual([
    404,
    expect.stringContaining('version_not_found'),
  ])
  await Bun.sleep(5)
  row = opened.arm
  const answers = await Promise.all([1, 2, 3].map(() => opened.ask(field)))
  expect(answers.map(({ status, text }) => [status, text.slice(0, 3)])).toEqual(
    Array(3).fill([200, 'v42']),
  )
  expect(asked).toEqual([given, given])
})

test('a version that cannot be had is 503 and does not say why', async () => {
  const { ask, token } = open({ arms: [], onPreview: () => false })
  const field = { 'x-edgefn-version': 'v42', 'x-edgefn-preview-token': token(42) }
  const answer = await ask(field)
  expect([answer.status, answer.text]).toEqual([
    503,
    expect.stringContaining('function_unavailable'),
  ])
  expect(answer.text).not.toContain('no agent')
})
