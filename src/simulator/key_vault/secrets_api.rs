//! Reading secrets: one version, the latest version, and the list of versions without values. Setting them: each time a
//! new version. Changing the attributes of a version.
//!
//! - `GET /secrets/{name}[/[{version}]]`
//! - `GET /secrets/{name}/versions[?maxresults=…]`, in pages, in no order that means anything
//! - `PUT /secrets/{name}`
//! - `PATCH /secrets/{name}/{version}`
//!
//! A version outside the window of `nbf` and `exp` is still returned: Key Vault does not enforce them on reads.

use super::vault_secret::{NewSecret, SecretUpdate, SecretVersion, secret_key};
use crate::simulator::answer::AzureAnswer;
use crate::simulator::errors::AzureError;
use crate::simulator::request::{CallMethod, NextLink, NotRecognised, ParsedRequest, ReceivedRequest};
use crate::simulator::services::AzureService;
use crate::simulator::state::AzureState;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Versions in a page where the caller does not ask for fewer, and the most that it can ask for.
const PAGE_VERSIONS_MAX: usize = 25;
/// The versions of the API whose answers look like these.
const API_VERSIONS: [&str; 5] = ["7.4", "7.5", "7.6", "2025-07-01", "2026-04-01"];

/// What a request asks for.
/// Facts: F-105.
#[derive(Debug, Clone)]
pub struct SecretOperation {
    name: String,
    wanted: Wanted,
    /// The address of the vault as the caller knows it.
    origin: String,
}

#[derive(Debug, Clone)]
enum Wanted {
    /// Facts: F-105.
    Latest,
    /// Facts: F-105.
    Version(String),
    /// Facts: F-041.
    Versions { after: Option<String>, count: usize, link: NextLink },
    /// Facts: F-169.
    Set(NewSecret),
    /// Facts: F-191.
    Update(String, SecretUpdate),
}

/// The body of a request that sets a secret.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SecretBody {
    value: String,
    content_type: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    attributes: Option<SecretAttributes>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretAttributes {
    enabled: Option<bool>,
    nbf: Option<i64>,
    exp: Option<i64>,
}

/// The body of a request that changes the attributes of a version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateBody {
    tags: Option<BTreeMap<String, String>>,
    attributes: Option<SecretAttributes>,
}

impl From<UpdateBody> for SecretUpdate {
    fn from(body: UpdateBody) -> Self {
        let SecretAttributes { enabled, nbf, exp } = body.attributes.unwrap_or_default();
        Self { enabled, nbf, exp, tags: body.tags }
    }
}

impl From<SecretBody> for NewSecret {
    fn from(body: SecretBody) -> Self {
        let SecretAttributes { enabled, nbf, exp } = body.attributes.unwrap_or_default();
        Self {
            value: body.value,
            content_type: body.content_type,
            tags: body.tags.unwrap_or_default(),
            nbf,
            exp,
            enabled: enabled.unwrap_or(true),
        }
    }
}

/// Reads a request.
/// Facts: F-045.
pub fn recognise(received: &ReceivedRequest) -> Result<ParsedRequest<SecretOperation>, NotRecognised> {
    let unknown = || NotRecognised::because(format!("{} of {}", received.verb, received.path));
    let path = received.path.strip_prefix("/secrets/");
    let (name, rest) = path.map(|path| path.split_once('/').unwrap_or((path, ""))).ok_or_else(unknown)?;
    let name = secret_key(name).map(|_| name.to_owned()).ok_or_else(unknown)?;
    check_version(received)?;
    let (method, wanted) = match (received.verb.as_str(), rest) {
        ("PUT", "") => (CallMethod::Put, Wanted::Set(new_secret(&received.body)?)),
        ("PATCH", version) if is_version(version) => {
            (CallMethod::Put, Wanted::Update(version.to_owned(), update(&received.body)?))
        }
        ("GET", "") => (CallMethod::Get, Wanted::Latest),
        ("GET", "versions" | "versions/") => (CallMethod::List, versions(received)?),
        ("GET", version) if is_version(version) => (CallMethod::Get, Wanted::Version(version.to_owned())),
        _ => return Err(unknown()),
    };
    let listed = method == CallMethod::List;
    let parameters: &[&str] =
        if listed { &["api-version", "maxresults", "$skiptoken"] } else { &["api-version"] };
    received.check_parameters(parameters)?;
    let operation = SecretOperation { name: name.clone(), wanted, origin: received.origin() };
    Ok(ParsedRequest::outside_arm(AzureService::Vault, method, name, operation))
}

fn is_version(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric())
}

fn update(body: &[u8]) -> Result<SecretUpdate, NotRecognised> {
    let body: Result<UpdateBody, _> = serde_json::from_slice(body);
    body.map(SecretUpdate::from)
        .map_err(|error| NotRecognised::because(format!("body of an update: {error}")))
}

fn new_secret(body: &[u8]) -> Result<NewSecret, NotRecognised> {
    let body: Result<SecretBody, _> = serde_json::from_slice(body);
    body.map(NewSecret::from).map_err(|error| NotRecognised::because(format!("body of a secret: {error}")))
}

/// Facts: F-045.
fn check_version(received: &ReceivedRequest) -> Result<(), NotRecognised> {
    let missing = || AzureError::new(400, "BadParameter", "The api-version is missing.");
    let version = received.parameter("api-version").ok_or_else(|| NotRecognised::Refused(missing()))?;
    match API_VERSIONS.contains(&version) {
        true => Ok(()),
        false => Err(NotRecognised::because(format!("unknown api-version {version:?}"))),
    }
}

/// Facts: F-041, F-045.
fn versions(received: &ReceivedRequest) -> Result<Wanted, NotRecognised> {
    let count = received.parameter("maxresults").map_or(Ok(PAGE_VERSIONS_MAX), str::parse);
    let count = count.ok().filter(|count| (1..=PAGE_VERSIONS_MAX).contains(count)).ok_or_else(|| {
        let message = format!("maxresults must lie between 1 and {PAGE_VERSIONS_MAX}.");
        NotRecognised::Refused(AzureError::new(400, "BadParameter", message))
    })?;
    let after = received.parameter("$skiptoken").map(str::to_owned);
    Ok(Wanted::Versions { after, count, link: NextLink::of(received) })
}

/// The secret, its versions, or an error.
/// Facts: F-042.
pub fn answer(state: &mut AzureState, operation: &SecretOperation, now: OffsetDateTime) -> AzureAnswer {
    let found = match &operation.wanted {
        Wanted::Set(made) => operation.set(state, made, now),
        Wanted::Update(id, update) => operation.update(state, id, update, now),
        _ => operation.read(state),
    };
    match found {
        Ok(body) => AzureAnswer::new(200, Some(body), now),
        Err(error) => AzureAnswer::refused(AzureService::Vault, &error, now),
    }
}
impl SecretOperation {
    fn read(&self, state: &AzureState) -> Result<Value, AzureError> {
        let secret = state.secrets.get(&self.name.to_ascii_lowercase()).filter(|secret| !secret.deleted);
        match (&self.wanted, secret) {
            // Key Vault lists the versions of an absent secret as an empty list, not as an error.
            (Wanted::Versions { after, count, link }, secret) => {
                let versions = secret.map_or(&[][..], |secret| &secret.versions);
                Ok(self.page(versions, after.as_deref(), *count, link))
            }
            (Wanted::Version(id), Some(secret)) => {
                self.bundle(secret.versions.iter().find(|version| version.id == *id), id)
            }
            (_, Some(secret)) => self.bundle(secret.versions.last(), ""),
            (Wanted::Version(id), None) => Err(not_found(&self.name, id)),
            (_, None) => Err(not_found(&self.name, "")),
        }
    }

    /// Facts: F-169, F-170.
    fn set(
        &self,
        state: &mut AzureState,
        made: &NewSecret,
        now: OffsetDateTime,
    ) -> Result<Value, AzureError> {
        let key = self.name.to_ascii_lowercase();
        if state.secrets.get(&key).is_some_and(|secret| secret.deleted) {
            let message =
                format!("Secret {} is deleted, but recoverable; its name cannot be reused.", self.name);
            return Err(AzureError::new(409, "Conflict", message).because("ObjectIsDeletedButRecoverable"));
        }
        let version = made.clone().into_version(now);
        state.add_secret_version(key, version.clone());
        let mut body = self.properties(&version);
        body.insert("value".to_owned(), json!(version.value));
        Ok(Value::Object(body))
    }

    /// The answer has no value.
    /// Facts: F-191.
    fn update(
        &self,
        state: &mut AzureState,
        id: &str,
        update: &SecretUpdate,
        now: OffsetDateTime,
    ) -> Result<Value, AzureError> {
        let key = self.name.to_ascii_lowercase();
        let changed = state.update_secret_version(&key, id, update.clone(), now);
        let version = changed.ok_or_else(|| not_found(&self.name, id))?;
        Ok(Value::Object(self.properties(&version)))
    }

    /// Facts: F-043, F-044.
    fn bundle(&self, version: Option<&SecretVersion>, asked: &str) -> Result<Value, AzureError> {
        let version = version.ok_or_else(|| not_found(&self.name, asked))?;
        if !version.enabled {
            let message = "Operation get is not allowed on a disabled secret.";
            return Err(AzureError::new(403, "Forbidden", message).because("SecretDisabled"));
        }
        let mut body = self.properties(version);
        body.insert("value".to_owned(), json!(version.value));
        Ok(Value::Object(body))
    }

    fn page(&self, all: &[SecretVersion], after: Option<&str>, count: usize, link: &NextLink) -> Value {
        // Ordered by their random ids, so that no caller can rely on an order that Key Vault does not promise.
        let mut rest: Vec<&SecretVersion> =
            all.iter().filter(|version| after.is_none_or(|after| version.id.as_str() > after)).collect();
        rest.sort_by(|one, other| one.id.cmp(&other.id));
        let page = rest.get(..count).unwrap_or(&rest);
        let last = page.last().filter(|_| page.len() < rest.len());
        let properties = page.iter().map(|version| Value::Object(self.properties(version)));
        json!({
            "value": properties.collect::<Vec<_>>(),
            "nextLink": last.map(|version| link.after(&version.id)),
        })
    }

    fn properties(&self, version: &SecretVersion) -> Map<String, Value> {
        let mut attributes = Map::new();
        attributes.insert("enabled".to_owned(), json!(version.enabled));
        attributes.extend(version.not_before.map(|at| ("nbf".to_owned(), json!(at))));
        attributes.extend(version.expires.map(|at| ("exp".to_owned(), json!(at))));
        attributes.insert("created".to_owned(), json!(version.created));
        attributes.insert("updated".to_owned(), json!(version.updated));
        attributes.insert("recoveryLevel".to_owned(), json!("Recoverable+Purgeable"));
        attributes.insert("recoverableDays".to_owned(), json!(90));
        let mut properties = Map::new();
        properties
            .insert("id".to_owned(), json!(format!("{}/secrets/{}/{}", self.origin, self.name, version.id)));
        properties.extend(version.content_type.as_ref().map(|kind| ("contentType".to_owned(), json!(kind))));
        properties.insert("attributes".to_owned(), Value::Object(attributes));
        properties.insert("tags".to_owned(), json!(version.tags));
        properties
    }
}

/// Facts: F-042.
fn not_found(name: &str, version: &str) -> AzureError {
    let message = format!(
        "A secret with (name/id) {name}/{version} was not found in this key vault. It may have been deleted, and be recoverable."
    );
    AzureError::new(404, "SecretNotFound", message)
}
