//! What a job makes of the members of a group, as the row of the job keeps it: packed ids, since there may be many.

use crate::id::{GroupId, MemberId, UserId};
use crate::store::StoreError;
use crate::store::codec::{RowFields, RowReader};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Bytes of one packed id: its kind, and the UUID.
const PACKED_BYTES: usize = 17;
const USER: u8 = 0;
const GROUP: u8 = 1;

/// What a request makes of the members of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberPlan {
    pub removed: RemovedMembers,
    pub added: Vec<MemberId>,
}

/// Who is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemovedMembers {
    /// In the order of their ids.
    These(Vec<MemberId>),
    /// Everyone but these: those who are removed may be more than a row holds.
    AllBut(BTreeSet<MemberId>),
}

impl RemovedMembers {
    /// Whether a member is removed.
    pub fn has(&self, member: MemberId) -> bool {
        match self {
            RemovedMembers::These(removed) => removed.binary_search(&member).is_ok(),
            RemovedMembers::AllBut(kept) => !kept.contains(&member),
        }
    }
}

impl MemberPlan {
    /// The members once the plan is carried out, from those that have a row while it is.
    pub fn overlay(&self, members: impl IntoIterator<Item = MemberId>) -> BTreeSet<MemberId> {
        let mut after: BTreeSet<MemberId> = members.into_iter().collect();
        after.retain(|member| !self.removed.has(*member));
        after.extend(&self.added);
        after
    }

    pub(super) fn fields(&self, fields: RowFields) -> RowFields {
        let fields = match &self.removed {
            RemovedMembers::These(removed) => fields.bytes("removed", &pack(removed)),
            RemovedMembers::AllBut(kept) => fields.bytes("kept", &pack(kept)),
        };
        fields.bytes("added", &pack(&self.added))
    }

    pub(super) fn read(reader: &RowReader<'_>) -> Result<Self, StoreError> {
        let removed = match reader.int_opt("kept")? {
            Some(_) => RemovedMembers::AllBut(unpack(reader, "kept")?.into_iter().collect()),
            None => RemovedMembers::These(unpack(reader, "removed")?),
        };
        Ok(Self { removed, added: unpack(reader, "added")? })
    }
}

fn pack<'a>(members: impl IntoIterator<Item = &'a MemberId>) -> Vec<u8> {
    let mut packed = Vec::new();
    for member in members {
        packed.push(if member.group().is_some() { GROUP } else { USER });
        packed.extend_from_slice(member.uuid().as_bytes());
    }
    packed
}

fn unpack(reader: &RowReader<'_>, name: &str) -> Result<Vec<MemberId>, StoreError> {
    let packed = reader.bytes(name)?;
    let parts = packed.chunks_exact(PACKED_BYTES);
    if !parts.remainder().is_empty() {
        return Err(reader.corrupt(name));
    }
    parts.map(|part| unpack_one(part).ok_or_else(|| reader.corrupt(name))).collect()
}

fn unpack_one(packed: &[u8]) -> Option<MemberId> {
    let (kind, id) = packed.split_first()?;
    let id = Uuid::from_slice(id).ok()?;
    match *kind {
        USER => Some(UserId::new(id).into()),
        GROUP => Some(GroupId::new(id).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::tables::{ETag, TableRow};

    fn user(n: u128) -> MemberId {
        UserId::new(Uuid::from_u128(n)).into()
    }

    fn group(n: u128) -> MemberId {
        GroupId::new(Uuid::from_u128(n)).into()
    }

    fn row(fields: RowFields) -> TableRow {
        TableRow { key: "i:x".to_owned(), etag: ETag(String::new()), properties: fields.done() }
    }

    #[test]
    fn a_plan_is_read_as_it_is_written() {
        let many: Vec<MemberId> = (0..10_000).map(user).chain([group(1 << 100)]).collect();
        let kept = BTreeSet::from([user(1), group(2)]);
        for removed in
            [RemovedMembers::These(vec![]), RemovedMembers::These(many.clone()), RemovedMembers::AllBut(kept)]
        {
            let plan = MemberPlan { removed, added: many.clone() };
            let row = row(plan.fields(RowFields::row()));
            assert_eq!(MemberPlan::read(&RowReader::new(&row).unwrap()).unwrap(), plan);
        }
    }

    #[test]
    fn a_plan_that_was_cut_off_is_an_error() {
        let short = row(RowFields::row().bytes("removed", &[USER, 1, 2]).bytes("added", &[]));
        assert!(MemberPlan::read(&RowReader::new(&short).unwrap()).is_err());
        let kind = row(RowFields::row().bytes("removed", &[7; PACKED_BYTES]).bytes("added", &[]));
        assert!(MemberPlan::read(&RowReader::new(&kind).unwrap()).is_err());
    }

    #[test]
    fn what_is_read_under_way_is_what_it_will_be() {
        let set = |ids: &[u128]| ids.iter().map(|n| user(*n)).collect::<BTreeSet<_>>();
        let check = |removed: RemovedMembers| {
            let plan = MemberPlan { removed, added: vec![user(4), user(5)] };
            for rows in [set(&[1, 2, 3]), set(&[1, 3]), set(&[1, 3, 4]), set(&[1, 3, 4, 5])] {
                assert_eq!(plan.overlay(rows), set(&[1, 3, 4, 5]));
            }
        };
        check(RemovedMembers::These(vec![user(2), user(9)]));
        check(RemovedMembers::AllBut(set(&[1, 3, 4, 5])));
    }
}
