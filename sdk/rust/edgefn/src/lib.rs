//! Handlers for edgefn. `docs/GUEST-ABI.md` is the reference of what lies below.
//!
//! ```ignore
//! use edgefn::{Request, Response};
//!
//! edgefn::handler!(hello);
//!
//! fn hello(request: Request) -> Response {
//!     Response::text(format!("Hello from Rust: {} {}\n", request.method(), request.path()))
//! }
//! ```
//!
//! A handler takes a [`Request`] and returns a [`Response`], a text, or a `Result` of one, whose error is logged and answered
//! with 500. Build it as a `cdylib` for `wasm32-wasip1` or `wasm32-unknown-unknown`. A module imports the host functions that
//! it uses and no others.

mod error;
pub mod fetch;
mod guest;
mod host;
pub mod kv;
mod log;
mod metrics;
mod request;
mod response;
pub mod sql;

pub use error::Error;
pub use guest::{alloc, handle};
pub use log::{debug, error, info, warn};
pub use metrics::increment;
pub use request::{env, request_header, request_id, Request};
pub use response::{IntoResponse, Response};

/// Makes a function the handler of the module. To be used once, at the top of the crate.
#[macro_export]
macro_rules! handler {
    ($handler:path) => {
        #[export_name = "alloc"]
        pub extern "C" fn __edgefn_alloc(size: i32) -> *mut u8 {
            $crate::alloc(size)
        }

        #[export_name = "handle"]
        #[allow(clippy::too_many_arguments)]
        pub unsafe extern "C" fn __edgefn_handle(
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
            let pieces = [
                (method, method_len),
                (path, path_len),
                (headers, headers_len),
                (body, body_len),
            ];
            $crate::handle(pieces, response, response_cap, |request| {
                $crate::IntoResponse::into_response($handler(request))
            })
        }
    };
}
