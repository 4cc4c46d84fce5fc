//! Management locks.

use super::scope::Scope;
use serde::{Deserialize, Serialize};

/// What a management lock forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockLevel {
    CanNotDelete,
    ReadOnly,
}

/// A management lock at a scope; it holds for everything below.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagementLock {
    pub id: u64,
    pub scope: Scope,
    pub level: LockLevel,
}
