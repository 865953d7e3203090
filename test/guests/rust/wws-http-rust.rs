//! A worker of Wasm Workers Server that sends a request, through the one interface that its server has.
#[allow(dead_code)]
mod json;

use std::alloc::{alloc, Layout};
use std::io::{self, Read};

#[link(wasm_import_module = "http")]
extern "C" {
    #[link_name = "send-http-request"]
    fn send_http_request(
        body_is_some: i32, body: *const u8, body_len: usize, headers: *const u8, headers_len: usize, method: i32,
        params: *const u8, params_len: usize, uri: *const u8, uri_len: usize, result: *mut Area,
    );
}

#[repr(C, align(4))]
struct Area([u8; 28]);

#[export_name = "canonical_abi_realloc"]
unsafe extern "C" fn canonical_abi_realloc(_old: *mut u8, _old_len: usize, align: usize, len: usize) -> *mut u8 {
    if len == 0 {
        return align as *mut u8;
    }
    alloc(Layout::from_size_align_unchecked(len, align))
}

unsafe fn text(area: &Area, at: usize) -> String {
    let word = |at: usize| u32::from_le_bytes(area.0[at..at + 4].try_into().unwrap()) as usize;
    String::from_utf8(Vec::from_raw_parts(word(at) as *mut u8, word(at + 4), word(at + 4))).unwrap()
}

fn main() -> io::Result<()> {
    let mut request = String::new();
    io::stdin().read_to_string(&mut request)?;
    let url = request.split("/to/").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("").to_string();
    let mut area = Area([0; 28]);
    let said = unsafe {
        send_http_request(
            1, "sent".as_ptr(), 4, std::ptr::null(), 0, 1, std::ptr::null(), 0, url.as_ptr(), url.len(), &mut area,
        );
        match area.0[0] {
            0 => format!("{} {}", u16::from_le_bytes([area.0[24], area.0[25]]), text(&area, 8)),
            _ => format!("error {} {}", area.0[4], text(&area, 8)),
        }
    };
    print!("{{\"data\":{},\"status\":200,\"headers\":{{}},\"kv\":{{}}}}", json::quote(said.as_bytes()));
    Ok(())
}
