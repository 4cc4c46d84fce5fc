//! Scopes where Azure refuses a kind of step, for every process: a lock, a missing right, a policy. These rows decide only
//! when to retry.

use crate::id::PrincipalId;
use crate::ports::tables::{ETag, EtagMatch, TableRow, TableWrite};
use crate::rbac::ledger::StepKind;
use crate::rbac::plan::{BlockKey, ScopeBlock};
use crate::rbac::{BackupRole, PrincipalType, ReasonCode};
use crate::store::codec::{RowFields, RowReader};
use crate::store::{StateStore, StoreError, keys};
use std::collections::BTreeMap;
use std::time::Duration;

/// Rows that are read. Those beyond are ignored: their steps are retried at their own pace.
pub(super) const BLOCKS_MAX: usize = 2000;

/// Steps that wait for a block are retried long before.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A block and the version of its row.
#[derive(Debug, Clone)]
pub struct StoredBlock {
    pub block: ScopeBlock,
    pub etag: ETag,
}

/// Every block.
pub type ScopeBlocks = BTreeMap<BlockKey, StoredBlock>;

impl StateStore {
    /// The scopes that refuse steps now. A row that cannot be read is ignored.
    pub async fn scope_blocks(&self) -> Result<ScopeBlocks, StoreError> {
        let (from, to) = keys::range_of(keys::SCOPE_BLOCKS);
        let rows = self.rows_between(from, to, BLOCKS_MAX).await?;
        Ok(rows.iter().filter_map(|row| read(row).ok()?).collect())
    }
}

impl StateStore {
    /// Forgets scopes that were not probed for long: no step of that kind is wanted there any more.
    pub async fn forget_old_scope_blocks(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        for (key, stored) in self.scope_blocks().await? {
            if stored.block.not_before + FORGOTTEN_AFTER > now {
                continue;
            }
            let condition = EtagMatch::Exact(stored.etag);
            match self
                .transact_unjournaled(&[TableWrite::Delete { key: keys::scope_block(&key), condition }])
                .await
            {
                Ok(_) | Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A step met a refusal of the scope.
pub fn put(key: &BlockKey, block: &ScopeBlock) -> TableWrite {
    TableWrite::InsertOrReplace { key: keys::scope_block(key), properties: properties(key, block).done() }
}

/// One step probes a block that is over: every other one waits from now on.
pub fn probe(key: &BlockKey, block: &ScopeBlock, read: &ETag) -> TableWrite {
    let properties = properties(key, block).done();
    TableWrite::Replace { key: keys::scope_block(key), properties, condition: EtagMatch::Exact(read.clone()) }
}

/// The scope takes such steps again.
pub fn lift(key: &BlockKey) -> TableWrite {
    TableWrite::Delete { key: keys::scope_block(key), condition: EtagMatch::Any }
}

fn properties(key: &BlockKey, block: &ScopeBlock) -> RowFields {
    RowFields::row()
        .text("scope", key.scope.as_str())
        .text("role", key.role.definition_id().to_string())
        .text("type", key.principal_type.as_str())
        .text("attempt", key.kind.as_str())
        .text("reason", block.reason.as_str())
        .int("attempts", i64::from(block.attempts))
        .time("not_before", block.not_before)
}

/// `None`: a kind of step that this release does not know.
pub(super) fn read(row: &TableRow) -> Result<Option<(BlockKey, StoredBlock)>, StoreError> {
    let reader = RowReader::new(row)?;
    let role = PrincipalId::parse(reader.text("role")?).ok();
    let role = role.and_then(|id| BackupRole::from_definition(id.uuid()));
    let kind = reader.text("type")?;
    let principal_type = [PrincipalType::User, PrincipalType::ServicePrincipal];
    let principal_type = principal_type.into_iter().find(|known| known.as_str() == kind);
    let kind = reader.text("attempt")?;
    let kind = StepKind::ALL.into_iter().find(|known| known.as_str() == kind);
    let reason = ReasonCode::parse(reader.text("reason")?);
    let (Some(role), Some(principal_type), Some(kind), Some(reason)) = (role, principal_type, kind, reason)
    else {
        return Ok(None);
    };
    let key = BlockKey { scope: reader.text("scope")?.to_owned(), role, principal_type, kind };
    let attempts = u32::try_from(reader.int("attempts")?).unwrap_or(u32::MAX);
    let block = ScopeBlock { reason, attempts, not_before: reader.time("not_before")? };
    Ok(Some((key, StoredBlock { block, etag: row.etag.clone() })))
}
