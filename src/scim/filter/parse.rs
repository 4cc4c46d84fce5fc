//! Text to filter (RFC 7644 section 3.4.2.2), and the paths of PATCH, which contain filters.
//!
//! Hand-written and recursive; the depth is counted while parsing, so no input can exhaust the stack.

use crate::id::UserId;
use crate::scim::attr_path::AttrPath;
use crate::scim::compare::{self, CaseMode};
use crate::scim::date_time;
use crate::scim::filter::eval::{self, TextMatching};
use crate::scim::filter::lex::{self, FilterToken, PlacedToken};
use crate::scim::filter::parse_error::{DEPTH_MAX, NODES_MAX, ParseError, ParseErrorKind};
use crate::scim::filter::tree::{CompareOp, Filter, FilterExpr, FilterLiteral};
use crate::scim::quoted_text::quoted;
use crate::scim::schema::{Attribute, AttributeType, ResourceType, Returned};
use serde_json::{Value, json};

/// An attribute, or the elements of it that a filter in brackets selects (RFC 7644 section 3.5.2, figure 7).
pub(in crate::scim) struct ValuePath {
    pub attribute: AttrPath,
    /// The filter in brackets.
    pub filter: Option<Filter>,
    /// The sub-attribute after the brackets.
    pub sub: Option<&'static Attribute>,
}

/// A whole filter over resources of that kind.
pub(super) fn parse_filter(kind: ResourceType, text: &str) -> Result<Filter, ParseError> {
    whole_filter(NameScope::Resource(kind), text)
}

/// A filter over resources of all kinds, as it is to be read for those of that kind.
pub(super) fn parse_filter_among_all(kind: ResourceType, text: &str) -> Result<Filter, ParseError> {
    whole_filter(NameScope::AmongAll(kind), text)
}

fn whole_filter(names: NameScope, text: &str) -> Result<Filter, ParseError> {
    let mut parser = Parser::new(text, names)?;
    let expr = parser.or()?;
    parser.end()?;
    Ok(Filter { expr })
}

/// A PATCH path, other than the URN of a schema.
pub(in crate::scim) fn parse_value_path(kind: ResourceType, text: &str) -> Result<ValuePath, ParseError> {
    let mut parser = Parser::new(text, NameScope::Resource(kind))?;
    let (attribute, at) = parser.attribute()?;
    let mut path = ValuePath { attribute, filter: None, sub: None };
    if parser.eat(&FilterToken::OpenBracket) {
        if !attribute.attribute.multi_valued {
            return Err(ParseError { at, kind: ParseErrorKind::NoParts { name: attribute.to_string() } });
        }
        path.filter = Some(Filter { expr: parser.inside(attribute, at)? });
        path.sub = parser.sub_after_bracket(attribute)?.map(|path| path.attribute);
    }
    parser.end()?;
    Ok(path)
}

/// Where names are looked up.
#[derive(Clone, Copy)]
enum NameScope {
    Resource(ResourceType),
    /// The same, but what only the other kind has is unassigned.
    AmongAll(ResourceType),
    Element(&'static Attribute),
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<PlacedToken>>,
    names: NameScope,
    /// The last name is of the other kind.
    is_foreign: bool,
    depth: usize,
    nodes: usize,
    end: usize,
}

impl Parser {
    fn new(text: &str, names: NameScope) -> Result<Self, ParseError> {
        let tokens = lex::tokens(text)?;
        Ok(Self {
            tokens: tokens.into_iter().peekable(),
            names,
            is_foreign: false,
            depth: 0,
            nodes: 0,
            end: text.chars().count() + 1,
        })
    }

    fn or(&mut self) -> Result<FilterExpr, ParseError> {
        let mut parts = vec![self.and()?];
        while self.eat_word("or") {
            parts.push(self.and()?);
        }
        Ok(FilterExpr::or(parts))
    }

    fn and(&mut self) -> Result<FilterExpr, ParseError> {
        let mut parts = vec![self.factor()?];
        while self.eat_word("and") {
            parts.push(self.factor()?);
        }
        Ok(FilterExpr::and(parts))
    }

    fn factor(&mut self) -> Result<FilterExpr, ParseError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(self.here(ParseErrorKind::TooManyTerms));
        }
        if self.eat(&FilterToken::Open) {
            return self.group();
        }
        let name = self.tokens.peek().cloned();
        if self.eat_word("not") {
            return match self.eat(&FilterToken::Open) {
                true => Ok(FilterExpr::Not(Box::new(self.group()?))),
                false => Err(self.not_a_name(name)),
            };
        }
        self.term()
    }

    /// The expression in parentheses, after the opening one.
    fn group(&mut self) -> Result<FilterExpr, ParseError> {
        self.deeper()?;
        let expr = self.or()?;
        self.depth -= 1;
        self.close(&FilterToken::Close, ')')?;
        Ok(expr)
    }

    /// `name op literal`, `name pr`, or `name[…]`, which may be followed by a comparison of one of its parts.
    fn term(&mut self) -> Result<FilterExpr, ParseError> {
        let (path, at) = self.attribute()?;
        let known = self.known_of_all(path);
        if path.attribute.returned == Returned::Never {
            return Err(ParseError { at, kind: ParseErrorKind::NotFilterable { name: path.to_string() } });
        }
        let term = if self.eat(&FilterToken::OpenBracket) {
            let inside = self.inside(path, at)?;
            let inside = match self.sub_after_bracket(path)? {
                Some(sub) => FilterExpr::and(vec![inside, self.comparison(sub, at)?]),
                None => inside,
            };
            FilterExpr::Has(path, Box::new(inside))
        } else {
            self.comparison(path, at)?
        };
        Ok(match known {
            None => term,
            Some(known) => FilterExpr::Constant {
                holds: eval::matches(&term, &known, TextMatching::ByKey),
                term: Box::new(term),
            },
        })
    }

    /// What every resource of the kind has there, in a search over all kinds: its type, and nothing where only the other kind
    /// has the attribute.
    fn known_of_all(&self, path: AttrPath) -> Option<Value> {
        let NameScope::AmongAll(kind) = self.names else { return None };
        let is_type = path.attribute.name == "meta" && path.sub.is_some_and(|sub| sub.name == "resourceType");
        match self.is_foreign {
            true => Some(Value::Null),
            false => is_type.then(|| json!({"meta": {"resourceType": kind.name()}})),
        }
    }

    /// The filter in brackets, after the opening one; names in it are sub-attributes of `of`.
    fn inside(&mut self, of: AttrPath, at: usize) -> Result<FilterExpr, ParseError> {
        if of.sub.is_some() || of.attribute.sub_attributes.is_empty() {
            return Err(ParseError { at, kind: ParseErrorKind::NoParts { name: of.to_string() } });
        }
        self.deeper()?;
        let outer = std::mem::replace(&mut self.names, NameScope::Element(of.attribute));
        let expr = self.or()?;
        self.names = outer;
        self.depth -= 1;
        self.close(&FilterToken::CloseBracket, ']')?;
        Ok(expr)
    }

    /// `.value` after a closing bracket.
    fn sub_after_bracket(&mut self, of: AttrPath) -> Result<Option<AttrPath>, ParseError> {
        let after = self
            .tokens
            .next_if(|next| matches!(&next.token, FilterToken::Word(word) if word.starts_with('.')));
        let Some(PlacedToken { token: FilterToken::Word(word), at }) = after else { return Ok(None) };
        let name = word.trim_start_matches('.');
        match AttrPath::resolve_sub(of.attribute, name) {
            Some(path) => Ok(Some(path)),
            None => Err(unknown(&format!("{of}.{name}"), at)),
        }
    }

    fn comparison(&mut self, path: AttrPath, at: usize) -> Result<FilterExpr, ParseError> {
        let found = self.tokens.next();
        let op = match &found {
            Some(PlacedToken { token: FilterToken::Word(word), .. }) => CompareOp::parse(word),
            _ => None,
        };
        let present = matches!(&found, Some(PlacedToken { token: FilterToken::Word(word), .. }) if word.eq_ignore_ascii_case("pr"));
        match op {
            _ if present => Ok(FilterExpr::Present(path)),
            None => Err(self.unexpected(found, |found| ParseErrorKind::NotAnOperator { found })),
            Some(op) => {
                let value = self.literal(path, op, at)?;
                Ok(FilterExpr::Compare(path, op, value))
            }
        }
    }

    fn literal(&mut self, path: AttrPath, op: CompareOp, at: usize) -> Result<FilterLiteral, ParseError> {
        let found = self.tokens.next();
        let raw = match &found {
            Some(PlacedToken { token: FilterToken::Text(text), .. }) => RawLiteral::Text(text.clone()),
            Some(PlacedToken { token: FilterToken::Word(word), .. }) => {
                match word.to_ascii_lowercase().as_str() {
                    "true" => RawLiteral::Boolean(true),
                    "false" => RawLiteral::Boolean(false),
                    "null" => RawLiteral::Null,
                    _ => return Err(self.unexpected(found, |found| ParseErrorKind::NotALiteral { found })),
                }
            }
            _ => return Err(self.unexpected(found, |found| ParseErrorKind::NotALiteral { found })),
        };
        raw.for_attribute(path, op).map_err(|kind| ParseError { at, kind })
    }

    fn attribute(&mut self) -> Result<(AttrPath, usize), ParseError> {
        let found = self.tokens.next();
        let Some(PlacedToken { token: FilterToken::Word(name), at }) = &found else {
            return Err(self.not_a_name(found));
        };
        let own = match self.names {
            NameScope::Resource(kind) | NameScope::AmongAll(kind) => AttrPath::resolve(kind, name),
            NameScope::Element(attribute) => AttrPath::resolve_sub(attribute, name),
        };
        self.is_foreign = own.is_none();
        let path = match self.names {
            NameScope::AmongAll(kind) => own.or_else(|| AttrPath::resolve(kind.other(), name)),
            NameScope::Resource(_) | NameScope::Element(_) => own,
        };
        match path {
            Some(path) => Ok((path, *at)),
            None => Err(unknown(name, *at)),
        }
    }

    fn deeper(&mut self) -> Result<(), ParseError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(self.here(ParseErrorKind::TooDeep)) } else { Ok(()) }
    }

    fn eat(&mut self, token: &FilterToken) -> bool {
        self.tokens.next_if(|next| next.token == *token).is_some()
    }

    fn eat_word(&mut self, wanted: &str) -> bool {
        self.tokens
            .next_if(
                |next| matches!(&next.token, FilterToken::Word(word) if word.eq_ignore_ascii_case(wanted)),
            )
            .is_some()
    }

    fn close(&mut self, token: &FilterToken, wanted: char) -> Result<(), ParseError> {
        if self.eat(token) {
            return Ok(());
        }
        let found = self.tokens.next();
        Err(self.unexpected(found, |found| ParseErrorKind::NotClosed { wanted, found }))
    }

    fn end(&mut self) -> Result<(), ParseError> {
        match self.tokens.next() {
            None => Ok(()),
            found => Err(self.unexpected(found, |found| ParseErrorKind::Trailing { found })),
        }
    }

    fn not_a_name(&self, found: Option<PlacedToken>) -> ParseError {
        self.unexpected(found, |found| ParseErrorKind::NotAName { found })
    }

    fn unexpected(&self, found: Option<PlacedToken>, kind: impl Fn(String) -> ParseErrorKind) -> ParseError {
        match found {
            None => ParseError { at: self.end, kind: kind("the text ends".to_owned()) },
            Some(PlacedToken { token, at }) => ParseError { at, kind: kind(token.to_string()) },
        }
    }

    fn here(&mut self, kind: ParseErrorKind) -> ParseError {
        let at = self.tokens.peek().map_or(self.end, |next| next.at);
        ParseError { at, kind }
    }
}

fn unknown(name: &str, at: usize) -> ParseError {
    const SHOWN_MAX: usize = 100;
    ParseError { at, kind: ParseErrorKind::UnknownAttribute { name: name.chars().take(SHOWN_MAX).collect() } }
}

/// A literal before it is known what it is compared with.
enum RawLiteral {
    Null,
    Boolean(bool),
    Text(String),
}

impl RawLiteral {
    /// Checks operator and type against the table: what cannot be compared is an error, not a filter that never matches.
    fn for_attribute(self, path: AttrPath, op: CompareOp) -> Result<FilterLiteral, ParseErrorKind> {
        let leaf = path.leaf();
        if let RawLiteral::Null = self {
            return if op.is_equality() { Ok(FilterLiteral::Null) } else { Err(wrong_operator(path, op)) };
        }
        match leaf.kind {
            AttributeType::Complex => Err(ParseErrorKind::NoValue { name: path.to_string() }),
            AttributeType::Boolean if op.is_equality() => self.boolean(path),
            AttributeType::Boolean => Err(wrong_operator(path, op)),
            AttributeType::Binary if op.is_order() => Err(wrong_operator(path, op)),
            AttributeType::DateTime if !op.is_part() => self.instant(path),
            AttributeType::DateTime
            | AttributeType::String
            | AttributeType::Reference
            | AttributeType::Binary => self.text(path, leaf),
        }
    }

    fn boolean(self, path: AttrPath) -> Result<FilterLiteral, ParseErrorKind> {
        match self {
            RawLiteral::Boolean(value) => Ok(FilterLiteral::Boolean(value)),
            RawLiteral::Text(text) if text.eq_ignore_ascii_case("true") => Ok(FilterLiteral::Boolean(true)),
            RawLiteral::Text(text) if text.eq_ignore_ascii_case("false") => Ok(FilterLiteral::Boolean(false)),
            other => Err(other.wrong_type(path, "boolean")),
        }
    }

    fn instant(self, path: AttrPath) -> Result<FilterLiteral, ParseErrorKind> {
        match self {
            RawLiteral::Text(written) => match date_time::parse(&written) {
                Some(at) => Ok(FilterLiteral::Instant { written, at }),
                None => Err(RawLiteral::Text(written)
                    .wrong_type(path, "date and time (such as 2026-01-31T08:00:00Z)")),
            },
            other => Err(other.wrong_type(path, "date and time")),
        }
    }

    fn text(self, path: AttrPath, leaf: &Attribute) -> Result<FilterLiteral, ParseErrorKind> {
        match self {
            RawLiteral::Text(written) => {
                let hidden = leaf.plain_text && compare::has_hidden(&written);
                let own_id = if leaf.own_id { UserId::parse(&written).ok() } else { None };
                let key =
                    own_id.map_or_else(|| compare::key(&written, CaseMode::of(leaf)), |id| id.to_string());
                let key = Some(key).filter(|key| !key.is_empty() && !hidden);
                Ok(FilterLiteral::Text { written, key })
            }
            other => Err(other.wrong_type(path, "text")),
        }
    }

    fn wrong_type(self, path: AttrPath, wanted: &'static str) -> ParseErrorKind {
        let found = match self {
            RawLiteral::Null => "null".to_owned(),
            RawLiteral::Boolean(value) => value.to_string(),
            RawLiteral::Text(text) => quoted(&text),
        };
        ParseErrorKind::WrongType { name: path.to_string(), wanted, found }
    }
}

fn wrong_operator(path: AttrPath, op: CompareOp) -> ParseErrorKind {
    ParseErrorKind::WrongOperator { name: path.to_string(), op }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuses(text: &str, message: &str) {
        assert_eq!(parse_filter(ResourceType::User, text).unwrap_err().to_string(), message);
    }

    #[test]
    fn every_mistake_has_its_own_message_and_place() {
        refuses("", "the text ends where the name of an attribute belongs at character 1");
        refuses(
            "userName eq",
            "the text ends where a value belongs (a quoted text, true, false or null) at character 12",
        );
        refuses(
            "userName xx \"a\"",
            "\"xx\" where an operator belongs (eq, ne, co, sw, ew, gt, ge, lt, le, pr) at character 10",
        );
        refuses("(userName eq \"a\"", "the text ends where a closing ) belongs at character 17");
        refuses("emails[type eq \"a\"", "the text ends where a closing ] belongs at character 19");
        refuses("userName eq \"a", "the quoted text is never closed; add a \" at character 13");
        refuses(
            r#"userName eq "a\q""#,
            "the quoted text is not a JSON string; escape quotes and backslashes with a backslash at character 13",
        );
        refuses("userName eq \"a\" foo", "\"foo\" after the end at character 17");
        refuses("userName eq \"a\" )", ") after the end at character 17");
        refuses(
            "userName eq \"a\" and",
            "the text ends where the name of an attribute belongs at character 20",
        );
        refuses("not userName eq \"a\"", "\"not\" where the name of an attribute belongs at character 1");
        refuses("eq \"a\"", "there is no attribute \"eq\" at character 1");
        refuses(
            "userName eq 5",
            "\"5\" where a value belongs (a quoted text, true, false or null) at character 13",
        );
        refuses("password eq \"a\"", "password cannot be filtered by at character 1");
        refuses("title[value eq \"a\"]", "title has no parts to filter by at character 1");
        refuses("emails[street eq \"a\"]", "there is no attribute \"street\" at character 8");
        refuses(
            "emails[type eq \"a\"].street eq \"a\"",
            "there is no attribute \"emails.street\" at character 20",
        );
        refuses(
            "name eq \"a\"",
            "name has no value to compare; name one of its sub-attributes at character 1",
        );
        refuses("active gt true", "active cannot be compared with gt at character 1");
        refuses("active co \"t\"", "active cannot be compared with co at character 1");
        refuses("x509Certificates gt \"t\"", "x509Certificates cannot be compared with gt at character 1");
        refuses("title gt null", "title cannot be compared with gt at character 1");
        refuses(
            "active eq \"maybe\"",
            "active is a boolean and cannot be compared with \"maybe\" at character 1",
        );
        refuses("title eq true", "title is a text and cannot be compared with true at character 1");
        assert!(
            parse_filter(ResourceType::User, "meta.created gt \"soon\"")
                .unwrap_err()
                .to_string()
                .contains("date and time")
        );
    }

    #[test]
    fn length_depth_and_terms_are_bounded() {
        let nested = |n: usize| format!("{}userName pr{}", "(".repeat(n), ")".repeat(n));
        assert!(parse_filter(ResourceType::User, &nested(DEPTH_MAX)).is_ok());
        refuses(&nested(DEPTH_MAX + 1), "nested deeper than 32 levels at character 34");
        let nots = format!("{}userName pr{}", "not (".repeat(1000), ")".repeat(1000));
        assert!(parse_filter(ResourceType::User, &nots).is_err());
        let terms = |n: usize| vec!["title pr"; n].join(" or ");
        assert!(parse_filter(ResourceType::User, &terms(NODES_MAX)).is_ok());
        assert_eq!(
            parse_filter(ResourceType::User, &terms(NODES_MAX + 1)).unwrap_err().kind,
            ParseErrorKind::TooManyTerms
        );
        assert_eq!(
            parse_filter(ResourceType::User, &"x".repeat(10_000)).unwrap_err().kind,
            ParseErrorKind::TooLong
        );
    }
}
