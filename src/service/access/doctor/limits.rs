//! Management locks, and how full the subscriptions are.

use super::facts::{DoctorFacts, ScopeFacts, SubscriptionFacts};
use super::finding::{Finding, Mender};
use crate::ports::azure_access::{ASSIGNMENTS_MANY, ASSIGNMENTS_MAX, LockLevel};
use crate::rbac::arm_scope::ArmScope;

/// From here on nothing should be added.
const ASSIGNMENTS_FULL: usize = 3800;

/// What forbids that a role is given or taken, whatever the rights.
pub fn check_limits(facts: &DoctorFacts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts.scopes.iter().flat_map(locks).collect();
    let read = facts.scopes.iter().filter(|scope| scope.locks.is_ok()).count();
    if findings.is_empty() && read > 0 {
        findings.push(Finding::ok("locks", format!("no management lock at or above {read} scopes")));
    }
    findings.extend(facts.subscriptions.iter().map(quota));
    findings
}

fn locks(facts: &ScopeFacts) -> Vec<Finding> {
    let locks = match &facts.locks {
        Ok(locks) => locks,
        Err(error) => {
            return vec![
                Finding::not_checked("locks", "management locks", error.to_string()).at(&facts.scope),
            ];
        }
    };
    let finding = |lock: &crate::ports::azure_access::ManagementLock| {
        let (name, level, scope) = (&lock.name, lock.level.as_str(), &lock.scope);
        let made = match lock.level {
            LockLevel::CanNotDelete => Finding::error(
                "locks",
                format!("a management lock ({level}) forbids taking roles away"),
                "people who leave keep their roles until it is removed",
            ),
            LockLevel::ReadOnly => Finding::error(
                "locks",
                format!("a management lock ({level}) forbids giving roles and taking them away"),
                "people who leave keep their roles until it is removed",
            ),
            LockLevel::Other => Finding::warning(
                "locks",
                "a management lock of an unknown level",
                "it may forbid to take roles away",
            ),
        };
        made.at(&facts.scope).mend(Mender::AzureAdmin, format!("remove the lock {name} at {scope}"))
    };
    locks.iter().map(finding).collect()
}

/// What is inherited from above the subscription does not count.
fn quota(facts: &SubscriptionFacts) -> Finding {
    let SubscriptionFacts { id, assignments } = facts;
    let assignments = match assignments {
        Ok(assignments) => assignments,
        Err(error) => {
            let what = format!("how many role assignments subscription {id} has");
            return Finding::not_checked("quota", what, error.to_string());
        }
    };
    let counts = |scope: &ArmScope| scope.subscription() == Some(id.as_str());
    let number = assignments.iter().filter(|assignment| counts(&assignment.scope)).count();
    let what = format!("subscription {id} has {number} of {ASSIGNMENTS_MAX} role assignments");
    let room = "remove role assignments of the subscription";
    match number {
        ASSIGNMENTS_FULL.. => {
            Finding::error("quota", what, "Azure soon refuses new grants (assignment-limit)")
                .mend(Mender::AzureAdmin, room)
        }
        ASSIGNMENTS_MANY.. => Finding::warning("quota", what, "Azure refuses new grants when it is full")
            .mend(Mender::AzureAdmin, room),
        _ => Finding::ok("quota", what),
    }
}
