//! A drill begins: by the timer, or by an order.

use super::stage::{DrillSettings, Drills, StepEnd};
use crate::audit::{AuditEvent, AuditRecord, ChangeCause, ChangeOrigin};
use crate::id::{GroupId, OpId, UserId};
use crate::rbac::DRILL_BINDING;
use crate::store::drills::{Drill, DrillPhase, DrillState, RunningDrill, StepTimes, StoredDrill};
use crate::store::{StateStore, StoreError, TableWrite};
use time::OffsetDateTime;

/// What set a drill off that no operator ordered.
const TIMER: &str = "timer";

/// Why an order begins no drill.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrillRefusal {
    #[error("drills are not set: the app has no DRILL_PRINCIPAL_ID")]
    NotSet,
    #[error("drill {drill} still runs")]
    Runs { drill: OpId },
    #[error("the service is paused: no grant happens")]
    Paused,
}

/// A drill that begins: what is written and recorded.
fn begin(
    store: &StateStore,
    settings: &DrillSettings,
    (drill, set_off): (OpId, String),
    stored: Option<&StoredDrill>,
    now: OffsetDateTime,
) -> (TableWrite, AuditEvent) {
    let drill = Drill {
        id: drill,
        user: UserId::new(store.ids.random()),
        group: GroupId::new(store.ids.random()),
        principal: settings.principal,
        began: now,
        set_off,
        grant: StepTimes::default(),
        revocation: StepTimes::default(),
        failure: None,
    };
    let event = AuditEvent::DrillBegan {
        drill: drill.id,
        person: drill.user,
        group: drill.group,
        principal: drill.principal,
        set_off: drill.set_off.clone(),
    };
    let mut state = stored.map_or_else(|| DrillState::new(now), |stored| stored.state.clone());
    state.began = Some(now);
    state.running = Some(RunningDrill { drill, phase: DrillPhase::Begun, looked: now });
    (state.write(stored), event)
}

/// The drill that an order begins. Its id is that of the operation that carries the order out.
pub async fn begin_by_order(
    store: &StateStore,
    settings: Option<&DrillSettings>,
    (order, op): (OpId, OpId),
    now: OffsetDateTime,
) -> Result<Result<(TableWrite, AuditEvent), DrillRefusal>, StoreError> {
    let Some(settings) = settings else { return Ok(Err(DrillRefusal::NotSet)) };
    if store.levers().await?.pause.is_some() {
        return Ok(Err(DrillRefusal::Paused));
    }
    let stored = store.drill().await?.value;
    if let Some(running) = stored.as_ref().and_then(|stored| stored.state.running.as_ref()) {
        return Ok(Err(DrillRefusal::Runs { drill: running.drill.id }));
    }
    Ok(Ok(begin(store, settings, (op, order.to_string()), stored.as_ref(), now)))
}

/// Who records what a drill does.
pub(super) fn origin(op: OpId) -> ChangeOrigin {
    ChangeOrigin { cause: ChangeCause::Request, actor: DRILL_BINDING.to_owned(), op }
}

impl Drills {
    /// Begins a drill where the last one began long enough ago.
    pub(super) async fn begin_if_due(
        &self,
        stored: Option<&StoredDrill>,
        now: OffsetDateTime,
    ) -> Result<StepEnd, StoreError> {
        let Some((settings, every)) = self.settings.and_then(|all| Some((all, all.every?))) else {
            return Ok(StepEnd::Waits);
        };
        let Some(before) = stored else {
            // Since when drills are set: a drill that never begins is late all the same.
            self.store.transact_unjournaled(&[DrillState::new(now).write(None)]).await?;
            return Ok(StepEnd::Moved);
        };
        let is_due = before.state.began.is_none_or(|began| began + every <= now);
        if !is_due || self.store.levers().await?.pause.is_some() {
            return Ok(StepEnd::Waits);
        }
        let op = self.store.ids.op();
        let (write, event) = begin(&self.store, &settings, (op, TIMER.to_owned()), stored, now);
        self.record(op, vec![event], vec![write]).await?;
        Ok(StepEnd::Moved)
    }

    /// Commits a record of the drill itself.
    pub(super) async fn record(
        &self,
        op: OpId,
        changes: Vec<AuditEvent>,
        writes: Vec<TableWrite>,
    ) -> Result<(), StoreError> {
        let record = AuditRecord {
            op,
            time: self.store.clock.now(),
            origin: origin(op),
            request: None,
            stamp: None,
            outcome: None,
            changes,
        };
        self.store.commit(&record, writes).await?;
        Ok(())
    }
}
