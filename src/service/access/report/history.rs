//! Who held what, and when: a fold over the audit. Pure.
//!
//! What this service gave is held from the moment a grant was sent until its end was confirmed: while a call may have landed,
//! it counts as held. What others gave is known as sweeps saw it: hourly, and a changed role definition within a day.

use crate::audit::RecordedChange;
use crate::id::{PrincipalId, UserId};
use crate::ports::azure_access::HolderKind;
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::verbs::RoleVerbs;
use crate::rbac::{AssignmentName, BackupRole};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// What set a change off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetOff {
    /// `request`, `order`, `sweep` or `snapshot`.
    pub cause: String,
    /// The label of the token, the operator, or `service`.
    pub actor: String,
    /// The operation that began it, to look up in the audit.
    pub op: String,
}

/// A time in which a role assignment was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessSpan {
    pub assignment: AssignmentName,
    pub principal: PrincipalId,
    pub scope: ArmScope,
    pub role: Uuid,
    pub role_name: String,
    pub from: OffsetDateTime,
    /// When the holder got it, where it stayed under other bindings or with other verbs since.
    pub since: OffsetDateTime,
    /// `None`: it is there.
    pub until: Option<OffsetDateTime>,
    pub source: SpanSource,
}

/// Who made the assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpanSource {
    /// This service.
    Ours(GivenByUs),
    /// Somebody else: as sweeps saw it.
    Foreign(GivenByOthers),
}

/// Why this service gave it, and why it took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenByUs {
    pub user: Option<UserId>,
    pub bindings: Vec<String>,
    pub reasons: Vec<String>,
    pub set_off: SetOff,
    /// Whether Azure confirmed it: until then a call may have landed.
    pub confirmed: bool,
    /// The last time that it was to be taken.
    pub taken: Option<TakenBack>,
}

/// Why this service takes something back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenBack {
    pub at: OffsetDateTime,
    pub reasons: Vec<String>,
    pub set_off: SetOff,
}

/// What a sweep saw of an assignment that this service did not make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenByOthers {
    pub holder: HolderKind,
    /// `None`: the role definition could not be read.
    pub verbs: Option<RoleVerbs>,
    pub conditional: bool,
    pub created_on: Option<OffsetDateTime>,
    pub created_by: Option<PrincipalId>,
    /// When a sweep first saw it.
    pub first_seen: OffsetDateTime,
    /// The subscription under which it was seen.
    pub subscription: String,
}

/// The spans of everything that the audit knows.
#[derive(Debug, Default)]
pub struct AccessHistory {
    spans: Vec<AccessSpan>,
    /// The span of an assignment of ours that has not ended, as its place.
    ours: HashMap<AssignmentName, usize>,
    foreign: HashMap<(AssignmentName, String), usize>,
    opened: HashMap<AssignmentName, Opened>,
    /// What the backup roles gave, from that time on.
    role_verbs: BTreeMap<Uuid, Vec<(OffsetDateTime, RoleVerbs)>>,
    /// When a sweep first recorded what others gave, or what the roles give.
    first_survey: Option<OffsetDateTime>,
    /// What waited or was refused: of each person, binding and kind of step the reasons, from that time on.
    waits: HashMap<UserId, WaitsOfUser>,
    /// The leavers of drills.
    of_drills: HashSet<UserId>,
    records: usize,
    unreadable: usize,
    since: Option<OffsetDateTime>,
}

/// By binding and operation; no reason from where it ended on.
type WaitsOfUser = BTreeMap<(String, String), Vec<(OffsetDateTime, Option<String>)>>;

/// What waited at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedWait<'a> {
    pub binding: &'a str,
    /// `grant` or `revoke`.
    pub operation: &'a str,
    /// A reason code.
    pub reason: &'a str,
    pub since: OffsetDateTime,
}

/// The last open of an assignment.
#[derive(Debug, Clone)]
struct Opened {
    op: String,
    wanted: bool,
    /// The op of the record that has Azure's answer.
    answered_in: Option<String>,
    /// Calls of before may still have landed: an open of before was not answered, or was to take it.
    is_in_doubt: bool,
    span: AccessSpan,
}

impl AccessHistory {
    /// Takes one record. Records come in the order of their ops.
    pub fn fold(&mut self, record: &Value) {
        self.records += 1;
        let Some(time) = time_of(record, "time") else {
            self.unreadable += 1;
            return;
        };
        self.since.get_or_insert(time);
        let set_off = SetOff {
            cause: text(record, "cause").to_owned(),
            actor: text(record, "actor").to_owned(),
            op: text(record, "origin").to_owned(),
        };
        let op = text(record, "op");
        for change in record.get("changes").and_then(Value::as_array).into_iter().flatten() {
            match text(change, "kind") {
                "effect-opened" | "assignment-recovered" => self.open(change, op, time, &set_off),
                "effect-answered" => self.answer(change, op, time),
                "effect-observed" => self.observe(change, op, time),
                "foreign-access-seen" => self.see(change, time),
                "wait-changed" => self.wait(change, op, time),
                "role-verbs-seen" => self.see_role(change, time),
                "setting-changed" => self.rebind(change, time),
                "drill-began" => self.of_drills.extend(UserId::parse(text(change, "person")).ok()),
                _ => {}
            }
        }
    }

    /// What was there at that moment.
    pub fn at(&self, time: OffsetDateTime) -> impl Iterator<Item = &AccessSpan> {
        self.spans().filter(move |span| span.from <= time && span.until.is_none_or(|until| until > time))
    }

    /// Every span, also those of no length, which are none.
    pub fn spans(&self) -> impl Iterator<Item = &AccessSpan> {
        self.spans.iter().filter(|span| span.until.is_none_or(|until| until > span.from))
    }

    /// Whether a user was the leaver of a drill.
    pub fn is_leaver(&self, user: UserId) -> bool {
        self.of_drills.contains(&user)
    }

    /// The verbs of a backup role at that moment; where nothing was recorded by then, the first that were.
    pub fn verbs_of_role(&self, role: Uuid, time: OffsetDateTime) -> Option<RoleVerbs> {
        let known = self.role_verbs.get(&role)?;
        let by_then = known.iter().rev().find(|(from, _)| *from <= time).or_else(|| known.first());
        by_then.map(|(_, verbs)| *verbs)
    }

    /// What waited or was refused of a user at that moment.
    pub fn waits_of(&self, user: UserId, time: OffsetDateTime) -> Vec<RecordedWait<'_>> {
        let waits = self.waits.get(&user).into_iter().flatten();
        let then = waits.filter_map(|((binding, operation), reasons)| {
            let (since, reason) = reasons.iter().rev().find(|(from, _)| *from <= time)?;
            let reason = reason.as_deref()?;
            Some(RecordedWait { binding, operation, reason, since: *since })
        });
        then.collect()
    }

    /// The time of the first record, from which on the history is whole.
    pub const fn since(&self) -> Option<OffsetDateTime> {
        self.since
    }

    /// When a sweep first recorded what others gave.
    pub const fn first_survey(&self) -> Option<OffsetDateTime> {
        self.first_survey
    }

    /// Records that were taken.
    pub const fn records(&self) -> usize {
        self.records
    }

    /// Records that could not be read: what they say is missing.
    pub const fn unreadable(&self) -> usize {
        self.unreadable
    }

    fn open(&mut self, change: &Value, op: &str, time: OffsetDateTime, set_off: &SetOff) {
        let (Some(assignment), Some(scope), Some(role)) = (
            AssignmentName::parse(text(change, "assignment")).ok(),
            ArmScope::parse(text(change, "scope")),
            BackupRole::parse(text(change, "role")),
        ) else {
            return;
        };
        let Ok(principal) = PrincipalId::parse(text(change, "principal")) else { return };
        // What is found in Azure was given by records that may be lost.
        let is_recovered = text(change, "kind") == "assignment-recovered";
        let wanted = is_recovered || change.get("wanted").and_then(Value::as_bool).unwrap_or_default();
        let held_before = change.get("heldBefore").and_then(Value::as_bool).unwrap_or_default();
        let reasons = texts(change, "reasons");
        let user = UserId::parse(text(change, "person")).ok();
        let taken = TakenBack { at: time, reasons: reasons.clone(), set_off: set_off.clone() };
        // Why it was given is not what the open of a revocation says.
        let source = SpanSource::Ours(GivenByUs {
            user,
            bindings: texts(change, "bindings"),
            reasons: if wanted { reasons } else { Vec::new() },
            set_off: if wanted { set_off.clone() } else { SetOff::default() },
            confirmed: false,
            taken: (!wanted).then(|| taken.clone()),
        });
        let span = AccessSpan {
            assignment,
            principal,
            scope,
            role: role.definition_id(),
            role_name: role.name().to_owned(),
            from: time,
            since: time,
            until: None,
            source,
        };
        let held = self.ours.get(&assignment).copied();
        match (wanted, held) {
            // The audit may begin after the grant did: what is to be taken was held.
            (true, None) => self.begin_ours(span.clone()),
            (false, None) if held_before => self.begin_ours(span.clone()),
            (false, Some(place)) => {
                if let Some(given) = self.given(place) {
                    given.taken = Some(taken);
                }
            }
            (true, Some(place)) => self.give_again(place, &span),
            _ => {}
        }
        let is_in_doubt = self
            .opened
            .get(&assignment)
            .is_some_and(|before| before.answered_in.is_none() || before.is_in_doubt && held.is_some());
        let opened = Opened { op: op.to_owned(), wanted, answered_in: None, is_in_doubt, span };
        self.opened.insert(assignment, opened);
    }

    /// It is to be held again, or still, by a later open: of the same person that withdraws a revocation, another person begins.
    fn give_again(&mut self, place: usize, again: &AccessSpan) {
        let SpanSource::Ours(next) = &again.source else { return };
        let Some(given) = self.given(place) else { return };
        if given.user == next.user {
            given.taken = None;
            return;
        }
        self.end_ours(again.assignment, again.from);
        self.begin_ours(again.clone());
    }

    fn begin_ours(&mut self, span: AccessSpan) {
        self.ours.insert(span.assignment, self.spans.len());
        self.spans.push(span);
    }

    fn given(&mut self, place: usize) -> Option<&mut GivenByUs> {
        match &mut self.spans.get_mut(place)?.source {
            SpanSource::Ours(given) => Some(given),
            SpanSource::Foreign(_) => None,
        }
    }

    fn answer(&mut self, change: &Value, op: &str, time: OffsetDateTime) {
        let Ok(assignment) = AssignmentName::parse(text(change, "assignment")) else { return };
        let Some(opened) =
            self.opened.get_mut(&assignment).filter(|opened| opened.op == text(change, "open"))
        else {
            return;
        };
        opened.answered_in = Some(op.to_owned());
        let executed = change.get("executed").and_then(Value::as_bool).unwrap_or_default();
        let (wanted, is_in_doubt) = (opened.wanted, opened.is_in_doubt);
        opened.is_in_doubt &= !executed;
        match (wanted, executed || is_of_nothing(text(change, "code"))) {
            (true, true) if executed => self.confirm(assignment),
            (true, _) if !is_in_doubt => self.refute(assignment),
            (true, _) => {}
            (false, true) => self.end_ours(assignment, time),
            (false, false) => {}
        }
    }

    fn observe(&mut self, change: &Value, op: &str, time: OffsetDateTime) {
        let Ok(assignment) = AssignmentName::parse(text(change, "assignment")) else { return };
        let held = change.get("held").and_then(Value::as_bool).unwrap_or_default();
        let opened = self.opened.get(&assignment);
        let is_in_doubt = opened.is_some_and(|opened| opened.is_in_doubt || !opened.wanted);
        match (held, self.ours.contains_key(&assignment)) {
            (true, true) => self.confirm(assignment),
            (true, false) => {
                if let Some(Opened { span, .. }) = self.opened.get(&assignment).cloned() {
                    self.begin_ours(AccessSpan { from: time, since: time, ..span });
                    self.confirm(assignment);
                }
            }
            (false, true) => {
                let place = self.ours.get(&assignment).copied();
                let is_confirmed =
                    place.and_then(|place| self.given(place)).is_some_and(|given| given.confirmed);
                match is_confirmed || is_in_doubt {
                    true => self.end_ours(assignment, time),
                    false => self.refute(assignment),
                }
            }
            (false, false) => {}
        }
        // Azure was asked: what was under way is over.
        if let Some(opened) = self.opened.get_mut(&assignment) {
            (opened.answered_in, opened.is_in_doubt) = (Some(op.to_owned()), false);
        }
    }

    fn confirm(&mut self, assignment: AssignmentName) {
        if let Some(given) = self.ours.get(&assignment).copied().and_then(|place| self.given(place)) {
            given.confirmed = true;
        }
    }

    /// A grant that nothing confirmed was not carried out: the person never held it.
    fn refute(&mut self, assignment: AssignmentName) {
        let Some(place) = self.ours.get(&assignment).copied() else { return };
        if self.given(place).is_some_and(|given| !given.confirmed) {
            self.ours.remove(&assignment);
            if let Some(span) = self.spans.get_mut(place) {
                span.until = Some(span.from);
            }
        }
    }

    fn end_ours(&mut self, assignment: AssignmentName, time: OffsetDateTime) {
        let place = self.ours.remove(&assignment);
        if let Some(span) = place.and_then(|place| self.spans.get_mut(place)) {
            span.until = Some(time);
        }
    }

    /// An assignment stays under other bindings: another span, with the same reason to have begun.
    fn rebind(&mut self, change: &Value, time: OffsetDateTime) {
        if !text(change, "what").starts_with("bindings of ") {
            return;
        }
        let change = RecordedChange::read(change);
        let Ok(assignment) = AssignmentName::parse(change.text("assignment")) else { return };
        let Some(place) = self.ours.get(&assignment).copied() else { return };
        let after = change.list("after");
        let Some(mut span) = self.spans.get(place).cloned() else { return };
        if let SpanSource::Ours(given) = &mut span.source {
            given.reasons = reasons_under(&given.reasons, &after);
            given.bindings = after;
        }
        self.end_ours(assignment, time);
        self.begin_ours(AccessSpan { from: time, ..span });
    }

    fn see(&mut self, change: &Value, time: OffsetDateTime) {
        let (Ok(assignment), Ok(principal), Ok(role), Some(scope)) = (
            AssignmentName::parse(text(change, "assignment")),
            PrincipalId::parse(text(change, "principal")),
            Uuid::try_parse(text(change, "roleDefinition")),
            ArmScope::parse(text(change, "scope")),
        ) else {
            return;
        };
        self.first_survey.get_or_insert(time);
        let subscription = text(change, "subscription").to_owned();
        let key = (assignment, subscription.clone());
        let mut first_seen = None;
        if let Some(span) = self.foreign.remove(&key).and_then(|place| self.spans.get_mut(place)) {
            span.until = Some(time);
            if let SpanSource::Foreign(given) = &span.source {
                first_seen = Some(given.first_seen);
            }
        }
        if matches!(text(change, "seen"), "gone" | "unwatched") {
            return;
        }
        // Who holds which role where never changes of an assignment: it was so since it was made.
        let created_on = time_of(change, "createdOn").filter(|created| *created <= time);
        let from = if first_seen.is_some() { time } else { created_on.unwrap_or(time) };
        let since = created_on.or(first_seen).unwrap_or(time);
        let verbs = texts(change, "verbs");
        let is_known = !verbs.iter().any(|verb| verb == "unknown");
        let source = SpanSource::Foreign(GivenByOthers {
            holder: HolderKind::parse(text(change, "holder")),
            verbs: is_known.then(|| RoleVerbs::from_names(verbs.iter().map(String::as_str))),
            conditional: change.get("conditional").and_then(Value::as_bool).unwrap_or_default(),
            created_on,
            first_seen: first_seen.unwrap_or(time),
            created_by: PrincipalId::parse(text(change, "createdBy")).ok(),
            subscription,
        });
        let role_name = text(change, "role").to_owned();
        self.foreign.insert(key, self.spans.len());
        let span =
            AccessSpan { assignment, principal, scope, role, role_name, from, since, until: None, source };
        self.spans.push(span);
    }

    fn wait(&mut self, change: &Value, op: &str, time: OffsetDateTime) {
        let Ok(user) = UserId::parse(text(change, "person")) else { return };
        let key = (text(change, "binding").to_owned(), text(change, "operation").to_owned());
        let reason = Some(text(change, "reason")).filter(|reason| !matches!(*reason, "" | "ended"));
        if reason.is_none() && key.1 == "revoke" {
            self.withdraw(user, &key.0, op);
        }
        let waits = self.waits.entry(user).or_default().entry(key).or_default();
        waits.push((time, reason.map(str::to_owned)));
    }

    /// A revocation no longer waits. One that was opened lately has its answer in the same record, or none yet: it goes on.
    fn withdraw(&mut self, user: UserId, binding: &str, op: &str) {
        let goes_on = |opened: &Opened| {
            !opened.wanted && opened.answered_in.as_deref().is_none_or(|answered| answered == op)
        };
        for (assignment, place) in &self.ours {
            if let Some(SpanSource::Ours(given)) = self.spans.get_mut(*place).map(|span| &mut span.source)
                && given.user == Some(user)
                && given.bindings.iter().any(|name| name == binding)
                && !self.opened.get(assignment).is_some_and(goes_on)
            {
                given.taken = None;
            }
        }
    }

    fn see_role(&mut self, change: &Value, time: OffsetDateTime) {
        let Ok(role) = Uuid::try_parse(text(change, "roleDefinition")) else { return };
        self.first_survey.get_or_insert(time);
        let verbs = RoleVerbs::from_names(texts(change, "verbs").iter().map(String::as_str));
        self.role_verbs.entry(role).or_default().push((time, verbs));
    }
}

/// Codes of ARM that say that there is nothing to take: the scope, or the assignment, does not exist.
pub(in crate::service) fn is_of_nothing(code: &str) -> bool {
    const CODES: [&str; 4] =
        ["ResourceNotFound", "ResourceGroupNotFound", "SubscriptionNotFound", "RoleAssignmentNotFound"];
    CODES.iter().any(|known| known.eq_ignore_ascii_case(code))
}

/// The reasons that are about one of these bindings. Records name the binding at the end of a reason.
pub(super) fn reasons_under(reasons: &[String], bindings: &[String]) -> Vec<String> {
    let is_about =
        |reason: &&String| bindings.iter().any(|name| reason.ends_with(&format!(" of binding {name}")));
    reasons.iter().filter(is_about).cloned().collect()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    let items = value.get(name).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

pub(super) fn time_of(value: &Value, name: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text(value, name), &Rfc3339).ok()
}
