//! Gather: `d:` alone and first, then everything that decides, then Azure by name where the ledger is not believed.

use super::Reconciler;
use super::refusal::reason_of;
use super::selectors::MissingLead;
use crate::bindings::PrincipalSource;
use crate::id::{InstanceId, PrincipalId, UserId};
use crate::ports::role_assignments::{AssignmentError, RejectionReason};
use crate::ports::tables::{ETag, Row};
use crate::rbac::ledger::{Entry, Holding, REVOKE_RETRY_MAX};
use crate::rbac::plan::{Actual, Belief, Desired, Fact};
use crate::rbac::{AssignmentName, ReasonCode, Scope};
use crate::scim::{Resource, ResourceType};
use crate::service::desired::{self, Decided, Facts, Header, NewPin, SelectorFacts, Standing};
use crate::service::snapshots::Snapshot;
use crate::service::together::together;
use crate::store::codec::Reader;
use crate::store::ledger::{Holder, Ledger, Stored};
use crate::store::marks::Look;
use crate::store::room::Claims;
use crate::store::scope_blocks::ScopeBlocks;
use crate::store::settings::{PointerRow, Settings};
use crate::store::throttles::{Operation, Throttles};
use crate::store::{StoreError, keys};
use futures_util::{StreamExt, stream, try_join};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;

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
    pub pointer: PointerRow,
    pub person: Option<Person>,
    /// The record is there, and its header cannot be read.
    pub unreadable: bool,
    /// The Entra object id that the record names now.
    pub principal: Option<PrincipalId>,
    pub desired: Desired,
    pub selector_pins: Vec<NewPin>,
    pub missing_leads: Vec<MissingLead>,
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
    unreadable: bool,
    selectors: SelectorFacts,
    missing_leads: Vec<MissingLead>,
    ledger: Ledger,
    blocks: ScopeBlocks,
    snapshot: Snapshot,
}

impl Read {
    fn header(&self) -> Header<'_> {
        match &self.person {
            Some(person) => Header::Readable(&person.resource),
            None if self.unreadable => Header::Unreadable,
            None => Header::Gone,
        }
    }
}

impl Reconciler {
    /// `None`: nobody asked to look at this person, or somebody else has looked already.
    pub(super) async fn gather(&self, user: UserId) -> Result<Option<Gathered>, StoreError> {
        let answer = self.store.read(&keys::look_now(user)).await?;
        // Taken after the answer: this time lags behind the service's and never runs ahead of it.
        let at = self.store.clock.monotonic();
        let Some(row) = answer.value else { return Ok(None) };
        let time = TableTime { date: answer.date, at };
        self.store.readable(&row, Look::mark(&row));
        let look = Look::read(&row)?;
        let read = self.read(user).await?;
        let instance = match read.settings.instance {
            Some(instance) => instance,
            None => self.store.instance().await?,
        };
        self.conclude(user, look, time, read, instance).await.map(Some)
    }

    /// Who is gone or inactive holds nothing, whatever their groups say: those are not read.
    async fn read(&self, user: UserId) -> Result<Read, StoreError> {
        let user_key = keys::user(user);
        let (settings, row, ledger, blocks) = try_join!(
            self.store.settings(),
            self.store.get(&user_key),
            self.store.ledger(user),
            self.store.scope_blocks(),
        )?;
        let header = row.as_ref().map(|row| self.store.readable(row, read_person(row)));
        let snapshot = self.snapshots.read(&settings.pointer).await?;
        let may_hold = header
            .as_ref()
            .is_some_and(|person| person.as_ref().is_none_or(|person| person.resource.active()));
        let (selectors, missing_leads) = match &snapshot {
            Snapshot::InForce(in_force) if may_hold => self.selectors(user, in_force, &ledger).await?,
            _ => Default::default(),
        };
        let unreadable = matches!(header, Some(None));
        let person = header.flatten();
        Ok(Read { settings, person, unreadable, selectors, missing_leads, ledger, blocks, snapshot })
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
        let facts = Facts {
            user,
            header: read.header(),
            standing,
            selectors: &read.selectors,
            ledger: &read.ledger,
            instance,
        };
        let Decided { desired, pins: selector_pins, troubled } = desired::decide(&facts, &read.snapshot);
        for (binding, reason) in &troubled {
            self.snapshots.status.binding_is_troubled(binding, *reason);
        }
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
        Ok(Gathered {
            user,
            look,
            time,
            pointer: read.settings.pointer,
            person: read.person,
            unreadable: read.unreadable,
            principal,
            desired,
            selector_pins,
            missing_leads: read.missing_leads,
            ledger: read.ledger,
            actual,
            blocks: read.blocks,
            claims: read.settings.claims,
            to_pin,
        })
    }

    /// Who holds each principal that this record has something to do with: its pins say so for its own.
    async fn holders(
        &self,
        user: UserId,
        principal: Option<PrincipalId>,
        ledger: &Ledger,
    ) -> Result<BTreeMap<PrincipalId, Holder>, StoreError> {
        let named = ledger.entries.iter().map(|stored| stored.entry.principal).chain(principal);
        let all: BTreeSet<PrincipalId> = named.collect();
        let reads = all.into_iter().map(|principal| async move {
            let ours = ledger.holds(principal);
            let holder = if ours { Holder::Record(user) } else { self.store.holder(principal).await? };
            Ok::<_, StoreError>((principal, holder))
        });
        Ok(together(reads).await?.into_iter().collect())
    }

    /// May the record act on the Entra object that it names?
    async fn standing(
        &self,
        user: UserId,
        read: &Read,
        principal: Option<PrincipalId>,
        holders: &BTreeMap<PrincipalId, Holder>,
        to_pin: &mut BTreeSet<PrincipalId>,
    ) -> Result<Standing, StoreError> {
        let (Some(person), Some(principal)) = (&read.person, principal) else {
            return Ok(Standing::Blocked(ReasonCode::PendingPrincipal));
        };
        if person.pinned.is_some_and(|pinned| pinned != principal) {
            return Ok(Standing::Blocked(ReasonCode::IdentityChanged));
        }
        match holders.get(&principal).copied().unwrap_or(Holder::Free) {
            Holder::Record(holder) if holder == user => Ok(Standing::Ours(principal)),
            Holder::Record(holder) => {
                Ok(Standing::Blocked(self.held_by(holder, principal, read.snapshot.principal_from()).await?))
            }
            Holder::Unreadable => Ok(Standing::Blocked(ReasonCode::RowUnreadable)),
            Holder::Free => {
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
        let Some(row) = self.store.get(&keys::user(holder)).await? else {
            return Ok(ReasonCode::PrincipalReleasing);
        };
        // A record that cannot be read may still be of that person: it keeps what it holds.
        let other = self.store.readable(&row, read_person(&row));
        let same =
            other.is_none_or(|other| desired::principal_of(&other.resource, sources) == Some(principal));
        Ok(if same { ReasonCode::PrincipalConflict } else { ReasonCode::PrincipalReleasing })
    }

    async fn believe(
        &self,
        ledger: &Ledger,
        holders: &BTreeMap<PrincipalId, Holder>,
        (now, throttles): (OffsetDateTime, &Throttles),
        to_pin: &mut BTreeSet<PrincipalId>,
    ) -> Vec<Fact> {
        let asked = questions(ledger, now);
        let silent = Mutex::new(BTreeSet::new());
        let mut asking = Vec::new();
        for Stored { entry, .. } in &ledger.entries {
            let ours = ledger.holds(entry.principal);
            let holder = holders.get(&entry.principal).copied().unwrap_or(Holder::Free);
            let holder = if ours { None } else { Some(holder) };
            if holder == Some(Holder::Free)
                && !(entry.is_settled_and_gone() && entry.holding == Holding::Gone)
            {
                to_pin.insert(entry.principal);
            }
            let question = asked.get(&entry.assignment);
            asking.push(self.belief(entry, holder, (question, &silent), (now, throttles)));
        }
        let beliefs: Vec<Belief> = stream::iter(asking).buffered(ASKS_AT_ONCE).collect().await;
        ledger
            .entries
            .iter()
            .zip(beliefs)
            .map(|(stored, belief)| Fact { entry: stored.entry.clone(), belief })
            .collect()
    }

    /// Azure is asked by name where the ledger is not believed, unless it asked us not to ask. `holder`: who holds the principal,
    /// where it is not this record.
    async fn belief(
        &self,
        entry: &Entry,
        holder: Option<Holder>,
        (question, silent): (Option<&Question>, &Mutex<BTreeSet<String>>),
        (now, throttles): (OffsetDateTime, &Throttles),
    ) -> Belief {
        let (name, due) = match question {
            _ if matches!(holder, Some(Holder::Record(_))) => return Belief::NotOurs,
            _ if holder == Some(Holder::Unreadable) => {
                return Belief::Undecided { not_before: now + ask_again(entry, now) };
            }
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
        let silent = || silent.lock().unwrap_or_else(PoisonError::into_inner);
        if silent().contains(entry.scope.subscription()) {
            return Belief::Unasked { reason: ReasonCode::NoAnswer, not_before: again };
        }
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
            Err(AssignmentError::Rejected { reason: RejectionReason::ScopeNotFound, .. }) => {
                Belief::Azure { holds: false, due }
            }
            Err(AssignmentError::Rejected { reason, .. }) => {
                Belief::Unasked { reason: reason_of(reason), not_before: again }
            }
            Err(AssignmentError::Unknown { .. }) => {
                // One that does not answer is not asked for every row: revocations elsewhere wait for this.
                silent().insert(entry.scope.subscription().to_owned());
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

pub(super) fn document(row: &Row, kind: ResourceType) -> Result<Resource, StoreError> {
    match Reader::new(row)?.json("doc")? {
        serde_json::Value::Object(attributes) => Ok(Resource::from_stored(kind, attributes)),
        _ => Err(StoreError::Corrupt { row: row.key.clone(), property: "doc".to_owned() }),
    }
}

#[cfg(test)]
mod tests;
