/**
 * Safepoint polls of compiled code (DESIGN section 3): a load that nobody uses from an address that is always readable,
 * until the host takes the page away to stop the guest. Compiled code does not check bounds, so that the load is one
 * instruction; an interpreter would trap on it.
 */

/** Bytes that are mapped for the polls: a page, or on some machines a part of one that is taken whole. */
export const PAGE_OF_POLLS_BYTES = 4096

/** Bytes from the base of a linear memory to the polled page: the last one of the 8 GiB that the engine keeps behind it. */
export const POLL_PAGE_OFFSET = 2 ** 33 - PAGE_OF_POLLS_BYTES

/** `i32.const -64 · i32.load offset=0xFFFFFFF0 · drop`: address 2^33 - 80. */
export const POLL = Uint8Array.of(
  ...[0x41, 0x40],
  ...[0x28, 0x02, 0xf0, 0xff, 0xff, 0xff, 0x0f],
  0x1a,
)
