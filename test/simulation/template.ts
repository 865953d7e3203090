/** The database that every schedule begins with: nodes that have joined, functions with versions that are ready. */

import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { openBase, type Step } from '../../src/cp/base.ts'
import type { Transaction } from '../../src/cp/db/database.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { nodeIdSchema, type NodeId } from '../../src/protocol/ids.ts'
import { configOf } from './control-plane.ts'

const nodeId = (text: string) => nodeIdSchema.parse(text)

/** Two in Tokyo, so that a POP is more than a node. */
export const NODES: readonly { readonly id: NodeId; readonly pop: string }[] = [
  { id: nodeId('tokyo-a'), pop: 'tokyo' },
  { id: nodeId('tokyo-b'), pop: 'tokyo' },
  { id: nodeId('osaka-a'), pop: 'osaka' },
  { id: nodeId('paris-a'), pop: 'paris' },
]
export const FUNCTIONS = ['alpha', 'beta'] as const
export const VERSIONS = [1, 2, 3, 4] as const
/** Versions that answer with faults on some nodes, in schedules with traffic: these and the newer ones. */
export const FAULTY_FROM_VERSION = 3
/** The version that some nodes cannot load in some schedules. */
export const BAD_VERSION = 4

export class Template implements Disposable {
  // In memory where there is a place for it: nothing here waits for a disk.
  readonly #dir = mkdtempSync(
    join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'edgefn-simulation-'),
  )
  #copies = 0

  static async make(): Promise<Template> {
    const template = new Template()
    const closing: Step[] = []
    const base = await openBase(
      configOf(template.#original),
      createLog({ component: 'cp', level: 'error' }),
      closing,
      {
        addresses: { apiUrl: () => 'http://cp.test', mqttUrl: () => null },
        wake: () => {},
        broker: () => null,
      },
    )
    await base.db.write(fill)
    for (const step of closing.toReversed()) await step()
    return template
  }

  get #original(): string {
    return join(this.#dir, 'original')
  }

  /** A copy for one schedule, gone after it. */
  copy(): { readonly path: string } & Disposable {
    this.#copies += 1
    const path = join(this.#dir, `copy-${this.#copies}`)
    cpSync(this.#original, path, { recursive: true })
    return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
  }

  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

async function fill(tx: Transaction): Promise<void> {
  const now = '2026-01-01T00:00:00.000Z'
  for (const { id, pop } of NODES) {
    await tx.run(
      `INSERT INTO nodes (id, pop_id, ip, status, version, os, arch, http_port, token_hash, created_at, updated_at)
       VALUES (?, ?, '127.0.0.1', 'online', 'simulated', 'linux', 'x64', 8787, '', ?, ?)`,
      [id, pop, now, now],
    )
  }
  for (const name of FUNCTIONS) {
    const id = Bun.randomUUIDv7()
    await tx.run(
      `INSERT INTO functions (id, name, description, created_at, updated_at) VALUES (?, ?, '', ?, ?)`,
      [id, name, now, now],
    )
    for (const version of VERSIONS) await addVersion(tx, id, name, version, now)
  }
}

async function addVersion(
  tx: Transaction,
  functionId: string,
  name: string,
  version: number,
  now: string,
): Promise<void> {
  const sha256 = new Bun.CryptoHasher('sha256').update(`${name}@${version}`).digest('hex')
  await tx.run(
    `INSERT INTO artifacts (sha256, size_bytes, signature, created_at) VALUES (?, 100, 'none', ?)`,
    [sha256, now],
  )
  const quotas = JSON.stringify({
    concurrency: null,
    requests_per_second: null,
    burst: null,
    queue_wait_ms: null,
  })
  await tx.run(
    `INSERT INTO versions (function_id, version, state, entrypoint, memory_pages, max_execution_ms, quotas, env,
       message, abi, artifact_sha256, uploaded_sha256, created_at)
     VALUES (?, ?, 'ready', 'handle', 16, 500, ?, '{}', '', 'edgefn', ?, ?, ?)`,
    [functionId, version, quotas, sha256, sha256, now],
  )
}
