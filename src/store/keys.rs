//! Row keys. Only `store` knows them. Keys are ids or hashes, never client text.

use crate::id::{GroupId, OpId, PrincipalId, RequestId, UserId, format_stamp, parse_stamp};
use crate::rbac::plan::BlockKey;
use crate::rbac::{AssignmentName, BackupRole, BindingName};
use crate::scim::compare::{self, CaseMode};
use sha2::{Digest, Sha256};
use std::fmt::{Display, Write as _};
use time::OffsetDateTime;
use uuid::Uuid;

/// Lower-case hex SHA-256.
pub fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn folded(text: &str) -> String {
    hash(&compare::key(text, CaseMode::Folded))
}

fn exact(text: &str) -> String {
    hash(&compare::key(text, CaseMode::Exact))
}

/// What the keys of all ledgers begin with.
pub const LEDGER: &str = "l:";

/// What the keys of all memberships begin with, seen from the members.
pub const MEMBERSHIPS: &str = "ug:";

/// What the keys of all principals begin with.
pub const PRINCIPALS: &str = "p:";

/// What the keys of all rows begin with that lead from a group to a selector.
pub const LEADS: &str = "bg:";

/// What the keys of the scopes that refuse steps begin with. They come right after the settings.
pub const SCOPE_BLOCKS: &str = "sb:";

/// What the keys of all assignments begin with that this service did not make.
pub const FOREIGN_ACCESS: &str = "fa:";

/// What the keys of what the backup roles give begin with: among those assignments, so that one read finds both.
pub const ROLE_VERBS: &str = "fa:role:";

/// What the keys of all hints begin with.
pub const HINTS: &str = "dl:";

/// What the keys of all tallies begin with. They are no settings: every reconcile reads those.
pub const TALLIES: &str = "t:";

/// What the keys of all requests begin with that left no audit record. They are in a table of their own.
pub const LOGGED_REQUESTS: &str = "r:";

/// What the keys of all numbers of refused requests begin with. They are in the same table.
pub const REFUSAL_COUNTS: &str = "n:";

/// What the keys of the results of drills begin with.
pub const DRILL_RESULTS: &str = "dr:";

/// What the name of a batch begins with, among the settings.
pub const BATCH: &str = "batch:";

/// The keys that begin with `prefix`, as `from` and `to` of a range. `prefix` ends in `:`.
pub fn range_of(prefix: &str) -> (String, String) {
    let end = prefix.strip_suffix(':').map_or_else(|| prefix.to_owned(), |stem| format!("{stem};"));
    (prefix.to_owned(), end)
}

/// A request that left no audit record, or an operation of it.
pub fn logged_request(id: RequestId, operation: Option<usize>) -> String {
    match operation {
        None => format!("{LOGGED_REQUESTS}{id}"),
        Some(number) => format!("{LOGGED_REQUESTS}{id}:{number:04}"),
    }
}
/// The request and the operation that a key names.
pub fn logged_request_of(key: &str) -> Option<(RequestId, Option<usize>)> {
    let rest = key.strip_prefix(LOGGED_REQUESTS)?;
    let (id, number) = rest.split_once(':').map_or((rest, None), |(id, number)| (id, Some(number)));
    let operation = number.map(|number| number.parse().ok());
    match operation {
        Some(None) => None,
        operation => Some((RequestId::parse(id).ok()?, operation.flatten())),
    }
}
/// Where the requests since that time begin.
pub fn logged_requests_from(time: OffsetDateTime) -> String {
    logged_request(RequestId::first_at(time), None)
}
/// The number of requests of one kind within an hour, as one process counts them.
pub fn refusal_count(hour: OffsetDateTime, process: Uuid, kind: &str) -> String {
    format!("{REFUSAL_COUNTS}{}:{process}:{kind}", format_stamp(hour))
}
/// Where the numbers of that hour begin.
pub fn refusal_counts_from(hour: OffsetDateTime) -> String {
    format!("{REFUSAL_COUNTS}{}", format_stamp(hour))
}
/// A user's header.
pub fn user(id: UserId) -> String {
    format!("u:{id}")
}
/// The owner of a userName.
pub fn user_name(text: &str) -> String {
    format!("un:{}", folded(text))
}
/// The owner of a group's displayName.
pub fn group_name(text: &str) -> String {
    format!("gn:{}", folded(text))
}
/// The record that may act on an Entra object.
pub fn principal(id: PrincipalId) -> String {
    format!("p:{id}")
}
/// All users with that externalId; a row for each begins with this.
pub fn user_external_prefix(text: &str) -> String {
    format!("ux:{}:", exact(text))
}
/// All groups with that externalId.
pub fn group_external_prefix(text: &str) -> String {
    format!("gx:{}:", exact(text))
}
/// All users with that mail address.
pub fn user_email_prefix(text: &str) -> String {
    format!("ue:{}:", folded(text))
}
/// One row of an index that is not unique.
pub fn indexed(prefix: &str, id: impl Display) -> String {
    format!("{prefix}{id}")
}
/// All members of a group.
pub fn members_prefix(group: GroupId) -> String {
    format!("m:{group}:")
}
/// One membership, seen from the group.
pub fn member(group: GroupId, member: impl Display) -> String {
    format!("m:{group}:{member}")
}
/// All groups that a user or a group is in.
pub fn groups_prefix(member: impl Display) -> String {
    format!("ug:{member}:")
}
/// One membership, seen from the member.
pub fn membership(member: impl Display, group: GroupId) -> String {
    format!("ug:{member}:{group}")
}
/// The user in the key of a membership, as text.
pub fn user_of_membership(key: &str) -> Option<&str> {
    Some(key.strip_prefix(MEMBERSHIPS)?.split_once(':')?.0)
}
/// The counter bucket of an id: its first two hex digits.
pub fn bucket(id: impl Display) -> String {
    id.to_string().chars().take(2).collect()
}
/// Everything the ledger knows of a record.
pub fn ledger_prefix(user: UserId) -> String {
    format!("l:{user}:")
}
/// One assignment in the ledger of a record.
pub fn ledger(user: UserId, assignment: AssignmentName) -> String {
    format!("l:{user}:{assignment}")
}
/// The record's side of a `p:` row.
pub fn ledger_pin(user: UserId, principal: PrincipalId) -> String {
    format!("l:{user}:pin:{principal}")
}
/// What is wanted and cannot be had now.
pub fn ledger_waits(user: UserId) -> String {
    format!("l:{user}:waits")
}
/// What the breakers count of a binding.
pub fn tally(binding: &BindingName) -> String {
    format!("{TALLIES}{}", hash(binding.as_str()))
}
/// What they count of all bindings.
pub fn tally_of_all() -> String {
    format!("{TALLIES}all")
}
/// A batch that a breaker holds.
pub fn batch(id: OpId) -> String {
    setting(&format!("{BATCH}{id}"))
}
/// The people of a batch; a row for each begins with this.
pub fn batch_people_prefix(batch: OpId) -> String {
    format!("h:{batch}:")
}
/// One person of a batch.
pub fn batch_person(batch: OpId, user: UserId) -> String {
    format!("h:{batch}:{user}")
}
/// Reconcile this person now.
pub fn request(user: UserId) -> String {
    format!("d:{user}")
}
/// Reconcile this person, not before `at`.
pub fn request_at(at: OffsetDateTime, user: UserId) -> String {
    format!("w:{}:{user}", format_stamp(at))
}
/// The time before which that row is not due.
pub fn request_time(key: &str) -> Option<OffsetDateTime> {
    key.split(':').nth(1).and_then(parse_stamp)
}
/// Something was taken from this person, and may not be gone yet.
pub fn hint(user: UserId) -> String {
    format!("{HINTS}{user}")
}
/// Reconcile the members of this group.
pub fn group_request(group: GroupId) -> String {
    format!("dg:{group}")
}
/// Steps that a scope refuses, for every person.
pub fn scope_block(step: &BlockKey) -> String {
    let BlockKey { scope, role, principal_type, kind } = step;
    let text = format!("{scope}\n{}\n{}\n{}", role.definition_id(), principal_type.as_str(), kind.as_str());
    format!("{SCOPE_BLOCKS}{}", hash(&text))
}
/// Assignments of a principal that this service did not make; a row for each begins with this.
pub fn foreign_access_prefix(principal: PrincipalId) -> String {
    format!("{FOREIGN_ACCESS}{principal}:")
}
/// An assignment that this service did not make, as it was seen under a subscription.
pub fn foreign_access(principal: PrincipalId, assignment: AssignmentName, subscription: &str) -> String {
    format!("{FOREIGN_ACCESS}{principal}:{assignment}:{subscription}")
}
/// What a backup role gives, as a sweep last read its definition.
pub fn role_verbs(role: BackupRole) -> String {
    format!("{ROLE_VERBS}{}", role.definition_id())
}
/// A journal row: commit proof and audit record.
pub fn journal(op: OpId) -> String {
    format!("{JOURNAL}{op}")
}
/// What the keys of all journal rows begin with.
pub const JOURNAL: &str = "j:";
/// What the keys of all records begin with that were committed late and are sealed.
pub const LATE_RECORDS: &str = "al:";
/// Where the sealing of the audit is.
pub const AUDIT_CHAIN: &str = "ac:chain";
/// The records behind an op, up to another one: both are ops or beginnings of ops. `after` is empty at the beginning.
pub fn ops_between(prefix: &str, after: &str, through: &str) -> (String, String) {
    // The sign is before every one that an op can go on with.
    let from = if after.is_empty() { prefix.to_owned() } else { format!("{prefix}{after}!") };
    (from, format!("{prefix}{through}!"))
}
/// A head of the audit.
pub fn audit_head(number: u64) -> String {
    format!("ah:{number:010}")
}
/// A journal row, by the text of its op.
pub fn journal_text(op: &str) -> String {
    format!("{JOURNAL}{op}")
}
/// A record that was committed late and is sealed.
pub fn late_record(op: &str) -> String {
    format!("{LATE_RECORDS}{op}")
}
/// What became of an order.
pub fn order(op: OpId) -> String {
    format!("o:{op}")
}
/// The result of a drill.
pub fn drill_result(drill: OpId) -> String {
    format!("{DRILL_RESULTS}{drill}")
}
/// A change larger than one transaction.
pub fn job(op: OpId) -> String {
    format!("i:{op}")
}
/// What a binding's selector is pinned to. `attribute` is the SCIM name, `key` its compare key.
pub fn selector(attribute: &str, key: &str) -> String {
    format!("b:{}", hash(&format!("{attribute}\n{key}")))
}
/// The selectors that are pinned to a group; a row for each begins with this.
pub fn selectors_prefix(group: GroupId) -> String {
    format!("bg:{group}:")
}
/// One pin, seen from the group. `selector` is the row key that [`selector`] made.
pub fn selector_of(group: GroupId, selector: &str) -> String {
    format!("bg:{group}:{}", last_part(selector))
}
/// A stored snapshot of the bindings.
pub fn snapshot(stamp: &str) -> String {
    format!("c:{stamp}")
}
/// Names and addresses of a person, erasable.
pub fn names(user: UserId) -> String {
    format!("n:{user}")
}
/// A setting of the installation.
pub fn setting(name: &str) -> String {
    format!("s:{name}")
}

/// The part of `key` after its last colon.
pub fn last_part(key: &str) -> &str {
    key.rsplit(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_range_holds_its_keys_and_no_others() {
        let (from, to) = range_of("u:");
        assert!(from.as_str() <= "u:ff" && "u:ff" < to.as_str());
        assert!("ue:00" >= to.as_str() && "un:00" >= to.as_str());
    }
}
