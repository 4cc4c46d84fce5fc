//! Role assignments that this service did not make, as the last sweep saw them at the bound scopes or above.

use crate::audit::AuditRecord;
use crate::id::PrincipalId;
use crate::ports::azure_access::HolderKind;
use crate::ports::tables::{EtagMatch, RowProperties, TableRow, TableWrite};
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::verbs::RoleVerbs;
use crate::rbac::{AssignmentName, BackupRole};
use crate::store::codec::{RowFields, RowReader};
use crate::store::{StateStore, StoreError, keys};
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;
use uuid::Uuid;

/// Which assignment was seen. One above subscriptions is seen once under each of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignKey {
    pub principal: PrincipalId,
    pub assignment: AssignmentName,
    /// The GUID of the subscription under which it was seen, in lower case.
    pub subscription: String,
}

/// An assignment that this service did not make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignAccess {
    pub key: ForeignKey,
    /// Where it was made: the bound scope, or above it.
    pub scope: ArmScope,
    /// The GUID of the role definition.
    pub role: Uuid,
    /// The name of the role; its GUID where the definition could not be read.
    pub role_name: String,
    /// What it gives, by the role definition of that time. `None`: the definition could not be read.
    pub verbs: Option<RoleVerbs>,
    pub holder: HolderKind,
    pub conditional: bool,
    /// Whether it is a service principal's right to assign the backup roles and no others: what a deployment makes for this
    /// service.
    pub narrowed: bool,
    pub created_on: Option<OffsetDateTime>,
    pub created_by: Option<PrincipalId>,
    /// When a sweep first saw it, on the table service's clock.
    pub first_seen: OffsetDateTime,
}

/// What sweeps saw of others, and of the backup roles.
#[derive(Debug, Clone, Default)]
pub struct SeenAccess {
    /// Every assignment that this service did not make.
    pub foreign: Vec<ForeignAccess>,
    /// The rows of such that cannot be read, by what their keys say.
    pub unreadable: BTreeSet<ForeignKey>,
    /// What the backup roles give, as a sweep last read their definitions.
    pub role_verbs: BTreeMap<BackupRole, RoleVerbs>,
}

/// A row that is written.
#[derive(Debug, Clone, Copy)]
pub enum ForeignWrite<'a> {
    /// The assignment is there, and no row of it.
    Insert(&'a ForeignAccess),
    /// It is as it is now. What a later release wrote beside that stays.
    Update(&'a ForeignAccess),
    /// The assignment is gone.
    Remove(&'a ForeignKey),
    /// What a backup role gives now.
    RoleVerbs(BackupRole, RoleVerbs),
}

impl StateStore {
    /// Writes rows together with the record that says so. `Conflict`: another process was faster.
    pub async fn write_foreign(
        &self,
        record: &AuditRecord,
        writes: &[ForeignWrite<'_>],
    ) -> Result<(), StoreError> {
        let writes = writes.iter().map(|write| match write {
            ForeignWrite::Insert(access) => {
                TableWrite::Insert { key: row_key(&access.key), properties: properties_of(access) }
            }
            ForeignWrite::Update(access) => TableWrite::Merge {
                key: row_key(&access.key),
                properties: properties_of(access),
                condition: EtagMatch::Any,
            },
            ForeignWrite::Remove(key) => TableWrite::Delete { key: row_key(key), condition: EtagMatch::Any },
            ForeignWrite::RoleVerbs(role, verbs) => {
                let properties = RowFields::row().text("verbs", text_of(*verbs)).done();
                TableWrite::InsertOrReplace { key: keys::role_verbs(*role), properties }
            }
        });
        self.commit(record, writes.collect()).await.map(|_| ())
    }

    /// Everything that the last sweep saw of others, and of the backup roles.
    pub async fn seen_access(&self) -> Result<SeenAccess, StoreError> {
        self.seen_access_in(keys::FOREIGN_ACCESS).await
    }

    /// Every assignment that the last sweep saw and this service did not make. A row that cannot be read is left out.
    pub async fn foreign_access(&self) -> Result<Vec<ForeignAccess>, StoreError> {
        Ok(self.seen_access().await?.foreign)
    }

    /// What the last sweep saw of one principal.
    pub async fn seen_access_of(&self, principal: PrincipalId) -> Result<SeenAccess, StoreError> {
        self.seen_access_in(&keys::foreign_access_prefix(principal)).await
    }

    async fn seen_access_in(&self, prefix: &str) -> Result<SeenAccess, StoreError> {
        let (from, to) = keys::range_of(prefix);
        let mut pages = self.pages(from, to);
        let mut seen = SeenAccess::default();
        while let Some(rows) = pages.next().await? {
            for row in &rows {
                if let Some(role) = row.key.strip_prefix(keys::ROLE_VERBS) {
                    let text = RowReader::new(row).and_then(|reader| reader.text("verbs"));
                    let role = Uuid::try_parse(role).ok().and_then(BackupRole::from_definition);
                    seen.role_verbs.extend(role.zip(self.readable(row, text).map(verbs_in)));
                    continue;
                }
                match self.readable(row, read(row)) {
                    Some(access) => seen.foreign.push(access),
                    None => seen.unreadable.extend(key_of(row)),
                }
            }
        }
        Ok(seen)
    }
}

fn properties_of(access: &ForeignAccess) -> RowProperties {
    RowFields::row()
        .text("scope", access.scope.as_str())
        .text("role", access.role.to_string())
        .text("role_name", access.role_name.as_str())
        .text_if("verbs", access.verbs.map(text_of))
        .text("holder", access.holder.as_str())
        .flag("conditional", access.conditional)
        .flag("narrowed", access.narrowed)
        .text_if("created_on", access.created_on.map(crate::audit::rfc3339))
        .text_if("created_by", access.created_by.map(|id| id.to_string()))
        .time("first_seen", access.first_seen)
        .done()
}

fn text_of(verbs: RoleVerbs) -> String {
    verbs.names().join(" ")
}

fn verbs_in(text: &str) -> RoleVerbs {
    RoleVerbs::from_names(text.split(' '))
}

fn row_key(key: &ForeignKey) -> String {
    keys::foreign_access(key.principal, key.assignment, &key.subscription)
}

fn key_of(row: &TableRow) -> Option<ForeignKey> {
    let parts: Vec<&str> = row.key.split(':').skip(1).collect();
    let [principal, assignment, subscription] = parts.as_slice() else { return None };
    Some(ForeignKey {
        principal: PrincipalId::parse(principal).ok()?,
        assignment: AssignmentName::parse(assignment).ok()?,
        subscription: (*subscription).to_owned(),
    })
}

fn read(row: &TableRow) -> Result<ForeignAccess, StoreError> {
    let reader = RowReader::new(row)?;
    let key = key_of(row).ok_or_else(|| StoreError::corrupt_key(row))?;
    Ok(ForeignAccess {
        key,
        scope: reader.parsed("scope", |text| ArmScope::parse(text).ok_or(()))?,
        role: reader.parsed("role", Uuid::try_parse)?,
        role_name: reader.text("role_name")?.to_owned(),
        verbs: reader.text_opt("verbs")?.map(verbs_in),
        holder: HolderKind::parse(reader.text("holder")?),
        conditional: reader.flag("conditional")?,
        narrowed: reader.flag("narrowed")?,
        created_on: reader.time_opt("created_on")?,
        created_by: reader.parsed_opt("created_by", PrincipalId::parse)?,
        first_seen: reader.time("first_seen")?,
    })
}
