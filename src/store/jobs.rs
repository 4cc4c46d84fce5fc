//! Job rows: changes larger than one transaction, run chunk by chunk by any process.

use crate::id::{GroupId, MemberId, OpId, PrincipalId, UserId};
use crate::ports::tables::{ETag, EtagMatch, TableRow, TableWrite};
use crate::rbac::Scope;
use crate::store::codec::{RowFields, RowReader};
use crate::store::member_plan::MemberPlan;
use crate::store::reconcile_queue::{Priority, QueueItem, QueuePage, QueuePosition, ReconcileRequest};
use crate::store::recovered_rows::RecoveredRows;
use crate::store::{StateStore, StoreError, keys};

/// What a job does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobKind {
    /// Empties the memberships of a deleted user.
    DeleteUser(UserId),
    /// Empties a deleted group.
    DeleteGroup(GroupId),
    /// Removes and adds the members of a group as planned. The group's header names the job until it is done.
    ChangeMembers(GroupId, Box<MemberPlan>),
    /// What follows it: a deleted group leaves the groups that it was in.
    LeaveGroups(GroupId),
    /// Enqueues the groups of the bindings that differ between two snapshots, named by their stamps; the first may be empty.
    Snapshot { before: String, after: String },
    /// Everyone who waits is reconciled now: a pause is over.
    WakeWaiting,
    /// The record that holds an Entra object, read after the change that this job completes.
    PrincipalHolder(PrincipalId),
    /// Everyone who has something in the ledger at a scope, or waits for it.
    PeopleOfScope(Scope),
    /// The same, and Azure is asked for each assignment: the scope is gone.
    ForgetScope(Scope),
    /// Everyone in a batch of a breaker that was decided.
    PeopleOfBatch(OpId),
    /// What Azure holds of ours comes back into the ledger.
    Recover(Box<RecoveredRows>),
}

impl JobKind {
    const fn name(&self) -> &'static str {
        match self {
            JobKind::DeleteUser(_) => "delete-user",
            JobKind::DeleteGroup(_) => "delete-group",
            JobKind::ChangeMembers(..) => "change-members",
            JobKind::LeaveGroups(_) => "leave-groups",
            JobKind::Snapshot { .. } => "snapshot",
            JobKind::WakeWaiting => "wake-waiting",
            JobKind::PrincipalHolder(_) => "principal-holder",
            JobKind::PeopleOfScope(_) => "people-of-scope",
            JobKind::ForgetScope(_) => "forget-scope",
            JobKind::PeopleOfBatch(_) => "people-of-batch",
            JobKind::Recover(_) => "recover",
        }
    }

    fn target(&self) -> String {
        match self {
            JobKind::DeleteUser(user) => user.to_string(),
            JobKind::DeleteGroup(group) | JobKind::LeaveGroups(group) | JobKind::ChangeMembers(group, _) => {
                group.to_string()
            }
            JobKind::Snapshot { .. } | JobKind::WakeWaiting | JobKind::Recover(_) => String::new(),
            JobKind::PrincipalHolder(principal) => principal.to_string(),
            JobKind::PeopleOfScope(scope) | JobKind::ForgetScope(scope) => scope.as_str().to_owned(),
            JobKind::PeopleOfBatch(batch) => batch.to_string(),
        }
    }

    fn read(reader: &RowReader<'_>) -> Result<Self, StoreError> {
        match reader.text("kind")? {
            "delete-user" => Ok(JobKind::DeleteUser(reader.parsed("target", UserId::parse)?)),
            "delete-group" => Ok(JobKind::DeleteGroup(reader.parsed("target", GroupId::parse)?)),
            "change-members" => Ok(JobKind::ChangeMembers(
                reader.parsed("target", GroupId::parse)?,
                Box::new(MemberPlan::read(reader)?),
            )),
            "leave-groups" => Ok(JobKind::LeaveGroups(reader.parsed("target", GroupId::parse)?)),
            "snapshot" => Ok(JobKind::Snapshot {
                before: reader.text("before")?.to_owned(),
                after: reader.text("after")?.to_owned(),
            }),
            "wake-waiting" => Ok(JobKind::WakeWaiting),
            "principal-holder" => Ok(JobKind::PrincipalHolder(reader.parsed("target", PrincipalId::parse)?)),
            "people-of-scope" => Ok(JobKind::PeopleOfScope(reader.parsed("target", Scope::parse)?)),
            "forget-scope" => Ok(JobKind::ForgetScope(reader.parsed("target", Scope::parse)?)),
            "recover" => Ok(JobKind::Recover(Box::new(RecoveredRows::read(reader)?))),
            "people-of-batch" => Ok(JobKind::PeopleOfBatch(reader.parsed("target", OpId::parse)?)),
            _ => reader.parsed("kind", |_| Err(())),
        }
    }
}

/// A place in a plan of members: those who are removed come first, in their order, then those who are added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberCursor {
    /// Members of the list of those who are removed, or of all who have a row, that are done: the last one's id.
    pub removed_to: String,
    /// All who are removed are done.
    pub is_removed: bool,
    /// Those of the list who are added and done.
    pub added: usize,
    /// Members whose removal failed; it is tried again at the end.
    pub failed: usize,
}

impl MemberCursor {
    fn fields(&self, fields: RowFields) -> RowFields {
        let fields = fields.text("removed_to", self.removed_to.as_str()).flag("is_removed", self.is_removed);
        fields.int("added_to", to_int(self.added)).int("failed", to_int(self.failed))
    }

    fn read(reader: &RowReader<'_>) -> Result<Self, StoreError> {
        let number =
            |name| Ok::<_, StoreError>(reader.int_opt(name)?.map_or(0, |n| usize::try_from(n).unwrap_or(0)));
        Ok(Self {
            removed_to: reader.text_opt("removed_to")?.unwrap_or_default().to_owned(),
            is_removed: reader.flag("is_removed")?,
            added: number("added_to")?,
            failed: number("failed")?,
        })
    }
}

/// A job under way.
#[derive(Debug, Clone)]
pub struct StoredJob {
    pub id: OpId,
    pub kind: JobKind,
    pub request: ReconcileRequest,
    /// The revision that the change left the target at.
    pub revision: i64,
    /// Chunks that are done.
    pub chunks: i64,
    /// The last element that was skipped; the job goes on after it. Empty: none.
    pub after: String,
    /// How many people leave a group, once they are counted.
    pub people: Option<usize>,
    /// Where in its plan the next chunk of a change of members begins.
    pub next: MemberCursor,
    pub etag: ETag,
}

impl StoredJob {
    /// Reads an `i:` row.
    pub fn read(row: &TableRow) -> Result<Self, StoreError> {
        let reader = RowReader::new(row)?;
        Ok(Self {
            id: OpId::parse(keys::last_part(&row.key)).map_err(|_| StoreError::corrupt_key(row))?,
            kind: JobKind::read(&reader)?,
            request: ReconcileRequest::read(&reader)?,
            revision: reader.int("revision")?,
            chunks: reader.int("chunks")?,
            after: reader.text_opt("after")?.unwrap_or_default().to_owned(),
            people: reader.int_opt("people")?.map(|people| usize::try_from(people).unwrap_or_default()),
            next: MemberCursor::read(&reader)?,
            etag: row.etag.clone(),
        })
    }

    /// Elements of the job keep failing.
    pub fn failed_elements(&self) -> StoreError {
        StoreError::Corrupt { row: keys::job(self.id), property: "elements".to_owned() }
    }

    /// The request of someone from whom the job takes a membership; `people` where the job did not count them.
    pub fn removal(&self, people: usize) -> ReconcileRequest {
        ReconcileRequest::taking_away(self.request.origin.clone()).of_operation(self.people.unwrap_or(people))
    }

    /// Advances by one chunk, unless another process did meanwhile.
    pub fn advance(&self) -> TableWrite {
        self.merge(self.next_chunk())
    }

    /// Moves to the elements after that one, or to the beginning, unless another process advanced the job meanwhile.
    pub fn go_on_after(&self, element: &str) -> TableWrite {
        self.merge(self.next_chunk().text("after", element))
    }

    /// Moves on in a plan of members, unless another process advanced the job meanwhile.
    pub fn move_to(&self, next: &MemberCursor) -> TableWrite {
        self.merge(next.fields(self.next_chunk()))
    }

    /// The people of a deleted group are counted.
    pub fn note_people(&self, people: usize) -> TableWrite {
        self.merge(RowFields::some().int("people", to_int(people)))
    }

    /// A deleted group has no members left: the job goes on with the groups that it was in.
    pub fn leave_groups(&self, group: GroupId) -> TableWrite {
        let kind = JobKind::LeaveGroups(group).name();
        self.merge(self.next_chunk().text("kind", kind).text("after", ""))
    }

    fn next_chunk(&self) -> RowFields {
        RowFields::some().int("chunks", self.chunks + 1)
    }

    fn merge(&self, fields: RowFields) -> TableWrite {
        let condition = EtagMatch::Exact(self.etag.clone());
        TableWrite::Merge { key: keys::job(self.id), properties: fields.done(), condition }
    }

    /// The job is done.
    pub fn end(&self) -> TableWrite {
        TableWrite::Delete { key: keys::job(self.id), condition: EtagMatch::Exact(self.etag.clone()) }
    }
}

/// A change of members that takes more than one transaction. `removed`: how many people leave.
pub fn insert_member_job(
    (group, plan): (GroupId, MemberPlan),
    removed: usize,
    request: &ReconcileRequest,
    revision: i64,
) -> TableWrite {
    let kind = JobKind::ChangeMembers(group, Box::new(plan));
    insert(job_fields(&kind, request).int("people", to_int(removed)), request, revision)
}

/// The job of that change is over, whatever is left of it: its group is deleted.
pub fn cancel(job: OpId) -> TableWrite {
    TableWrite::Delete { key: keys::job(job), condition: EtagMatch::Any }
}

/// A new job: its id is the op of the change that it completes.
pub fn insert_job(kind: JobKind, request: &ReconcileRequest, revision: i64) -> TableWrite {
    insert(job_fields(&kind, request), request, revision)
}

fn job_fields(kind: &JobKind, request: &ReconcileRequest) -> RowFields {
    let fields = request.fields().text("kind", kind.name()).text("target", kind.target());
    match kind {
        JobKind::Snapshot { before, after } => {
            fields.text("before", before.as_str()).text("after", after.as_str())
        }
        JobKind::ChangeMembers(_, plan) => plan.fields(fields),
        JobKind::Recover(rows) => rows.fields(fields),
        _ => fields,
    }
}

fn insert(fields: RowFields, request: &ReconcileRequest, revision: i64) -> TableWrite {
    let properties = fields.int("revision", revision).int("chunks", 0).done();
    TableWrite::Insert { key: keys::job(request.origin.op), properties }
}

fn to_int(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl StoredJob {
    /// Whether it works on elements, so that one which keeps failing can be skipped.
    pub fn has_elements(&self) -> bool {
        self.elements_prefix().is_some() || matches!(self.kind, JobKind::ChangeMembers(..))
    }

    /// Where its elements are: one row each. `None`: it has none.
    pub fn elements_prefix(&self) -> Option<String> {
        match &self.kind {
            JobKind::DeleteUser(user) => Some(keys::groups_prefix(*user)),
            JobKind::DeleteGroup(group) => Some(keys::members_prefix(*group)),
            JobKind::LeaveGroups(group) => Some(keys::groups_prefix(group)),
            JobKind::Snapshot { .. }
            | JobKind::WakeWaiting
            | JobKind::PrincipalHolder(_)
            | JobKind::PeopleOfScope(_)
            | JobKind::ForgetScope(_)
            | JobKind::PeopleOfBatch(_)
            | JobKind::Recover(_)
            | JobKind::ChangeMembers(..) => None,
        }
    }
}

/// What a row of a job's range is about.
#[derive(Debug, Clone)]
pub struct JobElement {
    /// The last part of the key.
    pub id: String,
    /// Who is a member, where the key says who.
    pub member: Option<MemberId>,
}

impl JobElement {
    /// The group that is a member, if it is one.
    pub fn group(&self) -> Option<GroupId> {
        self.member?.group()
    }
}

/// A job that waits for its next chunk.
#[derive(Debug, Clone, Copy)]
pub struct JobTurn {
    pub job: OpId,
    pub priority: Priority,
}

impl StateStore {
    /// Jobs under way, from a position on, at most so many. One that cannot be read has no priority, and its next chunk says
    /// why.
    pub async fn jobs(
        &self,
        after: &QueuePosition,
        rows_max: usize,
    ) -> Result<QueuePage<JobTurn>, StoreError> {
        let (rows, next) = self.queue_rows("i:", after, rows_max).await?;
        let turn = |row: &TableRow| {
            let job = OpId::parse(keys::last_part(&row.key)).map_err(|_| StoreError::corrupt_key(row))?;
            Ok(JobTurn { job, priority: ReconcileRequest::priority_of(row) })
        };
        Ok(QueuePage { items: rows.iter().map(|row| QueueItem::of(row, turn(row))).collect(), next })
    }

    /// The first elements of a job that are left, after the skipped ones.
    pub async fn elements(&self, job: &StoredJob, number: usize) -> Result<Vec<JobElement>, StoreError> {
        let Some(prefix) = job.elements_prefix() else { return Ok(Vec::new()) };
        let (from, to) = keys::range_of(&prefix);
        let from = if job.after.is_empty() { from } else { format!("{from}{}!", job.after) };
        let rows = self.rows_between(from, to, number).await?;
        let mut elements = Vec::with_capacity(rows.len());
        for row in &rows {
            let id = keys::last_part(&row.key).to_owned();
            let member = match UserId::parse(&id) {
                Ok(named) => Some(self.member_in(row, named.uuid()).await?),
                Err(_) => None,
            };
            elements.push(JobElement { id, member });
        }
        Ok(elements)
    }

    /// Whether the job of that id is still under way.
    pub async fn has_job(&self, id: OpId) -> Result<bool, StoreError> {
        Ok(self.get(&keys::job(id)).await?.is_some())
    }

    /// The job of that id, if it is still under way.
    pub async fn job(&self, id: OpId) -> Result<Option<StoredJob>, StoreError> {
        self.get(&keys::job(id)).await?.as_ref().map(StoredJob::read).transpose()
    }
}
