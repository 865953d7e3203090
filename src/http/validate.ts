/** Values from outside, parsed by their schema; what is wrong is said by field, in one way everywhere. */

import { z } from 'zod'

import { EdgefnError } from '../errors.ts'

/** One thing that is wrong with one field. `field` is a dotted path, empty for the value itself. */
export interface FieldProblem {
  readonly field: string
  readonly message: string
}

/** Problems listed in one answer; a body with thousands of bad items needs no thousands of sentences. */
const problemsMax = 20

/**
 * The parsed value. Throws `invalid_field` with the first problem as message, that field in `details.field` and all
 * of them in `details.fields`. A schema's message that is a sentence (a capital first) is used word for word; one
 * that is a predicate ("must be …") follows the field's name.
 */
export function validate<T extends z.ZodType>(
  schema: T,
  value: unknown,
  where: 'body' | 'query' | 'path',
): z.output<T> {
  // Given per parse, this words only what the schema does not word itself.
  const parsed = schema.safeParse(value, { error: wordIssue })
  if (parsed.success) return parsed.data
  const fields = parsed.error.issues.slice(0, problemsMax).flatMap(problemsOf)
  const first = fields[0] ?? { field: '', message: 'is not valid' }
  throw new EdgefnError('invalid_field', sentence(first, where), {
    details: {
      field: first.field,
      fields: fields.map((problem) => ({
        field: problem.field,
        message: sentence(problem, where),
      })),
    },
  })
}

function problemsOf(issue: z.core.$ZodIssue): FieldProblem[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      field: pathOf([...issue.path, key]),
      message: 'is not known here',
    }))
  }
  return [{ field: pathOf(issue.path), message: issue.message }]
}

function pathOf(path: readonly PropertyKey[]): string {
  return path.map(String).join('.')
}

function sentence(problem: FieldProblem, where: string): string {
  if (/^[A-Z]/.test(problem.message)) return problem.message
  const subject = problem.field === '' ? `The ${where}` : `Field ${problem.field} of the ${where}`
  return `${subject} ${problem.message}.`
}

/** Words of ours for what a schema does not word itself; given with each parse. */
export function wordIssue(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'is required' : `must be ${nameType(issue.expected)}`
    case 'invalid_value':
      return `must be one of ${issue.values.map((value) => JSON.stringify(value)).join(', ')}`
    case 'too_small':
      if (issue.inclusive === false) return `must be above ${issue.minimum}`
      return `must ${sizeVerb(issue.origin)} at least ${issue.minimum}${sizeUnit(issue.origin)}`
    case 'too_big':
      return `must ${sizeVerb(issue.origin)} at most ${issue.maximum}${sizeUnit(issue.origin)}`
    case 'invalid_format':
      return `must be a valid ${issue.format}`
    case 'not_multiple_of':
      return `must be a multiple of ${issue.divisor}`
    case 'invalid_key':
      return 'has a key that is not allowed'
    default:
      return 'is not valid'
  }
}

function nameType(expected: string): string {
  if (expected === 'int') return 'a whole number'
  if (expected === 'record') return 'an object'
  return /^[aeiou]/.test(expected) ? `an ${expected}` : `a ${expected}`
}

function sizeVerb(origin: string): string {
  return sizeUnit(origin) === '' ? 'be' : 'have'
}

function sizeUnit(origin: string): string {
  if (origin === 'string') return ' characters'
  return origin === 'array' || origin === 'set' || origin === 'record' ? ' items' : ''
}
