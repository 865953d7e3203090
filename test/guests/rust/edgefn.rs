//! The edgefn ABI as a Rust guest sees it. docs/GUEST-ABI.md is the reference.

#[link(wasm_import_module = "edgefn")]
extern "C" {
    fn response_head(status: i32, headers: *const u8, length: i32) -> i32;
    fn response_write(bytes: *const u8, length: i32) -> i32;
}

/// Memory for the host's request and response buffers. It stays the host's: it is never given back.
#[no_mangle]
pub extern "C" fn alloc(size: i32) -> *mut u8 {
    Vec::with_capacity(size as usize).leak().as_mut_ptr()
}

/// Answers through the response buffer, or through the host calls when it does not fit. Returns what `handle` returns.
pub unsafe fn respond(head: &str, body: &[u8], response: *mut u8, cap: i32) -> i32 {
    let answer = [head.as_bytes(), b"\r\n", body].concat();
    if answer.len() <= cap as usize {
        response.copy_from_nonoverlapping(answer.as_ptr(), answer.len());
        return answer.len() as i32;
    }
    match response_head(200, head.as_ptr(), head.len() as i32) {
        0 => response_write(body.as_ptr(), body.len() as i32),
        refused => refused,
    }
}
