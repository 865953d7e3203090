//! A worker of Wasm Workers Server without its kit: the request's JSON comes back as the data of a response.
#[allow(dead_code)]
mod json;

use std::io::{self, Read};

fn main() -> io::Result<()> {
    let mut request = String::new();
    io::stdin().read_to_string(&mut request)?;
    let (data, base64) = match request.contains("/binary") {
        true => ("\"AP8AAQ==\"".to_string(), true),
        false => (json::quote(request.as_bytes()), false),
    };
    let place = std::env::var("PLACE").unwrap_or_default();
    print!(
        "{{\"data\":{data},\"status\":203,\"headers\":{{\"x_guest\":\"rust\",\"x-place\":{}}},\"kv\":{{}},\"base64\":{base64}}}",
        json::quote(place.as_bytes()),
    );
    Ok(())
}
