/**
 * Safepoint polls of compiled code (DESIGN section 3): a load that nobody uses from an address that is always readable,
 * until the host takes the page away to stop the guest. Compiled code does not check bounds, so that the load is one
 * instruction; an interpreter would trap on it.
 */

/** Bytes that are mapped for the polls: a page, or on some machines a part of one that is taken whole. */
export const PAGE_OF_POLLS_BYTES = 4096

/**
 * Bytes from the base of a linear memory to the polled page, in the 8 GiB that the engine keeps behind it. Not the last of
 * them: a guest's own load may begin at any address up to 2^33 - 2, and one that began on a readable page would go on into
 * whatever is mapped behind the 8 GiB. 128 KiB before the end there is a page between, of whatever size pages are.
 */
export const POLL_PAGE_OFFSET = 2 ** 33 - 131_072

/** `i32.const -131008 · i32.load offset=0xFFFFFFF0 · drop`: address 2^33 - 131024, which is in that page. */
export const POLL = Uint8Array.of(
  ...[0x41, 0xc0, 0x80, 0x78],
  ...[0x28, 0x02, 0xf0, 0xff, 0xff, 0xff, 0x0f],
  0x1a,
)
