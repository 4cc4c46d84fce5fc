//! What the page of a report is made from. The top of `page/data.js` says what each member means.

use crate::audit::rfc3339;
use crate::cli::short_scope::ShortScopes;
use crate::ports::azure_access::HolderKind;
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

/// What Azure says now of an assignment that is recorded as there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum LiveState {
    Gives(Option<Verbs>),
    /// It is there, and others have what it gives: the members of its Entra group. Or a deny assignment takes all of it.
    InOtherRows,
    Gone,
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
        let mut alike: BTreeMap<LiveState, Vec<Scope>> = BTreeMap::new();
        for target in &row.targets {
            let state = match live.get(&(row.holder, row.assignment, target)) {
                Some(verbs) => LiveState::Gives(*verbs),
                None if now.listed.contains(&(row.assignment, target.clone())) => LiveState::InOtherRows,
                None => LiveState::Gone,
            };
            alike.entry(state).or_default().push(target.clone());
        }
        for (state, targets) in alike {
            let until = if state == LiveState::Gone { Some(millis(*made)) } else { None };
            let verbs = if let LiveState::Gives(verbs) = state { verbs } else { row.verbs };
            let row = ReportRow { targets, verbs, ..row.clone() };
            let mut span = places.span(&row, millis(span.from), until, false);
            if let (LiveState::InOtherRows, Value::Object(members)) = (state, &mut span) {
                members.insert("inOtherRows".to_owned(), Value::Bool(true));
            }
            shown.push(span);
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
        // Records do not say what kind of object a user of this installation is.
        let kind = if user.is_some() && row.kind == HolderKind::Other { HolderKind::User } else { row.kind };
        self.people.push(json!({ "name": name, "id": id, "kind": kind.as_str(), "user": user }));
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

#[cfg(test)]
mod tests {
    use super::super::sample::row;
    use super::*;
    use crate::id::{PrincipalId, UserId};
    use crate::service::access::report::history::{GivenByOthers, SpanSource};
    use time::macros::datetime;
    use uuid::Uuid;

    const MADE: OffsetDateTime = datetime!(2027-01-25 8:32:37 UTC);

    fn target() -> Scope {
        Scope::parse("/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup").unwrap()
    }

    /// A group's assignment, as it was recorded.
    fn recorded() -> (AccessSpan, ReportRow) {
        let row = ReportRow {
            targets: vec![target()],
            scope: ArmScope::from(&target()),
            kind: HolderKind::Group,
            ..row(1, 1, "DR Drill Team")
        };
        let given = GivenByOthers {
            holder: HolderKind::Group,
            verbs: None,
            conditional: false,
            created_on: None,
            created_by: None,
            first_seen: MADE,
            subscription: String::new(),
        };
        let span = AccessSpan {
            assignment: row.assignment,
            principal: row.holder,
            scope: row.scope.clone(),
            role: row.role,
            role_name: row.role_name.clone(),
            from: datetime!(2026-12-11 9:00 UTC),
            since: datetime!(2026-12-11 9:00 UTC),
            until: None,
            source: SpanSource::Foreign(given),
        };
        (span, row)
    }

    fn page(now: &AccessReport) -> Value {
        let (span, row) = recorded();
        let past = AccessReport { rows: vec![row], targets: vec![target()], ..AccessReport::default() };
        let history = AccessHistory::default();
        data(&PageSource { made: MADE, history: &history, spans: &[span], past: &past, now })
    }

    #[test]
    fn a_group_whose_members_are_listed_now_has_not_lost_its_role() {
        let (_, group) = recorded();
        let member = ReportRow {
            through: Some(group.holder),
            ..ReportRow { kind: HolderKind::User, ..group.clone() }
        };
        let member = ReportRow { holder: PrincipalId::new(Uuid::from_u128(2)), ..member };
        let listed = BTreeSet::from([(group.assignment, target())]);
        for rows in [vec![member], vec![]] {
            let now = AccessReport {
                targets: vec![target()],
                listed: listed.clone(),
                rows,
                ..AccessReport::default()
            };
            let span = page(&now)["spans"][0].clone();
            assert_eq!((&span["until"], &span["inOtherRows"]), (&Value::Null, &json!(true)));
        }
    }

    #[test]
    fn what_azure_lists_no_more_has_ended() {
        let now = AccessReport { targets: vec![target()], ..AccessReport::default() };
        let span = page(&now)["spans"][0].clone();
        assert_eq!((&span["until"], &span["inOtherRows"]), (&json!(millis(MADE)), &Value::Null));
    }

    #[test]
    fn a_user_of_this_installation_is_of_a_known_kind() {
        let user = Some(UserId::new(Uuid::from_u128(9)));
        let rows = vec![ReportRow { user, kind: HolderKind::Other, ..row(3, 3, "ana") }];
        let page = page(&AccessReport { rows, ..AccessReport::default() });
        assert_eq!(page["people"][0]["kind"], HolderKind::User.as_str());
    }
}
