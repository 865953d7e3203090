/** Every function a guest may import, with its type: the one table that ingest checks by and the edge builds its host modules from. */

import { EXTISM_FUNCTIONS, EXTISM_MODULE, EXTISM_OLD_PREFIX } from './extism-imports.ts'
import type { ValueType } from './module.ts'
import { SPIN_IMPORTS } from './spin-imports.ts'

export const HOST_MODULES = [
  'wasi_snapshot_preview1',
  'edgefn',
  'env',
  EXTISM_MODULE,
  ...typedKeys(SPIN_IMPORTS),
] as const
export type HostModule = (typeof HOST_MODULES)[number]

export interface HostImport {
  readonly module: HostModule
  readonly name: string
  readonly params: readonly ValueType[]
  readonly results: readonly ValueType[]
}

function typedKeys<K extends string>(record: Readonly<Record<K, unknown>>): K[] {
  return Object.keys(record) as K[]
}

/** Types are written as words: `'i32 i64'`. */
function from(
  module: HostModule,
  rows: readonly (readonly [string, string, string])[],
): HostImport[] {
  return rows.map(([name, params, results]) => ({
    module,
    name,
    params: words(params),
    results: words(results),
  }))
}

function words(text: string): ValueType[] {
  return text === '' ? [] : (text.split(' ') as ValueType[])
}

/** All 46 of preview 1. That one links says nothing about whether the edge does it or answers with an errno (DESIGN section 6). */
const WASI = from('wasi_snapshot_preview1', [
  ['args_get', 'i32 i32', 'i32'],
  ['args_sizes_get', 'i32 i32', 'i32'],
  ['environ_get', 'i32 i32', 'i32'],
  ['environ_sizes_get', 'i32 i32', 'i32'],
  ['clock_res_get', 'i32 i32', 'i32'],
  ['clock_time_get', 'i32 i64 i32', 'i32'],
  ['fd_advise', 'i32 i64 i64 i32', 'i32'],
  ['fd_allocate', 'i32 i64 i64', 'i32'],
  ['fd_close', 'i32', 'i32'],
  ['fd_datasync', 'i32', 'i32'],
  ['fd_fdstat_get', 'i32 i32', 'i32'],
  ['fd_fdstat_set_flags', 'i32 i32', 'i32'],
  ['fd_fdstat_set_rights', 'i32 i64 i64', 'i32'],
  ['fd_filestat_get', 'i32 i32', 'i32'],
  ['fd_filestat_set_size', 'i32 i64', 'i32'],
  ['fd_filestat_set_times', 'i32 i64 i64 i32', 'i32'],
  ['fd_pread', 'i32 i32 i32 i64 i32', 'i32'],
  ['fd_prestat_get', 'i32 i32', 'i32'],
  ['fd_prestat_dir_name', 'i32 i32 i32', 'i32'],
  ['fd_pwrite', 'i32 i32 i32 i64 i32', 'i32'],
  ['fd_read', 'i32 i32 i32 i32', 'i32'],
  ['fd_readdir', 'i32 i32 i32 i64 i32', 'i32'],
  ['fd_renumber', 'i32 i32', 'i32'],
  ['fd_seek', 'i32 i64 i32 i32', 'i32'],
  ['fd_sync', 'i32', 'i32'],
  ['fd_tell', 'i32 i32', 'i32'],
  ['fd_write', 'i32 i32 i32 i32', 'i32'],
  ['path_create_directory', 'i32 i32 i32', 'i32'],
  ['path_filestat_get', 'i32 i32 i32 i32 i32', 'i32'],
  ['path_filestat_set_times', 'i32 i32 i32 i32 i64 i64 i32', 'i32'],
  ['path_link', 'i32 i32 i32 i32 i32 i32 i32', 'i32'],
  ['path_open', 'i32 i32 i32 i32 i32 i64 i64 i32 i32', 'i32'],
  ['path_readlink', 'i32 i32 i32 i32 i32 i32', 'i32'],
  ['path_remove_directory', 'i32 i32 i32', 'i32'],
  ['path_rename', 'i32 i32 i32 i32 i32 i32', 'i32'],
  ['path_symlink', 'i32 i32 i32 i32 i32', 'i32'],
  ['path_unlink_file', 'i32 i32 i32', 'i32'],
  ['poll_oneoff', 'i32 i32 i32 i32', 'i32'],
  ['proc_exit', 'i32', ''],
  ['proc_raise', 'i32', 'i32'],
  ['sched_yield', '', 'i32'],
  ['random_get', 'i32 i32', 'i32'],
  ['sock_accept', 'i32 i32 i32', 'i32'],
  ['sock_recv', 'i32 i32 i32 i32 i32 i32', 'i32'],
  ['sock_send', 'i32 i32 i32 i32 i32', 'i32'],
  ['sock_shutdown', 'i32 i32', 'i32'],
])

/** edgefn's own; pointers and lengths are into the guest's memory (DESIGN section 6). */
const EDGEFN = from('edgefn', [
  // level, ptr, len
  ['log', 'i32 i32 i32', ''],
  // buf, cap -> full length
  ['request_id', 'i32 i32', 'i32'],
  // name_ptr, name_len, buf, cap -> full length
  ['request_header', 'i32 i32 i32 i32', 'i32'],
  ['env_get', 'i32 i32 i32 i32', 'i32'],
  // status, headers_ptr, headers_len
  ['response_head', 'i32 i32 i32', 'i32'],
  // ptr, len
  ['response_write', 'i32 i32', 'i32'],
  // key_ptr, key_len, buf, cap -> full length of the value
  ['kv_get', 'i32 i32 i32 i32', 'i32'],
  // key_ptr, key_len, value_ptr, value_len, ttl_seconds
  ['kv_put', 'i32 i32 i32 i32 i32', 'i32'],
  // key_ptr, key_len
  ['kv_delete', 'i32 i32', 'i32'],
  // prefix_ptr, prefix_len, cursor_ptr, cursor_len, buf, cap -> bytes of the page
  ['kv_list', 'i32 i32 i32 i32 i32 i32', 'i32'],
  // name_ptr, name_len, labels_ptr, labels_len, value
  ['metrics_increment', 'i32 i32 i32 i32 f64', 'i32'],
  // request_ptr, request_len -> handle
  ['http_fetch', 'i32 i32', 'i32'],
  // handle, buf, cap -> full length
  ['http_response_head', 'i32 i32 i32', 'i32'],
  // handle, buf, cap -> bytes copied, 0 at the end
  ['http_response_body', 'i32 i32 i32', 'i32'],
  ['http_response_close', 'i32', 'i32'],
  // sql_ptr, sql_len, params_ptr, params_len, format, buf, cap -> full length of the result
  ['sql_query', 'i32 i32 i32 i32 i32 i32 i32', 'i32'],
  ['sql_exec', 'i32 i32 i32 i32 i32 i32 i32', 'i32'],
  // buf, cap -> full length of the last result, or of the words of the last error
  ['sql_result', 'i32 i32', 'i32'],
])

/** What AssemblyScript's runtime imports. */
const ENV = from('env', [
  // message, file, line, column
  ['abort', 'i32 i32 i32 i32', ''],
  ['seed', '', 'f64'],
  // message, how many of the five numbers count, the numbers
  ['trace', 'i32 i32 f64 f64 f64 f64 f64', ''],
  ['console.log', 'i32', ''],
  ['Date.now', '', 'f64'],
])

const EXTISM = from(EXTISM_MODULE, EXTISM_FUNCTIONS)
const EXTISM_OLD = from(
  'env',
  EXTISM_FUNCTIONS.map(([name, ...type]) => [EXTISM_OLD_PREFIX + name, ...type]),
)

const SPIN = typedKeys(SPIN_IMPORTS).flatMap((module) => from(module, SPIN_IMPORTS[module]))

export const HOST_IMPORTS: readonly HostImport[] = [
  ...WASI,
  ...EDGEFN,
  ...ENV,
  ...EXTISM,
  ...EXTISM_OLD,
  ...SPIN,
]

const BY_NAME: ReadonlyMap<string, HostImport> = new Map(
  HOST_IMPORTS.map((each) => [`${each.module}\0${each.name}`, each]),
)

/** The host function `module.name`, or undefined where there is none. */
export function hostImport(module: string, name: string): HostImport | undefined {
  return BY_NAME.get(`${module}\0${name}`)
}
