//! HTTP/1.1 messages as far as the proxy needs them: read whole, changed a little, written again.

use super::Call;
use std::io::BufRead;

/// One request or answer.
#[derive(Debug, Clone)]
pub struct Message {
    /// The first line, without its end.
    first: String,
    /// Each with its end; those that say how long the body is are made anew.
    headers: String,
    body: Vec<u8>,
    /// The answer to a HEAD, a 204 or a 304: nothing follows the head, and no length is given.
    bare: bool,
}

impl Message {
    /// `None`: the other side has ended, or does not speak HTTP.
    pub fn read_request(from: &mut impl BufRead) -> Option<Self> {
        let (first, lines) = head(from)?;
        let body = body(from, &lines, false)?;
        Some(Self { first, headers: kept(&lines), body, bare: false })
    }

    pub fn read_answer(from: &mut impl BufRead, method: &str) -> Option<Self> {
        let (first, lines) = head(from)?;
        let status = first.split(' ').nth(1).unwrap_or_default();
        let bare = method == "HEAD" || matches!(status, "204" | "304");
        let body = if bare { Vec::new() } else { body(from, &lines, true)? };
        Some(Self { first, headers: kept(&lines), body, bare })
    }

    pub fn call(&self) -> Call {
        let mut words = self.first.split(' ').map(str::to_owned);
        Call {
            method: words.next().unwrap_or_default(),
            target: words.next().unwrap_or_default(),
            headers: self.headers.clone(),
            body: String::from_utf8_lossy(&self.body).into_owned(),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let length =
            if self.bare { String::new() } else { format!("content-length: {}\r\n", self.body.len()) };
        let mut bytes = format!("{}\r\n{}{length}\r\n", self.first, self.headers).into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes()
    }

    /// Replaces a header, whatever its case.
    pub fn set_header(&mut self, name: &str, value: &str) {
        let other =
            |line: &&str| !line.split(':').next().unwrap_or_default().trim().eq_ignore_ascii_case(name);
        let others: String = self.headers.split_inclusive("\r\n").filter(other).collect();
        self.headers = format!("{others}{name}: {value}\r\n");
    }

    /// `$top` becomes smaller, if there is one.
    pub fn limit_rows(&mut self, rows_max: usize) {
        self.change_query(|part| match part.strip_prefix("$top=").map(str::parse::<usize>) {
            Some(Ok(top)) => Some(format!("$top={}", top.min(rows_max))),
            _ => Some(part.to_owned()),
        });
    }

    /// Without the place where the page before ended.
    pub fn forget_continuation(&mut self) {
        self.change_query(|part| {
            let place = part.starts_with("NextPartitionKey=") || part.starts_with("NextRowKey=");
            (!place).then(|| part.to_owned())
        });
    }

    fn change_query(&mut self, change: impl Fn(&str) -> Option<String>) {
        let words: Vec<&str> = self.first.split(' ').collect();
        let [method, target, version] = words[..] else { return };
        let Some((path, query)) = target.split_once('?') else { return };
        let query: Vec<String> = query.split('&').filter_map(change).collect();
        self.first = format!("{method} {path}?{} {version}", query.join("&"));
    }
}

/// An answer of the proxy's own.
pub fn answer(status: u16, content_type: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} Proxy\r\n{headers}content-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The first line, and the headers.
fn head(from: &mut impl BufRead) -> Option<(String, Vec<String>)> {
    let first = line(from)?;
    let mut headers = Vec::new();
    loop {
        match line(from)? {
            empty if empty.is_empty() => return Some((first, headers)),
            header => headers.push(header),
        }
    }
}

fn line(from: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let read = from.read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}

fn header<'a>(lines: &'a [String], name: &str) -> Option<&'a str> {
    let headers = lines.iter().filter_map(|line| line.split_once(':'));
    headers.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

fn kept(lines: &[String]) -> String {
    let length = ["content-length", "transfer-encoding"];
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_ascii_lowercase();
    lines
        .iter()
        .filter(|line| !length.contains(&name(line).as_str()))
        .map(|line| format!("{line}\r\n"))
        .collect()
}

fn body(from: &mut impl BufRead, lines: &[String], may_end_with_connection: bool) -> Option<Vec<u8>> {
    if header(lines, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return chunks(from);
    }
    let mut body = Vec::new();
    match header(lines, "content-length") {
        Some(length) => {
            body.resize(length.parse().ok()?, 0);
            from.read_exact(&mut body).ok()?;
        }
        None if may_end_with_connection => drop(from.read_to_end(&mut body).ok()?),
        None => {}
    }
    Some(body)
}

fn chunks(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(line(from)?.split(';').next()?, 16).ok()?;
        let mut chunk = vec![0; size];
        from.read_exact(&mut chunk).ok()?;
        body.extend(chunk);
        line(from)?;
        if size == 0 {
            return Some(body);
        }
    }
}
