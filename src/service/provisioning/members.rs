//! Who is in a group after a request. Pure: from [`KnownMembers`] to [`MemberChanges`].

use crate::audit::{AuditEvent, SubjectId};
use crate::id::{GroupId, MemberId, UserId};
use crate::scim::{self, Error, Filter, MemberChange, MemberRef};
use crate::service::provisioning::write_plan::{WriteOperation, WritePlan};
use crate::store::batch::BatchPart;
use crate::store::member_plan::{MemberPlan, RemovedMembers};
use crate::store::reconcile_queue::ReconcileRequest;
use crate::store::resources::Group;
use crate::store::{TableWrite, jobs, members, reconcile_queue};
use std::collections::{BTreeSet, HashSet};
use uuid::Uuid;

/// Members who are not in the group yet, and whom one request can name. The row of its job has their ids.
const NAMED_MEMBERS_MAX: usize = 10_000;

/// Dropped ids that the record of a change names; more of them would not fit it, and keep nothing from being carried out.
const DROPPED_RECORDED_MAX: usize = 1000;

/// What the record of a dropped member says in place of a text that is no id.
const NO_ID: &str = "not-an-id";

/// What a record says of a filter that matches no member.
const NO_MATCH: &str = "a-filter-without-a-match";

/// What was read before a decision. An id in none of the sets is a user's who is not in the group.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownMembers {
    /// Those who are in: all of them where `whole`, else those among the ids that the request names.
    pub members: BTreeSet<MemberId>,
    /// Every member was read.
    pub whole: bool,
    /// Ids that are neither a user's nor a group's.
    pub gone: BTreeSet<Uuid>,
    /// Ids that are a group's.
    pub groups: BTreeSet<GroupId>,
    /// Those of them that may be members of other groups.
    pub nested: BTreeSet<GroupId>,
    /// Those of them that cannot come in: the group itself, and those whose people would be in too many groups.
    pub unfit: BTreeSet<GroupId>,
    /// Users who are in as many groups as there may be.
    pub full: BTreeSet<UserId>,
}

impl KnownMembers {
    /// The user or group of an id. `None`: there is neither, and no member of that id.
    fn resolve(&self, id: Uuid) -> Option<MemberId> {
        let user = MemberId::User(UserId::new(id));
        let group = MemberId::Group(GroupId::new(id));
        let present = [user, group].into_iter().find(|member| self.members.contains(member));
        let kind = if self.groups.contains(&GroupId::new(id)) { group } else { user };
        present.or(Some(kind).filter(|_| !self.gone.contains(&id)))
    }
}

/// Ids of one removal that are noted because no member has them.
const ABSENT_MAX: usize = 20;

/// What a request makes of the members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MemberChanges {
    /// Who is in afterwards, among those that are known.
    pub after: BTreeSet<MemberId>,
    pub added: Vec<MemberId>,
    pub removed: Vec<MemberId>,
    /// Unknown ids, as the request wrote them, and those of users who cannot be in one more group.
    pub dropped: Vec<String>,
    /// The users among them.
    pub full: BTreeSet<UserId>,
    /// Who was to be taken out and is no member: ids, and words for what is none.
    pub absent: BTreeSet<String>,
    /// The first change that was left out because it is a mistake, beside a removal.
    pub mistake: Option<Error>,
}

impl MemberChanges {
    /// Whether anyone comes or leaves.
    pub fn moves(&self) -> bool {
        !self.added.is_empty() || !self.removed.is_empty()
    }

    /// The person who comes or leaves, where nobody else does.
    pub fn only_person(&self) -> Option<UserId> {
        match (self.added.as_slice(), self.removed.as_slice()) {
            ([only], []) | ([], [only]) => only.user(),
            _ => None,
        }
    }
}

/// Applies the changes in their order.
pub(super) fn decide_members(
    changes: &[MemberChange],
    known: &KnownMembers,
    base_url: &str,
) -> Result<MemberChanges, Error> {
    let mut after = known.members.clone();
    let removes = changes.iter().any(MemberChange::only_removes);
    let mut dropped = DroppedMembers::default();
    let mut absent = AbsentMembers::default();
    let mut mistake = None;
    let mut beside_removal = |error| {
        if !removes {
            return Err(error);
        }
        mistake.get_or_insert(error);
        Ok(())
    };
    for change in changes {
        match change {
            MemberChange::Add(refs) => after.extend(resolve_refs(refs, known, &mut dropped)),
            MemberChange::Remove(values) => {
                let ids: BTreeSet<Uuid> = values.iter().filter_map(|text| parse_id(text)).collect();
                absent.record(values, &after);
                after.retain(|member| !ids.contains(&member.uuid()));
            }
            MemberChange::RemoveWhere(filter) => {
                let before = after.len();
                after.retain(|member| !filter.matches(&scim::group::member_object(*member, base_url)));
                if after.len() == before {
                    absent.add(NO_MATCH.to_owned());
                }
            }
            MemberChange::ReplaceWhere { filter, by } => {
                check_replacement(filter, by, &after, base_url).or_else(&mut beside_removal)?;
            }
            MemberChange::Replace(refs) => match replacement(refs, known, &mut dropped) {
                Ok(ids) => after = ids,
                Err(error) => beside_removal(error)?,
            },
        }
    }
    let added: Vec<MemberId> = after.difference(&known.members).copied().collect();
    let removed: Vec<MemberId> = known.members.difference(&after).copied().collect();
    if removed.len() > NAMED_MEMBERS_MAX && after.len() > NAMED_MEMBERS_MAX {
        return Err(Error::payload_too_large(format!(
            "a filter can remove {NAMED_MEMBERS_MAX} members of a group that keeps as many; name them in several requests"
        )));
    }
    let DroppedMembers { texts: dropped, full, .. } = dropped;
    Ok(MemberChanges { after, added, removed, dropped, full, absent: absent.0, mistake })
}

/// Whom the request would take out, and who is no member.
#[derive(Default)]
struct AbsentMembers(BTreeSet<String>);

impl AbsentMembers {
    fn record(&mut self, values: &[String], members: &BTreeSet<MemberId>) {
        let is_in = |id: Uuid| {
            members.contains(&UserId::new(id).into()) || members.contains(&GroupId::new(id).into())
        };
        for text in values {
            match parse_id(text) {
                Some(id) if is_in(id) => {}
                Some(id) => self.add(id.to_string()),
                None => self.add(NO_ID.to_owned()),
            }
        }
    }

    fn add(&mut self, text: String) {
        if self.0.len() < ABSENT_MAX {
            self.0.insert(text);
        }
    }
}

/// Members that the request names and that do not come in.
#[derive(Default)]
struct DroppedMembers {
    texts: Vec<String>,
    /// Those that were met, recorded or not.
    seen: HashSet<String>,
    full: BTreeSet<UserId>,
    /// One of them exists.
    exists: bool,
}

impl DroppedMembers {
    /// An unknown id is recorded as it is. Any other text may be an address or a name, and audit records hold neither.
    fn record(&mut self, text: &str) {
        let text = parse_id(text).map_or_else(|| NO_ID.to_owned(), |id| id.to_string());
        if self.seen.insert(text.clone()) && self.texts.len() < DROPPED_RECORDED_MAX {
            self.texts.push(text);
        }
    }
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
    members: &BTreeSet<MemberId>,
    base_url: &str,
) -> Result<(), Error> {
    let selected: Vec<String> = members
        .iter()
        .filter(|member| filter.matches(&scim::group::member_object(**member, base_url)))
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
) -> Result<BTreeSet<MemberId>, Error> {
    let ids: BTreeSet<MemberId> = resolve_refs(refs, known, dropped).into_iter().collect();
    if ids.is_empty() && !refs.is_empty() && !dropped.exists {
        return Err(Error::invalid_value(
            "none of the members exists; send an empty list to remove all members",
        ));
    }
    Ok(ids)
}

/// Whom the request names. What an element says about the type does not count: the id is a user's or a group's. A member who
/// cannot be taken never keeps the others out.
fn resolve_refs(refs: &[MemberRef], known: &KnownMembers, dropped: &mut DroppedMembers) -> Vec<MemberId> {
    let mut ids = Vec::with_capacity(refs.len());
    for reference in refs {
        match parse_id(&reference.value).and_then(|id| known.resolve(id)) {
            Some(member) if known.members.contains(&member) => ids.push(member),
            Some(MemberId::User(user)) if known.full.contains(&user) => {
                dropped.full.insert(user);
                dropped.exists = true;
                dropped.record(&reference.value);
            }
            Some(MemberId::Group(group)) if known.unfit.contains(&group) => {
                dropped.exists = true;
                dropped.record(&reference.value);
            }
            Some(member) => ids.push(member),
            None => dropped.record(&reference.value),
        }
    }
    ids
}

/// The id in a text, whether a user's or a group's.
fn parse_id(text: &str) -> Option<Uuid> {
    UserId::parse(text).ok().map(|id| id.uuid())
}

/// The ids that the changes name in order to add them.
pub(super) fn to_be_added(changes: &[MemberChange]) -> BTreeSet<Uuid> {
    let refs = changes.iter().flat_map(|change| match change {
        MemberChange::Add(refs) | MemberChange::Replace(refs) => refs.as_slice(),
        MemberChange::Remove(_) | MemberChange::RemoveWhere(_) | MemberChange::ReplaceWhere { .. } => &[],
    });
    refs.filter_map(|reference| parse_id(&reference.value)).collect()
}

/// The ids that the changes name.
pub(super) fn named(changes: &[MemberChange]) -> BTreeSet<Uuid> {
    changes.iter().flat_map(MemberChange::named).filter_map(|text| parse_id(&text)).collect()
}

/// The ids that the changes name and that are not `present`; 413 where they are too many to be looked up. What is no
/// id counts too.
pub(super) fn named_non_members(
    changes: &[MemberChange],
    present: &BTreeSet<MemberId>,
) -> Result<BTreeSet<Uuid>, Error> {
    let present: BTreeSet<Uuid> = present.iter().map(MemberId::uuid).collect();
    let entries = changes.iter().flat_map(MemberChange::named).map(|text| parse_id(&text));
    let non_members: Vec<Option<Uuid>> =
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

/// Adds a change of members to the plan of `header`, their group: the job that carries it out where the header names one, else
/// its rows, reconcile requests and records.
pub(super) fn plan_members(
    plan: &mut WritePlan,
    operation: &WriteOperation,
    header: &Group,
    members: &MemberChanges,
    known: &KnownMembers,
) {
    let group = header.id;
    let revision = header.revision;
    if header.job.is_some() {
        plan.batch.push(BatchPart::Request, insert_job(operation, header, members));
    } else {
        plan_memberships(plan, operation, header, members, known);
    }
    for text in &members.dropped {
        plan.changes.push(AuditEvent::MemberDropped { group, member: SubjectId::new(text), revision });
    }
}

fn plan_memberships(
    plan: &mut WritePlan,
    operation: &WriteOperation,
    header: &Group,
    members: &MemberChanges,
    known: &KnownMembers,
) {
    let group = header.id;
    let revision = header.revision;
    // Of one person it is worth knowing whether this is the first request: the reconcile that follows need not read it.
    let is_first = operation.reconciles_at_once && members.only_person().is_some();
    for member in &members.added {
        plan.batch.append(members::add(group, *member, operation.op));
        enqueue_reconcile(plan, &operation.reconcile_request(false), *member, (false, is_first));
        plan.changes.push(AuditEvent::MemberAdded { group, member: SubjectId::new(member), revision });
    }
    // A group that leaves is an operation of its own: its fan-out counts the people.
    let removal = operation.reconcile_request(true);
    let people = members.removed.iter().filter(|member| member.user().is_some()).count();
    for member in &members.removed {
        plan.batch.append(members::remove(group, *member));
        if !known.gone.contains(&member.uuid()) {
            plan.batch.push(BatchPart::Touch(*member), members::touch(*member, operation.op));
        }
        let people = if member.user().is_some() { people } else { 0 };
        enqueue_reconcile(plan, &removal.clone().of_operation(people), *member, (true, is_first));
        plan.changes.push(AuditEvent::MemberRemoved { group, member: SubjectId::new(member), revision });
    }
}

fn insert_job(operation: &WriteOperation, header: &Group, members: &MemberChanges) -> TableWrite {
    let MemberChanges { after, added, removed, .. } = members;
    let leaving = match removed.len() <= NAMED_MEMBERS_MAX {
        true => RemovedMembers::These(removed.clone()),
        false => RemovedMembers::AllBut(after.clone()),
    };
    let plan = MemberPlan { removed: leaving, added: added.clone() };
    let request = operation.reconcile_request(!removed.is_empty());
    let people = removed.iter().filter(|member| member.user().is_some()).count();
    jobs::insert_member_job((header.id, plan), people, &request, header.revision)
}

/// The member is reconciled: a user at once, a group by a fan-out to everyone in it. `is_first`: there should be no request yet.
fn enqueue_reconcile(
    plan: &mut WritePlan,
    request: &ReconcileRequest,
    member: MemberId,
    (takes_away, is_first): (bool, bool),
) {
    match member {
        MemberId::User(user) => {
            let enqueue =
                if is_first { reconcile_queue::enqueue_first } else { reconcile_queue::enqueue_now };
            plan.batch.extend(BatchPart::Request, enqueue(user, request));
            let people = if takes_away { &mut plan.follow_up.leavers } else { &mut plan.follow_up.people };
            people.push(user);
        }
        MemberId::Group(group) => {
            plan.batch.push(BatchPart::Request, reconcile_queue::enqueue_group(group, request));
            plan.follow_up.groups.push(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::{PatchRequest, ResourceType};
    use serde_json::json;

    fn id(n: u128) -> UserId {
        UserId::new(Uuid::from_u128(n))
    }

    fn refs(ids: &[u128]) -> Vec<MemberRef> {
        ids.iter().map(|n| MemberRef { value: id(*n).to_string(), kind: None }).collect()
    }

    fn texts_of(ids: &[u128]) -> Vec<String> {
        ids.iter().map(|n| id(*n).to_string()).collect()
    }

    /// 1 and 2 are in, 3 and 4 are users, 2 and 7 are in as many groups as there may be, 8 is a group, 9 is unknown, 10 is a
    /// group that cannot come in.
    fn known() -> KnownMembers {
        let members = [1, 2].map(|n| MemberId::User(id(n)));
        KnownMembers {
            members: members.into(),
            whole: true,
            gone: [id(9).uuid()].into(),
            groups: [8, 10].map(|n| GroupId::new(id(n).uuid())).into(),
            nested: BTreeSet::new(),
            unfit: [GroupId::new(id(10).uuid())].into(),
            full: [2, 7].map(id).into(),
        }
    }

    #[track_caller]
    fn check(changes: &[MemberChange], added: &[u128], removed: &[u128], dropped: usize) {
        let members = decide_members(changes, &known(), "https://x").unwrap();
        let member = |n: &u128| known().resolve(id(*n).uuid()).unwrap();
        let ids = |ids: &[u128]| ids.iter().map(member).collect::<Vec<_>>();
        let found = (members.added, members.removed, members.dropped.len());
        assert_eq!(found, (ids(added), ids(removed), dropped));
    }

    fn removal_of(path: &str) -> PatchRequest {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "remove", "path": path}],
        });
        PatchRequest::parse(ResourceType::Group, &body).unwrap()
    }

    #[track_caller]
    fn refused(changes: &[MemberChange], status: u16) {
        assert_eq!(decide_members(changes, &known(), "https://x").unwrap_err().status, status);
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
        let members = decide_members(&[Add(refs(&[7]))], &known(), "https://x").unwrap();
        assert_eq!((members.dropped, members.full), (vec![id(7).to_string()], BTreeSet::from([id(7)])));
        let named = to_be_added(&[Add(refs(&[3])), Remove(texts_of(&[1])), Replace(refs(&[4]))]);
        assert_eq!(named, BTreeSet::from([id(3).uuid(), id(4).uuid()]));
    }

    #[test]
    fn what_is_no_id_is_dropped_without_its_text() {
        let text = |value: &str| MemberRef { value: value.to_owned(), kind: None };
        let named = vec![text("jane.doe@contoso.example"), text("Jane Doe"), refs(&[9]).remove(0)];
        let members = decide_members(&[MemberChange::Add(named)], &known(), "https://x").unwrap();
        assert_eq!(members.dropped, ["not-an-id".to_owned(), id(9).to_string()]);
    }

    #[test]
    fn a_filter_removes_whom_it_matches() {
        check(removal_of("members[type eq \"User\"]").member_changes(), &[], &[1, 2], 0);
        check(removal_of("members[value ew \"2\"]").member_changes(), &[], &[2], 0);
        check(removal_of("members[type eq \"Group\"]").member_changes(), &[], &[], 0);
    }

    #[test]
    fn a_group_comes_in_by_its_id_whatever_type_the_request_says() {
        use MemberChange::{Add, Replace};
        check(&[Add(refs(&[8, 3]))], &[3, 8], &[], 0);
        let typed = |n, kind: &str| MemberRef { value: id(n).to_string(), kind: Some(kind.to_owned()) };
        check(&[Add(vec![typed(3, "Group"), typed(8, "User")])], &[3, 8], &[], 0);
        // One that cannot come in keeps nobody out, and nobody in.
        check(&[Add(refs(&[10, 3]))], &[3], &[], 1);
        check(&[Replace(refs(&[10, 1]))], &[], &[2], 1);
        check(&[Replace(refs(&[10]))], &[], &[1, 2], 1);
    }

    #[test]
    fn a_filter_tells_users_and_groups_apart() {
        let inner = MemberId::Group(GroupId::new(id(8).uuid()));
        let mut known = known();
        known.members.insert(inner);
        let remove = |filter: &str| {
            let patch = removal_of(&format!("members[{filter}]"));
            decide_members(patch.member_changes(), &known, "https://x").unwrap().removed
        };
        assert_eq!(remove("type eq \"Group\""), [inner]);
        assert_eq!(remove("type eq \"User\""), [1, 2].map(|n| MemberId::User(id(n))));
        assert_eq!(remove(&format!("value eq \"{}\"", id(8))), [inner]);
    }

    #[test]
    fn what_is_a_mistake_is_refused() {
        use MemberChange::{Add, Replace};
        refused(&[Replace(refs(&[9]))], 400);
        assert_eq!(
            named_non_members(&[Add(refs(&(0..10_001).collect::<Vec<_>>()))], &BTreeSet::new())
                .unwrap_err()
                .status,
            413
        );
        assert_eq!(
            named_non_members(&[Add(refs(&[1, 1, 5]))], &BTreeSet::from([MemberId::User(id(1))])).unwrap(),
            BTreeSet::from([id(5).uuid()])
        );
    }
}
