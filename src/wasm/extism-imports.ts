/** What Extism plug-ins import: the functions of the kernel, under the names of today and those of before 1.0. */

export const EXTISM_MODULE = 'extism:host/env'
/** Before 1.0 they were imported from `env` under names that began so. */
export const EXTISM_OLD_PREFIX = 'extism_'

/** Addresses and lengths are of the kernel's memory, 64 bits wide. */
export const EXTISM_FUNCTIONS = [
  ['alloc', 'i64', 'i64'],
  ['free', 'i64', ''],
  ['length', 'i64', 'i64'],
  ['length_unsafe', 'i64', 'i64'],
  ['load_u8', 'i64', 'i32'],
  ['load_u64', 'i64', 'i64'],
  ['store_u8', 'i64 i32', ''],
  ['store_u64', 'i64 i64', ''],
  ['input_offset', '', 'i64'],
  ['input_length', '', 'i64'],
  ['input_load_u8', 'i64', 'i32'],
  ['input_load_u64', 'i64', 'i64'],
  ['output_set', 'i64 i64', ''],
  ['error_set', 'i64', ''],
  ['error_get', '', 'i64'],
  ['config_get', 'i64', 'i64'],
  ['var_get', 'i64', 'i64'],
  ['var_set', 'i64 i64', ''],
  ['http_request', 'i64 i64', 'i64'],
  ['http_status_code', '', 'i32'],
  ['http_headers', '', 'i64'],
  ['get_log_level', '', 'i32'],
  ['log_trace', 'i64', ''],
  ['log_debug', 'i64', ''],
  ['log_info', 'i64', ''],
  ['log_warn', 'i64', ''],
  ['log_error', 'i64', ''],
] as const satisfies readonly (readonly [string, string, string])[]
