import { afterAll, beforeAll, expect, test } from 'bun:test'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { FunctionView } from '../../src/protocol/api.ts'
import type { SchemaSummary, SchemaView } from '../../src/protocol/schemas.ts'
import { sqlDatabaseDir, sqlDatabaseFile } from '../../src/sql/database-files.ts'
import { ControlPlane, GUESTS, Node, until, World } from './harness.ts'

let world: World
let plane: ControlPlane
let a: Node
let b: Node

const guest = join(GUESTS, 'sql-c.wasm')

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world)).start()
  a = await Node.create(world, plane, { id: 'a', pop: 'tokyo-1' })
  b = await Node.create(world, plane, { id: 'b', pop: 'osaka-1' })
  await Promise.all([a.start(), b.start()])
}, 120_000)
afterAll(() => world.close(), 60_000)

async function create(name: string, sql: string, ...flags: string[]): Promise<SchemaSummary> {
  const file = join(world.dir, 'schema.sql')
  writeFileSync(file, sql)
  return JSON.parse(
    await plane.run('schemas', 'create', name, file, '--output', 'json', ...flags),
  ) as SchemaSummary
}

/** `node:number=state` of every schema on every node. */
async function standings(name: string): Promise<string[]> {
  const rows = JSON.parse(await plane.run('schemas', 'status', name, '--output', 'json')) as {
    node_id: string
    number: number
    state: string
  }[]
  return rows.map((row) => `${row.node_id}:${row.number}=${row.state}`)
}

const settled = (name: string, expected: readonly string[]) =>
  until(`${name} is ${expected.join(' ')}`, async () =>
    Bun.deepEquals((await standings(name)).toSorted(), expected.toSorted()),
  )

/** What the guest says of a statement: the result, and the document or SQLite's words. */
async function ask(
  node: Node,
  path: string,
  sql: string,
  params: unknown[] = [],
): Promise<unknown[]> {
  const op = /^\s*(?:select|with)/i.test(sql) ? 'query' : 'exec'
  const body = `${sql}\n${JSON.stringify(params)}`
  const response = await node.get(`${path}?op=${op}`, { method: 'POST', body })
  if (!response.ok) return [response.status]
  const text = await response.text()
  const newline = text.indexOf('\n')
  const [code, rest] = [Number(text.slice(0, newline)), text.slice(newline + 1)]
  return [code >= 0 ? 'ok' : code, code >= 0 ? JSON.parse(rest) : rest]
}

const rowsOf = async (node: Node, path: string, sql: string) =>
  ((await ask(node, path, sql))[1] as { rows: unknown[][] }).rows

test('a schema reaches the nodes that it is for, and the guest reads and writes its tables', async () => {
  await plane.run('deploy', guest, '--name', 'book', '--route', '/book')
  expect(await ask(a, '/book', 'SELECT 1')).toEqual([-1, ''])
  await create('book', 'CREATE TABLE entries (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;')
  await create('book', 'CREATE TABLE only_tokyo (x)', '--target', 'tokyo-*', '--label', 'east')
  await settled('book', ['a:1=applied', 'b:1=applied', 'a:2=applied'])
  expect(await ask(a, '/book', 'INSERT INTO entries (text) VALUES (?), (?)', ['x', 'é'])).toEqual([
    'ok',
    { changes: 2, last_insert_rowid: 2, columns: [], rows: [] },
  ])
  expect(await rowsOf(a, '/book', 'SELECT * FROM entries')).toEqual([
    [1, 'x'],
    [2, 'é'],
  ])
  // Every node has its own.
  expect(await rowsOf(b, '/book', 'SELECT * FROM entries')).toEqual([])
  expect(await ask(b, '/book', 'SELECT * FROM only_tokyo')).toEqual([
    -13,
    'no such table: only_tokyo',
  ])
  // Tables are the schemas' to make.
  expect((await ask(a, '/book', 'CREATE TABLE mine (x)'))[0]).toBe(-13)
  const list = await plane.run('schemas', 'list', '--function', 'book')
  expect(list).toMatch(/book\s+2\s+east/)
}, 120_000)

test('what does not run on an empty database is refused with SQLite’s words', async () => {
  for (const [sql, words] of [
    ['CREATE TABLE entries (x)', 'table entries already exists'],
    ['ALTER TABLE absent ADD COLUMN y', 'no such table: absent'],
    ["ATTACH 'never.db' AS x", 'not authorized'],
    ['COMMIT; DROP TABLE entries', 'not authorized'],
    ['DELETE FROM edgefn_schemas', 'not authorized'],
  ]) {
    writeFileSync(join(world.dir, 'bad.sql'), sql ?? '')
    const { code, stderr } = await plane.cli(
      'schemas',
      'create',
      'book',
      join(world.dir, 'bad.sql'),
    )
    expect([code, stderr]).toEqual([4, expect.stringContaining(words ?? '')])
  }
  expect(
    (await plane.api<{ items: unknown[] }>('GET', '/schemas?function=book')).items,
  ).toHaveLength(2)
}, 120_000)

test('one that fails on the rows of a node is rolled back there and reported; it and the new version wait', async () => {
  await ask(a, '/book', 'INSERT INTO entries (text) VALUES (?)', ['x'])
  const failing = await create(
    'book',
    'CREATE TABLE more (x); CREATE UNIQUE INDEX texts ON entries (text)',
  )
  await create('book', 'CREATE TABLE after_it (x)')
  await settled('book', [
    ...['a:1=applied', 'a:2=applied', 'a:3=failed', 'a:4=pending'],
    ...['b:1=applied', 'b:3=applied', 'b:4=applied'],
  ])
  const { nodes } = await plane.api<SchemaView>('GET', `/schemas/${failing.id}`)
  expect(nodes.find(({ node_id }) => node_id === 'a')).toMatchObject({
    error_code: 'sql_error',
    error_message: 'line 1: UNIQUE constraint failed: entries.text',
  })
  expect(
    await rowsOf(a, '/book', "SELECT count(*) FROM sqlite_schema WHERE name = 'more'"),
  ).toEqual([[0]])
  // The function serves on; its next version waits for the schema, on this node alone.
  const other = join(GUESTS, 'hello-c.wasm')
  const { code, stdout, stderr } = await plane.cli(
    'deploy',
    other,
    '--name',
    'book',
    '--route',
    '/book',
  )
  expect([code, stdout + stderr]).toEqual([5, expect.stringContaining('Schema 3')])
  expect(await rowsOf(a, '/book', 'SELECT count(*) FROM entries')).toEqual([[3]])
  expect(await (await b.get('/book')).text()).toContain('Hello')
  // Once the rows allow it, it is applied, and the version follows.
  await ask(a, '/book', 'DELETE FROM entries WHERE id = 3')
  await plane.run('nodes', 'sync', 'a')
  await settled('book', [
    ...['a:1=applied', 'a:2=applied', 'a:3=applied', 'a:4=applied'],
    ...['b:1=applied', 'b:3=applied', 'b:4=applied'],
  ])
  await until('the version follows', async () =>
    (await (await a.get('/book')).text()).includes('Hello'),
  )
}, 120_000)

test('a node that was away, or whose agent is killed amidst a long schema, has it applied once', async () => {
  await plane.run(
    'deploy',
    guest,
    '--name',
    'long',
    '--route',
    '/long',
    '--max-execution-ms',
    '5000',
  )
  await create('long', 'CREATE TABLE t (n INTEGER)')
  await settled('long', ['a:1=applied', 'b:1=applied'])
  const fill =
    'INSERT INTO t WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 4000) SELECT n FROM r'
  expect((await ask(a, '/long', fill))[0]).toBe('ok')
  await b.stop('SIGTERM')
  // Quick on an empty table; some seconds on this one.
  const slow =
    'INSERT INTO t SELECT -1 * (count(*) > 0) FROM t x, t y, (SELECT n FROM t LIMIT 4) z WHERE x.n + y.n + z.n > 0'
  const isRunning = () => childrenOf(a.pid).some((words) => words.includes('__schemas'))
  await create('long', slow)
  await until('it runs', isRunning)
  // Readers are served, and who writes is told that it is busy.
  const negative = 'SELECT count(*) FROM t WHERE n < 0'
  expect(await rowsOf(a, '/long', negative)).toEqual([[0]])
  const insert = 'INSERT INTO t VALUES (5)'
  await until('who writes is told', async () => (await ask(a, '/long', insert))[0] === -12)
  expect(isRunning()).toBe(true)
  await a.stop('SIGKILL')
  await a.start()
  await settled('long', ['a:1=applied', 'b:1=applied', 'a:2=applied', 'b:2=pending'])
  expect(await rowsOf(a, '/long', negative)).toEqual([[1]])
  await b.start()
  await settled('long', ['a:1=applied', 'b:1=applied', 'a:2=applied', 'b:2=applied'])
  expect(await rowsOf(b, '/long', 'SELECT * FROM t')).toEqual([[0]])
}, 120_000)

test('schemas that are made at the same moment are all made, each with a number of its own', async () => {
  await plane.run('deploy', guest, '--name', 'many', '--route', '/many')
  const files = Array.from({ length: 8 }, (_, index) => {
    const file = join(world.dir, `many-${index}.sql`)
    writeFileSync(file, `CREATE TABLE t${index} (x)`)
    return file
  })
  const made = await Promise.all(
    files.map((file) => plane.run('schemas', 'create', 'many', file, '--output', 'json')),
  )
  const numbers = made.map((text) => (JSON.parse(text) as SchemaSummary).number)
  expect(numbers.toSorted((one, other) => one - other)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
  await plane.run('functions', 'delete', 'many')
}, 120_000)

test('a query that never ends is stopped by its deadline, and the neighbour notices nothing', async () => {
  const workers = a.workers()
  const endless =
    'WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r'
  const calls = Promise.all(Array.from({ length: 4 }, () => ask(a, '/long', endless)))
  const startedAt = performance.now()
  let served = 0
  while (performance.now() - startedAt < 4_000) {
    expect((await a.get('/book')).status).toBe(200)
    served += 1
  }
  expect(await calls).toEqual([[504], [504], [504], [504]])
  expect(served).toBeGreaterThan(100)
  expect(a.workers()).toEqual(workers)
  expect(await a.metric('edgefn_guest_stop_defects_total')).toBe(0)
}, 120_000)

test('the tables go with their function', async () => {
  const { id } = await plane.api<FunctionView>('GET', '/functions/long')
  const file = sqlDatabaseFile(sqlDatabaseDir(join(a.dataDir, 'sql'), id))
  expect(existsSync(file)).toBe(true)
  await plane.run('functions', 'delete', 'long')
  await until('they are gone', () => !existsSync(file))
}, 120_000)

/** Command lines of the processes that a process has started. */
function childrenOf(pid: number): string[] {
  const { stdout } = Bun.spawnSync(['ps', '--ppid', String(pid), '-o', 'args='])
  return stdout.toString().split('\n')
}
