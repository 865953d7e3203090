/** Tables of text whose columns are aligned: the first to the left, numbers to the right. */

export interface Table {
  readonly title: string
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

/** The table with its title above; a missing cell is empty. */
export function renderTable({ title, head, rows }: Table): string {
  const widths = head.map((name, column) =>
    Math.max(name.length, ...rows.map((row) => (row[column] ?? '').length)),
  )
  const line = (cells: readonly string[]) =>
    widths
      .map((width, column) => aligned(cells[column] ?? '', width, column))
      .join('  ')
      .trimEnd()
  const rule = widths.map((width) => '-'.repeat(width)).join('  ')
  return [title, line(head), rule, ...rows.map(line)].join('\n')
}

function aligned(cell: string, width: number, column: number): string {
  return column === 0 ? cell.padEnd(width) : cell.padStart(width)
}

/** A number with as many digits as say something; a dash for what was not measured. */
export function figure(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size >= 100) return value.toFixed(0)
  if (size >= 10) return value.toFixed(1)
  return value.toFixed(2)
}

/** `0.953`: ratios need a digit more. */
export function ratio(value: number | null): string {
  return value === null || !Number.isFinite(value) ? '–' : value.toFixed(value >= 100 ? 0 : 3)
}

export function mebibytes(bytes: number | null): string {
  return bytes === null ? '–' : (bytes / 2 ** 20).toFixed(1)
}
