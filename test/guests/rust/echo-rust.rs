//! Answers with the request as JSON, through the edgefn ABI.
mod edgefn;
mod json;

/// A buffer of the host's. Sound for as long as the call runs.
unsafe fn bytes<'a>(start: *const u8, length: i32) -> &'a [u8] {
    if length == 0 {
        return &[];
    }
    std::slice::from_raw_parts(start, length as usize)
}

fn parse_headers(lines: &[u8]) -> Vec<(String, String)> {
    String::from_utf8_lossy(lines)
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_string(), value.trim_start().to_string()))
        .collect()
}

#[no_mangle]
pub unsafe extern "C" fn handle(
    method: *const u8,
    method_len: i32,
    path: *const u8,
    path_len: i32,
    headers: *const u8,
    headers_len: i32,
    body: *const u8,
    body_len: i32,
    response: *mut u8,
    response_cap: i32,
) -> i32 {
    let target = bytes(path, path_len);
    let mark = target.iter().position(|&c| c == b'?');
    let echo = json::Echo {
        method: bytes(method, method_len),
        path: &target[..mark.unwrap_or(target.len())],
        query: mark.map_or(&[][..], |mark| &target[mark + 1..]),
        headers: parse_headers(bytes(headers, headers_len)),
        body: bytes(body, body_len),
    };
    let head = "content-type: application/json\r\nx-guest: rust\r\n";
    edgefn::respond(head, echo.to_json().as_bytes(), response, response_cap)
}
