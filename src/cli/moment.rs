//! Times as operators write them.

use std::time::Duration;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

/// A moment, in UTC where it names no offset; a day (its start in UTC), or a time back from now.
pub(super) fn parse_time(text: &str, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let day = Date::parse(text, format_description!("[year]-[month]-[day]"));
    let minute = format_description!("[year]-[month]-[day]T[hour]:[minute][optional [:[second]]]");
    let minute = PrimitiveDateTime::parse(&text.replacen(' ', "T", 1), minute);
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok();
    let moment = moment.or_else(|| minute.ok().map(PrimitiveDateTime::assume_utc));
    moment.or_else(|| day.ok().map(|day| day.midnight().assume_utc())).or_else(|| {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        now.checked_sub(
            Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(seconds)?).try_into().ok()?,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_time_is_a_moment_a_day_or_a_time_before_now() {
        let now = datetime!(2026-11-25 12:00 UTC);
        let check = |text, expected| assert_eq!(parse_time(text, now), expected, "{text}");
        check("2026-11-24", Some(datetime!(2026-11-24 0:00 UTC)));
        check("2026-11-24T10:00:00+02:00", Some(datetime!(2026-11-24 8:00 UTC)));
        check("2026-11-24T10:00", Some(datetime!(2026-11-24 10:00 UTC)));
        check("2026-11-24 10:00", Some(datetime!(2026-11-24 10:00 UTC)));
        check("2026-11-24 10:00:07", Some(datetime!(2026-11-24 10:00:07 UTC)));
        check("90m", Some(datetime!(2026-11-25 10:30 UTC)));
        check("24h", Some(datetime!(2026-11-24 12:00 UTC)));
        check("7d", Some(datetime!(2026-11-18 12:00 UTC)));
        for text in [
            "",
            "h",
            "-1h",
            "24",
            "24s",
            "yesterday",
            "2026-11-31",
            "2026-11-24T25:00",
            "99999999999999999999d",
            "é",
        ] {
            check(text, None);
        }
        check("9999999999999d", None);
    }
}
