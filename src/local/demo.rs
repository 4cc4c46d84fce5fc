//! The demo: a short day of an identity provider over real HTTP, and after each step who holds which backup role where.
//! The output is read from the simulated Azure and the ledger, never from what the demo expects.

use super::running::RunningLocal;
use crate::bindings::{Bindings, PrincipalSource, Selector};
use crate::id::PrincipalId;
use crate::ports::ids::IdSource;
use crate::rbac::BackupRole;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Why the demo stopped.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("no answer from {url}")]
    NoAnswer { url: String, source: reqwest::Error },
    #[error("the demo needs a binding whose group has an externalId or a displayName")]
    NothingBound,
    #[error("{method} {url} was answered {status}: {detail}")]
    Answer { method: Method, url: String, status: u16, detail: String },
}

/// How many assignments Azure lacks, and how many it holds beyond what should be held.
pub struct DriftCount {
    pub missing: usize,
    pub extra: usize,
}

/// Principal, role, scope in lower case.
type Grant = (String, &'static str, String);

struct Demo<'a> {
    http: Client,
    ids: &'a dyn IdSource,
    base_url: &'a str,
    token: &'a str,
    arm_url: String,
    control_url: String,
    bindings: &'a Bindings,
    names: BTreeMap<String, String>,
}

/// Plays the day, prints it, and ends with the check.
pub async fn play(running: &RunningLocal) -> Result<DriftCount, DemoError> {
    let mut demo = Demo {
        http: Client::new(),
        ids: running.service.store.ids.as_ref(),
        base_url: &running.base_url,
        token: &running.token,
        arm_url: running.simulator.arm_url(),
        control_url: running.simulator.control_url(),
        bindings: &running.bindings,
        names: BTreeMap::new(),
    };
    demo.day().await?;
    demo.check().await
}

#[expect(clippy::print_stdout, reason = "the demo is what it prints")]
impl Demo<'_> {
    async fn day(&mut self) -> Result<(), DemoError> {
        let mut groups = Vec::new();
        for binding in &self.bindings.bindings {
            groups.extend(self.group(&binding.selector).await?);
        }
        let Some(operators) = groups.first().cloned() else { return Err(DemoError::NothingBound) };
        let readers = groups.get(1).unwrap_or(&operators).clone();
        let night = groups.get(3).unwrap_or(&operators).clone();
        let ana = self.user("ana").await?;
        let ben = self.user("ben").await?;
        let cleo = self.user("cleo").await?;
        self.show("Three people arrive. Nobody is in a group: nobody holds anything").await?;
        self.members("add", &operators, &[&ana, &ben]).await?;
        self.members("add", &readers, &[&cleo]).await?;
        self.show("Ana and Ben join the first bound group, Cleo the second").await?;
        self.members("add", &night, &[&ana]).await?;
        self.show("Ana joins a group that gives the same role at the same scope: nothing changes in Azure")
            .await?;
        self.members("remove", &operators, &[&ana, &ben]).await?;
        self.show(
            "Ana and Ben leave the first group: Ben's role goes, Ana keeps hers through the other group",
        )
        .await?;
        self.active(&cleo, false).await?;
        self.show("Cleo is deactivated: her membership stays, her role goes").await?;
        self.active(&cleo, true).await?;
        self.show("Cleo comes back: her role is there again").await?;
        self.call(Method::DELETE, &format!("{}/Users/{ana}", self.base_url), None).await?;
        self.show("Ana is deleted: every role of hers goes").await
    }

    async fn user(&mut self, name: &str) -> Result<String, DemoError> {
        let object_id = self.ids.random().to_string();
        let user_name = format!("{name}.{}@contoso.example", object_id.split('-').next().unwrap_or_default());
        let body = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", OWN_EXTENSION],
            "userName": user_name, "active": true, OWN_EXTENSION: {"entraObjectId": object_id},
        });
        let made = self.call(Method::POST, &format!("{}/Users", self.base_url), Some(body)).await?;
        self.names.insert(object_id, user_name);
        Ok(text(&made, "id"))
    }

    /// The group that a binding names: found, or made. One with a certain SCIM id cannot be made.
    async fn group(&self, selector: &Selector) -> Result<Option<String>, DemoError> {
        let attribute = selector.attribute();
        let value = selector.value();
        let url = format!("{}/Groups/.search", self.base_url);
        let search = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": format!("{attribute} eq {}", json!(value))});
        let found = self.call(Method::POST, &url, Some(search)).await?;
        if let Some(id) = found.pointer("/Resources/0/id").and_then(Value::as_str) {
            return Ok(Some(id.to_owned()));
        }
        if matches!(selector, Selector::Id(_)) {
            return Ok(None);
        }
        let mut body =
            json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": value});
        if let Some(map) = body.as_object_mut() {
            map.insert(attribute.to_owned(), json!(value));
        }
        let made = self.call(Method::POST, &format!("{}/Groups", self.base_url), Some(body)).await?;
        Ok(Some(text(&made, "id")))
    }

    async fn members(&self, op: &str, group: &str, users: &[&String]) -> Result<(), DemoError> {
        let values: Vec<Value> = users.iter().map(|user| json!({"value": user})).collect();
        let operation = json!({"op": op, "path": "members", "value": values});
        self.patch(&format!("{}/Groups/{group}", self.base_url), operation).await
    }

    async fn active(&self, user: &str, active: bool) -> Result<(), DemoError> {
        let operation = json!({"op": "replace", "path": "active", "value": active});
        self.patch(&format!("{}/Users/{user}", self.base_url), operation).await
    }

    async fn patch(&self, url: &str, operation: Value) -> Result<(), DemoError> {
        let body =
            json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]});
        self.call(Method::PATCH, url, Some(body)).await.map(|_| ())
    }

    async fn call(&self, method: Method, url: &str, body: Option<Value>) -> Result<Value, DemoError> {
        let no_answer = |source| DemoError::NoAnswer { url: url.to_owned(), source };
        let mut request = self.http.request(method.clone(), url).bearer_auth(self.token);
        if let Some(body) = body {
            request = request.header("content-type", "application/scim+json").body(body.to_string());
        }
        let answer = request.send().await.map_err(no_answer)?;
        let status = answer.status();
        let text = answer.text().await.map_err(no_answer)?;
        if !status.is_success() {
            return Err(DemoError::Answer {
                method,
                url: url.to_owned(),
                status: status.as_u16(),
                detail: text,
            });
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// The ledger, after a tick has finished what a slow Azure may have left.
    async fn ledger(&self) -> Result<Vec<Value>, DemoError> {
        self.call(Method::POST, &format!("{}/tick", self.control_url), None).await?;
        let ledger = self.call(Method::GET, &format!("{}/ledger", self.control_url), None).await?;
        Ok(list(&ledger, "assignments"))
    }

    async fn show(&self, step: &str) -> Result<(), DemoError> {
        let ledger = self.ledger().await?;
        let held = self.azure().await?;
        println!("\n{step}\n  {:<32} {:<20} {:<10} why", "who", "role", "where");
        for (name, (principal, role, scope)) in &held {
            let entry = ledger.iter().find(|entry| text(entry, "assignment") == *name);
            let why = entry.map_or("not ours".to_owned(), bindings_of);
            let who = self.names.get(principal).unwrap_or(principal);
            println!("  {who:<32} {role:<20} {:<10} {why}", scope.rsplit('/').next().unwrap_or_default());
        }
        if held.is_empty() {
            println!("  (nobody)");
        }
        Ok(())
    }

    /// Every assignment of a backup role at exactly a bound scope, by name.
    async fn azure(&self) -> Result<BTreeMap<String, Grant>, DemoError> {
        let mut held = BTreeMap::new();
        for scope in self.bindings.scopes() {
            let path =
                "providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01&$filter=atScope()";
            let mut next = Some(format!("{}{scope}/{path}", self.arm_url));
            while let Some(url) = next {
                let page = self.call(Method::GET, &url, None).await?;
                held.extend(list(&page, "value").iter().filter_map(|item| assignment(item, scope.folded())));
                next = page.get("nextLink").and_then(Value::as_str).map(str::to_owned);
            }
        }
        Ok(held)
    }

    /// What should be held, worked out anew from what SCIM answers and the bindings file.
    async fn expected(&self) -> Result<BTreeSet<Grant>, DemoError> {
        let mut expected = BTreeSet::new();
        for binding in &self.bindings.bindings {
            let Some(group) = self.group(&binding.selector).await? else { continue };
            let group = self.call(Method::GET, &format!("{}/Groups/{group}", self.base_url), None).await?;
            for member in list(&group, "members") {
                let user = self
                    .call(Method::GET, &format!("{}/Users/{}", self.base_url, text(&member, "value")), None)
                    .await?;
                let applies = binding.condition.as_ref().is_none_or(|filter| filter.matches(&user));
                if let Some(object_id) =
                    self.object_id(&user).filter(|_| applies && user.get("active") == Some(&json!(true)))
                {
                    expected.insert((object_id, binding.role.name(), binding.scope.folded().to_owned()));
                }
            }
        }
        Ok(expected)
    }

    /// A person's Entra object id, from the attribute that the bindings name.
    fn object_id(&self, user: &Value) -> Option<String> {
        self.bindings.principal_from.iter().find_map(|source| {
            let id = match source {
                PrincipalSource::EntraObjectId => user.get(OWN_EXTENSION)?.get("entraObjectId"),
                PrincipalSource::ExternalId => user.get("externalId"),
            };
            Some(PrincipalId::parse(id?.as_str()?).ok()?.to_string())
        })
    }

    async fn check(&self) -> Result<DriftCount, DemoError> {
        let ledger = self.ledger().await?;
        let held = self.azure().await?;
        let expected = self.expected().await?;
        let ours: BTreeSet<String> = ledger.iter().map(|entry| text(entry, "assignment")).collect();
        let all: BTreeSet<&Grant> = held.values().collect();
        let missing = expected.iter().filter(|grant| !all.contains(grant)).count();
        let extra =
            held.iter().filter(|(name, grant)| ours.contains(*name) && !expected.contains(*grant)).count();
        if missing + extra == 0 {
            println!("\nChecked: Azure holds exactly what should be held ({} assignments).", expected.len());
        }
        Ok(DriftCount { missing, extra })
    }
}

const OWN_EXTENSION: &str = "urn:ietf:params:scim:schemas:extension:azurebackup:2.0:User";

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn list(value: &Value, name: &str) -> Vec<Value> {
    value.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn bindings_of(entry: &Value) -> String {
    let names: Vec<String> =
        list(entry, "bindings").iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    format!("binding {}", names.join(", "))
}

fn assignment(item: &Value, scope: &str) -> Option<(String, Grant)> {
    let properties = item.get("properties")?;
    if !text(properties, "scope").eq_ignore_ascii_case(scope) {
        return None;
    }
    let definition = text(properties, "roleDefinitionId");
    let definition = uuid::Uuid::try_parse(definition.rsplit('/').next()?).ok()?;
    let role = BackupRole::from_definition(definition)?;
    Some((text(item, "name"), (text(properties, "principalId"), role.name(), scope.to_owned())))
}
