/** FNV-1a over UTF-16 units, to be carried on from one border of a text to the next. */

export const FNV_PRIME = 0x01000193
/** Not the same in any two processes, so nobody can write routes that share a hash. */
export const hashSeed = Math.trunc(Math.random() * 0xffff_ffff)
