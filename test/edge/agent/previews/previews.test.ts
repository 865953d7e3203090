/** Which versions a node runs for previews, and for how long. */

import { expect, test } from 'bun:test'

import { EdgefnError, toEdgefnError } from '../../../../src/errors.ts'
import { Previews } from '../../../../src/edge/agent/previews/previews.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import type { Manifest } from '../../../../src/protocol/manifest.ts'
import { makeManifest } from '../fixtures/manifests.ts'
import { quietLog } from '../fixtures/node.ts'

function open() {
  const state = {
    now: 0,
    calls: new Map<number, number>(),
    asked: 0,
    tables: [] as number[][],
    fails: false,
    traffic: new Set<number>(),
  }
  const previews: Previews = new Previews({
    manifestFor: async (token) => {
      state.asked += 1
      await Bun.sleep(1)
      return makeManifest({ version: Number(token) })
    },
    bringUp: async () => {
      if (state.fails) throw new EdgefnError('function_load_failed', 'It does not load.')
    },
    retable: async () => void state.tables.push(previews.serving().map(({ version }) => version)),
    calls: ({ version }) => state.calls.get(version) ?? 0,
    hasTraffic: ({ version }) => state.traffic.has(version),
    log: quietLog,
    now: () => state.now,
  })
  const bring = (version: number, token = String(version)) =>
    previews.bring(makeManifest({ version }), token)
  const codeOf = async (done: Promise<void>) =>
    done.then(
      () => null,
      (thrown: unknown) => toEdgefnError(thrown).code,
    )
  return { state, previews, bring, codeOf }
}

const versionsOf = (manifests: readonly Manifest[]) => manifests.map(({ version }) => version)

test('a version is brought up once for all who ask, and is in the table when they are answered', async () => {
  const { state, previews, bring } = open()
  await Promise.all([bring(42), bring(42), bring(42)])
  expect([state.asked, state.tables]).toEqual([1, [[42]]])
  await bring(42)
  expect(state.asked).toBe(1)
  expect(previews.find(makeManifest({ version: 42 }))?.version).toBe(42)
})

test('one that does not load, or whose token is of another version, leaves nothing behind', async () => {
  const { state, previews, bring, codeOf } = open()
  state.fails = true
  expect(await codeOf(bring(42))).toBe('function_load_failed')
  expect(await codeOf(bring(43, '44'))).toBe('forbidden')
  expect([previews.serving(), previews.keys().size]).toEqual([[], 0])
  state.fails = false
  expect(await codeOf(bring(42))).toBeNull()
})

test('there are so many at a time; the one that nobody has called for long gives way, one in use does not', async () => {
  const { state, previews, bring, codeOf } = open()
  for (let version = 1; version <= LIMITS.previewsMax; version += 1) await bring(version)
  expect(await codeOf(bring(99))).toBe('overloaded')
  state.now = LIMITS.previewIdleMsMin + 1
  for (let version = 2; version <= LIMITS.previewsMax; version += 1) state.calls.set(version, 1)
  await bring(99)
  expect(versionsOf(previews.serving())).toEqual([2, 3, 4, 5, 6, 7, 8, 99])
  expect(await codeOf(bring(1))).toBe('overloaded')
})

test('those that are not called, whose function is deleted, or that got traffic, go', async () => {
  const { state, previews, bring } = open()
  for (const version of [1, 2, 3]) await bring(version)
  state.now = LIMITS.previewIdleMsMax + 1
  state.calls.set(2, 5)
  state.calls.set(3, 5)
  state.traffic.add(3)
  await previews.look()
  expect(state.tables.at(-1)).toEqual([2])
  previews.drop([makeManifest({}).function_id])
  expect(state.tables.at(-1)).toEqual([])
})
