//! Keys and values that the function keeps on its node.

use crate::error::Error;
use crate::host;

/// Bytes of a page of keys.
const PAGE_BYTES: usize = 16 * 1024;

/// The value of a key, or `None` where there is none.
pub fn get(key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Error> {
    let key = key.as_ref();
    let call = |buffer, cap| unsafe { host::kv_get(key.as_ptr(), key.len() as i32, buffer, cap) };
    match host::fill(call) {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The value of a key as text; what is no UTF-8 in it is replaced.
pub fn get_text(key: impl AsRef<[u8]>) -> Result<Option<String>, Error> {
    Ok(get(key)?.map(crate::request::text))
}

/// Keeps a value until it is replaced or deleted.
pub fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Error> {
    put_ttl(key, value, 0)
}

/// Keeps a value for so many seconds; 0 is for ever.
pub fn put_ttl(
    key: impl AsRef<[u8]>,
    value: impl AsRef<[u8]>,
    ttl_seconds: i32,
) -> Result<(), Error> {
    let (key, value) = (key.as_ref(), value.as_ref());
    let result = unsafe {
        host::kv_put(
            key.as_ptr(),
            key.len() as i32,
            value.as_ptr(),
            value.len() as i32,
            ttl_seconds,
        )
    };
    host::length(result).map(drop)
}

/// Whether the key was there.
pub fn delete(key: impl AsRef<[u8]>) -> Result<bool, Error> {
    let key = key.as_ref();
    let result = unsafe { host::kv_delete(key.as_ptr(), key.len() as i32) };
    match host::length(result) {
        Ok(_) => Ok(true),
        Err(Error::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The keys that begin with a prefix, in the order of their bytes, fetched as they are asked for.
pub fn keys(prefix: impl Into<Vec<u8>>) -> Keys {
    Keys {
        prefix: prefix.into(),
        cursor: Vec::new(),
        page: Vec::new(),
        at: 0,
        ended: false,
    }
}

#[derive(Debug)]
pub struct Keys {
    prefix: Vec<u8>,
    cursor: Vec<u8>,
    page: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Keys {
    fn turn(&mut self) -> Result<(), Error> {
        self.page.resize(PAGE_BYTES, 0);
        self.at = 0;
        let result = unsafe {
            host::kv_list(
                self.prefix.as_ptr(),
                self.prefix.len() as i32,
                self.cursor.as_ptr(),
                self.cursor.len() as i32,
                self.page.as_mut_ptr(),
                PAGE_BYTES as i32,
            )
        };
        let length = host::length(result);
        self.page.truncate(*length.as_ref().unwrap_or(&0));
        self.ended = self.page.is_empty();
        length.map(drop)
    }
}

impl Iterator for Keys {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.page.len() && !self.ended {
            if let Err(error) = self.turn() {
                return Some(Err(error));
            }
        }
        let size = self.page.get(self.at..self.at + 4)?;
        let length = u32::from_le_bytes(size.try_into().ok()?) as usize;
        let key = self.page.get(self.at + 4..self.at + 4 + length)?.to_vec();
        self.at += 4 + length;
        self.cursor.clone_from(&key);
        Some(Ok(key))
    }
}
