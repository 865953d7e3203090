/** What the developer was told is done, and what may have been done besides: what the control plane must answer for afterwards. */

export interface PromisedDeployment {
  readonly function: string
  /** As they were asked for; null where the control plane chose (a roll-back). */
  readonly version: number | null
  readonly target: string | null
  /** Whether it goes step by step. */
  readonly driven: boolean
}

export interface PromisedRoute {
  readonly function: string
  /** All that were ever asked for: a request without an answer may have been done, a late one after a newer. */
  readonly selectors: (string | null)[]
  removal: 'no' | 'asked' | 'acknowledged'
}

export interface Promises {
  readonly deployments: Map<string, PromisedDeployment>
  readonly routes: Map<string, PromisedRoute>
}
