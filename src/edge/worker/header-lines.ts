/**
 * Request header fields as the lines that guests of the edgefn ABI read, `name: value\r\n` each: written once, at ingress, and
 * handed on as one string. No name has a colon and no value a line end, so that nothing is lost in it.
 */

/** The lines of some fields, names in lower case. */
export function headerLines(fields: readonly (readonly [string, string])[]): string {
  let lines = ''
  for (const [name, value] of fields) lines += `${name}: ${value}\r\n`
  return lines
}

/** The fields in their order. */
export function headerFields(lines: string): [string, string][] {
  const fields: [string, string][] = []
  for (let at = 0; at < lines.length;) {
    const colon = lines.indexOf(': ', at)
    const end = lines.indexOf('\r\n', colon)
    fields.push([lines.slice(at, colon), lines.slice(colon + 2, end)])
    at = end + 2
  }
  return fields
}

/** The value of the first field of a name in lower case. */
export function headerField(lines: string, name: string): string | undefined {
  const start = lines.startsWith(`${name}: `) ? 0 : lines.indexOf(`\r\n${name}: `) + 2
  if (start === 1) return undefined
  const from = start + name.length + 2
  return lines.slice(from, lines.indexOf('\r\n', from))
}
