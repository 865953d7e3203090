/** What a statement of a guest, and one of a schema, may do in the database of a function: pure, asked when it is prepared. */

/** Where edgefn notes in a function's database which schemas it has; nobody else may write there. */
export const SCHEMAS_TABLE = 'edgefn_schemas'

/** Codes of SQLite's authorizer. */
const ACTIONS = {
  CREATE_INDEX: 1,
  CREATE_TABLE: 2,
  CREATE_TRIGGER: 7,
  CREATE_VIEW: 8,
  DELETE: 9,
  DROP_INDEX: 10,
  DROP_TABLE: 11,
  DROP_TRIGGER: 16,
  DROP_VIEW: 17,
  INSERT: 18,
  PRAGMA: 19,
  READ: 20,
  SELECT: 21,
  UPDATE: 23,
  ALTER_TABLE: 26,
  REINDEX: 27,
  ANALYZE: 28,
  CREATE_VTABLE: 29,
  DROP_VTABLE: 30,
  FUNCTION: 31,
  RECURSIVE: 33,
} as const

/** The second name is the function's. */
export const FUNCTION_USED = ACTIONS.FUNCTION

const READS: ReadonlySet<number> = new Set([ACTIONS.SELECT, ACTIONS.READ, ACTIONS.RECURSIVE])
const CHANGES: ReadonlySet<number> = new Set([ACTIONS.INSERT, ACTIONS.UPDATE, ACTIONS.DELETE])
const DEFINITIONS: ReadonlySet<number> = new Set([
  ACTIONS.CREATE_INDEX,
  ACTIONS.CREATE_TABLE,
  ACTIONS.CREATE_TRIGGER,
  ACTIONS.CREATE_VIEW,
  ACTIONS.DROP_INDEX,
  ACTIONS.DROP_TABLE,
  ACTIONS.DROP_TRIGGER,
  ACTIONS.DROP_VIEW,
  ACTIONS.DROP_VTABLE,
])
/** Over all tables, ours among them, whose rows they leave alone. */
const UPKEEP: ReadonlySet<number> = new Set([ACTIONS.REINDEX, ACTIONS.ANALYZE])
/** What full-text search and R-trees ask for by themselves; without a value they change nothing. */
const PRAGMAS: ReadonlySet<string> = new Set(['data_version', 'page_size'])
/** Besides what leads out of SQL: of values within the limits, these take a second up to half a minute at a time, and look at nobody. */
const FUNCTIONS_REFUSED: ReadonlySet<string> = new Set([
  ...['load_extension', 'fts3_tokenizer', 'unhex', 'json_patch', 'jsonb_patch'],
])
const VIRTUAL_TABLES: ReadonlySet<string> = new Set(['fts3', 'fts4', 'fts5', 'rtree', 'geopoly'])

/** Words of one statement: a code of SQLite's authorizer, and the two names it comes with. */
export interface Intent {
  readonly action: number
  readonly first: () => string
  readonly second: () => string
}

/** Guests read and change rows; the tables themselves are the schemas'. */
export function guestMay({ action, first, second }: Intent): boolean {
  if (READS.has(action)) return true
  if (CHANGES.has(action)) return isTheirs(first())
  if (action === ACTIONS.FUNCTION) return !FUNCTIONS_REFUSED.has(second().toLowerCase())
  return action === ACTIONS.PRAGMA && PRAGMAS.has(first().toLowerCase()) && second() === ''
}

/** In words, for who wrote a schema that does; SQLite says no more than that it is not authorized. */
export const schemaMayNot = `a schema may not begin or end transactions, attach databases, set pragmas, make temporary tables or touch ${SCHEMAS_TABLE}`

/** Schemas may besides make, change and drop what belongs to the function; transactions are not theirs to begin and end. */
export function schemaMay(intent: Intent): boolean {
  const { action, first, second } = intent
  if (CHANGES.has(action)) return isNotOurs(first())
  if (UPKEEP.has(action) || guestMay(intent)) return true
  if (action === ACTIONS.ALTER_TABLE) return isNotOurs(second())
  if (action === ACTIONS.CREATE_VTABLE) return VIRTUAL_TABLES.has(second().toLowerCase())
  // The second name of an index or a trigger is its table.
  return DEFINITIONS.has(action) && isNotOurs(first()) && isNotOurs(second())
}

function isNotOurs(table: string): boolean {
  return table.toLowerCase() !== SCHEMAS_TABLE
}

function isTheirs(table: string): boolean {
  return isNotOurs(table) && !table.toLowerCase().startsWith('sqlite_')
}
