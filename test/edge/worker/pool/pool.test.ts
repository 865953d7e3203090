import { expect, test } from 'bun:test'
import fc from 'fast-check'

import { Pool } from '../../../../src/edge/worker/pool/pool.ts'
import type { PoolLimits } from '../../../../src/edge/worker/pool/pool.ts'
import { budgetShareMax, PoolBudget } from '../../../../src/edge/worker/pool/budget.ts'
import type { Instance } from '../../../../src/edge/worker/pool/instance.ts'
import { LoadedCode } from '../../../../src/edge/worker/pool/loaded-code.ts'

const THREADS = 3

const at = (id: number, thread: number) => ({ id, thread, cost: 1000 })

function poolOf(
  limits: PoolLimits,
  budget = new PoolBudget<Pool>(Infinity),
  loaded = new LoadedCode(),
): Pool {
  return new Pool({ key: 'function', code: 'module', limits, budget, loaded })
}

type Step =
  | { readonly do: 'acquire'; readonly free: readonly boolean[] }
  | { readonly do: 'release'; readonly pick: number; readonly alive: boolean }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'evict' }

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant('acquire' as const),
    free: fc.array(fc.boolean(), { minLength: THREADS, maxLength: THREADS }),
  }),
  fc.record({
    do: fc.constant('release' as const),
    pick: fc.nat(20),
    alive: fc.boolean(),
  }),
  fc.record({ do: fc.constant('wait' as const), ms: fc.nat(400) }),
  fc.record({ do: fc.constant('evict' as const) }),
)

const limits = fc
  .record({ instancesMin: fc.integer({ min: 0, max: 2 }), more: fc.nat(4), idleMsMax: fc.nat(500) })
  .map(({ instancesMin, more, idleMsMax }) => ({
    instancesMin,
    instancesMax: Math.max(instancesMin + more, 1),
    idleMsMax,
  }))

/** Runs steps against a pool beside a plain record of what is idle and leased, and checks P7 and P8 at each. */
function simulate(
  poolLimits: Parameters<typeof fc.constant>[0] & object,
  steps: readonly Step[],
): void {
  const settings = poolLimits as PoolLimits
  const loaded = new LoadedCode()
  const pool = poolOf(settings, undefined, loaded)
  const leased: Instance[] = []
  const idle = new Set<Instance>()
  let id = 0
  let now = 0
  for (const action of steps) {
    // The module that they are made of is held as long as there is one.
    expect(loaded.hasInstances('module')).toBe(pool.size > 0)
    if (action.do === 'acquire') {
      const isFree = (thread: number) => action.free[thread] === true
      const reusable = [...idle].filter((instance) => isFree(instance.thread))
      const kept = pool.reuse(isFree)
      // P7: an idle instance that can run is taken before any is made, and it is the one used last.
      if (reusable.length > 0) {
        expect(kept).not.toBeNull()
        expect(kept?.usedMs).toBe(Math.max(...reusable.map((instance) => instance.usedMs)))
      }
      const instance = kept ?? pool.create(at((id += 1), id % THREADS), now, 0)
      if (instance === null) expect(idle.size + leased.length).toBe(settings.instancesMax)
      else {
        idle.delete(instance)
        leased.push(instance)
      }
    } else if (action.do === 'release') {
      const [instance] = leased.splice(action.pick % Math.max(leased.length, 1), 1)
      if (instance === undefined) continue
      const kept = pool.release(instance, action.alive, now)
      expect(kept).toBe(action.alive)
      if (kept) idle.add(instance)
    } else if (action.do === 'evict') {
      const oldest = Math.min(...[...idle].map((instance) => instance.usedMs))
      const evicted = pool.evict()
      expect(evicted === null).toBe(idle.size === 0)
      if (evicted !== null) expect(evicted.usedMs).toBe(oldest)
      if (evicted !== null) idle.delete(evicted)
    } else {
      now += action.ms
      for (const instance of pool.reap(now)) {
        expect(now - instance.usedMs).toBeGreaterThanOrEqual(settings.idleMsMax)
        idle.delete(instance)
      }
      expect(idle.size + leased.length).toBe(pool.size)
    }
    expect(pool.size).toBe(idle.size + leased.length)
    expect(pool.size).toBeLessThanOrEqual(settings.instancesMax)
    expect(pool.leased).toBe(leased.length)
  }
}

test('P7: an idle instance is reused before a new one is made', () => {
  fc.assert(fc.property(limits, fc.array(step, { maxLength: 60 }), simulate), { numRuns: 500 })
})

test('P8: a released instance is kept only while the pool is within its limit', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10 }), fc.nat(20), (instancesMax, extra) => {
      const pool = poolOf({ instancesMin: 0, instancesMax, idleMsMax: 1000 })
      const made: Instance[] = []
      for (let id = 0; id < instancesMax + extra; id += 1) {
        const instance = pool.create(at(id, 0), 0, 0)
        if (instance !== null) made.push(instance)
      }
      expect(made.length).toBe(instancesMax)
      for (const instance of made) pool.release(instance, true, 1)
      expect(pool.size).toBe(instancesMax)
      // A foreign or doubled release is never taken in.
      for (const instance of made) expect(pool.release(instance, true, 2)).toBe(false)
      expect(pool.size).toBe(instancesMax)
    }),
    { numRuns: 200 },
  )
})

test('a retired pool gives up its idle instances and takes none back', () => {
  const pool = poolOf({ instancesMin: 1, instancesMax: 4, idleMsMax: 1000 })
  const [first, second] = [pool.create(at(1, 0), 0, 0), pool.create(at(2, 1), 0, 0)]
  if (first === null || second === null) throw new Error('The pool is empty.')
  pool.release(first, true, 1)
  expect(pool.retire()).toEqual([first])
  expect(pool.release(second, true, 2)).toBe(false)
  expect(pool.size).toBe(0)
})

test('an instance counts in full from when it runs until it is looked at, and with what it has touched until it runs again', () => {
  const step = fc.record({
    do: fc.constantFrom('make', 'run', 'look', 'leave'),
    pick: fc.nat(20),
    bytes: fc.nat(4_000),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const budget = new PoolBudget<Pool>(10_000)
      const pool = poolOf({ instancesMin: 1, instancesMax: 100, idleMsMax: 1000 }, budget)
      /** What each costs in full, and what of that is known not to be touched. */
      const model = new Map<Instance, { full: number; untouched: number }>()
      for (const { do: what, pick, bytes } of steps) {
        const instance = [...model.keys()][pick % Math.max(model.size, 1)]
        if (what === 'make') {
          const made = pool.create(at(model.size, 0), 0, 0)
          if (made === null) throw new Error('The pool is full.')
          const sizes = { bytes, memory_at: 4096, memory_bytes: bytes }
          pool.resize(made, sizes, 100 + bytes)
          model.set(made, { full: 100 + bytes, untouched: 0 })
        } else if (what === 'look') {
          const unseen = budget.takeUnseen()
          const known = unseen === null ? undefined : model.get(unseen)
          if (unseen === null || known === undefined) {
            expect(unseen).toBeNull()
            continue
          }
          known.untouched = Math.min(bytes, unseen.memoryBytes)
          budget.looked(unseen, known.untouched)
        } else if (instance !== undefined) {
          const known = model.get(instance)
          if (what === 'run') {
            budget.ran(instance)
            if (known !== undefined) known.untouched = 0
          } else {
            pool.release(instance, false, 0)
            model.delete(instance)
          }
        }
        const sum = [...model.values()].reduce((all, each) => all + each.full - each.untouched, 0)
        expect(budget.bytes).toBe(sum)
      }
      // Whoever runs is looked at again, and nobody twice without.
      let looks = 0
      for (let each = budget.takeUnseen(); each !== null; each = budget.takeUnseen()) {
        budget.looked(each, 0)
        looks += 1
      }
      expect(looks).toBeLessThanOrEqual(model.size)
    }),
    { numRuns: 300 },
  )
})

test('nothing is kept of instances that came and went while there was room', () => {
  const budget = new PoolBudget<Pool>(Infinity)
  const pool = poolOf({ instancesMin: 1, instancesMax: 4, idleMsMax: 1000 }, budget)
  const made = Array.from({ length: 2000 }, (_, id) => {
    const instance = pool.create(at(id, 0), 0, 0)
    if (instance === null) throw new Error('The pool is full.')
    pool.release(instance, false, 0)
    return new WeakRef(instance)
  })
  // A reference is kept until the turn ends in which it was made.
  return Bun.sleep(1).then(() => {
    Bun.gc(true)
    expect(made.filter((each) => each.deref() !== undefined).length).toBeLessThan(500)
  })
})

test('the minimum survives any idle time', () => {
  const pool = poolOf({ instancesMin: 1, instancesMax: 4, idleMsMax: 10 })
  const instances = [1, 2, 3].map((id) => pool.create(at(id, 0), 0, 0))
  for (const instance of instances) if (instance !== null) pool.release(instance, true, instance.id)
  expect(pool.reap(1_000_000).map(({ id }) => id)).toEqual([1, 2])
  expect(pool.size).toBe(1)
})

test('P9: when the pools hold too much, the least recently used idle instance of all goes first, and no other', () => {
  const LIMIT = { instancesMin: 1, instancesMax: 6, idleMsMax: 1e9 }
  const bytesMax = 10_000
  const action = fc.record({
    do: fc.constantFrom('acquire', 'acquire', 'release', 'lose'),
    pool: fc.nat(3),
    pick: fc.nat(20),
    cost: fc.integer({ min: 100, max: 4_000 }),
  })
  fc.assert(
    fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
      const budget = new PoolBudget<Pool>(bytesMax)
      const pools = [0, 1, 2, 3].map(() => poolOf(LIMIT, budget))
      const leased: { instance: Instance; pool: Pool }[] = []
      let idle: Instance[] = []
      let now = 0
      for (const step of actions) {
        now += 1
        const pool = pools[step.pool]
        if (pool === undefined) throw new Error('No such pool.')
        if (step.do === 'acquire') {
          const instance = pool.reuse(() => true) ?? pool.create(at(now, 0), now, 0)
          if (instance === null) continue
          idle = idle.filter((each) => each !== instance)
          leased.push({ instance, pool })
        } else {
          const [ended] = leased.splice(step.pick % Math.max(leased.length, 1), 1)
          if (ended === undefined) continue
          const sizes = { bytes: step.cost, memory_at: 4096, memory_bytes: step.cost }
          ended.pool.resize(ended.instance, sizes, step.cost)
          if (ended.pool.release(ended.instance, step.do === 'release', now))
            idle.push(ended.instance)
        }
        const sum = () =>
          [...idle, ...leased.map(({ instance }) => instance)].reduce(
            (all, { cost }) => all + cost,
            0,
          )
        expect(budget.bytes).toBe(sum())
        while (budget.isOver()) {
          expect(sum()).toBeGreaterThan(bytesMax * budgetShareMax)
          const evicted = budget.oldest()?.pool.evict() ?? null
          const oldest = Math.min(...idle.map(({ usedMs }) => usedMs))
          if (evicted === null) {
            expect(idle).toEqual([])
            break
          }
          expect(evicted.usedMs).toBe(oldest)
          idle = idle.filter((each) => each !== evicted)
          expect(budget.bytes).toBe(sum())
        }
        if (idle.length > 0) expect(sum()).toBeLessThanOrEqual(bytesMax * budgetShareMax)
        expect(pools.reduce((all, { size }) => all + size, 0)).toBe(idle.length + leased.length)
      }
      for (const pool of pools) pool.retire()
      for (const { instance, pool } of leased) pool.release(instance, true, now)
      expect(budget.bytes).toBe(0)
      expect(budget.oldest()).toBeNull()
    }),
    { numRuns: 300 },
  )
})
