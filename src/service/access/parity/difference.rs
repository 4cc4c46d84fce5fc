//! What can differ between the lists.

use crate::id::UserId;
use crate::service::access::doctor::facts::SentId;
use crate::service::access::grants::GrantView;
use std::collections::BTreeSet;

/// The five questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// The identity provider has it, and here it is not.
    Missing,
    /// It is here, and the identity provider does not have it.
    Extra,
    /// Both have it, and not alike.
    Different,
    /// A row of the file that cannot be compared.
    Row,
    /// What is wanted here and what Azure holds are not the same.
    Azure,
}

impl DifferenceKind {
    /// In the order in which they are shown.
    pub const ALL: [DifferenceKind; 5] = [
        DifferenceKind::Missing,
        DifferenceKind::Extra,
        DifferenceKind::Different,
        DifferenceKind::Row,
        DifferenceKind::Azure,
    ];

    /// The word for people and programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            DifferenceKind::Missing => "missing",
            DifferenceKind::Extra => "extra",
            DifferenceKind::Different => "different",
            DifferenceKind::Row => "row",
            DifferenceKind::Azure => "azure",
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// `name_holder`: another user has the userName.
    NotProvisioned {
        name_holder: Option<UserId>,
    },
    NotMember {
        active: bool,
    },
    /// `unknown`: how many of its people are not here either.
    GroupNotProvisioned {
        people: usize,
        unknown: usize,
    },
    NestedNotProvisioned,
    NestedNotMember,
    /// A member whom the identity provider's group does not have.
    NotListed,
    /// Active, and neither assigned to the app nor in a group that is. The groups here that the person is in.
    NotAssigned {
        groups: Vec<String>,
    },
    GroupNotAssigned {
        members: usize,
    },
    NestedNotListed,
    OtherUserName {
        here: String,
    },
    /// `sent`: what is in the place of the id. `here`: its text.
    OtherId {
        sent: SentId,
        here: Option<String>,
    },
    OtherActive {
        here: bool,
    },
    /// Several users name this id: the others.
    SharedId {
        others: Vec<UserId>,
    },
    OtherGroupName {
        here: String,
    },
    OtherGroupId {
        here: Option<String>,
    },
    /// So many of those whose id is the same have another userName: it is the mapping.
    UserNameMapping {
        people: usize,
        matched: usize,
        example: String,
    },
    /// So many of those whose userName is the same have another id.
    IdMapping {
        people: usize,
        matched: usize,
        sent: BTreeSet<SentId>,
        example: String,
    },
    /// The line says again what an earlier one does.
    DuplicateRow {
        first: u64,
    },
    RowWithoutId,
    /// Wanted, and Azure does not hold it.
    NotHeld(GrantView),
    /// Azure holds it, and it is not wanted.
    StillHeld(GrantView),
}

impl Difference {
    pub const fn kind(&self) -> DifferenceKind {
        match self {
            Difference::NotProvisioned { .. }
            | Difference::NotMember { .. }
            | Difference::GroupNotProvisioned { .. }
            | Difference::NestedNotProvisioned
            | Difference::NestedNotMember => DifferenceKind::Missing,
            Difference::NotListed
            | Difference::NotAssigned { .. }
            | Difference::GroupNotAssigned { .. }
            | Difference::NestedNotListed => DifferenceKind::Extra,
            Difference::OtherUserName { .. }
            | Difference::OtherId { .. }
            | Difference::OtherActive { .. }
            | Difference::SharedId { .. }
            | Difference::OtherGroupName { .. }
            | Difference::OtherGroupId { .. }
            | Difference::UserNameMapping { .. }
            | Difference::IdMapping { .. } => DifferenceKind::Different,
            Difference::DuplicateRow { .. } | Difference::RowWithoutId => DifferenceKind::Row,
            Difference::NotHeld(_) | Difference::StillHeld(_) => DifferenceKind::Azure,
        }
    }

    /// Stable text for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Difference::NotProvisioned { .. } => "not-provisioned",
            Difference::NotMember { .. } => "not-a-member",
            Difference::GroupNotProvisioned { .. } => "group-not-provisioned",
            Difference::NestedNotProvisioned => "nested-not-provisioned",
            Difference::NestedNotMember => "nested-not-a-member",
            Difference::NotListed => "not-listed",
            Difference::NotAssigned { .. } => "not-assigned",
            Difference::GroupNotAssigned { .. } => "group-not-assigned",
            Difference::NestedNotListed => "nested-not-listed",
            Difference::OtherUserName { .. } => "other-user-name",
            Difference::OtherId { .. } => "other-id",
            Difference::OtherActive { .. } => "other-active",
            Difference::SharedId { .. } => "shared-id",
            Difference::OtherGroupName { .. } => "other-group-name",
            Difference::OtherGroupId { .. } => "other-group-id",
            Difference::UserNameMapping { .. } => "user-name-mapping",
            Difference::IdMapping { .. } => "id-mapping",
            Difference::DuplicateRow { .. } => "duplicate-row",
            Difference::RowWithoutId => "row-without-id",
            Difference::NotHeld(_) => "not-held",
            Difference::StillHeld(_) => "still-held",
        }
    }
}

/// Whom or what a difference is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParitySubject {
    pub name: String,
    /// The identity provider's id.
    pub provider_id: Option<String>,
    /// The SCIM id.
    pub id: Option<String>,
    /// The line of the file.
    pub line: Option<u64>,
}

/// Where a difference is shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ParityPlace {
    /// It is about a group as a whole.
    Groups,
    /// It is about a person in whatever groups.
    People,
    /// It is about a member of the group of that name.
    Group(String),
    Azure,
}

/// A difference, where it is and whom it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParityFinding {
    pub place: ParityPlace,
    pub subject: ParitySubject,
    pub difference: Difference,
}
