//! Reads the lines of an exported audit and hashes them on two cores, in a bounded amount of memory.

use crate::audit::chain::{RecordHash, RecordLine, op_of_line};
use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Bytes that are read and hashed at once.
const CHUNK_BYTES: usize = 1024 * 1024;
/// The longest line: a row has at most a MiB, and its text takes a third more. A longer one is no record, and is cut.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Threads that hash.
const HASHERS: usize = 2;
/// Chunks that wait for a thread.
const WAITING: usize = 2;

type Chunk = io::Result<Vec<u8>>;
type Hashed = io::Result<Vec<(Option<[u8; 36]>, RecordHash)>>;

/// The lines of a file, in their order.
pub struct RecordLines {
    /// The threads give their answers in turn, as they were given the chunks.
    hashers: Vec<Receiver<Hashed>>,
    turn: usize,
    ready: VecDeque<(Option<[u8; 36]>, RecordHash)>,
    read: u64,
    is_over: bool,
}

/// Begins to read.
pub fn record_lines(input: impl Read + Send + 'static) -> RecordLines {
    let mut senders = Vec::new();
    let mut hashers = Vec::new();
    for _ in 0..HASHERS {
        let (chunks, take) = sync_channel::<Chunk>(WAITING);
        let (give, hashed) = sync_channel::<Hashed>(WAITING);
        thread::spawn(move || hash_chunks(&take, &give));
        senders.push(chunks);
        hashers.push(hashed);
    }
    thread::spawn(move || read_chunks(input, &senders));
    RecordLines { hashers, turn: 0, ready: VecDeque::new(), read: 0, is_over: false }
}

impl Iterator for RecordLines {
    type Item = io::Result<RecordLine>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            if self.is_over {
                return None;
            }
            let hasher = self.hashers.get(self.turn % HASHERS)?;
            self.turn += 1;
            match hasher.recv() {
                Ok(Ok(lines)) => self.ready = lines.into(),
                Ok(Err(error)) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
                // The thread ended: it got no more chunks.
                Err(_) => self.is_over = true,
            }
        }
        let (op, hash) = self.ready.pop_front()?;
        self.read += 1;
        Some(Ok(RecordLine { number: self.read, op, hash }))
    }
}

fn hash_chunks(chunks: &Receiver<Chunk>, hashed: &SyncSender<Hashed>) {
    for chunk in chunks {
        if hashed.send(chunk.map(|chunk| hash_lines(&chunk))).is_err() {
            return;
        }
    }
}

fn hash_lines(chunk: &[u8]) -> Vec<(Option<[u8; 36]>, RecordHash)> {
    let lines = chunk.strip_suffix(b"\n").unwrap_or(chunk).split(|byte| *byte == b'\n');
    lines.map(|line| (op_of_line(line), RecordHash::of(line))).collect()
}

/// Whole lines go to one thread after the other.
fn read_chunks(mut input: impl Read, hashers: &[SyncSender<Chunk>]) {
    let mut rest = Vec::new();
    for hasher in hashers.iter().cycle() {
        let chunk = read_chunk(&mut input, &mut rest);
        let is_last = !matches!(&chunk, Ok(chunk) if !chunk.is_empty());
        let is_empty = matches!(&chunk, Ok(chunk) if chunk.is_empty());
        // Where the receiver is gone, an answer was found before the end.
        if is_empty || hasher.send(chunk).is_err() || is_last {
            return;
        }
    }
}

/// Lines that end, about a chunk of them; at the end of the file what is left. `rest` is the beginning of the next line.
fn read_chunk(input: &mut impl Read, rest: &mut Vec<u8>) -> Chunk {
    let mut chunk = std::mem::take(rest);
    loop {
        let before = chunk.len();
        let wanted = CHUNK_BYTES.saturating_sub(before).max(CHUNK_BYTES / 4);
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        let read = input.by_ref().take(wanted).read_to_end(&mut chunk)?;
        if read == 0 {
            return Ok(chunk);
        }
        if let Some(end) = chunk.iter().rposition(|byte| *byte == b'\n') {
            *rest = chunk.split_off(end + 1);
            return Ok(chunk);
        }
        if chunk.len() > LINE_BYTES_MAX {
            chunk.truncate(LINE_BYTES_MAX);
            *rest = skip_line(input)?;
            chunk.push(b'\n');
            return Ok(chunk);
        }
    }
}

/// Passes over the rest of a line. What was read of the next one.
fn skip_line(input: &mut impl Read) -> Chunk {
    let mut part = Vec::new();
    loop {
        part.clear();
        let wanted = u64::try_from(CHUNK_BYTES).unwrap_or(u64::MAX);
        if input.by_ref().take(wanted).read_to_end(&mut part)? == 0 {
            return Ok(part);
        }
        if let Some(end) = part.iter().position(|byte| *byte == b'\n') {
            return Ok(part.split_off(end + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn check(text: &[u8]) {
        let expected: Vec<RecordHash> = match text {
            b"" => Vec::new(),
            text => hash_lines(text).into_iter().map(|(_, hash)| hash).collect(),
        };
        let lines: Vec<RecordLine> = record_lines(Cursor::new(text.to_vec())).map(Result::unwrap).collect();
        assert_eq!(lines.iter().map(|line| line.hash).collect::<Vec<_>>(), expected);
        let numbers: Vec<u64> = lines.iter().map(|line| line.number).collect();
        assert_eq!(numbers, (1..=u64::try_from(expected.len()).unwrap()).collect::<Vec<_>>());
    }

    #[test]
    fn every_line_is_hashed_once_and_in_its_place() {
        for text in ["", "\n", "a", "a\n", "a\nb", "a\n\nb\n", "\n\n"] {
            check(text.as_bytes());
        }
        let many: String = (0..400_000).map(|number| format!("{{\"number\":{number}}}\n")).collect();
        assert!(many.len() > 5 * CHUNK_BYTES);
        check(many.as_bytes());
        check(many.trim_end().as_bytes());
    }

    #[test]
    fn a_line_may_be_longer_than_a_chunk_and_is_no_record_where_it_is_longer_than_a_row() {
        let long = "x".repeat(CHUNK_BYTES * 5 / 2);
        check(format!("a\n{long}\nb\n{long}").as_bytes());
        // Of one that is too long a part is hashed, so that it is no record; those behind it are read.
        for more in [2 * CHUNK_BYTES, 3 * CHUNK_BYTES + 7] {
            let too_long = "x".repeat(LINE_BYTES_MAX + more);
            let text = format!("a\n{too_long}\nb\nc");
            let lines: Vec<RecordLine> =
                record_lines(Cursor::new(text.into_bytes())).map(Result::unwrap).collect();
            assert_eq!(lines.len(), 4, "{more}");
            assert_ne!(lines[1].hash, RecordHash::of(too_long.as_bytes()));
            let last = [&lines[2], &lines[3]].map(|line| line.hash);
            assert_eq!(last, [RecordHash::of(b"b"), RecordHash::of(b"c")], "{more}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        assert!(record_lines(Broken).next().unwrap().is_err());
    }
}
