//! What the module exports: memory for the host's buffers, and the way from those to the handler and back.

use crate::{Request, Response};

/// Memory for the host's request and response buffers. It stays the host's: it is never given back.
pub fn alloc(size: i32) -> *mut u8 {
    match usize::try_from(size) {
        Ok(size) => Vec::with_capacity(size).leak().as_mut_ptr(),
        Err(_) => std::ptr::null_mut(),
    }
}

/// Runs a handler on a request as the host gives it: method, path, headers and body. For the macro [`crate::handler`].
///
/// # Safety
/// The addresses and lengths must be those that the host calls `handle` with.
pub unsafe fn handle(
    pieces: [(*const u8, i32); 4],
    response: *mut u8,
    response_cap: i32,
    handler: impl FnOnce(Request) -> Response,
) -> i32 {
    let [method, target, headers, body] = pieces.map(|(start, length)| copy(start, length));
    let answer = handler(Request::new(method, target, &headers, body));
    answer.send(response, response_cap)
}

unsafe fn copy(start: *const u8, length: i32) -> Vec<u8> {
    match usize::try_from(length) {
        Ok(length) if length > 0 => std::slice::from_raw_parts(start, length).to_vec(),
        _ => Vec::new(),
    }
}
