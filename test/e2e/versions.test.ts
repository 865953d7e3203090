/** Versions and secrets on the real binary: uploaded without traffic, refused with reasons, forced; secrets that guests see and nobody else. */

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

import type { VersionDetail } from '../../src/protocol/versions.ts'
import { BINARY, ControlPlane, GUESTS, Node, until, World } from './harness.ts'

let world: World
let plane: ControlPlane
let node: Node
let other: Node

const guest = (name: string) => join(GUESTS, `${name}.wasm`)

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world)).start()
  node = await (await Node.create(world, plane, { id: 'tokyo-1-a', pop: 'tokyo-1' })).start()
  other = await (await Node.create(world, plane, { id: 'osaka-1-a', pop: 'osaka-1' })).start()
}, 120_000)
afterAll(() => world.close(), 60_000)

async function putSecret(name: string, value: string, ...flags: string[]): Promise<string> {
  const child = Bun.spawn([BINARY, 'secret', 'put', name, ...flags], {
    env: { ...process.env, EDGEFN_CP: plane.url, EDGEFN_API_KEY: plane.key },
    stdin: new Blob([`${value}\n`]),
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()])
  if ((await child.exited) !== 0) throw new Error(err)
  return out
}

test('a version is uploaded without traffic, shown, and refused when it takes something away', async () => {
  await plane.run('deploy', guest('hello-c'), '--name', 'hello', '--route', '/hello')
  const uploaded = await plane.run('versions', 'upload', guest('hello-rust'), '--name', 'hello')
  expect(uploaded).toContain('hello version 2 is ready: edgefn versions deploy hello v2')
  const [one, two] = [
    await plane.run('versions', 'show', 'hello', 'v1'),
    await plane.run('versions', 'show', 'hello', 'v2'),
  ]
  expect(one).toMatch(/tokyo-1 +1 of 1 nodes +100 %/)
  expect(two).toContain('not live anywhere')
  expect(two).toContain('compared with version 1')
  const flags = ['--max-execution-ms', '100', '--concurrency', '3', '--memory-pages', '1']
  const upload = ['versions', 'upload', guest('wagi-hello-c'), '--name', 'hello', ...flags]
  const refused = await plane.cli(...upload.slice(0, -2))
  expect(refused.code).not.toBe(0)
  expect(refused.stderr).toContain('the ABI changes from edgefn to wagi')
  expect(refused.stderr).toContain('max_execution_ms goes down from 500 to 100')
  expect(refused.stderr).toContain('the quota concurrency goes down from none to 3')
  expect(await plane.run('versions', 'list', 'hello')).not.toMatch(/^3 /m)
  const deployed = await plane.cli('deploy', ...upload.slice(2, -2))
  expect(deployed.stderr).toContain('the ABI changes from edgefn to wagi')
  const forced = await plane.cli(...upload.slice(0, -2), '--force')
  expect([forced.code, forced.stderr]).toEqual([0, expect.stringContaining('forced: compared')])
  const shown = JSON.parse(
    await plane.run('versions', 'show', 'hello', 'v3', '-o', 'json'),
  ) as VersionDetail
  expect(shown).toMatchObject({ forced: true, abi: 'wagi', live: [] })
  expect((await node.get('/hello')).status).toBe(200)
}, 120_000)

function filesOf(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

/** Empty for what is very large, and for a file that a node's compiler has taken away meanwhile. */
function textOf(file: string): string {
  try {
    return statSync(file).size < 32 * 1024 * 1024 ? readFileSync(file, 'latin1') : ''
  } catch {
    return ''
  }
}

test('guests see secrets as variables, also on a node that restarts alone; nobody else sees them', async () => {
  const values = ['the-value-number-1', 'the-value-number-2']
  expect(await putSecret('GREETING', values[0] ?? '')).toContain('has number 1')
  expect(await putSecret('GREETING', values[1] ?? '')).toContain('has number 2')
  const flags = ['--secret', 'NAME=GREETING@1', '--target', 'tokyo-1']
  await plane.run('deploy', guest('sdk-c'), '--name', 'sdk', '--route', '/sdk', ...flags)
  await plane.run(
    ...['deploy', guest('wagi-echo-c'), '--name', 'wagi', '--route', '/wagi'],
    ...['--secret', 'HTTP_X_SECRET=GREETING', '--target', 'tokyo-1'],
  )
  const check = async () => {
    expect(await (await node.get('/sdk?op=echo')).text()).toContain('the-value-number-1')
    expect(await (await node.get('/wagi')).text()).toContain('the-value-number-2')
  }
  await check()
  expect(await plane.run('versions', 'show', 'sdk', 'v1')).toContain('NAME=GREETING@1')
  expect(await plane.run('secret', 'list')).toMatch(/GREETING +all +2 .*sdk v1 \(live\)/)
  const inUse = await plane.cli('secret', 'delete', 'GREETING', '--force')
  expect(inUse.stderr).toContain('Secret GREETING is in use by')
  await plane.stop('SIGKILL')
  await node.stop('SIGKILL')
  await node.start()
  await until('the functions are served from what the node kept', async () => {
    await check()
    return true
  })
  // Neither side has them in a file, nor said them.
  const texts = [
    ...filesOf(plane.dataDir),
    ...filesOf(node.dataDir),
    ...filesOf(other.dataDir),
  ].map((file) => [file, textOf(file)] as const)
  texts.push(['output', plane.output + node.output + other.output])
  for (const [file, text] of texts) {
    expect([file, values.some((value) => text.includes(value))]).toEqual([file, false])
  }
  expect(statSync(join(node.dataDir, 'secrets.key')).mode & 0o777).toBe(0o600)
  await plane.start()
}, 120_000)
