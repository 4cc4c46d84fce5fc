//! Who has access at a scope, whoever gave it: assignments of any role, role definitions, deny assignments, and locks.

use super::{ArmRoleAssignments, ROLE_ASSIGNMENTS, access_wire, answer, deadline_in};
use crate::ports::azure_access::{AccessAssignment, AccessReader, DenyAssignment, ManagementLock};
use crate::ports::role_assignments::AssignmentError;
use crate::rbac::Scope;
use crate::rbac::verbs::RoleDefinition;
use async_trait::async_trait;
use azure_core::http::{Method, Request, Url};
use std::time::Duration;
use uuid::Uuid;

/// The collection of deny assignments at a scope.
const DENY_ASSIGNMENTS: &str = "denyAssignments";
/// The collection of role definitions at a scope.
const ROLE_DEFINITIONS: &str = "roleDefinitions";
/// The collection of management locks at a scope. It has an api-version of its own.
const LOCKS: &str = "locks";
const LOCKS_API_VERSION: &str = "2016-09-01";

impl ArmRoleAssignments {
    async fn access(&self, first: Url, timeout: Duration) -> Result<Vec<AccessAssignment>, AssignmentError> {
        self.pages(first, access_wire::assignments, deadline_in(timeout)).await
    }
}

#[async_trait]
impl AccessReader for ArmRoleAssignments {
    async fn at_or_above(
        &self,
        scope: &Scope,
        timeout: Duration,
    ) -> Result<Vec<AccessAssignment>, AssignmentError> {
        self.access(self.listing(scope, ROLE_ASSIGNMENTS, "atScope()"), timeout).await
    }

    async fn around(
        &self,
        scope: &Scope,
        timeout: Duration,
    ) -> Result<Vec<AccessAssignment>, AssignmentError> {
        self.access(self.url(scope, ROLE_ASSIGNMENTS, None), timeout).await
    }

    async fn role_definition(
        &self,
        scope: &Scope,
        role: Uuid,
        timeout: Duration,
    ) -> Result<Option<RoleDefinition>, AssignmentError> {
        let url = self.url(scope, ROLE_DEFINITIONS, Some(&role.to_string()));
        let answer = self.send(Request::new(url, Method::Get), deadline_in(timeout)).await?;
        if answer.status == 200 {
            return access_wire::definition(&answer.body, role).map(Some).map_err(answer::nonsense);
        }
        match answer::failure(&answer) {
            failure if failure.is_absent_definition() => Ok(None),
            failure => Err(failure.into()),
        }
    }

    async fn denied(&self, scope: &Scope, timeout: Duration) -> Result<Vec<DenyAssignment>, AssignmentError> {
        let first = self.listing(scope, DENY_ASSIGNMENTS, "atScope()");
        self.pages(first, access_wire::denials, deadline_in(timeout)).await
    }

    async fn locks(&self, scope: &Scope, timeout: Duration) -> Result<Vec<ManagementLock>, AssignmentError> {
        let mut first = self.url(scope, LOCKS, None);
        first.set_query(Some(&format!("api-version={LOCKS_API_VERSION}&$filter=atScope()")));
        self.pages(first, access_wire::locks, deadline_in(timeout)).await
    }
}
