/** Two control planes on one database and one artifact store, as docs/ROLLOUTS.md says how. */

import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'

import { ControlPlane, type World } from './harness.ts'
import type { Environment } from './running.ts'

export type Pair = readonly [ControlPlane, ControlPlane]

/** Starts both; `env` is what each is started with. */
export async function startPair(
  world: World,
  flags: readonly string[] = [],
  env: readonly [Environment, Environment] = [{}, {}],
): Promise<Pair> {
  const shared = [
    ...['--database-url', `file:${join(world.dir, 'shared.db')}`],
    ...['--artifacts', `fs:${join(world.dir, 'artifacts')}`],
    ...flags,
  ]
  const first = await (await ControlPlane.create(world, shared, env[0])).start()
  const second = await ControlPlane.create(world, shared, env[1])
  mkdirSync(second.dataDir, { mode: 0o700 })
  cpSync(join(first.dataDir, 'keys'), join(second.dataDir, 'keys'), { recursive: true })
  cpSync(join(first.dataDir, 'admin-key'), join(second.dataDir, 'admin-key'))
  return [first, await second.start()]
}
