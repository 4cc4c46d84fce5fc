//! Days as arguments.

use crate::audit::chain::parse_day;
use crate::cli::operator::OperatorError;
use time::Date;

/// A day of the chain, where one is given.
pub(super) fn parse_day_argument(argument: &str, text: Option<&str>) -> Result<Option<Date>, OperatorError> {
    let parse = |text: &str| {
        let mistake = || format!("--{argument} {text:?} is not a day; an example: 2026-11-25");
        parse_day(text).ok_or_else(|| OperatorError::Usage(mistake()))
    };
    text.map(parse).transpose()
}
