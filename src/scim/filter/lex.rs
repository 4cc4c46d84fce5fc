//! Cuts filter text into words, quoted texts and brackets.

use crate::scim::filter::parse_error::{LENGTH_MAX, ParseError, ParseErrorKind};
use crate::scim::quoted_text::quoted;
use std::fmt;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum FilterToken {
    /// A name, an operator, `true`, `null`: anything without quotes, brackets or blanks.
    Word(String),
    /// A quoted text, unescaped.
    Text(String),
    Open,
    Close,
    OpenBracket,
    CloseBracket,
}

/// A token and where it begins, counted in characters from 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PlacedToken {
    pub token: FilterToken,
    pub at: usize,
}

pub(super) fn tokens(text: &str) -> Result<Vec<PlacedToken>, ParseError> {
    if text.len() > LENGTH_MAX {
        return Err(ParseError { at: 1, kind: ParseErrorKind::TooLong });
    }
    let mut lexer = Lexer { rest: text.chars().collect::<Vec<_>>().into_iter(), at: 1 };
    let mut tokens = Vec::new();
    while let Some(placed) = lexer.next()? {
        tokens.push(placed);
    }
    Ok(tokens)
}

struct Lexer {
    rest: std::vec::IntoIter<char>,
    at: usize,
}

impl Lexer {
    fn next(&mut self) -> Result<Option<PlacedToken>, ParseError> {
        self.take_while(char::is_whitespace);
        let at = self.at;
        let Some(first) = self.peek() else { return Ok(None) };
        let token = match first {
            '(' => self.single(FilterToken::Open),
            ')' => self.single(FilterToken::Close),
            '[' => self.single(FilterToken::OpenBracket),
            ']' => self.single(FilterToken::CloseBracket),
            '"' => FilterToken::Text(self.quoted()?),
            _ => FilterToken::Word(self.take_while(|c| !c.is_whitespace() && !"()[]\"".contains(c))),
        };
        Ok(Some(PlacedToken { token, at }))
    }

    /// A JSON string (RFC 7644 section 3.4.2.2): up to the next quote that no backslash escapes.
    fn quoted(&mut self) -> Result<String, ParseError> {
        let at = self.at;
        let mut raw = String::new();
        let mut escaped = false;
        while let Some(c) = self.bump() {
            raw.push(c);
            match c {
                '"' if !escaped && raw.len() > 1 => {
                    return serde_json::from_str(&raw)
                        .map_err(|_| ParseError { at, kind: ParseErrorKind::BadText });
                }
                '\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
        Err(ParseError { at, kind: ParseErrorKind::OpenText })
    }

    fn peek(&self) -> Option<char> {
        self.rest.as_slice().first().copied()
    }

    fn bump(&mut self) -> Option<char> {
        self.at += 1;
        self.rest.next()
    }

    fn single(&mut self, token: FilterToken) -> FilterToken {
        self.bump();
        token
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(c) = self.peek().filter(|c| wanted(*c)) {
            taken.push(c);
            self.bump();
        }
        taken
    }
}

impl fmt::Display for FilterToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterToken::Word(text) | FilterToken::Text(text) => f.write_str(&quoted(text)),
            FilterToken::Open => f.write_str("("),
            FilterToken::Close => f.write_str(")"),
            FilterToken::OpenBracket => f.write_str("["),
            FilterToken::CloseBracket => f.write_str("]"),
        }
    }
}
