//! One person's reconcile: gather, plan, open, act, close. Inline call, timer and order call the same function.

mod act;
mod close;
mod gather;
mod obstacles;
mod occasion;
mod refusal;
mod requeue;
mod selectors;
mod silence;

use super::effects::log;
use super::queue::Queue;
use super::snapshots::Snapshots;
use crate::audit::Change;
use crate::id::{OpId, UserId};
use crate::ports::role_assignments::RoleAssignments;
use crate::ports::tables::{Match, Write};
use crate::rbac::ReasonCode;
use crate::rbac::ledger::Attempt;
use crate::rbac::plan::{self, Limits};
use crate::store::codec::Fields;
use crate::store::{Store, StoreError, keys, ledger, pins};
use act::{Opening, Sent, Started};
use close::Closed;
use gather::Gathered;
use occasion::{Noted, Occasion};
pub use silence::Silence;
use std::sync::Arc;
use std::time::Duration;

/// How long a look waits for another look at the same person in this process.
const TURN_WAIT: Duration = Duration::from_millis(250);
/// Rounds of one call; what is left then stays in `d:`.
const ROUNDS_MAX: u32 = 64;
/// Selector pins that go with an open or a close: two rows each.
const PINS_WITH_OPEN_MAX: usize = 8;
/// Selector pins of a transaction of their own.
const PINS_ALONE_MAX: usize = 45;
/// Principals that one transaction takes: two rows each.
const PRINCIPALS_MAX: usize = 40;
/// Rows that lead from groups to pins, in one transaction.
const LEADS_MAX: usize = 90;

/// The times and sizes of effects.
#[derive(Debug, Clone, Copy)]
pub struct EffectLimits {
    /// How long a worker may send, counted from before its open.
    pub send: Duration,
    /// How long a call of a dead worker may stay in the network.
    pub network: Duration,
    pub plan: Limits,
}

impl Default for EffectLimits {
    fn default() -> Self {
        Self { send: Duration::from_secs(30), network: Duration::from_secs(120), plan: Limits::default() }
    }
}

/// What came of a look at a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Looked {
    /// Azure asked to wait, and so does what is left: looking at more like this one is for nothing now.
    pub throttled: bool,
    /// Revocations that were sent.
    pub revoked: usize,
    pub left: Left,
}

/// What a look left of the person's marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Left {
    /// Nothing: it was dealt with.
    Nothing,
    /// No mark was there: somebody else dealt with it, or left a look later.
    NoMark,
    /// A look later.
    Later,
    /// The mark: there is more to do, or somebody else is at it.
    #[default]
    Mark,
}

impl Looked {
    /// Takes in how a round was closed. Answers whether there is more to do at once.
    fn goes_on(&mut self, closed: Closed) -> bool {
        self.left = match closed {
            Closed::Done => Left::Nothing,
            Closed::Later => Left::Later,
            Closed::Left => Left::Mark,
        };
        self.left == Left::Mark
    }
}

/// Makes Azure hold what one person should hold.
#[derive(Clone)]
pub struct Reconciler {
    store: Store,
    assignments: Arc<dyn RoleAssignments>,
    snapshots: Arc<Snapshots>,
    limits: EffectLimits,
    queue: Arc<Queue>,
    occasion: Occasion,
}

impl Reconciler {
    pub fn new(
        store: Store,
        assignments: Arc<dyn RoleAssignments>,
        snapshots: Arc<Snapshots>,
        limits: EffectLimits,
    ) -> Self {
        Self { store, assignments, snapshots, limits, queue: Arc::default(), occasion: Occasion::default() }
    }

    /// Looks at a person whose turn it is in a tick, as [`reconcile`](Self::reconcile) does. What is heard of Azure is noted, and
    /// nothing is sent where it gives no answer.
    pub async fn take_turn(&self, user: UserId, silence: Arc<Silence>) -> Result<Looked, StoreError> {
        let inner = self.assignments.clone();
        let assignments = Arc::new(Noted { inner, silence: silence.clone(), user });
        let turn = Self { assignments, occasion: Occasion::Turn(silence), ..self.clone() };
        turn.reconcile(user).await
    }

    /// Looks at a person until nothing is left to do at once.
    pub async fn reconcile(&self, user: UserId) -> Result<Looked, StoreError> {
        // Correct without the turn: a revocation does not wait for a call that hangs.
        let _turn = tokio::time::timeout(TURN_WAIT, self.queue.enter(user.uuid())).await.ok();
        let mut looked = Looked::default();
        for _ in 0..ROUNDS_MAX {
            let Some(gathered) = self.gather(user).await? else {
                looked.left = Left::NoMark;
                break;
            };
            if !self.round(&gathered, &mut looked).await? {
                break;
            }
        }
        Ok(looked)
    }

    /// One round. Answers whether there is more to do at once.
    async fn round(&self, gathered: &Gathered, looked: &mut Looked) -> Result<bool, StoreError> {
        self.add_leads(gathered).await;
        if !gathered.to_pin.is_empty() {
            self.pin(gathered).await?;
            return Ok(true);
        }
        if gathered.selector_pins.len() > PINS_WITH_OPEN_MAX {
            self.pin_selectors(gathered).await?;
            return Ok(true);
        }
        let mut plan = plan::plan(&gathered.desired, &gathered.actual, &self.limits.plan);
        let throttled = plan.deferred.iter().any(|deferred| deferred.reason == ReasonCode::Throttled);
        self.occasion.name_silence(&mut plan, gathered);
        if self.occasion.hold_back(&mut plan, &self.snapshots.status)
            && plan.steps.is_empty()
            && plan.settle.is_empty()
        {
            return Ok(false);
        }
        let started = Started { monotonic: self.store.clock.monotonic(), wall: self.store.clock.now() };
        if plan.steps.is_empty() {
            let look = gathered.look.etag.clone();
            looked.throttled = throttled;
            self.note_obstacles(gathered, &plan, &[]).await;
            return Ok(looked.goes_on(self.close(gathered, &plan, Vec::new(), look, false).await?));
        }
        let Opening::Open { look, opened } = self.open(gathered, &plan).await? else { return Ok(true) };
        if !self.store.pointer().await?.is_same(&gathered.pointer) {
            return Ok(true);
        }
        let acted = self.act(gathered, opened, started).await;
        self.note_obstacles(gathered, &plan, &acted).await;
        looked.throttled = acted.iter().all(|call| matches!(call.sent, Sent::Throttled(_)));
        looked.revoked += acted.iter().filter(|call| call.opened.step.attempt == Attempt::Revoke).count();
        Ok(looked.goes_on(self.close(gathered, &plan, acted, look, true).await?))
    }

    /// Pins selectors in a transaction of their own, where they are too many to go with an open.
    async fn pin_selectors(&self, gathered: &Gathered) -> Result<(), StoreError> {
        let op = self.store.ids.op();
        let mut changes = Vec::new();
        let mut writes = vec![self.still_marked(gathered)];
        let pins = gathered.selector_pins.get(..PINS_ALONE_MAX).unwrap_or(&gathered.selector_pins);
        writes.extend(act::pin_writes(pins, op, &mut changes));
        self.commit_or_gather_again(gathered, op, changes, writes).await
    }

    /// Leads from groups to their pins where a former release left none. They decide nothing, so a failure is no matter.
    async fn add_leads(&self, gathered: &Gathered) {
        let leads = gathered.missing_leads.iter().map(|(group, key)| pins::lead_from_group(*group, key));
        let leads: Vec<Write> = leads.take(LEADS_MAX).collect();
        if !leads.is_empty()
            && let Err(error) = self.store.move_looking(&leads).await
        {
            log("a row that leads to a pin", &error);
        }
    }

    /// `d:` is as it was read, and gets a new version.
    fn still_marked(&self, gathered: &Gathered) -> Write {
        let condition = Match::Exact(gathered.look.etag.clone());
        let properties = gathered.look.mark.fields().done();
        Write::Merge { key: keys::look_now(gathered.user), properties, condition }
    }

    /// A conflict is no failure: the next round reads again.
    async fn commit_or_gather_again(
        &self,
        gathered: &Gathered,
        op: OpId,
        changes: Vec<Change>,
        writes: Vec<Write>,
    ) -> Result<(), StoreError> {
        match self.store.commit(&self.record(gathered, op, changes), writes).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes principals that are free, in a transaction of its own.
    async fn pin(&self, gathered: &Gathered) -> Result<(), StoreError> {
        let op = self.store.ids.op();
        let mut writes = vec![self.still_marked(gathered)];
        let mut changes = Vec::new();
        for principal in gathered.to_pin.iter().take(PRINCIPALS_MAX) {
            writes.extend(ledger::pin(gathered.user, *principal, op));
            let what = format!("pin of user {}", gathered.user);
            changes.push(Change::Setting { what, before: String::new(), after: principal.to_string() });
        }
        if let (Some(person), Some(principal)) = (&gathered.person, gathered.principal)
            && person.pinned.is_none()
            && gathered.to_pin.iter().take(PRINCIPALS_MAX).any(|taken| *taken == principal)
        {
            let properties = Fields::some().text("pinned", principal.to_string()).done();
            let condition = Match::Exact(person.etag.clone());
            writes.push(Write::Merge { key: keys::user(gathered.user), properties, condition });
        }
        self.commit_or_gather_again(gathered, op, changes, writes).await
    }
}
