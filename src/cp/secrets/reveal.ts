/** Puts the values of secrets into what a node gets over HTTP, and nowhere else. */

import { armsOf, type Manifest } from '../../protocol/manifest.ts'
import type { Plan } from '../../protocol/plan.ts'
import type { Sql } from '../db/database.ts'
import type { Sealing } from '../sealing.ts'
import { purposeOf } from './service.ts'
import { linkedValues, type LinkedValue } from './store.ts'

export interface Reveal {
  /** The plan with the values that its versions refer to; for the node itself only. */
  plan(plan: Plan): Promise<Plan>
  manifest(manifest: Manifest): Promise<Manifest>
}

/** Throws `internal` when a value does not open. */
export function createReveal(sql: Sql, sealing: Pick<Sealing, 'open'>): Reveal {
  async function all(manifests: readonly Manifest[]): Promise<Map<Manifest, Manifest>> {
    const ids = [...new Set(manifests.map(({ function_id }) => function_id))]
    const links = ids.length === 0 ? [] : await linkedValues(sql, ids)
    const revealed = new Map<Manifest, Manifest>()
    if (links.length === 0) return revealed
    const byArm = Map.groupBy(links, armOf)
    const opened: Opened = new Map()
    const valuesOf = (arm: Arm) => open(byArm.get(armOf(arm)) ?? [], opened)
    for (const manifest of manifests) {
      if (!armsOf(manifest).some((arm) => byArm.has(armOf(arm)))) continue
      const main = { ...manifest, secrets: await valuesOf(manifest) }
      const arms: NonNullable<Manifest['split']>['arms'] = []
      for (const arm of manifest.split?.arms ?? []) {
        const secrets = await valuesOf(arm.function)
        arms.push({ ...arm, function: { ...arm.function, secrets } })
      }
      const { split } = manifest
      revealed.set(manifest, split === undefined ? main : { ...main, split: { ...split, arms } })
    }
    return revealed
  }

  async function open(
    links: readonly LinkedValue[],
    opened: Opened,
  ): Promise<Record<string, string>> {
    const values: Record<string, string> = {}
    for (const link of links) {
      const value = opened.get(link.sealed) ?? (await sealing.open(purposeOf(link), link.sealed))
      opened.set(link.sealed, value)
      values[link.variable] = value
    }
    return values
  }

  return {
    async plan(plan) {
      const manifests = plan.actions.flatMap((action) =>
        action.action === 'put_function' ? [action.function] : [],
      )
      const revealed = await all(manifests)
      if (revealed.size === 0) return plan
      const actions = plan.actions.map((action) => {
        if (action.action !== 'put_function') return action
        return { ...action, function: revealed.get(action.function) ?? action.function }
      })
      return { ...plan, actions }
    },

    manifest: async (manifest) => (await all([manifest])).get(manifest) ?? manifest,
  }
}

interface Arm {
  readonly function_id: string
  readonly version: number
}

/** By their sealed text: many versions may have one value. */
type Opened = Map<string, string>

function armOf(arm: Arm): string {
  return `${arm.function_id}/${arm.version}`
}
