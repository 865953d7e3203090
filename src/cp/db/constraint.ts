/** What a statement throws when it would break a rule of the schema, so that services can answer for it. */

export class ConstraintViolation extends Error {
  override readonly name = 'ConstraintViolation'
}

/** Whether a write failed because the same key is stored already. */
export function isUniqueViolation(error: unknown): boolean {
  return error instanceof ConstraintViolation && error.message.includes('UNIQUE constraint failed')
}

/** Whether a write failed because a row it refers to is absent, or a row refers to the one being removed. */
export function isForeignKeyViolation(error: unknown): boolean {
  return (
    error instanceof ConstraintViolation && error.message.includes('FOREIGN KEY constraint failed')
  )
}
