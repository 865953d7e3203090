// A cdylib for wasm32-wasip1 or wasm32-unknown-unknown that depends on sdk/rust/edgefn; sdk/README.md says how.
use edgefn::{Request, Response};

edgefn::handler!(hello);

fn hello(request: Request) -> Response {
    Response::text(format!("Hello from Rust: {} {}\n", request.method(), request.path()))
}
