//! What host functions answer below zero.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No header, variable or key of that name (-1).
    NotFound,
    /// An argument out of range, or a call at the wrong time (-2).
    Invalid,
    /// A key, value, name or label over its limit (-3).
    TooLarge,
    /// The function has used up what it may store (-4).
    QuotaFull,
    /// The node cannot do it now (-5).
    Unavailable,
    /// Of a fetch: the URL is not on the version's allow-list (-6).
    NotAllowed,
    /// Of a fetch: the host is at an address that is not public (-7).
    ForbiddenAddress,
    /// Of a fetch: it took longer than one may (-8).
    Timeout,
    /// Of a fetch: no such name, no connection, or a broken answer (-9).
    Network,
    /// Of a fetch: too many are open (-10).
    TooManyFetches,
    /// Of a fetch (-11).
    TooManyRedirects,
    /// Others were writing to the tables all the time (-12).
    Busy,
    /// SQLite refuses the statement; [`crate::sql::message`] has its words (-13).
    Sql,
    /// A code that this crate does not know.
    Other(i32),
}

impl Error {
    /// The number that the host answered.
    pub fn code(self) -> i32 {
        match self {
            Error::NotFound => -1,
            Error::Invalid => -2,
            Error::TooLarge => -3,
            Error::QuotaFull => -4,
            Error::Unavailable => -5,
            Error::NotAllowed => -6,
            Error::ForbiddenAddress => -7,
            Error::Timeout => -8,
            Error::Network => -9,
            Error::TooManyFetches => -10,
            Error::TooManyRedirects => -11,
            Error::Busy => -12,
            Error::Sql => -13,
            Error::Other(code) => code,
        }
    }

    pub(crate) fn from_code(code: i32) -> Error {
        match code {
            -1 => Error::NotFound,
            -2 => Error::Invalid,
            -3 => Error::TooLarge,
            -4 => Error::QuotaFull,
            -5 => Error::Unavailable,
            -6 => Error::NotAllowed,
            -7 => Error::ForbiddenAddress,
            -8 => Error::Timeout,
            -9 => Error::Network,
            -10 => Error::TooManyFetches,
            -11 => Error::TooManyRedirects,
            -12 => Error::Busy,
            -13 => Error::Sql,
            other => Error::Other(other),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotFound => f.write_str("not found"),
            Error::Invalid => f.write_str("invalid argument"),
            Error::TooLarge => f.write_str("over its limit"),
            Error::QuotaFull => f.write_str("the function's share is used up"),
            Error::Unavailable => f.write_str("unavailable now"),
            Error::NotAllowed => f.write_str("not on the allow-list"),
            Error::ForbiddenAddress => f.write_str("the address is not public"),
            Error::Timeout => f.write_str("the fetch took too long"),
            Error::Network => f.write_str("the network failed"),
            Error::TooManyFetches => f.write_str("too many fetches are open"),
            Error::TooManyRedirects => f.write_str("too many redirects"),
            Error::Busy => f.write_str("the tables are busy"),
            Error::Sql => f.write_str("SQLite refuses the statement"),
            Error::Other(code) => write!(f, "code {code}"),
        }
    }
}

impl std::error::Error for Error {}
