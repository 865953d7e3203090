/** What a statement throws when it would break a rule of the schema, so that services can answer for it. */

export class ConstraintViolation extends Error {
  override readonly name = 'ConstraintViolation'
}

/** Whether a write failed because the same key is stored already. */
export function isUniqueViolation(error: unknown): boolean {
  return error instanceof ConstraintViolation && error.message.includes('UNIQUE constraint failed')
}
