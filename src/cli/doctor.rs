//! `doctor`: whether this installation is in order, and what it can do at most. Reads with the operator's own rights, and changes
//! nothing.

use crate::cli::exit::{EXIT_DEPENDENCY, EXIT_FINDINGS};
use crate::cli::json_line::json_line;
use crate::cli::operator::{OperatorArguments, OperatorError, active_bindings, run_command};
use crate::cli::progress::Progress;
use crate::cli::short_scope::ShortScopes;
use crate::error_chain::escape_control;
use crate::id::PrincipalId;
use crate::rbac::arm_scope::ArmScope;
use crate::service::access::doctor::damage::{DamageReach, GreatestDamage, ReachedRoles, joined, plural};
use crate::service::access::doctor::facts::DoctorFacts;
use crate::service::access::doctor::finding::{Finding, Level};
use crate::service::access::doctor::gather::{DoctorReaders, gather};
use crate::service::access::doctor::{Diagnosis, examine};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::process::ExitCode;

/// What no reading of assignments at the scopes shows.
const NOT_SEEN: &str = "Not seen: rights through Entra groups, rights that are only eligible (Privileged Identity Management), \
                        deny assignments, what other tenants gave (Azure Lighthouse), subscriptions other than those of the bindings and the ledger, \
                        and what only the running service knows (/healthz with a token): requests set aside, people at the \
                        limit of groups, bindings that are full, and a bundled bindings.json that is broken.";
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
            orders: &access.orders,
            requests: &access.requests,
            is_simulated: arguments.operator.is_local(),
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
            true => writeln!(out, "{}", json_line(&to_json(&diagnosis, &facts)))?,
            false => write_text(&mut out, &diagnosis)?,
        }
        Ok(ExitCode::from(exit_code(&diagnosis)))
    })
}

/// Where Azure showed nothing at all, that no finding was made says nothing.
fn exit_code(diagnosis: &Diagnosis) -> u8 {
    match (diagnosis.has_findings(), diagnosis.is_azure_unread) {
        (true, _) => EXIT_FINDINGS,
        (false, true) => EXIT_DEPENDENCY,
        (false, false) => 0,
    }
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
    let Diagnosis { damage, findings, .. } = diagnosis;
    let short = ShortScopes::of(places(damage).chain(findings.iter().flat_map(|finding| &finding.at)));
    writeln!(out, "{}\n{NOT_SEEN}", sentence(damage, &short))?;
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
    let GreatestDamage { unknown, is_partial, give, take, acts } = damage;
    if let Some(why) = unknown {
        return format!("What this service can do at most is not known: {why}.");
    }
    let given = match roles_at(give, short) {
        Some(roles) => format!("give {roles}, and below, to {}", plural(&give.kinds)),
        None => "give no role".to_owned(),
    };
    let taken = match roles_at(take, short) {
        Some(roles) => format!("take {roles}, and below, away from {}", plural(&take.kinds)),
        None => "take none away".to_owned(),
    };
    let partial = if *is_partial { ", as far as could be read" } else { "" };
    let own = acts
        .iter()
        .map(|(verbs, scopes)| format!("{} at {}", verbs.join(", "), listed(scopes.iter(), short)));
    let own: Vec<String> = own.collect();
    let own = if own.is_empty() {
        String::new()
    } else {
        format!(" Its own roles let it act on backups: {}, and below.", own.join("; "))
    };
    let is_open = give.roles.keys().any(|roles| matches!(roles, ReachedRoles::AnyBut(_)));
    let custom = if is_open { ", unless a custom role that it can give leads further" } else { "" };
    format!(
        "At most, this service can {given}; and {taken}. It can give and take nothing else{custom}{partial}.{own}"
    )
}

/// The roles, each with its scopes; `None` where there are none.
fn roles_at(reach: &DamageReach, short: &ShortScopes) -> Option<String> {
    let clauses = reach.by_scopes().into_iter().map(|(roles, scopes)| {
        let roles: Vec<String> = roles.iter().map(|role| escape_control(&role.to_string())).collect();
        format!("{} at {}", joined(&roles), listed(scopes.iter(), short))
    });
    let clauses: Vec<String> = clauses.collect();
    (!clauses.is_empty()).then(|| clauses.join(", "))
}

fn places(damage: &GreatestDamage) -> impl Iterator<Item = &ArmScope> {
    damage.give.roles.values().chain(damage.take.roles.values()).chain(damage.acts.values()).flatten()
}

fn to_json(diagnosis: &Diagnosis, facts: &DoctorFacts) -> Value {
    let Diagnosis { damage, findings, .. } = diagnosis;
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
    let known = |value: Value| if damage.unknown.is_some() { Value::Null } else { value };
    let acts: Vec<Value> =
        damage.acts.iter().map(|(verbs, at)| json!({ "verbs": verbs, "scopes": texts(at) })).collect();
    json!({
        "identity": facts.identity.id().map(|id| id.to_string()),
        "atMost": sentence(damage, &ShortScopes::of(places(damage))),
        "notSeen": NOT_SEEN,
        "anyRoleAt": known(json!(texts(damage.give.any_role_at()))), "given": known(json!(reach_json(&damage.give))),
        "to": known(json!(damage.give.kinds)),
        "anyRoleTakenAt": known(json!(texts(damage.take.any_role_at()))),
        "taken": known(json!(reach_json(&damage.take))), "from": known(json!(damage.take.kinds)), "acts": known(json!(acts)),
        "isPartial": damage.is_partial, "findings": findings,
    })
}

/// The roles that are named, by their scopes.
fn reach_json(reach: &DamageReach) -> Vec<Value> {
    let mut all = Vec::new();
    for (roles, scopes) in reach.by_scopes() {
        let named: Vec<&String> = roles
            .into_iter()
            .filter_map(|role| match role {
                ReachedRoles::One(name) => Some(name),
                ReachedRoles::Any | ReachedRoles::AnyBut(_) => None,
            })
            .collect();
        if !named.is_empty() {
            all.push(json!({ "roles": named, "scopes": texts(scopes) }));
        }
    }
    all
}

fn texts<'a>(scopes: impl IntoIterator<Item = &'a ArmScope>) -> Vec<&'a str> {
    scopes.into_iter().map(ArmScope::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::access::doctor::finding::Mender;
    use std::collections::{BTreeMap, BTreeSet};

    const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/a";

    fn reach(roles: &[(ReachedRoles, &[&str])], kinds: &[&'static str]) -> DamageReach {
        let scopes = |at: &[&str]| -> BTreeSet<ArmScope> {
            at.iter()
                .map(|name| ArmScope::parse(&format!("{GROUP}/providers/X/vaults/{name}")).unwrap())
                .collect()
        };
        let roles: BTreeMap<_, _> = roles.iter().map(|(role, at)| (role.clone(), scopes(at))).collect();
        DamageReach { roles, kinds: kinds.iter().copied().collect() }
    }

    #[track_caller]
    fn check(damage: GreatestDamage, expected: &str) {
        assert_eq!(sentence(&damage, &ShortScopes::of(places(&damage))), expected);
    }

    fn one(role: &str) -> ReachedRoles {
        ReachedRoles::One(role.to_owned())
    }

    #[test]
    fn the_sentence_names_what_can_be_given_and_taken_everywhere() {
        check(
            GreatestDamage::default(),
            "At most, this service can give no role; and take none away. It can give and take nothing else.",
        );
        check(
            GreatestDamage {
                is_partial: true,
                give: reach(&[(one("Backup Operator"), &["west"])], &["User"]),
                take: reach(&[(one("Backup Operator"), &["east", "west"])], &["Group", "User"]),
                ..GreatestDamage::default()
            },
            "At most, this service can give Backup Operator at west, and below, to users; and take Backup Operator at \
             east and west, and below, away from users and groups. It can give and take nothing else, as far as could \
             be read.",
        );
        let all = ["User", "ServicePrincipal", "Group", "ForeignGroup"];
        check(
            GreatestDamage {
                give: reach(&[(one("Backup Operator"), &["a"]), (ReachedRoles::Any, &["b"])], &all),
                take: reach(&[(ReachedRoles::AnyBut(vec!["Owner".to_owned()]), &["a"])], &all),
                ..GreatestDamage::default()
            },
            "At most, this service can give ANY role, Owner included, at b, Backup Operator at a, and below, to anyone; \
             and take ANY role but Owner at a, and below, away from anyone. It can give and take nothing else.",
        );
        check(
            GreatestDamage {
                give: reach(&[(ReachedRoles::AnyBut(vec!["Owner".to_owned()]), &["a"])], &["User"]),
                acts: BTreeMap::from([(
                    vec!["restore", "delete-data"],
                    reach(&[(one("x"), &["b"])], &[]).roles[&one("x")].clone(),
                )]),
                ..GreatestDamage::default()
            },
            "At most, this service can give ANY role but Owner at a, and below, to users; and take none away. It can give and \
             take nothing else, unless a custom role that it can give leads further. Its own roles let it act on backups: \
             restore, delete-data at b, and below.",
        );
        check(
            GreatestDamage { unknown: Some("no such thing"), ..GreatestDamage::default() },
            "What this service can do at most is not known: no such thing.",
        );
    }

    #[test]
    fn that_nothing_was_found_is_no_success_where_nothing_was_read() {
        let diagnosis = |is_azure_unread, findings| Diagnosis {
            damage: GreatestDamage::default(),
            is_azure_unread,
            findings,
        };
        assert_eq!(exit_code(&diagnosis(false, Vec::new())), 0);
        assert_eq!(exit_code(&diagnosis(true, vec![Finding::ok("tables", "x")])), EXIT_DEPENDENCY);
        assert_eq!(exit_code(&diagnosis(true, vec![Finding::warning("graph", "x", "y")])), EXIT_FINDINGS);
    }

    #[test]
    fn what_others_wrote_is_text() {
        let hostile = "x\u{1b}[2J\u{202e}\n";
        let scope = ArmScope::parse(&format!("{GROUP}/\u{202e}")).unwrap();
        let finding = Finding::warning("locks", hostile, hostile).at(scope).mend(Mender::Operator, hostile);
        let damage = GreatestDamage {
            give: reach(&[(one(hostile), &["\u{202e}"])], &["User"]),
            ..GreatestDamage::default()
        };
        let mut out = Vec::new();
        write_text(&mut out, &Diagnosis { damage, is_azure_unread: false, findings: vec![finding] }).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches(r"x\u{1b}[2J\u{202e}\u{a}").count(), 4, "{text}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
}
