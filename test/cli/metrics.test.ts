/** What `edgefn metrics` and `edgefn nodes metrics` ask the control plane for. */

import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'

import { EXIT } from '../../src/cli/exit.ts'
import { runCaptured } from './capture.ts'

const RANGE = { from: '2026-01-01T00:00:00.000Z', to: '2026-01-01T01:00:00.000Z', step_seconds: 60 }
const FUNCTION = { function_id: '01900000-0000-7000-8000-000000000001', ...RANGE, versions: [] }
const NODE = { node_id: 'n1', ...RANGE, dropped_batches: 0, points: [] }

let server: ReturnType<typeof Bun.serve>
let asked: Record<string, string>[]

beforeAll(() => {
  server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch(request) {
      const { pathname, searchParams } = new URL(request.url)
      asked.push(Object.fromEntries(searchParams))
      return Response.json(pathname.includes('/nodes/') ? NODE : FUNCTION)
    },
  })
})
afterAll(() => server.stop(true))
beforeEach(() => {
  asked = []
})

const run = (...words: readonly string[]) =>
  runCaptured(words, { EDGEFN_CP: server.url.origin, EDGEFN_API_KEY: 'efk_test' })

test('how far back is asked in seconds, because the clock here may be another', async () => {
  expect((await run('metrics', 'hello')).code).toBe(EXIT.ok)
  expect((await run('nodes', 'metrics', 'n1', '--since', '5m', '--step', '10s')).code).toBe(EXIT.ok)
  expect(asked).toEqual([{ since: '3600' }, { since: '300', step: '10' }])
})

test('a version may be written as everywhere else', async () => {
  for (const version of ['v42', '42']) await run('metrics', 'hello', '--version', version)
  expect(asked.map((query) => query['version'])).toEqual(['42', '42'])
  expect((await run('metrics', 'hello', '--version', 'newest')).code).toBe(EXIT.usage)
})
