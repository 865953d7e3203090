/** How versions and shares of traffic are written on a command line: `v42`, `v41@90`. */

import { EdgefnError } from '../../errors.ts'
import { versionMax } from '../../protocol/ids.ts'
import type { Sticky, VersionWeight } from '../../protocol/split.ts'
import { stickySchema, versionWeightsSchema } from '../../protocol/split.ts'

/** A version's number, with or without a `v` before it. Throws an Error that says what it must be. */
export function versionNumber(word: string): number {
  const number = Number(/^v?(\d{1,10})$/.exec(word)?.[1] ?? Number.NaN)
  if (number >= 1 && number <= versionMax) return number
  throw new Error('must be a version such as v42')
}

/** What a deployment is asked for with: one version, or several with their shares. */
export type Wanted = { readonly version: number } | { readonly versions: readonly VersionWeight[] }

/** One version, which gets all of the traffic, or several that share it. Throws `invalid_config` naming the argument. */
export function wantedVersions(words: readonly string[]): Wanted {
  const shares = words.map(shareOf)
  const [only] = shares
  if (only === undefined) throw new EdgefnError('invalid_config', 'VERSION: must be given.')
  if (shares.length === 1) {
    if (only.weight === null || only.weight === 100) return { version: only.version }
    throw wrong(words[0] ?? '', 'must have 100 percent, or other versions beside it')
  }
  const versions = shares.map(({ version, weight }, index) => {
    const word = words[index] ?? ''
    if (weight === null) {
      throw wrong(word, 'must have its share of the traffic, such as v41@90')
    }
    if (weight < 1 || weight > 99) throw wrong(word, 'must have 1 to 99 percent beside others')
    return { version, weight }
  })
  const parsed = versionWeightsSchema.safeParse(versions)
  if (!parsed.success) {
    throw wrong(words.join(' '), parsed.error.issues[0]?.message ?? 'is not valid')
  }
  return { versions }
}

function shareOf(word: string): { readonly version: number; readonly weight: number | null } {
  const at = word.indexOf('@')
  const [name, share] = at < 0 ? [word, null] : [word.slice(0, at), word.slice(at + 1)]
  try {
    if (share !== null && !/^\d{1,3}%?$/.test(share)) {
      throw new Error('must be a version and percent of the traffic, such as v41@90')
    }
    const weight = share === null ? null : Number.parseInt(share, 10)
    return { version: versionNumber(name), weight }
  } catch (thrown) {
    throw wrong(word, thrown instanceof Error ? thrown.message : 'is not valid')
  }
}

function wrong(word: string, problem: string): EdgefnError {
  return new EdgefnError('invalid_config', `VERSION: ${problem}, got ${JSON.stringify(word)}.`)
}

/** `client`, `header:NAME` or `cookie:NAME`. Throws an Error that says so. */
export function stickyText(value: string): Sticky {
  const colon = value.indexOf(':')
  const kind = colon < 0 ? value : value.slice(0, colon)
  const name = value.slice(colon + 1)
  const parsed = stickySchema.safeParse(colon < 0 ? kind : { [kind]: name })
  if (parsed.success) return parsed.data
  throw new Error('must be client, header:NAME or cookie:NAME')
}

/** `v41@90 v42@10`, or `v42` where one version has all. */
export function splitText(view: {
  readonly version: number
  readonly split: { readonly versions: readonly VersionWeight[] } | null
}): string {
  if (view.split === null) return `v${view.version}`
  return view.split.versions.map(({ version, weight }) => `v${version}@${weight}`).join(' ')
}

/** As `stickyText` reads it. */
export function stickyWords(sticky: Sticky): string {
  if (sticky === 'client') return sticky
  return 'header' in sticky ? `header:${sticky.header}` : `cookie:${sticky.cookie}`
}
