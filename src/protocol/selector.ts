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

/** Whether `popId` is selected; null selects every POP. Linear in the length of the selector. */
export function selectsPop(selector: string | null, popId: string): boolean {
  if (selector === null) return true
  const items = selector.split(',').map((item) => item.trim())
  const excluded = items.filter((item) => item.startsWith('!')).map((item) => item.slice(1))
  const included = items.filter((item) => !item.startsWith('!'))
  if (excluded.some((pattern) => matchesGlob(pattern, popId))) return false
  return included.length === 0 || included.some((pattern) => matchesGlob(pattern, popId))
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
