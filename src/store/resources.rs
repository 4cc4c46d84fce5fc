//! Headers of users and groups, and the rows that follow from a header alone: the owner of its name, and its indexes.
//!
//! Users and groups differ in keys only, so one set of functions serves both.

use crate::events::log_event;
use crate::id::{GroupId, OpId, PrincipalId, UserId};
use crate::ports::tables::{ETag, EtagMatch, PropertyValue, RowProperties, TableRow, TableWrite};
use crate::scim::{Resource, ResourceType, StoredDocument, compare, version};
use crate::store::batch::{BatchPart, WriteBatch};
use crate::store::codec::{RowFields, RowReader};
use crate::store::{CommittedWrites, RowPages, StateStore, StoreError, keys};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::{Debug, Display};
use time::OffsetDateTime;
use uuid::Uuid;

/// The property that holds the attributes, and the beginning of the names of its parts.
const DOCUMENT: &str = "doc";

/// The property of a group's header that says that the group was a member of another.
const NESTED: &str = "nested";

/// The id of a user or of a group, and the keys of the rows that follow from it.
pub trait ResourceId: Copy + Ord + Debug + Display + Send + Sync + 'static {
    /// Which of the two it is.
    const KIND: ResourceType;
    /// The attribute that is unique.
    const NAME: &'static str;
    /// The property of index rows that holds the id.
    const OWNER: &'static str;
    /// What the keys of all headers begin with.
    const HEADERS: &'static str;
    /// What the keys of all counters begin with.
    const COUNTERS: &'static str;

    fn of(uuid: Uuid) -> Self;
    fn uuid(&self) -> Uuid;
    fn name_key(text: &str) -> String;
    fn external_prefix(text: &str) -> String;

    /// Reads the hyphenated form.
    fn from_text(text: &str) -> Option<Self> {
        UserId::parse(text).ok().map(|id| Self::of(id.uuid()))
    }

    /// The key of the header.
    fn header_key(&self) -> String {
        format!("{}{self}", Self::HEADERS)
    }

    /// The key of the counter that counts this resource.
    fn counter_key(&self) -> String {
        format!("{}{}", Self::COUNTERS, keys::bucket(self))
    }
}

impl ResourceId for UserId {
    const KIND: ResourceType = ResourceType::User;
    const NAME: &'static str = "userName";
    const OWNER: &'static str = "user";
    const HEADERS: &'static str = "u:";
    const COUNTERS: &'static str = "cu:";

    fn of(uuid: Uuid) -> Self {
        Self::new(uuid)
    }
    fn uuid(&self) -> Uuid {
        UserId::uuid(self)
    }
    fn name_key(text: &str) -> String {
        keys::user_name(text)
    }
    fn external_prefix(text: &str) -> String {
        keys::user_external_prefix(text)
    }
}

impl ResourceId for GroupId {
    const KIND: ResourceType = ResourceType::Group;
    const NAME: &'static str = "displayName";
    const OWNER: &'static str = "group";
    const HEADERS: &'static str = "g:";
    const COUNTERS: &'static str = "cg:";

    fn of(uuid: Uuid) -> Self {
        Self::new(uuid)
    }
    fn uuid(&self) -> Uuid {
        GroupId::uuid(self)
    }
    fn name_key(text: &str) -> String {
        keys::group_name(text)
    }
    fn external_prefix(text: &str) -> String {
        keys::group_external_prefix(text)
    }
}

/// A user or a group as its header has it.
#[derive(Debug, Clone)]
pub struct StoredResource<I> {
    pub id: I,
    pub resource: Resource,
    pub revision: i64,
    /// The last change by others that is part of the version but not of the revision.
    pub touch: Option<String>,
    pub created: OffsetDateTime,
    pub modified: OffsetDateTime,
    /// Users: the Entra object id first pinned.
    pub pinned: Option<PrincipalId>,
    /// Groups: the job that changes the members. Until it is done, its plan says who is in.
    pub job: Option<OpId>,
    pub etag: ETag,
    /// The properties of the row as it was read, the document aside; what a later release put there is kept.
    kept: RowProperties,
}

/// A user.
pub type User = StoredResource<UserId>;
/// A group.
pub type Group = StoredResource<GroupId>;

impl<I: ResourceId> StoredResource<I> {
    /// A resource that does not exist yet.
    pub fn new(id: I, resource: Resource, now: OffsetDateTime) -> Self {
        let etag = ETag(String::new());
        let kept = RowProperties::new();
        let created = now;
        let modified = now;
        Self {
            id,
            resource,
            revision: 1,
            touch: None,
            created,
            modified,
            pinned: None,
            job: None,
            etag,
            kept,
        }
    }

    /// The same resource one revision later.
    pub fn changed(&self, resource: Resource, now: OffsetDateTime) -> Self {
        Self { resource, revision: self.revision + 1, modified: now, ..self.clone() }
    }

    /// The same, as it is after `committed`. Where the answer was lost the version is unknown and matches nothing.
    pub fn committed(self, batch: &WriteBatch, committed: &CommittedWrites) -> Self {
        let etag = batch.position(&self.id.header_key()).and_then(|index| committed.etag(index));
        Self { etag: etag.unwrap_or(ETag(String::new())), ..self }
    }

    /// Reads a header.
    pub fn read(row: &TableRow) -> Result<Self, StoreError> {
        let kept = row.properties.iter().filter(|(name, _)| !name.starts_with(DOCUMENT));
        let kept = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(Self { kept, ..Self::read_to_show(row)? })
    }

    /// Reads a header of a resource that is only shown: what a later release put there is not kept.
    pub fn read_to_show(row: &TableRow) -> Result<Self, StoreError> {
        let StoredHeader { id, revision, touch, created, modified, pinned, job, document } =
            StoredHeader::read(row)?;
        let attributes = serde_json::from_slice(&document).map_err(|_| corrupt_document(row))?;
        Ok(Self {
            id,
            resource: Resource::from_stored(I::KIND, attributes),
            revision,
            touch: touch.map(str::to_owned),
            created,
            modified,
            pinned,
            job,
            etag: row.etag.clone(),
            kept: RowProperties::new(),
        })
    }

    /// Reads as much of a header as can be read, for a delete: rows that follow from the rest are left behind and list nothing.
    pub fn read_for_delete(row: &TableRow) -> Result<Self, StoreError> {
        let read = Self::read(row);
        let (Err(error), Some(id)) = (&read, I::from_text(keys::last_part(&row.key))) else { return read };
        log_event!(RowUnreadable, row = row.key, error = %error, "a header that cannot be read is deleted");
        let reader = RowReader::any(row);
        let attributes = match reader.json(DOCUMENT) {
            Ok(serde_json::Value::Object(attributes)) => attributes,
            _ => serde_json::Map::new(),
        };
        let unknown = OffsetDateTime::UNIX_EPOCH;
        let stored = Self::new(id, Resource::from_stored(I::KIND, attributes), unknown);
        let touch = reader.text_opt("touch").ok().flatten().map(str::to_owned);
        Ok(Self { revision: reader.int("rev").unwrap_or(0), touch, etag: row.etag.clone(), ..stored })
    }

    /// Whether it may be a member of other groups: it was one once.
    pub fn may_be_nested(&self) -> bool {
        self.kept.get(NESTED).is_some_and(|nested| *nested != PropertyValue::Bool(false))
    }

    /// The version that clients see (RFC 7644 section 3.14).
    pub fn version(&self) -> String {
        version::version(self.revision, self.touch.as_deref())
    }

    /// The unique name.
    pub fn name(&self) -> Option<&str> {
        self.resource.text(I::NAME)
    }

    fn properties(&self) -> RowProperties {
        let document = serde_json::Value::Object(self.resource.attributes().clone()).to_string();
        let fields = RowFields::row()
            .int("rev", self.revision)
            .time("created", self.created)
            .time("modified", self.modified)
            .text_if("pinned", self.pinned.map(|principal| principal.to_string()))
            .text_if("job", self.job.map(|job| job.to_string()))
            .int("kv", compare::VERSION)
            .bytes(DOCUMENT, document.as_bytes());
        let mut properties = self.kept.clone();
        properties.extend(fields.done());
        properties
    }

    /// The keys of the indexes that are not unique.
    fn index_keys(&self) -> BTreeSet<String> {
        let external = self.resource.text("externalId").map(I::external_prefix);
        let addresses = match I::KIND {
            ResourceType::User => self.resource.emails(),
            ResourceType::Group => Vec::new(),
        };
        let prefixes = external.into_iter().chain(addresses.into_iter().map(keys::user_email_prefix));
        prefixes.map(|prefix| keys::indexed(&prefix, self.id)).collect()
    }

    fn index_properties(&self) -> RowProperties {
        RowFields::row().text(I::OWNER, self.id.to_string()).done()
    }

    fn name_properties(&self, text: &str) -> RowProperties {
        RowFields::row().text(I::OWNER, self.id.to_string()).text("text", text).done()
    }

    fn name_key(&self) -> Option<String> {
        self.name().map(I::name_key)
    }

    /// The key of an index row holds the id, so one that is there already is this resource's own.
    fn put_indexes(&self, keys: impl IntoIterator<Item = String>) -> WriteBatch {
        let mut batch = WriteBatch::default();
        for key in keys {
            batch.push(
                BatchPart::Index,
                TableWrite::InsertOrReplace { key, properties: self.index_properties() },
            );
        }
        batch
    }
}

/// A header whose attributes stay the text that is stored.
pub struct StoredHeader<'a, I> {
    pub id: I,
    pub revision: i64,
    pub touch: Option<&'a str>,
    pub created: OffsetDateTime,
    pub modified: OffsetDateTime,
    pinned: Option<PrincipalId>,
    job: Option<OpId>,
    document: Cow<'a, [u8]>,
}

impl<'a, I: ResourceId> StoredHeader<'a, I> {
    /// Reads everything but the attributes.
    pub fn read(row: &'a TableRow) -> Result<Self, StoreError> {
        let reader = RowReader::new(row)?;
        let id = I::from_text(keys::last_part(&row.key)).ok_or_else(|| StoreError::corrupt_key(row))?;
        Ok(Self {
            id,
            revision: reader.int("rev")?,
            touch: reader.text_opt("touch")?,
            created: reader.time("created")?,
            modified: reader.time("modified")?,
            pinned: reader.parsed_opt("pinned", PrincipalId::parse)?,
            job: job_of(row)?,
            document: reader.bytes(DOCUMENT)?,
        })
    }

    /// The attributes of the header of that row.
    pub fn document(&self, row: &TableRow) -> Result<StoredDocument<'_>, StoreError> {
        StoredDocument::parse(&self.document).map_err(|_| corrupt_document(row))
    }
}

fn corrupt_document(row: &TableRow) -> StoreError {
    StoreError::Corrupt { row: row.key.clone(), property: DOCUMENT.to_owned() }
}

fn delete(key: String) -> TableWrite {
    TableWrite::Delete { key, condition: EtagMatch::Any }
}

/// Creates: the name decides whether it can be. The name may be taken over from the row `heir_of`.
pub fn create<I: ResourceId>(new: &StoredResource<I>, heir_of: Option<&ETag>) -> WriteBatch {
    let mut batch = WriteBatch::default();
    if let Some(text) = new.name() {
        let key = I::name_key(text);
        let properties = new.name_properties(text);
        let write = match heir_of {
            None => TableWrite::Insert { key, properties },
            Some(etag) => TableWrite::Replace { key, properties, condition: EtagMatch::Exact(etag.clone()) },
        };
        batch.push(BatchPart::Name, write);
    }
    batch.push(
        BatchPart::Header,
        TableWrite::Insert { key: new.id.header_key(), properties: new.properties() },
    );
    batch.append(new.put_indexes(new.index_keys()));
    batch
}

/// Changes attributes. The header comes first: only where it is still the one that was read, a name that is taken
/// is taken by another resource.
pub fn change<I: ResourceId>(before: &StoredResource<I>, after: &StoredResource<I>) -> WriteBatch {
    let mut batch = WriteBatch::default();
    let condition = EtagMatch::Exact(before.etag.clone());
    let key = after.id.header_key();
    batch.push(BatchPart::Header, TableWrite::Replace { key, properties: after.properties(), condition });
    if before.name() != after.name() {
        batch.append(rename(before, after));
    }
    let old = before.index_keys();
    let new = after.index_keys();
    for key in old.difference(&new) {
        batch.push(BatchPart::Index, delete(key.clone()));
    }
    batch.append(after.put_indexes(new.difference(&old).cloned()));
    batch
}

fn rename<I: ResourceId>(before: &StoredResource<I>, after: &StoredResource<I>) -> WriteBatch {
    let mut batch = WriteBatch::default();
    let new = after.name().map(|text| (I::name_key(text), after.name_properties(text)));
    match (before.name_key(), new) {
        (Some(old), Some((key, properties))) if old == key => {
            batch.push(BatchPart::Name, TableWrite::Merge { key, properties, condition: EtagMatch::Any });
        }
        (old, new) => {
            if let Some(key) = old {
                batch.push(BatchPart::Name, delete(key));
            }
            if let Some((key, properties)) = new {
                batch.push(BatchPart::Name, TableWrite::Insert { key, properties });
            }
        }
    }
    batch
}

/// Advances revision and time under the ETag that was read. The document is not sent.
pub fn advance<I: ResourceId>(before: &StoredResource<I>, after: &StoredResource<I>) -> WriteBatch {
    let fields = RowFields::some().int("rev", after.revision).time("modified", after.modified);
    let properties = fields.text_if("job", after.job.map(|job| job.to_string())).done();
    let condition = EtagMatch::Exact(before.etag.clone());
    let mut batch = WriteBatch::default();
    batch.push(BatchPart::Header, TableWrite::Merge { key: after.id.header_key(), properties, condition });
    batch
}

/// Deletes the header and its indexes. The name goes too, unless another resource takes it over.
pub fn remove<I: ResourceId>(before: &StoredResource<I>, name_too: bool) -> WriteBatch {
    let mut batch = WriteBatch::default();
    let condition = EtagMatch::Exact(before.etag.clone());
    batch.push(BatchPart::Header, TableWrite::Delete { key: before.id.header_key(), condition });
    if let Some(key) = before.name_key().filter(|_| name_too) {
        batch.push(BatchPart::Name, delete(key));
    }
    for key in before.index_keys() {
        batch.push(BatchPart::Index, delete(key));
    }
    batch
}

/// A change by others that moves the version and nothing else. The header must be there.
pub fn touch<I: ResourceId>(id: I, op: OpId) -> TableWrite {
    let properties = RowFields::some().text("touch", op.to_string()).done();
    TableWrite::Merge { key: id.header_key(), properties, condition: EtagMatch::Any }
}

/// The job that a header names.
pub fn job_of(header: &TableRow) -> Result<Option<OpId>, StoreError> {
    RowReader::any(header).parsed_opt("job", OpId::parse)
}

/// The members of a group are as the job planned. The header must be the one that was read.
pub fn end_job(group: GroupId, header: &ETag) -> TableWrite {
    let properties = RowFields::some().text("job", "").done();
    TableWrite::Merge { key: group.header_key(), properties, condition: EtagMatch::Exact(header.clone()) }
}

/// The header of a group that joins or leaves another, of which clients see no change. That it was a member once is remembered.
pub fn touch_nested(id: GroupId, op: OpId) -> TableWrite {
    let properties = RowFields::some().text("outer", op.to_string()).flag(NESTED, true).done();
    TableWrite::Merge { key: id.header_key(), properties, condition: EtagMatch::Any }
}

/// Whether the header of a group says that the group may be a member of others.
pub fn may_be_nested(header: &TableRow) -> bool {
    RowReader::any(header).flag(NESTED).unwrap_or(true)
}

/// Who owns a unique name, and the version of the row that says so.
#[derive(Debug, Clone)]
pub struct NameOwner<I> {
    pub id: I,
    pub etag: ETag,
}

impl StateStore {
    /// The header of that id.
    pub async fn resource<I: ResourceId>(&self, id: I) -> Result<Option<StoredResource<I>>, StoreError> {
        self.get(&id.header_key()).await?.as_ref().map(StoredResource::read).transpose()
    }

    /// The header of that id as far as it can be read, for a delete.
    pub async fn resource_to_delete<I: ResourceId>(
        &self,
        id: I,
    ) -> Result<Option<StoredResource<I>>, StoreError> {
        self.get(&id.header_key()).await?.as_ref().map(StoredResource::read_for_delete).transpose()
    }

    /// Whether a group may be a member of other groups. `None`: there is no such group.
    pub async fn may_be_nested(&self, group: GroupId) -> Result<Option<bool>, StoreError> {
        Ok(self.get(&group.header_key()).await?.as_ref().map(may_be_nested))
    }

    /// Whether there is a header of that id.
    pub async fn exists<I: ResourceId>(&self, id: I) -> Result<bool, StoreError> {
        Ok(self.get(&id.header_key()).await?.is_some())
    }

    /// The owner of a unique name.
    pub async fn owner<I: ResourceId>(&self, name: &str) -> Result<Option<NameOwner<I>>, StoreError> {
        let Some(row) = self.get(&I::name_key(name)).await? else { return Ok(None) };
        let id = RowReader::new(&row)?.parsed(I::OWNER, |text| I::from_text(text).ok_or(()))?;
        Ok(Some(NameOwner { id, etag: row.etag }))
    }

    /// The ids that an index lists under `prefix`.
    pub async fn listed<I: ResourceId>(&self, prefix: &str, rows_max: usize) -> Result<Vec<I>, StoreError> {
        Ok(self.ids_of(&self.rows(prefix, rows_max).await?))
    }

    /// The ids at the end of the keys of these rows. A key that ends in none says nothing.
    pub fn ids_of<I: ResourceId>(&self, rows: &[TableRow]) -> Vec<I> {
        let id = |row: &TableRow| {
            I::from_text(keys::last_part(&row.key)).ok_or_else(|| StoreError::corrupt_key(row))
        };
        rows.iter().filter_map(|row| self.readable(row, id(row))).collect()
    }

    /// The headers of a kind in the order of their ids, from the first id of `bucket` on.
    pub fn headers_from<I: ResourceId>(&self, bucket: &str) -> RowPages<'_> {
        let (_, to) = keys::range_of(I::HEADERS);
        self.pages(format!("{}{bucket}", I::HEADERS), to)
    }

    /// The headers of a kind in the order of their ids, after that one.
    pub fn headers_after<I: ResourceId>(&self, id: I) -> RowPages<'_> {
        let (_, to) = keys::range_of(I::HEADERS);
        self.pages(format!("{}:", id.header_key()), to)
    }

    /// The headers of a kind in the order of their ids, from the first id of `bucket` on and before that id.
    pub fn headers_before<I: ResourceId>(&self, bucket: &str, id: I) -> RowPages<'_> {
        self.pages(format!("{}{bucket}", I::HEADERS), id.header_key())
    }

    /// The headers of a kind between two ids, both included, without what they say.
    pub fn header_keys_between<I: ResourceId>(&self, first: I, last: I) -> RowPages<'_> {
        let (_, to) = keys::range_of(&format!("{}:", last.header_key()));
        self.key_pages(first.header_key(), to)
    }

    /// The header of that id as a row: many rows are held more cheaply than what they say.
    pub async fn header<I: ResourceId>(&self, id: I) -> Result<Option<TableRow>, StoreError> {
        self.get(&id.header_key()).await
    }
}

/// The id of a header.
pub fn id_of<I: ResourceId>(header: &TableRow) -> Option<I> {
    I::from_text(keys::last_part(&header.key))
}
