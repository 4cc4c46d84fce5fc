//! The settings of what is late: revocations, and the drills that show it.

use super::{ConfigError, Reader};
use crate::id::PrincipalId;
use crate::service::drill::DrillSettings;
use crate::service::reconcile_queue::overdue::OVERDUE_AFTER;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::time::Duration;

/// The setting may not exceed a day: such a revocation is never normal.
const OVERDUE_MINUTES_MAX: u64 = 1440;
const PRINCIPAL: &str = "DRILL_PRINCIPAL_ID";
const TOKEN: &str = "DRILL_SCIM_TOKEN";
const EVERY: &str = "DRILL_EVERY_HOURS";
/// A month without a drill proves nothing of it.
const HOURS_MAX: u64 = 720;

impl Reader<'_> {
    pub(super) fn revocation_overdue(&mut self) -> Option<Duration> {
        const VARIABLE: &str = "REVOCATION_OVERDUE_MINUTES";
        match self.get(VARIABLE).map(str::parse::<u64>) {
            None => Some(OVERDUE_AFTER),
            Some(Ok(minutes @ 1..=OVERDUE_MINUTES_MAX)) => Some(Duration::from_secs(minutes * 60)),
            Some(_) => self.mistake(VARIABLE, "must be 1 to 1440 minutes, as 15"),
        }
    }

    /// The drills, where a leaver is named for them.
    pub(super) fn drill(&mut self) -> Option<Option<DrillSettings>> {
        let every = match self.get(EVERY).map(str::parse::<u64>) {
            None => None,
            Some(Ok(hours @ 1..=HOURS_MAX)) => Some(Duration::from_secs(hours * 3600)),
            Some(_) => return self.mistake(EVERY, "must be 1 to 720 hours, as 24"),
        };
        match (drill_principal(self), every) {
            (Some(Ok(principal)), every) => Some(Some(DrillSettings { principal, every })),
            (Some(Err(what)), _) => self.mistake(PRINCIPAL, what),
            (None, None) => Some(None),
            (None, Some(_)) => self.mistake(PRINCIPAL, "is missing, and DRILL_EVERY_HOURS is set"),
        }
    }
}

/// The token of a drill from outside, for the command that plays it.
pub fn token(variables: &BTreeMap<String, String>) -> Result<SecretString, ConfigError> {
    let mut reader = Reader { variables, mistakes: Vec::new() };
    let token = match reader.get(TOKEN).map(SecretString::from) {
        Some(token) => Some(token),
        None => reader.mistake(TOKEN, "is missing: the bearer token, as `token new --label drill` prints it"),
    };
    reader.done(token)
}

/// The leaver of a drill from outside.
pub fn principal(variables: &BTreeMap<String, String>) -> Result<PrincipalId, ConfigError> {
    let mut reader = Reader { variables, mistakes: Vec::new() };
    let principal = match drill_principal(&reader) {
        Some(Ok(principal)) => Some(principal),
        Some(Err(what)) => reader.mistake(PRINCIPAL, what),
        None => reader.mistake(PRINCIPAL, "is missing: name the leaver with --principal"),
    };
    reader.done(principal)
}

fn drill_principal(reader: &Reader<'_>) -> Option<Result<PrincipalId, &'static str>> {
    let what = "must be an object id, as 00000000-0000-0000-0000-000000000001";
    reader.get(PRINCIPAL).map(|text| PrincipalId::parse(text).map_err(|_| what))
}
