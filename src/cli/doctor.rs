//! `doctor`: whether this installation is in order, and what it can do at most. Reads with the operator's own rights, and changes
//! nothing.

use crate::cli::exit::EXIT_FINDINGS;
use crate::cli::operator::{OperatorArguments, OperatorError, active_bindings, run_command};
use crate::cli::progress::Progress;
use crate::cli::short_scope::ShortScopes;
use crate::error_chain::escape_control;
use crate::id::PrincipalId;
use crate::rbac::arm_scope::ArmScope;
use crate::service::access::doctor::facts::DoctorFacts;
use crate::service::access::doctor::finding::{Finding, Level};
use crate::service::access::doctor::gather::{DoctorReaders, gather};
use crate::service::access::doctor::rights::{GreatestDamage, joined, plural};
use crate::service::access::doctor::{Diagnosis, examine};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::ExitCode;

/// Scopes that one line names.
const SCOPES_SHOWN_MAX: usize = 5;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The Entra object id of the service. [default: SERVICE_PRINCIPAL_ID, else what made its assignments, else what alone may give
    /// roles at the scopes]
    #[arg(long, value_name = "OBJECT_ID")]
    identity: Option<String>,
    /// One object of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorArguments,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    run_command(async {
        let named = identity(arguments)?;
        let access = arguments.operator.access()?;
        let store = &access.store;
        let (reader, directory) = (arguments.operator.access_reader()?, arguments.operator.directory()?);
        let secrets = arguments.operator.secrets()?;
        let readers = DoctorReaders {
            store,
            access: reader.as_ref(),
            directory: directory.as_ref(),
            secrets: secrets.as_ref().map(|vault| (vault.secrets.as_ref(), vault.secret.as_str())),
        };
        let snapshot = active_bindings(store).read(&store.pointer().await?).await?;
        let progress = Progress::begin("reading scopes", 1);
        let facts = gather(&readers, &snapshot, named, &|number| progress.show(number)).await?;
        progress.end();
        let diagnosis = examine(&facts);
        let mut out = io::stdout().lock();
        match arguments.json {
            true => writeln!(out, "{}", to_json(&diagnosis, &facts))?,
            false => write_text(&mut out, &diagnosis)?,
        }
        Ok(if diagnosis.has_findings() { ExitCode::from(EXIT_FINDINGS) } else { ExitCode::SUCCESS })
    })
}

/// The argument, else the setting.
fn identity(arguments: &Arguments) -> Result<Option<PrincipalId>, OperatorError> {
    match &arguments.identity {
        None => arguments.operator.service_principal(),
        Some(text) => match PrincipalId::parse(text) {
            Ok(id) => Ok(Some(id)),
            Err(_) => {
                let shown = escape_control(text);
                Err(OperatorError::Usage(format!("--identity {shown:?} is no object id (a GUID)")))
            }
        },
    }
}

fn write_text(out: &mut impl Write, diagnosis: &Diagnosis) -> io::Result<()> {
    let Diagnosis { damage, findings } = diagnosis;
    let places = damage.any_role_at.iter().chain(damage.roles.values().flatten());
    let short = ShortScopes::of(places.chain(findings.iter().flat_map(|finding| &finding.at)));
    writeln!(out, "{}", sentence(damage, &short))?;
    let mut level = None;
    for finding in findings {
        if level.replace(finding.level) != Some(finding.level) {
            writeln!(out, "\n{}", heading(finding.level))?;
        }
        write_finding(out, finding, &short)?;
    }
    Ok(())
}

const fn heading(level: Level) -> &'static str {
    match level {
        Level::Error => "errors",
        Level::Warning => "warnings",
        Level::NotChecked => "not checked",
        Level::Ok => "ok",
    }
}

fn write_finding(out: &mut impl Write, finding: &Finding, short: &ShortScopes) -> io::Result<()> {
    let Finding { check, what, at, why, mend, .. } = finding;
    let places = if at.is_empty() { String::new() } else { format!(", at {}", listed(at.iter(), short)) };
    writeln!(out, "  {check}: {}{places}", escape_control(what))?;
    if let Some(why) = why {
        writeln!(out, "    why: {}", escape_control(why))?;
    }
    if let Some((who, how)) = mend {
        writeln!(out, "    {}: {}", who.as_str(), escape_control(how))?;
    }
    Ok(())
}

fn listed<'a>(scopes: impl ExactSizeIterator<Item = &'a ArmScope>, short: &ShortScopes) -> String {
    let more = scopes.len().saturating_sub(SCOPES_SHOWN_MAX);
    let mut names: Vec<String> = scopes.take(SCOPES_SHOWN_MAX).map(|scope| short.name(scope)).collect();
    names.extend((more > 0).then(|| format!("{more} more")));
    joined(&names)
}

/// The greatest damage.
fn sentence(damage: &GreatestDamage, short: &ShortScopes) -> String {
    let GreatestDamage { is_unknown, is_partial, any_role_at, roles, kinds } = damage;
    let partial = if *is_partial { ", as far as could be read" } else { "" };
    if *is_unknown {
        return "What this service can do at most is not known: which Entra object it is, is not known."
            .to_owned();
    }
    if !any_role_at.is_empty() {
        let places = listed(any_role_at.iter(), short);
        return format!(
            "At most, this service can give ANY role, Owner included, at {places} and below{partial}."
        );
    }
    if roles.is_empty() {
        return format!("At most, this service can give nothing{partial}.");
    }
    let given = damage.by_scopes().into_iter().map(|(scopes, roles)| {
        let roles: Vec<String> = roles.iter().map(|role| escape_control(role)).collect();
        format!("{} at {}", joined(&roles), listed(scopes.iter(), short))
    });
    // Users first.
    let kinds: Vec<&str> = kinds.iter().rev().copied().collect();
    format!(
        "At most, this service can give {}, and below, to {}, and nothing else{partial}.",
        given.collect::<Vec<_>>().join(", "),
        plural(&kinds)
    )
}

fn to_json(diagnosis: &Diagnosis, facts: &DoctorFacts) -> Value {
    let Diagnosis { damage, findings } = diagnosis;
    let texts = |scopes: &BTreeSet<ArmScope>| -> Vec<String> {
        scopes.iter().map(|scope| scope.as_str().to_owned()).collect()
    };
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let at: Vec<&str> = finding.at.iter().map(ArmScope::as_str).collect();
            let (who, how) = finding.mend.as_ref().map(|(who, how)| (who.as_str(), how)).unzip();
            json!({
                "level": finding.level.as_str(), "check": finding.check, "what": finding.what, "at": at,
                "why": finding.why, "who": who, "how": how,
            })
        })
        .collect();
    let all = damage.any_role_at.iter().chain(damage.roles.values().flatten());
    let given: Vec<Value> = damage
        .by_scopes()
        .into_iter()
        .map(|(scopes, roles)| json!({ "roles": roles, "scopes": texts(scopes) }))
        .collect();
    json!({
        "identity": facts.identity.id().map(|id| id.to_string()),
        "atMost": sentence(damage, &ShortScopes::of(all)),
        "anyRoleAt": texts(&damage.any_role_at),
        "given": given, "to": damage.kinds, "isPartial": damage.is_partial, "findings": findings,
    })
}
