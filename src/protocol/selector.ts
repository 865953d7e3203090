/** POP selectors: which nodes a route or a deployment is meant for [R9.3 P21]. */

import { z } from 'zod'

const ITEM = /^!?(?:[a-z0-9*](?:[a-z0-9*-]{0,49}))$/

/**
 * Comma-separated POP ids; `*` stands for any run of characters, a leading `!` excludes.
 * `tokyo-*,!tokyo-3` is every Tokyo POP but the third; `!osaka-1` alone is everything but Osaka.
 */
export const popSelectorSchema = z
  .string()
  .min(1)
  .max(1000)
  .refine(
    (text) => text.split(',').every((item) => ITEM.test(item.trim())),
    'must be POP ids separated by commas; * matches any characters, a leading ! excludes',
  )

/** A selector where null selects every POP: `all` says the same, as it does in the target of a deployment. */
export const popsOrAllSchema = popSelectorSchema
  .nullable()
  .transform((selector) => (selector === 'all' ? null : selector))

/** Whether `popId` is selected; null selects every POP. Linear in the length of the selector. */
export function selectsPop(selector: string | null, popId: string): boolean {
  if (selector === null) return true
  const items = selector.split(',').map((item) => item.trim())
  const excluded = items.filter((item) => item.startsWith('!')).map((item) => item.slice(1))
  const included = items.filter((item) => !item.startsWith('!'))
  if (excluded.some((pattern) => matchesGlob(pattern, popId))) return false
  return included.length === 0 || included.some((pattern) => matchesGlob(pattern, popId))
}

/**
 * Whether some POP may be selected by both, whether it exists yet or not. Where a pattern with `*` meets exclusions this errs
 * on the side of true. Time is the product of the items, each pair in the product of their lengths.
 */
export function overlapsPops(a: string | null, b: string | null): boolean {
  const [one, other] = [partsOf(a), partsOf(b)]
  const excluded = [...one.excluded, ...other.excluded]
  const covered = (pattern: string) => excluded.some((item) => matchesGlob(item, pattern))
  return one.included.some(
    (left) =>
      !covered(left) && other.included.some((right) => !covered(right) && globsMeet(left, right)),
  )
}

function partsOf(selector: string | null): { included: string[]; excluded: string[] } {
  const items = (selector ?? '*').split(',').map((item) => item.trim())
  const excluded = items.filter((item) => item.startsWith('!')).map((item) => item.slice(1))
  const included = items.filter((item) => !item.startsWith('!'))
  return { included: included.length === 0 ? ['*'] : included, excluded }
}

/** Whether some text matches both patterns: `*` of either stands for any run of the other. */
function globsMeet(a: string, b: string): boolean {
  // Row by row: whether the first i characters of `a` and the first j of `b` can be the same text.
  let above: boolean[] = []
  for (let i = 0; i <= a.length; i += 1) {
    const row: boolean[] = []
    for (let j = 0; j <= b.length; j += 1) {
      const [left, right] = [a[i - 1], b[j - 1]]
      const viaLeft = left === '*' && ((above[j] ?? false) || (row[j - 1] ?? false))
      const viaRight = right === '*' && ((above[j] ?? false) || (row[j - 1] ?? false))
      const same = left !== undefined && left === right && (above[j - 1] ?? false)
      row.push((i === 0 && j === 0) || viaLeft || viaRight || same)
    }
    above = row
  }
  return above[b.length] ?? false
}

function matchesGlob(pattern: string, text: string): boolean {
  const parts = pattern.split('*')
  const first = parts[0] ?? ''
  if (parts.length === 1) return text === first
  const last = parts[parts.length - 1] ?? ''
  if (!text.startsWith(first) || !text.endsWith(last)) return false
  if (text.length < first.length + last.length) return false
  let from = first.length
  for (const middle of parts.slice(1, -1)) {
    const at = text.indexOf(middle, from)
    if (at < 0) return false
    from = at + middle.length
  }
  return from <= text.length - last.length
}
