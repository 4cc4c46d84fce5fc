//! Queries (RFC 7644 section 3.4.2): filter, order, page; and the list that answers them.

use crate::scim::error::Error;
use crate::scim::filter::Filter;
use crate::scim::json_object::member;
use crate::scim::projection::Projection;
use crate::scim::quoted_text::quoted;
use crate::scim::schema::ResourceType;
use crate::scim::sort_order::SortOrder;
use crate::scim::urn;
use serde_json::{Value, json};
use std::time::Duration;

/// The most resources on a page.
pub const COUNT_MAX: usize = 1000;
/// How many resources are on a page of which the client did not say how many.
pub const COUNT_DEFAULT: usize = 100;
/// How long a cursor is taken after it was given (RFC 9865).
pub const CURSOR_TIMEOUT: Duration = Duration::from_secs(3600);

/// The members of a search that mean something here (RFC 7644 section 3.4.3, RFC 9865).
const SEARCH_MEMBERS: [&str; 8] =
    ["filter", "sortBy", "sortOrder", "startIndex", "count", "cursor", "attributes", "excludedAttributes"];

/// What a client asks a collection.
#[derive(Debug, Clone)]
pub struct ListQuery {
    pub paging: Paging,
    /// At most how many.
    pub count: usize,
    /// What names the query across its pages: a cursor is for no other.
    pub identity: QueryIdentity,
    users: Option<TypeQuery>,
    groups: Option<TypeQuery>,
}

/// Which page is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paging {
    /// The first resource of the page, counted from 1.
    Index { start: usize },
    /// The text that an earlier page gave; `None`: the first page (RFC 9865).
    Cursor(Option<String>),
}

/// What a query asks of the resources of one type.
#[derive(Debug, Clone)]
pub struct TypeQuery {
    /// Which resources.
    pub filter: Option<Filter>,
    /// In which order.
    pub sort: Option<SortOrder>,
    /// Which attributes of them.
    pub projection: Projection,
}

/// Where and what a query asks, as the client wrote it. Every page of a walk repeats it (RFC 9865).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryIdentity {
    pub endpoint: &'static str,
    pub filter: String,
    pub sort_by: String,
    pub sort_order: String,
}

/// The decoded parameters of a query.
struct QueryPairs<'a>(&'a [(String, String)]);

impl<'a> QueryPairs<'a> {
    fn given(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// An empty value is none.
    fn some(&self, name: &str) -> Option<&'a str> {
        self.given(name).filter(|value| !value.is_empty())
    }

    /// What is asked of the resources of one type alone.
    fn of_type(&self, kind: ResourceType) -> Result<TypeQuery, Error> {
        let filter = self.filter().map(|text| Filter::parse(kind, text)).transpose()?;
        let sort = self.sort().map(|(by, order)| SortOrder::parse(kind, by, order)).transpose()?;
        Ok(TypeQuery { filter, sort, projection: self.projection(kind)? })
    }

    /// What is asked of the resources of one type, where those of all are asked for.
    fn of_type_among_all(&self, kind: ResourceType) -> Result<TypeQuery, Error> {
        let filter = self.filter().map(|text| Filter::parse_among_all(kind, text)).transpose()?;
        let sort = self.sort().map(|(by, order)| SortOrder::parse_among_all(kind, by, order)).transpose()?;
        Ok(TypeQuery { filter, sort, projection: self.projection(kind)? })
    }

    /// An empty filter counts: it would list every resource to a client that meant to find one.
    fn filter(&self) -> Option<&'a str> {
        self.given("filter")
    }

    fn sort(&self) -> Option<(&'a str, Option<&'a str>)> {
        Some((self.some("sortBy")?, self.some("sortOrder")))
    }

    fn projection(&self, kind: ResourceType) -> Result<Projection, Error> {
        Projection::parse(kind, self.some("attributes"), self.some("excludedAttributes"))
    }

    /// The page, and at most how many there are on it.
    fn paging(&self) -> Result<(Paging, usize), Error> {
        let start = self.some("startIndex");
        match self.given("cursor") {
            None => {
                let start = number("startIndex", start)?.unwrap_or(1).max(1);
                let count = number("count", self.some("count"))?.unwrap_or(COUNT_DEFAULT);
                Ok((Paging::Index { start }, count.min(COUNT_MAX)))
            }
            Some(_) if start.is_some() => {
                Err(Error::invalid_value("startIndex and cursor are two ways to page; send one of them"))
            }
            Some(cursor) => {
                let cursor = Some(cursor).filter(|cursor| !cursor.is_empty()).map(str::to_owned);
                Ok((Paging::Cursor(cursor), cursor_count(self.some("count"))?))
            }
        }
    }

    fn identity(&self, endpoint: &'static str) -> QueryIdentity {
        let text = |name| self.some(name).unwrap_or_default().to_owned();
        QueryIdentity {
            endpoint,
            filter: text("filter"),
            sort_by: text("sortBy"),
            sort_order: text("sortOrder"),
        }
    }
}

impl ListQuery {
    /// Reads the decoded pairs of a query string. Unknown parameters are ignored (scenario entra-unknown-query-parameters).
    pub fn from_pairs(kind: ResourceType, pairs: &[(String, String)]) -> Result<Self, Error> {
        let pairs = QueryPairs(pairs);
        let query = pairs.of_type(kind)?;
        let (paging, count) = pairs.paging()?;
        let (users, groups) = match kind {
            ResourceType::User => (Some(query), None),
            ResourceType::Group => (None, Some(query)),
        };
        Ok(Self { paging, count, identity: pairs.identity(kind.endpoint()), users, groups })
    }

    /// The same for the resources of all types together (RFC 7644 section 3.4.2.1).
    pub fn for_all_types(pairs: &[(String, String)]) -> Result<Self, Error> {
        let pairs = QueryPairs(pairs);
        let users = Some(pairs.of_type_among_all(ResourceType::User)?);
        let groups = Some(pairs.of_type_among_all(ResourceType::Group)?);
        let (paging, count) = pairs.paging()?;
        Ok(Self { paging, count, identity: pairs.identity(""), users, groups })
    }

    /// Reads the body of `POST /.search` at the base URL.
    pub fn for_all_types_from_search(body: &Value) -> Result<Self, Error> {
        Self::for_all_types(&search_pairs(body)?)
    }

    /// Reads the body of `POST /Users/.search` or `POST /Groups/.search` (RFC 7644 section 3.4.3).
    pub fn from_search(kind: ResourceType, body: &Value) -> Result<Self, Error> {
        Self::from_pairs(kind, &search_pairs(body)?)
    }

    /// What is asked of the resources of that type; `None`: they are not listed.
    pub fn of(&self, kind: ResourceType) -> Option<&TypeQuery> {
        match kind {
            ResourceType::User => self.users.as_ref(),
            ResourceType::Group => self.groups.as_ref(),
        }
    }

    /// The types that are listed, in the order of a list that is not sorted.
    pub fn types(&self) -> impl Iterator<Item = (ResourceType, &TypeQuery)> {
        [ResourceType::User, ResourceType::Group].into_iter().filter_map(|kind| Some((kind, self.of(kind)?)))
    }

    /// In which order; every type has the same.
    pub fn sort(&self) -> Option<&SortOrder> {
        self.types().find_map(|(_, query)| query.sort.as_ref())
    }

    /// Everything is listed, in the order of the ids.
    pub fn lists_all(&self) -> bool {
        self.types().all(|(_, query)| query.filter.is_none() && query.sort.is_none())
    }
}

/// The members of a search body as a query string has them.
fn search_pairs(body: &Value) -> Result<Vec<(String, String)>, Error> {
    let Some(body) = body.as_object() else {
        return Err(Error::invalid_syntax("the body of a search must be a JSON object"));
    };
    let mut pairs = Vec::with_capacity(SEARCH_MEMBERS.len());
    for name in SEARCH_MEMBERS {
        if let Some(value) = member(body, name).filter(|value| !value.is_null()) {
            pairs.push((name.to_owned(), plain(name, value)?));
        }
    }
    Ok(pairs)
}

/// A member of a search body as the query string has it.
fn plain(name: &str, value: &Value) -> Result<String, Error> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Array(list) => {
            let names: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            names
                .map(|names| names.join(","))
                .ok_or_else(|| Error::invalid_value(format!("{name} must be a list of texts")))
        }
        Value::Null | Value::Bool(_) | Value::Object(_) => {
            Err(Error::invalid_value(format!("{name} has a value of the wrong type")))
        }
    }
}

/// A whole number; a negative one counts as 0 (RFC 7644 section 3.4.2.4).
fn number(name: &str, text: Option<&str>) -> Result<Option<usize>, Error> {
    let Some(text) = text else { return Ok(None) };
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(Error::invalid_value(format!("{name} must be a whole number, not {}", quoted(text))));
    }
    let size = digits.parse().unwrap_or(usize::MAX);
    Ok(Some(if text.starts_with('-') { 0 } else { size }))
}

/// The size of a page that is asked for with a cursor: at least one (RFC 9865). More than there may be on a page means as many as
/// there may be.
fn cursor_count(text: Option<&str>) -> Result<usize, Error> {
    let invalid = || Error::invalid_count(format!("count must be a whole number from 1 to {COUNT_MAX}"));
    match number("count", text) {
        Ok(None) => Ok(COUNT_DEFAULT),
        Ok(Some(count)) if count > 0 => Ok(count.min(COUNT_MAX)),
        Ok(Some(_)) | Err(_) => Err(invalid()),
    }
}

/// The cursors of a page (RFC 9865): what leads to the pages beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageCursors {
    pub next: Option<String>,
    pub previous: Option<String>,
}

/// The text of a list response around its resources: it can be sent piece by piece, and says at its end how many there were.
#[derive(Debug, Default)]
pub struct ListText {
    items: usize,
}

impl ListText {
    /// The text before the first resource.
    pub fn open_list(total: usize, paging: &Paging) -> (Self, String) {
        let start_index = match paging {
            Paging::Index { start } => format!(r#""startIndex":{start},"#),
            Paging::Cursor(_) => String::new(),
        };
        let head = format!(
            r#"{{"schemas":["{}"],"totalResults":{total},{start_index}"Resources":["#,
            urn::LIST_RESPONSE
        );
        (Self::default(), head)
    }

    /// What comes before the next resource.
    pub fn separator(&mut self) -> &'static str {
        self.items += 1;
        if self.items == 1 { "" } else { "," }
    }

    /// The text after the last resource. Cursors need no escaping.
    pub fn end(self, cursors: &PageCursors) -> String {
        let member = |name: &str, cursor: &Option<String>| match cursor {
            Some(cursor) => format!(r#","{name}":"{cursor}""#),
            None => String::new(),
        };
        let next = member("nextCursor", &cursors.next);
        let previous = member("previousCursor", &cursors.previous);
        format!(r#"],"itemsPerPage":{}{next}{previous}}}"#, self.items)
    }
}

/// The answer to a query: one page of `total` resources (RFC 7644 section 3.4.2).
pub fn list_response(total: usize, start_index: usize, resources: Vec<Value>) -> Value {
    json!({
        "schemas": [urn::LIST_RESPONSE],
        "totalResults": total,
        "startIndex": start_index,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::error::ScimType;
    use ResourceType::User;

    fn query(pairs: &[(&str, &str)]) -> Result<ListQuery, Error> {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        ListQuery::from_pairs(User, &pairs)
    }

    #[track_caller]
    fn pages(pairs: &[(&str, &str)], start: usize, count: usize) {
        let query = query(pairs).unwrap();
        assert_eq!((query.paging, query.count), (Paging::Index { start }, count), "{pairs:?}");
    }

    #[track_caller]
    fn walks(pairs: &[(&str, &str)], cursor: Option<&str>, count: usize) {
        let query = query(pairs).unwrap();
        let paging = Paging::Cursor(cursor.map(str::to_owned));
        assert_eq!((query.paging, query.count), (paging, count), "{pairs:?}");
    }

    #[test]
    fn pages_are_bounded() {
        pages(&[], 1, 100);
        pages(&[("startIndex", "4"), ("count", "3")], 4, 3);
        pages(&[("count", "0")], 1, 0);
        pages(&[("count", "-5"), ("startIndex", "-3")], 1, 0);
        pages(&[("startIndex", "0"), ("count", "5000")], 1, COUNT_MAX);
        pages(&[("startIndex", "99999999999999999999999")], usize::MAX, 100);
        pages(&[("aadOptscim062020", ""), ("count", "")], 1, 100);
    }

    #[test]
    fn a_cursor_that_is_given_means_paging_by_cursors() {
        walks(&[("cursor", ""), ("count", ""), ("startIndex", "")], None, 100);
        walks(&[("Cursor", "abc"), ("count", "3")], Some("abc"), 3);
        walks(&[("cursor", ""), ("count", "5000")], None, COUNT_MAX);
        let counts = ["0", "-1", "x", "1.5"];
        for count in counts {
            let error = query(&[("cursor", ""), ("count", count)]).unwrap_err();
            assert_eq!((error.status, error.scim_type), (400, Some(ScimType::InvalidCount)), "{count}");
        }
        for cursor in ["", "abc"] {
            let error = query(&[("cursor", cursor), ("startIndex", "1")]).unwrap_err();
            assert_eq!((error.status, error.scim_type), (400, Some(ScimType::InvalidValue)), "{cursor}");
        }
    }

    #[track_caller]
    fn refuses(pairs: &[(&str, &str)], scim_type: ScimType, detail: &str) {
        let error = query(pairs).unwrap_err();
        assert_eq!((error.scim_type, error.detail.as_str()), (Some(scim_type), detail));
    }

    #[test]
    fn wrong_parameters_are_named() {
        refuses(&[("count", "many")], ScimType::InvalidValue, "count must be a whole number, not \"many\"");
        refuses(
            &[("startIndex", "-")],
            ScimType::InvalidValue,
            "startIndex must be a whole number, not \"-\"",
        );
        refuses(
            &[("sortBy", "shoeSize")],
            ScimType::InvalidPath,
            "sortBy must name an attribute that can be compared, not \"shoeSize\"",
        );
        refuses(
            &[("sortBy", "name")],
            ScimType::InvalidPath,
            "sortBy must name an attribute that can be compared, not \"name\"",
        );
        refuses(
            &[("sortBy", "title"), ("sortOrder", "up")],
            ScimType::InvalidValue,
            "sortOrder is ascending or descending, not \"up\"",
        );
        for filter in ["x", "", " ", "members.display eq \"Kim\""] {
            assert_eq!(query(&[("filter", filter)]).unwrap_err().scim_type, Some(ScimType::InvalidFilter));
        }
    }

    #[test]
    fn a_search_body_is_a_query() {
        let body = json!({"filter": "title pr", "attributes": ["userName", "title"], "startIndex": 2, "count": 2, "sortBy": null});
        let query = ListQuery::from_search(User, &body).unwrap();
        assert_eq!((query.paging.clone(), query.count), (Paging::Index { start: 2 }, 2));
        let users = query.of(User).unwrap();
        assert!(users.filter.is_some() && users.sort.is_none());
        assert!(users.projection.wants("title") && !users.projection.wants("name"));
        assert!(query.of(ResourceType::Group).is_none());
        let body = json!({"filter": null, "count": null, "cursor": null});
        let query = ListQuery::from_search(User, &body).unwrap();
        assert!(query.lists_all() && query.paging == Paging::Index { start: 1 });
        let body = json!({"cursor": ""});
        assert_eq!(ListQuery::from_search(User, &body).unwrap().paging, Paging::Cursor(None));
        for wrong in [
            json!([]),
            json!({"filter": ""}),
            json!({"attributes": [1]}),
            json!({"count": true}),
            json!({"count": 1.5}),
        ] {
            assert!(ListQuery::from_search(User, &wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_query_about_all_types_is_one_for_each() {
        let pairs =
            [("filter", "userName eq \"ana\""), ("sortBy", "members.value"), ("attributes", "members,title")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let query = ListQuery::for_all_types(&pairs).unwrap();
        let wanted: Vec<_> = query
            .types()
            .map(|(kind, query)| (kind, query.projection.wants("members"), query.projection.wants("title")))
            .collect();
        assert_eq!(wanted, [(User, false, true), (ResourceType::Group, true, false)]);
        assert_eq!(query.identity.endpoint, "");
        for (wrong, scim_type) in [
            (json!({"filter": "shoeSize pr"}), ScimType::InvalidFilter),
            (json!({"filter": ""}), ScimType::InvalidFilter),
            (json!({"sortBy": "shoeSize"}), ScimType::InvalidPath),
            (json!({"cursor": "", "count": 0}), ScimType::InvalidCount),
        ] {
            let error = ListQuery::for_all_types_from_search(&wrong).unwrap_err();
            assert_eq!(error.scim_type, Some(scim_type), "{wrong}");
        }
    }

    #[test]
    fn a_list_in_pieces_is_the_same_list() {
        for resources in [vec![], vec![json!({"id": "1"})], vec![json!({"id": "1"}), json!({"id": "2"})]] {
            let (mut text, mut whole) = ListText::open_list(7, &Paging::Index { start: 4 });
            for resource in &resources {
                whole = whole + text.separator() + &resource.to_string();
            }
            whole += &text.end(&PageCursors::default());
            let whole: Value = serde_json::from_str(&whole).unwrap();
            assert_eq!(whole, list_response(7, 4, resources));
        }
    }

    #[test]
    fn a_page_between_cursors_names_them_and_no_start_index() {
        let cursors = PageCursors { next: Some("n".to_owned()), previous: Some("p".to_owned()) };
        let (text, whole) = ListText::open_list(7, &Paging::Cursor(None));
        let whole: Value = serde_json::from_str(&(whole + &text.end(&cursors))).unwrap();
        assert_eq!(
            whole,
            json!({
                "schemas": [urn::LIST_RESPONSE], "totalResults": 7, "itemsPerPage": 0, "Resources": [],
                "nextCursor": "n", "previousCursor": "p",
            })
        );
    }

    #[test]
    fn a_list_counts_what_is_on_the_page() {
        let list = list_response(7, 4, vec![json!({"id": "1"})]);
        assert_eq!(
            list,
            json!({"schemas": [urn::LIST_RESPONSE], "totalResults": 7, "startIndex": 4, "itemsPerPage": 1, "Resources": [{"id": "1"}]})
        );
    }
}
