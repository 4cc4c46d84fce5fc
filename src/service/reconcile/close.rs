//! Close: what the answers mean, written in one transaction; and what happens where that transaction meets a change.

use super::Reconciler;
use super::act::{Acted, Sent, pin_writes};
use super::gather::Gathered;
use super::refusal::reason_of;
use super::requeue::{comes_back, looking, while_frozen, while_principals_are_left, while_unreadable};
use crate::audit::Change;
use crate::id::OpId;
use crate::ports::role_assignments::RejectionReason;
use crate::ports::tables::{ETag, Write};
use crate::rbac::ledger::{Attempt, Entry, Holding, Tried, Wait};
use crate::rbac::plan::{self, Plan};
use crate::rbac::{BindingName, ReasonCode};
use crate::store::hints;
use crate::store::ledger::Pin;
use crate::store::marks::{self, Mark};
use crate::store::{StoreError, keys, ledger};
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;

/// Principals that one close frees: with everything else that it may write, they fit one transaction.
pub(super) const FREED_MAX: usize = 3;
/// Tries at writing a row that somebody else keeps changing.
const MARK_TRIES: u32 = 10;
/// When it is tried again after those.
const MARK_RETRY: Duration = Duration::from_secs(30);

/// What a round left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// `d:` is gone, and nothing waits.
    Done,
    /// `d:` became `w:`.
    Later,
    /// `d:` is still there: more to do at once.
    Left,
}

/// A row as the close wants it, and the version it must meet.
struct Rewrite {
    entry: Entry,
    etag: Option<ETag>,
    /// What this worker sent for it, if it did.
    attempt: Option<Attempt>,
    /// The answer settles it.
    settles: bool,
    change: Option<Change>,
}

impl Reconciler {
    /// `look` is the version of `d:` that the open (or the gather) got.
    pub(super) async fn close(
        &self,
        gathered: &Gathered,
        plan: &Plan,
        acted: Vec<Acted>,
        look: ETag,
        opened: bool,
    ) -> Result<Closed, StoreError> {
        let now = gathered.time.now(self.store.clock.monotonic());
        let rewrites = self.rewrites(gathered, plan, acted, now);
        let after = entries_after(gathered, &rewrites);
        let waits = plan::waits(&gathered.desired, &after, &plan.deferred, &gathered.ledger.waits, now);
        let op = self.store.ids.op();
        let mut changes: Vec<Change> = rewrites.iter().filter_map(|rewrite| rewrite.change.clone()).collect();
        changes.extend(wait_changes(gathered, &waits));
        let mut writes: Vec<Write> = Vec::new();
        let freed = principals_to_free(gathered, &after);
        let again = plan::look_again(&gathered.desired, &after, &plan.deferred, &waits);
        let again = while_unreadable(gathered, while_frozen(gathered, again, now), now);
        let again = while_principals_are_left(again, freed.len(), now);
        let closed = looking(gathered, plan, &after, again, look, now, &mut writes);
        writes.extend(
            rewrites
                .iter()
                .map(|rewrite| gathered.ledger.write(gathered.user, &rewrite.entry, rewrite.etag.as_ref())),
        );
        if gathered.ledger.waits_are_damaged || stripped(&waits) != stripped(&gathered.ledger.waits) {
            writes.extend(ledger::write_waits(gathered.user, &waits, gathered.ledger.waits_etag.as_ref()));
        }
        if !opened {
            writes.extend(pin_writes(&gathered.selector_pins, op, &mut changes));
        }
        let hint = keys::hint(gathered.user);
        if closed != Closed::Left
            && comes_back(gathered, &after)
            && writes.iter().all(|write| write.key() != hint)
        {
            writes.push(hints::is_over(gathered.user));
        }
        if closed != Closed::Left {
            for pin in freed.into_iter().take(FREED_MAX) {
                writes.extend(self.store.unpin(gathered.user, pin).await?);
                let what = format!("pin of user {}", gathered.user);
                changes.push(Change::Setting {
                    what,
                    before: pin.principal.to_string(),
                    after: String::new(),
                });
            }
        }
        let told = changes.clone();
        match self.write(gathered, op, changes, writes).await {
            Err(StoreError::Conflict { .. }) => {
                self.close_row_by_row(gathered, rewrites).await?;
                Ok(Closed::Left)
            }
            Err(error) => Err(error),
            Ok(()) => {
                told.iter().for_each(|change| tell(gathered, change));
                Ok(closed)
            }
        }
    }

    async fn write(
        &self,
        gathered: &Gathered,
        op: OpId,
        changes: Vec<Change>,
        writes: Vec<Write>,
    ) -> Result<(), StoreError> {
        match (writes.is_empty(), changes.is_empty()) {
            (true, _) => Ok(()),
            // Every write has its condition, so repeating it is safe without a proof.
            (false, true) => self.store.move_looking(&writes).await.map(|_| ()),
            (false, false) => {
                self.store.commit(&self.record(gathered, op, changes), writes).await.map(|_| ())
            }
        }
    }

    fn rewrites(
        &self,
        gathered: &Gathered,
        plan: &Plan,
        acted: Vec<Acted>,
        now: OffsetDateTime,
    ) -> Vec<Rewrite> {
        let mut rewrites: Vec<Rewrite> =
            acted.into_iter().map(|call| self.conclude_call(call, gathered, now)).collect();
        for settle in &plan.settle {
            let stored = gathered
                .ledger
                .entries
                .iter()
                .find(|stored| stored.entry.assignment == settle.entry.assignment);
            let open = settle.entry.op;
            let (person, Entry { principal, assignment, .. }) = (gathered.user, &settle.entry);
            let (principal, assignment) = (*principal, *assignment);
            let observed = |held| Change::EffectObserved { person, principal, assignment, open, held };
            let change = settle.observed.map(observed);
            let before = stored.map(|stored| &stored.entry);
            let change = change
                .or_else(|| foreign_change(before, &settle.entry))
                .or_else(|| reasons_change(before, &settle.entry))
                .or_else(|| released_change(before, &settle.entry));
            let etag = stored.map(|stored| stored.etag.clone());
            rewrites.push(Rewrite {
                entry: settle.entry.clone(),
                etag,
                attempt: None,
                settles: true,
                change,
            });
        }
        rewrites
    }

    /// What an answer makes of the row that the open wrote.
    fn conclude_call(&self, call: Acted, gathered: &Gathered, now: OffsetDateTime) -> Rewrite {
        let Acted { opened, sent, correlation } = call;
        let (attempt, settles) = (opened.step.attempt, opened.step.settles && !matches!(sent, Sent::Unknown));
        let cause = Some(gathered.actual.cause);
        let before = if opened.step.held_before { Holding::Present } else { Holding::Gone };
        let open = opened.entry.op;
        let mut entry =
            Entry { correlation: correlation.clone().or(opened.entry.correlation.clone()), ..opened.entry };
        let mut code = None;
        entry = match &sent {
            Sent::Created | Sent::Deleted => {
                Entry { tried: None, ..entry }.becoming(entry_goal(attempt), now)
            }
            Sent::HeldBy(other) => {
                code = Some("RoleAssignmentExists".to_owned());
                let not_before = now + self.limits.plan.foreign_look;
                let tried =
                    Tried { attempt, attempts: 1, not_before, reason: ReasonCode::ForeignAssignment, cause };
                Entry { tried: Some(tried), ..entry }.becoming(Holding::HeldByOther(*other), now)
            }
            Sent::Throttled(wait) => {
                code = Some("TooManyRequests".to_owned());
                let attempts = entry.tried.as_ref().map_or(1, |tried| tried.attempts);
                let tried = Tried {
                    attempt,
                    attempts,
                    not_before: now + *wait,
                    reason: ReasonCode::Throttled,
                    cause,
                };
                Entry { tried: Some(tried), ..entry }.becoming(before, now)
            }
            Sent::Rejected { reason: RejectionReason::ScopeNotFound, code: raw }
                if attempt == Attempt::Revoke =>
            {
                code = Some(raw.clone());
                Entry { tried: None, ..entry }.becoming(Holding::Gone, now)
            }
            Sent::Rejected { reason, code: raw } => {
                code = Some(raw.clone());
                entry.becoming(before, now).failed(attempt, reason_of(*reason), now, cause)
            }
            Sent::Unknown => entry.failed(attempt, ReasonCode::NoAnswer, now, cause),
        };
        if settles {
            entry.unsettled_until = None;
        } else if !matches!(sent, Sent::Unknown) {
            // Earlier calls may still land: what is wanted stays, and Azure is asked after the row's time.
            entry.holding = entry_goal(attempt);
        }
        if entry.is_settled_and_gone() {
            entry.wished = None;
        }
        let executed = code.is_none();
        let answered = Change::EffectAnswered {
            person: gathered.user,
            principal: entry.principal,
            assignment: entry.assignment,
            operation: attempt,
            open,
            executed,
            code,
            correlation,
        };
        let change = (!matches!(sent, Sent::Unknown)).then_some(answered);
        Rewrite { entry, etag: Some(opened.etag), attempt: Some(attempt), settles, change }
    }

    /// The close met a change. Where only `d:` changed, a row is settled under its own version and `d:` is left alone; a
    /// row that changed, or that may not be settled, is written again, unsettled, together with `d:`.
    async fn close_row_by_row(&self, gathered: &Gathered, rewrites: Vec<Rewrite>) -> Result<(), StoreError> {
        for rewrite in rewrites.into_iter().filter(|rewrite| rewrite.attempt.is_some()) {
            let op = self.store.ids.op();
            if rewrite.settles {
                let written = gathered.ledger.write(gathered.user, &rewrite.entry, rewrite.etag.as_ref());
                let mut writes = vec![written];
                writes.extend(self.mark_after_grant(gathered, &rewrite).await?);
                let changes = rewrite.change.clone().into_iter().collect();
                match self.store.commit(&self.record(gathered, op, changes), writes).await {
                    Ok(_) => continue,
                    Err(StoreError::Conflict { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            self.mark_row(gathered, &rewrite).await?;
        }
        Ok(())
    }

    /// A grant was answered after `d:` was gone: who looked meanwhile may have found nothing yet in Azure, so somebody looks
    /// again now, as at a leaver.
    async fn mark_after_grant(
        &self,
        gathered: &Gathered,
        rewrite: &Rewrite,
    ) -> Result<Vec<Write>, StoreError> {
        let key = keys::look_now(gathered.user);
        let granted = rewrite.attempt == Some(Attempt::Grant) && rewrite.entry.holding == Holding::Present;
        if !granted || self.store.get(&key).await?.is_some() {
            return Ok(Vec::new());
        }
        let touch = self.store.ids.op().to_string();
        Ok(marks::look_again(gathered.user, &Mark::leaving(gathered.look.mark.origin.clone()), false, &touch))
    }

    async fn mark_row(&self, gathered: &Gathered, rewrite: &Rewrite) -> Result<(), StoreError> {
        let key = keys::ledger(gathered.user, rewrite.entry.assignment);
        for _ in 0..MARK_TRIES {
            let answer = self.store.read(&key).await?;
            let Some(row) = answer.value else { return Ok(()) };
            let mut entry = ledger::read_entry(&row)?;
            entry.unsettled_until = entry.unsettled_until.or(Some(answer.date));
            entry.written = answer.date;
            let granted = rewrite.attempt == Some(Attempt::Grant);
            let kept = ledger::kept(&row);
            let mut writes = vec![ledger::write(gathered.user, &entry, Some((&row.etag, Some(&kept))))];
            writes.extend(self.touch_mark(gathered, granted).await?);
            let op = self.store.ids.op();
            let changes = rewrite.change.clone().into_iter().collect();
            match self.store.commit(&self.record(gathered, op, changes), writes).await {
                Err(StoreError::Conflict { .. }) => {}
                other => return other.map(|_| ()),
            }
        }
        Err(StoreError::Away { retry_after: MARK_RETRY, source: None })
    }

    /// A mark that is there is only touched, its cause stays; where it is gone, this reconcile's own is written again. After a
    /// grant it takes away: what was sent may be unwanted by now.
    async fn touch_mark(&self, gathered: &Gathered, granted: bool) -> Result<Vec<Write>, StoreError> {
        let there = self.store.get(&keys::look_now(gathered.user)).await?.is_some();
        let touch = self.store.ids.op().to_string();
        let own = &gathered.look.mark;
        let mark = if granted { &Mark::leaving(own.origin.clone()) } else { own };
        Ok(marks::look_again(gathered.user, mark, there, &touch))
    }
}

/// One log line for each thing that came of a round.
fn tell(gathered: &Gathered, change: &Change) {
    let (user, label) = (gathered.user, gathered.look.mark.origin.actor.as_str());
    match change {
        Change::EffectAnswered { assignment, operation, executed, code, .. } => {
            tracing::info!(
                user.id = %user, assignment.name = %assignment, operation = operation.as_str(), token.label = label,
                executed, code, "ARM answered a {}", operation.as_str()
            );
        }
        Change::EffectObserved { assignment, held, .. } => {
            tracing::info!(user.id = %user, assignment.name = %assignment, held, "ARM was asked what it holds");
        }
        Change::Wait { binding, operation, reason, .. } => {
            let reason = reason.map_or("ended", ReasonCode::as_str);
            let operation = operation.as_str();
            tracing::info!(
                user.id = %user, binding = %binding, operation, token.label = label, reason, "pending {operation} changed"
            );
        }
        _ => {}
    }
}

fn entry_goal(attempt: Attempt) -> Holding {
    if attempt == Attempt::Grant { Holding::Present } else { Holding::Gone }
}

fn entries_after(gathered: &Gathered, rewrites: &[Rewrite]) -> Vec<Entry> {
    let mut all: BTreeMap<_, Entry> = gathered
        .ledger
        .entries
        .iter()
        .map(|stored| (stored.entry.assignment, stored.entry.clone()))
        .collect();
    for rewrite in rewrites {
        all.insert(rewrite.entry.assignment, rewrite.entry.clone());
    }
    all.into_values().collect()
}

fn foreign_change(before: Option<&Entry>, after: &Entry) -> Option<Change> {
    let holder = |entry: &Entry| match entry.holding {
        Holding::HeldByOther(other) => other.to_string(),
        _ => String::new(),
    };
    let (before, after_text) = (before.map(holder).unwrap_or_default(), holder(after));
    (before != after_text).then(|| Change::Setting {
        what: format!("foreign assignment of {}", after.assignment),
        before,
        after: after_text,
    })
}

/// The assignment stays, for other reasons than before.
fn reasons_change(before: Option<&Entry>, after: &Entry) -> Option<Change> {
    let names = |entry: &Entry| entry.bindings.iter().map(BindingName::as_str).collect::<Vec<_>>().join(", ");
    let (before, after_text) = (names(before?), names(after));
    let what = format!("bindings of {}", after.assignment);
    (before != after_text).then_some(Change::Setting { what, before, after: after_text })
}

/// The row is closed without a call: its principal is another record's.
fn released_change(before: Option<&Entry>, after: &Entry) -> Option<Change> {
    let was_held = before.is_some_and(|before| !before.is_settled_and_gone());
    (was_held && after.is_settled_and_gone()).then(|| Change::Setting {
        what: format!("assignment {}", after.assignment),
        before: "in the ledger of this record".to_owned(),
        after: "of the record that holds the object id".to_owned(),
    })
}

/// What a wait is about, without the times that move by themselves.
fn stripped(waits: &[Wait]) -> Vec<(String, &'static str, u32, OffsetDateTime)> {
    let name =
        |wait: &Wait| format!("{}|{}|{}|{}", wait.binding, wait.role, wait.scope.folded(), wait.wanted);
    waits.iter().map(|wait| (name(wait), wait.reason.as_str(), wait.attempts, wait.not_before)).collect()
}

/// Refusals and waits that began, changed or ended.
fn wait_changes(gathered: &Gathered, after: &[Wait]) -> Vec<Change> {
    let before = &gathered.ledger.waits;
    let same = |list: &[Wait], wait: &Wait, reason: bool| {
        list.iter().any(|other| {
            let same = other.is_for(&wait.binding, wait.role, &wait.scope) && other.wanted == wait.wanted;
            same && (!reason || other.reason == wait.reason)
        })
    };
    let change = |wait: &Wait, reason| Change::Wait {
        person: gathered.user,
        binding: wait.binding.clone(),
        operation: if wait.wanted { Attempt::Grant } else { Attempt::Revoke },
        reason,
    };
    let began =
        after.iter().filter(|wait| !same(before, wait, true)).map(|wait| change(wait, Some(wait.reason)));
    let ended = before.iter().filter(|wait| !same(after, wait, false)).map(|wait| change(wait, None));
    began.chain(ended).collect()
}

/// A principal is freed where the record is gone or no longer has that id, and every row of both is settled and gone; a row
/// that cannot be read may be one of them.
fn principals_to_free<'a>(gathered: &'a Gathered, after: &[Entry]) -> Vec<&'a Pin> {
    let may_free = |pin: &&Pin| {
        let same = gathered.desired.frozen || gathered.principal == Some(pin.principal);
        let named = gathered.unreadable || gathered.person.is_some() && same;
        let busy = after.iter().any(|entry| entry.principal == pin.principal && !entry.is_settled_and_gone());
        !named && !busy && gathered.ledger.rows_unreadable == 0
    };
    gathered.ledger.pins.iter().filter(may_free).collect()
}

#[cfg(test)]
mod tests;
