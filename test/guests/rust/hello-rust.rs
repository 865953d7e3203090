//! The smallest edgefn guest in Rust.
mod edgefn;

#[no_mangle]
pub unsafe extern "C" fn handle(
    _method: *const u8,
    _method_len: i32,
    _path: *const u8,
    _path_len: i32,
    _headers: *const u8,
    _headers_len: i32,
    _body: *const u8,
    _body_len: i32,
    response: *mut u8,
    response_cap: i32,
) -> i32 {
    edgefn::respond("content-type: text/plain\r\n", b"Hello, edge!\n", response, response_cap)
}
