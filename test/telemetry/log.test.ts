import { expect, test } from 'bun:test'
import fc from 'fast-check'

import { EdgefnError } from '../../src/errors.ts'
import { createLog, maskText } from '../../src/telemetry/log.ts'
import type { LogFields } from '../../src/telemetry/log.ts'

function capture(options: { level?: 'debug' | 'warn'; pretty?: boolean } = {}) {
  const lines: string[] = []
  const log = createLog({
    component: 'test',
    level: options.level ?? 'debug',
    pretty: options.pretty ?? false,
    write: (line) => lines.push(line),
  })
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? '') }
}

test('a line has timestamp, level, component, message and the fields', () => {
  const { log, last } = capture()
  log
    .with({ node_id: 'tokyo-1-a' })
    .info('Something happened', { function_id: 'f', context: { a: 1 } })
  expect(last()).toMatchObject({
    level: 'info',
    component: 'test',
    message: 'Something happened',
    node_id: 'tokyo-1-a',
    function_id: 'f',
    context: { a: 1 },
  })
  expect(new Date(last().timestamp).toISOString()).toBe(last().timestamp)
})

test('levels below the set one are silent, and the level can change', () => {
  const { log, lines } = capture({ level: 'warn' })
  log.info('no')
  log.warn('yes')
  log.setLevel('debug')
  log.debug('now')
  expect(lines.length).toBe(2)
})

test('a failure carries code, message, cause and stack', () => {
  const { log, last } = capture()
  log.failure('It broke', new EdgefnError('conflict', 'Taken.', { cause: new Error('unique') }))
  expect(last()).toMatchObject({
    level: 'error',
    error_type: 'conflict',
    error_message: 'Taken.',
    error_cause: 'unique',
  })
  expect(last().stack_trace).toContain('log.test.ts')
})

const SECRETS = [
  'efk_15ec26b145f6508a_mluPPrLbtFD2hjNlrm8PNME8tmhgnIHZAStAvO6Ye1c',
  'efj_01a203de-c6c2-7243-858e-d5b23e8e5840_LmuhiMZrBuCxRV0vI-u12lbBLMjoS2vOeI8S5hov_2o',
  'eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJub2RlIn0.c2lnbmF0dXJl',
  'Bearer abc.def-ghi',
]

test('secrets are masked wherever they stand', () => {
  for (const secret of SECRETS) {
    const { log, lines } = capture()
    log.info(`key ${secret} was used`, {
      error_message: secret,
      context: { deep: [{ value: secret }], authorization: 'x', api_key: 'plain' },
    })
    expect(lines[0]).not.toContain(secret.replace('Bearer ', ''))
    expect(lines[0]).not.toContain('plain')
  }
  expect(maskText('http://h/a?expires=1&signature=abcdef&x=1')).toBe(
    'http://h/a?expires=1&signature=***&x=1',
  )
})

test('tokens are masked as one expression for a whole one would, in time that no text can stretch', () => {
  const whole = /\beyJ[\w-]+\.[\w-]+\.[\w-]+/gi
  const piece = fc.constantFrom('eyJ', 'eyJa', 'a', '-', '_', '.', '..', ' ', '/', 'b.c', 'ü')
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      const text = pieces.join('')
      expect(maskText(text)).toBe(text.replace(whole, '***'))
    }),
    { numRuns: 2000 },
  )
  const rounds = Array.from({ length: 5 }, () => {
    const startedAt = performance.now()
    for (let line = 0; line < 1000; line += 1) maskText('eyJ-'.repeat(512))
    return performance.now() - startedAt
  })
  // As many lines as a function may write in a second; they took nearly two.
  expect(Math.min(...rounds)).toBeLessThan(1000)
})

test('whatever is logged is one valid JSON line of at most 4096 bytes', () => {
  fc.assert(
    fc.property(
      fc.string({ maxLength: 6000, unit: 'binary' }),
      fc.dictionary(fc.string(), fc.jsonValue()),
      (message, fields) => {
        const { log, lines } = capture()
        log.error(message, { stack_trace: message, ...fields } as LogFields)
        const [line = ''] = lines
        expect(Buffer.byteLength(line)).toBeLessThanOrEqual(4096)
        expect(line.indexOf('\n')).toBe(line.length - 1)
        JSON.parse(line)
      },
    ),
    { numRuns: 300 },
  )
})

test('on a terminal no message can send control sequences', () => {
  const { log, lines } = capture({ pretty: true })
  log.info('evil \x1b]0;title\x07', { function_name: '\x1b[2J' })
  const withoutColours = (lines[0] ?? '').replace(/\x1b\[(?:\d+)?m/g, '')
  expect(withoutColours).not.toContain('\x1b')
  expect(withoutColours).toContain('\\x1b]0;title\\x07')
})
