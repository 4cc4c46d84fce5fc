//! A head: the text that seals the records of a day, or a part of them.

use super::digest::RecordHash;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

/// The records of one head. So a head and its row have a bounded size.
pub const HEAD_RECORDS_MAX: usize = 5_000;

const TITLE: &str = "azure-backup-scim audit head 1";
const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
/// Bytes of a line of a record without flags.
const ENTRY_BYTES: usize = 36 + 1 + 64 + 1;
/// An op, and the beginnings of ops that `through` and `restored` have.
const OP_CHARS_MAX: usize = 36;

/// A record as a head lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadEntry {
    pub op: String,
    pub hash: RecordHash,
    /// It was committed after the head of its day was made.
    pub late: bool,
    /// It says that the records up to that head were deleted.
    pub expired: Option<u64>,
    /// It says that the state was restored; records from that op on may be lost.
    pub restored: Option<String>,
}

impl HeadEntry {
    /// A record that says nothing of the chain.
    pub fn new(op: String, hash: RecordHash) -> Self {
        Self { op, hash, late: false, expired: None, restored: None }
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let op = words.next().filter(|op| is_op(op))?.to_owned();
        let mut entry = Self::new(op, RecordHash::parse(words.next()?)?);
        for flag in words {
            match flag.split_once('=') {
                None if flag == "late" => entry.late = true,
                Some(("expired", number)) => entry.expired = Some(parse_number(number)?),
                Some(("restored", from)) if is_op_beginning(from) => entry.restored = Some(from.to_owned()),
                _ => return None,
            }
        }
        // Flags once, and in their order.
        (entry.to_line() == line).then_some(entry)
    }

    fn to_line(&self) -> String {
        let Self { op, hash, late, expired, restored } = self;
        let late = if *late { " late" } else { "" };
        let expired = expired.map(|number| format!(" expired={number}")).unwrap_or_default();
        let restored = restored.as_ref().map(|from| format!(" restored={from}")).unwrap_or_default();
        format!("{op} {hash}{late}{expired}{restored}")
    }
}

/// A head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditHead {
    pub tenant: String,
    pub number: u64,
    pub day: Date,
    /// The hash of the head before.
    pub previous: RecordHash,
    /// By the clock of the table service.
    pub sealed: OffsetDateTime,
    /// Every record up to this op, or up to ops that begin so, was sealed when this head was made.
    pub through: String,
    pub entries: Vec<HeadEntry>,
}

/// Why a text is no head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not that of a head")]
pub struct HeadError {
    /// Counted from 1.
    pub line: usize,
}

impl AuditHead {
    /// The text whose hash the next head has.
    pub fn to_text(&self) -> String {
        let Self { tenant, number, day, previous, sealed, through, entries } = self;
        let day = format_day(*day);
        let sealed = sealed.format(&Rfc3339).unwrap_or_default();
        let count = entries.len();
        let mut text = format!(
            "{TITLE}\ntenant {tenant}\nnumber {number}\nday {day}\nprevious {previous}\nsealed {sealed}\n\
             through {through}\nrecords {count}\n"
        );
        text.reserve(count * ENTRY_BYTES);
        for entry in entries {
            text.push_str(&entry.to_line());
            text.push('\n');
        }
        text
    }

    /// Reads a head. What this does not take is no head of this format.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeadError> {
        let text = std::str::from_utf8(bytes).map_err(|_| HeadError { line: 1 })?;
        let mut lines = Lines { rest: text, line: 0 };
        lines.take(|line| (line == TITLE).then_some(()))?;
        let tenant = lines.named("tenant", |tenant| is_tenant(tenant).then(|| tenant.to_owned()))?;
        let number = lines.named("number", parse_number)?;
        let day = lines.named("day", parse_day)?;
        let previous = lines.named("previous", RecordHash::parse)?;
        let sealed = lines.named("sealed", |text| {
            OffsetDateTime::parse(text, &Rfc3339).ok().filter(|_| text.ends_with('Z'))
        })?;
        let through = lines.named("through", |text| is_op_beginning(text).then(|| text.to_owned()))?;
        let count =
            lines.named("records", |text| parse_number(text).and_then(|n| usize::try_from(n).ok()))?;
        if count > HEAD_RECORDS_MAX {
            return Err(HeadError { line: lines.line });
        }
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(lines.take(HeadEntry::parse)?);
        }
        if !lines.rest.is_empty() {
            return Err(HeadError { line: lines.line + 1 });
        }
        Ok(Self { tenant, number, day, previous, sealed, through, entries })
    }
}

struct Lines<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Lines<'a> {
    fn take<T>(&mut self, read: impl Fn(&'a str) -> Option<T>) -> Result<T, HeadError> {
        self.line += 1;
        let ended = self.rest.split_once('\n').and_then(|(line, rest)| Some((read(line)?, rest)));
        let (value, rest) = ended.ok_or(HeadError { line: self.line })?;
        self.rest = rest;
        Ok(value)
    }

    fn named<T>(&mut self, name: &str, read: impl Fn(&'a str) -> Option<T>) -> Result<T, HeadError> {
        self.take(|line| read(line.strip_prefix(name)?.strip_prefix(' ')?))
    }
}

/// Decimal, without leading zeros.
fn parse_number(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

/// A day as heads have it.
pub fn format_day(day: Date) -> String {
    day.format(DAY).unwrap_or_default()
}

/// The name of the file that holds a head, below the folder of its tenant.
pub fn head_file(number: u64) -> String {
    format!("{number:010}")
}

/// The first digits of every op of that millisecond.
pub fn op_prefix(time: OffsetDateTime) -> String {
    let millis = time.unix_timestamp_nanos().max(0) / 1_000_000;
    let digits = format!("{millis:012x}");
    let (high, low) = digits.split_at_checked(8).unwrap_or((&digits, ""));
    format!("{high}-{low}")
}

/// Reads a day as heads have it.
pub fn parse_day(text: &str) -> Option<Date> {
    let day = Date::parse(text, DAY).ok()?;
    (day.format(DAY).ok()? == text).then_some(day)
}

fn is_tenant(text: &str) -> bool {
    (1..=36).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_op_beginning(text: &str) -> bool {
    (1..=OP_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

/// Whether records with this op can be sealed.
pub fn is_op(text: &str) -> bool {
    text.len() == OP_CHARS_MAX && is_op_beginning(text)
}
