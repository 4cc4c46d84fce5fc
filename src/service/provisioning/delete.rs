//! Deletes of any size: the commit removes the header and writes a job; the job empties the memberships.

use super::kind::Kind;
use super::plan::{self, Operation, Plan};
use super::{Attempt, Provisioning, not_found, parse_id};
use crate::service::effects::Work;
use crate::service::{Caller, ServiceError};
use crate::store::batch::{Batch, Part};
use crate::store::resources::{self, Stored};
use crate::store::{jobs, marks};
use futures_util::try_join;

impl Provisioning {
    /// Deletes a user or a group.
    pub(super) async fn delete<I: Kind>(&self, caller: &Caller, id: &str) -> Result<(), ServiceError> {
        let work = self.remove::<I>(caller, parse_id(id)?).await?;
        self.follow_up(work).await;
        Ok(())
    }

    async fn remove<I: Kind>(&self, caller: &Caller, id: I) -> Result<Work, ServiceError> {
        let _turn = self.queue.enter(id.uuid()).await;
        let mut tries = self.tries();
        loop {
            let mut counter = self.counters.hold(id).await;
            let counted = counter.load_for_delete::<I>(&self.store);
            let (before, ()) = try_join!(self.store.resource_to_delete(id), counted)?;
            let before = before.ok_or_else(not_found::<I>)?;
            let operation = self.operation(caller);
            let plan = plan_delete(&operation, &before, counter.write(-1));
            match self.commit(&operation, &plan).await? {
                Attempt::Done(committed) => {
                    counter.committed(-1, &plan.batch, &committed);
                    return Ok(plan.work);
                }
                Attempt::Met(Part::Counter, _) => counter.forget(),
                Attempt::Met(_, _) => drop(counter),
            }
            tries.again().await?;
        }
    }
}

/// The end of a resource. A user's `p:` and ledger stay: the reconcile settles them.
fn plan_delete<I: Kind>(operation: &Operation, before: &Stored<I>, counted: Batch) -> Plan {
    let mark = operation.mark(true);
    let mut plan = Plan::new(before.id, 204);
    plan.batch = resources::remove(before, true);
    plan.batch.append(counted);
    if let Some(person) = before.id.person() {
        plan.batch.extend(Part::Look, marks::look_now(person, &mark));
        plan.work.leaving.push(person);
    }
    plan.batch.push(Part::Look, jobs::begin(before.id.emptying(), &mark, before.revision + 1));
    plan.work.jobs.push(operation.op);
    plan.changes.push(plan::deleted(before));
    plan
}
