//! Who may call. Bearer tokens are versions of a secret in a vault; only their hashes are held here.
//!
//! Our own trouble is never a 401: an identity provider that hears 401 stops provisioning, revocations included. So a token is
//! unknown only where a load that began after it arrived did not contain it; while there is no such load, it is undecided.

mod expiry;
mod refresh;
mod set;
mod versions;

pub use set::{TokenError, TokenSet, is_b64token, is_label as is_token_label};
pub(in crate::service) use set::{last_end, valid_by_label};
pub use versions::{TokenVersion, VersionStanding, token_versions};

use crate::ports::clock::Clock;
use crate::ports::ids::IdSource;
use crate::ports::secrets::SecretSource;
use refresh::TokenRefresher;
use set::{TokenHash, hash};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::timeout;

/// How long a request waits for tokens that are not there yet.
const WAIT: Duration = Duration::from_secs(5);
/// How long tokens are believed while no load succeeds.
const STALE_AFTER: Duration = Duration::from_secs(60 * 60);
/// How long an unknown token is remembered as such.
const DENIED_FOR: Duration = Duration::from_secs(60);
/// Unknown tokens that are remembered; beyond them all are forgotten, which costs loads out of the bucket only.
const DENIED_MAX: usize = 10_000;

/// What a presented token is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenVerdict {
    /// It is one of ours.
    Known { label: String },
    /// It is none of ours, as far as the vault knows.
    Unknown,
    /// It cannot be decided now.
    Unavailable { retry_after: Duration },
}

/// The health of the tokens, for the operator on call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHealth {
    pub state: TokenState,
    /// When the last token of some label runs out.
    pub runs_out: Option<OffsetDateTime>,
    /// Days since the newest token of each label was made, the most of those. None where tokens are fixed.
    pub age_days: Option<i64>,
}

/// Whether callers can be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    Usable,
    /// Nothing has been loaded since the start.
    NotLoaded,
    /// The vault holds no token that is valid now.
    Empty,
    /// The last load is too long ago.
    Stale,
}

impl TokenState {
    /// The word that the health check uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            TokenState::Usable => "usable",
            TokenState::NotLoaded => "not loaded",
            TokenState::Empty => "none that is valid",
            TokenState::Stale => "stale",
        }
    }
}

/// The tokens of one installation.
pub struct BearerTokens {
    held: Mutex<Option<Held>>,
    denied: Mutex<HashMap<TokenHash, Duration>>,
    clock: Arc<dyn Clock>,
    refresher: Option<TokenRefresher>,
}

struct Held {
    set: TokenSet,
    loaded: Duration,
    loaded_at: OffsetDateTime,
}

impl BearerTokens {
    /// Tokens that never change.
    pub fn fixed(set: TokenSet, clock: Arc<dyn Clock>) -> Self {
        let tokens = Self { held: Mutex::default(), denied: Mutex::default(), clock, refresher: None };
        tokens.hold(set);
        tokens
    }

    /// The versions of secret `name`. Nothing is loaded before [`BearerTokens::keep_fresh`] runs.
    pub fn from_vault(
        secrets: Arc<dyn SecretSource>,
        name: String,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Self {
        let refresher = Some(TokenRefresher::new(secrets, name, clock.clone(), ids));
        Self { held: Mutex::default(), denied: Mutex::default(), clock, refresher }
    }

    /// Loads and reloads for ever; returns at once where the tokens are fixed.
    pub async fn keep_fresh(&self) {
        if let Some(refresher) = &self.refresher {
            let held = || lock(&self.held).as_ref().map(|held| held.set.clone()).unwrap_or_default();
            refresher.run(held, |set| self.hold(set)).await;
        }
    }

    /// Whether a token is among those that are held. Loads nothing, and so may not know one that is new.
    pub fn is_held(&self, presented: &str) -> bool {
        matches!(self.check_hash(&hash(presented)), Ok(Some(_)))
    }

    /// What a token is worth. Waits for a load where it must, at most five seconds.
    pub async fn check(&self, presented: &str) -> TokenVerdict {
        let hash = hash(presented);
        let begun = self.refresher.as_ref().map_or(0, TokenRefresher::begun);
        match (self.check_hash(&hash), &self.refresher) {
            (Ok(Some(label)), _) => TokenVerdict::Known { label },
            (Ok(None), None) => TokenVerdict::Unknown,
            (Ok(None), Some(_)) if self.is_denied(&hash) => TokenVerdict::Unknown,
            (_, None) => TokenVerdict::Unavailable { retry_after: WAIT },
            (_, Some(refresher)) => timeout(WAIT, self.check_fresh(refresher, &hash, begun))
                .await
                .unwrap_or(TokenVerdict::Unavailable { retry_after: WAIT }),
        }
    }

    /// Waits until a load shows the token, or one that began after `begun` has ended.
    async fn check_fresh(&self, refresher: &TokenRefresher, hash: &TokenHash, begun: u64) -> TokenVerdict {
        let mut ended = refresher.ask(begun);
        loop {
            let attempt = *ended.borrow_and_update();
            match self.check_hash(hash) {
                Ok(Some(label)) => return TokenVerdict::Known { label },
                _ if attempt.number <= begun => {}
                Ok(None) if attempt.failed.is_none() => {
                    self.deny(*hash);
                    return TokenVerdict::Unknown;
                }
                _ => return TokenVerdict::Unavailable { retry_after: attempt.failed.unwrap_or(WAIT) },
            }
            if ended.changed().await.is_err() {
                return TokenVerdict::Unavailable { retry_after: WAIT };
            }
        }
    }

    /// How the tokens are.
    pub fn health(&self) -> TokenHealth {
        let state = match self.check_hash(&TokenHash::default()) {
            Ok(_) => TokenState::Usable,
            Err(state) => state,
        };
        let held = lock(&self.held);
        let (set, now) = (held.as_ref().map(|held| &held.set), self.clock.now());
        let runs_out = set.and_then(|set| set.runs_out(now));
        let made = set.filter(|_| self.refresher.is_some()).and_then(|set| set.made(now));
        TokenHealth { state, runs_out, age_days: made.map(|made| (now - made).whole_days()) }
    }

    /// The label of a token, as far as what is held can be believed.
    fn check_hash(&self, hash: &TokenHash) -> Result<Option<String>, TokenState> {
        let now = self.clock.now();
        let held = lock(&self.held);
        let held = held.as_ref().ok_or(TokenState::NotLoaded)?;
        // The monotonic clock may stand still while a machine is paused, the wall clock may be set back.
        let age = self
            .clock
            .monotonic()
            .saturating_sub(held.loaded)
            .max((now - held.loaded_at).try_into().unwrap_or_default());
        if self.refresher.is_some() && age > STALE_AFTER {
            return Err(TokenState::Stale);
        }
        if !held.set.is_usable(now) {
            return Err(TokenState::Empty);
        }
        Ok(held.set.label_of(hash, now).map(str::to_owned))
    }

    fn hold(&self, set: TokenSet) {
        let held = Held { set, loaded: self.clock.monotonic(), loaded_at: self.clock.now() };
        *lock(&self.held) = Some(held);
    }

    fn is_denied(&self, hash: &TokenHash) -> bool {
        lock(&self.denied).get(hash).is_some_and(|until| self.clock.monotonic() < *until)
    }

    fn deny(&self, hash: TokenHash) {
        let now = self.clock.monotonic();
        let mut denied = lock(&self.denied);
        if denied.len() >= DENIED_MAX {
            denied.retain(|_, until| now < *until);
        }
        if denied.len() >= DENIED_MAX {
            denied.clear();
        }
        denied.insert(hash, now + DENIED_FOR);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
