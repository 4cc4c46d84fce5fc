//! The answer to a batch, read strictly: parts between boundaries, each a head and a body, some of them HTTP messages.

use super::answer::TableFailure;
use crate::ports::tables::TRANSACTION_OPS_MAX;
use std::time::Duration;

/// RFC 2046 5.1.1.
const BOUNDARY_CHARS_MAX: usize = 70;
/// Header lines of one part.
const HEADERS_MAX: usize = 64;

/// A head and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MultipartSection<'a> {
    head: &'a str,
    pub body: &'a [u8],
}

impl<'a> MultipartSection<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        // A part without headers begins with the empty line itself.
        let (head, body) = match strip_line_end(bytes) {
            Some(body) => (<&[u8]>::default(), body),
            None => split_at_empty_line(bytes),
        };
        let head = std::str::from_utf8(head).map_err(|_| "the head of a part is not text")?;
        if head.lines().count() > HEADERS_MAX {
            return Err("a part has too many headers".to_owned());
        }
        Ok(Self { head, body })
    }

    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

/// An HTTP answer inside a part.
#[derive(Debug, Clone, Copy)]
pub struct BatchMessage<'a> {
    pub status: u16,
    section: MultipartSection<'a>,
}

impl<'a> BatchMessage<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let section = MultipartSection::parse(bytes)?;
        let mut words = section.head.lines().next().unwrap_or_default().split(' ');
        let http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
        let status = words.next().and_then(|status| status.parse().ok()).filter(|_| http);
        match status {
            Some(status @ 100..=599) => Ok(Self { status, section }),
            _ => Err("a part of a batch is not an HTTP answer".to_owned()),
        }
    }

    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.section.header(name)
    }

    pub fn failure(&self) -> TableFailure<'a> {
        let retry_after = self.header("retry-after").and_then(|text| text.parse().ok());
        TableFailure {
            status: self.status,
            code: self.header("x-ms-error-code"),
            body: self.section.body,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }
}

/// The boundary that a content type names.
pub fn boundary(content_type: &str) -> Result<&str, String> {
    let mut words = content_type.split(';').map(str::trim);
    let multipart = words.next().is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/mixed"));
    let named = words.find_map(|word| word.strip_prefix("boundary="));
    let named = named.map(|name| name.trim_matches('"')).filter(|_| multipart);
    named
        .filter(|name| (1..=BOUNDARY_CHARS_MAX).contains(&name.len()))
        .ok_or_else(|| "an answer that should be multipart names no boundary".to_owned())
}

/// The parts between the boundaries. The last boundary must be there: a truncated body is not an answer.
pub fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<MultipartSection<'a>>, String> {
    let begin = format!("--{boundary}");
    let end = format!("--{boundary}--");
    let mut parts = Vec::new();
    let mut open: Option<usize> = None;
    for (start, line) in lines(body) {
        let text = line.trim_ascii_end();
        if text != begin.as_bytes() && text != end.as_bytes() {
            continue;
        }
        if let Some(from) = open {
            let bytes = body.get(from..start).unwrap_or_default();
            parts.push(MultipartSection::parse(trim_line_end(bytes))?);
        }
        if text == end.as_bytes() {
            return Ok(parts);
        }
        if parts.len() >= TRANSACTION_OPS_MAX {
            return Err("an answer has too many parts".to_owned());
        }
        open = Some(start + line.len());
    }
    Err("a multipart answer has no end".to_owned())
}

/// Each line with its end, and where it begins.
fn lines(body: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut start = 0;
    body.split_inclusive(|byte| *byte == b'\n').map(move |line| {
        let at = start;
        start += line.len();
        (at, line)
    })
}

/// Without the line break that belongs to the boundary after it.
fn trim_line_end(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\r\n").or_else(|| bytes.strip_suffix(b"\n")).unwrap_or(bytes)
}

fn strip_line_end(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_prefix(b"\r\n").or_else(|| bytes.strip_prefix(b"\n"))
}

fn split_at_empty_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let empty = lines(bytes).find(|(_, line)| matches!(*line, b"\r\n" | b"\n"));
    match empty {
        Some((at, line)) => {
            let (head, rest) = bytes.split_at(at);
            (head, rest.strip_prefix(line).unwrap_or_default())
        }
        None => (bytes, b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "--outer\r\nContent-Type: multipart/mixed; boundary=inner\r\n\r\n\
        --inner\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 204 No Content\r\nETag: W/\"1\"\r\n\r\n\r\n\
        --inner\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 409 Conflict\r\n\r\n{\"a\": \"--inner\"}\r\n\
        --inner--\r\n--outer--\r\n";

    fn messages(answer: &str) -> Result<Vec<(u16, String)>, String> {
        let outer = parts(answer.as_bytes(), "outer")?;
        let inner = parts(outer[0].body, boundary(outer[0].header("content-type").unwrap())?)?;
        inner
            .iter()
            .map(|part| BatchMessage::parse(part.body))
            .map(|message| {
                let message = message?;
                Ok((message.status, String::from_utf8_lossy(message.section.body).into_owned()))
            })
            .collect()
    }

    #[test]
    fn parts_are_read_whole_with_either_line_end() {
        let expected = vec![(204, String::new()), (409, "{\"a\": \"--inner\"}".to_owned())];
        for answer in [ANSWER.to_owned(), ANSWER.replace("\r\n", "\n")] {
            let read: Vec<_> = messages(&answer).unwrap();
            let trimmed: Vec<_> =
                read.into_iter().map(|(status, body)| (status, body.trim().to_owned())).collect();
            assert_eq!(trimmed, expected);
        }
    }

    #[test]
    fn an_answer_that_is_cut_off_is_no_answer() {
        for cut in 1..ANSWER.len() - "\r\n".len() {
            let (cut_off, _) = ANSWER.split_at(cut);
            assert!(messages(cut_off).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_not_multipart_or_not_http_is_refused() {
        assert!(boundary("text/html").is_err());
        assert!(boundary("multipart/mixed").is_err());
        assert!(boundary(&format!("multipart/mixed; boundary={}", "a".repeat(71))).is_err());
        assert_eq!(boundary("multipart/mixed; boundary=\"a b\"").unwrap(), "a b");
        for text in ["", "<html>", "HTTP/1.1", "HTTP/1.1 x OK", "HTTP/2 200 OK", "HTTP/1.1 999 OK"] {
            assert!(BatchMessage::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn an_answer_has_a_bounded_number_of_parts() {
        let body = "--b\r\n\r\nx\r\n".repeat(TRANSACTION_OPS_MAX + 1) + "--b--\r\n";
        assert!(parts(body.as_bytes(), "b").is_err());
    }
}
