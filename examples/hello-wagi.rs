// rustc --edition 2021 --target wasm32-wasip1 -O -C link-arg=-zstack-size=131072 \
//   hello-wagi.rs -o hello.wasm
use std::env::var;

fn main() {
    let method = var("REQUEST_METHOD").unwrap_or_default();
    let target = var("REQUEST_URI").unwrap_or_default();
    print!("Content-Type: text/plain\n\nHello from Rust: {method} {target}\n");
}
