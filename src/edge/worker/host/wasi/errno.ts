/** Error numbers of WASI preview 1 (`errno` in its witx) that edgefn answers with. */
export const ERRNO = {
  success: 0,
  badf: 8,
  fault: 21,
  inval: 28,
  notdir: 54,
  notsock: 57,
  spipe: 70,
  notcapable: 76,
} as const
