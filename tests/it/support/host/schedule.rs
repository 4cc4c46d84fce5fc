//! Timer schedules: NCRONTAB with six fields (second, minute, hour, day, month, day of the week), in UTC.

use time::{Date, Duration, OffsetDateTime, Time};

const FIELDS: [(u8, u8); 6] = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// A day that comes at all, such as 29 February, comes within this many.
const DAYS_AHEAD_MAX: usize = 366 * 9;

/// Why an expression cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("{0} fields, not six")]
    Fields(usize),
    #[error("{0:?} cannot be read")]
    Field(String),
}

/// When a timer fires.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// For each field, which values fit: one bit each.
    fits: [u64; 6],
}

impl Schedule {
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.len() != FIELDS.len() {
            return Err(ScheduleError::Fields(words.len()));
        }
        let mut fits = [0_u64; 6];
        for (at, (word, fits)) in words.into_iter().zip(&mut fits).enumerate() {
            *fits = parse_field(at, word).ok_or_else(|| ScheduleError::Field(word.to_owned()))?;
        }
        Ok(Self { fits })
    }

    /// The first time after `moment`; none if no such day exists.
    pub fn next(&self, moment: OffsetDateTime) -> Option<OffsetDateTime> {
        let moment = moment.to_offset(time::UtcOffset::UTC);
        let from = moment.replace_nanosecond(0).ok()? + Duration::seconds(1);
        if self.fits_day(from.date())
            && let Some(time) = self.first_time(from.time())
        {
            return Some(from.replace_time(time));
        }
        let mut day = from.date();
        for _ in 0..DAYS_AHEAD_MAX {
            day = day.next_day()?;
            if self.fits_day(day) {
                let time = self.first_time(Time::MIDNIGHT)?;
                return Some(day.with_time(time).assume_utc());
            }
        }
        None
    }

    fn fits_day(&self, day: Date) -> bool {
        self.fits(3, day.day())
            && self.fits(4, u8::from(day.month()))
            && self.fits(5, day.weekday().number_days_from_sunday())
    }

    /// The first time of a day that fits, `from` or later.
    fn first_time(&self, from: Time) -> Option<Time> {
        for hour in (from.hour()..24).filter(|hour| self.fits(2, *hour)) {
            let minute_from = if hour == from.hour() { from.minute() } else { 0 };
            for minute in (minute_from..60).filter(|minute| self.fits(1, *minute)) {
                let same = hour == from.hour() && minute == from.minute();
                let second_from = if same { from.second() } else { 0 };
                if let Some(second) = (second_from..60).find(|second| self.fits(0, *second)) {
                    return Time::from_hms(hour, minute, second).ok();
                }
            }
        }
        None
    }

    fn fits(&self, field: usize, value: u8) -> bool {
        self.fits[field] & (1 << value) != 0
    }
}

/// A list of `*`, `a`, `a-b`, each with an optional `/step`.
fn parse_field(field: usize, text: &str) -> Option<u64> {
    let (least, most) = FIELDS[field];
    let mut fits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            None => (part, None),
            Some((range, step)) => (range, Some(step.parse::<u8>().ok().filter(|step| *step > 0)?)),
        };
        let (from, to) = match (range, range.split_once('-')) {
            ("*", _) => (least, most),
            (_, Some((from, to))) => (value(field, from)?, value(field, to)?),
            (one, None) => (value(field, one)?, if step.is_some() { most } else { value(field, one)? }),
        };
        if from < least || to > most || from > to {
            return None;
        }
        fits |= (from..=to).step_by(step.unwrap_or(1).into()).fold(0, |fits, value| fits | (1_u64 << value));
    }
    Some(fits)
}

fn value(field: usize, text: &str) -> Option<u8> {
    let named = |names: &[&str], first: usize| {
        let at = names.iter().position(|name| text.to_ascii_lowercase().starts_with(name))?;
        u8::try_from(at + first).ok()
    };
    let number = text.parse().ok();
    match field {
        4 => number.or_else(|| named(&MONTHS, 1)),
        5 => number.or_else(|| named(&DAYS, 0)),
        _ => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::format_description::well_known::Rfc3339;

    #[track_caller]
    fn check(text: &str, after: &str, expected: &str) {
        let after = OffsetDateTime::parse(after, &Rfc3339).unwrap();
        let next = Schedule::parse(text).unwrap().next(after).unwrap();
        assert_eq!(next.format(&Rfc3339).unwrap(), expected, "{text}");
    }

    #[test]
    fn the_next_time_is_after_the_moment() {
        check("0 * * * * *", "2026-03-01T10:00:00Z", "2026-03-01T10:01:00Z");
        check("0 * * * * *", "2026-03-01T10:00:59.9Z", "2026-03-01T10:01:00Z");
        check("*/20 5-6 * * * *", "2026-03-01T10:06:40Z", "2026-03-01T11:05:00Z");
        check("0 30 9 * Jan Mon-Fri", "2026-03-01T10:00:00Z", "2027-01-01T09:30:00Z");
        check("0 0 0 29 2 *", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z");
        check("59 59 23 31 12 *", "2026-12-31T23:59:59Z", "2027-12-31T23:59:59Z");
    }

    #[test]
    fn a_day_that_never_comes_has_no_next_time() {
        let schedule = Schedule::parse("0 0 0 30 2 *").unwrap();
        assert_eq!(schedule.next(OffsetDateTime::UNIX_EPOCH), None);
    }

    #[test]
    fn what_is_not_six_readable_fields_is_refused() {
        assert_eq!(Schedule::parse("* * * * *").unwrap_err(), ScheduleError::Fields(5));
        for text in
            ["60 * * * * *", "* * * 0 * *", "* * * * 13 *", "*/0 * * * * *", "5-1 * * * * *", "x * * * * *"]
        {
            assert!(matches!(Schedule::parse(text), Err(ScheduleError::Field(_))), "{text}");
        }
    }
}
