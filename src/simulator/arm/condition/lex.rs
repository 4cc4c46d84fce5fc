//! A condition's text into tokens.

use super::condition_error::{ConditionError, ConditionProblem};

/// A token and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionToken {
    pub at: usize,
    pub kind: TokenKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenKind {
    Not,
    And,
    Or,
    Open,
    Close,
    OpenSet,
    CloseSet,
    Comma,
    /// `@Request[name]`: the source before the bracket, and the name.
    Attribute(String, String),
    /// `'text'`.
    Text(String),
    /// A keyword, an operator, a number or a GUID.
    Word(String),
}

/// All tokens. White space, line breaks included, only separates.
/// Facts: F-025.
pub fn tokens(text: &str) -> Result<Vec<ConditionToken>, ConditionError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let at = text.len() - rest.len();
        let fail = |problem| ConditionError { position: at, problem };
        let (kind, taken) = token(first, rest).map_err(fail)?;
        tokens.push(ConditionToken { at, kind });
        rest = rest.get(taken..).unwrap_or_default().trim_start();
    }
    Ok(tokens)
}

/// The token at the beginning of a text, and how long it is.
fn token(first: char, text: &str) -> Result<(TokenKind, usize), ConditionProblem> {
    let kind = match first {
        '!' => TokenKind::Not,
        '(' => TokenKind::Open,
        ')' => TokenKind::Close,
        '{' => TokenKind::OpenSet,
        '}' => TokenKind::CloseSet,
        ',' => TokenKind::Comma,
        '&' if text.starts_with("&&") => return Ok((TokenKind::And, 2)),
        '|' if text.starts_with("||") => return Ok((TokenKind::Or, 2)),
        '\'' => {
            let (_, rest) = text.split_at(1);
            let (inside, _) = rest.split_once('\'').ok_or(ConditionProblem::NotClosed)?;
            return Ok((TokenKind::Text(inside.to_owned()), inside.len() + 2));
        }
        '@' => {
            let (source, rest) = text.split_once('[').ok_or(ConditionProblem::Expected("[name]"))?;
            let (name, _) = rest.split_once(']').ok_or(ConditionProblem::NotClosed)?;
            let kind = TokenKind::Attribute(source.trim_end().to_owned(), name.trim().to_owned());
            return Ok((kind, source.len() + name.len() + 2));
        }
        _ => return word(first, text),
    };
    Ok((kind, 1))
}

fn word(first: char, text: &str) -> Result<(TokenKind, usize), ConditionProblem> {
    let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '_');
    let length = text.find(|c| !in_word(c)).unwrap_or(text.len());
    let kind = match text.get(..length).unwrap_or_default() {
        "" => return Err(ConditionProblem::Character(first)),
        "AND" => TokenKind::And,
        "OR" => TokenKind::Or,
        "NOT" => TokenKind::Not,
        word => TokenKind::Word(word.to_owned()),
    };
    Ok((kind, length))
}
