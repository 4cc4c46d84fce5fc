//! Who sent a SCIM request.

use crate::audit::{ChangeCause, ChangeOrigin};
use crate::id::OpId;

/// The holder of a bearer token.
#[derive(Debug, Clone)]
pub struct ScimCaller {
    /// The label of the token that was presented.
    pub token_label: String,
}

impl ScimCaller {
    /// The origin of what this caller's request `op` sets off.
    pub(in crate::service) fn origin(&self, op: OpId) -> ChangeOrigin {
        ChangeOrigin { cause: ChangeCause::Request, actor: self.token_label.clone(), op }
    }
}
