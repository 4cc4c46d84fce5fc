//! Walks: a group's mark becomes a mark of each of its members; a new snapshot becomes marks of the groups it concerns.

use super::snapshots::Snapshots;
use crate::id::{GroupId, OpId, UserId};
use crate::ports::tables::{ETag, Match, Row, Write};
use crate::store::codec::{Fields, Reader};
use crate::store::marks::{self, Mark};
use crate::store::{Store, StoreError, keys};
use std::collections::BTreeSet;

/// Members of one walk transaction, and groups of one step of a snapshot job.
const MARKS_MAX: usize = 90;
/// Groups that carry the same selector value and are looked at.
const GROUPS_MAX: usize = 1000;

/// Marks one page of a group's members. Answers who was marked; nobody: the walk is over.
pub async fn walk_page(store: &Store, row: &Row) -> Result<Vec<UserId>, StoreError> {
    let reader = Reader::new(row)?;
    let (mark, cursor) = (Mark::read(&reader)?, reader.text("cursor")?);
    let corrupt = |_| StoreError::Corrupt { row: row.key.clone(), property: "key".to_owned() };
    let group = GroupId::parse(keys::last_part(&row.key)).map_err(corrupt)?;
    let (from, to) = keys::range_of(&keys::members_prefix(group));
    let from = if cursor.is_empty() { from } else { format!("{from}{cursor}!") };
    let members = store.rows_between(from, to, MARKS_MAX).await?;
    let users: Vec<UserId> =
        members.iter().filter_map(|row| UserId::parse(keys::last_part(&row.key)).ok()).collect();
    let condition = Match::Exact(row.etag.clone());
    let advance = match users.last() {
        None => Write::Delete { key: row.key.clone(), condition },
        Some(last) => Write::Merge {
            key: row.key.clone(),
            properties: Fields::some().text("cursor", last.to_string()).done(),
            condition,
        },
    };
    let mut writes: Vec<Write> = users.iter().map(|user| marks::look_now(*user, &mark)).collect();
    writes.push(advance);
    match store.move_looking(&writes).await {
        Ok(_) => Ok(users),
        Err(StoreError::Conflict { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Marks the groups of every binding that differs between two snapshots, then ends the job.
pub async fn roll_snapshot(
    store: &Store,
    snapshots: &Snapshots,
    job: OpId,
    row: &Row,
) -> Result<(), StoreError> {
    let reader = Reader::new(row)?;
    let mark = Mark::read(&reader)?;
    let differing = snapshots.selectors_that_differ(reader.text("before")?, reader.text("after")?).await?;
    let pins = store.selector_pins().await?;
    let mut groups: BTreeSet<GroupId> = BTreeSet::new();
    for (attribute, value) in differing {
        groups.extend(
            pins.values().filter(|pin| pin.attribute == attribute && pin.value == value).map(|pin| pin.group),
        );
        groups.extend(groups_selected(store, attribute, &value).await?);
    }
    let groups: Vec<GroupId> = groups.into_iter().collect();
    let mut etag: ETag = row.etag.clone();
    for part in groups.chunks(MARKS_MAX) {
        let mut writes: Vec<Write> = part.iter().map(|group| marks::look_group(*group, &mark)).collect();
        let properties =
            Fields::some().text("reached", part.last().map(GroupId::to_string).unwrap_or_default()).done();
        writes.insert(0, Write::Merge { key: keys::job(job), properties, condition: Match::Exact(etag) });
        let committed = store.move_looking(&writes).await?;
        let Some(next) = committed.etag(0) else { return Ok(()) };
        etag = next;
    }
    store.move_looking(&[Write::Delete { key: keys::job(job), condition: Match::Exact(etag) }]).await?;
    Ok(())
}

/// The groups that carry a selector's value now.
pub async fn groups_selected(
    store: &Store,
    attribute: &str,
    value: &str,
) -> Result<Vec<GroupId>, StoreError> {
    match attribute {
        "id" => Ok(GroupId::parse(value).into_iter().collect()),
        "externalId" => {
            let rows = store.rows(&keys::group_external_prefix(value), GROUPS_MAX).await?;
            Ok(rows.iter().filter_map(|row| GroupId::parse(keys::last_part(&row.key)).ok()).collect())
        }
        _ => match store.get(&keys::group_name(value)).await? {
            Some(row) => Ok(vec![Reader::new(&row)?.parsed("group", GroupId::parse)?]),
            None => Ok(Vec::new()),
        },
    }
}
