//! `explain PERSON --at TIME`: what a person held at a past moment and why, what had gone by then, and what waited.

use super::answers::seconds;
use crate::error_chain::escape_control;
use crate::id::UserId;
use crate::service::access::names;
use crate::service::access::people::FoundPerson;
use crate::service::access::report::history::{AccessHistory, AccessSpan, RecordedWait, SpanSource};
use crate::store::{StateStore, StoreError};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};
use time::OffsetDateTime;

/// What the audit says of a person and a moment.
pub(super) struct PastAccess<'a> {
    at: OffsetDateTime,
    name: String,
    user: Option<UserId>,
    held: Vec<AccessSpan>,
    /// Of each assignment that had ended the last time that it was held.
    ended: Vec<AccessSpan>,
    waits: Vec<RecordedWait<'a>>,
    /// The audit begins later than that.
    is_before_audit: bool,
}

impl<'a> PastAccess<'a> {
    pub(super) fn of(history: &'a AccessHistory, person: &FoundPerson, at: OffsetDateTime) -> Self {
        // Also what a former user with the same object id held: it is the same person to Azure.
        let is_theirs = |span: &&AccessSpan| {
            let is_user = matches!(&span.source, SpanSource::Ours(given) if given.user.is_some() && given.user == person.user);
            is_user || person.principals.contains(&span.principal)
        };
        // One above subscriptions was seen under each of them.
        let held: BTreeMap<_, _> =
            history.at(at).filter(is_theirs).map(|span| (span.assignment, span)).collect();
        let held: Vec<AccessSpan> = held.into_values().cloned().collect();
        let mut ended = BTreeMap::new();
        for span in
            history.spans().filter(is_theirs).filter(|span| span.until.is_some_and(|until| until <= at))
        {
            ended.insert(span.assignment, span);
        }
        ended.retain(|assignment, _| held.iter().all(|span| span.assignment != *assignment));
        let waits = person.user.map(|user| history.waits_of(user, at)).unwrap_or_default();
        let user = person.user.map_or_else(|| "no user".to_owned(), |user| user.to_string());
        Self {
            at,
            name: person.user_name.clone().unwrap_or(user),
            user: person.user,
            held,
            ended: ended.into_values().cloned().collect(),
            waits,
            is_before_audit: history.since().is_none_or(|since| since > at),
        }
    }

    /// Records name groups by their ids: those that are still there get their names.
    pub(super) async fn name_groups(&mut self, store: &StateStore) -> Result<(), StoreError> {
        let spans = self.held.iter_mut().chain(&mut self.ended);
        let given = spans.filter_map(|span| match &mut span.source {
            SpanSource::Ours(given) => Some(given),
            SpanSource::Foreign(_) => None,
        });
        names::name_groups(store, given.flat_map(|given| &mut given.reasons).collect()).await
    }

    pub(super) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{} at {}", escape_control(&self.name), seconds(self.at))?;
        if let Some(user) = self.user {
            writeln!(out, "  SCIM id {user}")?;
        }
        if self.is_before_audit {
            return writeln!(out, "\nNothing is known of that moment: the audit begins later.");
        }
        if self.held.is_empty() {
            writeln!(out, "\nheld nothing that is recorded")?;
        }
        for span in &self.held {
            write_head(out, span)?;
            writeln!(
                out,
                "{}  yes since {}: {}",
                self.former_user(span),
                seconds(span.since),
                escape_control(&why(span))
            )?;
        }
        for span in &self.ended {
            write_head(out, span)?;
            let until = span.until.map(seconds).unwrap_or_default();
            writeln!(
                out,
                "{}  no since {until}: {}",
                self.former_user(span),
                escape_control(&why_ended(span))
            )?;
        }
        for RecordedWait { binding, operation, reason, since } in &self.waits {
            writeln!(out, "\n{}", escape_control(binding))?;
            writeln!(out, "  {operation} waited since {} ({})", seconds(*since), escape_control(reason))?;
        }
        Ok(())
    }

    /// A line that says so, where another user of the same object id had it.
    fn former_user(&self, span: &AccessSpan) -> String {
        match &span.source {
            SpanSource::Ours(given) if given.user != self.user => {
                let user = given.user.map(|user| user.to_string()).unwrap_or_default();
                format!("  as another user of this object id, SCIM id {user}\n")
            }
            _ => String::new(),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let span = |span: &AccessSpan| {
            json!({
                "assignment": span.assignment.to_string(), "role": span.role_name, "scope": span.scope.as_str(),
                "from": seconds(span.from), "until": span.until.map(seconds), "why": why(span),
                "endedBecause": span.until.map(|_| why_ended(span)),
            })
        };
        let wait = |wait: &RecordedWait<'_>| {
            json!({
                "binding": wait.binding, "operation": wait.operation, "reason": wait.reason,
                "since": seconds(wait.since),
            })
        };
        json!({
            "person": self.user.map(|user| user.to_string()), "userName": self.name, "at": seconds(self.at),
            "known": !self.is_before_audit, "held": self.held.iter().map(span).collect::<Vec<_>>(),
            "ended": self.ended.iter().map(span).collect::<Vec<_>>(),
            "waits": self.waits.iter().map(wait).collect::<Vec<_>>(),
        })
    }
}

fn write_head(out: &mut impl Write, span: &AccessSpan) -> io::Result<()> {
    let role = escape_control(&span.role_name);
    let scope = escape_control(span.scope.as_str());
    match &span.source {
        SpanSource::Ours(given) => {
            let bindings = escape_control(&given.bindings.join(", "));
            writeln!(out, "\n{bindings}: {role} at {scope}")
        }
        SpanSource::Foreign(_) => writeln!(out, "\nnot by this service: {role} at {scope}"),
    }
}

fn why(span: &AccessSpan) -> String {
    match &span.source {
        SpanSource::Ours(given) => {
            let set_off = &given.set_off;
            let unconfirmed = if given.confirmed { "" } else { "; Azure never confirmed it" };
            format!(
                "{} ({} of {}, operation {}){unconfirmed}",
                given.reasons.join("; "),
                set_off.cause,
                set_off.actor,
                set_off.op
            )
        }
        SpanSource::Foreign(given) => {
            let by = given.created_by.map(|id| format!(" by {id}")).unwrap_or_default();
            let verbs = given.verbs.map_or_else(|| "unknown".to_owned(), |verbs| verbs.names().join(", "));
            format!("made{by}, as a sweep saw it; gives {verbs}")
        }
    }
}

fn why_ended(span: &AccessSpan) -> String {
    match &span.source {
        SpanSource::Ours(given) => match &given.taken {
            Some(taken) => format!(
                "{} ({} of {}, operation {})",
                taken.reasons.join("; "),
                taken.set_off.cause,
                taken.set_off.actor,
                taken.set_off.op
            ),
            None => "not taken by this service, or under other bindings from then on".to_owned(),
        },
        SpanSource::Foreign(_) => "gone, as a sweep saw it".to_owned(),
    }
}
