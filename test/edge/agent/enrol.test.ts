/** The life of a node's token. */

import { afterEach, beforeEach, expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

import {
  readCredentials,
  storedCredentialsSchema,
} from '../../../src/edge/agent/credentials-file.ts'
import { needsRenewal } from '../../../src/edge/agent/enrol.ts'
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

test('a token is renewed when less than a third of its life is left', () => {
  const credentials = storedCredentialsSchema.parse({
    node_id: 'n',
    pop_id: 'p',
    token: 't',
    token_expires_at: new Date(30_000).toISOString(),
    obtained_at: new Date(0).toISOString(),
    mqtt_url: null,
    signing_key: 'k',
    heartbeat_seconds: 30,
  })
  expect(needsRenewal(credentials, 19_999)).toBe(false)
  expect(needsRenewal(credentials, 20_001)).toBe(true)
  expect(needsRenewal(credentials, 40_000)).toBe(true)
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
