// rustc --edition 2021 --target wasm32-unknown-unknown --crate-type cdylib -O \
//   -C link-arg=-zstack-size=131072 hello.rs -o hello.wasm
use std::slice::from_raw_parts;

#[no_mangle]
pub extern "C" fn alloc(size: i32) -> *mut u8 {
    Vec::with_capacity(size as usize).leak().as_mut_ptr()
}

#[no_mangle]
pub unsafe extern "C" fn handle(
    method: *const u8, method_len: i32, path: *const u8, path_len: i32,
    _headers: *const u8, _headers_len: i32, _body: *const u8, _body_len: i32,
    response: *mut u8, response_cap: i32,
) -> i32 {
    let method = String::from_utf8_lossy(from_raw_parts(method, method_len as usize));
    let path = String::from_utf8_lossy(from_raw_parts(path, path_len as usize));
    let answer = format!("Content-Type: text/plain\r\n\r\nHello from Rust: {method} {path}\n");
    if answer.len() > response_cap as usize {
        return -1;
    }
    response.copy_from_nonoverlapping(answer.as_ptr(), answer.len());
    answer.len() as i32
}
