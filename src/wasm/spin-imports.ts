/** What Spin 1.x modules import, and the WASI commands of that family: interfaces lowered by wit-bindgen 0.2. */

/** Import module, then rows of name, parameters and results. Results that do not fit go where the last parameter says. */
export const SPIN_IMPORTS = {
  'spin-config': [['get-config', 'i32 i32 i32', '']],
  'key-value': [
    ['open', 'i32 i32 i32', ''],
    ['get', 'i32 i32 i32 i32', ''],
    ['set', 'i32 i32 i32 i32 i32 i32', ''],
    ['delete', 'i32 i32 i32 i32', ''],
    ['exists', 'i32 i32 i32 i32', ''],
    ['get-keys', 'i32 i32', ''],
    ['close', 'i32', ''],
  ],
  'wasi-outbound-http': [['request', 'i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32', '']],
  'outbound-redis': [
    ['publish', 'i32 i32 i32 i32 i32 i32 i32', ''],
    ['get', 'i32 i32 i32 i32 i32', ''],
    ['set', 'i32 i32 i32 i32 i32 i32 i32', ''],
    ['incr', 'i32 i32 i32 i32 i32', ''],
    ['del', 'i32 i32 i32 i32 i32', ''],
    ['sadd', 'i32 i32 i32 i32 i32 i32 i32', ''],
    ['smembers', 'i32 i32 i32 i32 i32', ''],
    ['srem', 'i32 i32 i32 i32 i32 i32 i32', ''],
    ['execute', 'i32 i32 i32 i32 i32 i32 i32', ''],
  ],
  'outbound-pg': [
    ['query', 'i32 i32 i32 i32 i32 i32 i32', ''],
    ['execute', 'i32 i32 i32 i32 i32 i32 i32', ''],
  ],
  'outbound-mysql': [
    ['query', 'i32 i32 i32 i32 i32 i32 i32', ''],
    ['execute', 'i32 i32 i32 i32 i32 i32 i32', ''],
  ],
  sqlite: [
    ['open', 'i32 i32 i32', ''],
    ['execute', 'i32 i32 i32 i32 i32 i32', ''],
    ['close', 'i32', ''],
  ],
  llm: [
    ['infer', 'i32 i32 i32 i32 i32 i32 f32 i32 f32 i32 f32 i32', ''],
    ['generate-embeddings', 'i32 i32 i32 i32 i32', ''],
  ],
  // The one interface of Wasm Workers Server; its modules are known by it.
  http: [['send-http-request', 'i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32', '']],
  // What WAGI modules sent requests with; buffers come from the guest.
  wasi_experimental_http: [
    ['req', 'i32 i32 i32 i32 i32 i32 i32 i32 i32 i32', 'i32'],
    ['close', 'i32', 'i32'],
    ['header_get', 'i32 i32 i32 i32 i32 i32', 'i32'],
    ['headers_get_all', 'i32 i32 i32 i32', 'i32'],
    ['header_get_all', 'i32 i32 i32 i32', 'i32'],
    ['body_read', 'i32 i32 i32 i32', 'i32'],
  ],
} as const satisfies Readonly<Record<string, readonly (readonly [string, string, string])[]>>
