/** Messages to the function's log. */
import { at, encode } from './bytes'
import * as host from './host'

export namespace LogLevel {
  export const Debug: i32 = 0
  export const Info: i32 = 1
  export const Warn: i32 = 2
  export const Error: i32 = 3
}

export function log(message: string, level: i32 = LogLevel.Info): void {
  const bytes = encode(message)
  host.log(level, at(bytes), bytes.byteLength)
}
