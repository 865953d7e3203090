/** The life of a node's token. */

import { afterEach, beforeEach, expect, test } from 'bun:test'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

import {
  readCredentials,
  storedCredentialsSchema,
  writeCredentials,
} from '../../../src/edge/agent/credentials-file.ts'
import { openCacheIndex } from '../../../src/edge/agent/cache/cache-index.ts'
import { createCommandStore, NO_MODES } from '../../../src/edge/agent/cache/command-store.ts'
import type { CommandId } from '../../../src/protocol/commands.ts'
import { Enrolment, needsRenewal } from '../../../src/edge/agent/enrol.ts'
import { startAgent } from '../../../src/edge/agent/main.ts'
import { FixtureCp } from './fixtures/cp.ts'
import {
  fixtureCommands,
  makeConfig,
  makeDir,
  quietLog,
  removeDir,
  until,
} from './fixtures/node.ts'

let dir: string
let cp: FixtureCp

beforeEach(() => {
  dir = makeDir()
  cp = new FixtureCp()
  cp.start()
})
afterEach(async () => {
  await cp.stop()
  removeDir(dir)
})

const stored = (fields: { token?: string; expires: number; obtained: number }) =>
  storedCredentialsSchema.parse({
    node_id: 'n',
    pop_id: 'p',
    token: fields.token ?? 't',
    token_expires_at: new Date(fields.expires).toISOString(),
    obtained_at: new Date(fields.obtained).toISOString(),
    mqtt_url: null,
    signing_key: 'k',
    heartbeat_seconds: 30,
  })

test('a token is renewed when less than a third of its life is left', () => {
  const credentials = stored({ expires: 30_000, obtained: 0 })
  expect(needsRenewal(credentials, 19_999, 0)).toBe(false)
  expect(needsRenewal(credentials, 20_001, 0)).toBe(true)
  expect(needsRenewal(credentials, 40_000, 0)).toBe(true)
  expect(needsRenewal(null, 40_000, 0)).toBe(false)
})

test('a clock that is years off, or is set, does not keep a node from renewing its token in time', () => {
  const day = 86_400_000
  const signedFor = (days: number) => {
    const claims = Buffer.from(JSON.stringify({ iat: 1_000_000, exp: 1_000_000 + days * 86_400 }))
    return `e30.${claims.toString('base64url')}.x`
  }
  for (const wrong of [-5000, -40, 0, 40, 5000]) {
    const at = (days: number) => 10_000 * day + (wrong + days) * day
    const token = stored({ token: signedFor(30), expires: 10_030 * day, obtained: at(0) })
    expect([at(19), at(21)].map((now) => needsRenewal(token, now, 0))).toEqual([false, true])
    // Set back to before it was obtained: its age is not known.
    expect(needsRenewal(token, at(-1), 0)).toBe(true)
    // Set back while the agent held it.
    expect([19 * day, 21 * day].map((held) => needsRenewal(token, at(2), held))).toEqual([
      false,
      true,
    ])
  }
})

test('a broker that moves is known though its place cannot be written', async () => {
  const credentials = storedCredentialsSchema.parse({
    node_id: 'n',
    pop_id: 'p',
    token: 't',
    token_expires_at: new Date(Date.now() + 1e8).toISOString(),
    obtained_at: new Date().toISOString(),
    mqtt_url: null,
    signing_key: 'k',
    heartbeat_seconds: 30,
  })
  const path = join(dir, 'credentials.json')
  writeCredentials(path, credentials)
  const enrolment = new Enrolment({
    onEnrolling: () => {},
    config: makeConfig(dir, cp.url, { pop: 'p', node_id: 'n' }),
    ...{ path, log: quietLog, retryDelayMs: () => 1 },
    cp: {
      register: () => Promise.reject(new Error()),
      renewToken: () => Promise.reject(new Error()),
    },
  })
  await enrolment.open()
  // A file cannot take the place of a folder, as it cannot be written on a disk that is full.
  rmSync(path)
  mkdirSync(join(path, 'in-the-way'), { recursive: true })
  const place = { mqtt_url: 'mqtt://127.0.0.1:1', mqtt_auth: 'token' } as const
  expect(enrolment.takeMqttPlace(place)).toBe(true)
  expect(enrolment.current().mqtt_url).toBe(place.mqtt_url)
  expect(enrolment.takeMqttPlace(place)).toBe(false)
})

test('a registration whose answer is lost is asked for again with the same nonce', async () => {
  cp.lostRegistrations = 1
  const agent = await startAgent(makeConfig(dir, cp.url), quietLog, fixtureCommands)
  const nonces = cp.registrations.map((body) => (body as { nonce?: string }).nonce)
  expect(nonces).toEqual([expect.stringMatching(/^[\w-]{43}$/), nonces[0]])
  expect(existsSync(join(dir, 'enrolment-nonce'))).toBe(false)
  await agent.close()
})

test('a node whose clock is far ahead does not renew without end', async () => {
  cp.tokenLifeMs = -1_000
  const agent = await startAgent(makeConfig(dir, cp.url), quietLog, fixtureCommands)
  await Bun.sleep(2_500)
  expect(cp.tokens).toBe(1)
  await agent.close()
})

test('a node renews its token by itself and keeps the new one', async () => {
  cp.tokenLifeMs = 2_000
  const agent = await startAgent(makeConfig(dir, cp.url), quietLog, fixtureCommands)
  const path = join(dir, 'credentials.json')
  await until('the token is new', () => readCredentials(path)?.token !== 'token-1')
  expect(cp.registrations.length).toBe(1)
  await agent.close()
})

test('a node that is enrolled anew does not go on with leaving as the one that it was', async () => {
  const database = openCacheIndex(join(dir, 'index.db'), quietLog)
  const id = Bun.randomUUIDv7() as CommandId
  const modes = { ...NO_MODES, drained: true, leaving: true }
  createCommandStore(database).begin(id, { type: 'remove', params: {} }, modes)
  database.close()
  const agent = await startAgent(makeConfig(dir, cp.url), quietLog, fixtureCommands)
  await Bun.sleep(500)
  expect(readCredentials(join(dir, 'credentials.json'))?.token).toBe('token-1')
  await agent.close()
  const after = openCacheIndex(join(dir, 'index.db'), quietLog)
  expect(createCommandStore(after).find(id)).toBeNull()
  expect(createCommandStore(after).modes()).toEqual(NO_MODES)
  after.close()
})
