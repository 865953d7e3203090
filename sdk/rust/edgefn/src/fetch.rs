//! HTTP requests to elsewhere, to the hosts that the function's version is allowed.

use crate::error::Error;
use crate::host;
use crate::request::parse_headers;
use crate::response::{header_line, one_line};

/// A request to be sent.
#[derive(Debug)]
pub struct Fetch {
    head: String,
    body: Vec<u8>,
}

/// The answer to it.
#[derive(Debug)]
pub struct Fetched {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A `GET` of a URL.
pub fn get(url: &str) -> Result<Fetched, Error> {
    Fetch::new("GET", url).send()
}

impl Fetch {
    pub fn new(method: &str, url: &str) -> Fetch {
        Fetch {
            head: format!("{} {}\r\n", one_line(method), one_line(url)),
            body: Vec::new(),
        }
    }

    /// Adds a header. Line ends in it become blanks, or they would begin another.
    pub fn with_header(mut self, name: &str, value: &str) -> Fetch {
        self.head.push_str(&header_line(name, value));
        self
    }

    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Fetch {
        self.body = body.into();
        self
    }

    /// Sends the request and takes the whole answer.
    pub fn send(self) -> Result<Fetched, Error> {
        let request = [self.head.as_bytes(), b"\r\n", &self.body].concat();
        let result = unsafe { host::http_fetch(request.as_ptr(), request.len() as i32) };
        host::length(result)?;
        let fetched = receive(result);
        unsafe { host::http_response_close(result) };
        fetched
    }
}

fn receive(handle: i32) -> Result<Fetched, Error> {
    let head = host::fill(|buffer, cap| unsafe { host::http_response_head(handle, buffer, cap) })?;
    let mut headers = parse_headers(&head);
    let status = headers
        .iter()
        .position(|(name, _)| name.eq_ignore_ascii_case("status"));
    let status = status
        .and_then(|at| headers.remove(at).1.parse().ok())
        .ok_or(Error::Invalid)?;
    let mut body = Vec::new();
    let mut piece = vec![0; 32 * 1024];
    loop {
        let result =
            unsafe { host::http_response_body(handle, piece.as_mut_ptr(), piece.len() as i32) };
        match host::length(result)? {
            0 => {
                return Ok(Fetched {
                    status,
                    headers,
                    body,
                })
            }
            length => body.extend_from_slice(&piece[..length]),
        }
    }
}

impl Fetched {
    pub fn status(&self) -> u16 {
        self.status
    }

    /// A header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

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
