/** Whether a version may take the place of the one before it; pure [C20 E13.1]. */

import type { CompatibilityFinding } from './compatibility.ts'
import type { Abi, Isolation, Quotas } from './manifest.ts'

/** What of a version others can notice. */
export interface VersionSurface {
  readonly abi: Abi
  readonly entrypoint: string
  /** What the module asks of the host, as `module.name`. */
  readonly imports: readonly string[]
  readonly memory_pages: number
  readonly max_execution_ms: number
  readonly quotas: Quotas
  /** Names of the environment, those of secrets too. */
  readonly variables: readonly string[]
  readonly http_allow: readonly string[]
  readonly isolation: Isolation
}

type Aspect = CompatibilityFinding['aspect']

const refuse = (aspect: Aspect, message: string): CompatibilityFinding => ({
  severity: 'refuse',
  aspect,
  message,
})
const warn = (aspect: Aspect, message: string): CompatibilityFinding => ({
  severity: 'warn',
  aspect,
  message,
})

/**
 * All differences that may hurt whoever calls the function or runs it, the refusing ones first. Refused is what takes
 * something away from callers (another ABI or entrypoint, less memory or time, lower quotas) and what reaches further than
 * before (an import with an effect outside of the call). More of everything is compatible.
 */
export function compare(before: VersionSurface, after: VersionSurface): CompatibilityFinding[] {
  const findings = [
    ...contract(before, after),
    ...imports(before, after),
    ...limits(before, after),
    ...quotas(before.quotas, after.quotas),
    ...surroundings(before, after),
  ]
  return [
    ...findings.filter(({ severity }) => severity === 'refuse'),
    ...findings.filter(({ severity }) => severity === 'warn'),
  ]
}

function contract(before: VersionSurface, after: VersionSurface): CompatibilityFinding[] {
  if (before.abi !== after.abi) {
    // The entrypoint of another ABI is another by nature.
    return [refuse('abi', `the ABI changes from ${before.abi} to ${after.abi}`)]
  }
  if (before.entrypoint === after.entrypoint) return []
  const change = `from ${before.entrypoint} to ${after.entrypoint}`
  return [refuse('entrypoint', `the entrypoint changes ${change}`)]
}

/** Imports that touch nothing but the call itself: the same function does them better or worse, and nobody else notices. */
const HARMLESS = [
  /^wasi_snapshot_preview1\./,
  /^env\./,
  /^extism:host\/env\./,
  /^edgefn\.(?:log|env_get|request_id|request_header|response_head|response_write|metrics_increment)$/,
]

function isHarmless(name: string): boolean {
  return !/[._]http_/.test(name) && HARMLESS.some((pattern) => pattern.test(name))
}

function imports(before: VersionSurface, after: VersionSurface): CompatibilityFinding[] {
  const known = new Set(before.imports)
  const added = [...new Set(after.imports)].filter((name) => !known.has(name)).sort()
  // Every ABI brings imports of its own; that it changed is told already.
  const reaching = before.abi === after.abi ? added.filter((name) => !isHarmless(name)) : []
  const others = added.filter((name) => !reaching.includes(name))
  return [
    ...(reaching.length === 0
      ? []
      : [refuse('imports', `it imports ${listed(reaching)}, which the version before did not`)]),
    ...(others.length === 0
      ? []
      : [warn('imports', `it also imports ${listed(others)}, which the version before did not`)]),
  ]
}

function limits(before: VersionSurface, after: VersionSurface): CompatibilityFinding[] {
  const findings: CompatibilityFinding[] = []
  if (after.memory_pages < before.memory_pages) {
    const change = `from ${before.memory_pages} to ${after.memory_pages}`
    findings.push(refuse('memory', `memory_pages goes down ${change}`))
  }
  if (after.max_execution_ms < before.max_execution_ms) {
    const change = `from ${before.max_execution_ms} to ${after.max_execution_ms}`
    findings.push(refuse('limits', `max_execution_ms goes down ${change}`))
  }
  return findings
}

function quotas(before: Quotas, after: Quotas): CompatibilityFinding[] {
  const findings: CompatibilityFinding[] = []
  const lowered = (name: keyof Quotas) => {
    const to = after[name]
    const from = before[name]
    if (to === null || (from !== null && to >= from)) return null
    return `the quota ${name} goes down from ${from ?? 'none'} to ${to}`
  }
  for (const name of ['concurrency', 'requests_per_second', 'burst'] as const) {
    const message = lowered(name)
    if (message !== null) findings.push(refuse('limits', message))
  }
  const wait = lowered('queue_wait_ms')
  if (wait !== null) findings.push(warn('limits', wait))
  return findings
}

/** What the new version may do without on purpose; only its author knows. */
function surroundings(before: VersionSurface, after: VersionSurface): CompatibilityFinding[] {
  const gone = (from: readonly string[], to: readonly string[]) =>
    from.filter((name) => !to.includes(name)).sort()
  const findings: CompatibilityFinding[] = []
  const variables = gone(before.variables, after.variables)
  if (variables.length > 0) {
    findings.push(warn('environment', `it is no longer given the variables ${listed(variables)}`))
  }
  const hosts = gone(before.http_allow, after.http_allow)
  if (hosts.length > 0) findings.push(warn('network', `it may no longer fetch ${listed(hosts)}`))
  if (before.isolation === 'request' && after.isolation === 'instance') {
    findings.push(warn('environment', 'requests no longer see a clean instance each'))
  }
  return findings
}

const namesMax = 10

function listed(names: readonly string[]): string {
  const more = names.length - namesMax
  return names.slice(0, namesMax).join(', ') + (more > 0 ? ` and ${more} more` : '')
}
