/** A port of loopback that answers no connection attempt, not even by refusing: its backlog is full and nobody accepts. */

import { dlopen, FFIType, ptr } from 'bun:ffi'
import { connect } from 'node:net'
import type { Socket } from 'node:net'

const { i32, u32 } = FFIType
const { symbols: libc } = dlopen('libc.so.6', {
  socket: { args: [i32, i32, i32], returns: i32 },
  bind: { args: [i32, FFIType.ptr, u32], returns: i32 },
  listen: { args: [i32, i32], returns: i32 },
  getsockname: { args: [i32, FFIType.ptr, FFIType.ptr], returns: i32 },
  close: { args: [i32], returns: i32 },
})

const AF_INET = 2
const SOCK_STREAM_CLOEXEC = 0o2000001
/** How long a connection may take before the port counts as deaf; on loopback it takes none. */
const patienceMs = 200

export async function deafListener(): Promise<{ port: number; close(): void }> {
  const fd = libc.socket(AF_INET, SOCK_STREAM_CLOEXEC, 0)
  const address = new Uint8Array([AF_INET, 0, 0, 0, 127, 0, 0, 1, ...Array(8).fill(0)])
  const length = new Uint32Array([address.length])
  if (libc.bind(fd, ptr(address), address.length) !== 0 || libc.listen(fd, 0) !== 0) {
    throw new Error('No port can be had.')
  }
  libc.getsockname(fd, ptr(address), ptr(length))
  const port = new DataView(address.buffer).getUint16(2)
  const fillers: Socket[] = []
  for (let heard = true; heard;) {
    const filler = connect({ host: '127.0.0.1', port })
    filler.on('error', () => {})
    fillers.push(filler)
    heard = await new Promise<boolean>((resolve) => {
      filler.once('connect', () => resolve(true))
      setTimeout(() => resolve(false), patienceMs)
    })
  }
  return {
    port,
    close() {
      for (const filler of fillers) filler.destroy()
      libc.close(fd)
    },
  }
}
