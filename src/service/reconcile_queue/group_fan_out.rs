//! The walk of a group's mark: it becomes a mark of each of its members.

use crate::id::{GroupId, UserId};
use crate::ports::tables::{EtagMatch, TableRow, TableWrite};
use crate::store::codec::{RowFields, RowReader};
use crate::store::reconcile_queue::{self, ReconcileRequest};
use crate::store::{StateStore, StoreError, keys};

/// Members of one walk transaction: mark and hint each, and the walk itself.
const MARKS_MAX: usize = 48;

/// Marks one page of a group's members. Answers who was marked; nobody: the walk is over.
pub async fn fan_out_page(store: &StateStore, row: &TableRow) -> Result<Vec<UserId>, StoreError> {
    let reader = RowReader::new(row)?;
    let (mark, cursor) = (ReconcileRequest::read(&reader)?, reader.text("cursor")?);
    let corrupt = |_| StoreError::Corrupt { row: row.key.clone(), property: "key".to_owned() };
    let group = GroupId::parse(keys::last_part(&row.key)).map_err(corrupt)?;
    let (from, to) = keys::range_of(&keys::members_prefix(group));
    let from = if cursor.is_empty() { from } else { format!("{from}{cursor}!") };
    let members = store.rows_between(from, to, MARKS_MAX).await?;
    // A row that names nobody is passed over: it must neither end the walk nor hold it up.
    let users: Vec<UserId> = store.ids_of(&members);
    let condition = EtagMatch::Exact(row.etag.clone());
    let advance = match members.last() {
        None => TableWrite::Delete { key: row.key.clone(), condition },
        Some(last) => TableWrite::Merge {
            key: row.key.clone(),
            properties: RowFields::some().text("cursor", keys::last_part(&last.key)).done(),
            condition,
        },
    };
    let mut writes: Vec<TableWrite> =
        users.iter().flat_map(|user| reconcile_queue::enqueue_now(*user, &mark)).collect();
    writes.push(advance);
    match store.transact_unjournaled(&writes).await {
        Ok(_) => Ok(users),
        Err(StoreError::Conflict { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
