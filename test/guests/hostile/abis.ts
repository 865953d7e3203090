/** Guests of the ABIs that people have modules of already: their allocators, their records, their kernel, their JSON. */

import { answers, fails, guest, MEMORY, quoted } from './guest.ts'

const CONFIG = '(import "spin-config" "get-config" (func $config (param i32 i32 i32)))'
const BUMP = `(global.get $heap)
  (global.set $heap (i32.add (global.get $heap) (local.get $size)))`

/** A Spin module; its response's record stands at 64 and is `record`, 28 bytes. */
function spin(
  body: string,
  { imports = '', realloc = BUMP, record = [200] as readonly number[] } = {},
): string {
  const words = [...record, ...Array<number>(7 - record.length).fill(0)]
  const bytes = new Uint8Array(Int32Array.from(words).buffer)
  const data = [...bytes].map((byte) => `\\${byte.toString(16).padStart(2, '0')}`).join('')
  return `(module ${imports} ${MEMORY} (global $heap (mut i32) (i32.const 65536))
    (data (i32.const 64) "${data}")
    (func $realloc (export "canonical_abi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
      ${realloc})
    (func $handle (export "handle-http-request") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)
      (result i32) ${body} (i32.const 64)))`
}

/** An Extism plug-in with the functions of the kernel that these use. */
function plugin(body: string): string {
  const kernel = [
    '"alloc" (func $alloc (param i64) (result i64))',
    '"store_u8" (func $store (param i64 i32))',
    '"output_set" (func $output (param i64 i64))',
    '"var_set" (func $var_set (param i64 i64))',
    '"log_info" (func $log (param i64))',
  ].map((each) => `(import "extism:host/env" ${each})`)
  return `(module ${kernel.join(' ')} ${MEMORY}
    (func (export "run") (result i32) (local $at i64) (local $i i64) ${body} (i32.const 0)))`
}

/** A worker of Wasm Workers Server that writes `text` `times` times. */
function worker(text: string, times: number): string {
  return `(module
    (import "http" "send-http-request" (func (param ${'i32 '.repeat(11)})))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    ${MEMORY} (data (i32.const 1024) ${quoted(text)})
    (func (export "canonical_abi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
    (func (export "_start") (local $i i32)
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const ${new TextEncoder().encode(text).length}))
      (loop $more
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $i) (i32.const ${times}))))))`
}

const ASK = '(call $config (i32.const 0) (i32.const 5) (i32.const 128))'
const INVALID = fails('invalid_response')
const LONG = '0123456789abcdef'.repeat(2048)

export const ABIS = [
  guest(
    'a Spin record that says it has four thousand million headers',
    spin('', { record: [200, 1, 0, -1] }),
    INVALID,
  ),
  guest(
    'a Spin record whose body begins at the last byte of the memory',
    spin('', { record: [200, 0, 0, 0, 1, 4 * 65_536 - 1, 1000] }),
    INVALID,
  ),
  guest(
    'a Spin allocator that does not come back',
    spin('', { realloc: '(loop $more (br $more)) (unreachable)' }),
    fails('execution_timeout'),
  ),
  guest(
    'a Spin allocator that recurses',
    spin('', {
      realloc:
        '(call $realloc (i32.const 0) (i32.const 0) (i32.const 0) (i32.add (local.get $size) (i32.const 1)))',
    }),
    fails('stack_overflow'),
  ),
  guest(
    'a Spin allocator that asks its host again for what it allocates',
    spin(ASK, {
      imports: CONFIG,
      realloc: `(if (i32.gt_u (global.get $heap) (i32.const 65536)) (then
        (call $config (i32.const 0) (i32.const 5) (i32.const 256)))) ${BUMP}`,
    }),
    fails('function_trap', 'execution_timeout', 'stack_overflow'),
  ),
  guest(
    'a Spin module that asks for a variable for ever',
    spin(`(loop $more (global.set $heap (i32.const 65536)) ${ASK} (br $more))`, {
      imports: CONFIG,
    }),
    fails('execution_timeout'),
  ),
  guest(
    'a Spin module that gives its host function a record at the end of all addresses',
    spin(ASK.replace('128', '-4'), { imports: CONFIG }),
    fails('function_trap'),
  ),
  guest(
    'an Extism plug-in that takes more memory of its kernel for ever',
    plugin('(loop $more (drop (call $alloc (i64.const 1000))) (br $more))'),
    fails('execution_timeout'),
  ),
  guest(
    'an Extism plug-in whose output is longer than any memory',
    plugin('(call $output (call $alloc (i64.const 8)) (i64.const -1))'),
    fails('function_trap'),
  ),
  guest(
    'an Extism plug-in that writes where its kernel has no memory',
    plugin('(call $store (i64.const 0x7fffffffffffffff) (i32.const 1))'),
    fails('function_trap'),
  ),
  guest(
    'an Extism plug-in that logs for ever',
    plugin(
      '(local.set $at (call $alloc (i64.const 100))) (loop $more (call $log (local.get $at)) (br $more))',
    ),
    fails('execution_timeout'),
  ),
  guest(
    'an Extism plug-in that sets ever more variables',
    plugin(`(local.set $at (call $alloc (i64.const 8)))
      (loop $more
        (call $store (local.get $at) (i32.wrap_i64 (local.get $i)))
        (call $store (i64.add (local.get $at) (i64.const 1))
          (i32.wrap_i64 (i64.shr_u (local.get $i) (i64.const 8))))
        (call $var_set (local.get $at) (local.get $at))
        (local.set $i (i64.add (local.get $i) (i64.const 1)))
        (br_if $more (i64.lt_u (local.get $i) (i64.const 65536))))`),
    fails('function_trap', 'execution_timeout'),
  ),
  guest('a worker whose JSON is six million brackets', worker('['.repeat(1000), 6000), INVALID),
  guest('a worker whose JSON never ends', worker(`{"data":"${LONG}`, 1_000_000), INVALID),
  guest(
    'a worker that answers header fields in a header field',
    worker('{"data":"x","status":200,"headers":{"a":"b\\r\\ncontent-length: 0"}}', 1),
    INVALID,
  ),
  guest(
    'a worker that takes the framing of its response for its own',
    worker(
      '{"data":"x","status":200,"headers":{"transfer-encoding":"chunked","content-length":"9"}}',
      1,
    ),
    answers(200, 'x'),
  ),
]
