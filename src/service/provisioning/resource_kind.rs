//! What users and groups do differently when they are shown and deleted.

use crate::id::{GroupId, UserId};
use crate::store::jobs::JobKind;
use crate::store::resources::ResourceId;

/// What users and groups do differently.
pub(super) trait ResourceKind: ResourceId {
    /// The attribute that shows memberships.
    const VIEW: &'static str;
    /// The attributes that show what a person holds.
    const ACCESS: &'static [&'static str];

    /// The job that empties the memberships after a delete.
    fn emptying_job(self) -> JobKind;
    /// The person whose access a delete takes at once.
    fn person(self) -> Option<UserId>;
}

impl ResourceKind for UserId {
    const VIEW: &'static str = "groups";
    const ACCESS: &'static [&'static str] = &["grants", "grantState"];

    fn emptying_job(self) -> JobKind {
        JobKind::DeleteUser(self)
    }
    fn person(self) -> Option<UserId> {
        Some(self)
    }
}

impl ResourceKind for GroupId {
    const VIEW: &'static str = "members";
    const ACCESS: &'static [&'static str] = &[];

    fn emptying_job(self) -> JobKind {
        JobKind::DeleteGroup(self)
    }
    fn person(self) -> Option<UserId> {
        None
    }
}
