//! The drill from outside: what an identity provider does with a leaver, over SCIM, and what Azure says then.
//!
//! The service takes it for ordinary provisioning: leaver and group carry no mark. Both are deleted at the end, however it went,
//! and what an earlier run left is deleted first.

use super::arguments::Arguments;
use super::words::moment;
use crate::app::{ScimClient, ScimClientError, ScimReply, SystemClock};
use crate::cli::exit::EXIT_FINDINGS;
use crate::cli::json_line::json_line;
use crate::cli::operator::OperatorError;
use crate::cli::progress::Progress;
use crate::config;
use crate::error_chain::{ErrorChain, escape_control};
use crate::id::PrincipalId;
use crate::ports::clock::Clock;
use crate::ports::role_assignments::RoleAssignments;
use crate::rbac::{BackupRole, Scope};
use crate::service::drill::{FROM_OUTSIDE, leaves_body};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// How long a grant may take, and a revocation: as long as one that is not overdue, by default.
const WAIT: Duration = Duration::from_secs(15 * 60);
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long Azure is given for one list.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// Where the answer about a user has its grants.
const GRANTS: &str = "/urn:ietf:params:scim:schemas:extension:azurebackup:2.0:User/grants";

/// Why a drill is red.
struct Red {
    phase: &'static str,
    reason: String,
}

/// Ends a drill early.
enum Stop {
    Red(Red),
    Failed(OperatorError),
}

impl From<ScimClientError> for Stop {
    fn from(error: ScimClientError) -> Self {
        Self::Failed(OperatorError::Scim(error))
    }
}

/// One drill.
struct Outside<'a> {
    scim: ScimClient,
    principal: PrincipalId,
    group: &'a str,
    /// Azure, where the operator's settings lead to it.
    azure: Option<Arc<dyn RoleAssignments>>,
    clock: SystemClock,
    progress: Progress,
    times: Vec<(&'static str, OffsetDateTime)>,
}

/// What the drill made, as SCIM ids.
#[derive(Default)]
struct Made {
    user: Option<String>,
    group: Option<String>,
}

/// The role that the leaver was granted.
struct Granted {
    scope: String,
    role: String,
}

pub(super) async fn run(arguments: &Arguments) -> Result<ExitCode, OperatorError> {
    let variables = config::environment();
    let token = config::drill::token(&variables).map_err(OperatorError::Setting)?;
    let principal = match arguments.principal.as_deref() {
        Some(text) => PrincipalId::parse(text).map_err(|error| OperatorError::Usage(error.to_string()))?,
        None => config::drill::principal(&variables).map_err(OperatorError::Setting)?,
    };
    let url = arguments.scim.as_deref().unwrap_or_default();
    let mut outside = Outside {
        scim: ScimClient::new(url, token).map_err(OperatorError::Scim)?,
        principal,
        group: &arguments.group,
        azure: arguments.operator.assignments().ok(),
        clock: SystemClock::new(),
        progress: Progress::begin("seconds of the drill", 1),
        times: Vec::new(),
    };
    let mut made = Made::default();
    let ended = outside.play(&mut made).await;
    let removed = outside.remove(&made).await;
    outside.progress.end();
    let red = match (ended, removed) {
        (Err(Stop::Failed(error)), _) | (Ok(()), Err(Stop::Failed(error))) => return Err(error),
        (Err(Stop::Red(red)), _) | (Ok(()), Err(Stop::Red(red))) => Some(red),
        (Ok(()), Ok(())) => None,
    };
    outside.print(red.as_ref(), arguments.json)?;
    Ok(if red.is_none() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FINDINGS) })
}

impl Outside<'_> {
    async fn play(&mut self, made: &mut Made) -> Result<(), Stop> {
        self.remove_earlier().await?;
        let user = FROM_OUTSIDE.user_body(self.principal);
        made.user = Some(created("user-made", self.scim.post("/Users", &user).await?)?);
        let id = made.user.clone().unwrap_or_default();
        let group = FROM_OUTSIDE.group_body(self.group, &id);
        self.note("grant sent");
        made.group = Some(created("group-made", self.scim.post("/Groups", &group).await?)?);
        let granted = self.until_held(&id).await?;
        self.note("grant held");
        self.until_azure("granted", &granted, true).await?;
        self.note("revocation sent");
        fine("deactivated", &self.scim.patch(&format!("/Users/{id}"), &leaves_body()).await?)?;
        self.until_gone(&id).await?;
        self.note("revocation gone");
        self.until_azure("deactivated", &granted, false).await
    }

    fn note(&mut self, what: &'static str) {
        self.times.push((what, self.clock.now()));
    }

    /// Waits until a look finds something. What it sees meanwhile is why the drill is red where it never does.
    async fn until<T>(
        &self,
        phase: &'static str,
        mut look: impl AsyncFnMut() -> Result<Result<T, String>, Stop>,
    ) -> Result<T, Stop> {
        let began = self.clock.monotonic();
        loop {
            let why = match look().await? {
                Ok(found) => return Ok(found),
                Err(why) => why,
            };
            let passed = self.clock.monotonic().saturating_sub(began);
            if passed >= WAIT {
                return Err(Stop::Red(Red { phase, reason: why }));
            }
            self.progress.show(usize::try_from(passed.as_secs()).unwrap_or_default());
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// What the service says of the leaver.
    async fn grants(&self, user: &str) -> Result<Vec<Value>, Stop> {
        let reply = self.scim.get(&format!("/Users/{user}?attributes=grants")).await?;
        fine("group-made", &reply)?;
        Ok(reply.body.pointer(GRANTS).and_then(Value::as_array).cloned().unwrap_or_default())
    }

    async fn until_held(&self, user: &str) -> Result<Granted, Stop> {
        self.until("group-made", async || {
            let grants = self.grants(user).await?;
            let is_held = |grant: &&Value| is(grant, "holds") && is(grant, "settled");
            Ok(match grants.iter().find(is_held) {
                Some(grant) => Ok(Granted { scope: text(grant, "scope"), role: text(grant, "role") }),
                None => Err(grants.first().map_or_else(
                    || "no binding gives the group anything".to_owned(),
                    |grant| text(grant, "reason"),
                )),
            })
        })
        .await
    }

    async fn until_gone(&self, user: &str) -> Result<(), Stop> {
        self.until("deactivated", async || {
            let grants = self.grants(user).await?;
            let left = grants.iter().find(|grant| is(grant, "holds") || !is(grant, "settled"));
            Ok(match left {
                None => Ok(()),
                Some(left) => Err(text(left, "reason")),
            })
        })
        .await
    }

    /// Asks Azure itself, where the operator's settings lead to it.
    async fn until_azure(&mut self, phase: &'static str, granted: &Granted, holds: bool) -> Result<(), Stop> {
        let scope = Scope::parse(&granted.scope).ok();
        let (Some(azure), Some(scope), Some(role)) = (&self.azure, scope, BackupRole::parse(&granted.role))
        else {
            return Ok(());
        };
        let principal = self.principal;
        self.until(phase, async || {
            let listed = azure.list(&scope, LIST_TIMEOUT).await;
            Ok(match listed {
                Err(error) => Err(ErrorChain(&error).to_string()),
                Ok(all) => {
                    let is_it = all.iter().any(|held| held.principal == principal && held.role == role);
                    if is_it == holds { Ok(()) } else { Err("azure-differs".to_owned()) }
                }
            })
        })
        .await?;
        self.note(if holds { "grant seen in Azure" } else { "revocation gone in Azure" });
        Ok(())
    }

    /// What a run that was killed left. The names are reserved, and the object id is that of the drill's own leaver.
    async fn remove_earlier(&self) -> Result<(), Stop> {
        let mut made = Made::default();
        let principal = self.principal.to_string();
        for (path, name, value, external_id) in [
            ("/Groups", "displayName", FROM_OUTSIDE.group, self.group),
            ("/Users", "userName", FROM_OUTSIDE.leaver, &principal),
        ] {
            let query = format!("{path}?filter={}", encoded(&format!("{name} eq \"{value}\"")));
            let reply = self.scim.get(&query).await?;
            fine("begun", &reply)?;
            let found = reply.body.pointer("/Resources/0");
            let Some(found) = found else { continue };
            if text(found, "externalId") != external_id {
                return Err(Stop::Red(Red { phase: "begun", reason: "name-taken".to_owned() }));
            }
            let id = Some(text(found, "id"));
            if path == "/Groups" { made.group = id } else { made.user = id }
        }
        self.remove(&made).await
    }

    /// Deletes the group and the leaver.
    async fn remove(&self, made: &Made) -> Result<(), Stop> {
        let paths = [
            made.group.as_ref().map(|id| format!("/Groups/{id}")),
            made.user.as_ref().map(|id| format!("/Users/{id}")),
        ];
        for path in paths.into_iter().flatten() {
            let reply = self.scim.delete(&path).await?;
            if reply.status != 404 {
                fine("removing", &reply)?;
            }
        }
        Ok(())
    }

    fn print(&self, red: Option<&Red>, json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let asked = self.azure.is_some();
        if json {
            let times = self.times.iter().map(|(what, time)| json!({ "what": what, "time": moment(*time) }));
            let line = json!({
                "state": if red.is_none() { "green" } else { "red" },
                "phase": red.map(|red| red.phase), "reason": red.map(|red| &red.reason),
                "times": times.collect::<Vec<_>>(), "askedAzure": asked,
            });
            return writeln!(out, "{}", json_line(&line));
        }
        let how = red.map_or_else(
            || "green".to_owned(),
            |red| format!("red in phase {}: {}", red.phase, escape_control(&red.reason)),
        );
        writeln!(out, "drill from outside: {how}")?;
        for (what, time) in &self.times {
            writeln!(out, "  {}  {what}", moment(*time))?;
        }
        if !asked {
            writeln!(
                out,
                "  Azure itself was not asked: the settings of the tables are needed to log in there"
            )?;
        }
        Ok(())
    }
}

/// The id of what was created.
fn created(phase: &'static str, reply: ScimReply) -> Result<String, Stop> {
    fine(phase, &reply)?;
    Ok(text(&reply.body, "id"))
}

/// What the service refuses makes the drill red; a wrong token, or no service, does not.
fn fine(phase: &'static str, reply: &ScimReply) -> Result<(), Stop> {
    if reply.is_success() {
        return Ok(());
    }
    let detail = text(&reply.body, "detail");
    let said = format!("SCIM answered {}: {detail}", reply.status);
    Err(match reply.status {
        401 | 403 => Stop::Failed(OperatorError::Usage(format!("{said}; is DRILL_SCIM_TOKEN right?"))),
        _ => Stop::Red(Red { phase, reason: said }),
    })
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn is(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or_default()
}

/// A filter, as a query takes it.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
