//! Who sent a SCIM request.

use crate::audit::{ChangeCause, ChangeOrigin};
use crate::id::{OpId, RequestId};
use crate::store::TableWrite;
use std::time::Duration;

/// The holder of a bearer token.
#[derive(Debug, Clone)]
pub struct ScimCaller {
    /// The label of the token that was presented.
    pub token_label: String,
    /// The request, where it has an id.
    pub request: Option<RequestId>,
    /// The operation of a bulk request, counted from 1.
    pub(in crate::service) operation: Option<usize>,
    /// Until when the bulk request is worked on that an operation belongs to, on the monotonic clock.
    bulk_deadline: Option<Duration>,
    /// Committed with each write of this caller, or nothing is.
    pub(in crate::service) fence: Option<TableWrite>,
}

impl ScimCaller {
    pub fn new(token_label: String) -> Self {
        Self { token_label, request: None, operation: None, bulk_deadline: None, fence: None }
    }

    /// The same caller, who changes nothing without this write.
    pub(in crate::service) fn fenced(self, fence: TableWrite) -> Self {
        Self { fence: Some(fence), ..self }
    }

    /// The same caller, in the request of that id.
    pub fn in_request(self, request: Option<RequestId>) -> Self {
        Self { request, ..self }
    }

    /// The caller of one operation of a bulk request.
    pub(in crate::service) fn in_bulk(&self, deadline: Duration) -> Self {
        Self { bulk_deadline: Some(deadline), ..self.clone() }
    }

    pub(in crate::service) fn bulk_deadline(&self) -> Option<Duration> {
        self.bulk_deadline
    }

    /// The origin of what this caller's request `op` sets off.
    pub(in crate::service) fn origin(&self, op: OpId) -> ChangeOrigin {
        ChangeOrigin { cause: ChangeCause::Request, actor: self.token_label.clone(), op }
    }
}
