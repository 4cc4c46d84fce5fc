//! Who is in a group after a request. Pure: from [`KnownMembers`] to [`MemberChanges`].

use crate::audit::{AuditEvent, SubjectId};
use crate::id::UserId;
use crate::scim::{Error, Filter, MemberChange, MemberRef};
use crate::service::provisioning::write_plan::{WriteOperation, WritePlan};
use crate::store::batch::BatchPart;
use crate::store::resources::Group;
use crate::store::{members, reconcile_queue, resources};
use serde_json::json;
use std::collections::BTreeSet;

/// Members that one transaction can add: two rows of the membership, the touch of the member, the
/// reconcile request.
pub(super) const ADDED_MEMBERS_MAX: usize = 24;

/// Members that it can remove: each has a hint as well.
const REMOVED_MEMBERS_MAX: usize = 19;

/// Members that are not known yet, and that one request can name.
const NAMED_MEMBERS_MAX: usize = 1000;

/// What the record of a dropped member says in place of a text that is no id.
const NO_ID: &str = "not-an-id";

/// What was read before a decision. An id in none of the sets is a user's who is not in the group.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownMembers {
    /// Those who are in: all of them where `whole`, else those among the ids that the request names.
    pub members: BTreeSet<UserId>,
    /// Every member was read.
    pub whole: bool,
    /// Ids that are no user's.
    pub gone: BTreeSet<UserId>,
    /// Ids that are a group's, each as the id of a member.
    pub groups: BTreeSet<UserId>,
    /// Users who are in as many groups as there may be.
    pub full: BTreeSet<UserId>,
}

/// What a request makes of the members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MemberChanges {
    /// Who is in afterwards, among those that are known.
    pub after: BTreeSet<UserId>,
    pub added: Vec<UserId>,
    pub removed: Vec<UserId>,
    /// Unknown ids, as the request wrote them, and those of users who cannot be in one more group.
    pub dropped: Vec<String>,
    /// The users among them.
    pub full: BTreeSet<UserId>,
}

/// Applies the changes in their order.
pub(super) fn decide_members(
    changes: &[MemberChange],
    known: &KnownMembers,
    users_url: &str,
) -> Result<MemberChanges, Error> {
    let mut after = known.members.clone();
    let removes = changes.iter().any(MemberChange::only_removes);
    let mut dropped = DroppedMembers { groups_too: removes, ..DroppedMembers::default() };
    for change in changes {
        match change {
            MemberChange::Add(refs) => after.extend(resolve_refs(refs, known, &mut dropped)?),
            MemberChange::Remove(values) => {
                values.iter().filter_map(|text| UserId::parse(text).ok()).for_each(|id| {
                    after.remove(&id);
                })
            }
            MemberChange::RemoveWhere(filter) => {
                after.retain(|id| !filter.matches(&member_object(*id, users_url)))
            }
            MemberChange::ReplaceWhere { filter, by } => {
                let checked = check_replacement(filter, by, &after, users_url);
                checked.or_else(|error| if removes { Ok(()) } else { Err(error) })?;
            }
            MemberChange::Replace(refs) => match replacement(refs, known, &mut dropped) {
                Ok(ids) => after = ids,
                Err(error) if !removes => return Err(error),
                Err(_) => {}
            },
        }
    }
    let added: Vec<UserId> = after.difference(&known.members).copied().collect();
    let removed: Vec<UserId> = known.members.difference(&after).copied().collect();
    check_size(added.len(), removed.len())?;
    let DroppedMembers { texts: dropped, full, .. } = dropped;
    Ok(MemberChanges { after, added, removed, dropped, full })
}

/// Members that the request names and that do not come in.
#[derive(Default)]
struct DroppedMembers {
    texts: Vec<String>,
    full: BTreeSet<UserId>,
    /// A group among the members is left out: a mistake in who is to come in never keeps in who is removed beside it.
    groups_too: bool,
}

/// Whether a transaction holds that many. Those who are added and those who are removed share its rows.
fn check_size(added: usize, removed: usize) -> Result<(), Error> {
    let share = added * REMOVED_MEMBERS_MAX + removed * ADDED_MEMBERS_MAX;
    if share <= ADDED_MEMBERS_MAX * REMOVED_MEMBERS_MAX {
        return Ok(());
    }
    Err(too_many_members(&format!(
        "{ADDED_MEMBERS_MAX} members can be added, or {REMOVED_MEMBERS_MAX} removed, or a part of both, in"
    )))
}

/// 413: more members than one request can bring.
fn too_many_members(what: &str) -> Error {
    Error::payload_too_large(format!("at most {what} one request; send the rest in further requests"))
}

/// Replacing a member by itself changes nothing. Replacing it by another is refused, and so is a filter that no member
/// matches.
fn check_replacement(
    filter: &Filter,
    by: &str,
    members: &BTreeSet<UserId>,
    users_url: &str,
) -> Result<(), Error> {
    let selected: Vec<String> = members
        .iter()
        .filter(|id| filter.matches(&member_object(**id, users_url)))
        .map(ToString::to_string)
        .collect();
    let detail = match by {
        _ if selected.is_empty() => {
            let detail = "no member matches the filter in the path; add the member instead";
            return Err(Error::no_target(detail));
        }
        _ if selected.iter().all(|id| id == by) => return Ok(()),
        _ => "the value of a member cannot be changed; remove it and add another",
    };
    Err(Error::mutability(detail))
}

/// A list of unknown ids alone is a mistake; only an empty one empties the group.
fn replacement(
    refs: &[MemberRef],
    known: &KnownMembers,
    dropped: &mut DroppedMembers,
) -> Result<BTreeSet<UserId>, Error> {
    let named: BTreeSet<UserId> =
        refs.iter().filter_map(|reference| UserId::parse(&reference.value).ok()).collect();
    dropped.groups_too |= !known.members.is_subset(&named);
    let ids: BTreeSet<UserId> = resolve_refs(refs, known, dropped)?.into_iter().collect();
    if ids.is_empty() && !refs.is_empty() && dropped.full.is_empty() {
        return Err(Error::invalid_value(
            "none of the members exists; send an empty list to remove all members",
        ));
    }
    Ok(ids)
}

fn resolve_refs(
    refs: &[MemberRef],
    known: &KnownMembers,
    dropped: &mut DroppedMembers,
) -> Result<Vec<UserId>, Error> {
    let mut ids = Vec::with_capacity(refs.len());
    for reference in refs {
        let id = UserId::parse(&reference.value).ok();
        if is_group(reference) || id.is_some_and(|id| known.groups.contains(&id)) {
            if dropped.groups_too {
                record_dropped(&reference.value, &mut dropped.texts);
                continue;
            }
            let detail = "nested groups are not supported yet; a member must be a user";
            return Err(Error::invalid_value(detail));
        }
        match id.filter(|id| !known.gone.contains(id)) {
            Some(id) if known.full.contains(&id) && !known.members.contains(&id) => {
                dropped.full.insert(id);
                record_dropped(&reference.value, &mut dropped.texts);
            }
            Some(id) => ids.push(id),
            None => record_dropped(&reference.value, &mut dropped.texts),
        }
    }
    Ok(ids)
}

fn is_group(reference: &MemberRef) -> bool {
    reference.kind.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("Group"))
}

/// An unknown id is recorded as it is. Any other text may be an address or a name, and audit records hold neither.
fn record_dropped(text: &str, dropped: &mut Vec<String>) {
    let text = UserId::parse(text).map_or_else(|_| NO_ID.to_owned(), |id| id.to_string());
    if !dropped.contains(&text) {
        dropped.push(text);
    }
}

fn member_object(id: UserId, users_url: &str) -> serde_json::Value {
    json!({"value": id.to_string(), "type": "User", "$ref": format!("{users_url}/{id}")})
}

/// The ids that the changes name in order to add them.
pub(super) fn to_be_added(changes: &[MemberChange]) -> BTreeSet<UserId> {
    let refs = changes.iter().flat_map(|change| match change {
        MemberChange::Add(refs) | MemberChange::Replace(refs) => refs.as_slice(),
        MemberChange::Remove(_) | MemberChange::RemoveWhere(_) | MemberChange::ReplaceWhere { .. } => &[],
    });
    refs.filter_map(|reference| UserId::parse(&reference.value).ok()).collect()
}

/// The ids that the changes name.
pub(super) fn named(changes: &[MemberChange]) -> BTreeSet<UserId> {
    changes.iter().flat_map(MemberChange::named).filter_map(|text| UserId::parse(&text).ok()).collect()
}

/// The ids that the changes name and that are not `present`; 413 where they are too many to be looked up. What is no
/// id counts too.
pub(super) fn named_non_members(
    changes: &[MemberChange],
    present: &BTreeSet<UserId>,
) -> Result<BTreeSet<UserId>, Error> {
    let entries = changes.iter().flat_map(MemberChange::named).map(|text| UserId::parse(&text).ok());
    let non_members: Vec<Option<UserId>> =
        entries.filter(|id| id.is_none_or(|id| !present.contains(&id))).collect();
    if non_members.len() > NAMED_MEMBERS_MAX {
        return Err(too_many_members(&format!("{NAMED_MEMBERS_MAX} members can be named in")));
    }
    Ok(non_members.into_iter().flatten().collect())
}

/// Whether a decision needs every member, not only those that are named.
pub(super) fn need_everyone(changes: &[MemberChange]) -> bool {
    changes.iter().any(MemberChange::needs_everyone)
}

/// Adds the rows, reconcile requests and records of a change of members to the plan of `header`, their group.
pub(super) fn plan_members(
    plan: &mut WritePlan,
    operation: &WriteOperation,
    header: &Group,
    members: &MemberChanges,
    known: &KnownMembers,
) {
    let group = header.id;
    let revision = header.revision;
    // Of one person it is worth knowing whether this is the first request: the reconcile that follows need not read it.
    let only = operation.reconciles_at_once && members.added.len() + members.removed.len() == 1;
    let enqueue = if only { reconcile_queue::enqueue_first } else { reconcile_queue::enqueue_now };
    for user in &members.added {
        plan.batch.append(members::add(group, *user, operation.op));
        let request = operation.reconcile_request(false);
        plan.batch.extend(BatchPart::Request, enqueue(*user, &request));
        plan.follow_up.people.push(*user);
        plan.changes.push(AuditEvent::MemberAdded { group, member: SubjectId::new(user), revision });
    }
    let removal = operation.reconcile_request(true).of_operation(members.removed.len());
    for user in &members.removed {
        plan.batch.append(members::remove(group, *user));
        if !known.gone.contains(user) {
            plan.batch.push(BatchPart::Touch(*user), resources::touch(*user, operation.op));
        }
        plan.batch.extend(BatchPart::Request, enqueue(*user, &removal));
        plan.follow_up.leavers.push(*user);
        plan.changes.push(AuditEvent::MemberRemoved { group, member: SubjectId::new(user), revision });
    }
    for text in &members.dropped {
        plan.changes.push(AuditEvent::MemberDropped { group, member: SubjectId::new(text), revision });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::{PatchRequest, ResourceType};
    use uuid::Uuid;

    fn id(n: u128) -> UserId {
        UserId::new(Uuid::from_u128(n))
    }

    fn refs(ids: &[u128]) -> Vec<MemberRef> {
        ids.iter().map(|n| MemberRef { value: id(*n).to_string(), kind: None }).collect()
    }

    fn texts_of(ids: &[u128]) -> Vec<String> {
        ids.iter().map(|n| id(*n).to_string()).collect()
    }

    /// 1 and 2 are in, 3 and 4 are users, 2 and 7 are in as many groups as there may be, 8 is a group, 9 is unknown.
    fn known() -> KnownMembers {
        let set = |ids: &[u128]| ids.iter().map(|n| id(*n)).collect();
        let full = set(&[2, 7]);
        KnownMembers { members: set(&[1, 2]), whole: true, gone: set(&[8, 9]), groups: set(&[8]), full }
    }

    #[track_caller]
    fn check(changes: &[MemberChange], added: &[u128], removed: &[u128], dropped: usize) {
        let members = decide_members(changes, &known(), "https://x/Users").unwrap();
        let ids = |ids: &[u128]| ids.iter().map(|n| id(*n)).collect::<Vec<_>>();
        let found = (members.added, members.removed, members.dropped.len());
        assert_eq!(found, (ids(added), ids(removed), dropped));
    }

    #[track_caller]
    fn refused(changes: &[MemberChange], status: u16) {
        assert_eq!(decide_members(changes, &known(), "https://x/Users").unwrap_err().status, status);
    }

    #[test]
    fn changes_apply_in_their_order_and_only_the_difference_counts() {
        use MemberChange::{Add, Remove, Replace};
        check(&[Add(refs(&[1, 3, 3]))], &[3], &[], 0);
        check(&[Add(refs(&[3, 9, 9]))], &[3], &[], 1);
        check(&[Remove(texts_of(&[1, 3, 9])), Remove(vec!["nonsense".to_owned()])], &[], &[1], 0);
        check(&[Remove(texts_of(&[1])), Add(refs(&[1]))], &[], &[], 0);
        check(&[Replace(refs(&[2, 4]))], &[4], &[1], 0);
        check(&[Replace(refs(&[2, 9]))], &[], &[1], 1);
        check(&[Replace(Vec::new()), Add(refs(&[3]))], &[3], &[1, 2], 0);
    }

    #[test]
    fn a_user_in_enough_groups_is_dropped_and_keeps_the_present_ones() {
        use MemberChange::{Add, Remove, Replace};
        check(&[Add(refs(&[7, 3]))], &[3], &[], 1);
        check(&[Add(refs(&[2]))], &[], &[], 0);
        check(&[Remove(texts_of(&[2])), Add(refs(&[2]))], &[], &[], 0);

        // The only member that is named cannot come in: the present members leave all the same.
        check(&[Replace(refs(&[7]))], &[], &[1, 2], 1);
        let members = decide_members(&[Add(refs(&[7]))], &known(), "https://x/Users").unwrap();
        assert_eq!((members.dropped, members.full), (vec![id(7).to_string()], BTreeSet::from([id(7)])));
        let named = to_be_added(&[Add(refs(&[3])), Remove(texts_of(&[1])), Replace(refs(&[4]))]);
        assert_eq!(named, BTreeSet::from([id(3), id(4)]));
    }

    #[test]
    fn what_is_no_id_is_dropped_without_its_text() {
        let text = |value: &str| MemberRef { value: value.to_owned(), kind: None };
        let named = vec![text("jane.doe@contoso.example"), text("Jane Doe"), refs(&[9]).remove(0)];
        let members = decide_members(&[MemberChange::Add(named)], &known(), "https://x/Users").unwrap();
        assert_eq!(members.dropped, ["not-an-id".to_owned(), id(9).to_string()]);
    }

    #[test]
    fn a_filter_removes_whom_it_matches() {
        let patch = |path: &str| {
            let body = json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                "Operations": [{"op": "remove", "path": path}],
            });
            PatchRequest::parse(ResourceType::Group, &body).unwrap()
        };
        check(patch("members[type eq \"User\"]").member_changes(), &[], &[1, 2], 0);
        check(patch("members[value ew \"2\"]").member_changes(), &[], &[2], 0);
        check(patch("members[type eq \"Group\"]").member_changes(), &[], &[], 0);
    }

    #[test]
    fn what_is_a_mistake_is_refused() {
        use MemberChange::{Add, Replace};
        refused(&[Add(refs(&[8]))], 400);
        let typed = MemberRef { value: id(3).to_string(), kind: Some("group".to_owned()) };
        refused(&[Add(vec![typed])], 400);
        refused(&[Replace(refs(&[9]))], 400);
        refused(&[Add(refs(&(100..124).chain([3]).collect::<Vec<_>>()))], 413);
        assert_eq!(
            named_non_members(&[Add(refs(&(0..1001).collect::<Vec<_>>()))], &BTreeSet::new())
                .unwrap_err()
                .status,
            413
        );
        assert_eq!(
            named_non_members(&[Add(refs(&[1, 1, 5]))], &BTreeSet::from([id(1)])).unwrap(),
            BTreeSet::from([id(5)])
        );
    }
}
