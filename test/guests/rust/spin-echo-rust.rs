//! A Spin 1.x module without its SDK: what wit-bindgen 0.2 makes of the interfaces, ownership of lists included.
mod json;

use std::alloc::{alloc, dealloc, realloc, Layout};

#[link(wasm_import_module = "spin-config")]
extern "C" {
    #[link_name = "get-config"]
    fn get_config(key: *const u8, key_len: usize, result: *mut Area);
}
#[link(wasm_import_module = "key-value")]
extern "C" {
    #[link_name = "open"]
    fn key_value_open(name: *const u8, name_len: usize, result: *mut Area);
    #[link_name = "get"]
    fn key_value_get(store: u32, key: *const u8, key_len: usize, result: *mut Area);
    #[link_name = "set"]
    fn key_value_set(
        store: u32, key: *const u8, key_len: usize, value: *const u8, value_len: usize, result: *mut Area,
    );
    #[link_name = "delete"]
    fn key_value_delete(store: u32, key: *const u8, key_len: usize, result: *mut Area);
    #[link_name = "exists"]
    fn key_value_exists(store: u32, key: *const u8, key_len: usize, result: *mut Area);
    #[link_name = "get-keys"]
    fn key_value_get_keys(store: u32, result: *mut Area);
    #[link_name = "close"]
    fn key_value_close(store: u32);
}
#[link(wasm_import_module = "outbound-pg")]
extern "C" {
    #[link_name = "execute"]
    fn pg_execute(
        address: *const u8, address_len: usize, statement: *const u8, statement_len: usize,
        parameters: *const u8, parameters_len: usize, result: *mut Area,
    );
}
#[link(wasm_import_module = "wasi-outbound-http")]
extern "C" {
    #[link_name = "request"]
    fn outbound_request(
        method: i32, uri: *const u8, uri_len: usize, headers: *const u8, headers_len: usize,
        params: *const u8, params_len: usize, body_is_some: i32, body: *const u8, body_len: usize,
        result: *mut Area,
    );
}

#[repr(C, align(8))]
struct Area([u8; 64]);
static mut AREA: Area = Area([0; 64]);

#[export_name = "canonical_abi_realloc"]
unsafe extern "C" fn canonical_abi_realloc(old: *mut u8, old_len: usize, align: usize, new_len: usize) -> *mut u8 {
    if old_len > 0 {
        return realloc(old, Layout::from_size_align_unchecked(old_len, align), new_len);
    }
    if new_len == 0 {
        return align as *mut u8;
    }
    alloc(Layout::from_size_align_unchecked(new_len, align))
}

#[export_name = "canonical_abi_free"]
unsafe extern "C" fn canonical_abi_free(at: *mut u8, len: usize, align: usize) {
    if len > 0 {
        dealloc(at, Layout::from_size_align_unchecked(len, align));
    }
}

unsafe fn word(area: *const Area, at: usize) -> usize {
    *(area as *const u8).add(at).cast::<u32>() as usize
}
unsafe fn byte(area: *const Area, at: usize) -> u8 {
    *(area as *const u8).add(at)
}
/// Takes over a string that the host has put into memory of ours, and frees it in the end.
unsafe fn take(area: *const Area, at: usize) -> String {
    let (start, length) = (word(area, at) as *mut u8, word(area, at + 4));
    String::from_utf8(Vec::from_raw_parts(start, length, length)).unwrap()
}
unsafe fn bytes(at: i32, length: i32) -> Vec<u8> {
    Vec::from_raw_parts(at as *mut u8, length as usize, length as usize)
}

/// `expected<_, error>` of the key-value interface: what the error is, with its message if it has one.
unsafe fn key_value_error(area: *const Area) -> String {
    match byte(area, 4) {
        5 => format!("error 5: {}", take(area, 8)),
        error => format!("error {error}"),
    }
}

/// `get/KEY`, `set/KEY/VALUE`, `delete/KEY`, `exists/KEY`, `keys`, `open/NAME`; `bad` uses a handle that is not open.
unsafe fn key_value(work: &str, area: *mut Area) -> String {
    let parts: Vec<&str> = work.split('/').collect();
    let name = if parts[0] == "open" { parts[1] } else { "default" };
    key_value_open(name.as_ptr(), name.len(), area);
    if byte(area, 0) == 1 {
        return key_value_error(area);
    }
    let store = word(area, 4) as u32;
    let key = parts.get(1).copied().unwrap_or("");
    match parts[0] {
        "get" => key_value_get(store, key.as_ptr(), key.len(), area),
        "set" => key_value_set(store, key.as_ptr(), key.len(), parts[2].as_ptr(), parts[2].len(), area),
        "delete" => key_value_delete(store, key.as_ptr(), key.len(), area),
        "exists" => key_value_exists(store, key.as_ptr(), key.len(), area),
        "keys" => key_value_get_keys(store, area),
        "bad" => key_value_get(store + 7, key.as_ptr(), key.len(), area),
        _ => return "opened".to_string(),
    }
    key_value_close(store);
    if byte(area, 0) == 1 {
        return key_value_error(area);
    }
    match parts[0] {
        "get" => take(area, 4),
        "exists" => byte(area, 4).to_string(),
        "keys" => {
            let (at, length) = (word(area, 4) as *mut [i32; 2], word(area, 8));
            let keys = Vec::from_raw_parts(at, length, length);
            keys.iter().map(|[at, len]| String::from_utf8(bytes(*at, *len)).unwrap()).collect::<Vec<_>>().join(" ")
        }
        _ => "done".to_string(),
    }
}

/// POSTs the body to the URL that the query is, and tells what came back.
unsafe fn outbound(url: &str, body: &[u8], area: *mut Area) -> String {
    let header = [["x-guest", "rust"], ["Host", "elsewhere"]];
    let lowered: Vec<[usize; 4]> =
        header.iter().map(|[n, v]| [n.as_ptr() as usize, n.len(), v.as_ptr() as usize, v.len()]).collect();
    outbound_request(
        1, url.as_ptr(), url.len(), lowered.as_ptr().cast(), lowered.len(), std::ptr::null(), 0,
        1, body.as_ptr(), body.len(), area,
    );
    if byte(area, 0) == 1 {
        return format!("error {}", byte(area, 4));
    }
    let status = *(area as *const u8).add(4).cast::<u16>();
    let (at, length) = (word(area, 12) as *mut [i32; 4], word(area, 16));
    let fields: Vec<String> = Vec::from_raw_parts(at, length, length)
        .iter()
        .map(|[n, nl, v, vl]| {
            format!("{}={}", String::from_utf8(bytes(*n, *nl)).unwrap(), String::from_utf8(bytes(*v, *vl)).unwrap())
        })
        .collect();
    format!("{status} {} {}", fields.join(","), take(area, 24))
}

unsafe fn answer(uri: &str, method: i32, headers: &[(String, String)], body: &[u8]) -> (u16, String) {
    let area = std::ptr::addr_of_mut!(AREA);
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    if let Some(key) = path.strip_prefix("/config/") {
        // Often, so that a result that was put where the allocator does not know of it would be found out.
        for _ in 0..100 {
            get_config(key.as_ptr(), key.len(), area);
            drop(take(area, if byte(area, 0) == 0 { 4 } else { 8 }));
        }
        get_config(key.as_ptr(), key.len(), area);
        return match byte(area, 0) {
            0 => (200, take(area, 4)),
            _ => (404, format!("{}: {}", byte(area, 4), take(area, 8))),
        };
    }
    if let Some(work) = path.strip_prefix("/kv/") {
        return (200, key_value(work, area));
    }
    match path {
        "/pg" => {
            pg_execute("db".as_ptr(), 2, "x".as_ptr(), 1, std::ptr::null(), 0, area);
            (503, format!("{} {}: {}", byte(area, 0), byte(area, 8), take(area, 12)))
        }
        "/http" => (200, outbound(query, body, area)),
        "/panic" => panic!("as asked"),
        "/exit" => std::process::exit(0),
        _ => {
            let methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];
            let method = methods[method as usize].as_bytes();
            let headers = headers.to_vec();
            (201, json::Echo { method, path: path.as_bytes(), query: query.as_bytes(), headers, body }.to_json())
        }
    }
}

static mut RESPONSE: Area = Area([0; 64]);

#[export_name = "handle-http-request"]
unsafe extern "C" fn handle_http_request(
    method: i32, uri: i32, uri_len: i32, headers: i32, headers_len: i32, params: i32, params_len: i32,
    body_is_some: i32, body: i32, body_len: i32,
) -> *const Area {
    let uri = String::from_utf8(bytes(uri, uri_len)).unwrap();
    let pairs = Vec::from_raw_parts(headers as *mut [i32; 4], headers_len as usize, headers_len as usize);
    let headers: Vec<(String, String)> = pairs
        .iter()
        .map(|[name, name_len, value, value_len]| {
            (String::from_utf8(bytes(*name, *name_len)).unwrap(), String::from_utf8(bytes(*value, *value_len)).unwrap())
        })
        .collect();
    drop(Vec::from_raw_parts(params as *mut [i32; 4], params_len as usize, params_len as usize));
    let body = if body_is_some == 1 { bytes(body, body_len) } else { Vec::new() };
    println!("handling {uri}");
    let (status, text) = answer(&uri, method, &headers, &body);
    let list = Box::leak(Box::new([["x-guest", "rust"], ["content-type", "text/plain"]]));
    let lowered: Vec<[usize; 4]> =
        list.iter().map(|[n, v]| [n.as_ptr() as usize, n.len(), v.as_ptr() as usize, v.len()]).collect();
    let lowered = Box::leak(lowered.into_boxed_slice());
    let text = Box::leak(text.into_bytes().into_boxed_slice());
    let at = std::ptr::addr_of_mut!(RESPONSE) as *mut u8;
    *at.cast::<u16>() = status;
    *at.add(4) = 1;
    *at.add(8).cast::<u32>() = lowered.as_ptr() as u32;
    *at.add(12).cast::<u32>() = lowered.len() as u32;
    *at.add(16) = 1;
    *at.add(20).cast::<u32>() = text.as_ptr() as u32;
    *at.add(24).cast::<u32>() = text.len() as u32;
    at as *const Area
}
