/** Counts the bytes of MQTT packets on a connection, so that none is buffered that is too large. */

/** Bytes of a length field at most [MQTT-3.1.1 section 2.2.3]. */
const lengthBytesMax = 4

/** Follows the framing of one direction of a connection; a packet's announced length is refused before its body comes. */
export class PacketGuard {
  #bytesMax: number
  /** Bytes of the packet's body still to come; -1 while its header is read. */
  #remaining = -1
  #lengthBytes = 0
  #length = 0
  #inLength = false

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Holds from the next packet on. */
  setLimit(bytesMax: number): void {
    this.#bytesMax = bytesMax
  }

  /** Whether the packets in `chunk` are within the limit as far as they can be seen. */
  accepts(chunk: Uint8Array): boolean {
    let at = 0
    while (at < chunk.length) {
      if (this.#remaining > 0) {
        const taken = Math.min(this.#remaining, chunk.length - at)
        this.#remaining -= taken
        at += taken
        if (this.#remaining === 0) this.#remaining = -1
        continue
      }
      if (!this.#header(chunk[at] ?? 0)) return false
      at += 1
    }
    return true
  }

  /** Takes one byte of a fixed header: the packet's type, then its length in sevens of bits, low ones first. */
  #header(byte: number): boolean {
    if (!this.#inLength) {
      this.#inLength = true
      this.#length = 0
      this.#lengthBytes = 0
      return true
    }
    this.#length += (byte & 0x7f) * 128 ** this.#lengthBytes
    this.#lengthBytes += 1
    if (this.#length > this.#bytesMax) return false
    if ((byte & 0x80) !== 0) return this.#lengthBytes < lengthBytesMax
    this.#inLength = false
    this.#remaining = this.#length === 0 ? -1 : this.#length
    return true
  }
}
