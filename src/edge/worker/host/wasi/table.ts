/**
 * `wasi_snapshot_preview1` as edgefn grants it (SPEC 4, R6.3, R6.4, P12): clocks, random numbers, arguments, environment and
 * the standard streams. Every other name links, so that programs instantiate, and answers with an errno.
 */

import { MemoryFault } from '../../../../../ffi/memory.ts'
import type { HostFunctionBody, HostFunctionTable } from '../host.ts'
import { CLOCK_FUNCTIONS } from './clocks.ts'
import { ERRNO } from './errno.ts'
import { PROCESS_FUNCTIONS } from './process.ts'
import { STDIO_FUNCTIONS } from './stdio.ts'

const denied: HostFunctionBody = () => ERRNO.notcapable

/** The file system and signals: refused, whatever the arguments. */
const DENIED_FUNCTIONS: HostFunctionTable = {
  path_create_directory: denied,
  path_filestat_get: denied,
  path_filestat_set_times: denied,
  path_link: denied,
  path_open: denied,
  path_readlink: denied,
  path_remove_directory: denied,
  path_rename: denied,
  path_symlink: denied,
  path_unlink_file: denied,
  proc_raise: denied,
}

/** A pointer outside the guest's memory is EFAULT to a WASI program, not a trap. */
function faultAsErrno(body: HostFunctionBody): HostFunctionBody {
  return function withFault(call, context, host) {
    try {
      return body(call, context, host)
    } catch (thrown) {
      if (thrown instanceof MemoryFault) return ERRNO.fault
      throw thrown
    }
  }
}

export const WASI_FUNCTIONS: HostFunctionTable = Object.fromEntries(
  Object.entries({
    ...PROCESS_FUNCTIONS,
    ...CLOCK_FUNCTIONS,
    ...STDIO_FUNCTIONS,
    ...DENIED_FUNCTIONS,
  }).map(([name, body]) => [name, faultAsErrno(body)]),
)
