//! The role assignments of one Azure tenant, as far as backup roles are concerned.

use crate::id::PrincipalId;
use crate::rbac::{AssignmentName, BackupRole, RoleAssignment, Scope};
use async_trait::async_trait;
use std::time::Duration;
use time::OffsetDateTime;

/// What a create met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateOutcome {
    /// 201: it did not exist.
    Created,
    /// 200: the same name with the same triple existed.
    AlreadyOurs,
    /// 409 `RoleAssignmentExists`: an assignment of another name gives the same.
    HeldBy(AssignmentName),
}

/// An answer of ARM and its correlation id (`x-ms-correlation-request-id`), where it sent one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArmAnswer<T> {
    pub value: T,
    pub correlation: Option<String>,
}

/// Why a call did not succeed. The first group was answered by ARM and was **not executed**; the fate of the second is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssignmentError {
    /// 429: not executed; not before `retry_after`.
    #[error("azure throttles role assignments")]
    Throttled { retry_after: Duration, correlation: Option<String> },
    /// A 4xx with an ARM error code: not executed. `code` is ARM's own, for the audit record and the log; `reason` is what it means.
    #[error("azure rejects the call: {code}")]
    Rejected { reason: RejectionReason, code: String, status: u16, correlation: Option<String> },
    /// 408, 5xx, a 4xx without a code, a reset, a timeout, nonsense: whether it was or will be executed is unknown.
    #[error("azure gave no answer that can be relied on: {detail}")]
    Unknown { detail: String },
}

/// What ARM's error code says about a call that was not executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectionReason {
    /// Entra does not know the principal (yet).
    PrincipalNotFound,
    /// The principal is of another type, or of a type that holds no roles.
    PrincipalType,
    /// A management lock forbids the change.
    ScopeLocked,
    /// The caller has no right to do it, or its condition says no.
    NotAuthorized,
    /// An Azure policy forbids the change.
    PolicyDenied,
    /// The subscription holds as many role assignments as it can.
    AssignmentLimit,
    /// The scope does not exist, and no assignment at it does.
    ScopeNotFound,
    /// There is no assignment of that name.
    AssignmentNotFound,
    /// An assignment of another name gives the same.
    AssignmentExists,
    /// A code without a meaning of its own here.
    Other,
}

/// How long Azure takes at most until a changed assignment is in force everywhere, by its documents.
pub const EFFECTIVE_AFTER: Duration = Duration::from_secs(600);

/// One assignment of a backup role as a listing shows it, ours or foreign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedAssignment {
    pub name: AssignmentName,
    pub scope: Scope,
    pub role: BackupRole,
    pub principal: PrincipalId,
    pub created_on: Option<OffsetDateTime>,
}

/// The role assignments of one Azure tenant.
///
/// Every call ends within `timeout`, token and connection included; what has not answered by then is
/// [`AssignmentError::Unknown`]. Nothing is retried here.
#[async_trait]
pub trait RoleAssignments: Send + Sync {
    /// Every backup-role assignment at exactly `scope`, ours and foreign; inherited ones and other roles are not in the answer.
    async fn list(&self, scope: &Scope, timeout: Duration) -> Result<Vec<ListedAssignment>, AssignmentError>;
    /// The assignment of that name, if there is one. The only read that is trusted right after a write.
    async fn get(
        &self,
        scope: &Scope,
        name: &AssignmentName,
        timeout: Duration,
    ) -> Result<Option<ListedAssignment>, AssignmentError>;
    /// Makes `wanted` exist under its name. Idempotent.
    async fn create(
        &self,
        wanted: &RoleAssignment,
        timeout: Duration,
    ) -> Result<ArmAnswer<CreateOutcome>, AssignmentError>;
    /// Deletes by name. Deleting one that is already gone is success.
    async fn delete(
        &self,
        scope: &Scope,
        name: &AssignmentName,
        timeout: Duration,
    ) -> Result<ArmAnswer<()>, AssignmentError>;
}
