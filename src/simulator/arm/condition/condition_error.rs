//! Why a text is not a condition.

/// Azure's limit on the text of a condition.
pub const CONDITION_BYTES_MAX: usize = 8192;

/// Why a text is not a condition, and where: bytes from its beginning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {position} of the condition")]
pub struct ConditionError {
    pub position: usize,
    pub problem: ConditionProblem,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionProblem {
    #[error("more than {CONDITION_BYTES_MAX} bytes")]
    TooLong,
    #[error("parentheses and negations are nested too deeply")]
    TooDeep,
    #[error("a string or a bracket is not closed")]
    NotClosed,
    #[error("unknown character {0:?}")]
    Character(char),
    #[error("expected {0}")]
    Expected(&'static str),
    #[error("AND beside OR needs parentheses")]
    Ambiguous,
    #[error("unknown word {0:?}")]
    Word(String),
    #[error("{operator} does not compare {value:?}")]
    Literal { operator: &'static str, value: String },
    #[error("a set needs a cross product operator such as ForAnyOfAnyValues")]
    SetWithoutCross,
}
