//! What this service has recorded of who holds what now: its ledgers, and what the last sweep saw of others.

use super::history::{
    AccessSpan, GivenByOthers, GivenByUs, SetOff, SpanSource, TakenBack, reasons_under, time_of,
};
use crate::id::UserId;
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::ledger::{AssignmentState, LedgerEntry};
use crate::store::foreign_access::ForeignAccess;
use crate::store::ledger_walk::{LedgerPosition, OwnedEntry};
use crate::store::{StateStore, StoreError};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

/// Reads of the audit that are under way at a time.
const READS_MAX: usize = 16;

/// What is recorded as held now: everything that may be there.
pub async fn held_now(store: &StateStore) -> Result<Vec<AccessSpan>, StoreError> {
    let mut spans = Vec::new();
    let mut opened = Vec::new();
    let mut pages = store.ledger_pages(&LedgerPosition::default());
    while let Some(rows) = pages.next().await? {
        for OwnedEntry { user, stored } in rows.into_iter().filter_map(|row| row.owned) {
            let entry = stored.entry;
            let may_be_held = entry.state == AssignmentState::Present
                || entry.state == AssignmentState::Gone && entry.unsettled_until.is_some();
            if may_be_held {
                opened.push((spans.len(), entry.op, entry.unwanted_since.is_some()));
                spans.push(of_entry(user, &entry));
            }
        }
    }
    let reasons: Vec<(usize, bool, Option<Value>)> = stream::iter(opened)
        // A record that is gone, or cannot be read, leaves the reason unknown.
        .map(|(place, op, is_unwanted)| async move {
            Ok::<_, StoreError>((place, is_unwanted, store.audit_record(op).await?))
        })
        .buffered(READS_MAX)
        .try_collect()
        .await?;
    for (place, is_unwanted, record) in reasons {
        if let (Some(span), Some(record)) = (spans.get_mut(place), record) {
            explain(span, &record, is_unwanted);
        }
    }
    spans.extend(store.foreign_access().await?.into_iter().map(of_foreign));
    Ok(spans)
}

fn of_entry(user: UserId, entry: &LedgerEntry) -> AccessSpan {
    let source = SpanSource::Ours(GivenByUs {
        user: Some(user),
        bindings: entry.bindings.iter().map(ToString::to_string).collect(),
        reasons: Vec::new(),
        set_off: SetOff::default(),
        confirmed: entry.unsettled_until.is_none(),
        taken: None,
    });
    AccessSpan {
        assignment: entry.assignment,
        principal: entry.principal,
        scope: ArmScope::from(&entry.scope),
        role: entry.role.definition_id(),
        role_name: entry.role.name().to_owned(),
        from: entry.since,
        since: entry.since,
        until: None,
        source,
    }
}

fn of_foreign(access: ForeignAccess) -> AccessSpan {
    AccessSpan {
        assignment: access.key.assignment,
        principal: access.key.principal,
        scope: access.scope,
        role: access.role,
        role_name: access.role_name,
        from: access.first_seen,
        since: access.created_on.unwrap_or(access.first_seen),
        until: None,
        source: SpanSource::Foreign(GivenByOthers {
            holder: access.holder,
            verbs: access.verbs,
            conditional: access.conditional,
            created_on: access.created_on,
            created_by: access.created_by,
            first_seen: access.first_seen,
            subscription: access.key.subscription,
        }),
    }
}

/// Adds why it was given, from the record that opened it last. `is_unwanted`: it is to be taken. Reasons of before bindings
/// changed are left out.
fn explain(span: &mut AccessSpan, record: &Value, is_unwanted: bool) {
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let SpanSource::Ours(given) = &mut span.source else { return };
    let name = span.assignment.to_string();
    let changes = record.get("changes").and_then(Value::as_array).into_iter().flatten();
    let is_open =
        |change: &&Value| text(change, "kind") == "effect-opened" && text(change, "assignment") == name;
    let Some(open) = changes.into_iter().find(is_open) else { return };
    let reasons = open.get("reasons").and_then(Value::as_array).into_iter().flatten();
    let reasons: Vec<String> = reasons.filter_map(Value::as_str).map(str::to_owned).collect();
    let set_off =
        SetOff { cause: text(record, "cause"), actor: text(record, "actor"), op: text(record, "origin") };
    match open.get("wanted").and_then(Value::as_bool) {
        Some(true) => (given.reasons, given.set_off) = (reasons_under(&reasons, &given.bindings), set_off),
        _ if !is_unwanted => {}
        _ => {
            let at = time_of(record, "time").unwrap_or(span.from);
            given.taken = Some(TakenBack { at, reasons, set_off });
        }
    }
}
