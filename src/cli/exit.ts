/** Exit codes of the command line; part of its contract. */

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  unreachable: 3,
  refused: 4,
  notDeployed: 5,
} as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** One line each, for help and README. */
export const EXIT_MEANINGS: readonly (readonly [ExitCode, string])[] = [
  [EXIT.ok, 'done'],
  [EXIT.failed, 'failed: an unexpected error, a refused module, a server that could not start'],
  [EXIT.usage, 'wrong usage: unknown command or flag, bad value, bad configuration'],
  [EXIT.unreachable, 'the control plane could not be reached, or answered with a server error'],
  [EXIT.refused, 'the control plane refused the request'],
  [
    EXIT.notDeployed,
    'deploy, rollback, deployment status --watch: not in service everywhere (failed, rolled back, superseded, paused, not in time)',
  ],
]
