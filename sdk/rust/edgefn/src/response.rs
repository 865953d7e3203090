//! The response, and what a handler may return in its place.

use std::fmt::Display;

use crate::host;

/// What the function answers. Without a `content-type`, edgefn chooses one by the looks of the body.
#[derive(Debug)]
pub struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Response {
    /// An empty response; 200 to 599.
    pub fn new(status: u16) -> Response {
        Response {
            status,
            head: String::new(),
            body: Vec::new(),
        }
    }

    /// 200 with a text.
    pub fn text(text: impl Into<String>) -> Response {
        Response::new(200)
            .with_header("content-type", "text/plain; charset=utf-8")
            .with_body(text.into())
    }

    /// 200 with JSON, given as text.
    pub fn json(json: impl Into<String>) -> Response {
        Response::new(200)
            .with_header("content-type", "application/json")
            .with_body(json.into())
    }

    pub fn with_status(mut self, status: u16) -> Response {
        self.status = status;
        self
    }

    /// Adds a header. Line ends in it become blanks, or they would begin another.
    pub fn with_header(mut self, name: &str, value: &str) -> Response {
        self.head.push_str(&header_line(name, value));
        self
    }

    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Response {
        self.body = body.into();
        self
    }

    /// Answers through the response buffer, or through the host calls when it does not fit. Returns what `handle` returns.
    pub(crate) unsafe fn send(self, response: *mut u8, cap: i32) -> i32 {
        let head = format!("Status: {}\r\n{}\r\n", self.status, self.head);
        let length = head.len() + self.body.len();
        if length <= cap as usize {
            response.copy_from_nonoverlapping(head.as_ptr(), head.len());
            response
                .add(head.len())
                .copy_from_nonoverlapping(self.body.as_ptr(), self.body.len());
            return length as i32;
        }
        let lines = self.head.as_bytes();
        match host::response_head(self.status.into(), lines.as_ptr(), lines.len() as i32) {
            0 => host::response_write(self.body.as_ptr(), self.body.len() as i32),
            refused => refused,
        }
    }
}

/// A text without line ends, which would begin another header.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

pub(crate) fn header_line(name: &str, value: &str) -> String {
    format!("{}: {}\r\n", one_line(name), one_line(value))
}

/// What a handler may return.
pub trait IntoResponse {
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl IntoResponse for String {
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

impl IntoResponse for &str {
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

impl<R: IntoResponse, E: Display> IntoResponse for Result<R, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(response) => response.into_response(),
            Err(error) => {
                crate::error(&error.to_string());
                Response::text("The function failed.\n").with_status(500)
            }
        }
    }
}
