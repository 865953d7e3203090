//! Counters at the node's `/metrics`.

use crate::error::Error;
use crate::host;

/// Adds to a counter. A function has a limited number of series, that is, of names with their labels.
pub fn increment(name: &str, labels: &[(&str, &str)], value: f64) -> Result<(), Error> {
    let lines: Vec<String> = labels
        .iter()
        .map(|(label, value)| format!("{label}={value}"))
        .collect();
    let lines = lines.join("\n");
    let result = unsafe {
        host::metrics_increment(
            name.as_ptr(),
            name.len() as i32,
            lines.as_ptr(),
            lines.len() as i32,
            value,
        )
    };
    host::length(result).map(drop)
}
