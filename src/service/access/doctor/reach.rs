//! Whether the services answer, whether the clocks agree, and how old the bearer tokens are.

use super::facts::{BindingsFact, ClockFacts, DoctorFacts, ServiceIdentity, TokenFacts};
use super::finding::{Finding, Mender};
use crate::ports::azure_access::DirectoryError;
use crate::ports::role_assignments::{AssignmentError, RejectionReason};
use crate::ports::secrets::SecretVersion;
use std::time::Duration;
use time::OffsetDateTime;

/// Clocks that differ by more make times in records misleading.
const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(120);
/// A token that expires so soon should have a successor.
const EXPIRES_SOON: Duration = Duration::from_secs(30 * 24 * 3600);
/// A token that is older should be replaced.
const TOKEN_AGE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// What can be reached, and with what.
pub fn judge(facts: &DoctorFacts) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("tables", "the tables answer"), bindings(facts)];
    findings.extend(azure(facts));
    findings.push(directory(&facts.directory));
    findings.push(clock(facts.clocks));
    findings.push(tokens(&facts.tokens, facts.clocks.tables));
    findings.extend(identity(&facts.identity));
    findings
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
    let mut findings = Vec::new();
    for scope in &facts.scopes {
        let Err(error) = &scope.assignments else { continue };
        let finding = match error {
            AssignmentError::Rejected { reason: RejectionReason::ScopeNotFound, .. } => {
                Finding::error("azure", "the scope does not exist in Azure", "nothing can be given there")
                    .mend(Mender::BackupAdmin, "correct the scope of the binding")
            }
            AssignmentError::Rejected { reason: RejectionReason::NotAuthorized, .. } => Finding::not_checked(
                "azure",
                "this login may not read the role assignments",
                error.to_string(),
            )
            .mend(Mender::AzureAdmin, "give the operator Reader there"),
            _ => Finding::error("azure", "Azure Resource Manager does not answer", error.to_string()),
        };
        findings.push(finding.at(&scope.scope));
    }
    let read = facts.scopes.iter().filter(|scope| scope.assignments.is_ok()).count();
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

fn tokens(facts: &TokenFacts, now: OffsetDateTime) -> Finding {
    let versions = match facts {
        TokenFacts::NoVault => {
            return Finding::not_checked("tokens", "the bearer tokens", "KEY_VAULT_URL is not set here");
        }
        TokenFacts::Failed(error) => {
            return Finding::not_checked("tokens", "the bearer tokens", error.to_string())
                .mend(Mender::AzureAdmin, "let the operator list the secrets of the vault");
        }
        TokenFacts::Read(versions) => versions,
    };
    let is_valid = |version: &&SecretVersion| {
        version.enabled
            && version.not_before.is_none_or(|from| from <= now)
            && version.expires.is_none_or(|until| now < until)
    };
    let valid: Vec<&SecretVersion> = versions.iter().filter(is_valid).collect();
    let replace = "add a version of the secret (infra/new-token.sh), and enter it in the identity provider";
    let Some(newest) = valid.iter().map(|version| version.created).max() else {
        return Finding::error("tokens", "no bearer token is valid now", "every SCIM request is refused")
            .mend(Mender::Operator, replace);
    };
    let age = (now - newest).whole_days();
    let last =
        valid.iter().map(|version| version.expires).max_by_key(|until| (until.is_none(), *until)).flatten();
    match last {
        Some(until) if until < now + EXPIRES_SOON => {
            let what = format!("the last bearer token expires on {}", until.date());
            Finding::warning("tokens", what, "then every SCIM request is refused")
                .mend(Mender::Operator, replace)
        }
        _ if newest + TOKEN_AGE_MAX < now => {
            let what = format!("the newest bearer token is {age} days old");
            Finding::warning("tokens", what, "it should be replaced once a year")
                .mend(Mender::Operator, replace)
        }
        _ => Finding::ok(
            "tokens",
            format!("{} bearer tokens are valid, the newest {age} days old", valid.len()),
        ),
    }
}

fn identity(identity: &ServiceIdentity) -> Option<Finding> {
    let told = |how: &str, id| Finding::ok("identity", format!("the service is {id} ({how})"));
    Some(match identity {
        ServiceIdentity::Named(id) => told("as named", id),
        ServiceIdentity::MadeOurs(id) => told("it made the assignments of the ledger", id),
        ServiceIdentity::OnlyHolder(id) => {
            told("it alone holds a right to give roles at the scopes of the bindings", id)
        }
        ServiceIdentity::Unknown { candidates } if candidates.is_empty() => return None,
        ServiceIdentity::Unknown { candidates } => {
            let ids: Vec<String> = candidates.iter().map(ToString::to_string).collect();
            let why = format!("these may give roles at the scopes of the bindings: {}", ids.join(", "));
            Finding::warning("identity", "which Entra object the service is, is not known", why)
                .mend(Mender::Operator, "name it with --identity, or SERVICE_PRINCIPAL_ID")
        }
    })
}
