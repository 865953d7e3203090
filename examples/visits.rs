// Counts the visits of each path, on this node. Two visits at the same moment may count as one: keys have no locks.
use edgefn::{kv, Error, Request, Response};

edgefn::handler!(count);

fn count(request: Request) -> Result<Response, Error> {
    let before = kv::get_text(request.path())?.and_then(|text| text.parse().ok());
    let visits = before.unwrap_or(0u64) + 1;
    kv::put(request.path(), visits.to_string())?;
    edgefn::increment("visits", &[("language", "rust")], 1.0)?;
    Ok(Response::text(visits.to_string()))
}
