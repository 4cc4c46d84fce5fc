//! What the verification of a million exported records costs, heads included: reading, hashing and comparing, on two threads
//! that hash.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement that cannot go on stops, it has the real clock, and prints what it found"
)]

use azure_backup_scim::audit::chain::{
    AuditHead, HEAD_RECORDS_MAX, HeadEntry, HeadSource, RecordHash, check_heads, head_file, verify_records,
};
use azure_backup_scim::service::audit::verify::record_lines;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use time::macros::datetime;

const RECORDS: usize = 1_000_000;
const HEADS: usize = RECORDS / HEAD_RECORDS_MAX;
const RUNS: usize = 5;

struct Folder(PathBuf);

impl HeadSource for Folder {
    fn head(&mut self, number: u64) -> io::Result<Option<Vec<u8>>> {
        Ok(Some(fs::read(self.0.join(head_file(number)))?))
    }
}

/// A record as a grant leaves it.
fn line(op: &str, number: usize) -> String {
    format!(
        "{{\"op\":\"{op}\",\"actor\":\"entra\",\"cause\":\"request\",\"changes\":[{{\"assignment\":\"{op}\",\
         \"bindings\":[\"operators-east\"],\"follows\":null,\"heldBefore\":false,\"kind\":\"effect-opened\",\
         \"person\":\"{op}\",\"principal\":\"{op}\",\"reasons\":[\"member of group {op} of binding operators-east\"],\
         \"role\":\"Backup Operator\",\"scope\":\"/subscriptions/{op}/resourceGroups/backup/providers/\
         Microsoft.RecoveryServices/vaults/east\",\"wanted\":true}}],\"follows\":\"{op}\",\"stamp\":\"20261125T100000Z\",\
         \"time\":\"2026-11-25T10:00:00.{number:09}Z\",\"v\":1}}"
    )
}

/// Writes the file and its heads; the bytes of the file.
fn write(folder: &Path) -> u64 {
    let mut file = BufWriter::new(File::create(folder.join("audit.jsonl")).unwrap());
    let mut previous = RecordHash::ZERO;
    for number in 0..HEADS {
        let mut entries = Vec::with_capacity(HEAD_RECORDS_MAX);
        for at in 0..HEAD_RECORDS_MAX {
            let record = number * HEAD_RECORDS_MAX + at;
            let op = format!("019ab8f0-1c22-7e10-8c44-{record:012x}");
            let line = line(&op, record);
            entries.push(HeadEntry::new(op, RecordHash::of(line.as_bytes())));
            writeln!(file, "{line}").unwrap();
        }
        let day = datetime!(2026-01-01 00:00 UTC) + Duration::from_secs(86_400) * number as u32;
        let head = AuditHead {
            tenant: "default".to_owned(),
            number: number as u64,
            day: day.date(),
            previous,
            sealed: day,
            through: entries.last().unwrap().op.clone(),
            entries,
        };
        let text = head.to_text();
        previous = RecordHash::of(text.as_bytes());
        fs::write(folder.join(head_file(number as u64)), text).unwrap();
    }
    file.flush().unwrap();
    file.get_ref().metadata().unwrap().len()
}

fn verify(folder: &Path) -> Duration {
    let began = Instant::now();
    let mut heads = Folder(folder.to_path_buf());
    let summary = check_heads(&mut heads, 0, HEADS as u64 - 1).unwrap();
    let lines = record_lines(File::open(folder.join("audit.jsonl")).unwrap());
    let verified = verify_records(&mut heads, &summary, lines).unwrap();
    assert_eq!(verified.records, RECORDS as u64);
    began.elapsed()
}

#[expect(clippy::print_stdout, reason = "the result")]
fn main() {
    // `cargo test` runs benches too, and measures nothing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let bytes = write(folder.path());
    let mut times: Vec<Duration> = (0..RUNS).map(|_| verify(folder.path())).collect();
    times.sort();
    let (best, middle) = (times.first().unwrap(), times.get(RUNS / 2).unwrap());
    println!(
        "{RECORDS} records of {} bytes in {HEADS} heads: {:.2} s at best, {:.2} s in the middle",
        bytes / RECORDS as u64,
        best.as_secs_f64(),
        middle.as_secs_f64()
    );
}
