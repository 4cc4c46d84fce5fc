//! What an answer of the table service means. An error is recognised by its code, and by its status only where it has no code.

use super::address::NextPage;
use super::entity;
use crate::adapters::rest::RestAnswer;
use crate::ports::tables::{ETag, RowPage, TableAnswer, TableError, TableRow, TableWrite};
use serde_json::Value as Json;
use std::time::Duration;
use time::OffsetDateTime;

/// What a busy service that names no wait is left alone for.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(2);

/// No wait counts for more: the identity provider must retry while it still remembers.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);
const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);

/// Longer than any error code of the service.
const CODE_CHARS_MAX: usize = 64;

/// A row, or a transaction, is larger than the service takes.
const TOO_LARGE: [&str; 4] =
    ["EntityTooLarge", "PropertyValueTooLarge", "RequestBodyTooLarge", "ContentLengthExceeded"];

/// The write itself is malformed: a bug of ours, which sending it again does not mend. Whatever else the service calls bad
/// may be a problem of the account, and is retried.
const MALFORMED: [&str; 12] = [
    "TooManyProperties",
    "KeyValueTooLarge",
    "PropertyNameInvalid",
    "PropertyNameTooLong",
    "PropertiesNeedValue",
    "DuplicatePropertiesSpecified",
    "InvalidValueType",
    "InvalidDuplicateRow",
    "CommandsInBatchActOnDifferentPartitions",
    "JsonFormatNotSupported",
    "AtomFormatNotSupported",
    "MethodNotAllowed",
];

/// How the service refuses a continuation that it does not know (any more).
const STALE: [&str; 4] =
    ["InvalidInput", "OutOfRangeInput", "InvalidQueryParameterValue", "OutOfRangeQueryParameterValue"];

/// An answer that is not a success.
pub struct TableFailure<'a> {
    pub status: u16,
    /// From the header.
    pub code: Option<&'a str>,
    pub body: &'a [u8],
    pub retry_after: Option<Duration>,
}

impl<'a> TableFailure<'a> {
    pub fn of(answer: &'a RestAnswer) -> Self {
        Self {
            status: answer.status,
            code: answer.header("x-ms-error-code"),
            body: &answer.body,
            retry_after: answer.retry_after(),
        }
    }

    /// As an error of a transaction of that many writes. With more than one, the message names the write by its index.
    pub fn error(&self, writes: usize) -> TableError {
        let (code, message) = self.code_and_message();
        let index = || index(&message, writes);
        match (self.status, code.as_deref()) {
            (429, _) | (503, Some("ServerBusy")) => self.throttled(),
            // Only the service itself sends a Retry-After, and only when it did nothing.
            (503, _) if self.retry_after.is_some() => self.throttled(),
            (408 | 500.., _) => self.unknown(code),
            (_, Some("EntityAlreadyExists")) => at(index(), |index| TableError::Exists { index }),
            (404, Some("ResourceNotFound" | "EntityNotFound")) => {
                at(index(), |index| TableError::Missing { index })
            }
            (412, Some("UpdateConditionNotSatisfied" | "ConditionNotMet")) => {
                at(index(), |index| TableError::Changed { index })
            }
            (400 | 413, Some(code)) if TOO_LARGE.contains(&code) => {
                TableError::TooLarge { rule: code.to_owned() }
            }
            (400..500, Some(code)) if MALFORMED.contains(&code) => {
                TableError::Invalid { rule: code.to_owned() }
            }
            (400..500, Some(code)) => TableError::Refused { code: code.to_owned() },
            // In front of the service, or the service in a form that we do not know: it was not let in.
            (401 | 403, None) => TableError::Refused { code: format!("status {}", self.status) },
            _ => self.unknown(code),
        }
    }

    fn throttled(&self) -> TableError {
        let wait = self.retry_after.unwrap_or(RETRY_AFTER_DEFAULT);
        TableError::Throttled { retry_after: wait.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX) }
    }

    fn unknown(&self, code: Option<String>) -> TableError {
        let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
        TableError::Unknown { detail: format!("status {}{code} says nothing reliable", self.status) }
    }

    /// From the body, which has both, else from the header.
    fn code_and_message(&self) -> (Option<String>, String) {
        let body: Json = serde_json::from_slice(self.body).unwrap_or_default();
        let error = body.get("odata.error");
        let message = error.and_then(|error| error.pointer("/message/value")?.as_str());
        let code = error.and_then(|error| error.get("code")?.as_str()).or(self.code);
        let plain = |code: &&str| {
            (1..=CODE_CHARS_MAX).contains(&code.len())
                && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        (code.filter(plain).map(str::to_owned), message.unwrap_or_default().to_owned())
    }
}

/// The write that failed: `1:The specified entity already exists.` A single write has no number.
fn index(message: &str, writes: usize) -> Option<usize> {
    if writes == 1 {
        return Some(0);
    }
    message.split_once(':')?.0.parse().ok().filter(|index| *index < writes)
}

fn at(index: Option<usize>, error: impl Fn(usize) -> TableError) -> TableError {
    index.map_or_else(|| nonsense("a transaction failed, and the answer does not say at which write"), error)
}

/// A continuation that the service does not take.
pub fn is_stale(code: &str) -> bool {
    STALE.contains(&code)
}

/// An answer that cannot be understood.
pub fn nonsense(what: impl Into<String>) -> TableError {
    TableError::Unknown { detail: what.into() }
}

/// No answer within the time of the call.
pub fn late() -> TableError {
    nonsense("no answer in time")
}

/// The table was made, or is there.
pub fn table_made(answer: &RestAnswer) -> Result<(), TableError> {
    let exists = || {
        answer.status == 409
            && TableFailure::of(answer).code_and_message().0.as_deref() == Some("TableAlreadyExists")
    };
    if matches!(answer.status, 201 | 204) || exists() {
        Ok(())
    } else {
        Err(TableFailure::of(answer).error(1))
    }
}

/// One row, or none.
pub fn row(answer: &RestAnswer) -> Result<TableAnswer<Option<TableRow>>, TableError> {
    let value = if answer.status == 200 {
        Some(entity::row(&answer.body, answer.header("etag")).map_err(nonsense)?)
    } else {
        match TableFailure::of(answer).error(1) {
            TableError::Missing { .. } => None,
            error => return Err(error),
        }
    };
    Ok(TableAnswer { value, date: date(answer)? })
}

/// One page, without the rows that were seen before.
pub fn page(
    answer: &RestAnswer,
    rows_max: usize,
    last: Option<&NextPage>,
) -> Result<TableAnswer<RowPage>, TableError> {
    if answer.status != 200 {
        return Err(TableFailure::of(answer).error(1));
    }
    let mut rows = entity::page(&answer.body).map_err(nonsense)?;
    if rows.len() > rows_max {
        return Err(nonsense("a page has more rows than were asked for"));
    }
    rows.retain(|row| !last.is_some_and(|last| last.has_seen(row)));
    let header = |name| answer.header(name).map(str::to_owned);
    let (partition, row) =
        (header("x-ms-continuation-nextpartitionkey"), header("x-ms-continuation-nextrowkey"));
    let goes_on = partition.is_some() || row.is_some();
    let seen = rows.last().map(|row| row.key.clone());
    let after = seen.or_else(|| last.and_then(|last| last.after.clone()));
    let continuation = goes_on.then(|| NextPage { partition, row, after }.continuation());
    Ok(TableAnswer { value: RowPage { rows, continuation }, date: date(answer)? })
}

/// The version that a single write left.
pub fn written(answer: &RestAnswer, write: &TableWrite) -> Result<Option<ETag>, TableError> {
    match answer.status {
        201 | 204 => etag(write, answer.header("etag")),
        _ => Err(TableFailure::of(answer).error(1)),
    }
}

/// The version in the answer to a write that was carried out.
pub fn etag(write: &TableWrite, header: Option<&str>) -> Result<Option<ETag>, TableError> {
    match (write, header) {
        (TableWrite::Delete { .. }, _) => Ok(None),
        (_, Some(etag)) => Ok(Some(ETag(etag.to_owned()))),
        (_, None) => Err(nonsense("the answer to a write has no etag")),
    }
}

/// Times in rows are compared on the service's clock, so an answer without it is worth nothing.
pub fn date(answer: &RestAnswer) -> Result<OffsetDateTime, TableError> {
    answer.date().ok_or_else(|| nonsense("an answer has no date"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, code: &str, message: &str, writes: usize) -> TableError {
        let body = serde_json::json!({"odata.error": {"code": code, "message": {"lang": "en-US", "value": message}}});
        let body = body.to_string();
        TableFailure { status, code: None, body: body.as_bytes(), retry_after: None }.error(writes)
    }

    fn bare(status: u16, code: Option<&'static str>, retry_after: Option<u64>) -> TableError {
        let retry_after = retry_after.map(Duration::from_secs);
        TableFailure { status, code, body: b"<html>", retry_after }.error(1)
    }

    #[test]
    fn conflicts_name_their_write() {
        assert!(matches!(
            failure(409, "EntityAlreadyExists", "3:There.\nTime", 5),
            TableError::Exists { index: 3 }
        ));
        assert!(matches!(failure(404, "ResourceNotFound", "0:Gone.", 2), TableError::Missing { index: 0 }));
        assert!(matches!(
            failure(412, "UpdateConditionNotSatisfied", "1:No.", 2),
            TableError::Changed { index: 1 }
        ));
        assert!(matches!(
            failure(412, "UpdateConditionNotSatisfied", "No.", 1),
            TableError::Changed { index: 0 }
        ));
        for message in ["There.", "5:There.", "-1:There."] {
            let error = failure(409, "EntityAlreadyExists", message, 5);
            assert!(matches!(error, TableError::Unknown { .. }), "{message}: {error:?}");
        }
    }

    #[test]
    fn busy_is_told_with_a_bounded_wait() {
        for (error, seconds) in [
            (bare(503, Some("ServerBusy"), None), 2),
            (bare(503, Some("ServerBusy"), Some(7)), 7),
            (bare(503, None, Some(7)), 7),
            (bare(429, None, None), 2),
            (bare(429, None, Some(86_400)), 120),
        ] {
            let wait = Duration::from_secs(seconds);
            assert!(
                matches!(error, TableError::Throttled { retry_after } if retry_after == wait),
                "{error:?}"
            );
        }
    }

    #[test]
    fn what_may_have_been_done_is_unknown() {
        for (status, code) in [
            (500, Some("OperationTimedOut")),
            (500, None),
            (503, None),
            (504, None),
            (502, None),
            (408, None),
        ] {
            assert!(matches!(bare(status, code, None), TableError::Unknown { .. }), "{status} {code:?}");
        }
        for status in [200, 302, 400, 404, 409, 412] {
            assert!(
                matches!(bare(status, None, None), TableError::Unknown { .. }),
                "{status} without a code"
            );
        }
    }

    #[test]
    fn being_turned_away_is_no_conflict_and_no_mistake_of_the_caller() {
        for (status, code) in [
            (403, Some("AuthenticationFailed")),
            (403, None),
            (401, None),
            (404, Some("TableNotFound")),
            (400, Some("InvalidAuthenticationInfo")),
            (409, Some("AccountBeingCreated")),
        ] {
            assert!(matches!(bare(status, code, None), TableError::Refused { .. }), "{status} {code:?}");
        }
        for code in TOO_LARGE {
            assert!(matches!(bare(400, Some(code), None), TableError::TooLarge { .. }), "{code}");
        }
        for code in MALFORMED {
            assert!(matches!(bare(400, Some(code), None), TableError::Invalid { .. }), "{code}");
        }
    }
}
