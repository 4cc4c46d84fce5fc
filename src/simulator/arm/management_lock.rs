//! Management locks.

use super::scope::Scope;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a management lock forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockLevel {
    /// Facts: F-004.
    CanNotDelete,
    /// Facts: F-005.
    ReadOnly,
}

/// A management lock at a scope; it holds for everything below.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagementLock {
    pub id: u64,
    pub scope: Scope,
    pub level: LockLevel,
}

impl ManagementLock {
    /// As a listing shows it.
    pub fn body(&self) -> Value {
        let name = format!("lock-{}", self.id);
        let above = self.scope.to_string();
        let id = format!("{}/providers/Microsoft.Authorization/locks/{name}", above.trim_end_matches('/'));
        json!({
            "id": id, "name": name, "type": "Microsoft.Authorization/locks",
            "properties": { "level": self.level },
        })
    }
}
