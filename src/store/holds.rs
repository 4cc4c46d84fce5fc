//! The people of a batch (`h:{batch}:{user}`), for its listing and for the job that follows a decision. What decides is on the
//! rows of the ledger: each names the batch that holds its next step. These are written with them, in one transaction.

use crate::id::{OpId, UserId};
use crate::orders::PEOPLE_HASH_CHARS;
use crate::ports::tables::{EtagMatch, TableRow, TableWrite};
use crate::rbac::ledger::LedgerEntry;
use crate::rbac::{BackupRole, BindingName, Scope};
use crate::store::codec::{RowFields, RowReader};
use crate::store::{StateStore, StoreError, keys};
use serde_json::{Value, json};
use time::OffsetDateTime;

/// What caused a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldCause {
    /// The operation that took it, or that would have given it.
    pub op: OpId,
    /// Who asked for that: the label of a token.
    pub actor: String,
    pub since: OffsetDateTime,
}

/// One step that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldStep {
    pub bindings: Vec<BindingName>,
    pub role: BackupRole,
    pub scope: Scope,
}

/// A person of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPerson {
    pub user: UserId,
    pub steps: Vec<HeldStep>,
    pub cause: Option<HoldCause>,
}

impl HeldPerson {
    /// The person and their steps, one a line. What caused a hold does not change what a decision does.
    fn to_hashed_text(&self) -> String {
        let step = |HeldStep { bindings, role, scope }: &HeldStep| {
            let bindings: Vec<&str> = bindings.iter().map(BindingName::as_str).collect();
            format!("\n  {} {} {}", role.name(), scope.as_str(), bindings.join(" "))
        };
        let steps: String = self.steps.iter().map(step).collect();
        format!("\n{}{steps}", self.user)
    }
}

/// The people of a batch at one moment. One whose hold has ended is left out.
#[derive(Debug, Clone, Default)]
pub struct BatchPeople {
    pub people: Vec<HeldPerson>,
    /// Rows that cannot be read. What they hold is held all the same.
    pub unreadable: usize,
    /// Names exactly these people, and what is held of each.
    pub hash: String,
}

impl StateStore {
    /// Everyone in a batch.
    pub async fn batch_people(&self, batch: OpId) -> Result<BatchPeople, StoreError> {
        let (from, to) = keys::range_of(&keys::batch_people_prefix(batch));
        let mut all = BatchPeople::default();
        let mut text = batch.to_string();
        let mut pages = self.pages(from, to);
        while let Some(rows) = pages.next().await? {
            for row in &rows {
                match self.readable(row, read(row)) {
                    Some(None) => {}
                    Some(Some(person)) => {
                        text.push_str(&person.to_hashed_text());
                        all.people.push(person);
                    }
                    None => {
                        text.push_str(&format!("\n{}", row.key));
                        all.unreadable += 1;
                    }
                }
            }
        }
        all.hash = keys::hash(&text).chars().take(PEOPLE_HASH_CHARS).collect();
        Ok(all)
    }

    /// The people of a batch behind one of them, at most so many, whatever their rows say.
    pub async fn held_people_after(
        &self,
        batch: OpId,
        after: &str,
        rows_max: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        let (from, to) = keys::range_of(&keys::batch_people_prefix(batch));
        let from = if after.is_empty() { from } else { format!("{from}{after}!") };
        Ok(self.ids_of(&self.rows_between(from, to, rows_max).await?))
    }

    /// The rows of a batch whose holds have ended, at most so many.
    pub async fn ended_holds(&self, batch: OpId, rows_max: usize) -> Result<Vec<TableWrite>, StoreError> {
        let (from, to) = keys::range_of(&keys::batch_people_prefix(batch));
        let mut ended = Vec::new();
        let mut pages = self.pages(from, to);
        while let Some(rows) = pages.next().await? {
            let over = rows.into_iter().filter(|row| RowReader::any(row).flag("ended").unwrap_or_default());
            ended.extend(over.map(|row| {
                let condition = EtagMatch::Exact(row.etag.clone());
                TableWrite::Delete { key: row.key, condition }
            }));
            if ended.len() >= rows_max {
                ended.truncate(rows_max);
                break;
            }
        }
        Ok(ended)
    }

    /// Whether a batch has any person, ended or not.
    pub async fn has_held_people(&self, batch: OpId) -> Result<bool, StoreError> {
        let (from, to) = keys::range_of(&keys::batch_people_prefix(batch));
        Ok(!self.rows_between(from, to, 1).await?.is_empty())
    }
}

/// `None`: the hold has ended.
fn read(row: &TableRow) -> Result<Option<HeldPerson>, StoreError> {
    let reader = RowReader::new(row)?;
    if reader.flag("ended")? {
        return Ok(None);
    }
    let steps = reader.json("list")?;
    let cause = match reader.parsed_opt("op", OpId::parse)? {
        Some(op) => {
            let actor = reader.text("actor")?.to_owned();
            Some(HoldCause { op, actor, since: reader.time("since")? })
        }
        None => None,
    };
    Ok(Some(HeldPerson {
        user: UserId::parse(keys::last_part(&row.key)).map_err(|_| StoreError::corrupt_key(row))?,
        steps: steps.as_array().into_iter().flatten().filter_map(read_step).collect(),
        cause,
    }))
}

fn read_step(step: &Value) -> Option<HeldStep> {
    let text = |name: &str| step.get(name)?.as_str();
    let names = step.get("bindings")?.as_array()?;
    Some(HeldStep {
        bindings: names.iter().map(|name| BindingName::parse(name.as_str()?)).collect::<Option<_>>()?,
        role: BackupRole::parse(text("role")?)?,
        scope: Scope::parse(text("scope")?).ok()?,
    })
}

/// The person's row in a batch, from the entries of the ledger as they are written beside it. It is over where none of them is
/// held by that batch any more. `cause` is given where something is newly held.
pub fn write<'a>(
    batch: OpId,
    user: UserId,
    entries: impl Iterator<Item = &'a LedgerEntry>,
    cause: Option<&HoldCause>,
) -> TableWrite {
    let held: Vec<Value> = entries.filter(|entry| entry.hold == Some(batch)).map(step_json).collect();
    let mut fields = RowFields::row()
        .flag("ended", held.is_empty())
        .bytes("list", Value::Array(held).to_string().as_bytes());
    if let Some(HoldCause { op, actor, since }) = cause {
        fields = fields.text("op", op.to_string()).text("actor", actor.as_str()).time("since", *since);
    }
    TableWrite::InsertOrMerge { key: keys::batch_person(batch, user), properties: fields.done() }
}

fn step_json(entry: &LedgerEntry) -> Value {
    let bindings: Vec<&str> = entry.bindings.iter().map(BindingName::as_str).collect();
    json!({ "bindings": bindings, "role": entry.role.name(), "scope": entry.scope.as_str() })
}
