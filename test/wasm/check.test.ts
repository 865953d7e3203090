import { describe, expect, test } from 'bun:test'

import { EdgefnError } from '../../src/errors.ts'
import { checkModule, inspectModule } from '../../src/wasm/check.ts'
import { EXTISM_MODULE } from '../../src/wasm/extism-imports.ts'
import { HOST_IMPORTS, hostImport } from '../../src/wasm/host-imports.ts'
import { ALLOC, EDGEFN, HANDLE, HOSTED, MEMORY, RICH, WAGI } from './samples.ts'
import { assemble } from './wabt.ts'

const SETTINGS = { entrypoint: 'handle', memory_pages: 16 }

function refusal(text: string, settings: Partial<typeof SETTINGS> = {}): string {
  try {
    checkModule(assemble(text), { ...SETTINGS, ...settings })
  } catch (error) {
    if (error instanceof EdgefnError) return `${error.code}: ${error.message}`
    throw error
  }
  return 'accepted'
}

/** A module of the edgefn ABI with more in it. */
const guest = (more: string) => `(module ${more} ${MEMORY} ${HANDLE} ${ALLOC})`

describe('the ABI', () => {
  test('is edgefn where memory, entrypoint and alloc are exported', () => {
    expect(checkModule(assemble(EDGEFN), SETTINGS).abi).toBe('edgefn')
    expect(checkModule(assemble(HOSTED), SETTINGS).abi).toBe('edgefn')
  })

  test('is wagi where memory and _start are exported', () => {
    expect(checkModule(assemble(WAGI), SETTINGS).abi).toBe('wagi')
    expect(checkModule(assemble(RICH), SETTINGS).abi).toBe('wagi')
  })

  test('is edgefn where both fit', () => {
    const both = guest('(func (export "_start"))')
    expect(checkModule(assemble(both), SETTINGS).abi).toBe('edgefn')
  })

  test('follows the entrypoint that is set', () => {
    const renamed = EDGEFN.replace('"handle"', '"main"')
    expect(checkModule(assemble(renamed), { ...SETTINGS, entrypoint: 'main' }).abi).toBe('edgefn')
    expect(refusal(renamed)).toContain('it needs to export "handle" with type (i32 x10) -> i32')
  })

  test('that a module does not speak is told with what is missing for each', () => {
    const text = `(module ${MEMORY} (func (export "handle") (param i32 i32) (result i32) i32.const 0)
      (func (export "_start") (param i64)) (table (export "alloc") 1 funcref))`
    expect(refusal(text)).toBe(
      'module_unsupported: The module speaks no ABI that edgefn knows. For edgefn: it exports "handle" with type ' +
        '(i32, i32) -> i32, needed is (i32 x10) -> i32; it exports "alloc" as a table, which must be a function of type ' +
        '(i32) -> i32; it exports "_start" with type (i64) -> (), needed is () -> (). ' +
        'For WAGI (a WASI command): it exports "_start" with type (i64) -> (), needed is () -> ().',
    )
  })

  test('is that of Spin, Extism or Wasm Workers Server where a module shows signs of one', () => {
    const realloc =
      '(func (export "canonical_abi_realloc") (param i32 i32 i32 i32) (result i32) (local.get 3))'
    const spin = `(module ${MEMORY} ${realloc} ${HANDLE.replace('"handle"', '"handle-http-request"')})`
    expect(checkModule(assemble(spin), SETTINGS)).toMatchObject({
      abi: 'spin',
      entrypoint: 'handle-http-request',
    })
    expect(refusal(spin.replace(realloc, ''))).toContain('For Spin 1.x: it needs to export')
    const wws = `(module (import "http" "send-http-request" (func (param ${'i32 '.repeat(11)})))
      ${MEMORY} ${realloc} (func (export "_start")))`
    expect(checkModule(assemble(wws), SETTINGS).abi).toBe('wws')
    for (const kernel of ['"extism:host/env" "alloc"', '"env" "extism_alloc"']) {
      const plugin = (more: string) => `(module (import ${kernel} (func (param i64) (result i64)))
        ${MEMORY} (func (export "count_vowels") (result i32) (i32.const 0))
        (func (export "__invoke") (export "main") (result i32) (i32.const 0)) ${more})`
      expect(checkModule(assemble(plugin('')), SETTINGS)).toMatchObject({
        abi: 'extism',
        entrypoint: 'count_vowels',
      })
      const several = plugin('(func (export "other") (result i32) (i32.const 0))')
      expect(refusal(several)).toContain('an entrypoint that says which of them answers')
      const named = { ...SETTINGS, entrypoint: 'other' }
      expect(checkModule(assemble(several), named).entrypoint).toBe('other')
      expect(refusal(several, { entrypoint: 'third' })).toContain('it needs to export "third"')
    }
  })

  test('may be asked for, and is then the only one that counts', () => {
    expect(checkModule(assemble(WAGI), { ...SETTINGS, abi: 'wws' }).abi).toBe('wws')
    expect(() => checkModule(assemble(WAGI), { ...SETTINGS, abi: 'spin' })).toThrow('For Spin 1.x')
    expect(() => checkModule(assemble(WAGI), { ...SETTINGS, abi: 'edgefn' })).toThrow('For edgefn')
  })

  test('of a command is WAGI from another export where one is named', () => {
    const text = `(module ${MEMORY} (func (export "_start")) (func (export "hello")))`
    expect(checkModule(assemble(text), SETTINGS).entrypoint).toBe('_start')
    expect(checkModule(assemble(text), { ...SETTINGS, entrypoint: 'hello' }).entrypoint).toBe(
      'hello',
    )
  })

  test('needs the memory exported as "memory"', () => {
    for (const abi of [EDGEFN, WAGI]) {
      expect(refusal(abi.replace('"memory"', '"mem"'))).toContain('its memory as "memory"')
      expect(refusal(abi.replace(MEMORY, ''))).toContain('its memory as "memory"')
    }
    const wrong = WAGI.replace(MEMORY, '(global (export "memory") i32 (i32.const 0))')
    expect(refusal(wrong)).toContain('it exports "memory" as a global')
  })

  test('takes an _initialize of its type only', () => {
    expect(refusal(guest('(func (export "_initialize"))'))).toBe('accepted')
    expect(refusal(guest('(func (export "_initialize") (param i32))'))).toContain('"_initialize"')
    // Where there is none, `_start` runs in its place.
    expect(refusal(guest('(func (export "_start"))'))).toBe('accepted')
    expect(refusal(guest('(func (export "_start") (param i32))'))).toContain('"_start"')
  })
})

describe('imports', () => {
  test('of every host function with its type are taken', () => {
    const realloc =
      '(func (export "canonical_abi_realloc") (param i32 i32 i32 i32) (result i32) (local.get 3))'
    // What the ABIs need that a module is known to speak by its imports.
    const more = `${realloc} (func (export "run") (result i32) (i32.const 0)) (func (export "_start"))`
    for (const { module, name, params, results } of HOST_IMPORTS) {
      const type = `(param ${params.join(' ')}) (result ${results.join(' ')})`
      const label = `${module} ${name}`
      const found = refusal(guest(`(import "${module}" "${name}" (func ${type})) ${more}`))
      expect([label, found]).toEqual([label, 'accepted'])
      const wrong = `(param ${params.join(' ')} i64) (result ${results.join(' ')})`
      expect(refusal(guest(`(import "${module}" "${name}" (func ${wrong})) ${more}`))).toContain(
        `The module imports "${module}" "${name}" with type`,
      )
    }
  })

  test('are 46 of preview 1, 18 of edgefn, 5 of AssemblyScript, 27 of Extism in two forms, none twice', () => {
    const count = (module: string) => HOST_IMPORTS.filter((each) => each.module === module).length
    expect([count('wasi_snapshot_preview1'), count('edgefn'), count('env')]).toEqual([46, 18, 32])
    expect(count(EXTISM_MODULE)).toBe(27)
    const names = new Set(HOST_IMPORTS.map((each) => `${each.module} ${each.name}`))
    expect(names.size).toBe(HOST_IMPORTS.length)
    expect(hostImport('wasi_snapshot_preview1', 'fd_seek')?.params).toEqual([
      'i32',
      'i64',
      'i32',
      'i32',
    ])
    expect(hostImport('edgefn', 'fd_seek')).toBeUndefined()
  })

  const refused: [string, string][] = [
    [
      '(import "js" "alert" (func))',
      'no such import module, only wasi_snapshot_preview1, edgefn, env and those of other ABIs',
    ],
    [
      '(import "edgefn" "sql_dump" (func))',
      '"edgefn" has log, request_id, request_header, env_get',
    ],
    [
      '(import "env" "__assert_fail" (func))',
      '"env" has abort, seed, trace, console.log, Date.now',
    ],
    ['(import "wasi_snapshot_preview1" "sock_open" (func))', 'has the preview 1 functions'],
    ['(import "wasi_unstable" "fd_write" (func))', 'rebuild for wasi_snapshot_preview1'],
    ['(import "gojs" "runtime.wasmExit" (func))', 'GOOS=wasip1'],
    ['(import "wbg" "__wbg_log" (func))', '--target wasm32-wasip1'],
    ['(import "env" "table" (table 1 funcref))', 'imports the table "env" "table"; only functions'],
    ['(import "env" "g" (global i32))', 'imports the global "env" "g"; only functions'],
    ['(import "edgefn" "log" (global i32))', 'imports the global "edgefn" "log"'],
    ['(import "toString" "constructor" (func))', 'no such import module'],
  ]
  for (const [text, message] of refused) {
    test(`are refused: ${text}`, () => {
      expect(refusal(guest(text))).toStartWith('module_unsupported')
      expect(refusal(guest(text))).toContain(message)
    })
  }

  test('of a memory are refused though it is exported again', () => {
    const text = `(module (import "env" "memory" (memory 1)) (export "memory" (memory 0)) ${HANDLE} ${ALLOC})`
    expect(refusal(text)).toContain('imports the memory "env" "memory"; only functions')
  })
})

describe('memory', () => {
  test('of a minimum over memory_pages is refused with both numbers', () => {
    const text = EDGEFN.replace(MEMORY, '(memory (export "memory") 17)')
    expect(refusal(text)).toBe(
      'module_unsupported: Module needs at least 17 memory pages, memory_pages is 16',
    )
    expect(refusal(text, { memory_pages: 17 })).toBe('accepted')
    expect(inspectModule(assemble(text)).problems).toEqual([])
  })

  test('of a maximum over memory_pages is taken', () => {
    expect(refusal(EDGEFN.replace(MEMORY, '(memory (export "memory") 1 65536)'))).toBe('accepted')
  })
})

describe('inspection', () => {
  test('tells all of a module', () => {
    const module = assemble(HOSTED)
    expect(inspectModule(module)).toEqual({
      abi: 'edgefn',
      entrypoint: 'handle',
      imports: [
        {
          module: 'wasi_snapshot_preview1',
          name: 'fd_write',
          kind: 'function',
          type: '(i32, i32, i32, i32) -> i32',
        },
        {
          module: 'wasi_snapshot_preview1',
          name: 'clock_time_get',
          kind: 'function',
          type: '(i32, i64, i32) -> i32',
        },
        { module: 'edgefn', name: 'log', kind: 'function', type: '(i32, i32, i32) -> ()' },
        { module: 'env', name: 'seed', kind: 'function', type: '() -> f64' },
      ],
      exports: [
        { name: 'memory', kind: 'memory', type: 'min 2 max 20' },
        { name: 'version', kind: 'global', type: 'i64' },
        { name: 'table', kind: 'table', type: 'funcref min 4' },
        { name: '_initialize', kind: 'function', type: '() -> ()' },
        { name: 'handle', kind: 'function', type: '(i32 x10) -> i32' },
        { name: 'alloc', kind: 'function', type: '(i32) -> i32' },
      ],
      memory: { min: 2, max: 20, imported: false },
      functions: 4,
      size_bytes: module.length,
      custom_sections: [],
      start: true,
      problems: [],
    })
  })

  test('of a module that breaks off keeps what was read and tells one problem', () => {
    const module = assemble(HOSTED)
    const inspection = inspectModule(module.subarray(0, module.length - 3))
    expect(inspection.abi).toBeNull()
    expect(inspection.exports).toHaveLength(6)
    expect(inspection.problems.map((problem) => problem.code)).toEqual(['module_invalid'])
  })

  test('lists many problems up to a number, and the error joins them', () => {
    const imports = Array.from({ length: 50 }, (_, i) => `(import "js" "f${i}" (func))`).join(' ')
    const module = assemble(guest(imports))
    expect(inspectModule(module).problems).toHaveLength(20)
    try {
      checkModule(module, SETTINGS)
      expect.unreachable()
    } catch (error) {
      expect((error as EdgefnError).message).toEndWith('There are 17 more problems.')
      expect((error as EdgefnError).details?.['problems']).toHaveLength(20)
    }
  })

  test('shows hostile names escaped and cut', () => {
    const [problem] = inspectModule(
      assemble(guest(`(import "\\1b[2J${'x'.repeat(500)}" "\\0a" (func))`)),
    ).problems
    expect(problem?.message).toContain('"\\u001b[2Jxxx')
    expect(problem?.message).toContain('"\\n"')
    expect(problem?.message.length).toBeLessThan(300)
  })
})
