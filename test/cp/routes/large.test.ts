/** What making a route costs must not grow with how many there are. */

import { expect, test } from 'bun:test'
import fc from 'fast-check'

import type { Database, Transaction } from '../../../src/cp/db/database.ts'
import { countRoutes } from '../../../src/cp/routes/store.ts'
import type { RouteCreation } from '../../../src/protocol/api.ts'
import type { RouteId } from '../../../src/protocol/ids.ts'
import { developer, slices } from '../deployments/slices.ts'

const route = (path: string): RouteCreation => ({
  host: '*',
  path,
  path_type: 'exact',
  methods: [],
  function: 'f',
  pop_selector: null,
  priority: 0,
})

/** Collects the statements of all transactions from now on. */
function recordStatements(db: Database): Set<string> {
  const texts = new Set<string>()
  const write = db.write.bind(db)
  const recording = (tx: Transaction): Transaction => ({
    ...tx,
    all: (text, parameters) => (texts.add(text), tx.all(text, parameters)),
    get: (text, parameters) => (texts.add(text), tx.get(text, parameters)),
    run: (text, parameters) => (texts.add(text), tx.run(text, parameters)),
  })
  const replaced: Pick<Database, 'write'> = {
    write: (work) => write((tx) => work(recording(tx))),
  }
  Object.assign(db, replaced)
  return texts
}

test('no statement that makes, changes or deletes a route looks at a whole table', async () => {
  await using s = await slices()
  await s.addNode('a', 'tokyo-1')
  await s.addFunction('f')
  const deploy = { target: 'all', strategy: 'immediate', message: '' } as const
  await s.deployments.deploy(developer, 'f', deploy)
  const texts = recordStatements(s.db)
  const { id } = await s.routes.create(developer, route('/a'))
  await s.routes.update(developer, id, { path: '/b' })
  await s.routes.remove(developer, id)
  expect(texts.size).toBeGreaterThan(8)
  const scans: string[] = []
  for (const text of texts) {
    for (const { detail } of await s.db.all(`EXPLAIN QUERY PLAN ${text}`)) {
      // The parameters of a statement are a table, too; the newest row of the audit log is the first of its index backwards.
      if (!/^SCAN (?!json_each|CONSTANT|audit_log$)/.test(String(detail))) continue
      scans.push(`${String(detail)}: ${text}`)
    }
  }
  expect(scans).toEqual([])
})

test('the number of routes that is kept is the number there is', async () => {
  await using s = await slices()
  await s.addFunction('f')
  let path = 0
  const live: RouteId[] = []
  const step = fc.record({
    kind: fc.constantFrom('create', 'create', 'update', 'remove', 'collect'),
    at: fc.nat(20),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
      for (const { kind, at } of steps) {
        const index = live.length === 0 ? -1 : at % live.length
        const id = live[index]
        if (kind === 'create') {
          live.push((await s.routes.create(developer, route(`/${path++}`))).id)
        } else if (kind === 'collect') {
          await s.db.run('DELETE FROM routes WHERE deleted_at IS NOT NULL')
        } else if (id !== undefined && kind === 'update') {
          await s.routes.update(developer, id, { path: `/${path++}` })
        } else if (id !== undefined) {
          await s.routes.remove(developer, id)
          live.splice(index, 1)
        }
      }
      expect(await countRoutes(s.db)).toBe(live.length)
    }),
    { numRuns: 100 },
  )
}, 120_000)
