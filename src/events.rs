//! The one table of log events: what a line means that an operator may have to act on. The name is the field `event` of the
//! line, and alerts and workbook ask for nothing else; no query reads a sentence.
//!
//! Warnings and errors are written by `log_event!` alone (`clippy.toml` forbids the macros of tracing for them), so none is
//! without a name, and the table decides how severe it is.

use std::fmt;
use tracing::Level;

macro_rules! events {
    ($($(#[doc = $meaning:literal])* $name:ident => $code:literal, $level:ident, $runbook:literal;)*) => {
        /// What happened, as the field `event` of a log line. Stable text.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Event {
            $($(#[doc = $meaning])* $name,)*
        }

        impl Event {
            /// Every event.
            pub const ALL: &'static [Event] = &[$(Event::$name,)*];

            /// The stable text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Event::$name => $code,)* }
            }

            /// How severe a line with it is. The Functions host reads it from the stream.
            pub const fn level(self) -> Level {
                match self { $(Event::$name => Level::$level,)* }
            }

            /// What it means.
            pub fn meaning(self) -> &'static str {
                match self { $(Event::$name => concat!($($meaning),*).trim_start(),)* }
            }

            /// The section of `docs/operate.md` that says what to do.
            pub const fn runbook(self) -> &'static str {
                match self { $(Event::$name => $runbook,)* }
            }
        }
    };
}

events! {
    /// People still hold what was taken from them more than 15 minutes ago.
    RevocationsOverdue => "revocations-overdue", ERROR, "overdue-revocations";
    /// A management lock, a missing right or a policy keeps a grant or a revocation from happening.
    ScopeBlocked => "scope-blocked", WARN, "a-scope-is-blocked";
    /// Azure refused a grant or a revocation for another reason, or gave no reliable answer. It is retried.
    StepFailed => "step-failed", WARN, "a-step-failed";
    /// The subscription holds as many role assignments as it can.
    SubscriptionFull => "subscription-full", ERROR, "role-assignments-run-out";
    /// A subscription has 80% of the role assignments that it can hold.
    QuotaNearlyUsed => "quota-nearly-used", WARN, "role-assignments-run-out";
    /// ARM gave no answer for a subscription: it is skipped until the next tick.
    SubscriptionSilent => "subscription-silent", WARN, "a-dependency-that-cannot-be-reached";
    /// Azure asked to wait.
    Throttled => "throttled", WARN, "a-step-failed";
    /// Too much was taken away, or given, at once: a batch waits for an operator.
    BreakerTripped => "breaker-tripped", ERROR, "breakers";
    /// A binding gives its role to as many people as it may, and others wait.
    BindingFull => "binding-full", ERROR, "a-binding-gives-nothing-new";
    /// A binding gives nothing new, for the reason in the line.
    BindingStuck => "binding-stuck", ERROR, "a-binding-gives-nothing-new";
    /// A bundled file of bindings waits for an operator's apply.
    BindingsPending => "bindings-pending", ERROR, "pending-bindings";
    /// The bindings that came with the program are not the active ones: missing, not stamped, broken or from the future.
    BindingsNotStored => "bindings-not-stored", ERROR, "bindings-are-not-stored";
    /// The active bindings cannot be read: only people who are gone or inactive are revoked.
    BindingsUnreadable => "bindings-unreadable", ERROR, "a-row-cannot-be-read";
    /// An order was carried out.
    OrderDone => "order-done", INFO, "orders";
    /// An order was refused.
    OrderRefused => "order-refused", ERROR, "an-order-was-refused";
    /// A row of the table of orders is no order, and was removed.
    OrderInvalid => "order-invalid", ERROR, "an-order-was-refused";
    /// A user reached the limit of groups, or of levels of groups in groups.
    GroupLimitReached => "group-limit-reached", ERROR, "a-limit-of-groups-was-reached";
    /// A role assignment that this service did not make gives access to backups.
    ForeignAccess => "foreign-access", WARN, "what-others-gave";
    /// Azure did not list the role assignments or the role definitions at a scope, or refused to.
    ScopeNotListed => "scope-not-listed", WARN, "a-scope-cannot-be-listed";
    /// A row of the queue, or a job, keeps failing. It is set aside and retried with growing pauses.
    RowSetAside => "row-set-aside", ERROR, "a-row-is-set-aside";
    /// One element of a job keeps failing and is left out of it.
    ElementSetAside => "element-set-aside", ERROR, "a-row-is-set-aside";
    /// A row cannot be read: only what it decides waits.
    RowUnreadable => "row-unreadable", ERROR, "a-row-cannot-be-read";
    /// Rows contradict each other: one is missing, or a count is wrong. It is repaired or left out.
    RowInconsistent => "row-inconsistent", ERROR, "a-row-cannot-be-read";
    /// A row of the request log was left out.
    RequestLogIncomplete => "request-log-incomplete", WARN, "a-row-cannot-be-read";
    /// What was sealed of the audit is not what the table or the container holds.
    AuditDamaged => "audit-damaged", ERROR, "verify-the-audit";
    /// The container has no other head of the audit any more.
    AuditForkEnded => "audit-fork-ended", INFO, "verify-the-audit";
    /// A head of the audit was taken from the container: the table is older, as after a restore.
    AuditHeadAdopted => "audit-head-adopted", WARN, "verify-the-audit";
    /// The container of the audit's heads is not reached.
    AuditHeadsAway => "audit-heads-away", WARN, "verify-the-audit";
    /// More groups share a value that a binding selects than are read.
    SelectorShared => "selector-shared", ERROR, "a-binding-gives-nothing-new";
    /// Requests without a valid bearer token were refused: their count since the last such line.
    RequestsUnauthorized => "requests-unauthorized", INFO, "requests-without-a-valid-token";
    /// Requests were refused because bearer tokens cannot be checked now.
    TokensUndecided => "tokens-undecided", WARN, "no-usable-token";
    /// The bearer tokens could not be loaded from the vault.
    TokensNotLoaded => "tokens-not-loaded", WARN, "no-usable-token";
    /// The vault holds no bearer token that is valid now.
    NoUsableToken => "no-usable-token", WARN, "no-usable-token";
    /// A version of the bearer token is not used, or counts as unlabelled.
    TokenUnusable => "token-unusable", WARN, "no-usable-token";
    /// The last bearer token of a label expires soon.
    TokenExpires => "token-expires", WARN, "a-token-is-about-to-expire";
    /// A request failed: a bug.
    RequestFailed => "request-failed", ERROR, "requests-fail";
    /// A request took too long and was given up.
    RequestTimedOut => "request-timed-out", ERROR, "requests-fail";
    /// A request cannot be carried out now: 503 with Retry-After.
    RequestDeferred => "request-deferred", WARN, "requests-fail";
    /// The client of a streamed list went away or stopped reading.
    ListNotRead => "list-not-read", WARN, "requests-fail";
    /// A request was answered: method, route, status, duration and the label of its token.
    RequestAnswered => "request-answered", INFO, "no-call-from-an-identity-provider";
    /// A dependency cannot be reached.
    DependencyUnreachable => "dependency-unreachable", WARN, "a-dependency-that-cannot-be-reached";
    /// A dependency is reached again.
    DependencyReached => "dependency-reached", INFO, "a-dependency-that-cannot-be-reached";
    /// A tick is done.
    TickDone => "tick-done", INFO, "no-tick";
    /// A tick ended early: the next one does what is left.
    TickEndedEarly => "tick-ended-early", WARN, "no-tick";
    /// Work failed or was given up for now, and is retried.
    WorkDeferred => "work-deferred", WARN, "work-is-deferred";
    /// Code panicked: a bug. What it did is taken up again.
    Panicked => "panicked", ERROR, "requests-fail";
    /// The settings are not in order: everything is answered with 503.
    SettingsInvalid => "settings-invalid", ERROR, "settings";
    /// Under `local`: the embedded store cannot be written.
    StoreNotWritable => "store-not-writable", ERROR, "health";
    /// The table was found empty, though the settings name an installation: the state was lost. Nothing is done until an operator
    /// restores it or begins anew.
    StateLost => "state-lost", ERROR, "the-state-was-lost";
    /// A restore of the state is not complete: nothing is done until it is.
    StateRestoring => "state-restoring", WARN, "the-state-was-lost";
    /// The state is of another installation than the setting INSTANCE_ID names: nothing is done.
    OtherInstallation => "other-installation", ERROR, "the-state-of-another-installation";
    /// The service goes on with the state that it waited for.
    StateFound => "state-found", INFO, "the-state-was-lost";
    /// The service is ready for requests.
    Ready => "ready", INFO, "logs";
    /// Azure answered a grant or a revocation. A revocation that is done has its three times.
    StepAnswered => "step-answered", INFO, "the-workbook";
    /// A grant or a revocation of a person waits, for another reason than before, or no longer.
    WaitChanged => "wait-changed", INFO, "the-workbook";
    /// A drill was red: the synthetic leaver was not granted, revoked and gone as it should.
    DrillRed => "drill-red", ERROR, "drills";
    /// Drills are set, and none was green for too long.
    DrillLate => "drill-late", ERROR, "drills";
    /// A drill was green. It has the times of its grant and of its revocation.
    DrillGreen => "drill-green", INFO, "drills";
    /// A sweep compared Azure with the ledger: scopes and differences.
    SweepDone => "sweep-done", INFO, "the-workbook";
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Writes a log line with an event: `log_event!(BreakerTripped, batch.id = %batch, "a breaker tripped")`.
macro_rules! log_event {
    ($event:ident, $($rest:tt)+) => {
        tracing::event!(
            $crate::events::Event::$event.level(),
            event = $crate::events::Event::$event.as_str(),
            $($rest)+
        )
    };
}
pub(crate) use log_event;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_in_the_form_of_reason_codes() {
        let names: BTreeSet<&str> = Event::ALL.iter().map(|event| event.as_str()).collect();
        assert_eq!(names.len(), Event::ALL.len());
        for event in Event::ALL {
            let name = event.as_str();
            assert!(name.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase()), "{name}");
            assert!(event.meaning().ends_with('.'), "{name}: {}", event.meaning());
        }
    }
}
