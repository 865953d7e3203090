/** A WAGI guest in AssemblyScript that calls WASI itself, its module body being the program. A failed assertion aborts. */
@external('wasi_snapshot_preview1', 'args_sizes_get')
declare function args_sizes_get(count: usize, bytes: usize): i32
@external('wasi_snapshot_preview1', 'args_get')
declare function args_get(pointers: usize, buffer: usize): i32
@external('wasi_snapshot_preview1', 'environ_sizes_get')
declare function environ_sizes_get(count: usize, bytes: usize): i32
@external('wasi_snapshot_preview1', 'environ_get')
declare function environ_get(pointers: usize, buffer: usize): i32
@external('wasi_snapshot_preview1', 'random_get')
declare function random_get(buffer: usize, length: usize): i32
@external('wasi_snapshot_preview1', 'fd_write')
declare function fd_write(fd: u32, vectors: usize, count: usize, written: usize): i32
@external('wasi_snapshot_preview1', 'proc_exit')
declare function proc_exit(code: u32): void

const numbers = memory.data(16)

function write(text: string): void {
  const bytes = String.UTF8.encode(text)
  store<usize>(numbers, changetype<usize>(bytes))
  store<usize>(numbers + 4, bytes.byteLength)
  assert(fd_write(1, numbers, 1, numbers + 8) == 0)
  assert(load<usize>(numbers + 8) == <usize>bytes.byteLength)
}

/** The strings of arguments or environment. */
function strings(sizes: (a: usize, b: usize) => i32, get: (a: usize, b: usize) => i32): string[] {
  assert(sizes(numbers, numbers + 4) == 0)
  const count = load<u32>(numbers)
  const pointers = heap.alloc(count * 4)
  const buffer = heap.alloc(load<usize>(numbers + 4))
  assert(get(pointers, buffer) == 0)
  const all = new Array<string>()
  for (let i: u32 = 0; i < count; i++) {
    const at = load<usize>(pointers + i * 4)
    let length: usize = 0
    while (load<u8>(at + length) != 0) length++
    all.push(String.UTF8.decodeUnsafe(at, length))
  }
  return all
}

write('Content-Type: text/plain\n\n')
const args = strings(args_sizes_get, args_get)
const exit = args.length > 1 && args[1].startsWith('exit=')
write(args.join('|') + '\n')
const environ = strings(environ_sizes_get, environ_get)
assert(environ.includes('OWN=1'))
assert(environ.includes('GATEWAY_INTERFACE=CGI/1.1'))
assert(fd_write(-31337, 0, 0, numbers + 8) == 8)
assert(random_get(heap.alloc(32), 0) == 0)
const bytes = heap.alloc(32)
assert(random_get(bytes, 32) == 0)
assert((load<u64>(bytes) | load<u64>(bytes + 24)) != 0)
if (exit) proc_exit(<u32>parseInt(args[1].slice(5)))
write('done\n')
assert(args.length < 3, 'three arguments')
