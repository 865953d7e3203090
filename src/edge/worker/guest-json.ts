/** JSON that a guest has written: looked over before it is parsed, since parsing what is made for it takes seconds. */

/** Arrays and objects inside of each other, and all members and elements together. */
const depthMax = 16
const itemsMax = 20_000

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
/** `[` and `{`; the closing ones are two more. */
const OPENING = [0x5b, 0x7b]
const CLOSING = [0x5d, 0x7d]

/** Throws an Error that says what is wrong: not JSON, or more of it than anybody means. */
export function parseGuestJson(bytes: Uint8Array): unknown {
  checkShape(bytes)
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8'))
}

/** The members of a value that should be an object. Throws an Error where it is none. */
export function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  if (!isRecord(value)) throw new Error('it is no object')
  return value
}

/** Whether a value is an object with nothing but text in it. */
export function isTextRecord(value: unknown): value is Record<string, string> {
  return isRecord(value) && Object.values(value).every((each) => typeof each === 'string')
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function checkShape(bytes: Uint8Array): void {
  let depth = 0
  let items = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0
    if (byte === QUOTE) at = stringEnd(bytes, at + 1)
    else if (byte === COMMA) items += 1
    else if (OPENING.includes(byte)) {
      depth += 1
      items += 1
    } else if (CLOSING.includes(byte)) depth -= 1
    if (depth > depthMax) throw new Error(`it is nested deeper than ${depthMax} levels`)
    if (items > itemsMax) throw new Error(`it has more than ${itemsMax} members and elements`)
  }
}

/** Where the string that begins at `from` has its quote, or the end of the bytes. */
function stringEnd(bytes: Uint8Array, from: number): number {
  for (let at = bytes.indexOf(QUOTE, from); at >= 0; at = bytes.indexOf(QUOTE, at + 1)) {
    let slashes = 0
    while (at - slashes - 1 >= from && bytes[at - slashes - 1] === BACKSLASH) slashes += 1
    if (slashes % 2 === 0) return at
  }
  return bytes.length
}
