//! What the page of a report is made from. The top of `page/page.js` says what each member means.

use crate::audit::rfc3339;
use crate::cli::short_scope::ShortScopes;
use crate::rbac::Scope;
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::verbs::{Verb, Verbs};
use crate::service::access::report::history::{AccessHistory, AccessSpan, GivenByUs};
use crate::service::access::report::{AccessReport, ReportRow, RowSource};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// The spans of the past with their rows, and what Azure shows now.
pub(super) struct PageSource<'a> {
    pub made: OffsetDateTime,
    pub history: &'a AccessHistory,
    pub spans: &'a [AccessSpan],
    /// A row for each span.
    pub past: &'a AccessReport,
    pub now: &'a AccessReport,
}

/// Lists whose elements are named by their places.
struct Places {
    scopes: BTreeMap<ArmScope, usize>,
    places: Vec<ArmScope>,
    people: Vec<Value>,
    known: BTreeMap<String, usize>,
}

pub(super) fn data(source: &PageSource<'_>) -> Value {
    let PageSource { made, history, spans, past, now } = source;
    let targets: Vec<ArmScope> = now.targets.iter().map(ArmScope::from).collect();
    let made_at: BTreeSet<ArmScope> =
        past.rows.iter().chain(&now.rows).map(|row| row.scope.clone()).collect();
    let short = ShortScopes::of(targets.iter().chain(&made_at));
    let mut places = Places {
        scopes: targets.iter().cloned().zip(0..).collect(),
        places: made_at.into_iter().collect(),
        people: Vec::new(),
        known: BTreeMap::new(),
    };
    // What is recorded as there shows what Azure says of it now; what Azure does not show any more ended by now.
    let live: BTreeMap<_, Option<Verbs>> = now
        .rows
        .iter()
        .filter(|row| row.through.is_none())
        .flat_map(|row| {
            row.targets.iter().map(move |target| ((row.holder, row.assignment, target), row.verbs))
        })
        .collect();
    // Who has an object id now gives it its name; a former user of it only where there is none.
    now.rows.iter().for_each(|row| {
        places.person(row);
    });
    let mut shown = Vec::new();
    for (row, span) in past.rows.iter().zip(*spans) {
        if span.until.is_some() {
            shown.push(places.span(row, millis(span.from), span.until.map(millis), false));
            continue;
        }
        let mut by_verbs: BTreeMap<Option<Option<Verbs>>, Vec<Scope>> = BTreeMap::new();
        for target in &row.targets {
            let verbs = live.get(&(row.holder, row.assignment, target)).copied();
            by_verbs.entry(verbs).or_default().push(target.clone());
        }
        for (verbs, targets) in by_verbs {
            let until = if verbs.is_some() { None } else { Some(millis(*made)) };
            let row = ReportRow { targets, verbs: verbs.unwrap_or(row.verbs), ..row.clone() };
            shown.push(places.span(&row, millis(span.from), until, false));
        }
    }
    let open: BTreeSet<_> = past
        .rows
        .iter()
        .zip(*spans)
        .filter(|(_, span)| span.until.is_none())
        .map(|(row, _)| (row.holder, row.assignment))
        .collect();
    // What Azure shows and no record knows: the members of Entra groups, and what was given since the last sweep.
    let unrecorded =
        now.rows.iter().filter(|row| row.through.is_some() || !open.contains(&(row.holder, row.assignment)));
    let begun = |row: &ReportRow| millis(row.since.unwrap_or(*made));
    shown.extend(unrecorded.map(|row| places.span(row, begun(row), None, true)).collect::<Vec<_>>());
    let scope = |scope: &ArmScope| json!({ "id": scope.as_str(), "name": short.name(scope) });
    json!({
        "made": rfc3339(*made), "since": history.since().map(rfc3339),
        "scopes": targets.iter().map(scope).collect::<Vec<_>>(),
        "places": places.places.iter().map(scope).collect::<Vec<_>>(),
        "verbs": Verb::ALL.map(Verb::as_str), "people": places.people, "spans": shown,
        "unseen": now.unseen, "unseenPast": past.unseen,
    })
}

impl Places {
    fn span(&mut self, row: &ReportRow, from: i64, until: Option<i64>, live: bool) -> Value {
        let person = self.person(row);
        let at = self.places.binary_search(&row.scope).unwrap_or_default();
        let reach: Vec<usize> = row
            .targets
            .iter()
            .filter_map(|target| self.scopes.get(&ArmScope::from(target)).copied())
            .collect();
        let (ours, others) = match &row.given {
            RowSource::Ours(given) => (given_by_us(given), Value::Null),
            RowSource::Others { created_by, created_by_name, created_on, first_seen } => {
                let creator = created_by_name.clone().or_else(|| created_by.map(|id| id.to_string()));
                let others = json!({
                    "createdBy": creator, "createdOn": created_on.map(rfc3339), "firstSeen": first_seen.map(rfc3339),
                });
                (Value::Null, others)
            }
        };
        let through = row.through.map(|group| row.through_name.clone().unwrap_or_else(|| group.to_string()));
        json!({
            "p": person, "at": at, "reach": reach, "role": row.role_name, "can": row.verbs.map(bits),
            "from": from, "until": until, "live": live, "conditional": row.conditional, "through": through,
            "ours": ours, "others": others,
        })
    }

    fn person(&mut self, row: &ReportRow) -> usize {
        let id = row.holder.to_string();
        if let Some(place) = self.known.get(&id) {
            return *place;
        }
        let place = self.people.len();
        let name = row.name.clone();
        let user = row.user.map(|user| user.to_string());
        self.people.push(json!({ "name": name, "id": id, "kind": row.kind.as_str(), "user": user }));
        self.known.insert(id, place);
        place
    }
}

fn given_by_us(given: &GivenByUs) -> Value {
    let taken = given.taken.as_ref().map(
        |taken| json!({ "reasons": taken.reasons, "actor": taken.set_off.actor, "op": taken.set_off.op }),
    );
    json!({
        "bindings": given.bindings, "reasons": given.reasons, "cause": given.set_off.cause,
        "actor": given.set_off.actor, "op": given.set_off.op, "confirmed": given.confirmed, "taken": taken,
    })
}

/// A bit for each verb, by its place among all.
fn bits(verbs: Verbs) -> u32 {
    Verb::ALL
        .into_iter()
        .zip(0..)
        .filter(|(verb, _)| verbs.has(*verb))
        .fold(0, |bits, (_, place)| bits | 1 << place)
}

fn millis(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}
