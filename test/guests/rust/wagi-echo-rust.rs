//! Answers with the request as JSON, through WAGI: CGI variables in, stdin in, stdout out.
mod json;

use std::env;
use std::io::{self, Read};

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// HTTP_USER_AGENT=x becomes user-agent; CONTENT_TYPE and CONTENT_LENGTH are headers without the prefix.
fn headers() -> Vec<(String, String)> {
    env::vars()
        .filter_map(|(name, value)| {
            let plain = match name.strip_prefix("HTTP_") {
                Some(rest) => rest,
                None if name.starts_with("CONTENT_") && !value.is_empty() => &name,
                None => return None,
            };
            Some((plain.to_lowercase().replace('_', "-"), value))
        })
        .collect()
}

fn main() -> io::Result<()> {
    let mut body = Vec::new();
    io::stdin().read_to_end(&mut body)?;
    let method = variable("REQUEST_METHOD");
    let path = variable("SCRIPT_NAME") + &variable("X_RAW_PATH_INFO");
    let query = variable("QUERY_STRING");
    let echo = json::Echo {
        method: method.as_bytes(),
        path: path.as_bytes(),
        query: query.as_bytes(),
        headers: headers(),
        body: &body,
    };
    print!("Status: 200 OK\nContent-Type: application/json\nX-Guest: rust\n\n{}", echo.to_json());
    Ok(())
}
