//! The comparisons: what each says of two values, and how a cross product makes one answer of many.

use uuid::Uuid;

/// Which pairs have to compare: *of* the left values with those on the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrossProduct {
    AnyOfAny,
    AllOfAny,
    AnyOfAll,
    AllOfAll,
}

impl CrossProduct {
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "ForAnyOfAnyValues" => Self::AnyOfAny,
            "ForAllOfAnyValues" => Self::AllOfAny,
            "ForAnyOfAllValues" => Self::AnyOfAll,
            "ForAllOfAllValues" => Self::AllOfAll,
            _ => return None,
        })
    }

    /// Whether enough pairs compare. Nothing on either side never does.
    pub fn holds(self, left: &[String], right: &[String], compare: impl Fn(&str, &str) -> bool) -> bool {
        if left.is_empty() || right.is_empty() {
            return false;
        }
        let any = |l: &String| right.iter().any(|r| compare(l, r));
        let all = |l: &String| right.iter().all(|r| compare(l, r));
        match self {
            Self::AnyOfAny => left.iter().any(any),
            Self::AllOfAny => left.iter().all(any),
            Self::AnyOfAll => left.iter().any(all),
            Self::AllOfAll => left.iter().all(all),
        }
    }
}

/// What kind of values an operator takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    Text,
    Guid,
    Number,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Equals,
    StartsWith,
    Like,
    LessThan,
    LessThanEquals,
    GreaterThan,
    GreaterThanEquals,
}

/// A comparison of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator {
    pub name: &'static str,
    pub takes: ValueType,
    test: Test,
    negated: bool,
    ignore_case: bool,
}

const fn operator(
    name: &'static str,
    takes: ValueType,
    test: Test,
    negated: bool,
    ignore_case: bool,
) -> Operator {
    Operator { name, takes, test, negated, ignore_case }
}

/// Every operator by its published name.
const OPERATORS: &[Operator] = &[
    operator("StringEquals", ValueType::Text, Test::Equals, false, false),
    operator("StringEqualsIgnoreCase", ValueType::Text, Test::Equals, false, true),
    operator("StringNotEquals", ValueType::Text, Test::Equals, true, false),
    operator("StringNotEqualsIgnoreCase", ValueType::Text, Test::Equals, true, true),
    operator("StringStartsWith", ValueType::Text, Test::StartsWith, false, false),
    operator("StringStartsWithIgnoreCase", ValueType::Text, Test::StartsWith, false, true),
    operator("StringNotStartsWith", ValueType::Text, Test::StartsWith, true, false),
    operator("StringNotStartsWithIgnoreCase", ValueType::Text, Test::StartsWith, true, true),
    operator("StringLike", ValueType::Text, Test::Like, false, false),
    operator("StringLikeIgnoreCase", ValueType::Text, Test::Like, false, true),
    operator("StringNotLike", ValueType::Text, Test::Like, true, false),
    operator("StringNotLikeIgnoreCase", ValueType::Text, Test::Like, true, true),
    operator("GuidEquals", ValueType::Guid, Test::Equals, false, true),
    operator("GuidNotEquals", ValueType::Guid, Test::Equals, true, true),
    operator("NumericEquals", ValueType::Number, Test::Equals, false, false),
    operator("NumericNotEquals", ValueType::Number, Test::Equals, true, false),
    operator("NumericLessThan", ValueType::Number, Test::LessThan, false, false),
    operator("NumericLessThanEquals", ValueType::Number, Test::LessThanEquals, false, false),
    operator("NumericGreaterThan", ValueType::Number, Test::GreaterThan, false, false),
    operator("NumericGreaterThanEquals", ValueType::Number, Test::GreaterThanEquals, false, false),
];

impl Operator {
    pub fn parse(word: &str) -> Option<Self> {
        OPERATORS.iter().find(|operator| operator.name == word).copied()
    }

    /// What it says of two values. A value that is not of its type compares with nothing, negated or not.
    pub fn holds(self, left: &str, right: &str) -> bool {
        let outcome = match self.takes {
            ValueType::Text => Some(self.text(left, right)),
            ValueType::Guid => guid(left).zip(guid(right)).map(|(left, right)| left == right),
            ValueType::Number => left.parse().ok().zip(right.parse().ok()).map(|(l, r)| self.number(l, r)),
        };
        outcome.is_some_and(|holds| holds != self.negated)
    }

    fn text(self, left: &str, right: &str) -> bool {
        let folded = |text: &str| if self.ignore_case { text.to_lowercase() } else { text.to_owned() };
        let left = folded(left);
        let right = folded(right);
        match self.test {
            Test::StartsWith => left.starts_with(&right),
            Test::Like => like(&left, &right),
            _ => left == right,
        }
    }

    const fn number(self, left: i64, right: i64) -> bool {
        match self.test {
            Test::LessThan => left < right,
            Test::LessThanEquals => left <= right,
            Test::GreaterThan => left > right,
            Test::GreaterThanEquals => left >= right,
            _ => left == right,
        }
    }
}

/// A GUID in its hyphenated form, in any case.
/// Facts: F-100.
pub fn guid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|_| text.len() == 36)
}

/// Whether a pattern matches a whole text: `*` matches any characters, `?` matches one, and a backslash escapes them.
/// Facts: F-026.
pub fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<Part>) = (text.chars().collect(), parts(pattern));
    // `reached[n]`: the parts so far can end after n characters.
    let mut reached = vec![false; text.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    for part in pattern {
        let before = reached.clone();
        let mut open = false;
        for (at, now) in reached.iter_mut().enumerate() {
            let here = before.get(at).copied().unwrap_or_default();
            let one_less = at.checked_sub(1).filter(|less| before.get(*less).copied().unwrap_or_default());
            let last = at.checked_sub(1).and_then(|less| text.get(less));
            open = open || here;
            *now = match part {
                Part::Any => open,
                Part::One => one_less.is_some(),
                Part::This(c) => one_less.is_some() && last == Some(&c),
            };
        }
    }
    reached.last().copied().unwrap_or_default()
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Any,
    One,
    This(char),
}

fn parts(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        parts.push(match c {
            '*' => Part::Any,
            '?' => Part::One,
            '\\' => match rest.next_if(|next| matches!(next, '*' | '?')) {
                Some(escaped) => Part::This(escaped),
                None => Part::This(c),
            },
            _ => Part::This(c),
        });
    }
    parts
}
