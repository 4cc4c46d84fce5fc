//! How the set is kept fresh: one task loads, at its own pace or when an unknown token is shown, and wakes all who
//! wait. Guessing tokens cannot flood the vault: loads on demand are rate-limited.

use crate::backoff::Backoff;
use crate::events::log_event;
use crate::ports::clock::Clock;
use crate::ports::ids::IdSource;
use crate::ports::secrets::{SecretError, SecretSource};
use crate::service::rate_limit::RateLimiter;
use crate::service::tokens::expiry::ExpiryLog;
use crate::service::tokens::set::{TokenEntry, TokenSet, choose, is_mislabelled};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// From the beginning of one scheduled load to that of the next. A token that was disabled is promised to stop
/// within five minutes: that leaves room for the spread, for a list that takes ten seconds, and for two that fail.
const EVERY: Duration = Duration::from_secs(240);
/// The longest pause after failures, and the longest Retry-After of a vault that is heeded.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The pauses after failures.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), PAUSE_MAX);
/// Loads that can be asked for at once.
const BUCKET: f64 = 10.0;
/// How long until one more can be asked for.
const REFILL: Duration = Duration::from_secs(10);

/// A load that ended. Loads are numbered as they begin.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LoadAttempt {
    pub(super) number: u64,
    /// How long to wait before asking again, where it did not succeed.
    pub(super) failed: Option<Duration>,
}

/// Where the tokens come from, and who waits for them.
pub(super) struct TokenRefresher {
    secrets: Arc<dyn SecretSource>,
    name: String,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    begun: AtomicU64,
    wanted: AtomicU64,
    asked: Notify,
    ended: watch::Sender<LoadAttempt>,
}

impl TokenRefresher {
    pub(super) fn new(
        secrets: Arc<dyn SecretSource>,
        name: String,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Self {
        let ended = watch::Sender::new(LoadAttempt::default());
        Self {
            secrets,
            name,
            clock,
            ids,
            begun: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            asked: Notify::new(),
            ended,
        }
    }

    /// How many loads have begun by now: one that is numbered higher began later.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// Asks for a load that begins after `begun`, and hears of every one that ends.
    pub(super) fn ask(&self, begun: u64) -> watch::Receiver<LoadAttempt> {
        let ended = self.ended.subscribe();
        self.wanted.fetch_max(begun + 1, Ordering::SeqCst);
        self.asked.notify_one();
        ended
    }

    /// Loads for ever. `hold` is given each set that was loaded, and gives back the one that is held.
    pub(super) async fn run(&self, held: impl Fn() -> TokenSet, hold: impl Fn(TokenSet)) {
        let mut bucket = RateLimiter::new(BUCKET, 1.0 / REFILL.as_secs_f64());
        let mut pace = Pace { due: self.clock.monotonic(), failures: 0 };
        let mut expiry = ExpiryLog::default();
        let mut busy_until = pace.due;
        loop {
            let now = self.clock.monotonic();
            let on_time = now >= pace.due;
            if !on_time && self.wanted.load(Ordering::SeqCst) <= self.begun() {
                // Whichever comes first; the loop checks again.
                let _ = tokio::time::timeout(pace.due - now, self.asked.notified()).await;
                continue;
            }
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            if let Some(wait) = (!on_time).then(|| wait_of(busy_until, now, &mut bucket)).flatten() {
                self.ended.send_replace(LoadAttempt { number, failed: Some(wait) });
                continue;
            }
            let loaded = match self.load(&held(), &hold).await {
                // What could be read counts already. What could not be read may be the token that a caller shows.
                Ok((set, Some(error))) => {
                    hold(set);
                    Err(error)
                }
                Ok((set, None)) => Ok(set),
                Err(error) => Err(error),
            };
            let begun = now;
            let now = self.clock.monotonic();
            let failed = match loaded {
                Ok(set) if set.is_usable(self.clock.now()) => {
                    expiry.log(&set, self.clock.now());
                    hold(set);
                    pace = Pace { due: begun + self.spread(EVERY), failures: 0 };
                    None
                }
                // The vault answered, and no token is valid: an operator is about to put one there.
                Ok(set) => {
                    hold(set);
                    log_event!(NoUsableToken, "the vault holds no bearer token that is valid now");
                    pace.failed(on_time, now + self.pause(pace.failures, Duration::ZERO));
                    None
                }
                Err(error) => {
                    let pause = self.pause(pace.failures, asked_wait(&error));
                    pace.failed(on_time, now + pause);
                    let failures = pace.failures;
                    log_event!(TokensNotLoaded, error = %error, failures, "the bearer tokens could not be loaded");
                    if let SecretError::Throttled { .. } = error {
                        busy_until = now + pause;
                        pace.due = pace.due.max(busy_until);
                    }
                    Some(pause)
                }
            };
            self.ended.send_replace(LoadAttempt { number, failed });
        }
    }

    /// One list, and one read for each version whose value is not held yet. Returns the last failure of a value, too.
    ///
    /// What the list takes away is given to `hold` at once: the values of new versions may be slow to read.
    async fn load(
        &self,
        held: &TokenSet,
        hold: &impl Fn(TokenSet),
    ) -> Result<(TokenSet, Option<SecretError>), SecretError> {
        let versions = self.secrets.versions(&self.name).await?;
        let chosen = choose(&versions, self.clock.now());
        let kept = held.renewed(&chosen);
        if kept.0.len() < held.0.len() {
            hold(kept);
        }
        let mut set = TokenSet::default();
        let mut trouble = None;
        for version in chosen {
            if is_mislabelled(version) {
                let version = &version.id;
                log_event!(
                    TokenUnusable,
                    version,
                    "the label of a bearer token cannot be used: it counts as unlabelled"
                );
            }
            if let Some(entry) = held.0.iter().find(|entry| entry.version == version.id) {
                set.0.push(entry.renewed(version));
                continue;
            }
            let value = self.secrets.value(&self.name, &version.id).await;
            match value.map(|value| TokenEntry::new(version, &value)) {
                Ok(Ok(entry)) => set.0.push(entry),
                Ok(Err(error)) => {
                    log_event!(TokenUnusable, error = %error, version = version.id, "a version of the bearer token is not used");
                }
                Err(error) => trouble = Some(error),
            }
        }
        Ok((set, trouble))
    }

    /// Longer with each failure, and at least as long as a vault asks for.
    fn pause(&self, failures: u32, at_least: Duration) -> Duration {
        let growing = BACKOFF.pause(failures.saturating_add(1));
        self.spread(growing.max(at_least).min(PAUSE_MAX))
    }

    /// A tenth shorter or longer, so that instances do not load in step.
    fn spread(&self, time: Duration) -> Duration {
        time.mul_f64(0.9 + 0.2 * self.ids.jitter())
    }
}

/// A vault's own Retry-After.
fn asked_wait(error: &SecretError) -> Duration {
    match error {
        SecretError::Throttled { retry_after } => *retry_after,
        _ => Duration::ZERO,
    }
}

/// How long no load may be asked for: what a busy vault said, else what the rate limit says.
fn wait_of(busy_until: Duration, now: Duration, bucket: &mut RateLimiter) -> Option<Duration> {
    busy_until.checked_sub(now).filter(|wait| !wait.is_zero()).or_else(|| bucket.take_one(now))
}

/// When the next scheduled load is due.
struct Pace {
    due: Duration,
    /// Of loads that were due, in a row.
    failures: u32,
}

impl Pace {
    /// A load failed, and `again` is early enough for the next. A load on demand never defers a scheduled one: else
    /// callers who try again would keep the service from being well again.
    fn failed(&mut self, on_time: bool, again: Duration) {
        if on_time {
            self.failures = self.failures.saturating_add(1);
        }
        self.due = if on_time { again } else { self.due.min(again) };
    }
}
