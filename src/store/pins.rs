//! Which group a binding's selector is pinned to. `b:` decides; `bg:` leads from a group to the selectors that are pinned to
//! it.
//!
//! A `bg:` row is a hint and decides nothing: it counts only where the `b:` row that it names says the same group. So one that
//! a former release did not write, or that was left behind when a pin moved, does no harm.

use crate::id::{GroupId, OpId};
use crate::ports::tables::{ETag, EtagMatch, TableRow, TableWrite};
use crate::store::codec::{RowFields, RowReader};
use crate::store::{StateStore, StoreError, keys};
use std::collections::{BTreeMap, BTreeSet};

/// Pins of one group that are read: three attributes, and what they were before.
const PINS_OF_GROUP_MAX: usize = 1000;
/// Leads of one group that one transaction removes.
const LEADS_FORGOTTEN_MAX: usize = 20;

/// What a selector's pin is found by: attribute and compared value. Two spellings of one value are one key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SelectorKey(String);

impl SelectorKey {
    /// `attribute` is the SCIM name, `value` its compare key.
    pub fn of(attribute: &str, value: &str) -> Self {
        Self(keys::selector(attribute, value))
    }
}

/// A binding's selector, pinned to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectorPin {
    pub attribute: String,
    pub value: String,
    pub group: GroupId,
    pub etag: ETag,
}

/// What a `b:` row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinRow {
    Pinned(SelectorPin),
    Unreadable,
}

impl PinRow {
    /// The pin, where it can be read.
    pub const fn pinned(&self) -> Option<&SelectorPin> {
        match self {
            PinRow::Pinned(pin) => Some(pin),
            PinRow::Unreadable => None,
        }
    }
}

impl StateStore {
    /// The pin of a selector; `None`: it was never pinned.
    pub async fn selector_pin(&self, key: &SelectorKey) -> Result<Option<PinRow>, StoreError> {
        let Some(row) = self.get(&key.0).await? else { return Ok(None) };
        let pin = self.readable(&row, read_pin(&row));
        Ok(Some(pin.map_or(PinRow::Unreadable, PinRow::Pinned)))
    }

    /// The version of a selector's pin, also where it cannot be read.
    pub async fn selector_pin_version(&self, key: &SelectorKey) -> Result<Option<ETag>, StoreError> {
        Ok(self.get(&key.0).await?.map(|row| row.etag))
    }

    /// The selectors that are pinned to a group, as far as its `bg:` rows say.
    pub async fn selectors_of(&self, group: GroupId) -> Result<BTreeSet<SelectorKey>, StoreError> {
        let (from, to) = keys::range_of(&keys::selectors_prefix(group));
        let rows = self.rows_between(from, to, PINS_OF_GROUP_MAX).await?;
        Ok(rows.iter().map(|row| SelectorKey(format!("b:{}", keys::last_part(&row.key)))).collect())
    }

    /// The pins of these selectors, read as one range.
    pub async fn pins_of(
        &self,
        wanted: &BTreeSet<&SelectorKey>,
    ) -> Result<BTreeMap<SelectorKey, PinRow>, StoreError> {
        let (from, to) = keys::range_of("b:");
        let mut pins = BTreeMap::new();
        let mut pages = self.pages(from, to);
        while let Some(rows) = pages.next().await? {
            for row in &rows {
                let key = SelectorKey(row.key.clone());
                if wanted.contains(&key) {
                    let pin = self.readable(row, read_pin(row));
                    pins.insert(key, pin.map_or(PinRow::Unreadable, PinRow::Pinned));
                }
            }
        }
        Ok(pins)
    }

    /// The writes that remove the `bg:` rows of a group that is gone: they lead nowhere.
    pub async fn forget_leads(&self, group: GroupId) -> Result<Vec<TableWrite>, StoreError> {
        let (from, to) = keys::range_of(&keys::selectors_prefix(group));
        let rows = self.rows_between(from, to, LEADS_FORGOTTEN_MAX).await?;
        let delete = |row: TableRow| TableWrite::Delete { key: row.key, condition: EtagMatch::Any };
        Ok(rows.into_iter().map(delete).collect())
    }

    /// The groups whose `bg:` rows lead to one of these selectors, read as one range.
    pub async fn leads_to(
        &self,
        wanted: &BTreeSet<&SelectorKey>,
    ) -> Result<BTreeMap<GroupId, BTreeSet<SelectorKey>>, StoreError> {
        let (from, to) = keys::range_of(keys::LEADS);
        let mut leads: BTreeMap<GroupId, BTreeSet<SelectorKey>> = BTreeMap::new();
        let mut pages = self.pages(from, to);
        while let Some(rows) = pages.next().await? {
            for row in &rows {
                let group = row.key.split(':').nth(1).and_then(|id| GroupId::parse(id).ok());
                let key = SelectorKey(format!("b:{}", keys::last_part(&row.key)));
                if let Some(group) = group.filter(|_| wanted.contains(&key)) {
                    leads.entry(group).or_default().insert(key);
                }
            }
        }
        Ok(leads)
    }

    /// Every group that any selector was ever pinned to.
    pub async fn pinned_groups(&self) -> Result<BTreeSet<GroupId>, StoreError> {
        let (from, to) = keys::range_of("b:");
        let mut groups = BTreeSet::new();
        let mut pages = self.pages(from, to);
        while let Some(rows) = pages.next().await? {
            let pins = rows.iter().filter_map(|row| self.readable(row, read_pin(row)));
            groups.extend(pins.map(|pin| pin.group));
        }
        Ok(groups)
    }
}

fn read_pin(row: &TableRow) -> Result<SelectorPin, StoreError> {
    let reader = RowReader::new(row)?;
    Ok(SelectorPin {
        attribute: reader.text("attribute")?.to_owned(),
        value: reader.text("value")?.to_owned(),
        group: reader.parsed("group", GroupId::parse)?,
        etag: row.etag.clone(),
    })
}

/// A selector is pinned to a group: for the first time, or over a pin whose group is gone. Two rows.
pub fn pin_selector(
    key: SelectorKey,
    attribute: &str,
    value: &str,
    group: GroupId,
    op: OpId,
    read: Option<&ETag>,
) -> [TableWrite; 2] {
    let properties = RowFields::row()
        .text("attribute", attribute)
        .text("value", value)
        .text("group", group.to_string())
        .text("op", op.to_string())
        .done();
    let from_group = lead_from_group(group, &key);
    let key = key.0;
    let pin = match read {
        Some(etag) => TableWrite::Replace { key, properties, condition: EtagMatch::Exact(etag.clone()) },
        None => TableWrite::Insert { key, properties },
    };
    [pin, from_group]
}

/// The row that leads from a group to a selector. Safe to repeat.
pub fn lead_from_group(group: GroupId, selector: &SelectorKey) -> TableWrite {
    let key = keys::selector_of(group, &selector.0);
    TableWrite::InsertOrReplace { key, properties: RowFields::row().done() }
}
