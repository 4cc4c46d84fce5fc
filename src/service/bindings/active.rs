//! The active bindings. Every process plans with the snapshot that the pointer row names; a process's own file is only
//! there to be stored.

use crate::audit::{AuditEvent, AuditRecord, ChangeCause, ChangeOrigin};
use crate::bindings::{Bindings, BindingsError, ConfiguredBinding, PrincipalSource, Selector};
use crate::events::log_event;
use crate::id;
use crate::id::SERVICE;
use crate::scim::DecidingAttributes;
use crate::service::health::{BindingsHealth, HealthStatus};
use crate::service::provisioning::binding_rules::BindingRules;
use crate::store::jobs::{self, JobKind};
use crate::store::pending_bindings::{self, PendingRow};
use crate::store::pins::SelectorKey;
use crate::store::reconcile_queue::ReconcileRequest;
use crate::store::settings::{self, ActiveVersion, ActiveVersionRow};
use crate::store::{StateStore, StoreError, TableAnswer, TableWrite};
use std::cmp::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;

/// A snapshot that was read and understood.
#[derive(Debug, Clone, PartialEq)]
pub struct BindingsSnapshot {
    pub stamp: String,
    pub hash: String,
    pub bindings: Bindings,
    /// What the conditions of the bindings read.
    pub deciding: Arc<DecidingAttributes>,
    /// The key of each binding's selector, in the order of the bindings.
    keys: Vec<SelectorKey>,
}

impl BindingsSnapshot {
    /// A snapshot, by its stamp and the hash of its bytes.
    pub fn new(stamp: &str, hash: &str, bindings: Bindings) -> Self {
        let keys = bindings.bindings.iter().map(|binding| selector_key(&binding.selector)).collect();
        let conditions = bindings.bindings.iter().filter_map(|binding| binding.condition.as_ref());
        let deciding = Arc::new(DecidingAttributes::of(conditions));
        Self { stamp: stamp.to_owned(), hash: hash.to_owned(), bindings, deciding, keys }
    }

    /// Each binding, with the key of its selector.
    pub fn by_selector_key(&self) -> impl Iterator<Item = (&SelectorKey, &ConfiguredBinding)> {
        self.keys.iter().zip(&self.bindings.bindings)
    }
}

/// The selectors that a change of the bindings concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedSelectors {
    pub selectors: Vec<Selector>,
    /// The snapshot before cannot be read: whatever was ever pinned may have been in it.
    pub everything_pinned: bool,
}

/// What a selector's pin is found by.
pub fn selector_key(selector: &Selector) -> SelectorKey {
    SelectorKey::of(selector.attribute(), &selector.key())
}

/// What the pointer names.
#[derive(Debug, Clone)]
pub enum ActiveSnapshot {
    /// Nothing was ever stored: nothing is granted.
    Absent,
    Known(Arc<BindingsSnapshot>),
    /// The row is missing or this program does not understand it.
    Unreadable,
}

impl ActiveSnapshot {
    /// Where a person's Entra object id is taken from.
    pub fn principal_from(&self) -> &[PrincipalSource] {
        match self {
            ActiveSnapshot::Known(snapshot) => &snapshot.bindings.principal_from,
            ActiveSnapshot::Absent | ActiveSnapshot::Unreadable => &[],
        }
    }
}

/// How far ahead of the table service's clock a stamp may be: the machine that packages has another clock.
const STAMP_AHEAD_MAX: Duration = Duration::from_secs(600);
/// Who agreed to a file that is activated without a plan: `local` asked, or was told.
const OPERATOR: &str = "operator";
/// Attempts at storing a file while other processes store theirs.
const TRIES_MAX: u32 = 10;

/// The outcome of storing a bundled file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// It is newer than the active one, and active now.
    Stored,
    /// It was active already.
    InForce,
    /// A newer one is active: nothing changed. Rolling a program back does not roll the bindings back.
    Older,
    /// The active stamp is the same and the bytes are not: the file was changed without a new stamp. Nothing changed.
    SameStampOtherBytes,
    /// The stamp is too far ahead of the table service's clock: nothing changed.
    Future,
}

/// Why a file was not stored.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    #[error("the bindings are not in order")]
    Bindings(#[source] BindingsError),
    #[error("the stamp of the bindings is not of the form YYYYMMDDThhmmssZ")]
    Stamp,
    #[error("the bindings cannot be stored")]
    Store(#[from] StoreError),
}

/// A bundled file that is in order, with its stamp.
#[derive(Debug, Clone)]
pub struct StampedFile<'a> {
    pub bytes: &'a [u8],
    pub stamp: &'a str,
    /// Of the bytes.
    pub hash: String,
    pub bindings: Bindings,
    at: OffsetDateTime,
}

impl<'a> StampedFile<'a> {
    /// Checks the file and its stamp.
    pub fn parse(bytes: &'a [u8], stamp: &'a str) -> Result<Self, ActivateError> {
        let bindings = Bindings::parse(bytes).map_err(ActivateError::Bindings)?;
        let at = parse_exact_stamp(stamp).ok_or(ActivateError::Stamp)?;
        Ok(Self { bytes, stamp, hash: hash_of(bytes), bindings, at })
    }
}

/// The snapshots of one installation, the last one that was read kept at hand.
pub struct ActiveBindings {
    store: StateStore,
    health: Arc<HealthStatus>,
    cache: Mutex<Option<Arc<BindingsSnapshot>>>,
}

impl ActiveBindings {
    /// Nothing is read yet.
    pub fn new(store: StateStore, health: Arc<HealthStatus>) -> Self {
        Self { store, health, cache: Mutex::new(None) }
    }

    /// What the active bindings make of attributes, as far as this process knows; nothing while it knows nothing.
    pub fn binding_rules(&self) -> BindingRules {
        let rules = |known: Arc<BindingsSnapshot>| BindingRules {
            sources: known.bindings.principal_from.clone(),
            deciding: known.deciding.clone(),
        };
        self.cached().map(rules).unwrap_or_default()
    }

    /// The snapshot that this process read last: good enough for an order of work, never for a decision.
    pub(in crate::service) fn last_read(&self) -> Option<Arc<BindingsSnapshot>> {
        self.cached()
    }

    /// The rows behind it.
    pub(in crate::service) const fn store(&self) -> &StateStore {
        &self.store
    }

    /// The health that it tells what it reads.
    pub(in crate::service) fn health(&self) -> &HealthStatus {
        &self.health
    }

    fn cached(&self) -> Option<Arc<BindingsSnapshot>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The snapshot that the pointer names: from memory, or read.
    pub async fn read(&self, row: &ActiveVersionRow) -> Result<ActiveSnapshot, StoreError> {
        let snapshot = match row {
            ActiveVersionRow::Absent => ActiveSnapshot::Absent,
            ActiveVersionRow::Unreadable => ActiveSnapshot::Unreadable,
            ActiveVersionRow::Names(pointer) => self.load_version(pointer).await?,
        };
        self.health.bindings(match &snapshot {
            ActiveSnapshot::Absent => BindingsHealth::Nothing,
            ActiveSnapshot::Known(known) => BindingsHealth::InForce { stamp: known.stamp.clone() },
            ActiveSnapshot::Unreadable => {
                BindingsHealth::Unreadable { stamp: row.stamp().map(str::to_owned) }
            }
        });
        Ok(snapshot)
    }

    async fn load_version(&self, pointer: &ActiveVersion) -> Result<ActiveSnapshot, StoreError> {
        if let Some(known) =
            self.cached().filter(|known| known.stamp == pointer.stamp && known.hash == pointer.hash)
        {
            return Ok(ActiveSnapshot::Known(known));
        }
        let Some(bindings) = self.load(&pointer.stamp, Some(&pointer.hash)).await? else {
            log_event!(
                BindingsUnreadable,
                bindings.stamp = pointer.stamp,
                "the active bindings cannot be read"
            );
            return Ok(ActiveSnapshot::Unreadable);
        };
        let known = Arc::new(BindingsSnapshot::new(&pointer.stamp, &pointer.hash, bindings));
        *self.cache.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        Ok(ActiveSnapshot::Known(known))
    }

    async fn load(&self, stamp: &str, hash: Option<&str>) -> Result<Option<Bindings>, StoreError> {
        let Some(bytes) = self.store.snapshot(stamp).await? else { return Ok(None) };
        if hash.is_some_and(|hash| hash != hash_of(&bytes)) {
            return Ok(None);
        }
        Ok(Bindings::parse(&bytes).ok())
    }

    /// Stores a file whose bytes differ from the active ones, stamped with the service's time. Returns whether it did.
    pub async fn activate(&self, bytes: &[u8]) -> Result<bool, ActivateError> {
        Bindings::parse(bytes).map_err(ActivateError::Bindings)?;
        let hash = hash_of(bytes);
        let unstamped = |pointer: Option<&ActiveVersion>, now| match pointer {
            Some(pointer) if pointer.hash == hash => Decision::Leave(Activation::InForce),
            pointer => Decision::Store(next_stamp(pointer, now)),
        };
        Ok(self.store_if_newer(bytes, &hash, unstamped).await? == Activation::Stored)
    }

    /// Stores a bundled file if its stamp is newer than the active one. Every process may call this at its start: all go on
    /// under the newest stamp that was ever stored.
    pub async fn activate_stamped(&self, bytes: &[u8], stamp: &str) -> Result<Activation, ActivateError> {
        let file = StampedFile::parse(bytes, stamp)?;
        let stamped = |pointer: Option<&ActiveVersion>, now| decide_activation(&file, pointer, now);
        let activation = self.store_if_newer(bytes, &file.hash, stamped).await?;
        log_activation(activation, stamp);
        Ok(activation)
    }

    /// Why a bundled file is not activated, if it is not newer than the active one.
    pub(in crate::service) async fn leaves(
        &self,
        file: &StampedFile<'_>,
        pointer: &ActiveVersionRow,
        now: OffsetDateTime,
    ) -> Result<Option<Activation>, StoreError> {
        let below = self.store.pointer_to_replace(pointer).await?;
        Ok(match decide_activation(file, below.as_ref(), now) {
            Decision::Leave(activation) => {
                log_activation(activation, file.stamp);
                Some(activation)
            }
            Decision::Store(_) => None,
        })
    }

    /// Activates a bundled file over the pointer that its plan was made under. A file that waits is withdrawn.
    pub(in crate::service) async fn activate_over(
        &self,
        file: &StampedFile<'_>,
        pointer: &ActiveVersionRow,
        waiting: Option<&PendingRow>,
    ) -> Result<(), StoreError> {
        let below = self.store.pointer_to_replace(pointer).await?;
        let bytes = Some(file.bytes);
        let activated =
            Activated { stamp: file.stamp, hash: &file.hash, bytes, below: below.as_ref(), waiting };
        let op = self.store.ids.op();
        let origin = ChangeOrigin { cause: ChangeCause::Snapshot, actor: SERVICE.to_owned(), op };
        self.commit_activation(&activated, &origin).await?;
        log_activation(Activation::Stored, file.stamp);
        self.read(&self.store.pointer().await?).await?;
        Ok(())
    }

    /// Decides over the pointer as it is, and stores under its version; after a concurrent change it decides again.
    async fn store_if_newer(
        &self,
        bytes: &[u8],
        hash: &str,
        decide: impl Fn(Option<&ActiveVersion>, OffsetDateTime) -> Decision,
    ) -> Result<Activation, StoreError> {
        let mut tries = 1;
        loop {
            let TableAnswer { value: row, date } = self.store.pointer_now().await?;
            let below = self.store.pointer_to_replace(&row).await?;
            let stamp = match decide(below.as_ref(), date) {
                Decision::Leave(activation) => {
                    self.read(&row).await?;
                    return Ok(activation);
                }
                Decision::Store(stamp) => stamp,
            };
            let waiting = self.store.pending_row().await?;
            let activated = Activated {
                stamp: &stamp,
                hash,
                bytes: Some(bytes),
                below: below.as_ref(),
                waiting: waiting.as_ref(),
            };
            let op = self.store.ids.op();
            let origin = ChangeOrigin { cause: ChangeCause::Snapshot, actor: OPERATOR.to_owned(), op };
            match self.commit_activation(&activated, &origin).await {
                Ok(()) => break,
                Err(StoreError::Conflict { .. }) if tries < TRIES_MAX => tries += 1,
                Err(error) => return Err(error),
            }
        }
        self.read(&self.store.pointer().await?).await?;
        Ok(Activation::Stored)
    }

    async fn commit_activation(
        &self,
        activated: &Activated<'_>,
        origin: &ChangeOrigin,
    ) -> Result<(), StoreError> {
        let record = AuditRecord {
            op: origin.op,
            time: self.store.clock.now(),
            origin: origin.clone(),
            request: None,
            stamp: Some(activated.stamp.to_owned()),
            outcome: None,
            changes: activated.changes(),
        };
        self.store.commit(&record, activated.writes(origin)).await?;
        Ok(())
    }

    /// The selectors of every binding that differs between two snapshots, old and new. `None`: the new one cannot be read.
    pub async fn changed_selectors(
        &self,
        before: &str,
        after: &str,
    ) -> Result<Option<ChangedSelectors>, StoreError> {
        let Some(new) = self.load(after, None).await? else { return Ok(None) };
        let old = if before.is_empty() { None } else { self.load(before, None).await? };
        let everything_pinned = old.is_none() && !before.is_empty();
        let all = old.as_ref().is_none_or(|old| old.principal_from != new.principal_from);
        let old = old.map(|known| known.bindings).unwrap_or_default();
        let stays = |old: &ConfiguredBinding, new: &ConfiguredBinding| new.changes_nothing_after(old);
        let gone = old.iter().filter(|old| all || !new.bindings.iter().any(|new| stays(old, new)));
        let come = new.bindings.iter().filter(|new| all || !old.iter().any(|old| stays(old, new)));
        let selectors = gone.chain(come).map(|binding| binding.selector.clone()).collect();
        Ok(Some(ChangedSelectors { selectors, everything_pinned }))
    }
}

/// A snapshot that becomes the active one.
pub(in crate::service) struct Activated<'a> {
    pub stamp: &'a str,
    pub hash: &'a str,
    /// `None`: they are stored.
    pub bytes: Option<&'a [u8]>,
    /// What it replaces.
    pub below: Option<&'a ActiveVersion>,
    /// The row of a file that waits: it waits no longer.
    pub waiting: Option<&'a PendingRow>,
}

impl Activated<'_> {
    /// What the audit says.
    pub fn changes(&self) -> Vec<AuditEvent> {
        let before = self.below.map(|pointer| pointer.stamp.clone());
        let activated = AuditEvent::BindingsActivated { before, after: self.stamp.to_owned() };
        let waiting = self.waiting.and_then(|row| row.pending.as_ref());
        let ended = waiting
            .map(|waiting| AuditEvent::BindingsPending { before: Some(waiting.stamp.clone()), after: None });
        std::iter::once(activated).chain(ended).collect()
    }

    /// One transaction: the bytes, the pointer under its version, and the job that enqueues the people concerned.
    pub fn writes(&self, origin: &ChangeOrigin) -> Vec<TableWrite> {
        let job_before = |below: &ActiveVersion| match below.hash.is_empty() {
            // Which snapshot was active cannot be read: whatever was ever pinned may have been in it.
            true => UNKNOWN_STAMP.to_owned(),
            false => below.stamp.clone(),
        };
        let before = self.below.map(job_before).unwrap_or_default();
        let job = JobKind::Snapshot { before, after: self.stamp.to_owned() };
        let mut writes = vec![
            settings::point(self.stamp, self.hash, self.below.map(|pointer| &pointer.etag)),
            jobs::insert_job(job, &ReconcileRequest::taking_away(origin.clone()), 0),
        ];
        writes.extend(self.bytes.map(|bytes| settings::store_snapshot(self.stamp, self.hash, bytes)));
        writes.extend(self.waiting.map(pending_bindings::remove));
        writes
    }
}

/// Names no snapshot.
const UNKNOWN_STAMP: &str = "unknown";

/// What is to be done with a file.
enum Decision {
    Store(String),
    Leave(Activation),
}

/// Compares a bundled file with the active one. The active one is never of the future.
fn decide_activation(
    file: &StampedFile<'_>,
    pointer: Option<&ActiveVersion>,
    now: OffsetDateTime,
) -> Decision {
    let StampedFile { stamp, at, hash, .. } = file;
    let order = pointer.map(|pointer| ((*stamp).cmp(pointer.stamp.as_str()), pointer.hash == *hash));
    match order {
        Some((Ordering::Equal, true)) => Decision::Leave(Activation::InForce),
        Some((Ordering::Equal, false)) => Decision::Leave(Activation::SameStampOtherBytes),
        Some((Ordering::Less, _)) => Decision::Leave(Activation::Older),
        _ if *at > now + STAMP_AHEAD_MAX => Decision::Leave(Activation::Future),
        _ => Decision::Store((*stamp).to_owned()),
    }
}

fn log_activation(activation: Activation, stamp: &str) {
    match activation {
        Activation::Stored => tracing::info!(bindings.stamp = stamp, "new bindings are active"),
        Activation::InForce => {}
        Activation::Older => {
            tracing::info!(bindings.stamp = stamp, "newer bindings than the bundled ones are active")
        }
        Activation::SameStampOtherBytes => log_event!(
            BindingsNotStored,
            bindings.stamp = stamp,
            "the bundled bindings differ from the active ones and have the same stamp; stamp the file again"
        ),
        Activation::Future => log_event!(
            BindingsNotStored,
            bindings.stamp = stamp,
            "the bundled bindings are stamped with a time in the future; stamp the file again"
        ),
    }
}

/// Exactly the form that is compared as text, and nothing else that means the same moment.
fn parse_exact_stamp(stamp: &str) -> Option<OffsetDateTime> {
    id::parse_stamp(stamp).filter(|at| id::format_stamp(*at) == stamp)
}

/// Lower-case hex SHA-256 of a file.
pub fn hash_of(bytes: &[u8]) -> String {
    settings::content_hash(bytes)
}

/// Stamps are compared as text and never go back.
fn next_stamp(before: Option<&ActiveVersion>, now: OffsetDateTime) -> String {
    let earliest =
        before.and_then(|pointer| id::parse_stamp(&pointer.stamp)).map(|at| at + Duration::from_secs(1));
    id::format_stamp(earliest.map_or(now, |earliest| earliest.max(now)))
}
