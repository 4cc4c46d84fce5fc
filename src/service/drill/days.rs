//! How the drills of the last days went: a line of the evidence. Pure.

use crate::audit::rfc3339;
use crate::store::drills::DrillResult;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use time::{Duration, OffsetDateTime};

/// Days that the line is about.
const DAYS: i64 = 30;

/// The days, in UTC, and the last red drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillDays {
    /// Days on which every drill that ended was green, and one was.
    pub green: usize,
    /// Days on which one was red.
    pub red: usize,
    pub last_red: Option<DrillResult>,
}

impl DrillDays {
    /// The days before `now`, today among them.
    pub fn of(results: &[DrillResult], now: OffsetDateTime) -> Self {
        let since = now - Duration::days(DAYS);
        let mut days = BTreeMap::new();
        for result in results.iter().filter(|result| result.ended > since && result.ended <= now) {
            *days.entry(result.ended.date()).or_insert(true) &= result.is_green();
        }
        let green = days.values().filter(|green| **green).count();
        let last_red = results.iter().filter(|result| !result.is_green()).max_by_key(|result| result.ended);
        Self { green, red: days.len() - green, last_red: last_red.cloned() }
    }

    pub fn to_json(&self) -> Value {
        json!({
            "greenDays": self.green, "redDays": self.red,
            "lastRed": self.last_red.as_ref().map(|result| rfc3339(result.ended)),
        })
    }

    /// In a sentence.
    pub fn sentence(&self) -> String {
        let last = self.last_red.as_ref().and_then(|result| Some((result, result.drill.failure.as_ref()?)));
        let last = last.map_or_else(
            || "no red drill is known".to_owned(),
            |(result, failure)| {
                let at = rfc3339(result.ended.replace_nanosecond(0).unwrap_or(result.ended));
                format!("the last red one ended at {at} in phase {}: {}", failure.phase, failure.reason)
            },
        );
        format!("{} green drill days of the last {DAYS}, {} red; {last}", self.green, self.red)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{GroupId, OpId, PrincipalId, UserId};
    use crate::store::drills::{Drill, DrillFailure, StepTimes};
    use time::macros::datetime;
    use uuid::Uuid;

    const NOW: OffsetDateTime = datetime!(2026-03-31 12:00 UTC);

    fn result(hours_ago: i64, is_green: bool) -> DrillResult {
        let failure = DrillFailure { phase: "deactivated".to_owned(), reason: "scope-locked".to_owned() };
        let id = Uuid::from_u128(1);
        let drill = Drill {
            id: OpId::new(id),
            user: UserId::new(id),
            group: GroupId::new(id),
            principal: PrincipalId::new(id),
            began: NOW,
            set_off: "timer".to_owned(),
            grant: StepTimes::default(),
            revocation: StepTimes::default(),
            failure: (!is_green).then_some(failure),
        };
        DrillResult { drill, ended: NOW - Duration::hours(hours_ago) }
    }

    #[test]
    fn a_day_is_green_where_every_drill_of_it_was() {
        let all = [result(1, true), result(2, true), result(25, true), result(26, false), result(49, true)];
        let days = DrillDays::of(&all, NOW);
        assert_eq!((days.green, days.red), (2, 1));
        let expected = "2 green drill days of the last 30, 1 red; the last red one ended at \
                        2026-03-30T10:00:00Z in phase deactivated: scope-locked";
        assert_eq!(days.sentence(), expected);
    }

    #[test]
    fn what_is_older_is_no_day_of_the_line_and_a_red_one_of_before_is_named() {
        let all = [result(31 * 24, false), result(40 * 24, true)];
        let days = DrillDays::of(&all, NOW);
        assert_eq!((days.green, days.red, days.last_red), (0, 0, Some(all[0].clone())));
        assert!(DrillDays::of(&[], NOW).sentence().ends_with("no red drill is known"));
    }
}
