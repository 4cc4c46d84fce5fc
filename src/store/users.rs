//! Rows that only users have: the pin of an Entra object id, and the names for audit output.

use crate::id::{OpId, PrincipalId, UserId};
use crate::ports::tables::TableWrite;
use crate::scim::Resource;
use crate::store::batch::{BatchPart, WriteBatch};
use crate::store::codec::RowFields;
use crate::store::resources::User;
use crate::store::{keys, ledger};
use serde_json::{Value, json};

/// The record takes the Entra object id, if nobody holds it.
pub fn pin(user: UserId, principal: PrincipalId, op: OpId) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for write in ledger::pin(user, principal, op) {
        batch.push(BatchPart::Pin, write);
    }
    batch
}

/// The names and addresses of a person, for audit output. They outlive the user until they are erased.
pub fn names(user: &User) -> TableWrite {
    let properties = RowFields::row().bytes("names", names_of(&user.resource).to_string().as_bytes()).done();
    TableWrite::InsertOrReplace { key: keys::names(user.id), properties }
}

/// Whether the names row must be written again.
pub fn names_differ(before: &Resource, after: &Resource) -> bool {
    names_of(before) != names_of(after)
}

fn names_of(resource: &Resource) -> Value {
    json!({
        "userName": resource.text("userName"),
        "displayName": resource.text("displayName"),
        "emails": resource.emails(),
    })
}
