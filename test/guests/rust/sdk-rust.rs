//! Does with the Rust crate what the query asks for; sdk-c and sdk-as do the same with theirs.
use edgefn::fetch::Fetch;
use edgefn::{kv, Error, Request, Response};

edgefn::handler!(serve);

fn line(name: &str, value: Option<&str>) -> String {
    format!("{name}={}\n", value.unwrap_or("(none)"))
}

fn echo(request: &Request) -> String {
    [
        line("method", Some(request.method())),
        line("path", Some(request.path())),
        line("q", request.query_value("q").as_deref()),
        line("header", request.header("X-A")),
        line("host_header", edgefn::request_header("X-A").as_deref()),
        line("missing", edgefn::request_header("x-missing").as_deref()),
        line("id", Some(&edgefn::request_id())),
        line("env", edgefn::env("NAME").as_deref()),
        line("body", Some(&request.text())),
    ]
    .concat()
}

fn code<T>(result: Result<T, Error>) -> String {
    result.map_or_else(Error::code, |_| 0).to_string()
}

fn keys(prefix: &str) -> Result<String, Error> {
    let mut listed = String::new();
    for key in kv::keys(prefix) {
        listed += &String::from_utf8_lossy(&key?);
        listed.push('\n');
    }
    Ok(listed)
}

fn fetch(url: &str, body: &[u8]) -> String {
    match Fetch::new("POST", url).with_header("x-from", "guest").with_body(body).send() {
        Ok(fetched) => [
            line("status", Some(&fetched.status().to_string())),
            line("x-answer", fetched.header("X-Answer")),
            line("body", Some(&fetched.text())),
        ]
        .concat(),
        Err(error) => line("status", Some(&error.code().to_string())),
    }
}

fn count(name: &str, labels: &str, value: f64) -> String {
    let pairs: Vec<(&str, &str)> = labels.lines().filter_map(|each| each.split_once('=')).collect();
    code(edgefn::increment(name, &pairs, value))
}

fn serve(request: Request) -> Result<Response, Error> {
    let value = |name: &str| request.query_value(name).unwrap_or_default();
    let number = |name: &str| value(name).parse::<i32>().unwrap_or(0);
    let key = value("key");
    Ok(Response::text(match value("op").as_str() {
        "echo" => echo(&request),
        "big" => {
            let body = "x".repeat(number("n") as usize);
            return Ok(Response::new(201).with_header("x-big", "yes").with_body(body));
        }
        "header" => return Ok(Response::text("").with_header("x-given", &key)),
        "put" => code(kv::put_ttl(&key, request.body(), number("ttl"))),
        "get" => match kv::get(&key) {
            Ok(Some(found)) => return Ok(Response::text("").with_body(found)),
            Ok(None) => return Ok(Response::text(Error::NotFound.code().to_string()).with_status(404)),
            Err(error) => return Ok(Response::text(error.code().to_string()).with_status(404)),
        },
        "delete" => match kv::delete(&key) {
            Ok(false) => Error::NotFound.code().to_string(),
            other => code(other),
        },
        "keys" => keys(&key)?,
        "count" => count(&key, &request.text(), number("value").into()),
        "log" => {
            edgefn::warn(&key);
            String::new()
        }
        "fetch" => fetch(&key, request.body()),
        _ => String::new(),
    }))
}
