//! What Azure is asked: each call once more where Azure throttles it, and all of them within a time.

use super::facts::{RoleFacts, ScopeFacts, SubscriptionFacts};
use super::right::named_roles;
use crate::ports::azure_access::{AccessAssignment, AccessReader};
use crate::ports::clock::Clock;
use crate::ports::role_assignments::{AssignmentError, RejectionReason};
use crate::rbac::Scope;
use futures_util::{StreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;
use uuid::Uuid;

/// How long Azure and Entra ID are given for one answer, all of its pages included.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long Azure is asked, waits included.
const TIME_MAX: Duration = Duration::from_secs(300);
/// Calls that are under way at a time.
const CALLS_MAX: usize = 8;
/// Scopes that Azure is asked for.
pub const SCOPES_MAX: usize = 1000;

/// Azure, and how long it is asked.
pub struct AzureQuestions<'a> {
    access: &'a dyn AccessReader,
    clock: &'a dyn Clock,
    /// On the monotonic clock.
    until: Duration,
}

impl<'a> AzureQuestions<'a> {
    pub fn begin(access: &'a dyn AccessReader, clock: &'a dyn Clock) -> Self {
        Self { access, clock, until: clock.monotonic() + TIME_MAX }
    }

    /// What it says of the scopes.
    pub async fn scopes(&self, wanted: &BTreeSet<Scope>, progress: &dyn Fn(usize)) -> Vec<ScopeFacts> {
        let mut asked = stream::iter(wanted.iter().take(SCOPES_MAX))
            .map(|scope| async move {
                let (assignments, locks) = futures_util::join!(
                    self.ask(|timeout| self.access.at_or_above(scope, timeout)),
                    self.ask(|timeout| self.access.locks(scope, timeout)),
                );
                ScopeFacts { scope: scope.clone(), assignments, locks }
            })
            .buffered(CALLS_MAX);
        let mut read = Vec::new();
        while let Some(scope) = asked.next().await {
            read.push(scope);
            progress(read.len());
        }
        read.extend(wanted.iter().skip(SCOPES_MAX).map(beyond));
        read
    }

    /// What it says of these subscriptions. One that is gone is left out, unless a scope in it is not.
    pub async fn subscriptions(
        &self,
        ids: &BTreeSet<String>,
        scopes: &[ScopeFacts],
    ) -> Vec<SubscriptionFacts> {
        let read: Vec<SubscriptionFacts> = stream::iter(ids)
            .filter_map(|id| async move { Some((id, subscription(id)?)) })
            .map(|(id, scope)| async move {
                let assignments = self.ask(|timeout| self.access.around(&scope, timeout)).await;
                SubscriptionFacts { id: id.clone(), assignments }
            })
            .buffered(CALLS_MAX)
            .collect()
            .await;
        let has_scope = |id: &str| {
            let mut inside = scopes.iter().filter(|facts| facts.scope.subscription() == id);
            inside.any(|facts| !facts.assignments.as_ref().is_err_and(is_gone))
        };
        let is_there = |facts: &SubscriptionFacts| {
            !facts.assignments.as_ref().is_err_and(is_gone) || has_scope(&facts.id)
        };
        read.into_iter().filter(is_there).collect()
    }

    /// The definitions of the roles of these assignments and of those that their conditions name, each as it is where it was seen.
    pub async fn roles(
        &self,
        scopes: &[ScopeFacts],
        subscriptions: &[SubscriptionFacts],
        is_wanted: impl Fn(&AccessAssignment) -> bool,
    ) -> RoleFacts {
        let at_scopes = scopes.iter().map(|facts| (Some(facts.scope.clone()), &facts.assignments));
        let around = subscriptions.iter().map(|facts| (subscription(&facts.id), &facts.assignments));
        let mut wanted: BTreeMap<Uuid, Scope> = BTreeMap::new();
        for (scope, assignments) in at_scopes.chain(around) {
            let (Some(scope), Ok(assignments)) = (scope, assignments) else { continue };
            for assignment in assignments.iter().filter(|assignment| is_wanted(assignment)) {
                for role in named_roles(assignment).into_iter().chain([assignment.role]) {
                    wanted.entry(role).or_insert_with(|| scope.clone());
                }
            }
        }
        stream::iter(wanted)
            .map(|(role, scope)| async move {
                let read = self.ask(|timeout| self.access.role_definition(&scope, role, timeout)).await;
                let found = read.map_err(|error| error.to_string());
                (role, found.and_then(|found| found.ok_or_else(|| "it has no definition there".to_owned())))
            })
            .buffered(CALLS_MAX)
            .collect()
            .await
    }

    /// Asks, and once more after the wait that Azure asks for.
    async fn ask<T, F>(&self, call: impl Fn(Duration) -> F) -> Result<T, AssignmentError>
    where
        F: Future<Output = Result<T, AssignmentError>>,
    {
        match self.ask_once(&call).await {
            Err(AssignmentError::Throttled { retry_after, .. }) if retry_after < self.left() => {
                self.clock.sleep(retry_after).await;
                self.ask_once(&call).await
            }
            answer => answer,
        }
    }

    async fn ask_once<T, F>(&self, call: &impl Fn(Duration) -> F) -> Result<T, AssignmentError>
    where
        F: Future<Output = Result<T, AssignmentError>>,
    {
        let left = self.left();
        if left.is_zero() {
            let detail = format!("it was not asked, because {} s were over", TIME_MAX.as_secs());
            return Err(AssignmentError::Unknown { detail });
        }
        call(left.min(ANSWER_TIMEOUT)).await
    }

    fn left(&self) -> Duration {
        self.until.saturating_sub(self.clock.monotonic())
    }
}

fn subscription(id: &str) -> Option<Scope> {
    Scope::parse(&format!("/subscriptions/{id}")).ok()
}

/// Whether what was asked for does not exist.
pub fn is_gone(error: &AssignmentError) -> bool {
    matches!(error, AssignmentError::Rejected { reason: RejectionReason::ScopeNotFound, .. })
}

/// A scope that is one too many.
fn beyond(scope: &Scope) -> ScopeFacts {
    let error = AssignmentError::Unknown {
        detail: format!("it was not asked, because there are more than {SCOPES_MAX} scopes"),
    };
    ScopeFacts { scope: scope.clone(), assignments: Err(error.clone()), locks: Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::azure_access::{DenyAssignment, ManagementLock};
    use crate::rbac::verbs::RoleDefinition;
    use async_trait::async_trait;
    use futures_util::future::BoxFuture;
    use std::sync::Mutex;
    use time::OffsetDateTime;

    /// A clock on which nothing but waiting takes time.
    #[derive(Default)]
    struct WaitingClock(Mutex<Duration>);

    impl Clock for WaitingClock {
        fn now(&self) -> OffsetDateTime {
            OffsetDateTime::UNIX_EPOCH
        }

        fn monotonic(&self) -> Duration {
            *self.0.lock().unwrap()
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
            *self.0.lock().unwrap() += duration;
            Box::pin(async {})
        }
    }

    /// Throttles as often as it is told to, and knows the role where it is assigned.
    #[derive(Default)]
    struct Azure {
        throttles: Mutex<Vec<u64>>,
        calls: Mutex<Vec<String>>,
    }

    impl Azure {
        fn answer<T>(&self, call: String, answer: T) -> Result<T, AssignmentError> {
            self.calls.lock().unwrap().push(call);
            match self.throttles.lock().unwrap().pop() {
                None => Ok(answer),
                Some(wait_s) => Err(AssignmentError::Throttled {
                    retry_after: Duration::from_secs(wait_s),
                    correlation: None,
                }),
            }
        }
    }

    #[async_trait]
    impl AccessReader for Azure {
        async fn at_or_above(
            &self,
            scope: &Scope,
            _: Duration,
        ) -> Result<Vec<AccessAssignment>, AssignmentError> {
            self.answer(format!("list {scope}"), Vec::new())
        }

        async fn around(&self, scope: &Scope, _: Duration) -> Result<Vec<AccessAssignment>, AssignmentError> {
            let (reason, code) = (RejectionReason::ScopeNotFound, "SubscriptionNotFound".to_owned());
            match scope.subscription().ends_with('9') {
                true => Err(AssignmentError::Rejected { reason, code, status: 404, correlation: None }),
                false => self.answer(format!("around {scope}"), Vec::new()),
            }
        }

        async fn role_definition(
            &self,
            scope: &Scope,
            role: Uuid,
            _: Duration,
        ) -> Result<Option<RoleDefinition>, AssignmentError> {
            let name = scope.subscription().to_owned();
            let is_here = scope.subscription().as_bytes().last() == role.to_string().as_bytes().first();
            let definition = RoleDefinition { id: role, name, permissions: Vec::new() };
            self.answer(format!("role {scope}"), is_here.then_some(definition))
        }

        async fn denied(&self, _: &Scope, _: Duration) -> Result<Vec<DenyAssignment>, AssignmentError> {
            Ok(Vec::new())
        }

        async fn locks(&self, scope: &Scope, _: Duration) -> Result<Vec<ManagementLock>, AssignmentError> {
            self.answer(format!("locks {scope}"), Vec::new())
        }
    }

    fn scopes(number: u32) -> BTreeSet<Scope> {
        let scope = |number| Scope::parse(&format!("/subscriptions/{}", Uuid::from_u128(number))).unwrap();
        (0..u128::from(number)).map(scope).collect()
    }

    #[tokio::test]
    async fn a_call_that_is_throttled_is_made_once_more_after_the_wait() {
        let (azure, clock) = (Azure::default(), WaitingClock::default());
        azure.throttles.lock().unwrap().extend([7, 5]);
        let questions = AzureQuestions::begin(&azure, &clock);
        let ids = BTreeSet::from([Uuid::from_u128(1).to_string()]);
        let read = questions.subscriptions(&ids, &[]).await;
        assert!(matches!(read[0].assignments, Err(AssignmentError::Throttled { .. })), "{read:?}");
        assert_eq!(clock.monotonic(), Duration::from_secs(5));

        azure.throttles.lock().unwrap().push(3);
        let read = questions.subscriptions(&ids, &[]).await;
        assert!(read[0].assignments.is_ok(), "{read:?}");
        assert_eq!(azure.calls.lock().unwrap().len(), 4);
    }

    #[tokio::test]
    async fn when_the_time_is_over_nothing_more_is_asked() {
        let (azure, clock) = (Azure::default(), WaitingClock::default());
        let questions = AzureQuestions::begin(&azure, &clock);
        azure.throttles.lock().unwrap().push(TIME_MAX.as_secs());
        questions.scopes(&scopes(1), &|_| {}).await;
        assert_eq!(clock.monotonic(), Duration::ZERO, "a wait that is too long is not begun");
        clock.sleep(TIME_MAX).await;
        let read = questions.scopes(&scopes(2), &|_| {}).await;
        assert!(read.iter().all(|facts| facts.assignments.is_err() && facts.locks.is_err()), "{read:?}");
        assert_eq!(azure.calls.lock().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn scopes_beyond_the_limit_are_not_asked_for_and_are_there_as_not_read() {
        let (azure, clock) = (Azure::default(), WaitingClock::default());
        let questions = AzureQuestions::begin(&azure, &clock);
        let read = questions.scopes(&scopes(SCOPES_MAX as u32 + 2), &|_| {}).await;
        let unread = read.iter().filter(|facts| facts.assignments.is_err() && facts.locks.is_err()).count();
        assert_eq!((read.len(), unread), (SCOPES_MAX + 2, 2));
        assert_eq!(azure.calls.lock().unwrap().len(), 2 * SCOPES_MAX);
    }

    #[tokio::test]
    async fn a_subscription_that_is_gone_is_left_out_unless_a_scope_in_it_is_there() {
        let (azure, clock) = (Azure::default(), WaitingClock::default());
        let questions = AzureQuestions::begin(&azure, &clock);
        let ids = [8, 9].map(|number| Uuid::from_u128(number).to_string()).into();
        let read = questions.subscriptions(&ids, &[]).await;
        assert_eq!(read.len(), 1);
        assert!(read[0].id.ends_with('8'));
        let scope = subscription(&Uuid::from_u128(9).to_string()).unwrap();
        let inside = ScopeFacts { scope, assignments: Ok(Vec::new()), locks: Ok(Vec::new()) };
        let read = questions.subscriptions(&ids, &[inside]).await;
        assert!(read.len() == 2 && read[1].assignments.is_err(), "{read:?}");
    }

    #[tokio::test]
    async fn a_role_is_asked_for_where_it_was_seen() {
        let (azure, clock) = (Azure::default(), WaitingClock::default());
        let questions = AzureQuestions::begin(&azure, &clock);
        let role = |first: u8| Uuid::from_bytes([first; 16]);
        let held = |role: Uuid| AccessAssignment {
            name: crate::rbac::AssignmentName::new(role),
            scope: crate::rbac::arm_scope::ArmScope::parse("/").unwrap(),
            role,
            principal: crate::id::PrincipalId::new(role),
            holder: crate::ports::azure_access::HolderKind::ServicePrincipal,
            condition: None,
            created_on: None,
            created_by: None,
        };
        let scopes: Vec<ScopeFacts> = scopes(3)
            .into_iter()
            .zip([0x00, 0x11, 0x33])
            .map(|(scope, id)| ScopeFacts {
                scope,
                assignments: Ok(vec![held(role(id))]),
                locks: Ok(Vec::new()),
            })
            .collect();
        let roles = questions.roles(&scopes, &[], |held| held.role != role(0)).await;
        assert!(roles[&role(0x11)].is_ok(), "{roles:?}");
        assert_eq!(roles[&role(0x33)], Err("it has no definition there".to_owned()));
        assert_eq!(roles.len(), 2);
    }
}
