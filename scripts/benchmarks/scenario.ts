/** What a scenario is given, and what it hands back. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'

import type { Goal } from './goals.ts'
import type { Times } from './rounds.ts'
import type { Server } from './servers/server.ts'
import type { Table } from './table.ts'

export interface Settings extends Times {
  /** Functions of the scenario `scale`. */
  readonly functions: number
}

export interface Bench {
  readonly settings: Settings
  /** A temporary directory of this run. */
  readonly dir: string
  /** Tells what happens now. */
  say(text: string): void
}

export interface ScenarioResult {
  readonly tables: readonly Table[]
  readonly goals: readonly Goal[]
  readonly notes: readonly string[]
  /** Everything that was measured, for `--json`. */
  readonly raw: unknown
}

export interface Scenario {
  readonly name: string
  readonly about: string
  run(bench: Bench): Promise<ScenarioResult>
}

const GUESTS = join(import.meta.dir, '../../test/guests/build')

/** Path of a guest that scripts/build-guests has built. */
export function guestPath(name: string): string {
  const path = join(GUESTS, `${name}.wasm`)
  if (!existsSync(path)) throw new Error(`There is no ${path}.`)
  return path
}

/** Starts servers one after the other, hands them over, and ends all in any case. */
export async function withServers<T>(
  starts: readonly (() => Promise<Server>)[],
  use: (servers: readonly Server[]) => Promise<T>,
): Promise<T> {
  const servers: Server[] = []
  try {
    for (const start of starts) servers.push(await start())
    return await use(servers)
  } finally {
    for (const server of servers.toReversed()) await server.stop()
  }
}

/** Throws unless the server answers the request with 200 and exactly these bytes, twice: kept instances must too. */
export async function assertAnswers(
  server: Server,
  path: string,
  expected: string,
  init: RequestInit = {},
): Promise<void> {
  for (const time of ['first', 'second']) {
    const response = await fetch(`${server.url}${path}`, init)
    const text = await response.text()
    if (response.status === 200 && text === expected) continue
    const got = `${response.status} ${JSON.stringify(text.slice(0, 300))}`
    throw new Error(`${server.name}: the ${time} answer at ${path} is ${got}.`)
  }
}
