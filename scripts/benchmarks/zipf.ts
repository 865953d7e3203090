/** Traffic as it is: few paths are asked for often, and many seldom. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Requests of a script, which then begins again; enough that the seldom ones differ. */
const requestsOfScript = 65_536
const seed = 20_260_101

/** Draws from 0 to `count` - 1, where the n-th is drawn in proportion to 1/n. The same numbers each time. */
export function zipfDraws(count: number, draws: number): number[] {
  const sums = new Float64Array(count)
  let sum = 0
  for (let rank = 0; rank < count; rank++) sums[rank] = sum += 1 / (rank + 1)
  const random = uniform()
  return Array.from({ length: draws }, () => firstAtLeast(sums, random() * sum))
}

/** The first place whose value is not less; the last when there is none. */
function firstAtLeast(sorted: Float64Array, wanted: number): number {
  let low = 0
  let high = sorted.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle] ?? Number.NaN) < wanted) low = middle + 1
    else high = middle
  }
  return low
}

/** Numbers from 0 up to 1: a linear congruence of 48 bits, as drand48 has it. */
function uniform(): () => number {
  let state = BigInt(seed)
  return () => {
    state = (state * 0x5deece66dn + 0xbn) & 0xffffffffffffn
    return Number(state) / 2 ** 48
  }
}

/** Writes a script for wrk that asks for `PREFIX0` to `PREFIX{count - 1}`, by zipf. Returns its path. */
export function writeZipfScript(dir: string, name: string, prefix: string, count: number): string {
  const draws = zipfDraws(count, requestsOfScript)
  const script = join(dir, `${name}.lua`)
  const text = `local draws = {${draws.join(',')}}
local requests, at = {}, 0
init = function()
  for place, index in ipairs(draws) do requests[place] = wrk.format("GET", ${JSON.stringify(prefix)} .. index) end
end
request = function()
  at = at % #requests + 1
  return requests[at]
end
`
  writeFileSync(script, text)
  return script
}
