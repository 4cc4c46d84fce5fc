//! Gather: `d:` alone and first, then everything that decides, then Azure by name where the ledger is not believed.

use crate::bindings::PrincipalSource;
use crate::id::{InstanceId, OpId, PrincipalId, UserId};
use crate::ports::role_assignments::{AssignmentError, RejectionReason};
use crate::rbac::ledger::{AssignmentState, LedgerEntry, REVOKE_RETRY_MAX};
use crate::rbac::plan::{Actual, Desired, Evidence, Holds, ObservedEntry};
use crate::rbac::{AssignmentName, ReasonCode, Scope};
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::join_reads::join_reads;
use crate::service::reconcile::committed::{CommittedGroup, CommittedRequest};
use crate::service::reconcile::desired::{
    self, AccessFacts, ClaimFinding, DesiredAccess, NewPin, PrincipalClaim, SelectorFacts,
};
use crate::service::reconcile::holds::held_steps;
use crate::service::reconcile::reconciler::Reconciler;
use crate::service::reconcile::refusal::reason_of;
use crate::service::reconcile::selectors::MissingLead;
use crate::service::reconcile::table_time::TableTime;
use crate::store::batches::Batches;
use crate::store::ledger::{PrincipalHolder, StoredEntry, UserLedger};
use crate::store::levers::Levers;
use crate::store::reconcile_queue::{QueuedRequest, ReconcileRequest};
use crate::store::room_claims::RoomClaims;
use crate::store::scope_blocks::ScopeBlocks;
use crate::store::settings::{ActiveVersionRow, TenantSettings};
use crate::store::throttles::{CallKind, StoredThrottles};
use crate::store::users::{HeaderState, PersonHeader};
use crate::store::{StateStore, StoreError};
use futures_util::{StreamExt, stream, try_join};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;

/// How long Azure is given to answer a question by name.
pub(in crate::service) const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Questions of one round, and of those that are under way together.
const ASKS_MAX: usize = 48;
const ASKS_AT_ONCE: usize = 8;
/// When a question that Azure did not answer is asked again, at first.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// What a round decides on.
pub struct GatheredState {
    pub user: UserId,
    pub request: QueuedRequest,
    pub time: TableTime,
    pub pointer: ActiveVersionRow,
    pub levers: Levers,
    pub header: HeaderState<PersonHeader>,
    /// The Entra object id that the record names now.
    pub principal: Option<PrincipalId>,
    pub desired: Desired,
    pub selector_pins: Vec<NewPin>,
    pub missing_leads: Vec<MissingLead>,
    pub ledger: UserLedger,
    pub actual: Actual,
    /// Scopes that refuse steps, with the versions of their rows.
    pub blocks: ScopeBlocks,
    /// Who makes room in full subscriptions.
    pub claims: RoomClaims,
    pub snapshot: ActiveSnapshot,
    /// The batches of the breakers.
    pub batches: Batches,
    /// Assignments whose step this round holds, each with its batch.
    pub new_holds: BTreeMap<AssignmentName, OpId>,
    /// Principals that are free and that this record must hold before it acts.
    pub to_pin: BTreeSet<PrincipalId>,
}

/// What a round meets.
pub(super) enum Gathered {
    State(Box<GatheredState>),
    /// There is no request for this person, or another process has completed it.
    NoRequest,
    /// The state was lost, or is not complete: nothing may be done, and the request stays.
    NoState,
}

/// What decides whether the breakers count a step.
pub struct RoundFacts<'a> {
    pub user: UserId,
    pub request: &'a ReconcileRequest,
    pub desired: &'a Desired,
    pub snapshot: &'a ActiveSnapshot,
    pub batches: &'a Batches,
}

impl GatheredState {
    /// What the breakers have to know.
    pub fn facts(&self) -> RoundFacts<'_> {
        let Self { user, desired, snapshot, batches, .. } = self;
        RoundFacts { user: *user, request: &self.request.request, desired, snapshot, batches }
    }

    /// Where an assignment is, or would be.
    pub fn scope_of(&self, assignment: AssignmentName) -> Option<&Scope> {
        let held = self.ledger.entries.iter().find(|stored| stored.entry.assignment == assignment);
        let wanted = || self.desired.grants.get(&assignment).map(|wanted| &wanted.scope);
        held.map(|stored| &stored.entry.scope).or_else(wanted)
    }
}

struct Read {
    settings: TenantSettings,
    header: HeaderState<PersonHeader>,
    /// The Entra object id that the record names now.
    principal: Option<PrincipalId>,
    holders: BTreeMap<PrincipalId, PrincipalHolder>,
    selectors: SelectorFacts,
    missing_leads: Vec<MissingLead>,
    ledger: UserLedger,
    blocks: ScopeBlocks,
    snapshot: ActiveSnapshot,
}

impl Reconciler {
    /// `committed`: the request as a change committed it just now, which stands for the first read.
    pub(super) async fn gather(
        &self,
        user: UserId,
        committed: Option<CommittedRequest>,
    ) -> Result<Gathered, StoreError> {
        let (request, time, changed) = match committed {
            Some(CommittedRequest { request, time, group }) => (request, time, Some(group)),
            None => {
                let answer = self.store.request_of(user).await?;
                // Taken after the answer: this time lags behind the service's and never runs ahead of it.
                let at = self.store.clock.monotonic();
                let Some(request) = answer.value else { return Ok(Gathered::NoRequest) };
                (request, TableTime { date: answer.date, at }, None)
            }
        };
        let read = self.read(user, changed).await?;
        if read.settings.hold.is_some() {
            return Ok(Gathered::NoState);
        }
        let instance = match read.settings.instance {
            Some(instance) => instance,
            None => self.store.instance().await?,
        };
        Ok(Gathered::State(Box::new(self.combine(user, request, time, read, instance).await?)))
    }

    /// Who is gone or inactive holds nothing, whatever their groups say: those are not read. After a change of a membership
    /// (`changed`: its group, as it was committed) the person is an active one, almost always, so the memberships are read at once.
    async fn read(&self, user: UserId, changed: Option<CommittedGroup>) -> Result<Read, StoreError> {
        let memberships = async {
            match changed {
                Some(_) => self.memberships(user).await.map(Some),
                None => Ok(None),
            }
        };
        let ((settings, blocks), header, ledger, memberships) = try_join!(
            self.store.settings_and_blocks(),
            self.store.person(user),
            self.store.ledger(user),
            memberships,
        )?;
        let snapshot = self.active_bindings.read(&settings.pointer).await?;
        let person = header.as_ref().readable();
        let principal =
            person.and_then(|person| desired::principal_of(&person.resource, snapshot.principal_from()));
        let may_hold = match &header {
            HeaderState::Gone => false,
            HeaderState::Unreadable => true,
            HeaderState::Readable(person) => person.resource.active(),
        };
        let selectors = async {
            match &snapshot {
                ActiveSnapshot::Known(snapshot) if may_hold => {
                    let groups = match memberships {
                        Some(groups) => groups,
                        None => self.memberships(user).await?,
                    };
                    self.selectors((user, groups), changed.as_ref(), snapshot, &ledger).await
                }
                _ => {
                    self.health.within_group_limit(user);
                    Ok(Default::default())
                }
            }
        };
        let ((selectors, missing_leads), holders) =
            try_join!(selectors, self.holders(user, principal, &ledger))?;
        Ok(Read { settings, header, principal, holders, selectors, missing_leads, ledger, blocks, snapshot })
    }

    async fn combine(
        &self,
        user: UserId,
        request: QueuedRequest,
        time: TableTime,
        read: Read,
        instance: InstanceId,
    ) -> Result<GatheredState, StoreError> {
        let principal = read.principal;
        let mut to_pin = BTreeSet::new();
        let claim = self.principal_claim(user, &read, &mut to_pin).await?;
        let facts = AccessFacts {
            user,
            header: read.header.as_ref().map(|person| &person.resource),
            claim,
            selectors: &read.selectors,
            ledger: &read.ledger,
            braked: &read.settings.levers.brakes.keys().copied().collect(),
            instance,
        };
        let DesiredAccess { desired, pins: selector_pins, findings: troubled } =
            desired::decide(&facts, &read.snapshot);
        for (binding, reason) in &troubled {
            self.health.binding_finding(binding, *reason);
        }
        let now = time.now(self.store.clock.monotonic());
        self.health.read_throttles(&read.settings.throttles, now);
        self.health.levers(&read.settings.levers);
        self.health.bindings_pending(read.settings.waiting());
        self.health.batches(&read.settings.batches);
        let throttles = &self.trigger.with_silent_stopped(&read.settings.throttles, now);
        let observed =
            self.observe_ledger(user, &read.ledger, &read.holders, now, throttles, &mut to_pin).await;
        let held = held_steps(&read.ledger, &desired, &read.settings.batches);
        let actual = Actual {
            now,
            observed,
            throttled: throttles.steps(now),
            blocks: read.blocks.iter().map(|(key, stored)| (key.clone(), stored.block)).collect(),
            room: read.settings.claims.as_seen_by(user, now),
            requested_by: request.request.origin.op,
            requested_at: request.request.origin.op.time().map_or(now, |at| at.min(now)),
            holds: Holds {
                paused: read.settings.levers.pause.is_some(),
                held,
                pending: read.ledger.waits.clone(),
            },
            instance,
        };
        Ok(GatheredState {
            user,
            request,
            time,
            pointer: read.settings.pointer,
            levers: read.settings.levers,
            header: read.header,
            principal,
            desired,
            selector_pins,
            missing_leads: read.missing_leads,
            ledger: read.ledger,
            actual,
            blocks: read.blocks,
            claims: read.settings.claims,
            snapshot: read.snapshot,
            batches: read.settings.batches,
            new_holds: BTreeMap::new(),
            to_pin,
        })
    }

    /// Who holds each principal that this record has something to do with: its pins say so for its own.
    async fn holders(
        &self,
        user: UserId,
        principal: Option<PrincipalId>,
        ledger: &UserLedger,
    ) -> Result<BTreeMap<PrincipalId, PrincipalHolder>, StoreError> {
        let named = ledger.entries.iter().map(|stored| stored.entry.principal).chain(principal);
        let all: BTreeSet<PrincipalId> = named.collect();
        let reads = all.into_iter().map(|principal| async move {
            let ours = ledger.holds(principal);
            let holder =
                if ours { PrincipalHolder::Record(user) } else { self.store.holder(principal).await? };
            Ok::<_, StoreError>((principal, holder))
        });
        Ok(join_reads(reads).await?.into_iter().collect())
    }

    /// May the record act on the Entra object that it names?
    async fn principal_claim(
        &self,
        user: UserId,
        read: &Read,
        to_pin: &mut BTreeSet<PrincipalId>,
    ) -> Result<PrincipalClaim, StoreError> {
        let Read { principal, holders, .. } = read;
        let principal = *principal;
        let braked = principal.is_some_and(|principal| read.settings.levers.brakes.contains_key(&principal));
        let holder_of = |principal| holders.get(&principal).copied().unwrap_or(PrincipalHolder::Free);
        match desired::find_claim(user, read.header.as_ref(), principal, braked, holder_of) {
            ClaimFinding::Decided(claim) => Ok(claim),
            ClaimFinding::HeldBy(principal, holder) => Ok(PrincipalClaim::Blocked(
                reason_of_holder(&self.store, holder, principal, read.snapshot.principal_from()).await?,
            )),
            ClaimFinding::Free(principal) => {
                to_pin.insert(principal);
                Ok(PrincipalClaim::Blocked(ReasonCode::PrincipalReleasing))
            }
        }
    }

    async fn observe_ledger(
        &self,
        user: UserId,
        ledger: &UserLedger,
        holders: &BTreeMap<PrincipalId, PrincipalHolder>,
        now: OffsetDateTime,
        throttles: &StoredThrottles,
        to_pin: &mut BTreeSet<PrincipalId>,
    ) -> Vec<ObservedEntry> {
        let asked = questions(ledger, now);
        let silent = Mutex::new(BTreeSet::new());
        let mut asking = Vec::new();
        for StoredEntry { entry, .. } in &ledger.entries {
            let holder = holders.get(&entry.principal).copied().unwrap_or(PrincipalHolder::Free);
            // Its own side of the pin may be lost: `p:` decides.
            let ours = ledger.holds(entry.principal) || holder == PrincipalHolder::Record(user);
            let holder = if ours { None } else { Some(holder) };
            if holder == Some(PrincipalHolder::Free) && needs_principal(entry) {
                to_pin.insert(entry.principal);
            }
            let question = asked.get(&entry.assignment);
            asking.push(self.observe_entry(entry, holder, question, &silent, now, throttles));
        }
        let evidence: Vec<Evidence> = stream::iter(asking).buffered(ASKS_AT_ONCE).collect().await;
        ledger
            .entries
            .iter()
            .zip(evidence)
            .map(|(stored, evidence)| ObservedEntry { entry: stored.entry.clone(), evidence })
            .collect()
    }

    /// Asks Azure by name about an unsettled entry, unless Azure asked us to wait. `holder`: who holds the
    /// principal, where it is not this record.
    async fn observe_entry(
        &self,
        entry: &LedgerEntry,
        holder: Option<PrincipalHolder>,
        question: Option<&Question>,
        silent: &Mutex<BTreeSet<String>>,
        now: OffsetDateTime,
        throttles: &StoredThrottles,
    ) -> Evidence {
        if let Some(evidence) = evidence_of_holder(holder, now + ask_again(entry, now)) {
            return evidence;
        }
        let (name, due) = match question {
            Some(Question::Ask { name, due }) => (*name, *due),
            Some(Question::NextRound) => {
                return Evidence::Unasked { reason: ReasonCode::InFlight, not_before: now };
            }
            None => return Evidence::Ledger,
        };
        if let Some(not_before) = throttles.until(&entry.scope, CallKind::Ask, now) {
            return Evidence::Unasked { reason: ReasonCode::Throttled, not_before };
        }
        let again = now + ask_again(entry, now);
        let silent = || silent.lock().unwrap_or_else(PoisonError::into_inner);
        if silent().contains(entry.scope.subscription()) {
            return Evidence::Unasked { reason: ReasonCode::NoAnswer, not_before: again };
        }
        match self.assignments.get(&entry.scope, &name, ASK_TIMEOUT).await {
            Ok(found) => {
                let same =
                    found.is_some_and(|found| same_triple(entry, &found.scope, found.principal, found.role));
                Evidence::Azure { holds: same, due }
            }
            Err(AssignmentError::Throttled { retry_after, .. }) => {
                self.note_throttle(&entry.scope, CallKind::Ask, now, retry_after).await;
                Evidence::Unasked { reason: ReasonCode::Throttled, not_before: now + retry_after }
            }
            Err(AssignmentError::Rejected { reason: RejectionReason::ScopeNotFound, .. }) => {
                Evidence::Azure { holds: false, due }
            }
            Err(AssignmentError::Rejected { reason, .. }) => {
                Evidence::Unasked { reason: reason_of(reason), not_before: again }
            }
            Err(AssignmentError::Unknown { .. }) => {
                // One that does not answer is not asked for every row: revocations elsewhere wait for this.
                silent().insert(entry.scope.subscription().to_owned());
                Evidence::Unasked { reason: ReasonCode::NoAnswer, not_before: again }
            }
        }
    }
}

/// Whether a record must hold the principal of an entry before the entry is acted on or closed.
pub(in crate::service) fn needs_principal(entry: &LedgerEntry) -> bool {
    !(entry.is_settled_and_gone() && entry.state == AssignmentState::Gone)
}

/// The evidence that follows from who holds the principal of an entry, where it is not this record.
pub(in crate::service) const fn evidence_of_holder(
    holder: Option<PrincipalHolder>,
    not_before: OffsetDateTime,
) -> Option<Evidence> {
    match holder {
        Some(PrincipalHolder::Record(_)) => Some(Evidence::NotOurs),
        Some(PrincipalHolder::Unreadable) => Some(Evidence::Undecided { not_before }),
        Some(PrincipalHolder::Free) | None => None,
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
fn questions(ledger: &UserLedger, now: OffsetDateTime) -> BTreeMap<AssignmentName, Question> {
    let question = |entry: &LedgerEntry| {
        let foreign_due = entry.retry.as_ref().is_none_or(|retry| retry.not_before <= now);
        match (entry.unsettled_until, entry.state) {
            (Some(until), _) => Some((until > now, entry.assignment, entry.assignment)),
            (None, AssignmentState::HeldByOther(other)) if foreign_due => {
                Some((false, entry.assignment, other))
            }
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
fn ask_again(entry: &LedgerEntry, now: OffsetDateTime) -> Duration {
    let due = entry.unsettled_until.or(entry.retry.as_ref().map(|retry| retry.not_before));
    let since = due.filter(|due| *due <= now).unwrap_or(entry.written);
    Duration::try_from(now - since).unwrap_or_default().clamp(ASK_AGAIN, REVOKE_RETRY_MAX)
}

fn same_triple(
    entry: &LedgerEntry,
    scope: &Scope,
    principal: PrincipalId,
    role: crate::rbac::BackupRole,
) -> bool {
    &entry.scope == scope && entry.principal == principal && entry.role == role
}

/// Why a record waits for an Entra object that another record holds.
pub(in crate::service) async fn reason_of_holder(
    store: &StateStore,
    holder: UserId,
    principal: PrincipalId,
    sources: &[PrincipalSource],
) -> Result<ReasonCode, StoreError> {
    let same = match store.person(holder).await? {
        HeaderState::Gone => false,
        // A record that cannot be read may still be of that person: it keeps what it holds.
        HeaderState::Unreadable => true,
        HeaderState::Readable(other) => desired::principal_of(&other.resource, sources) == Some(principal),
    };
    Ok(desired::reason_of_wait(same))
}

#[cfg(test)]
pub(super) mod tests;
