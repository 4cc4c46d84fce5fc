//! Tokens into an expression; the grammar is in the documentation of the module.

use super::access_check::AttributeSource;
use super::condition_error::{ConditionError, ConditionProblem};
use super::lex::{ConditionToken, TokenKind};
use super::operator::{CrossProduct, Operator, ValueType, guid};

/// How deep parentheses and negations may be nested.
const DEPTH_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    Not(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
    /// The action matches the pattern.
    Action(String),
    /// The suboperation matches; no action on role assignments has any.
    SubOperation,
    Exists(Attribute),
    Compare {
        left: Operand,
        cross: CrossProduct,
        operator: Operator,
        right: Operand,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    pub source: AttributeSource,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    Attribute(Attribute),
    Values(Vec<String>),
}

/// Reads all tokens of a text of that length.
/// Facts: F-025, F-100.
pub fn parse(tokens: Vec<ConditionToken>, length: usize) -> Result<Expression, ConditionError> {
    let mut parser = Parser { tokens: tokens.into_iter().peekable(), length, depth: 0 };
    let root = parser.any()?;
    match parser.tokens.next() {
        None => Ok(root),
        Some(token) => Err(token.problem(ConditionProblem::Expected("AND, OR or the end"))),
    }
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<ConditionToken>>,
    length: usize,
    depth: usize,
}

/// A literal as written.
struct Literal {
    at: usize,
    quoted: bool,
    value: String,
}

/// One side of a comparison before its operator is known.
enum Side {
    Attribute(Attribute),
    Single(Literal),
    Set(usize, Vec<Literal>),
}

impl Parser {
    fn any(&mut self) -> Result<Expression, ConditionError> {
        let mut terms = vec![self.unary()?];
        let mut joined = None;
        while let Some(token) = self.tokens.next_if(|t| matches!(t.kind, TokenKind::And | TokenKind::Or)) {
            if joined.as_ref().is_some_and(|kind| *kind != token.kind) {
                return Err(token.problem(ConditionProblem::Ambiguous));
            }
            joined = Some(token.kind);
            terms.push(self.unary()?);
        }
        match (joined, terms.pop()) {
            (None, Some(only)) => Ok(only),
            (joined, last) => {
                terms.extend(last);
                Ok(if joined == Some(TokenKind::And) {
                    Expression::All(terms)
                } else {
                    Expression::Any(terms)
                })
            }
        }
    }

    fn unary(&mut self) -> Result<Expression, ConditionError> {
        const WANTED: &str = "an expression";
        let token = self.next(WANTED)?;
        if self.depth == DEPTH_MAX {
            return Err(token.problem(ConditionProblem::TooDeep));
        }
        self.depth += 1;
        let expression = match &token.kind {
            TokenKind::Not => Expression::Not(Box::new(self.unary()?)),
            TokenKind::Open => {
                let inner = self.any()?;
                self.expect(&TokenKind::Close, "AND, OR or )")?;
                inner
            }
            TokenKind::Word(word) if word == "ActionMatches" => Expression::Action(self.pattern()?),
            TokenKind::Word(word) if word == "SubOperationMatches" => {
                self.pattern()?;
                Expression::SubOperation
            }
            TokenKind::Word(word) if word == "Exists" => {
                let token = self.next("an attribute")?;
                match self.side(token)? {
                    Side::Attribute(attribute) => Expression::Exists(attribute),
                    Side::Single(Literal { at, .. }) | Side::Set(at, _) => {
                        return Err(ConditionError {
                            position: at,
                            problem: ConditionProblem::Expected("an attribute"),
                        });
                    }
                }
            }
            _ => {
                let left = self.side(token)?;
                self.comparison(left)?
            }
        };
        self.depth -= 1;
        Ok(expression)
    }

    /// `{'pattern'}`.
    fn pattern(&mut self) -> Result<String, ConditionError> {
        self.expect(&TokenKind::OpenSet, "{")?;
        let token = self.next("a pattern in quotes")?;
        let TokenKind::Text(pattern) = token.kind else {
            return Err(token.problem(ConditionProblem::Expected("a pattern in quotes")));
        };
        self.expect(&TokenKind::CloseSet, "}")?;
        Ok(pattern)
    }

    fn comparison(&mut self, left: Side) -> Result<Expression, ConditionError> {
        let token = self.next("an operator")?;
        let TokenKind::Word(word) = &token.kind else {
            return Err(token.problem(ConditionProblem::Expected("an operator")));
        };
        let (cross, name) = match word.split_once(':') {
            Some((cross, name)) => (Some(CrossProduct::parse(cross)), name),
            None => (None, word.as_str()),
        };
        let unknown = || token.problem(ConditionProblem::Word(word.clone()));
        let operator = Operator::parse(name).ok_or_else(unknown)?;
        let cross = cross.map(|cross| cross.ok_or_else(unknown)).transpose()?;
        let right = self.next("a value or an attribute")?;
        let right = self.side(right)?;
        let left = operand(left, operator, cross)?;
        let right = operand(right, operator, cross)?;
        // Of one value on either side, every cross product says the same.
        Ok(Expression::Compare { left, cross: cross.unwrap_or(CrossProduct::AllOfAll), operator, right })
    }

    fn side(&mut self, token: ConditionToken) -> Result<Side, ConditionError> {
        let ConditionToken { at, kind } = token;
        match kind {
            TokenKind::Attribute(source, name) => attribute(at, &source, name).map(Side::Attribute),
            TokenKind::OpenSet => {
                let mut literals = Vec::new();
                loop {
                    let token = self.next("a value")?;
                    literals.push(literal(token)?);
                    let token = self.next("a comma or }")?;
                    match token.kind {
                        TokenKind::Comma => (),
                        TokenKind::CloseSet => return Ok(Side::Set(at, literals)),
                        _ => return Err(token.problem(ConditionProblem::Expected("a comma or }"))),
                    }
                }
            }
            kind => literal(ConditionToken { at, kind }).map(Side::Single),
        }
    }

    fn next(&mut self, wanted: &'static str) -> Result<ConditionToken, ConditionError> {
        let end = ConditionError { position: self.length, problem: ConditionProblem::Expected(wanted) };
        self.tokens.next().ok_or(end)
    }

    fn expect(&mut self, kind: &TokenKind, wanted: &'static str) -> Result<(), ConditionError> {
        let token = self.next(wanted)?;
        if token.kind == *kind { Ok(()) } else { Err(token.problem(ConditionProblem::Expected(wanted))) }
    }
}

impl ConditionToken {
    const fn problem(&self, problem: ConditionProblem) -> ConditionError {
        ConditionError { position: self.at, problem }
    }
}

fn attribute(at: usize, source: &str, name: String) -> Result<Attribute, ConditionError> {
    let source = match source {
        "@Request" => AttributeSource::Request,
        "@Resource" => AttributeSource::Resource,
        "@Principal" => AttributeSource::Principal,
        "@Environment" => AttributeSource::Environment,
        _ => return Err(ConditionError { position: at, problem: ConditionProblem::Word(source.to_owned()) }),
    };
    if name.is_empty() {
        return Err(ConditionError {
            position: at,
            problem: ConditionProblem::Expected("an attribute's name"),
        });
    }
    Ok(Attribute { source, name })
}

/// `'text'`, a GUID or an integer.
fn literal(token: ConditionToken) -> Result<Literal, ConditionError> {
    let ConditionToken { at, kind } = token;
    match kind {
        TokenKind::Text(value) => Ok(Literal { at, quoted: true, value }),
        TokenKind::Word(value) if guid(&value).is_some() || value.parse::<i64>().is_ok() => {
            Ok(Literal { at, quoted: false, value })
        }
        TokenKind::Word(word) => Err(ConditionError { position: at, problem: ConditionProblem::Word(word) }),
        _ => Err(ConditionError {
            position: at,
            problem: ConditionProblem::Expected("a value or an attribute"),
        }),
    }
}

/// A side as the operator takes it.
fn operand(side: Side, operator: Operator, cross: Option<CrossProduct>) -> Result<Operand, ConditionError> {
    let literals = match side {
        Side::Attribute(attribute) => return Ok(Operand::Attribute(attribute)),
        Side::Set(position, _) if cross.is_none() => {
            return Err(ConditionError { position, problem: ConditionProblem::SetWithoutCross });
        }
        Side::Single(literal) => vec![literal],
        Side::Set(_, literals) => literals,
    };
    let value = |literal: Literal| {
        let fits = match operator.takes {
            ValueType::Text => literal.quoted,
            ValueType::Guid => guid(&literal.value).is_some(),
            ValueType::Number => !literal.quoted && literal.value.parse::<i64>().is_ok(),
        };
        if fits {
            return Ok(literal.value);
        }
        let problem = ConditionProblem::Literal { operator: operator.name, value: literal.value };
        Err(ConditionError { position: literal.at, problem })
    };
    literals.into_iter().map(value).collect::<Result<_, _>>().map(Operand::Values)
}
