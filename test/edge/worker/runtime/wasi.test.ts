import { afterAll, beforeAll, describe, expect, test } from 'bun:test'

import fc from 'fast-check'

import type { GuestRequest, Outcome } from '../../../../src/edge/worker/call.ts'
import { HOST_IMPORTS } from '../../../../src/wasm/host-imports.ts'
import { answer, failure, request, startRuntime } from './harness.ts'
import type { RuntimeHarness } from './harness.ts'
import { assemble } from './wat.ts'

let runtime: RuntimeHarness

beforeAll(async () => {
  runtime = await startRuntime(2)
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

const bytes = (text: string) => new TextEncoder().encode(text)

async function call(
  guest: string,
  target: string,
  changes: Partial<GuestRequest> = {},
  memory_pages = 64,
): Promise<Outcome> {
  const fn = await runtime.guest(guest, { memory_pages })
  return runtime.invoker.invoke(fn, request(target, changes))
}

function exitCode(outcome: Outcome): unknown {
  expect(failure(outcome)).toBe('function_error')
  return outcome.ok ? null : outcome.details?.['exit_code']
}

const messages = (outcome: Outcome) => outcome.logs.map(({ message }) => message)

/** The host is the same for guests in any form, and the way to it is not. */
describe.each(['interpreted', 'O0'] as const)('%s', (form) => {
  const run = async (guest: string, target: string, changes: Partial<GuestRequest>) => {
    const fn = await runtime.compiled(await runtime.guest(guest), form)
    return runtime.invoker.invoke(fn, request(target, changes))
  }

  test('WASI called past libc answers what it should, argument by argument', async () => {
    const changes = { body: bytes('0123456789') }
    const outcome = await run('wagi-wasi-c', '/wasi?x=1&%22y%22', changes)
    expect(answer(outcome).text).toMatch(/^through two\n\d+ checks, 0 failed\n$/)
    // Renumbered onto descriptor 2, stdout is still the response; the log has what went to 2 before.
    expect(messages(outcome)).toEqual(['to the log'])
  })

  test('poll_oneoff waits for the earliest subscription and reports what is ready', async () => {
    const outcome = await run('wagi-poll-c', '/', { body: bytes('0123456789') })
    expect(answer(outcome).text).toMatch(/^\d+ checks, 0 failed\n$/)
  })

  test('libc behaves as POSIX programs expect', async () => {
    const changes = { method: 'POST', body: bytes('first line\nsecond\nlast without end') }
    const outcome = await run('wagi-posix-c', '/checks', changes)
    expect(answer(outcome).text).toMatch(/^\d+ checks, 0 failed\n$/)
  })
})

/** Calls of a command, one after the other, with whatever is in its memory as lists, subscriptions and buffers. */
function callsAtRandom(
  calls: readonly (readonly [number, readonly number[]])[],
  memory: Uint8Array,
) {
  const functions = HOST_IMPORTS.filter(
    ({ module, name }) => module === 'wasi_snapshot_preview1' && name !== 'proc_exit',
  )
  const imports = functions.map(
    ({ name, params }, at) =>
      `(import "wasi_snapshot_preview1" "${name}" (func $f${at} (param ${params.join(' ')}) (result i32)))`,
  )
  const made = calls.map(([pick, values]) => {
    const at = pick % functions.length
    const args = functions[at]?.params.map((type, index) => `(${type}.const ${values[index] ?? 0})`)
    // An errno is below 77; anything else traps.
    return `(if (i32.gt_u (call $f${at} ${args?.join(' ')}) (i32.const 76)) (then (unreachable)))`
  })
  const data = [...memory].map((byte) => `\\${byte.toString(16).padStart(2, '0')}`).join('')
  return assemble(`(module ${imports.join('\n')} (memory (export "memory") 1)
    (data (i32.const 0) "${data}") (func (export "_start") ${made.join('\n')}))`)
}

test('whatever programs ask in whatever order, they get an errno, or are stopped', async () => {
  // Small numbers are descriptors and counts, larger ones reach into the memory, some beyond it.
  const number = fc.oneof(fc.nat(4), fc.nat(400), fc.integer())
  const calls = fc.array(fc.tuple(fc.nat(1000), fc.array(number, { minLength: 9, maxLength: 9 })), {
    minLength: 1,
    maxLength: 12,
  })
  const word = fc.oneof(fc.nat(8), fc.nat(400), fc.integer())
  const memory = fc
    .array(word, { minLength: 100, maxLength: 100 })
    .map((words) => new Uint8Array(Int32Array.from(words).buffer))
  await fc.assert(
    fc.asyncProperty(calls, memory, async (made, bytes) => {
      const fn = runtime.module(callsAtRandom(made, bytes), { max_execution_ms: 50 })
      const outcome = await runtime.invoker.invoke(fn, request('/', { body: bytes }))
      runtime.invoker.assign([])
      // Most say nothing that is a response; what they may not do is trap, or hold up the thread.
      if (!outcome.ok) expect(['invalid_response', 'execution_timeout']).toContain(outcome.code)
      expect(outcome.execution_ms).toBeLessThan(2_000)
    }),
    { numRuns: 200 },
  )
}, 120_000)

test('all 46 functions link, and those that nothing is behind answer with their errno', async () => {
  const { text } = answer(await call('wasi-all', '/'))
  expect(
    new Map(
      text
        .trim()
        .split('\n')
        .map((line) => line.split(' ') as [string, string]),
    ),
  ).toEqual(
    new Map([
      ['fd_advise', '70'],
      ['fd_allocate', '70'],
      ['fd_datasync', '28'],
      ['fd_fdstat_set_rights', '00'],
      ['fd_filestat_set_size', '28'],
      ['fd_filestat_set_times', '76'],
      ['fd_pread', '70'],
      ['fd_pwrite', '70'],
      ['fd_readdir', '54'],
      ['fd_renumber', '00'],
      ['fd_sync', '28'],
      ['path_create_directory', '76'],
      ['path_filestat_get', '76'],
      ['path_filestat_set_times', '76'],
      ['path_link', '76'],
      ['path_open', '76'],
      ['path_readlink', '76'],
      ['path_remove_directory', '76'],
      ['path_rename', '76'],
      ['path_symlink', '76'],
      ['path_unlink_file', '76'],
      ['proc_raise', '76'],
      ['sock_accept', '57'],
      ['sock_recv', '57'],
      ['sock_send', '57'],
      ['sock_shutdown', '57'],
    ]),
  )
})

test('a C program ends as it does elsewhere, and what it had buffered leaves with it or not', async () => {
  expect(failure(await call('wagi-posix-c', '/abort'))).toBe('function_trap')
  const asserted = await call('wagi-posix-c', '/assert')
  expect(failure(asserted)).toBe('function_trap')
  expect(messages(asserted)[0]).toMatch(/^Assertion failed: wanted == 2 /)
  expect(answer(await call('wagi-posix-c', '/atexit')).text).toBe('buffered, from atexit\n')
  expect(answer(await call('wagi-posix-c', '/exit-now')).text).toBe('')
  expect(answer(await call('wagi-posix-c', '/closed')).text).toBe('before\n')
  expect(exitCode(await call('wagi-posix-c', '/none-such'))).toBe(3)
})

test('binary bodies go through a C program untouched, small and large', async () => {
  const body = crypto.getRandomValues(new Uint8Array(60_000))
  body.fill(0, 100, 3000)
  const copied = await call('wagi-posix-c', '/cat', { method: 'POST', body })
  expect(copied.ok && Buffer.compare(copied.response.body, body)).toBe(0)
  const empty = await call('wagi-posix-c', '/cat')
  expect(empty.ok && empty.response.body.length).toBe(0)
  const large = await call('wagi-posix-c', '/megabyte')
  const wanted = Uint8Array.from({ length: 1 << 20 }, (_, at) => at * 7 + (at >> 8))
  expect(large.ok && Buffer.compare(large.response.body, wanted)).toBe(0)
})

test('C++ without exceptions: statics are constructed before main and destroyed after it', async () => {
  const outcome = await call('wagi-std-cpp', '/', { body: bytes('b a b') })
  expect(answer(outcome).text.trim().split('\n')).toEqual([
    'first begins',
    'second begins',
    'a 1',
    'b 2',
    'firstsecond 338350',
    'atexit',
    'second ends',
    'first ends',
  ])
})

test('Rust’s standard library works, and has no files, sockets, threads or processes', async () => {
  const body = bytes(`one\ntwo\n${'x'.repeat(100_000)}`)
  const outcome = await call('wagi-std-rust', '/?checks', { method: 'POST', body })
  expect(answer(outcome).text).toMatch(/^\d+ checks, 0 failed\n$/)
  const panicked = await call('wagi-std-rust', '/?panic')
  expect(failure(panicked)).toBe('function_trap')
  expect(messages(panicked).join(' ')).toContain('on purpose')
  expect(exitCode(await call('wagi-std-rust', '/?exit'))).toBe(41)
})

test('an AssemblyScript program has arguments, environment, random numbers and an exit code', async () => {
  const fn = await runtime.guest('wagi-wasi-as', { env: { OWN: '1' } })
  const run = (target: string) => runtime.invoker.invoke(fn, request(target))
  expect(answer(await run('/p?a')).text).toBe('/p|a\ndone\n')
  expect(exitCode(await run('/p?exit=33'))).toBe(33)
  const aborted = await run('/p?a&b')
  expect(exitCode(aborted)).toBe(255)
  expect(messages(aborted)[0]).toMatch(/^abort: three arguments at /)
})

test('a Go program works with its standard library, goroutines and waits', async () => {
  const fn = await runtime.guest('wagi-std-go', { memory_pages: 256, max_execution_ms: 10_000 })
  const body = bytes(`{"n": 7}\n${'x'.repeat(100_000)}`)
  const run = (query: string) =>
    runtime.invoker.invoke(fn, request(`/?${query}`, { method: 'POST', body }))
  expect(answer(await run('checks')).text).toMatch(/^\d+ checks, 0 failed\n$/)
  expect(exitCode(await run('exit'))).toBe(41)
  const panicked = await run('panic')
  expect(exitCode(panicked)).toBe(2)
  expect(messages(panicked)[0]).toBe('panic: on purpose')
  expect(exitCode(await run('deadlock'))).toBe(2)
  const looping = await runtime.invoker.invoke({ ...fn, max_execution_ms: 300 }, request('/?loop'))
  expect(failure(looping)).toBe('execution_timeout')
})

test('a Go reactor is initialised once, keeps its state and its goroutines, and lives in its memory', async () => {
  const fn = await runtime.guest('echo-go', { memory_pages: 256, max_execution_ms: 10_000 })
  const run = async (path: string) =>
    answer(await runtime.invoker.invoke(fn, request(path, { body: bytes('body') }))).text
  expect(fn.abi).toBe('edgefn')
  expect(await run('/count')).toBe('1 calls, constructed 43')
  expect(await run('/count')).toBe('2 calls, constructed 43')
  expect(await run('/a?b')).toBe('GET /a?b body')
  expect(await run('/goroutines')).toBe('285')
  expect(await run('/garbage')).toBe('collected')
  expect(await run('/sleep')).toBe('true')
  const logged = await runtime.invoker.invoke(fn, request('/log'))
  expect(logged.logs.map(({ level, message }) => [level, message])).toEqual([['warn', 'from Go']])
  expect(failure(await runtime.invoker.invoke(fn, request('/panic')))).toBe('function_trap')
  expect(await run('/count')).toBe('1 calls, constructed 43')
})

test('the examples in Go answer within the memory that deploy gives them', async () => {
  for (const name of ['example-go', 'example-wagi-go']) {
    const fn = await runtime.guest(name, { memory_pages: 256, max_execution_ms: 10_000 })
    const outcome = await runtime.invoker.invoke(fn, request('/x'))
    expect(answer(outcome).text).toContain('Hello from Go')
  }
})
