//! The request, and what the host knows besides.

use crate::host;

/// A request that the function is to answer.
#[derive(Debug)]
pub struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: Vec<u8>, target: Vec<u8>, headers: &[u8], body: Vec<u8>) -> Request {
        let target = text(target);
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        Request {
            method: text(method),
            path: path.to_string(),
            query: query.to_string(),
            headers: parse_headers(headers),
            body,
        }
    }

    /// As in the request line: `GET`.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Without the query, percent-escapes included.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Without `?`, not decoded; empty when there is none.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// A parameter of the query, decoded.
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key) == name).then(|| decode(value))
        })
    }

    /// A header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// All headers in the order they came, names in lower case.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text; what is no UTF-8 in it is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The id of the current request, as in its `x-request-id` header.
pub fn request_id() -> String {
    host::fill(|buffer, cap| unsafe { host::request_id(buffer, cap) })
        .map_or_else(|_| String::new(), text)
}

/// A header of the current request, for code that does not have the [`Request`] at hand.
pub fn request_header(name: &str) -> Option<String> {
    let call = |buffer, cap| unsafe {
        host::request_header(name.as_ptr(), name.len() as i32, buffer, cap)
    };
    host::fill(call).ok().map(text)
}

/// A variable of the function's version.
pub fn env(name: &str) -> Option<String> {
    let call =
        |buffer, cap| unsafe { host::env_get(name.as_ptr(), name.len() as i32, buffer, cap) };
    host::fill(call).ok().map(text)
}

pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Header lines as pairs; lines without a colon are left out.
pub(crate) fn parse_headers(lines: &[u8]) -> Vec<(String, String)> {
    String::from_utf8_lossy(lines)
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_string(), value.trim().to_string()))
        .collect()
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let digits = escape.and_then(|hex| std::str::from_utf8(hex).ok());
        match digits.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
