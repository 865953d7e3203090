/** How data is printed: tables for people, JSON for programs. */

import type { Terminal } from './command.ts'

export type OutputFormat = 'table' | 'json'

/** Pads all columns but the last to the widest cell; two spaces between. */
export function alignColumns(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = []
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, Bun.stringWidth(cell))
    })
  }
  return rows.map((row) => {
    const cells = row.map((cell, column) => {
      const missing = (widths[column] ?? 0) - Bun.stringWidth(cell)
      return column === row.length - 1 ? cell : cell + ' '.repeat(missing)
    })
    return cells.join('  ').trimEnd()
  })
}

/** One JSON document, indented. */
export function printJson(terminal: Terminal, value: unknown): void {
  terminal.out(`${JSON.stringify(value, null, 2)}\n`)
}

/** A list: JSON as it came, or a table of `columns`. */
export function printList<T>(
  terminal: Terminal,
  format: OutputFormat,
  items: readonly T[],
  columns: Readonly<Record<string, (item: T) => string>>,
): void {
  if (format === 'json') {
    printJson(terminal, items)
    return
  }
  if (items.length === 0) {
    terminal.err('none\n')
    return
  }
  const cells = items.map((item) => Object.values(columns).map((cell) => clean(cell(item))))
  terminal.out(`${alignColumns([Object.keys(columns), ...cells]).join('\n')}\n`)
}

/** One record: JSON as it came, or a line per field. */
export function printRecord(
  terminal: Terminal,
  format: OutputFormat,
  value: unknown,
  fields: Readonly<Record<string, string>>,
): void {
  if (format === 'json') {
    printJson(terminal, value)
    return
  }
  const rows = Object.entries(fields).map(([name, cell]) => [name, clean(cell)])
  terminal.out(`${alignColumns(rows).join('\n')}\n`)
}

/** What came from elsewhere must not move the cursor or colour the terminal. */
export function clean(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, '·')
}

/** `1 gap`, `2 gaps`; `many` where it is not made by an s. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}

/** `12.3 MiB`. */
export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), units.length - 1)
  const amount = bytes / 1024 ** power
  return `${power === 0 ? amount : amount.toFixed(1)} ${units[power]}`
}

/** `2026-01-31 12:00:05`, in UTC, or a dash. */
export function timeText(timestamp: string | null): string {
  return timestamp === null ? '-' : timestamp.slice(0, 19).replace('T', ' ')
}
