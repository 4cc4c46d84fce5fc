//! What a chunk of a job did.

use crate::id::{GroupId, MemberId, UserId};

/// What one chunk did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChunkResult {
    /// People who were enqueued.
    pub people: Vec<UserId>,
    /// These people only gain.
    pub gains: bool,
    /// Groups that were enqueued: their fan-outs begin.
    pub groups: Vec<GroupId>,
    /// The job is gone: by this chunk, or before it.
    pub done: bool,
}

impl ChunkResult {
    /// These were enqueued, and the job goes on.
    pub(super) fn of(members: impl IntoIterator<Item = MemberId>) -> Self {
        let mut chunk = Self::default();
        for member in members {
            chunk.people.extend(member.user());
            chunk.groups.extend(member.group());
        }
        chunk
    }

    pub(super) fn ended() -> Self {
        Self { done: true, ..Self::default() }
    }
}
