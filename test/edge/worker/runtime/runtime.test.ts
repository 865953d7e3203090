import { afterAll, beforeAll, expect, test } from 'bun:test'
import { truncateSync, writeFileSync } from 'node:fs'

import fc from 'fast-check'

import { PAGE_BYTES } from '../../../../src/protocol/limits.ts'
import { HOST_IMPORTS } from '../../../../src/wasm/host-imports.ts'
import { answer, failure, request, startRuntime } from './harness.ts'
import type { RuntimeHarness } from './harness.ts'
import { assemble, numberGuest } from './wat.ts'

let runtime: RuntimeHarness

beforeAll(async () => {
  runtime = await startRuntime(4)
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

const ECHO_BODY = new TextEncoder().encode('höllo "w"\n')

for (const guest of ['echo-c', 'echo-as', 'echo-rust', 'wagi-echo-c', 'wagi-echo-rust']) {
  test(`${guest} gives method, path, query, headers and body back`, async () => {
    const fn = await runtime.guest(guest)
    const outcome = await runtime.invoker.invoke(
      fn,
      request('/a%20b/c?x=1&y=%C3%A4', {
        method: 'POST',
        body: ECHO_BODY,
        headers: [
          ['host', 'example.com'],
          ['x-one', '1'],
        ],
      }),
    )
    const { status, headers, text } = answer(outcome)
    expect(status).toBe(200)
    expect(headers.get('content-type')).toBe('application/json')
    const echoed = JSON.parse(text)
    expect(echoed).toMatchObject({ method: 'POST', query: 'x=1&y=%C3%A4', body: 'höllo "w"\n' })
    expect(decodeURIComponent(echoed.path)).toBe('/a b/c')
    expect(echoed.headers).toMatchObject({ host: 'example.com', 'x-one': '1' })
  })
}

const MISBEHAVIOUR: [string, string][] = [
  ['/loop', 'execution_timeout'],
  ['/alloc', 'memory_limit'],
  ['/trap', 'function_trap'],
  ['/oob', 'function_trap'],
  ['/div0', 'function_trap'],
  ['/recurse', 'stack_overflow'],
  ['/write100m', 'invalid_response'],
  ['/negative', 'function_error'],
  ['/badcgi', 'invalid_response'],
  ['/bigheaders', 'invalid_response'],
  ['/crlf', 'invalid_response'],
]

test('each misbehaviour is contained and named, and the next call is served', async () => {
  const fn = await runtime.guest('misbehave-c', { max_execution_ms: 200 })
  for (const [path, code] of MISBEHAVIOUR) {
    expect([path, failure(await runtime.invoker.invoke(fn, request(path)))]).toEqual([path, code])
    expect(answer(await runtime.invoker.invoke(fn, request('/echo'))).status).toBe(200)
  }
})

test('a trap throws the instance away, an answer keeps it', async () => {
  const fn = await runtime.guest('misbehave-c')
  const count = async () =>
    Number(answer(await runtime.invoker.invoke(fn, request('/counter'))).text)
  expect([await count(), await count(), await count()]).toEqual([1, 2, 3])
  await runtime.invoker.invoke(fn, request('/negative'))
  expect(await count()).toBe(4)
  await runtime.invoker.invoke(fn, request('/trap'))
  expect(await count()).toBe(1)
})

test('the host functions answer', async () => {
  const fn = await runtime.guest('misbehave-c', { env: { PLACE: 'tokyo' } })
  const call = async (path: string) => runtime.invoker.invoke(fn, request(path))
  expect(answer(await call('/env/PLACE')).text).toContain('tokyo')
  expect(answer(await call('/header/HOST')).text).toContain('example.com')
  expect(answer(await call('/request-id')).text).toContain('test-request-1')
  expect(answer(await call('/stream')).status).toBe(201)
  expect(answer(await call('/hopbyhop')).headers.has('transfer-encoding')).toBe(false)
  expect(answer(await call('/redirect')).status).toBe(302)
  const { logs } = await call('/log')
  expect(logs.map(({ level }) => level)).toEqual(['debug', 'info', 'warn', 'error'])
  const flood = await call('/logflood')
  expect(flood.logs.length).toBe(1000)
  expect(flood.logs_dropped).toBe(4000)
})

test('a constructor runs once per instance', async () => {
  const fn = await runtime.guest('reactor-c')
  const first = JSON.parse(answer(await runtime.invoker.invoke(fn, request('/'))).text)
  const second = JSON.parse(answer(await runtime.invoker.invoke(fn, request('/'))).text)
  expect([first, second]).toEqual([
    { constructed: 1, calls: 1 },
    { constructed: 1, calls: 2 },
  ])
})

test('a WAGI guest has CGI variables, arguments, stdin and stderr', async () => {
  const fn = await runtime.guest('wagi-misbehave-c', { env: { OWN: 'x' } })
  const changes = { route_path: '/environ', headers: [['x-a', 'b']] as [string, string][] }
  const { text } = answer(await runtime.invoker.invoke(fn, request('/environ?q=1&r', changes)))
  const environ = new Map(text.split('\n').map((line) => line.split('=', 2) as [string, string]))
  expect(environ.get('QUERY_STRING')).toBe('q')
  expect(text).toContain('QUERY_STRING=q=1&r\n')
  expect(environ.get('SCRIPT_NAME')).toBe('/environ')
  expect(environ.get('GATEWAY_INTERFACE')).toBe('CGI/1.1')
  expect(environ.get('HTTP_X_A')).toBe('b')
  expect(environ.get('OWN')).toBe('x')
  expect(environ.get('X_MATCHED_ROUTE')).toBe('/environ/...')
  const args = answer(await runtime.invoker.invoke(fn, request('/args?a&b'))).text
  expect(args).toBe('/args\na\nb\n')
  const logged = await runtime.invoker.invoke(fn, request('/stderr'))
  expect(logged.logs.length).toBeGreaterThan(1)
})

test('a WAGI guest that exits with a code, loops or sleeps past its limit is named', async () => {
  const fn = await runtime.guest('wagi-misbehave-c', { max_execution_ms: 200 })
  expect(failure(await runtime.invoker.invoke(fn, request('/exit/3')))).toBe('function_error')
  expect(failure(await runtime.invoker.invoke(fn, request('/loop')))).toBe('execution_timeout')
  expect(failure(await runtime.invoker.invoke(fn, request('/sleep/5000')))).toBe(
    'execution_timeout',
  )
  expect(answer(await runtime.invoker.invoke(fn, request('/sleep/20'))).status).toBe(200)
})

test('recursion without end is a stack overflow, in both ABIs, and the next call is served', async () => {
  const recurse =
    '(func $r (param i32) (result i32) (i32.add (i32.const 1) (call $r (local.get 0))))'
  const fn = runtime.module(numberGuest('(call $r (i32.const 1))', recurse))
  const outcome = await runtime.invoker.invoke(fn, request('/'))
  expect(failure(outcome)).toBe('stack_overflow')
  const deep = await runtime.guest('misbehave-c')
  expect(failure(await runtime.invoker.invoke(deep, request('/recurse-deep')))).toBe(
    'stack_overflow',
  )
  expect(failure(await runtime.invoker.invoke(deep, request('/trap')))).toBe('function_trap')
  expect(answer(await runtime.invoker.invoke(deep, request('/echo'))).status).toBe(200)
  const command = runtime.module(
    assemble('(module (memory (export "memory") 1) (func $r (export "_start") (call $r)))'),
  )
  expect(command.abi).toBe('wagi')
  expect(failure(await runtime.invoker.invoke(command, request('/')))).toBe('stack_overflow')
})

test('a large module is run by few threads, a small one by all but one', async () => {
  const own = await startRuntime(4)
  const threadsOf = async (size_bytes: number) => {
    const fn = await own.guest('misbehave-c', { size_bytes })
    const calls = Array.from({ length: 6 }, () => own.invoker.invoke(fn, request('/sleep/20')))
    for (const outcome of await Promise.all(calls)) answer(outcome)
    return own.stats.get(fn.slot, 'instances')
  }
  expect(await threadsOf(30_000_000)).toBe(1)
  expect(await threadsOf(5_000_000)).toBe(2)
  expect(await threadsOf(30_000)).toBe(3)
  await own.close()
})

test('a module whose start function traps is refused when it is prepared, in both ABIs', async () => {
  const trap = '(start $s) (func $s unreachable)'
  const kept = runtime.module(numberGuest('(i32.const 1)', trap))
  const command = runtime.module(
    assemble(`(module (memory (export "memory") 1) (func (export "_start")) ${trap})`),
  )
  expect([kept.abi, command.abi]).toEqual(['edgefn', 'wagi'])
  for (const fn of [kept, command]) {
    await expect(runtime.invoker.prepare(fn)).rejects.toThrow('trapped')
  }
})

test('a start function that never ends is stopped', async () => {
  const bytes = numberGuest('(i32.const 1)', '(start $s) (func $s (loop (br 0)))')
  const fn = runtime.module(bytes, { max_execution_ms: 100 })
  expect(failure(await runtime.invoker.invoke(fn, request('/')))).toBe('execution_timeout')
})

test('a cached file that is damaged or gone is refused before it is parsed', async () => {
  const fn = await runtime.guest('hello-c')
  writeFileSync(fn.path ?? '', 'not the module')
  expect(failure(await runtime.invoker.invoke(fn, request('/')))).toBe('artifact_mismatch')
  truncateSync(fn.path ?? '', 0)
  expect(failure(await runtime.invoker.invoke(fn, request('/')))).toBe('artifact_mismatch')
  const gone = await runtime.guest('hello-c', { path: '/nonexistent/module.wasm' })
  expect(failure(await runtime.invoker.invoke(gone, request('/')))).toBe('artifact_mismatch')
})

test('a body that does not fit the guest’s memory is a memory limit, not a crash', async () => {
  const fn = await runtime.guest('echo-c', { memory_pages: 4 })
  const body = new Uint8Array(2_000_000)
  const outcome = await runtime.invoker.invoke(fn, request('/', { method: 'POST', body }))
  expect(['memory_limit', 'function_trap']).toContain(failure(outcome))
})

test.each(['interpreted', 'O0'] as const)(
  'a request that fits is not refused for the buffers of those before it (%s)',
  async (level) => {
    const fn = await runtime.compiled(await runtime.guest('sdk-c', { memory_pages: 64 }), level)
    const large = new Uint8Array(2_500_000)
    const alone = await runtime.invoker.invoke(fn, request('/x', { method: 'POST', body: large }))
    expect(answer(alone).status).toBe(200)
    for (let round = 0; round < 20; round += 1) {
      for (const body of [large.subarray(0, 1_500_000), large]) {
        const outcome = await runtime.invoker.invoke(fn, request('/x', { method: 'POST', body }))
        expect([round, body.length, answer(outcome).status]).toEqual([round, body.length, 200])
      }
    }
    // What never fits is still the function's own limit.
    const body = new Uint8Array(5_000_000)
    const outcome = await runtime.invoker.invoke(fn, request('/x', { method: 'POST', body }))
    expect(failure(outcome)).toBe('memory_limit')
  },
)

test('P10: the engine enforces exactly the page limit of the manifest', async () => {
  const bytes = numberGuest(
    `(block $done (result i32)
       (loop $more (drop (br_if $done (memory.size)
         (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))) (br $more))
       (memory.size))`,
  )
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 256 }), async (memory_pages) => {
      const fn = runtime.module(bytes, { memory_pages })
      const outcome = await runtime.invoker.invoke(fn, request('/'))
      expect(Number(answer(outcome).text)).toBe(memory_pages)
      runtime.invoker.assign([])
    }),
    { numRuns: 100 },
  )
}, 120_000)

test('P11: whatever the limit, a guest that passes it is stopped and answered with a timeout', async () => {
  const loop = await runtime.guest('misbehave-c')
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 60 }),
      fc.constantFrom('/loop', '/sleep/5000'),
      async (max_execution_ms, path) => {
        const fn = { ...loop, max_execution_ms }
        const outcome = await runtime.invoker.invoke(fn, request(path))
        expect(failure(outcome)).toBe('execution_timeout')
        expect(outcome.execution_ms).toBeGreaterThanOrEqual(max_execution_ms)
        expect(answer(await runtime.invoker.invoke(loop, request('/echo'))).status).toBe(200)
      },
    ),
    { numRuns: 100 },
  )
}, 120_000)

/** Functions of the allow-list that succeed when their pointers are good [R6.4]. */
const ALLOWED = new Set([
  'args_get',
  'args_sizes_get',
  'clock_res_get',
  'clock_time_get',
  'environ_get',
  'environ_sizes_get',
  'random_get',
  'sched_yield',
])
const BAD_DESCRIPTOR = 8
const NOT_SOCKET = 57
const NOT_CAPABLE = 76

/** What a function outside the allow-list may answer, the first argument being the descriptor where there is one. */
function refusals(name: string, first: number): number[] {
  const isStream = first >= 0 && first <= 2
  if (name.startsWith('sock_')) return [isStream ? NOT_SOCKET : BAD_DESCRIPTOR]
  if (name.startsWith('fd_prestat_')) return [BAD_DESCRIPTOR]
  if (name.startsWith('fd_') && !isStream) return [BAD_DESCRIPTOR]
  // On a stream it depends on the function, and waiting has no descriptor: wasi.test.ts goes into those.
  if (name.startsWith('fd_')) return [0, 8, 21, 28, 54, 70, NOT_CAPABLE]
  return name === 'poll_oneoff' ? [0, 21, 28] : [NOT_CAPABLE]
}

test('P12: allowed WASI functions work and all others are denied, whatever the arguments', async () => {
  const functions = HOST_IMPORTS.filter(
    (entry) => entry.module === 'wasi_snapshot_preview1' && entry.results.length === 1,
  )
  const argument = fc.oneof(
    fc.integer({ min: 0, max: 5 }),
    fc.integer({ min: 64, max: 2048 }),
    fc.integer(),
  )
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...functions),
      fc.array(argument, { minLength: 9, maxLength: 9 }),
      async (entry, values) => {
        const args = entry.params.map((type, index) => `(${type}.const ${values[index] ?? 0})`)
        const signature = `(param ${entry.params.join(' ')}) (result i32)`
        const fn = runtime.module(
          numberGuest(
            `(call $f ${args.join(' ')})`,
            `(import "wasi_snapshot_preview1" "${entry.name}" (func $f ${signature}))`,
          ),
          { max_execution_ms: 100 },
        )
        const outcome = await runtime.invoker.invoke(fn, request('/'))
        runtime.invoker.assign([])
        if (!outcome.ok) {
          // A poll may wait past the limit; nothing else may end the call.
          expect([entry.name, outcome.code]).toEqual(['poll_oneoff', 'execution_timeout'])
          return
        }
        const errno = Number(answer(outcome).text)
        const wanted = ALLOWED.has(entry.name) ? [0, 21, 28] : refusals(entry.name, values[0] ?? 0)
        expect({ name: entry.name, errno: wanted.includes(errno) ? 'as wanted' : errno }).toEqual({
          name: entry.name,
          errno: 'as wanted',
        })
      },
    ),
    { numRuns: 150 },
  )
}, 120_000)

test('a function that comes into service has its warm instance in the statistics', async () => {
  const own = await startRuntime(2)
  const fn = await own.guest('hello-c')
  const counted = () => own.stats.get(fn.slot, 'instances')
  await own.invoker.prepare(fn)
  // As the worker does with a slot that is new to it.
  own.stats.set(fn.slot, 'instances', 0)
  own.invoker.assign([fn])
  expect(counted()).toBe(1)
  own.invoker.assign([{ ...fn, version: fn.version + 1 }])
  expect(counted()).toBe(0)
  await own.close()
})

test('an instance’s memory is what the statistics say', async () => {
  const fn = runtime.module(numberGuest('(i32.const 7)', '', 3))
  await runtime.invoker.prepare(fn)
  expect(answer(await runtime.invoker.invoke(fn, request('/'))).text).toBe('0000000007')
  expect(runtime.stats.get(fn.slot, 'instances')).toBe(1)
  expect(runtime.stats.get(fn.slot, 'instance_bytes')).toBe(3 * PAGE_BYTES)
})

test('an initialisation that does not end is given up before the worker is taken for hung', async () => {
  const loops = numberGuest('(i32.const 1)', '(start $s) (func $s (loop (br 0)))')
  const fn = runtime.module(loops, { max_execution_ms: 600_000 })
  const startedAt = performance.now()
  await expect(runtime.invoker.prepare(fn)).rejects.toThrow('not initialised within 8000 ms')
  expect(performance.now() - startedAt).toBeLessThan(25_000)
}, 120_000)
