//! The head of each request, before hyper reads it: what the host's server takes and hyper does not, rewritten to what
//! means the same and hyper takes.
//!
//! - Characters that do not belong in an address are escaped. The server decodes a path anyway, and both transports
//!   escape a query.
//! - A length beside chunks gets another name, as the host's server gives it.
//! - Two lengths are put on one line. Hyper takes two that are equal, and refuses one line with two as the host's server
//!   refuses both.
//!
//! Bodies pass unchanged. They are followed only to find where the next head begins.

use bytes::BytesMut;
use std::fmt::Write;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A head that is longer is left to hyper.
const HEAD_BYTES_MAX: usize = 256 * 1024;
const READ_BYTES: usize = 16 * 1024;

/// A connection whose request heads are rewritten.
pub struct HeadStream<S> {
    inner: S,
    /// What the next byte belongs to.
    next: Next,
    /// As the client sent it.
    raw: BytesMut,
    /// As hyper gets it.
    rewritten: BytesMut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Head,
    Body(u64),
    ChunkSize,
    Chunk(u64),
    Trailers,
    /// Hyper refuses it; where the next head would begin is of no interest.
    Rest,
}

impl<S> HeadStream<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, next: Next::Head, raw: BytesMut::new(), rewritten: BytesMut::new() }
    }

    /// Takes over what is complete.
    fn advance(&mut self) {
        while !self.raw.is_empty() {
            let before = (self.raw.len(), self.next);
            match self.next {
                Next::Head => self.take_head(),
                Next::Body(left) => self.pass(left, Next::Body, Next::Head),
                Next::Chunk(left) => self.pass(left, Next::Chunk, Next::ChunkSize),
                Next::ChunkSize => self.pass_line(|line| match chunk_size(line) {
                    Some(0) => Next::Trailers,
                    // The end of its line counts to the chunk.
                    Some(size) => Next::Chunk(size.saturating_add(2)),
                    None => Next::Rest,
                }),
                Next::Trailers => {
                    self.pass_line(|line| if line.is_empty() { Next::Head } else { Next::Trailers });
                }
                Next::Rest => self.pass(u64::MAX, |_| Next::Rest, Next::Rest),
            }
            if before == (self.raw.len(), self.next) {
                return;
            }
        }
    }

    fn take_head(&mut self) {
        let Some(end) = find(&self.raw, b"\r\n\r\n") else {
            if self.raw.len() > HEAD_BYTES_MAX {
                self.next = Next::Rest;
            }
            return;
        };
        let head = self.raw.split_to(end + 4);
        // A character for each byte, whatever they encode.
        let text: String = head.iter().copied().map(char::from).collect();
        let (text, next) = rewrite(&text).unwrap_or((text, Next::Rest));
        self.rewritten.extend(text.chars().filter_map(|character| u8::try_from(character).ok()));
        self.next = next;
    }

    fn pass(&mut self, left: u64, more: impl FnOnce(u64) -> Next, done: Next) {
        let count = self.raw.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.rewritten.extend_from_slice(&self.raw.split_to(count));
        let left = left.saturating_sub(count as u64);
        self.next = if left == 0 { done } else { more(left) };
    }

    fn pass_line(&mut self, next: impl FnOnce(&str) -> Next) {
        let Some(end) = find(&self.raw, b"\r\n") else { return };
        let line = self.raw.split_to(end + 2);
        self.rewritten.extend_from_slice(&line);
        self.next = next(std::str::from_utf8(line.get(..end).unwrap_or_default()).unwrap_or("not text"));
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn chunk_size(line: &str) -> Option<u64> {
    let digits = line.split(';').next().unwrap_or_default().trim();
    u64::from_str_radix(digits, 16).ok()
}

/// The head as hyper gets it, and what follows it. None where it is no head.
fn rewrite(head: &str) -> Option<(String, Next)> {
    let mut lines = head.trim_start_matches("\r\n").split("\r\n").take_while(|line| !line.is_empty());
    let (method, rest) = lines.next()?.split_once(' ')?;
    let (target, version) = rest.rsplit_once(' ')?;
    let headers = lines.map(|line| line.split_once(':')).collect::<Option<Vec<_>>>()?;
    let is = |name: &str, wanted: &str| name.trim().eq_ignore_ascii_case(wanted);
    let chunked = headers.iter().any(|(name, _)| is(name, "transfer-encoding"));
    let mut lengths = Vec::new();
    let mut text = format!("{method} {} {version}\r\n", escape_target(target));
    for (name, value) in headers {
        match (is(name, "content-length"), chunked) {
            (true, true) => text += &format!("X-Content-Length:{value}\r\n"),
            (true, false) => lengths.push(value.trim()),
            (false, _) => text += &format!("{name}:{value}\r\n"),
        }
    }
    let next = match lengths.as_slice() {
        _ if chunked => Next::ChunkSize,
        [] => Next::Head,
        [length] => match length.parse() {
            Ok(0) => Next::Head,
            Ok(length) => Next::Body(length),
            Err(_) => Next::Rest,
        },
        _ => Next::Rest,
    };
    if !lengths.is_empty() {
        text += &format!("Content-Length: {}\r\n", lengths.join(", "));
    }
    Some((text + "\r\n", next))
}

/// Escapes what is no character of an address. A space stays: it makes a request line that cannot be read.
fn escape_target(target: &str) -> String {
    target.chars().fold(String::new(), |mut escaped, character| {
        if "\"#<>\\^`{|}".contains(character) {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{:02X}", u32::from(character));
        } else {
            escaped.push(character);
        }
        escaped
    })
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.rewritten.is_empty() {
            let mut bytes = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                // The client has gone in the middle of a head, or there is nothing left.
                std::mem::swap(&mut this.rewritten, &mut this.raw);
                break;
            }
            this.raw.extend_from_slice(read.filled());
            this.advance();
        }
        let count = this.rewritten.len().min(buffer.remaining());
        buffer.put_slice(&this.rewritten.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What hyper gets, however the bytes are cut.
    #[track_caller]
    fn check(sent: &str, expected: &str) {
        for size in [1, 7, sent.len()] {
            let mut stream = HeadStream::new(());
            for part in sent.as_bytes().chunks(size) {
                stream.raw.extend_from_slice(part);
                stream.advance();
            }
            assert_eq!(String::from_utf8_lossy(&stream.rewritten), expected, "{size} bytes at a time");
        }
    }

    #[track_caller]
    fn check_same(sent: &str) {
        check(sent, sent);
    }

    #[test]
    fn characters_that_no_address_has_are_escaped() {
        check(
            "GET /a`<b>?x=#\"{|}^\\ HTTP/1.1\r\n\r\n",
            "GET /a%60%3Cb%3E?x=%23%22%7B%7C%7D%5E%5C HTTP/1.1\r\n\r\n",
        );
        check_same("GET /a%41?b=[c]'~ HTTP/1.1\r\nHost: a\r\nX:  #<>\r\n\r\n");
        check_same("GET /a b HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn a_body_is_no_head_and_what_follows_it_is() {
        let next = "GET /< HTTP/1.1\r\n\r\n";
        let same = "POST /a HTTP/1.1\r\nContent-Length: 19\r\n\r\nGET /> HTTP/1.1\r\n\r\n";
        check(&format!("{same}{next}"), &format!("{same}GET /%3C HTTP/1.1\r\n\r\n"));
        let same = "POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3;x=<\r\na/<\r\n1\r\n>\r\n0\r\nT: <\r\n\r\n";
        check(&format!("{same}{next}"), &format!("{same}GET /%3C HTTP/1.1\r\n\r\n"));
    }

    #[test]
    fn two_lengths_are_one_line_and_one_beside_chunks_has_another_name() {
        check(
            "POST /a HTTP/1.1\r\nContent-Length: 1\r\nHost: a\r\ncontent-length: 1\r\n\r\nx",
            "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx",
        );
        check(
            "POST /a HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST /a HTTP/1.1\r\nX-Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        );
    }

    #[test]
    fn what_is_no_head_passes() {
        check_same("nonsense\r\n\r\nGET /< HTTP/1.1\r\n\r\n");
    }
}
