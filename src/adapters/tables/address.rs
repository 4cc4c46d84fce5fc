//! URLs of one table: rows by key, pages of a range, and where a range goes on.

use crate::ports::tables::{KeyRange, PageContinuation, TableError, TableRow};
use azure_core::http::Url;
use std::fmt::Write as _;

/// Separates the parts of a continuation: no key and no header value has it.
const SEPARATOR: char = '\n';

/// Whether the service accepts this as a table name: 3 to 63 letters and digits, a letter first.
pub fn is_table_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && (3..=63).contains(&text.len())
}

/// The service does not accept this table name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{table:?} is not a table name: 3 to 63 letters and digits, a letter first")]
pub struct TableNameError {
    pub table: String,
}

/// Where a table is.
#[derive(Debug, Clone)]
pub struct TableAddress {
    /// Without a slash at its end.
    endpoint: Url,
    table: String,
}

/// What a page has of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowParts {
    All,
    /// The key, and the ETag, which the service adds whatever is selected.
    Key,
}

impl TableAddress {
    pub fn new(endpoint: &Url, table: &str) -> Result<Self, TableNameError> {
        if !is_table_name(table) {
            return Err(TableNameError { table: table.to_owned() });
        }
        let mut endpoint = endpoint.clone();
        let path = endpoint.path().trim_end_matches('/').to_owned();
        endpoint.set_path(&path);
        Ok(Self { endpoint, table: table.to_owned() })
    }

    /// The collection of the account's tables.
    pub fn tables(&self) -> Url {
        self.below("Tables")
    }

    /// What makes this table.
    pub fn creation(&self) -> String {
        serde_json::json!({ "TableName": self.table }).to_string()
    }

    /// Where transactions go.
    pub fn batch(&self) -> Url {
        self.below("$batch")
    }

    fn below(&self, path: &str) -> Url {
        let mut url = self.endpoint.clone();
        url.set_path(&format!("{}/{path}", self.endpoint.path().trim_end_matches('/')));
        url
    }

    /// The table: where rows are inserted.
    pub fn table(&self) -> String {
        self.below(&self.table).to_string()
    }

    /// One row.
    pub fn row(&self, partition: &str, key: &str) -> String {
        format!("{}(PartitionKey='{}',RowKey='{}')", self.table(), literal(partition), literal(key))
    }

    /// One page of a range. The query is the same for every page of it.
    pub fn page(&self, partition: &str, range: &KeyRange, next: Option<&NextPage>, parts: RowParts) -> Url {
        let mut url = self.below(&format!("{}()", self.table));
        let filter = format!(
            "PartitionKey%20eq%20'{}'%20and%20RowKey%20ge%20'{}'%20and%20RowKey%20lt%20'{}'",
            literal(partition),
            literal(&range.from),
            literal(&range.to)
        );
        let after = next.filter(|next| !next.goes_on()).and_then(|next| next.after.as_deref());
        let after = after.map(|key| format!("%20and%20RowKey%20gt%20'{}'", literal(key)));
        let mut query = format!("$filter={filter}{}&$top={}", after.unwrap_or_default(), range.rows_max);
        if parts == RowParts::Key {
            query.push_str("&$select=RowKey");
        }
        if let Some(next) = next {
            for (name, value) in [("NextPartitionKey", &next.partition), ("NextRowKey", &next.row)] {
                if let Some(value) = value {
                    let _ = write!(query, "&{name}={}", encode(value));
                }
            }
        }
        url.set_query(Some(&query));
        url
    }
}

/// A key between quotes in a URL: quotes doubled, then encoded.
fn literal(key: &str) -> String {
    encode(&key.replace('\'', "''"))
}

/// Everything but what RFC 2396 2.3 calls unreserved: the service signs the path with those decoded, whatever was sent.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => encoded.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' => encoded.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

/// Where the next page begins: the continuation of the service, and the last key, because a continuation may expire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextPage {
    pub partition: Option<String>,
    /// Absent at times, though there is a next page.
    pub row: Option<String>,
    pub after: Option<String>,
}

impl NextPage {
    /// Reads a continuation that [`NextPage::continuation`] wrote.
    pub fn parse(continuation: &PageContinuation) -> Result<Self, TableError> {
        let parts: Vec<_> = continuation.0.split(SEPARATOR).map(part).collect();
        match <[_; 3]>::try_from(parts) {
            Ok([Some(partition), Some(row), Some(after)]) => Ok(Self { partition, row, after }),
            _ => {
                Err(TableError::Invalid { rule: "the continuation is not one that was given out".to_owned() })
            }
        }
    }

    /// As the caller carries it: each part begins with `+` when it is there, and is `-` when it is not.
    pub fn continuation(&self) -> PageContinuation {
        let text = |part: &Option<String>| part.as_ref().map_or("-".to_owned(), |part| format!("+{part}"));
        PageContinuation([&self.partition, &self.row, &self.after].map(text).join(&SEPARATOR.to_string()))
    }

    /// The service's own continuation is in it.
    fn goes_on(&self) -> bool {
        self.partition.is_some() || self.row.is_some()
    }

    /// The same position by the last key only.
    pub fn without_continuation(&self) -> Self {
        Self { partition: None, row: None, after: self.after.clone() }
    }

    /// A row that was answered before: the service went back.
    pub fn has_seen(&self, row: &TableRow) -> bool {
        self.after.as_ref().is_some_and(|after| row.key.encode_utf16().le(after.encode_utf16()))
    }
}

/// `None`: this is not such a part.
fn part(text: &str) -> Option<Option<String>> {
    match text.strip_prefix('+') {
        Some(part) => Some(Some(part.to_owned())),
        None => (text == "-").then_some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> TableAddress {
        TableAddress::new(&Url::parse("http://127.0.0.1:10002/account/").unwrap(), "scim").unwrap()
    }

    fn range() -> KeyRange {
        KeyRange { from: "u:".to_owned(), to: "u;".to_owned(), rows_max: 7, continuation: None }
    }

    #[test]
    fn keys_are_quoted_and_encoded() {
        assert_eq!(
            address().row("de-1", "a'b c/é"),
            "http://127.0.0.1:10002/account/scim(PartitionKey='de-1',RowKey='a''b%20c%2F%C3%A9')"
        );
    }

    #[test]
    fn a_page_asks_for_a_range_of_one_partition() {
        let page = address().page("p", &range(), None, RowParts::All);
        assert_eq!(page.path(), "/account/scim()");
        assert_eq!(
            page.query().unwrap().replace("%20", " ").replace("%27", "'"),
            "$filter=PartitionKey eq 'p' and RowKey ge 'u%3A' and RowKey lt 'u%3B'&$top=7"
        );
    }

    #[test]
    fn the_next_page_is_asked_for_by_what_the_service_said_or_by_the_last_key() {
        let next =
            NextPage { partition: Some("1!4!cA--".to_owned()), row: None, after: Some("u:1".to_owned()) };
        let query = address().page("p", &range(), Some(&next), RowParts::All).query().unwrap().to_owned();
        assert!(query.ends_with("&$top=7&NextPartitionKey=1!4!cA--"), "{query}");
        assert!(!query.contains("gt"), "{query}");
        let restarted = address().page("p", &range(), Some(&next.without_continuation()), RowParts::All);
        assert!(restarted.query().unwrap().contains("%20and%20RowKey%20gt%20"), "{restarted}");
        assert!(!restarted.query().unwrap().contains("Next"), "{restarted}");
    }

    #[test]
    fn a_continuation_reads_back_and_another_text_is_refused() {
        for next in [
            NextPage { partition: None, row: None, after: None },
            NextPage {
                partition: Some(String::new()),
                row: Some("-".to_owned()),
                after: Some("+k".to_owned()),
            },
        ] {
            assert_eq!(NextPage::parse(&next.continuation()).unwrap(), next);
        }
        for text in ["", "k", "-\n-", "-\n-\n-\n-", "a\n-\n-"] {
            assert!(NextPage::parse(&PageContinuation(text.to_owned())).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_table_has_a_plain_name() {
        let endpoint = Url::parse("http://127.0.0.1:1").unwrap();
        for name in ["", "ab", "1ab", "a-b", "a/b", "tablé", &"a".repeat(64)] {
            assert!(TableAddress::new(&endpoint, name).is_err(), "{name}");
        }
        assert_eq!(TableAddress::new(&endpoint, "scim").unwrap().table(), "http://127.0.0.1:1/scim");
    }
}
