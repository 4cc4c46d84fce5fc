//! Why an order was not carried out.

/// Why an order to the simulator was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    #[error("{0}")]
    Invalid(String),
    #[error("there is no {what} {id}")]
    NotFound { what: &'static str, id: String },
    #[error("Azure refuses: {code}: {message}")]
    Refused { code: String, message: String },
    #[error("a body must have the content type application/json")]
    NotJson,
    #[error("the control API answers this machine only: {header} must be a loopback address")]
    OtherSite { header: &'static str },
    #[error("the state file cannot be written: {0}")]
    StateFile(String),
}

/// The thing, or that there is none.
pub(super) fn found<T>(thing: Option<T>, what: &'static str, id: impl ToString) -> Result<T, ControlError> {
    thing.ok_or_else(|| ControlError::NotFound { what, id: id.to_string() })
}
