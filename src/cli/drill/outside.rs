//! The drill from outside: what an identity provider does with a leaver, over SCIM, and what Azure says then.
//!
//! The service takes it for ordinary provisioning: leaver and group carry no mark. Both are deleted at the end, however it went,
//! and what an earlier run left is deleted first. What could not be deleted is printed.

use super::arguments::Arguments;
use super::removal::{Found, Left, Made, OwnResource, Removal, encoded, own_resources};
use super::reply::{ASK_EVERY, may_pass, said, text};
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
/// How long Azure is given for one list.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// A client has one of the names.
const NAME_TAKEN: &str = "name-taken";
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
    /// SCIM answered, so something of a drill may be there.
    is_reached: bool,
}

/// How a drill ended.
enum Ended {
    Green,
    Red(Red),
    Failed(OperatorError),
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
        is_reached: false,
    };
    let mut made = Made::default();
    let played = outside.play(&mut made).await;
    let left = if outside.is_reached {
        outside.removal().remove_all(&outside.own(), &made).await
    } else {
        Vec::new()
    };
    outside.progress.end();
    let ended = match (played, left.first()) {
        (Err(Stop::Failed(error)), _) => Ended::Failed(error),
        (Err(Stop::Red(red)), _) => Ended::Red(red),
        (Ok(()), Some(first)) => Ended::Red(Red { phase: "removing", reason: first.reason.clone() }),
        (Ok(()), None) => Ended::Green,
    };
    // Whatever failed, who reads this has to know what is left.
    if !matches!(ended, Ended::Failed(_)) || !left.is_empty() {
        outside.print(&ended, &left, arguments.json)?;
    }
    match ended {
        Ended::Green => Ok(ExitCode::SUCCESS),
        Ended::Red(_) => Ok(ExitCode::from(EXIT_FINDINGS)),
        Ended::Failed(error) => Err(error),
    }
}

impl Outside<'_> {
    async fn play(&mut self, made: &mut Made) -> Result<(), Stop> {
        self.remove_earlier().await?;
        self.group_is_free().await?;
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

    /// Another group with the same externalId would make its binding ambiguous.
    async fn group_is_free(&self) -> Result<(), Stop> {
        let filter = encoded(&format!("externalId eq {}", Value::from(self.group)));
        let reply = self.scim.get(&format!("/Groups?filter={filter}&attributes=id")).await?;
        fine("begun", &reply)?;
        match reply.body.pointer("/Resources/0") {
            None => Ok(()),
            Some(_) => Err(Stop::Red(Red { phase: "begun", reason: NAME_TAKEN.to_owned() })),
        }
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

    /// What the service says of the leaver, or why it says nothing now.
    async fn grants(&self, phase: &'static str, user: &str) -> Result<Result<Vec<Value>, String>, Stop> {
        let reply = self.scim.get(&format!("/Users/{user}?attributes=grants")).await?;
        if may_pass(&reply) {
            return Ok(Err(said(&reply)));
        }
        fine(phase, &reply)?;
        Ok(Ok(reply.body.pointer(GRANTS).and_then(Value::as_array).cloned().unwrap_or_default()))
    }

    async fn until_held(&self, user: &str) -> Result<Granted, Stop> {
        self.until("group-made", async || {
            let grants = match self.grants("group-made", user).await? {
                Ok(grants) => grants,
                Err(why) => return Ok(Err(why)),
            };
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
            let grants = match self.grants("deactivated", user).await? {
                Ok(grants) => grants,
                Err(why) => return Ok(Err(why)),
            };
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

    fn own(&self) -> [OwnResource; 2] {
        own_resources(self.principal, self.group)
    }

    const fn removal(&self) -> Removal<'_> {
        Removal { scim: &self.scim, clock: &self.clock }
    }

    /// What a run that was killed left. Where a client has one of the names, nothing is deleted before that is known.
    async fn remove_earlier(&mut self) -> Result<(), Stop> {
        let own = self.own();
        let mut made = Made::default();
        for (own, id) in own.iter().zip([&mut made.user, &mut made.group]) {
            let reply = own.ask_by_name(&self.scim).await?;
            fine("begun", &reply)?;
            self.is_reached = true;
            *id = match own.found_in(&reply) {
                Found::Nothing => None,
                Found::OfTheDrill(id) => Some(id),
                Found::OfAClient => {
                    return Err(Stop::Red(Red { phase: "begun", reason: NAME_TAKEN.to_owned() }));
                }
            };
        }
        match self.removal().remove_all(&own, &made).await.into_iter().next() {
            Some(left) => Err(Stop::Red(Red { phase: "begun", reason: left.reason })),
            None => Ok(()),
        }
    }

    fn print(&self, ended: &Ended, left: &[Left], json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let asked = self.azure.is_some();
        let (state, red) = match ended {
            Ended::Green => ("green", None),
            Ended::Red(red) => ("red", Some(red)),
            Ended::Failed(_) => ("failed", None),
        };
        if json {
            let times = self.times.iter().map(|(what, time)| json!({ "what": what, "time": moment(*time) }));
            let left = left.iter().map(|left| json!({ "what": left.what, "reason": left.reason }));
            let line = json!({
                "state": state, "phase": red.map(|red| red.phase), "reason": red.map(|red| &red.reason),
                "times": times.collect::<Vec<_>>(), "askedAzure": asked, "left": left.collect::<Vec<_>>(),
            });
            return writeln!(out, "{}", json_line(&line));
        }
        let how = red.map_or_else(
            || state.to_owned(),
            |red| format!("red in phase {}: {}", red.phase, escape_control(&red.reason)),
        );
        writeln!(out, "drill from outside: {how}")?;
        for (what, time) in &self.times {
            writeln!(out, "  {}  {what}", moment(*time))?;
        }
        for Left { what, reason } in left {
            let (what, reason) = (escape_control(what), escape_control(reason));
            writeln!(out, "  may be left: {what} ({reason}); delete it, or play the drill again")?;
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
    let said = said(reply);
    Err(match reply.status {
        401 | 403 => Stop::Failed(OperatorError::Usage(format!("{said}; is DRILL_SCIM_TOKEN right?"))),
        _ => Stop::Red(Red { phase, reason: said }),
    })
}

fn is(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or_default()
}
