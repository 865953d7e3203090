/** A buffer for what passes on its way to a guest or from it, kept from call to call so that none is made for each. */

const bytesMin = 64 * 1024
/** A buffer that a long text needed is not kept over this size. */
const keptBytesMax = 1024 * 1024

const encoder = new TextEncoder()

export class Scratch {
  #bytes = new Uint8Array(bytesMin)

  /** What was put there last, from its start; 64 KiB at least. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes
  }

  /** Encodes a text as UTF-8 and returns its length in bytes. */
  encode(text: string): number {
    // A UTF-16 unit takes three bytes at most.
    const bytesMax = text.length * 3
    if (bytesMax > this.#bytes.length) this.#bytes = new Uint8Array(bytesMax)
    else if (this.#bytes.length > keptBytesMax) this.#bytes = new Uint8Array(bytesMin)
    return encoder.encodeInto(text, this.#bytes).written
  }
}
