//! Reads orders as JSON into a tree, and answers with the active ones, their totals and the sum, as JSON.

use std::fmt::Write;

enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

static NULL: Json = Json::Null;

impl Json {
    fn get(&self, name: &str) -> &Json {
        match self {
            Json::Object(members) => {
                members.iter().find(|(each, _)| each == name).map_or(&NULL, |(_, value)| value)
            }
            _ => &NULL,
        }
    }

    fn list(&self) -> &[Json] {
        match self {
            Json::List(items) => items,
            _ => &[],
        }
    }

    fn integer(&self) -> i64 {
        match self {
            Json::Number(value) => *value as i64,
            _ => 0,
        }
    }

    fn text(&self) -> &str {
        match self {
            Json::Text(value) => value,
            _ => "",
        }
    }

    fn is_true(&self) -> bool {
        matches!(self, Json::Bool(true))
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn blanks(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        self.blanks();
        if self.text.get(self.at) != Some(&wanted) {
            return None;
        }
        self.at += 1;
        Some(())
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return None;
        }
        self.at += word.len();
        Some(value)
    }

    fn value(&mut self) -> Option<Json> {
        self.blanks();
        match self.text.get(self.at)? {
            b'{' => self.object(),
            b'[' => self.list(),
            b'"' => Some(Json::Text(self.string()?)),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            _ => self.number(),
        }
    }

    fn object(&mut self) -> Option<Json> {
        self.take(b'{')?;
        let mut members = Vec::new();
        if self.take(b'}').is_some() {
            return Some(Json::Object(members));
        }
        loop {
            self.blanks();
            let name = self.string()?;
            self.take(b':')?;
            members.push((name, self.value()?));
            if self.take(b',').is_none() {
                self.take(b'}')?;
                return Some(Json::Object(members));
            }
        }
    }

    fn list(&mut self) -> Option<Json> {
        self.take(b'[')?;
        let mut items = Vec::new();
        if self.take(b']').is_some() {
            return Some(Json::List(items));
        }
        loop {
            items.push(self.value()?);
            if self.take(b',').is_none() {
                self.take(b']')?;
                return Some(Json::List(items));
            }
        }
    }

    fn number(&mut self) -> Option<Json> {
        let start = self.at;
        while matches!(self.text.get(self.at), Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')) {
            self.at += 1;
        }
        std::str::from_utf8(&self.text[start..self.at]).ok()?.parse().ok().map(Json::Number)
    }

    fn string(&mut self) -> Option<String> {
        self.take(b'"')?;
        let mut value = Vec::new();
        loop {
            let start = self.at;
            while !matches!(self.text.get(self.at)?, b'"' | b'\\') {
                self.at += 1;
            }
            value.extend_from_slice(&self.text[start..self.at]);
            self.at += 1;
            if self.text[self.at - 1] == b'"' {
                return String::from_utf8(value).ok();
            }
            let c = self.escape()?;
            value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    fn escape(&mut self) -> Option<char> {
        let c = *self.text.get(self.at)?;
        self.at += 1;
        match c {
            b'"' | b'\\' | b'/' => Some(c as char),
            b'n' => Some('\n'),
            b't' => Some('\t'),
            b'r' => Some('\r'),
            b'b' => Some('\x08'),
            b'f' => Some('\x0c'),
            b'u' => {
                let digits = self.text.get(self.at..self.at + 4)?;
                self.at += 4;
                char::from_u32(u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?)
            }
            _ => None,
        }
    }
}

fn quote(out: &mut String, value: &str) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => write!(out, "\\u{:04x}", c as u32).unwrap(),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn transform(body: &[u8]) -> Option<String> {
    let input = Parser { text: body, at: 0 }.value()?;
    let mut out = String::with_capacity(body.len());
    let (mut count, mut sum) = (0, 0);
    out.push_str("{\"orders\":[");
    for order in input.get("orders").list().iter().filter(|order| order.get("active").is_true()) {
        let total = order.get("quantity").integer() * order.get("price_cents").integer();
        out.push_str(if count == 0 { "{\"id\":" } else { ",{\"id\":" });
        write!(out, "{}", order.get("id").integer()).ok()?;
        out.push_str(",\"customer\":");
        quote(&mut out, order.get("customer").text());
        write!(out, ",\"total_cents\":{total},\"tags\":[").ok()?;
        for (index, tag) in order.get("tags").list().iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            quote(&mut out, &tag.text().to_ascii_uppercase());
        }
        out.push_str("]}");
        count += 1;
        sum += total;
    }
    write!(out, "],\"count\":{count},\"sum_cents\":{sum}}}").ok()?;
    Some(out)
}

/// Memory for the host's buffers, which stays the host's.
#[no_mangle]
pub extern "C" fn alloc(size: i32) -> *mut u8 {
    Vec::with_capacity(size as usize).leak().as_mut_ptr()
}

#[no_mangle]
pub unsafe extern "C" fn handle(
    _method: *const u8,
    _method_len: i32,
    _path: *const u8,
    _path_len: i32,
    _headers: *const u8,
    _headers_len: i32,
    body: *const u8,
    body_len: i32,
    response: *mut u8,
    response_cap: i32,
) -> i32 {
    let json = match transform(std::slice::from_raw_parts(body, body_len as usize)) {
        Some(json) => json,
        None => return -1,
    };
    let head = b"content-type: application/json\r\n\r\n";
    if head.len() + json.len() > response_cap as usize {
        return -2;
    }
    response.copy_from_nonoverlapping(head.as_ptr(), head.len());
    response.add(head.len()).copy_from_nonoverlapping(json.as_ptr(), json.len());
    (head.len() + json.len()) as i32
}
