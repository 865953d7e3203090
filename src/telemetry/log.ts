/**
 * Structured logs on stdout: one JSON object a line, pretty on a terminal (SPEC 9, the documents' error log format).
 * Lines are written whole and synchronously, so that the processes of one node can share one stdout.
 */

import { writeSync } from 'node:fs'

import { EdgefnError, errorMessage } from '../errors.ts'

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Bytes of one line; a pipe takes up to 4096 in one piece, so lines of several processes never mix. */
const lineBytesMax = 4096

/** Fields of a line besides timestamp, level, component and message. The names are those of the documents. */
export interface LogFields {
  node_id?: string
  function_id?: string
  request_id?: string
  error_type?: string
  error_message?: string
  stack_trace?: string
  context?: Record<string, unknown>
  [field: string]: unknown
}

export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** Logs something thrown, with its code, stack and cause. */
  failure(message: string, thrown: unknown, fields?: LogFields): void
  /** A log whose lines all carry `fields`. */
  with(fields: LogFields): Log
  setLevel(level: LogLevel): void
  /** Whether lines of a level are written, for those that would cost more to put together than to leave out. */
  writes(level: LogLevel): boolean
}

export interface LogOptions {
  /** Part of edgefn that speaks: `cp`, `edge-agent`, `edge-worker`. */
  readonly component: string
  readonly level: LogLevel
  /** Lines for people instead of JSON; default: when stdout is a terminal. */
  readonly pretty?: boolean
  readonly fields?: LogFields
  /** Where lines go; default stdout. */
  readonly write?: (line: string) => void
}

/** Key names whose values never reach a log [C10.2]. */
const SECRET_KEY =
  /(?:^|[_-])(?:authorization|cookie|password|secret|token|api[_-]?key|private[_-]?key|signature)$/i
/** Credentials as they look in running text: our own tokens, bearer values, signed URL parameters. */
const SECRET_TEXT =
  /\b(?:efk|efj)_[\w.-]+|\bBearer\s+[\w.~+/=-]+|([?&](?:signature|X-Amz-Signature|X-Amz-Credential)=)[^&\s"]+/gi
/** What a JWT may be a part of, and how its first of three parts begins. */
const WORD = /[\w.-]{8,}/g
const JWT_START = /\beyJ[\w-]/i

/** Replaces credentials in running text by `***`. Takes time in proportion to the text, whatever a guest writes. */
export function maskText(text: string): string {
  return text
    .replace(SECRET_TEXT, (_match, parameter: string | undefined) => `${parameter ?? ''}***`)
    .replace(WORD, maskTokens)
}

/** The JWTs in a word. One expression for all of a JWT would look through the word again from each place where one may begin. */
function maskTokens(word: string): string {
  if (!JWT_START.test(word)) return word
  const parts = word.split('.')
  const kept: string[] = []
  for (let at = 0; at < parts.length; at += 1) {
    const part = parts[at] ?? ''
    const start = part.search(JWT_START)
    const isToken = start >= 0 && Boolean(parts[at + 1]) && Boolean(parts[at + 2])
    kept.push(isToken ? `${part.slice(0, start)}***` : part)
    if (isToken) at += 2
  }
  return kept.join('.')
}

function mask(value: unknown, key: string, depth: number): unknown {
  if (value !== null && value !== undefined && SECRET_KEY.test(key)) return '***'
  if (typeof value === 'string') return maskText(value)
  if (typeof value !== 'object' || value === null) return value
  if (depth > 5) return '…'
  if (Array.isArray(value)) return value.slice(0, 100).map((item) => mask(item, '', depth + 1))
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, mask(item, name, depth + 1)]),
  )
}

/** A log bound to a component. Construction does no I/O. */
export function createLog(options: LogOptions): Log {
  const state = { level: LOG_LEVELS.indexOf(options.level) }
  const pretty = options.pretty ?? process.stdout.isTTY === true
  const write = options.write ?? writeStdout
  return bind(options.fields ?? {})

  function bind(bound: LogFields): Log {
    function emit(level: LogLevel, message: string, fields: LogFields): void {
      if (LOG_LEVELS.indexOf(level) < state.level) return
      const timestamp = new Date().toISOString()
      const masked = mask({ ...bound, ...fields }, '', 0) as LogFields
      const record = { timestamp, level, component: options.component, message: maskText(message) }
      write(pretty ? prettyLine(record, masked) : jsonLine({ ...record, ...masked }))
    }
    return {
      debug: (message, fields = {}) => emit('debug', message, fields),
      info: (message, fields = {}) => emit('info', message, fields),
      warn: (message, fields = {}) => emit('warn', message, fields),
      error: (message, fields = {}) => emit('error', message, fields),
      failure: (message, thrown, fields = {}) =>
        emit('error', message, { ...failureFields(thrown), ...fields }),
      with: (fields) => bind({ ...bound, ...fields }),
      setLevel: (level) => {
        state.level = LOG_LEVELS.indexOf(level)
      },
      writes: (level) => LOG_LEVELS.indexOf(level) >= state.level,
    }
  }
}

function failureFields(thrown: unknown): LogFields {
  const cause = thrown instanceof Error ? thrown.cause : undefined
  return {
    error_type: thrown instanceof EdgefnError ? thrown.code : 'internal',
    error_message: errorMessage(thrown),
    ...(cause === undefined ? {} : { error_cause: errorMessage(cause) }),
    ...(thrown instanceof Error && thrown.stack !== undefined ? { stack_trace: thrown.stack } : {}),
  }
}

/** One line of at most `lineBytesMax` bytes that is always valid JSON: long lines give up stack, then context, then text. */
function jsonLine(record: Record<string, unknown>): string {
  const line = `${JSON.stringify(record)}\n`
  if (Buffer.byteLength(line) <= lineBytesMax) return line
  const { stack_trace: _stack, context: _context, ...rest } = record
  const shorter = Object.fromEntries(
    Object.entries(rest).map(([key, value]) => [key, shorten(value)]),
  )
  const second = `${JSON.stringify({ ...shorter, truncated: true })}\n`
  if (Buffer.byteLength(second) <= lineBytesMax) return second
  const { timestamp, level, component } = record
  const message = String(record['message']).slice(0, 600)
  return `${JSON.stringify({ timestamp, level, component, message, truncated: true })}\n`
}

function shorten(value: unknown): unknown {
  if (typeof value === 'string') return value.length > 600 ? `${value.slice(0, 600)}…` : value
  return typeof value === 'object' && value !== null ? '…' : value
}

// Everything but tab and line feed.
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g

const COLOURS: Record<LogLevel, string> = { debug: '90', info: '36', warn: '33', error: '31' }

function prettyLine(
  record: { timestamp: string; level: LogLevel; component: string; message: string },
  fields: LogFields,
): string {
  const { stack_trace: stack, ...rest } = fields
  const pairs = Object.entries(rest)
    .filter(([, value]) => value !== undefined)
    .map(
      ([key, value]) =>
        `${key}=${typeof value === 'string' ? printable(value) : JSON.stringify(value)}`,
    )
  const level = `\x1b[${COLOURS[record.level]}m${record.level.padEnd(5)}\x1b[0m`
  const tail = pairs.length === 0 ? '' : `  \x1b[90m${pairs.join(' ')}\x1b[0m`
  const trace = stack === undefined ? '' : `\n${printable(stack)}`
  const message = printable(record.message)
  return `${record.timestamp.slice(11, 23)} ${level} ${record.component}: ${message}${tail}${trace}\n`
}

/** A guest's message must not move the cursor or retitle the terminal of whoever reads it. */
function printable(text: string): string {
  return text.replace(
    CONTROL,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}

/** A full or closed stdout must not end the process: the line is dropped. */
function writeStdout(line: string): void {
  try {
    writeSync(1, line)
  } catch {
    // EAGAIN, EPIPE: whoever reads the log has gone or is too slow.
  }
}
