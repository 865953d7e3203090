/** What a scenario of the fleet is given; what it hands back is that of `scripts/bench`. */

import type { ScenarioResult } from '../benchmarks/scenario.ts'

export interface Settings {
  /** Nodes that sync, and nodes that only beat. */
  readonly nodes: number
  readonly many: number
  readonly rounds: number
  /** How long heartbeats are watched. */
  readonly seconds: number
  readonly routes: number
  readonly functions: number
}

export interface FleetBench {
  readonly settings: Settings
  /** Tells what happens now. */
  say(text: string): void
}

export interface FleetScenario {
  readonly name: string
  readonly about: string
  run(bench: FleetBench): Promise<ScenarioResult>
}
