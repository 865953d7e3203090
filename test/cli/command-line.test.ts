/** The words of a command line: help of every command, refusals by name, exit codes. */

import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'

import { parseWords } from '../../src/cli/arguments.ts'
import { COMMANDS } from '../../src/cli/commands.ts'
import { EXIT } from '../../src/cli/exit.ts'
import { defaulted, repeated, toggle, variableOf } from '../../src/config/option.ts'
import { integer, text } from '../../src/config/values.ts'
import { VERSION } from '../../src/version.ts'
import { runCaptured } from './capture.ts'

const MODULE = join(import.meta.dir, '../guests/build/hello-c.wasm')

describe('help', () => {
  for (const { name, options, args } of COMMANDS) {
    test(`of ${name} shows every flag with its variable, the arguments and the exit codes`, async () => {
      const { code, out, err } = await runCaptured([...name.split(' '), '--help'])
      expect({ code, err }).toEqual({ code: EXIT.ok, err: '' })
      for (const option of Object.keys(options)) {
        expect(out).toContain(`--${option}`)
        expect(out).toContain(variableOf(option))
      }
      for (const argument of args) expect(out).toContain(argument.name)
      expect(out).toContain('Exit codes')
    })
  }

  test('of the program names every command', async () => {
    const { code, out } = await runCaptured(['--help'])
    expect(code).toBe(EXIT.ok)
    for (const { name, summary } of COMMANDS) {
      expect(out).toContain(name)
      expect(out).toContain(summary)
    }
  })

  test('of a noun names its verbs', async () => {
    const { code, out } = await runCaptured(['routes', '--help'])
    expect(code).toBe(EXIT.ok)
    for (const verb of ['list', 'create', 'update', 'delete'])
      expect(out).toContain(`routes ${verb}`)
    expect(out).not.toContain('nodes')
  })

  test('is not shown instead of an error for a command line without a command', async () => {
    expect(await runCaptured([])).toMatchObject({ code: EXIT.usage, out: '' })
    expect(await runCaptured(['routes'])).toMatchObject({ code: EXIT.usage, out: '' })
  })
})

test('--version prints the version', async () => {
  expect(await runCaptured(['--version'])).toEqual({ code: 0, out: `${VERSION}\n`, err: '' })
})

describe('refusals', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['deplyo', 'deplyo: unknown command. Did you mean deploy?'],
    ['functions lst', 'functions lst: unknown command. Did you mean functions list?'],
    ['edge --pops x', '--pops: unknown flag. Did you mean --pop?'],
    ['edge --pop', '--pop: needs a value'],
    ['edge --pop --workers 1', '--pop: needs a value'],
    ['edge --pop a --pop b', '--pop: must be given only once'],
    ['edge tokyo-1 --pop a', 'tokyo-1: unexpected argument'],
    ['cp -x', '-x: unknown flag'],
    ['functions show', 'FUNCTION: must be given'],
    ['functions list -o yaml', '--output: must be one of table, json'],
    ['deploy x.wasm', 'name must be given: --name NAME, EDGEFN_NAME'],
    ['deploy x.wasm --name a --route hello', '--route: must be [HOST]/PATH'],
    ['deploy x.wasm --name a --env 1=2', '--env: must be NAME=VALUE'],
    [
      'deploy x.wasm --name a --allow-http a.com --allow-http A.com',
      '--allow-http: must be a host such as api.example.com or *.example.com in lower case, with https:// or http:// before and :PORT after it if wanted, got "A.com".',
    ],
    ['inspect WASM --write-forms /proc/none', '/proc/none: cannot be written: ENOENT'],
    ['token create --pop a --ttl 8d', '--ttl: must be from 10s to 7d'],
    ['inspect /no/such.wasm', '/no/such.wasm: cannot be read'],
    ['functions list --data-dir /no/such', 'No API key: give --api-key'],
  ]
  test.each(cases)('edgefn %s', async (line, message) => {
    // The path of the checkout may have blanks in it.
    const words = line.split(' ').map((word) => (word === 'WASM' ? MODULE : word))
    const { code, out, err } = await runCaptured(words)
    expect({ code, out }).toEqual({ code: EXIT.usage, out: '' })
    expect(err).toContain(`error: ${message}`)
  })

  test('values of --env are not repeated', async () => {
    const { code, err } = await runCaptured(
      'deploy x.wasm --name a --env KEY=secret --env 1KEY=secret'.split(' '),
    )
    expect(code).toBe(EXIT.usage)
    expect(err).toContain('"1KEY" is not')
    expect(err).not.toContain('secret')
  })

  test('an unknown variable is refused whatever the command', async () => {
    const { code, err } = await runCaptured(['functions', 'list'], { EDGEFN_API_KEI: 'x' })
    expect(code).toBe(EXIT.usage)
    expect(err).toContain('EDGEFN_API_KEI: unknown variable. Did you mean EDGEFN_API_KEY?')
  })
})

describe('parsing', () => {
  const options = {
    name: defaulted(text, 'x', { placeholder: 'NAME', help: '', short: 'n' }),
    priority: defaulted(integer(-9, 9), '0', { placeholder: 'N', help: '' }),
    tag: repeated(text, { placeholder: 'TAG', help: '' }),
    force: toggle(''),
  }
  const parse = (line: string) => {
    const { flags, args, help } = parseWords(line.split(' '), options)
    return { flags: Object.fromEntries(flags), args, help }
  }

  test('takes values after a space or an equals sign, short names, switches, repeats', () => {
    expect(parse('a --tag x --tag=y=z -n me --priority -5 --force b')).toEqual({
      flags: { tag: ['x', 'y=z'], name: ['me'], priority: ['-5'], force: ['true'] },
      args: ['a', 'b'],
      help: false,
    })
  })

  test('takes everything after -- as arguments, and a lone dash', () => {
    expect(parse('- -- --tag -h')).toEqual({ flags: {}, args: ['-', '--tag', '-h'], help: false })
  })

  test('finds --help anywhere', () => {
    expect(parse('a --force -h').help).toBe(true)
  })
})
