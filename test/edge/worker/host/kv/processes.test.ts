import { afterEach, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { kvStoreDir } from '../../../../../src/edge/kv-files.ts'
import { KvStore } from '../../../../../src/edge/worker/host/kv/store.ts'

const WRITER = join(import.meta.dir, 'writer-process.ts')
const FUNCTION_ID = '01890000-0000-7000-8000-000000000001'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close()
})

function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'edgefn-kv-'))
  closers.push(() => rmSync(dir, { recursive: true, force: true }))
  return join(dir, 'kv')
}

function startWriter(dir: string, prefix: string, count: number, valueBytes = 10, shell = '') {
  const words = [process.execPath, WRITER, dir, FUNCTION_ID, prefix, count, valueBytes].map(String)
  const command = shell === '' ? words : ['bash', '-c', `${shell}; exec "$@"`, 'bash', ...words]
  const child = Bun.spawn(command, { stdout: 'pipe', stderr: 'inherit' })
  closers.push(() => child.kill('SIGKILL'))
  return child
}

/** The whole lines of a stream, which `seen` is told of as they come. */
async function linesOf(
  stream: ReadableStream<Uint8Array>,
  seen: (lines: readonly string[]) => void = () => {},
): Promise<string[]> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const piece of stream) {
    text += decoder.decode(piece, { stream: true })
    seen(text.split('\n'))
  }
  // What comes after the last line feed is not a whole line.
  return text.split('\n').slice(0, -1)
}

function keysIn(dir: string): { keys: Set<string>; usage: number } {
  const store = new KvStore(kvStoreDir(dir, FUNCTION_ID))
  const keys = new Set<string>()
  const empty = new Uint8Array(0)
  store.list(
    empty,
    empty,
    Date.now(),
    () => false,
    (key) => {
      keys.add(new TextDecoder().decode(key))
      return true
    },
  )
  const usage = store.usage().keys
  store.close()
  return { keys, usage }
}

test('processes that write at the same time lose nothing, the making of the store included', async () => {
  const dir = tempDir()
  const writers = ['a', 'b', 'c', 'd'].map((prefix) => startWriter(dir, prefix, 200))
  const outputs = await Promise.all(writers.map((writer) => linesOf(writer.stdout)))
  for (const lines of outputs) expect(lines.length).toBe(201)
  const { keys, usage } = keysIn(dir)
  expect([keys.size, usage]).toEqual([800, 800])
}, 120_000)

test('what was acknowledged is there after kill -9, at any moment', async () => {
  const dir = tempDir()
  let total = 0
  for (let round = 0; round < 8; round += 1) {
    const prefix = `r${round}-`
    // With values that fill a log quickly, so that some are killed over its writing back.
    const writer = startWriter(dir, prefix, 100_000, round % 2 === 0 ? 20 : 20_000)
    const acknowledged = await linesOf(writer.stdout, (lines) => {
      if (lines.length > 20 + round * 7) writer.kill('SIGKILL')
    })
    await writer.exited
    expect(writer.signalCode).toBe('SIGKILL')
    const { keys, usage } = keysIn(dir)
    expect(acknowledged.filter((n) => !keys.has(`${prefix}${n}`))).toEqual([])
    expect(usage).toBe(keys.size)
    expect(keys.size).toBeGreaterThanOrEqual(total + acknowledged.length)
    total = keys.size
  }
}, 120_000)

test('a disk that takes no more is told as such, and what was stored stays', async () => {
  const dir = tempDir()
  // Files of this process end at 512 KiB. The signal that tells so is ignored, as a full disk has none.
  const writer = startWriter(dir, 'k', 50, 50_000, "trap '' XFSZ; ulimit -f 512")
  const lines = await linesOf(writer.stdout)
  expect(lines).toContain('unavailable')
  expect(lines.at(-1)).toBe('done')
  const stored = lines.filter((line) => /^\d+$/.test(line))
  expect(stored.length).toBeGreaterThan(2)
  const { keys } = keysIn(dir)
  expect(stored.filter((n) => !keys.has(`k${n}`))).toEqual([])
  expect(existsSync(`${kvStoreDir(dir, FUNCTION_ID)}.damaged`)).toBe(false)
}, 120_000)
