//! A clock that moves only when the test moves it.

use azure_backup_scim::ports::clock::Clock;
use futures_util::future::BoxFuture;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;

/// Clones are the same clock.
#[derive(Clone)]
pub struct ManualClock {
    start: OffsetDateTime,
    passed: Arc<watch::Sender<Duration>>,
    /// What the wall clock was set by, beside the time that passed.
    set_by: Arc<Mutex<time::Duration>>,
    /// Until when a task sleeps, where the test moves the clock meanwhile.
    asleep: Arc<watch::Sender<Option<Duration>>>,
    moves: Arc<AtomicBool>,
}

impl ManualClock {
    pub fn at(rfc3339: &str) -> Self {
        Self::starting(OffsetDateTime::parse(rfc3339, &Rfc3339).expect("an RFC 3339 time"))
    }

    pub fn starting(start: OffsetDateTime) -> Self {
        let passed = watch::Sender::new(Duration::ZERO);
        let asleep = watch::Sender::new(None);
        let set_by = Arc::default();
        let moves = Arc::default();
        Self { start, passed: Arc::new(passed), set_by, asleep: Arc::new(asleep), moves }
    }

    /// Both the wall clock and the monotonic time move.
    pub fn advance(&self, by: Duration) {
        self.passed.send_modify(|passed| *passed += by);
    }

    /// From now on a sleep lasts until the test has moved the clock so far.
    pub fn let_sleep(&self) {
        self.moves.store(true, Ordering::SeqCst);
    }

    /// Waits until a task sleeps whose time has not come.
    pub async fn sleeper_waits(&self) {
        let now = self.monotonic();
        let mut asleep = self.asleep.subscribe();
        asleep.wait_for(|until| until.is_some_and(|until| until > now)).await.unwrap();
    }

    /// Only the wall clock moves, ahead or back: it was set, or the machine was suspended.
    pub fn set_wall(&self, by: time::Duration) {
        *self.set_by.lock().unwrap() += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        self.start + self.monotonic() + *self.set_by.lock().unwrap()
    }

    fn monotonic(&self) -> Duration {
        *self.passed.borrow()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if self.moves.load(Ordering::SeqCst) {
                let until = self.monotonic() + duration;
                let mut passed = self.passed.subscribe();
                self.asleep.send_replace(Some(until));
                passed.wait_for(|passed| *passed >= until).await.unwrap();
            }
        })
    }
}
