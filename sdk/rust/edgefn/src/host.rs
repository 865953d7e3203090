//! The host's functions as they are, and asking again with a larger buffer.

use crate::error::Error;

#[link(wasm_import_module = "edgefn")]
extern "C" {
    pub fn log(level: i32, text: *const u8, length: i32);
    pub fn request_id(buffer: *mut u8, cap: i32) -> i32;
    pub fn request_header(name: *const u8, name_len: i32, buffer: *mut u8, cap: i32) -> i32;
    pub fn env_get(name: *const u8, name_len: i32, buffer: *mut u8, cap: i32) -> i32;
    pub fn response_head(status: i32, headers: *const u8, length: i32) -> i32;
    pub fn response_write(bytes: *const u8, length: i32) -> i32;
    pub fn kv_get(key: *const u8, key_len: i32, buffer: *mut u8, cap: i32) -> i32;
    pub fn kv_put(
        key: *const u8,
        key_len: i32,
        value: *const u8,
        value_len: i32,
        ttl_seconds: i32,
    ) -> i32;
    pub fn kv_delete(key: *const u8, key_len: i32) -> i32;
    pub fn kv_list(
        prefix: *const u8,
        prefix_len: i32,
        cursor: *const u8,
        cursor_len: i32,
        buffer: *mut u8,
        cap: i32,
    ) -> i32;
    pub fn metrics_increment(
        name: *const u8,
        name_len: i32,
        labels: *const u8,
        labels_len: i32,
        value: f64,
    ) -> i32;
    pub fn http_fetch(request: *const u8, length: i32) -> i32;
    pub fn http_response_head(handle: i32, buffer: *mut u8, cap: i32) -> i32;
    pub fn http_response_body(handle: i32, buffer: *mut u8, cap: i32) -> i32;
    pub fn http_response_close(handle: i32) -> i32;
    pub fn sql_query(
        sql: *const u8,
        sql_len: i32,
        params: *const u8,
        params_len: i32,
        format: i32,
        buffer: *mut u8,
        cap: i32,
    ) -> i32;
    pub fn sql_exec(
        sql: *const u8,
        sql_len: i32,
        params: *const u8,
        params_len: i32,
        format: i32,
        buffer: *mut u8,
        cap: i32,
    ) -> i32;
    pub fn sql_result(buffer: *mut u8, cap: i32) -> i32;
}

/// The result of a host function as a length, or why there is none.
pub fn length(result: i32) -> Result<usize, Error> {
    usize::try_from(result).map_err(|_| Error::from_code(result))
}

/// What a host function fills a buffer with, however long it is.
pub fn fill(call: impl Fn(*mut u8, i32) -> i32) -> Result<Vec<u8>, Error> {
    let mut buffer = vec![0; 256];
    loop {
        let full = length(call(buffer.as_mut_ptr(), buffer.len() as i32))?;
        let fits = full <= buffer.len();
        buffer.resize(full, 0);
        if fits {
            return Ok(buffer);
        }
    }
}
