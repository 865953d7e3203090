/** What a module may have at most when it is taken in: name, unit, value and why (RELIABILITY findings 1 and 2). */

/**
 * The engine allocates for these before the guest's page limit or deadline can act, so they are refused at ingest. Each
 * stands well over what real toolchains make (large Go, CPython and QuickJS builds were the yardstick) and at or under
 * what browsers accept.
 */
export const MODULE_LIMITS = {
  /** Bytes of the whole module; the same as `LIMITS.moduleBytesMax` of `protocol/`. */
  moduleBytesMax: 64 * 1024 * 1024,
  /** Function types, and values on either side of one. */
  typesMax: 10_000,
  typeParamsMax: 1_000,
  typeResultsMax: 1_000,
  /** Values of all types together; the engine takes some 9 bytes for each, and again in every instance. */
  typeValuesMax: 100_000,
  /** Imports are known host functions only (under a hundred), but a linker may repeat one. */
  importsMax: 1_000,
  /** Functions, imported ones included. A 64 MiB Go module has under 100 000. */
  functionsMax: 100_000,
  globalsMax: 10_000,
  exportsMax: 10_000,
  /** Bytes of one import, export or custom section name. */
  nameBytesMax: 10_000,
  customSectionsMax: 1_000,
  tablesMax: 10,
  /**
   * Elements that all tables together may start with; each takes 16 bytes in every instance. Go puts every function in its table, so
   * this is no smaller than functionsMax. A table's own maximum is lowered to this on the way in (normalise.ts).
   */
  tableElementsMax: 100_000,
  /** Pages of 64 KiB that a 32-bit memory can have; memory_pages of the function is the limit that counts. */
  memoryPagesMax: 65_536,
  elementSegmentsMax: 10_000,
  /** Items of all element segments together. */
  elementItemsMax: 200_000,
  /** Go's linker makes up to 100 000. */
  dataSegmentsMax: 100_000,
  /** Bytes of one function's body, locals included; browsers stop at the same figure. */
  bodyBytesMax: 7_654_321,
  /**
   * Instructions of all functions. Interpreted, each takes some 36 bytes in every thread and 30 in every instance, whatever
   * its own length, so that a module of single bytes would end its worker. Compilers make one of 2.1 bytes: a Go module of
   * 33 MB is at this limit.
   */
  instructionsMax: 10_000_000,
  /** Locals that one function declares, its parameters not counted. */
  localsMax: 50_000,
  /**
   * Operands and locals that validation visits, all functions together: `validationStepsFree` and then so many per byte of
   * the bodies. Ordinary code stays under one per byte. A call, block or branch of two bytes whose type has a thousand
   * values costs a thousand steps of some 10 ns: half a megabyte of them kept the engine busy for 2.5 s.
   */
  validationStepsFree: 1_000_000,
  validationStepsPerByteMax: 4,
  /** Blocks, loops and ifs inside one another. Go nests one block per place where a function can be resumed (3289 in a real program). */
  nestingMax: 10_000,
  /** Targets of one br_table, its default not counted; browsers stop at the same figure. */
  branchTargetsMax: 65_520,
} as const

export type ModuleLimits = Readonly<Record<keyof typeof MODULE_LIMITS, number>>

/**
 * The same for what the rewriter (`rewrite/`) makes of a module within these limits: it adds a parameter to functions, hence
 * types, and functions that stand for exported and imported ones.
 */
export const REWRITTEN_LIMITS: ModuleLimits = {
  ...MODULE_LIMITS,
  typesMax: 4 * MODULE_LIMITS.typesMax,
  typeParamsMax: MODULE_LIMITS.typeParamsMax + 1,
  typeValuesMax: 4 * MODULE_LIMITS.typeValuesMax,
  functionsMax: 2 * MODULE_LIMITS.functionsMax,
}
