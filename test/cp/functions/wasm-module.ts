/** The smallest module that speaks the edgefn ABI, with bytes of the caller's choice inside. */

const I32 = 0x7f

function leb(value: number): number[] {
  const low = value & 0x7f
  return value < 0x80 ? [low] : [low | 0x80, ...leb(value >>> 7)]
}

const vector = (items: readonly number[][]) => [...leb(items.length), ...items.flat()]
const text = (value: string) => {
  const bytes = [...new TextEncoder().encode(value)]
  return [...leb(bytes.length), ...bytes]
}
const section = (id: number, content: number[]) => [id, ...leb(content.length), ...content]

export interface ModuleOptions {
  /** Content of the data segment: makes modules differ. */
  readonly data?: Uint8Array
  /** Content of a custom section, which does not survive ingest. */
  readonly note?: string
  readonly memory_pages?: number
  readonly entrypoint?: string
}

export function edgefnModule(options: ModuleOptions = {}): Uint8Array<ArrayBuffer> {
  const { data = new Uint8Array([1]), note, memory_pages = 1, entrypoint = 'handle' } = options
  const body = (value: number) => [...leb(4), 0, 0x41, value, 0x0b]
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...(note === undefined ? [] : section(0, [...text('note'), ...text(note)])),
    // (func (param i32) (result i32)) and (func (param i32 × 10) (result i32))
    ...section(
      1,
      vector([
        [0x60, 1, I32, 1, I32],
        [0x60, 10, ...Array<number>(10).fill(I32), 1, I32],
      ]),
    ),
    ...section(3, vector([[0], [1]])),
    ...section(5, vector([[0, ...leb(memory_pages)]])),
    ...section(
      7,
      vector([
        [...text('memory'), 2, 0],
        [...text('alloc'), 0, 0],
        [...text(entrypoint), 0, 1],
      ]),
    ),
    ...section(10, vector([body(8), body(0)])),
    ...section(11, vector([[0, 0x41, 0, 0x0b, ...leb(data.length), ...data]])),
  ])
}
