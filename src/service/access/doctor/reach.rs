//! Whether the services answer, whether the clocks agree, and how old the bearer tokens are.

use super::azure::is_gone;
use super::facts::{BindingsFact, ClockFacts, DoctorFacts, TokenFacts};
use super::finding::{Finding, Mender};
use crate::ports::azure_access::DirectoryError;
use crate::ports::role_assignments::{AssignmentError, RejectionReason};
use crate::ports::secrets::{SecretError, SecretVersion};
use crate::service::tokens::{last_end, valid_by_label};
use std::time::Duration;
use time::OffsetDateTime;

/// Clocks that differ by more make times in records misleading.
const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(120);
/// A token that expires so soon should have a successor.
const EXPIRES_SOON: Duration = Duration::from_secs(30 * 24 * 3600);
/// A token that is older should be replaced.
const TOKEN_AGE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// What can be reached, and with what.
pub fn check_reach(facts: &DoctorFacts) -> Vec<Finding> {
    let mut findings = vec![tables(&facts.orders)];
    findings.extend(request_log(&facts.requests));
    findings.push(bindings(facts));
    findings.extend(azure(facts));
    findings.push(directory(&facts.directory));
    // The clock of a `local` is moved at will.
    findings.extend((!facts.is_simulated).then(|| clock(facts.clocks)));
    findings.extend(tokens(&facts.tokens, facts.clocks.tables));
    findings
}

/// The state was read; else there are no facts.
fn tables(orders: &Result<(), String>) -> Finding {
    match orders {
        Ok(()) => Finding::ok("tables", "the table of the state and that of the orders answer"),
        Err(error) => Finding::error("tables", "the table of orders cannot be read", error)
            .mend(Mender::AzureAdmin, "give the operator the data role on the table of orders"),
    }
}

/// It is the service that writes it; where it is missing, so are the refused requests.
fn request_log(requests: &Result<(), String>) -> Option<Finding> {
    let error = requests.as_ref().err()?;
    let finding = Finding::warning("tables", "the table of the request log cannot be read", error);
    Some(finding.mend(
        Mender::AzureAdmin,
        "deploy the templates of this release, which make the table, and give the operator a data role on it",
    ))
}

fn bindings(facts: &DoctorFacts) -> Finding {
    match &facts.bindings {
        BindingsFact::Known(bound) => Finding::ok(
            "bindings",
            format!(
                "roles are bound at {} scopes, and {} are retired",
                bound.roles.len(),
                bound.retired.len()
            ),
        ),
        BindingsFact::Absent => {
            Finding::warning("bindings", "no bindings were ever stored", "nothing is given")
                .mend(Mender::BackupAdmin, "deploy the service with a bindings.json")
        }
        BindingsFact::Unreadable => Finding::error(
            "bindings",
            "the active bindings cannot be read",
            "only people who leave lose roles",
        )
        .mend(Mender::Operator, "start the release that stored the bindings"),
    }
}

/// By what the scopes answered.
fn azure(facts: &DoctorFacts) -> Vec<Finding> {
    let read = facts.scopes.iter().filter(|scope| scope.assignments.is_ok()).count();
    let is_silent =
        facts.scopes.iter().all(|scope| matches!(scope.assignments, Err(AssignmentError::Unknown { .. })));
    let mut findings = Vec::new();
    for scope in &facts.scopes {
        let Err(error) = &scope.assignments else { continue };
        let finding = match error {
            error if is_gone(error) => {
                Finding::error("azure", "the scope does not exist in Azure", "nothing can be given there")
                    .mend(Mender::BackupAdmin, "correct the scope of the binding")
            }
            AssignmentError::Rejected { reason: RejectionReason::NotAuthorized, .. } => Finding::not_checked(
                "azure",
                "this login may not read the role assignments",
                error.to_string(),
            )
            .mend(Mender::AzureAdmin, "give the operator Reader there"),
            _ if is_silent => {
                Finding::error("azure", "Azure Resource Manager does not answer", error.to_string())
            }
            _ => Finding::not_checked("azure", "the role assignments could not be read", error.to_string()),
        };
        findings.push(finding.at(&scope.scope));
    }
    if read > 0 {
        findings.push(Finding::ok("azure", format!("Azure Resource Manager answers for {read} scopes")));
    }
    findings
}

fn directory(answer: &Result<(), DirectoryError>) -> Finding {
    match answer {
        Ok(()) => Finding::ok("graph", "Microsoft Graph answers"),
        Err(error) => Finding::warning("graph", "Microsoft Graph cannot be read", error.to_string()).mend(
            Mender::IdentityAdmin,
            "let the operator read the directory; the service itself does not need it",
        ),
    }
}

fn clock(clocks: ClockFacts) -> Finding {
    let difference = clocks.here - clocks.tables;
    let seconds = difference.whole_seconds();
    let size = Duration::from_secs(seconds.unsigned_abs());
    if size <= CLOCK_DIFFERENCE_MAX {
        return Finding::ok(
            "clock",
            format!("this machine's clock is {} s off that of the tables", size.as_secs()),
        );
    }
    let direction = if seconds > 0 { "ahead of" } else { "behind" };
    let what = format!("this machine's clock is {} s {direction} that of the tables", size.as_secs());
    Finding::warning("clock", what, "times that commands of this machine count back from now are off")
        .mend(Mender::Operator, "set the clock of this machine")
}

/// By label, as the service chooses among the versions.
fn tokens(facts: &TokenFacts, now: OffsetDateTime) -> Vec<Finding> {
    let refused = "every SCIM request is refused";
    let replace = "make another one (`token new`), and enter it in the identity provider";
    let versions = match facts {
        TokenFacts::Read(versions) => versions,
        TokenFacts::NoVault => {
            return vec![Finding::not_checked(
                "tokens",
                "the bearer tokens",
                "no vault is known here: KEY_VAULT_URL is not set, or a `local` is asked",
            )];
        }
        TokenFacts::Failed(error @ SecretError::Missing { .. }) => {
            let finding = Finding::error("tokens", error.to_string(), refused);
            return vec![finding.mend(Mender::Operator, replace)];
        }
        TokenFacts::Failed(error) => {
            let finding = Finding::not_checked("tokens", "the bearer tokens", error.to_string());
            return vec![match error {
                SecretError::Refused { .. } => {
                    finding.mend(Mender::AzureAdmin, "let the operator list the secrets of the vault")
                }
                _ => finding,
            }];
        }
    };
    let valid = valid_by_label(versions, now);
    if valid.is_empty() {
        let finding = Finding::error("tokens", "no bearer token is valid now", refused);
        return vec![finding.mend(Mender::Operator, replace)];
    }
    let old = valid.iter().filter_map(|(label, versions)| {
        let (what, why) = old_token(label, versions, now)?;
        Some(Finding::warning("tokens", what, why).mend(Mender::Operator, replace))
    });
    let old: Vec<Finding> = old.collect();
    let number = valid.values().map(Vec::len).sum::<usize>();
    let what = format!("bearer tokens that are enabled and in time: {number} (their values are not read)");
    let ok = || Finding::ok("tokens", what);
    if old.is_empty() { vec![ok()] } else { old }
}

/// What is wrong with the age of the valid tokens of one label.
fn old_token(label: &str, versions: &[&SecretVersion], now: OffsetDateTime) -> Option<(String, String)> {
    let newest = versions.iter().map(|version| version.created).max()?;
    match last_end(versions.iter().map(|version| version.expires)) {
        Some(end) if end < now + EXPIRES_SOON => Some((
            format!("the last bearer token of the label {label} expires on {}", end.date()),
            "then its SCIM requests are refused".to_owned(),
        )),
        _ if newest + TOKEN_AGE_MAX < now => Some((
            format!(
                "the newest bearer token of the label {label} is {} days old",
                (now - newest).whole_days()
            ),
            "it should be replaced once a year".to_owned(),
        )),
        _ => None,
    }
}
