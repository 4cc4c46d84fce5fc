//! Key Vault, as far as reading secrets: one version, the latest version, and the list of versions without values.
//!
//! - `GET /secrets/{name}[/[{version}]]`
//! - `GET /secrets/{name}/versions[?maxresults=…]`, in pages, in no order that means anything
//!
//! A version outside the window of `nbf` and `exp` is answered all the same: to Key Vault they are notes for the reader.

use super::azure::Answer;
use super::clock::new_guid;
use super::error::AzureError;
use super::request::{Method, NextLink, Operation as AnyOperation, Received, Request, Unknown};
use super::service::Service;
use super::state::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Versions in a page where the caller does not ask for fewer, and the most that it can ask for.
const PAGE_VERSIONS_MAX: usize = 25;
/// Longest name of a secret.
const NAME_CHARS_MAX: usize = 127;
/// The versions of the API whose answers look like these.
const API_VERSIONS: [&str; 4] = ["7.4", "7.5", "7.6", "2025-07-01"];

/// A secret with all its versions, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    pub versions: Vec<SecretVersion>,
    /// Soft-deleted: still there, but no call finds it.
    pub deleted: bool,
}

/// One version of a secret. Times are unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretVersion {
    pub id: String,
    pub value: String,
    pub content_type: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub enabled: bool,
    pub not_before: Option<i64>,
    pub expires: Option<i64>,
    pub created: i64,
    pub updated: i64,
}

/// A version to be made. Times are unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    pub value: String,
    #[serde(default)]
    pub content_type: Option<String>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    #[serde(default)]
    pub nbf: Option<i64>,
    #[serde(default)]
    pub exp: Option<i64>,
    #[serde(default = "enabled")]
    pub enabled: bool,
}

const fn enabled() -> bool {
    true
}

impl NewSecret {
    /// An enabled version without a window.
    pub fn new(value: &str) -> Self {
        let tags = BTreeMap::new();
        Self { value: value.to_owned(), content_type: None, tags, nbf: None, exp: None, enabled: true }
    }

    /// The version, made now.
    pub fn into_version(self, now: OffsetDateTime) -> SecretVersion {
        SecretVersion {
            id: new_guid().simple().to_string(),
            value: self.value,
            content_type: self.content_type,
            tags: self.tags,
            enabled: self.enabled,
            not_before: self.nbf,
            expires: self.exp,
            created: now.unix_timestamp(),
            updated: now.unix_timestamp(),
        }
    }
}

/// What to change in a version; what is left out stays. Times are unix seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecretUpdate {
    pub enabled: Option<bool>,
    pub nbf: Option<i64>,
    pub exp: Option<i64>,
    pub tags: Option<BTreeMap<String, String>>,
}

impl SecretUpdate {
    /// Changes the version.
    pub fn apply(self, version: &mut SecretVersion, now: OffsetDateTime) {
        version.enabled = self.enabled.unwrap_or(version.enabled);
        version.not_before = self.nbf.or(version.not_before);
        version.expires = self.exp.or(version.expires);
        version.tags = self.tags.unwrap_or_else(|| std::mem::take(&mut version.tags));
        version.updated = now.unix_timestamp();
    }
}

/// The key of a secret: names are compared without case. `None` for what Key Vault does not take for a name.
pub fn key(name: &str) -> Option<String> {
    let known = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let fits = !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.chars().all(known);
    fits.then(|| name.to_ascii_lowercase())
}

/// What a request asks for.
#[derive(Debug, Clone)]
pub struct Operation {
    name: String,
    wanted: Wanted,
    /// The address of the vault as the caller knows it.
    origin: String,
}

#[derive(Debug, Clone)]
enum Wanted {
    Latest,
    Version(String),
    Versions { after: Option<String>, count: usize, link: NextLink },
}

/// Reads a request.
pub fn recognise(received: &Received) -> Result<Request, Unknown> {
    let unknown = || Unknown::because(format!("{} of {}", received.verb, received.path));
    let path = received.path.strip_prefix("/secrets/").filter(|_| received.verb == "GET");
    let (name, rest) = path.map(|path| path.split_once('/').unwrap_or((path, ""))).ok_or_else(unknown)?;
    let name = key(name).map(|_| name.to_owned()).ok_or_else(unknown)?;
    check_version(received)?;
    let (method, wanted) = match rest {
        "" => (Method::Get, Wanted::Latest),
        "versions" | "versions/" => (Method::List, versions(received)?),
        version if version.chars().all(|c| c.is_ascii_alphanumeric()) => {
            (Method::Get, Wanted::Version(version.to_owned()))
        }
        _ => return Err(unknown()),
    };
    let listed = method == Method::List;
    let parameters: &[&str] =
        if listed { &["api-version", "maxresults", "$skiptoken"] } else { &["api-version"] };
    received.check_parameters(parameters)?;
    let operation = Operation { name: name.clone(), wanted, origin: received.origin() };
    Ok(Request::outside_arm(Service::Vault, method, name, AnyOperation::Vault(operation)))
}

fn check_version(received: &Received) -> Result<(), Unknown> {
    let missing = || AzureError::new(400, "BadParameter", "The api-version is missing.");
    let version = received.parameter("api-version").ok_or_else(|| Unknown::Refused(missing()))?;
    match API_VERSIONS.contains(&version) {
        true => Ok(()),
        false => Err(Unknown::because(format!("unknown api-version {version:?}"))),
    }
}

fn versions(received: &Received) -> Result<Wanted, Unknown> {
    let count = received.parameter("maxresults").map_or(Ok(PAGE_VERSIONS_MAX), str::parse);
    let count = count.ok().filter(|count| (1..=PAGE_VERSIONS_MAX).contains(count)).ok_or_else(|| {
        let message = format!("maxresults must lie between 1 and {PAGE_VERSIONS_MAX}.");
        Unknown::Refused(AzureError::new(400, "BadParameter", message))
    })?;
    let after = received.parameter("$skiptoken").map(str::to_owned);
    Ok(Wanted::Versions { after, count, link: NextLink::of(received) })
}

/// The secret, its versions, or an error.
pub fn answer(state: &State, operation: &Operation, now: OffsetDateTime) -> Answer {
    let secret = state.secrets.get(&operation.name.to_ascii_lowercase()).filter(|secret| !secret.deleted);
    let found = match (&operation.wanted, secret) {
        // What does not exist has no versions: that is an empty list to Key Vault, no error.
        (Wanted::Versions { after, count, link }, secret) => {
            let versions = secret.map_or(&[][..], |secret| &secret.versions);
            Ok(operation.page(versions, after.as_deref(), *count, link))
        }
        (Wanted::Latest, Some(secret)) => operation.bundle(secret.versions.last(), ""),
        (Wanted::Version(id), Some(secret)) => {
            operation.bundle(secret.versions.iter().find(|version| version.id == *id), id)
        }
        (Wanted::Version(id), None) => Err(not_found(&operation.name, id)),
        (_, None) => Err(not_found(&operation.name, "")),
    };
    match found {
        Ok(body) => Answer::new(200, Some(body), now),
        Err(error) => Answer::refused(Service::Vault, &error, now),
    }
}

impl Operation {
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
        // By their random ids, so that nobody comes to rest on an order that Key Vault does not promise.
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

fn not_found(name: &str, version: &str) -> AzureError {
    let message = format!(
        "A secret with (name/id) {name}/{version} was not found in this key vault. It may have been deleted, and be recoverable."
    );
    AzureError::new(404, "SecretNotFound", message)
}
