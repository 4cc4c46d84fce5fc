//! Whether each dependency is reached, as far as this process tried. It decides nothing: it is for health and the log.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A service that this one calls over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependency {
    Tables,
    KeyVault,
    Arm,
    /// The identity endpoint of the Functions app.
    Identity,
}

impl Dependency {
    pub const ALL: [Self; 4] = [Self::Tables, Self::KeyVault, Self::Arm, Self::Identity];

    /// What [`as_str`](Self::as_str) names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dependency| dependency.as_str() == text)
    }

    /// Its name in health and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tables => "tables",
            Self::KeyVault => "keyVault",
            Self::Arm => "arm",
            Self::Identity => "identity",
        }
    }
}

/// Why an attempt reached no dependency, or something else in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnreachableKind {
    NameNotFound,
    Refused,
    CertificateNotTrusted,
    CertificateExpired,
    CertificateForAnotherName,
    TimedOut,
    /// The connection broke, or TLS could not be agreed on.
    Broken,
    /// An answer came that no service of Azure gives: a proxy, a sign-in page, another program on the port.
    NotAzure,
}

impl UnreachableKind {
    pub const ALL: [Self; 8] = [
        Self::NameNotFound,
        Self::Refused,
        Self::CertificateNotTrusted,
        Self::CertificateExpired,
        Self::CertificateForAnotherName,
        Self::TimedOut,
        Self::Broken,
        Self::NotAzure,
    ];

    /// Its name in health and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NameNotFound => "name-not-found",
            Self::Refused => "connection-refused",
            Self::CertificateNotTrusted => "certificate-not-trusted",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateForAnotherName => "certificate-for-another-name",
            Self::TimedOut => "timed-out",
            Self::Broken => "connection-broken",
            Self::NotAzure => "not-azure",
        }
    }

    /// The same in words, as part of an error.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::NameNotFound => "its name is not found",
            Self::Refused => "the connection is refused",
            Self::CertificateNotTrusted => "its certificate is not trusted",
            Self::CertificateExpired => "its certificate has expired, or is not valid yet",
            Self::CertificateForAnotherName => "its certificate is for another name",
            Self::TimedOut => "no answer in time",
            Self::Broken => "the connection broke",
            Self::NotAzure => "the answer is not Azure's",
        }
    }

    /// What [`as_str`](Self::as_str) names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether it can happen with this dependency. The identity endpoint is plain http at an address, and in the place of a
    /// certificate there is nothing to be wrong.
    pub fn can_occur(self, with: Dependency) -> bool {
        match self {
            Self::NameNotFound
            | Self::CertificateNotTrusted
            | Self::CertificateExpired
            | Self::CertificateForAnotherName => with != Dependency::Identity,
            Self::Refused | Self::TimedOut | Self::Broken | Self::NotAzure => true,
        }
    }

    /// Whether one attempt is enough to know it. The others happen to a call now and then, and are news when they last.
    fn is_certain(self) -> bool {
        matches!(
            self,
            Self::NameNotFound
                | Self::CertificateNotTrusted
                | Self::CertificateExpired
                | Self::CertificateForAnotherName
        )
    }

    /// Whether it passes by itself, unless it lasts.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::TimedOut | Self::Broken)
    }
}

/// A dependency that is not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreachable {
    pub kind: UnreachableKind,
    /// For how long.
    pub lasts: Duration,
}

/// What changed with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectivityChange {
    Lost,
    /// It was not reached for so long.
    Back(Duration),
}

/// What is known of one dependency, by the monotonic clock.
#[derive(Debug, Clone, Copy)]
struct Attempts {
    last: Duration,
    /// How many failed since it last answered, and when the first of them did.
    failures: u32,
    failing_since: Duration,
    /// The kind that was reported: it is known not to be reached. And when that was.
    reported: Option<UnreachableKind>,
    reported_at: Duration,
}

/// So many attempts in a row that failed are no chance.
const FAILURES_IN_A_ROW: u32 = 3;
/// Nor are failures for so long, however few.
const FAILING_FOR: Duration = Duration::from_secs(30);
/// What was found out longer ago says nothing about now. (Work that waits for a dependency tries again within the hour, and then it
/// is known again.)
pub const KNOWN_FOR: Duration = Duration::from_secs(15 * 60);

/// The latest attempts with each dependency.
#[derive(Debug, Default)]
pub struct Connectivity(Mutex<BTreeMap<Dependency, Attempts>>);

impl Connectivity {
    /// Keeps how an attempt ended, at a moment of the monotonic clock. A dependency is lost when it is certain that it is not reached:
    /// what happens to one call among others changes nothing.
    pub fn record(
        &self,
        dependency: Dependency,
        failure: Option<UnreachableKind>,
        now: Duration,
    ) -> Option<ConnectivityChange> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.get(&dependency).copied();
        let none = Attempts { last: now, failures: 0, failing_since: now, reported: None, reported_at: now };
        let Some(kind) = failure else {
            all.insert(dependency, none);
            let lost = before.filter(|before| before.reported.is_some())?;
            return Some(ConnectivityChange::Back(now.saturating_sub(lost.failing_since)));
        };
        // A single failure of long ago is no part of this one; what was reported lasts until the dependency answers.
        let is_part = |before: &Attempts| before.reported.is_some() || before.last + KNOWN_FOR > now;
        let before = before.filter(|before| before.failures > 0 && is_part(before)).unwrap_or(none);
        let mut attempts = Attempts { last: now, failures: before.failures + 1, ..before };
        let lasts = now.saturating_sub(attempts.failing_since) >= FAILING_FOR;
        let is_lost = kind.is_certain() || attempts.failures >= FAILURES_IN_A_ROW || lasts;
        // A network that fails alternates between kinds: not each change is news.
        let is_settled = kind.is_certain() || now.saturating_sub(before.reported_at) >= FAILING_FOR;
        let is_news = is_lost && before.reported != failure && (before.reported.is_none() || is_settled);
        if is_news {
            (attempts.reported, attempts.reported_at) = (failure, now);
        }
        all.insert(dependency, attempts);
        is_news.then_some(ConnectivityChange::Lost)
    }

    /// What is known now: nothing of a dependency that was not called lately or whose failures are no news yet, and `None` of one
    /// that is reached.
    pub fn latest(&self, now: Duration) -> BTreeMap<Dependency, Option<Unreachable>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = |attempts: &Attempts| attempts.failures == 0 || attempts.reported.is_some();
        let known = all.iter().filter(|(_, attempts)| attempts.last + KNOWN_FOR > now && is_known(attempts));
        known
            .map(|(dependency, attempts)| {
                let lasts = now.saturating_sub(attempts.failing_since);
                (*dependency, attempts.reported.map(|kind| Unreachable { kind, lasts }))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_failure_among_successes_is_no_news_and_one_that_lasts_is() {
        let all = Connectivity::default();
        let arm = |failure, seconds| all.record(Dependency::Arm, failure, at(seconds));
        for second in 0..10 {
            let failure = (second % 2 == 0).then_some(UnreachableKind::Broken);
            assert_eq!(arm(failure, second), None);
            // One that failed just now is not said to be reached: another process may know better.
            let known = failure.is_none().then_some((Dependency::Arm, None));
            assert_eq!(all.latest(at(second)), known.into_iter().collect());
        }
        assert_eq!(arm(Some(UnreachableKind::TimedOut), 10), None);
        assert_eq!(arm(Some(UnreachableKind::TimedOut), 41), Some(ConnectivityChange::Lost));
        assert_eq!(arm(Some(UnreachableKind::TimedOut), 50), None);
        let lost = Unreachable { kind: UnreachableKind::TimedOut, lasts: at(90) };
        assert_eq!(all.latest(at(100)), [(Dependency::Arm, Some(lost))].into());
        assert_eq!(arm(None, 100), Some(ConnectivityChange::Back(at(90))));
        assert_eq!(all.latest(at(100)), [(Dependency::Arm, None)].into());
        assert_eq!(all.latest(at(100) + KNOWN_FOR), BTreeMap::new());
    }

    #[test]
    fn two_failures_far_apart_are_no_news() {
        let all = Connectivity::default();
        let arm = |seconds| all.record(Dependency::Arm, Some(UnreachableKind::TimedOut), at(seconds));
        assert_eq!(arm(0), None);
        assert_eq!(arm(86_400), None);
        assert_eq!(all.latest(at(86_400)), BTreeMap::new());
    }

    #[test]
    fn an_outage_that_was_reported_lasts_until_an_answer_however_rarely_it_is_tried() {
        let all = Connectivity::default();
        let arm = |failure, seconds| all.record(Dependency::Arm, failure, at(seconds));
        for second in 0..3 {
            arm(Some(UnreachableKind::Refused), second);
        }
        assert_eq!(arm(Some(UnreachableKind::Refused), 2000), None);
        assert!(all.latest(at(2000))[&Dependency::Arm].is_some());
        assert_eq!(arm(None, 4000), Some(ConnectivityChange::Back(at(4000))));
    }

    #[test]
    fn a_network_that_fails_in_turns_is_reported_now_and_then() {
        let all = Connectivity::default();
        let kinds = [UnreachableKind::TimedOut, UnreachableKind::Broken];
        let turns = (0..120).zip(kinds.into_iter().cycle());
        let news = turns.filter_map(|(second, kind)| all.record(Dependency::Arm, Some(kind), at(second)));
        assert!((2..=4).contains(&news.count()));
    }

    #[test]
    fn what_is_certain_is_news_at_once_and_so_is_another_kind() {
        let all = Connectivity::default();
        let vault = |kind, seconds| all.record(Dependency::KeyVault, Some(kind), at(seconds));
        assert_eq!(vault(UnreachableKind::CertificateExpired, 1), Some(ConnectivityChange::Lost));
        assert_eq!(vault(UnreachableKind::CertificateExpired, 2), None);
        assert_eq!(vault(UnreachableKind::CertificateNotTrusted, 3), Some(ConnectivityChange::Lost));
    }
}
