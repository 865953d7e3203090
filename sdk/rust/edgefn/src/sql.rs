//! Tables that the function has on its node (`docs/SQL.md`). Parameters and results are JSON.

use crate::error::Error;
use crate::host;

const JSON: i32 = 0;

/// A host function that runs a statement: text, parameters, form of the result, buffer.
type Statement = unsafe extern "C" fn(*const u8, i32, *const u8, i32, i32, *mut u8, i32) -> i32;

/// The document of a statement that changes nothing: `{"columns":[...],"rows":[[...],...]}`. `params` is a JSON array, or empty.
pub fn query(sql: &str, params: &str) -> Result<String, Error> {
    run(host::sql_query, sql, params)
}

/// The same of a statement that changes rows, with `changes` and `last_insert_rowid` in the document.
pub fn exec(sql: &str, params: &str) -> Result<String, Error> {
    run(host::sql_exec, sql, params)
}

/// SQLite's words for the last [`Error::Sql`] or [`Error::TooLarge`] of this call.
pub fn message() -> String {
    document().unwrap_or_default()
}

/// Asks without a buffer and then for the document, so that a statement runs once however long that is.
fn run(statement: Statement, sql: &str, params: &str) -> Result<String, Error> {
    let result = unsafe {
        statement(
            sql.as_ptr(),
            sql.len() as i32,
            params.as_ptr(),
            params.len() as i32,
            JSON,
            core::ptr::null_mut(),
            0,
        )
    };
    host::length(result)?;
    document()
}

fn document() -> Result<String, Error> {
    host::fill(|buffer, cap| unsafe { host::sql_result(buffer, cap) }).map(crate::request::text)
}
