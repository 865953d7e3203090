/** The host's functions as they are. */

@external('edgefn', 'log')
export declare function log(level: i32, text: usize, length: i32): void

@external('edgefn', 'request_id')
export declare function request_id(buffer: usize, cap: i32): i32

@external('edgefn', 'request_header')
export declare function request_header(name: usize, nameLength: i32, buffer: usize, cap: i32): i32

@external('edgefn', 'env_get')
export declare function env_get(name: usize, nameLength: i32, buffer: usize, cap: i32): i32

@external('edgefn', 'response_head')
export declare function response_head(status: i32, headers: usize, length: i32): i32

@external('edgefn', 'response_write')
export declare function response_write(bytes: usize, length: i32): i32

@external('edgefn', 'kv_get')
export declare function kv_get(key: usize, keyLength: i32, buffer: usize, cap: i32): i32

@external('edgefn', 'kv_put')
export declare function kv_put(
  key: usize,
  keyLength: i32,
  value: usize,
  valueLength: i32,
  ttlSeconds: i32,
): i32

@external('edgefn', 'kv_delete')
export declare function kv_delete(key: usize, keyLength: i32): i32

@external('edgefn', 'kv_list')
export declare function kv_list(
  prefix: usize,
  prefixLength: i32,
  cursor: usize,
  cursorLength: i32,
  buffer: usize,
  cap: i32,
): i32

@external('edgefn', 'metrics_increment')
export declare function metrics_increment(
  name: usize,
  nameLength: i32,
  labels: usize,
  labelsLength: i32,
  value: f64,
): i32

@external('edgefn', 'http_fetch')
export declare function http_fetch(request: usize, length: i32): i32

@external('edgefn', 'http_response_head')
export declare function http_response_head(handle: i32, buffer: usize, cap: i32): i32

@external('edgefn', 'http_response_body')
export declare function http_response_body(handle: i32, buffer: usize, cap: i32): i32

@external('edgefn', 'http_response_close')
export declare function http_response_close(handle: i32): i32

@external('edgefn', 'sql_query')
export declare function sql_query(
  sql: usize,
  sqlLength: i32,
  params: usize,
  paramsLength: i32,
  format: i32,
  buffer: usize,
  cap: i32,
): i32

@external('edgefn', 'sql_exec')
export declare function sql_exec(
  sql: usize,
  sqlLength: i32,
  params: usize,
  paramsLength: i32,
  format: i32,
  buffer: usize,
  cap: i32,
): i32

@external('edgefn', 'sql_result')
export declare function sql_result(buffer: usize, cap: i32): i32
