/** Between strings, which are UTF-16 here, and the bytes that the host takes and gives. */

/** The address of a buffer's bytes. It is good until the buffer is collected: keep the buffer in a variable meanwhile. */
@inline
export function at(buffer: ArrayBuffer): usize {
  return changetype<usize>(buffer)
}

/** UTF-8. */
export function encode(text: string): ArrayBuffer {
  return String.UTF8.encode(text)
}

/** UTF-8. */
export function decode(bytes: ArrayBuffer): string {
  return String.UTF8.decode(bytes)
}

/** A copy of bytes that are the host's. */
export function copy(from: usize, length: i32): ArrayBuffer {
  const bytes = new ArrayBuffer(length)
  memory.copy(at(bytes), from, length)
  return bytes
}

/** Several pieces as one. */
export function concat(pieces: ArrayBuffer[]): ArrayBuffer {
  let length = 0
  for (let i = 0; i < pieces.length; i++) length += pieces[i].byteLength
  const joined = new ArrayBuffer(length)
  let used = 0
  for (let i = 0; i < pieces.length; i++) {
    memory.copy(at(joined) + used, at(pieces[i]), pieces[i].byteLength)
    used += pieces[i].byteLength
  }
  return joined
}

/** A text without line ends, which would begin another header. */
export function oneLine(text: string): string {
  return text.replaceAll('\r', ' ').replaceAll('\n', ' ')
}

export function headerLine(name: string, value: string): string {
  return oneLine(name) + ': ' + oneLine(value) + '\r\n'
}

/** Header lines `name: value`, names in lower case. */
export class Headers {
  names: string[] = []
  values: string[] = []

  static parse(lines: string): Headers {
    const headers = new Headers()
    const each = lines.split('\n')
    for (let i = 0; i < each.length; i++) {
      const colon = each[i].indexOf(':')
      if (colon < 0) continue
      headers.names.push(each[i].substring(0, colon).toLowerCase())
      headers.values.push(each[i].substring(colon + 1).trim())
    }
    return headers
  }

  /** The first of that name, in any case. */
  get(name: string): string | null {
    const index = this.names.indexOf(name.toLowerCase())
    return index < 0 ? null : this.values[index]
  }
}
