//! What this service did not give, as sweeps saw it.

use super::answers::seconds;
use crate::error_chain::escape_control;
use crate::id::PrincipalId;
use crate::rbac::verbs::RoleVerbs;
use crate::service::access::assignments::given_by_others;
use crate::service::access::names::principal_names;
use crate::store::foreign_access::ForeignAccess;
use crate::store::{StateStore, StoreError};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// Assignments that the text lists; --json has them all.
const LISTED_MAX: usize = 50;

/// Assignments of others, with the names of users among those whom they name.
#[derive(Default)]
pub(super) struct OthersGave {
    given: Vec<ForeignAccess>,
    names: BTreeMap<PrincipalId, String>,
    /// Rows of such that cannot be read.
    pub(super) unreadable: usize,
}

impl OthersGave {
    /// What a person has.
    pub(super) async fn to(
        store: &StateStore,
        principals: &BTreeSet<PrincipalId>,
    ) -> Result<Self, StoreError> {
        let (given, unreadable) = given_by_others(store, principals).await?;
        Ok(Self { unreadable, ..Self::named(store, given).await? })
    }

    pub(super) async fn named(store: &StateStore, given: Vec<ForeignAccess>) -> Result<Self, StoreError> {
        let ids = given.iter().flat_map(|access| [Some(access.key.principal), access.created_by]);
        let names = principal_names(store, ids.flatten().collect()).await?;
        Ok(Self { given, names, unreadable: 0 })
    }

    pub(super) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        for access in self.given.iter().take(LISTED_MAX) {
            let (role, scope) = (escape_control(&access.role_name), escape_control(access.scope.as_str()));
            let first_seen = seconds(access.first_seen);
            writeln!(out, "\nnot by this service: {role} at {scope}, first seen {first_seen}")?;
            writeln!(out, "  {}; {}", self.made(access), gives(access))?;
        }
        let more = self.given.len().saturating_sub(LISTED_MAX);
        if more > 0 {
            writeln!(out, "\nand {more} more that this service did not give")?;
        }
        if self.unreadable > 0 {
            let rows = self.unreadable;
            writeln!(
                out,
                "\nRows about what others gave that cannot be read: {rows}. They may have given more than this."
            )?;
        }
        Ok(())
    }

    /// As the answer about one assignment.
    pub(super) fn write_assignments(&self, out: &mut impl Write) -> io::Result<()> {
        for access in &self.given {
            let (role, scope) = (escape_control(&access.role_name), escape_control(access.scope.as_str()));
            writeln!(out, "{}: {role} at {scope}", access.key.assignment)?;
            writeln!(out, "  of the {} {}", access.holder.as_str(), self.named_id(access.key.principal))?;
            let first_seen = seconds(access.first_seen);
            writeln!(
                out,
                "  not made by this service: {}, first seen {first_seen}\n  {}",
                self.made(access),
                gives(access)
            )?;
        }
        Ok(())
    }

    pub(super) fn to_json(&self) -> Vec<Value> {
        let name = |id: PrincipalId| self.names.get(&id);
        let one = |access: &ForeignAccess| {
            json!({
                "assignment": access.key.assignment.to_string(), "madeBy": "others",
                "objectId": access.key.principal.to_string(), "userName": name(access.key.principal),
                "kind": access.holder.as_str(), "role": access.role_name, "scope": access.scope.as_str(),
                "conditional": access.conditional, "can": access.verbs.map(RoleVerbs::names),
                "createdBy": access.created_by.map(|id| id.to_string()),
                "createdByName": access.created_by.and_then(name),
                "createdOn": access.created_on.map(seconds), "firstSeen": seconds(access.first_seen),
            })
        };
        self.given.iter().map(one).collect()
    }

    fn made(&self, access: &ForeignAccess) -> String {
        let by = access.created_by.map(|id| format!(" by {}", self.named_id(id))).unwrap_or_default();
        let on = access.created_on.map(|time| format!(" on {}", seconds(time))).unwrap_or_default();
        format!("made{by}{on}")
    }

    fn named_id(&self, id: PrincipalId) -> String {
        match self.names.get(&id) {
            Some(name) => format!("{id} ({})", escape_control(name)),
            None => id.to_string(),
        }
    }
}

fn gives(access: &ForeignAccess) -> String {
    let verbs = access.verbs.map(|verbs| verbs.names().join(", "));
    match verbs.as_deref() {
        None => "what it gives could not be read".to_owned(),
        Some("") => "gives nothing but reading".to_owned(),
        Some(verbs) => format!("gives {verbs}"),
    }
}
