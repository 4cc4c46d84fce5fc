//! The condition on a right to give roles: which roles it lets its holder give to, or take from, which kinds of principals.
//!
//! Azure's condition language, version 2.0, as far as that question needs it. What it cannot decide is said: an attribute that is
//! not asked about, or an operator that is not known, makes the answer [`Verdict::Depends`]. A text that is not understood is an
//! error. Both have to be taken as "allowed" where the greatest damage is judged.

use super::verbs::matches_action;
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::vec::IntoIter;
use uuid::Uuid;

/// Azure's limit on the text of a condition.
const CONDITION_BYTES_MAX: usize = 8192;
/// Parentheses and negations in one another.
const DEPTH_MAX: usize = 64;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AssignmentAction {
    Give,
    Take,
}

impl AssignmentAction {
    /// The action of Azure.
    pub const fn as_str(self) -> &'static str {
        match self {
            AssignmentAction::Give => "Microsoft.Authorization/roleAssignments/write",
            AssignmentAction::Take => "Microsoft.Authorization/roleAssignments/delete",
        }
    }

    /// Azure evaluates a write on the request and a delete on what exists.
    const fn source(self) -> &'static str {
        match self {
            AssignmentAction::Give => "Request",
            AssignmentAction::Take => "Resource",
        }
    }
}

/// Whether something is allowed. In order: what is joined by AND is the least of its parts, by OR the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    No,
    /// On what is not asked about, such as the one principal that is meant.
    Depends,
    Yes,
}

impl Verdict {
    /// What is certain.
    pub const fn of(is_true: bool) -> Self {
        if is_true { Verdict::Yes } else { Verdict::No }
    }

    const fn negated(self) -> Self {
        match self {
            Verdict::No => Verdict::Yes,
            Verdict::Depends => Verdict::Depends,
            Verdict::Yes => Verdict::No,
        }
    }
}

/// A text is not a condition, or not one that is understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the condition cannot be understood: {what}")]
pub struct ConditionError {
    what: &'static str,
}

const fn not_understood<T>(what: &'static str) -> Result<T, ConditionError> {
    Err(ConditionError { what })
}

/// A condition that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignmentCondition {
    root: Term,
}

impl AssignmentCondition {
    /// Reads a condition.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        if text.len() > CONDITION_BYTES_MAX {
            return not_understood("it is longer than Azure allows");
        }
        let mut parser = Parser { tokens: tokens(text)?.into_iter().peekable() };
        let root = parser.either(0)?;
        match parser.tokens.next() {
            None => Ok(Self { root }),
            Some(_) => not_understood("something follows its end"),
        }
    }

    /// Whether the role may be given to, or taken from, a principal of that kind.
    pub fn verdict(&self, action: AssignmentAction, role: Uuid, kind: &str) -> Verdict {
        self.root.verdict(&Question { action, role, kind })
    }

    /// Every GUID that it names: roles, and principals.
    pub fn named_ids(&self) -> BTreeSet<Uuid> {
        let mut ids = BTreeSet::new();
        self.root.collect_ids(&mut ids);
        ids
    }
}

struct Question<'a> {
    action: AssignmentAction,
    role: Uuid,
    kind: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttributeName {
    Role,
    Kind,
    /// Another one: its value is not asked about.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Attribute {
    source: String,
    name: AttributeName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Equality {
    Text,
    TextWithoutCase,
    Guid,
}

impl Equality {
    /// How Azure writes the id of a role is not known: another spelling of the same GUID, and what is no GUID, may be the same.
    fn verdict(self, value: &str, other: &str) -> Verdict {
        let is_same_text = match self {
            Equality::Guid => true,
            Equality::Text => value == other,
            Equality::TextWithoutCase => value.eq_ignore_ascii_case(other),
        };
        match (Uuid::try_parse(value), Uuid::try_parse(other)) {
            (Ok(role), Ok(other)) if role != other => Verdict::No,
            (Ok(_), Ok(_)) if is_same_text => Verdict::Yes,
            (Err(_), _) if self != Equality::Guid => Verdict::of(is_same_text),
            _ => Verdict::Depends,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Comparison {
    equality: Equality,
    is_negated: bool,
    /// It must hold for every value of the set, not for one of them.
    of_all: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    Not(Box<Term>),
    All(Vec<Term>),
    Any(Vec<Term>),
    Action(String),
    Exists(Attribute),
    Compare {
        attribute: Attribute,
        /// `None`: the operator is not known.
        comparison: Option<Comparison>,
        values: Vec<String>,
    },
    /// Read and not understood.
    Unknown,
}

impl Term {
    fn verdict(&self, question: &Question<'_>) -> Verdict {
        match self {
            Term::Not(inner) => inner.verdict(question).negated(),
            Term::All(terms) => terms.iter().map(|term| term.verdict(question)).min().unwrap_or(Verdict::Yes),
            Term::Any(terms) => terms.iter().map(|term| term.verdict(question)).max().unwrap_or(Verdict::No),
            Term::Action(pattern) => Verdict::of(matches_action(pattern, question.action.as_str())),
            Term::Exists(attribute) => match attribute.value(question) {
                Some(_) => Verdict::Yes,
                None => Verdict::Depends,
            },
            Term::Compare { attribute, comparison, values } => {
                match (attribute.value(question), comparison) {
                    (Some(value), Some(comparison)) => comparison.verdict(&value, values),
                    _ => Verdict::Depends,
                }
            }
            Term::Unknown => Verdict::Depends,
        }
    }

    fn collect_ids(&self, ids: &mut BTreeSet<Uuid>) {
        match self {
            Term::Not(inner) => inner.collect_ids(ids),
            Term::All(terms) | Term::Any(terms) => terms.iter().for_each(|term| term.collect_ids(ids)),
            Term::Compare { values, .. } => {
                ids.extend(values.iter().filter_map(|value| Uuid::try_parse(value).ok()));
            }
            Term::Action(_) | Term::Exists(_) | Term::Unknown => {}
        }
    }
}

impl Attribute {
    fn parse(source: &str, name: &str) -> Self {
        let folded = name.to_ascii_lowercase();
        let name = match folded.strip_prefix("microsoft.authorization/roleassignments:") {
            Some("roledefinitionid") => AttributeName::Role,
            Some("principaltype") => AttributeName::Kind,
            _ => AttributeName::Other,
        };
        Self { source: source.to_owned(), name }
    }

    /// The value, where it is known. Of the attributes of the other source it is not: Azure has none there.
    fn value(&self, question: &Question<'_>) -> Option<String> {
        if !self.source.eq_ignore_ascii_case(question.action.source()) {
            return None;
        }
        match self.name {
            AttributeName::Role => Some(question.role.to_string()),
            AttributeName::Kind => Some(question.kind.to_owned()),
            AttributeName::Other => None,
        }
    }
}

impl Comparison {
    /// `None`: not known.
    fn parse(text: &str) -> Option<Self> {
        let (cross, operator) = text.split_once(':').unwrap_or(("", text));
        let of_all = match cross {
            "" | "ForAnyOfAnyValues" | "ForAllOfAnyValues" => false,
            "ForAnyOfAllValues" | "ForAllOfAllValues" => true,
            _ => return None,
        };
        let (equality, is_negated) = match operator {
            "GuidEquals" => (Equality::Guid, false),
            "GuidNotEquals" => (Equality::Guid, true),
            "StringEqualsIgnoreCase" => (Equality::TextWithoutCase, false),
            "StringNotEqualsIgnoreCase" => (Equality::TextWithoutCase, true),
            "StringEquals" => (Equality::Text, false),
            "StringNotEquals" => (Equality::Text, true),
            _ => return None,
        };
        Some(Self { equality, is_negated, of_all })
    }

    fn verdict(self, value: &str, values: &[String]) -> Verdict {
        let verdicts = values.iter().map(|other| match self.is_negated {
            true => self.equality.verdict(value, other).negated(),
            false => self.equality.verdict(value, other),
        });
        let found = if self.of_all { verdicts.min() } else { verdicts.max() };
        found.unwrap_or(Verdict::Depends)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Not,
    And,
    Or,
    Open,
    Close,
    OpenSet,
    CloseSet,
    Comma,
    Attribute(Attribute),
    Text(String),
    /// A keyword, an operator, a number or a GUID.
    Word(String),
}

fn tokens(text: &str) -> Result<Vec<Token>, ConditionError> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, behind) = token(first, rest)?;
        found.push(token);
        rest = behind.trim_start();
    }
    Ok(found)
}

/// The first token, and what is behind it.
fn token(first: char, text: &str) -> Result<(Token, &str), ConditionError> {
    let behind = text.strip_prefix(first).unwrap_or_default();
    let token = match first {
        '!' => Token::Not,
        '(' => Token::Open,
        ')' => Token::Close,
        '{' => Token::OpenSet,
        '}' => Token::CloseSet,
        ',' => Token::Comma,
        '&' | '|' => {
            let Some(behind) = behind.strip_prefix(first) else { return not_understood("a lone & or |") };
            return Ok((if first == '&' { Token::And } else { Token::Or }, behind));
        }
        '\'' => {
            let Some((inside, behind)) = behind.split_once('\'') else {
                return not_understood("a text is not closed");
            };
            return Ok((Token::Text(inside.to_owned()), behind));
        }
        '@' => {
            let attribute =
                behind.split_once('[').and_then(|(source, rest)| Some((source, rest.split_once(']')?)));
            let Some((source, (name, behind))) = attribute else {
                return not_understood("an attribute is not closed");
            };
            return Ok((Token::Attribute(Attribute::parse(source.trim(), name.trim())), behind));
        }
        _ => return word(text),
    };
    Ok((token, behind))
}

fn word(text: &str) -> Result<(Token, &str), ConditionError> {
    let is_in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '_' | '.');
    let (word, behind) = text.split_at(text.find(|c| !is_in_word(c)).unwrap_or(text.len()));
    let token = match word {
        "" => return not_understood("it has a character that means nothing"),
        _ if word.eq_ignore_ascii_case("and") => Token::And,
        _ if word.eq_ignore_ascii_case("or") => Token::Or,
        _ if word.eq_ignore_ascii_case("not") => Token::Not,
        word => Token::Word(word.to_owned()),
    };
    Ok((token, behind))
}

/// One side of a comparison.
enum Operand {
    Attribute(Attribute),
    Values(Vec<String>),
}

struct Parser {
    tokens: Peekable<IntoIter<Token>>,
}

impl Parser {
    fn takes(&mut self, token: &Token) -> bool {
        self.tokens.next_if_eq(token).is_some()
    }

    fn expects(&mut self, token: &Token) -> Result<(), ConditionError> {
        if self.takes(token) {
            Ok(())
        } else {
            not_understood("a bracket, or what belongs into it, is missing")
        }
    }

    fn either(&mut self, depth: usize) -> Result<Term, ConditionError> {
        let mut terms = vec![self.both(depth)?];
        while self.takes(&Token::Or) {
            terms.push(self.both(depth)?);
        }
        Ok(Term::Any(terms))
    }

    fn both(&mut self, depth: usize) -> Result<Term, ConditionError> {
        let mut terms = vec![self.term(depth)?];
        while self.takes(&Token::And) {
            terms.push(self.term(depth)?);
        }
        Ok(Term::All(terms))
    }

    fn term(&mut self, depth: usize) -> Result<Term, ConditionError> {
        if depth > DEPTH_MAX {
            return not_understood("its parentheses are nested too deeply");
        }
        if self.takes(&Token::Not) {
            return Ok(Term::Not(Box::new(self.term(depth + 1)?)));
        }
        if self.takes(&Token::Open) {
            let inner = self.either(depth + 1)?;
            self.expects(&Token::Close)?;
            return Ok(inner);
        }
        let keyword = |token: &Token| matches!(token, Token::Word(word) if ["ActionMatches", "SubOperationMatches", "Exists"].contains(&word.as_str()));
        match self.tokens.next_if(keyword) {
            Some(Token::Word(word)) if word == "Exists" => match self.tokens.next() {
                Some(Token::Attribute(attribute)) => Ok(Term::Exists(attribute)),
                _ => not_understood("Exists names no attribute"),
            },
            Some(Token::Word(word)) => {
                let patterns = self.set()?;
                match <[String; 1]>::try_from(patterns) {
                    _ if word != "ActionMatches" => Ok(Term::Unknown),
                    Ok([pattern]) => Ok(Term::Action(pattern)),
                    Err(_) => not_understood("ActionMatches names several actions"),
                }
            }
            _ => self.comparison(),
        }
    }

    fn comparison(&mut self) -> Result<Term, ConditionError> {
        let left = self.operand()?;
        let Some(Token::Word(mut operator)) = self.tokens.next() else {
            return not_understood("an operator is missing");
        };
        if operator.ends_with(':') {
            let Some(Token::Word(rest)) = self.tokens.next() else {
                return not_understood("an operator is missing");
            };
            operator.push_str(&rest);
        }
        match (left, self.operand()?) {
            (Operand::Attribute(attribute), Operand::Values(values)) => {
                Ok(Term::Compare { attribute, comparison: Comparison::parse(&operator), values })
            }
            (Operand::Values(_), Operand::Values(_)) => not_understood("two values are compared"),
            _ => Ok(Term::Unknown),
        }
    }

    fn operand(&mut self) -> Result<Operand, ConditionError> {
        if self.tokens.peek() == Some(&Token::OpenSet) {
            return self.set().map(Operand::Values);
        }
        match self.tokens.next() {
            Some(Token::Attribute(attribute)) => Ok(Operand::Attribute(attribute)),
            Some(Token::Text(value) | Token::Word(value)) => Ok(Operand::Values(vec![value])),
            _ => not_understood("an attribute or a value is missing"),
        }
    }

    /// At least one value in braces.
    fn set(&mut self) -> Result<Vec<String>, ConditionError> {
        self.expects(&Token::OpenSet)?;
        let mut values = Vec::new();
        loop {
            match self.tokens.next() {
                Some(Token::Text(value) | Token::Word(value)) => values.push(value),
                _ => return not_understood("a value is missing"),
            }
            if !self.takes(&Token::Comma) {
                self.expects(&Token::CloseSet)?;
                return Ok(values);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::uuid;

    const OPERATOR: Uuid = uuid!("00c29273-979b-4161-815c-10b084fb9324");
    const OWNER: Uuid = uuid!("8e3af657-a8ff-443c-a75c-2fe8c4bcb635");

    /// What may be given to a user: the operator role, and Owner.
    #[track_caller]
    fn check(text: &str, operator: Verdict, owner: Verdict) {
        let condition = AssignmentCondition::parse(text).unwrap();
        let give = |role| condition.verdict(AssignmentAction::Give, role, "User");
        assert_eq!((give(OPERATOR), give(OWNER)), (operator, owner), "{text}");
    }

    #[test]
    fn what_is_joined_is_judged_by_its_parts() {
        use Verdict::{Depends, No, Yes};
        let role = "@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId]";
        let is = format!("{role} ForAnyOfAnyValues:GuidEquals {{00C29273-979B-4161-815c-10b084fb9324}}");
        let kind = "@Request[Microsoft.Authorization/roleAssignments:PrincipalType]";
        let person = "@Request[Microsoft.Authorization/roleAssignments:PrincipalId]";
        let write = "ActionMatches{'Microsoft.Authorization/roleAssignments/write'}";
        for (text, operator, owner) in [
            (is.clone(), Yes, No),
            (format!("!({is})"), No, Yes),
            (format!("NOT {is} OR {is}"), Yes, Yes),
            (format!("({is}) && {kind} StringEquals 'User'"), Yes, No),
            (format!("({is}) AND {kind} StringEquals 'user'"), No, No),
            (
                format!("{is} AND {kind} ForAnyOfAnyValues: StringEqualsIgnoreCase {{'group', 'USER'}}"),
                Yes,
                No,
            ),
            (format!("{is} AND {person} GuidEquals {OWNER}"), Depends, No),
            (format!("{role} ForAnyOfAllValues:GuidNotEquals {{{OWNER}, {}}}", Uuid::nil()), Yes, No),
            (format!("{role} ForAnyOfAnyValues:GuidNotEquals {{{OWNER}, {}}}", Uuid::nil()), Yes, Yes),
            (format!("{role} StringLike 'x'"), Depends, Depends),
            (format!("{role} GuidEquals '/providers/x/roleDefinitions/{OWNER}'"), Depends, Depends),
            (format!("{role} StringEquals '{}'", OWNER.to_string().to_uppercase()), No, Depends),
            (format!("{role} StringNotEquals '{}'", OWNER.to_string().to_uppercase()), Yes, Depends),
            (format!("{role} StringEqualsIgnoreCase '{}'", OWNER.to_string().to_uppercase()), No, Yes),
            (format!("{kind} GuidEquals 'User'"), Depends, Depends),
            (format!("!({write}) OR ({is})"), Yes, No),
            ("!(ActionMatches{'Microsoft.Authorization/*'})".to_owned(), No, No),
            ("ActionMatches{'*/delete'}".to_owned(), No, No),
            ("SubOperationMatches{'a'}".to_owned(), Depends, Depends),
            ("SubOperationMatches{'a', 'b'}".to_owned(), Depends, Depends),
            (format!("{role} GuidEquals '{{{}}}'", OPERATOR.to_string().to_uppercase()), Yes, No),
            (format!("{role} ForAnyOfAllValues:GuidNotEquals {{{}}}", OWNER.simple()), Yes, No),
            (format!("Exists {role}"), Yes, Yes),
            (format!("Exists {person}"), Depends, Depends),
            (is.replace("@Request", "@Resource"), Depends, Depends),
            (format!("'a' StringEquals {kind}"), Depends, Depends),
        ] {
            check(&text, operator, owner);
        }
    }

    #[test]
    fn what_is_no_condition_is_not_guessed_at() {
        let deep = format!("{}Exists @Request[a]{}", "(".repeat(100), ")".repeat(100));
        let long = format!("@Request[a] StringEquals '{}'", "x".repeat(CONDITION_BYTES_MAX));
        for text in [
            "",
            "(",
            "Exists",
            "Exists @Request[a",
            "Exists @Request[a] Exists @Request[b]",
            "@Request[a] StringEquals",
            "@Request[a] StringEquals 'b",
            "@Request[a] ForAnyOfAnyValues:StringEquals {}",
            "@Request[a] StringEquals {'b' 'c'}",
            "Exists @Request[a] & Exists @Request[a]",
            "§",
            "ActionMatches('x')",
            "ActionMatches{'*/write', '*/delete'}",
            "what is this",
            &deep,
            &long,
        ] {
            assert!(AssignmentCondition::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_ids_that_are_named_are_found() {
        let text = format!("!(@Request[a] ForAnyOfAllValues:GuidEquals {{{OWNER}, {OPERATOR}}})");
        let named = AssignmentCondition::parse(&text).unwrap().named_ids();
        assert_eq!(named, BTreeSet::from([OWNER, OPERATOR]));
    }
}
