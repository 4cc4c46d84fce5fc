//! Gather: `d:` alone and first, then everything that decides, then Azure by name where the ledger is not believed.

use super::Reconciler;
use super::refusal::{reason_of, scope_is_gone};
use crate::bindings::PrincipalSource;
use crate::id::{GroupId, InstanceId, PrincipalId, UserId};
use crate::ports::role_assignments::AssignmentError;
use crate::ports::tables::{ETag, Row};
use crate::rbac::ledger::{Entry, Holding, REVOKE_RETRY_MAX};
use crate::rbac::plan::{Actual, Belief, Desired, Fact};
use crate::rbac::{AssignmentName, ReasonCode, Scope};
use crate::scim::{Resource, ResourceType};
use crate::service::desired::{self, Facts, GroupFacts, NewPin, Standing};
use crate::service::snapshots::Snapshot;
use crate::store::codec::Reader;
use crate::store::ledger::{Ledger, Stored};
use crate::store::marks::Look;
use crate::store::room::Claims;
use crate::store::scope_blocks::ScopeBlocks;
use crate::store::settings::{Pointer, SelectorPin, Settings};
use crate::store::throttles::{Operation, Throttles};
use crate::store::{StoreError, keys};
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream, try_join};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use time::OffsetDateTime;

/// Groups of one person that a reconcile reads.
const GROUPS_MAX: usize = 5000;
/// Groups that are read side by side for one person.
const READS_AT_ONCE: usize = 128;
/// How long Azure is given to answer a question by name.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Questions of one round, and of those that are under way together.
const ASKS_MAX: usize = 48;
const ASKS_AT_ONCE: usize = 8;
/// When a question that Azure did not answer is asked again, at first.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// The table service's clock, carried on by our own between two answers.
#[derive(Debug, Clone, Copy)]
pub struct TableTime {
    date: OffsetDateTime,
    at: Duration,
}

impl TableTime {
    /// The time now, on the table service's clock.
    pub fn now(&self, monotonic: Duration) -> OffsetDateTime {
        self.date + monotonic.saturating_sub(self.at)
    }
}

/// A person's header, as far as access is concerned.
#[derive(Debug, Clone)]
pub struct Person {
    pub resource: Resource,
    pub pinned: Option<PrincipalId>,
    pub etag: ETag,
}

/// What a round decides on.
pub struct Gathered {
    pub user: UserId,
    pub look: Look,
    pub time: TableTime,
    pub pointer: Option<Pointer>,
    pub person: Option<Person>,
    /// The Entra object id that the record names now.
    pub principal: Option<PrincipalId>,
    pub desired: Desired,
    pub selector_pins: Vec<NewPin>,
    pub ledger: Ledger,
    pub actual: Actual,
    /// Scopes that refuse steps, with the versions of their rows.
    pub blocks: ScopeBlocks,
    /// Who makes room in full subscriptions.
    pub claims: Claims,
    /// Principals that are free and that this record must hold before it acts.
    pub to_pin: BTreeSet<PrincipalId>,
}

impl Gathered {
    /// Where an assignment is, or would be.
    pub fn scope_of(&self, assignment: AssignmentName) -> Option<&Scope> {
        let held = self.ledger.entries.iter().find(|stored| stored.entry.assignment == assignment);
        let wanted = || self.desired.grants.get(&assignment).map(|wanted| &wanted.scope);
        held.map(|stored| &stored.entry.scope).or_else(wanted)
    }
}

struct Read {
    settings: Settings,
    person: Option<Person>,
    groups: Vec<GroupFacts>,
    pins: BTreeMap<String, SelectorPin>,
    ledger: Ledger,
    blocks: ScopeBlocks,
    snapshot: Snapshot,
}

impl Reconciler {
    /// `None`: nobody asked to look at this person, or somebody else has looked already.
    pub(super) async fn gather(&self, user: UserId) -> Result<Option<Gathered>, StoreError> {
        let answer = self.store.read(&keys::look_now(user)).await?;
        // Taken after the answer: this time lags behind the service's and never runs ahead of it.
        let at = self.store.clock.monotonic();
        let Some(row) = answer.value else { return Ok(None) };
        let time = TableTime { date: answer.date, at };
        let look = Look::read(&row)?;
        let read = self.read(user).await?;
        let instance = match read.settings.instance {
            Some(instance) => instance,
            None => self.store.instance().await?,
        };
        self.conclude(user, look, time, read, instance).await.map(Some)
    }

    async fn read(&self, user: UserId) -> Result<Read, StoreError> {
        let (user_key, groups_prefix) = (keys::user(user), keys::groups_prefix(user));
        let (settings, row, memberships, ledger, blocks, pins) = try_join!(
            self.store.settings(),
            self.store.get(&user_key),
            self.store.rows(&groups_prefix, GROUPS_MAX),
            self.store.ledger(user),
            self.store.scope_blocks(),
            self.store.selector_pins(),
        )?;
        let person = row.as_ref().map(read_person).transpose()?;
        let ids: Vec<GroupId> =
            memberships.iter().filter_map(|row| GroupId::parse(keys::last_part(&row.key)).ok()).collect();
        let reads: Vec<_> = ids.into_iter().map(|id| self.group(id)).collect();
        let (groups, snapshot) = try_join!(
            stream::iter(reads).buffered(READS_AT_ONCE).try_collect::<Vec<_>>(),
            self.snapshots.read(settings.pointer.as_ref())
        )?;
        let groups = groups.into_iter().flatten().collect();
        Ok(Read { settings, person, groups, pins, ledger, blocks, snapshot })
    }

    async fn group(&self, id: GroupId) -> Result<Option<GroupFacts>, StoreError> {
        let Some(row) = self.store.get(&keys::group(id)).await? else { return Ok(None) };
        Ok(Some(GroupFacts { id, resource: document(&row, ResourceType::Group)? }))
    }

    async fn conclude(
        &self,
        user: UserId,
        look: Look,
        time: TableTime,
        read: Read,
        instance: InstanceId,
    ) -> Result<Gathered, StoreError> {
        let sources = read.snapshot.principal_from();
        let principal =
            read.person.as_ref().and_then(|person| desired::principal_of(&person.resource, sources));
        let holders = self.holders(user, principal, &read.ledger).await?;
        let mut to_pin = BTreeSet::new();
        let standing = self.standing(user, &read, principal, &holders, &mut to_pin).await?;
        let gone = self.gone(&read).await?;
        let facts = Facts {
            user,
            resource: read.person.as_ref().map(|person| &person.resource),
            standing,
            groups: &read.groups,
            pins: &read.pins,
            gone: &gone,
            instance,
        };
        let (desired, selector_pins) = desired::desired(&facts, &read.snapshot);
        let now = time.now(self.store.clock.monotonic());
        self.snapshots.status.read_throttles(&read.settings.throttles, now);
        let throttles = &self.occasion.heed(&read.settings.throttles, now);
        let facts = self.believe(&read.ledger, &holders, (now, throttles), &mut to_pin).await;
        let actual = Actual {
            now,
            facts,
            throttled: throttles.steps(now),
            blocks: read.blocks.iter().map(|(key, stored)| (key.clone(), stored.block)).collect(),
            room: read.settings.claims.as_seen_by(user, now),
            cause: look.mark.origin.op,
            caused_at: look.mark.origin.op.time().map_or(now, |at| at.min(now)),
            instance,
        };
        let Read { settings, person, ledger, blocks, .. } = read;
        let Settings { pointer, claims, .. } = settings;
        Ok(Gathered {
            user,
            look,
            time,
            pointer,
            person,
            principal,
            desired,
            selector_pins,
            ledger,
            actual,
            blocks,
            claims,
            to_pin,
        })
    }

    /// Who holds each principal that this record has something to do with: its pins say so for its own.
    async fn holders(
        &self,
        user: UserId,
        principal: Option<PrincipalId>,
        ledger: &Ledger,
    ) -> Result<BTreeMap<PrincipalId, Option<UserId>>, StoreError> {
        let named = ledger.entries.iter().map(|stored| stored.entry.principal).chain(principal);
        let all: BTreeSet<PrincipalId> = named.collect();
        let reads = all.into_iter().map(|principal| async move {
            let ours = ledger.holds(principal);
            let holder = if ours { Some(user) } else { self.store.holder(principal).await? };
            Ok::<_, StoreError>((principal, holder))
        });
        Ok(try_join_all(reads).await?.into_iter().collect())
    }

    /// May the record act on the Entra object that it names?
    async fn standing(
        &self,
        user: UserId,
        read: &Read,
        principal: Option<PrincipalId>,
        holders: &BTreeMap<PrincipalId, Option<UserId>>,
        to_pin: &mut BTreeSet<PrincipalId>,
    ) -> Result<Standing, StoreError> {
        let (Some(person), Some(principal)) = (&read.person, principal) else {
            return Ok(Standing::Blocked(ReasonCode::PendingPrincipal));
        };
        if person.pinned.is_some_and(|pinned| pinned != principal) {
            return Ok(Standing::Blocked(ReasonCode::IdentityChanged));
        }
        match holders.get(&principal).copied().flatten() {
            Some(holder) if holder == user => Ok(Standing::Ours(principal)),
            Some(holder) => {
                Ok(Standing::Blocked(self.held_by(holder, principal, read.snapshot.principal_from()).await?))
            }
            None => {
                to_pin.insert(principal);
                Ok(Standing::Blocked(ReasonCode::PrincipalReleasing))
            }
        }
    }

    async fn held_by(
        &self,
        holder: UserId,
        principal: PrincipalId,
        sources: &[PrincipalSource],
    ) -> Result<ReasonCode, StoreError> {
        let other = self.store.get(&keys::user(holder)).await?.as_ref().map(read_person).transpose()?;
        let same = other.and_then(|other| desired::principal_of(&other.resource, sources));
        Ok(if same == Some(principal) {
            ReasonCode::PrincipalConflict
        } else {
            ReasonCode::PrincipalReleasing
        })
    }

    /// Pinned groups that are gone, as far as it matters: another group of this person claims their selector.
    async fn gone(&self, read: &Read) -> Result<BTreeSet<GroupId>, StoreError> {
        let Snapshot::InForce(in_force) = &read.snapshot else { return Ok(BTreeSet::new()) };
        let mut suspects = BTreeSet::new();
        for binding in &in_force.bindings.bindings {
            let Some(pin) = read.pins.get(&desired::selector_key(&binding.selector)) else { continue };
            let member = read.groups.iter().any(|group| group.id == pin.group);
            if !member && read.groups.iter().any(|group| desired::selects(&binding.selector, group)) {
                suspects.insert(pin.group);
            }
        }
        let reads = suspects
            .into_iter()
            .map(|id| async move { Ok::<_, StoreError>((id, self.store.get(&keys::group(id)).await?)) });
        Ok(try_join_all(reads)
            .await?
            .into_iter()
            .filter(|(_, row)| row.is_none())
            .map(|(id, _)| id)
            .collect())
    }

    async fn believe(
        &self,
        ledger: &Ledger,
        holders: &BTreeMap<PrincipalId, Option<UserId>>,
        (now, throttles): (OffsetDateTime, &Throttles),
        to_pin: &mut BTreeSet<PrincipalId>,
    ) -> Vec<Fact> {
        let asked = questions(ledger, now);
        let mut asking = Vec::new();
        for Stored { entry, .. } in &ledger.entries {
            let ours = ledger.holds(entry.principal);
            let free = holders.get(&entry.principal).copied().flatten().is_none();
            if !ours && free && !(entry.is_settled_and_gone() && entry.holding == Holding::Gone) {
                to_pin.insert(entry.principal);
            }
            let question = asked.get(&entry.assignment);
            asking.push(self.belief(entry, ours || free, question, (now, throttles)));
        }
        let beliefs: Vec<Belief> = stream::iter(asking).buffered(ASKS_AT_ONCE).collect().await;
        ledger
            .entries
            .iter()
            .zip(beliefs)
            .map(|(stored, belief)| Fact { entry: stored.entry.clone(), belief })
            .collect()
    }

    /// Azure is asked by name where the ledger is not believed, unless it asked us not to ask.
    async fn belief(
        &self,
        entry: &Entry,
        ours: bool,
        question: Option<&Question>,
        (now, throttles): (OffsetDateTime, &Throttles),
    ) -> Belief {
        let (name, due) = match question {
            _ if !ours => return Belief::NotOurs,
            Some(Question::Ask { name, due }) => (*name, *due),
            Some(Question::NextRound) => {
                return Belief::Unasked { reason: ReasonCode::InFlight, not_before: now };
            }
            None => return Belief::Ledger,
        };
        if let Some(not_before) = throttles.until(&entry.scope, Operation::Ask, now) {
            return Belief::Unasked { reason: ReasonCode::Throttled, not_before };
        }
        let again = now + ask_again(entry, now);
        match self.assignments.get(&entry.scope, &name, ASK_TIMEOUT).await {
            Ok(found) => {
                let same =
                    found.is_some_and(|found| same_triple(entry, &found.scope, found.principal, found.role));
                Belief::Azure { holds: same, due }
            }
            Err(AssignmentError::Throttled { retry_after, .. }) => {
                self.note_throttle(&entry.scope, Operation::Ask, (now, retry_after)).await;
                Belief::Unasked { reason: ReasonCode::Throttled, not_before: now + retry_after }
            }
            Err(AssignmentError::Refused { code, .. }) if scope_is_gone(&code) => {
                Belief::Azure { holds: false, due }
            }
            Err(AssignmentError::Refused { code, .. }) => {
                Belief::Unasked { reason: reason_of(&code), not_before: again }
            }
            Err(AssignmentError::Unknown { .. }) => {
                Belief::Unasked { reason: ReasonCode::NoAnswer, not_before: again }
            }
        }
    }
}

/// What Azure is asked of an entry.
enum Question {
    /// By that name; `due`: the answer settles the row.
    Ask { name: AssignmentName, due: bool },
    /// One round asks no more than so many, those first that an answer settles.
    NextRound,
}

/// The entries that the ledger is not believed of.
fn questions(ledger: &Ledger, now: OffsetDateTime) -> BTreeMap<AssignmentName, Question> {
    let question = |entry: &Entry| {
        let foreign_due = entry.tried.as_ref().is_none_or(|tried| tried.not_before <= now);
        match (entry.unsettled_until, entry.holding) {
            (Some(until), _) => Some((until > now, entry.assignment, entry.assignment)),
            (None, Holding::HeldByOther(other)) if foreign_due => Some((false, entry.assignment, other)),
            (None, _) => None,
        }
    };
    let mut all: Vec<_> = ledger.entries.iter().filter_map(|stored| question(&stored.entry)).collect();
    all.sort_unstable();
    let in_turn = all.into_iter().enumerate().map(|(at, (early, of, name))| {
        (of, if at < ASKS_MAX { Question::Ask { name, due: !early } } else { Question::NextRound })
    });
    in_turn.collect()
}

/// The pause after a question without an answer is as long as the answer has been missed by then, so it doubles.
fn ask_again(entry: &Entry, now: OffsetDateTime) -> Duration {
    let due = entry.unsettled_until.or(entry.tried.as_ref().map(|tried| tried.not_before));
    let since = due.filter(|due| *due <= now).unwrap_or(entry.written);
    Duration::try_from(now - since).unwrap_or_default().clamp(ASK_AGAIN, REVOKE_RETRY_MAX)
}

fn same_triple(entry: &Entry, scope: &Scope, principal: PrincipalId, role: crate::rbac::BackupRole) -> bool {
    &entry.scope == scope && entry.principal == principal && entry.role == role
}

fn read_person(row: &Row) -> Result<Person, StoreError> {
    let reader = Reader::new(row)?;
    Ok(Person {
        resource: document(row, ResourceType::User)?,
        pinned: reader.parsed_opt("pinned", PrincipalId::parse)?,
        etag: row.etag.clone(),
    })
}

fn document(row: &Row, kind: ResourceType) -> Result<Resource, StoreError> {
    match Reader::new(row)?.json("doc")? {
        serde_json::Value::Object(attributes) => Ok(Resource::from_stored(kind, attributes)),
        _ => Err(StoreError::Corrupt { row: row.key.clone(), property: "doc".to_owned() }),
    }
}
