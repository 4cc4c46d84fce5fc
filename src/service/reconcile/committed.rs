//! What a commit knows of the person whom it enqueued: it stands for reads that the reconcile right after it would make.
//!
//! The request is read first and alone, so that whatever changes afterwards changes its version. A commit that wrote the
//! request where there was none before knows its content and its version, and as of the same moment the group that it changed
//! under its version. What changes later meets the version at the open or at the close, as it does after a read.

use crate::id::{GroupId, UserId};
use crate::service::reconcile::table_time::TableTime;
use crate::store::CommittedWrites;
use crate::store::batch::WriteBatch;
use crate::store::reconcile_queue::QueuedRequest;
use crate::store::resources::Group;
use crate::store::users::GroupHeader;
use std::time::Duration;

/// The request of one person as a change of a membership committed it.
#[derive(Debug, Clone)]
pub struct CommittedRequest {
    pub request: QueuedRequest,
    pub time: TableTime,
    pub group: CommittedGroup,
}

/// The group whose members the change was about, as the commit left it.
#[derive(Debug, Clone)]
pub struct CommittedGroup {
    pub id: GroupId,
    pub header: GroupHeader,
}

impl CommittedRequest {
    /// What the commit of this batch knows of the request of `user`. `monotonic`: from after its answer.
    pub fn of(
        user: UserId,
        group: &Group,
        batch: &WriteBatch,
        committed: &CommittedWrites,
        monotonic: Duration,
    ) -> Option<Self> {
        let request = QueuedRequest::inserted(user, batch, committed)?;
        let time = TableTime { date: committed.date, at: monotonic };
        let header = GroupHeader { resource: group.resource.clone(), may_be_nested: group.may_be_nested() };
        Some(Self { request, time, group: CommittedGroup { id: group.id, header } })
    }
}
