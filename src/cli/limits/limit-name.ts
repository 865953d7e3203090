/** How a limit of `LIMITS` is called and measured, read from its own name: `logMessageBytesMax` is `log_message_bytes`, in bytes. */

import { bytesText } from '../output.ts'

export type LimitUnit =
  'bytes' | 'ms' | 'seconds' | 'pages' | 'calls' | 'requests' | 'per second' | 'percent' | 'count'

/** `poolIdleMsMax` → `pool_idle_ms`; a minimum keeps that word. */
export function limitName(key: string): string {
  return key
    .replace(/(?:Max|Default)$/, '')
    .replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

export function unitOf(key: string): LimitUnit {
  if (/PerSecond(?:Max|Min|Default)?$/.test(key)) return 'per second'
  const noun = /(Bytes|Ms|Seconds|Pages|Percent)(?:Max|Min|Default)?$/.exec(key)?.[1]
  if (noun === undefined) return 'count'
  return noun.toLowerCase() as LimitUnit
}

/** The value as people read it. */
export function limitText(value: number | null, unit: LimitUnit): string {
  if (value === null) return 'none'
  if (unit === 'bytes') return bytesText(value)
  return unit === 'count' || unit === 'pages' ? String(value) : `${value} ${unit}`
}
