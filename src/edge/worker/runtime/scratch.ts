/** A buffer that text is encoded into on its way to a guest, kept from call to call so that none is made for each. */

const bytesMin = 64 * 1024
/** A buffer that a long text needed is not kept over this size. */
const keptBytesMax = 1024 * 1024

const encoder = new TextEncoder()

export class Scratch {
  #bytes = new Uint8Array(bytesMin)

  /** What was encoded last, from its start. */
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
