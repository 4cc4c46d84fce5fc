//! Days as arguments.

use crate::audit::chain::parse_day;
use crate::cli::operator::OperatorError;
use time::Date;

/// The first and the last day, where they are given.
pub(super) fn parse_days(
    since: Option<&str>,
    until: Option<&str>,
) -> Result<(Option<Date>, Option<Date>), OperatorError> {
    let (since, until) = (parse_day_argument("since", since)?, parse_day_argument("until", until)?);
    if since.zip(until).is_some_and(|(since, until)| until < since) {
        return Err(OperatorError::Usage("--until is a day before --since".to_owned()));
    }
    Ok((since, until))
}

fn parse_day_argument(argument: &str, text: Option<&str>) -> Result<Option<Date>, OperatorError> {
    let parse = |text: &str| {
        let mistake = || format!("--{argument} {text:?} is not a day; an example: 2026-11-25");
        parse_day(text).ok_or_else(|| OperatorError::Usage(mistake()))
    };
    text.map(parse).transpose()
}
