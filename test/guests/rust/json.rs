//! The JSON that the echo guests answer with.

pub fn quote(value: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for c in String::from_utf8_lossy(value).chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c < ' ' => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

pub struct Echo<'a> {
    pub method: &'a [u8],
    pub path: &'a [u8],
    pub query: &'a [u8],
    pub headers: Vec<(String, String)>,
    pub body: &'a [u8],
}

impl Echo<'_> {
    pub fn to_json(&self) -> String {
        let headers: Vec<String> = self
            .headers
            .iter()
            .map(|(name, value)| format!("{}:{}", quote(name.as_bytes()), quote(value.as_bytes())))
            .collect();
        format!(
            "{{\"method\":{},\"path\":{},\"query\":{},\"headers\":{{{}}},\"body\":{}}}",
            quote(self.method),
            quote(self.path),
            quote(self.query),
            headers.join(","),
            quote(self.body),
        )
    }
}
