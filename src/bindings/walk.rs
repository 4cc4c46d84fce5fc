//! From a JSON document to [`Bindings`], recording every mistake.
//!
//! A function that returns `None` has recorded why. The walk continues with the next part.

use super::fields::{JsonFields, text};
use super::json;
use super::mistake::BindingsError;
use super::mistake::{BindingsMistakes, JsonPointer};
use super::model::{
    BINDINGS_MAX, Bindings, ConfiguredBinding, FILE_BYTES_MAX, PrincipalSource, SELECTOR_CHARS_MAX, Selector,
};
use super::near_word::suggestion;
use crate::id::GroupId;
use crate::rbac::breaker::{GrantLimits, MAX_PRINCIPALS_MAX};
use crate::rbac::scope::ScopeKind;
use crate::rbac::{BackupRole, BindingKind, BindingName, Scope};
use crate::scim::{Filter, ResourceType};
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) const FILE_KEYS: &[&str] = &["$schema", "version", "principal", "retired", "bindings"];
pub(super) const PRINCIPAL_KEYS: &[&str] = &["from"];
pub(super) const BINDING_KEYS: &[&str] =
    &["name", "group", "where", "role", "scope", "kind", "allowBroadScope", "maxPrincipals", "newGrantsMax"];
pub(super) const GROUP_KEYS: &[&str] = &["externalId", "id", "displayName", "allowDisplayName"];

const SELECTOR_KEYS: [&str; 3] = ["externalId", "id", "displayName"];
const SCOPE_EXAMPLE: &str = "\"/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.RecoveryServices/vaults/{vault}\" or \
     \"/subscriptions/{id}/resourceGroups/{group}\"";
/// What is computed from memberships and grants; a `where` over it would be circular.
const COMPUTED: [&str; 3] = ["groups", "grants", "grantState"];

/// A part of the file and its place.
struct Placed<T> {
    place: JsonPointer,
    value: T,
}

impl Bindings {
    /// Reads a file. The error lists every mistake of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, BindingsError> {
        parse(bytes)
    }
}

fn parse(bytes: &[u8]) -> Result<Bindings, BindingsError> {
    let mut mistakes = BindingsMistakes::default();
    let document = document(bytes, &mut mistakes);
    let bindings = document.and_then(|document| file(&document, &mut mistakes));
    mistakes.into_result(bindings)
}

fn document(bytes: &[u8], mistakes: &mut BindingsMistakes) -> Option<Value> {
    let whole = JsonPointer::default();
    if bytes.len() > FILE_BYTES_MAX {
        let size = bytes.len();
        mistakes.add(
            &whole,
            format!("has {size} bytes or more, and {FILE_BYTES_MAX} are allowed: bind fewer groups"),
        );
        return None;
    }
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        mistakes.add(&whole, "begins with a byte order mark: save it as UTF-8 without one");
        return None;
    }
    json::read(bytes, mistakes)
}

fn file(document: &Value, mistakes: &mut BindingsMistakes) -> Option<Bindings> {
    let fields = JsonFields::read(document, JsonPointer::default(), FILE_KEYS, mistakes)?;
    if let Some(value) = fields.get("$schema") {
        mistakes.keep(&fields.at("$schema"), text(value));
    }
    version(&fields, mistakes);
    let principal_from = principal(&fields, mistakes);
    let retired = retired(&fields, mistakes);
    let bindings = bindings(&fields, mistakes);
    retired_and_bound(retired.as_deref().unwrap_or_default(), &fields, mistakes);
    let retired = retired?.into_iter().map(|scope| scope.value).collect();
    Some(Bindings { principal_from: principal_from?, retired, bindings: bindings? })
}

fn version(fields: &JsonFields<'_>, mistakes: &mut BindingsMistakes) {
    if let Some(value) = fields.required("version", "\"version\": 1", mistakes)
        && value.as_u64() != Some(1)
    {
        mistakes.add(&fields.at("version"), format!("is {value}: this program reads version 1, write 1"));
    }
}

fn principal(fields: &JsonFields<'_>, mistakes: &mut BindingsMistakes) -> Option<Vec<PrincipalSource>> {
    let default = vec![PrincipalSource::EntraObjectId];
    let Some(value) = fields.get("principal") else { return Some(default) };
    let fields = JsonFields::read(value, fields.at("principal"), PRINCIPAL_KEYS, mistakes)?;
    if fields.get("from").is_none() {
        return Some(default);
    }
    let mut sources = Vec::new();
    let list = fields.list("from", mistakes)?;
    if list.is_empty() {
        mistakes.add(&fields.at("from"), "is empty: name at least one of entraObjectId, externalId");
    }
    for (place, value) in list {
        let source = mistakes.keep(&place, source(value));
        if source.is_some_and(|source| sources.contains(&source)) {
            mistakes.add(&place, "is listed already: remove it");
        }
        sources.extend(source);
    }
    Some(sources)
}

fn source(value: &Value) -> Result<PrincipalSource, String> {
    let text = text(value)?;
    PrincipalSource::parse(text).ok_or_else(|| {
        let near = suggestion(text, ["entraObjectId", "externalId"]);
        format!("{value} is not a source: {near}write one of entraObjectId, externalId")
    })
}

fn retired(fields: &JsonFields<'_>, mistakes: &mut BindingsMistakes) -> Option<Vec<Placed<Scope>>> {
    let mut retired: Vec<Placed<Scope>> = Vec::new();
    let mut seen = BTreeMap::new();
    for (place, value) in fields.list("retired", mistakes)? {
        let Some(scope) = mistakes.keep(&place, text(value).and_then(scope)) else { continue };
        match seen.get(scope.folded()) {
            Some(first) => mistakes.add(&place, format!("is the same scope as {first}: take it out")),
            None => {
                seen.insert(scope.folded().to_owned(), place.clone());
            }
        }
        retired.push(Placed { place, value: scope });
    }
    Some(retired)
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).map_err(|error| format!("{text:?} cannot be bound: {error}; write {SCOPE_EXAMPLE}"))
}

fn bindings(fields: &JsonFields<'_>, mistakes: &mut BindingsMistakes) -> Option<Vec<ConfiguredBinding>> {
    fields.required("bindings", "\"bindings\": [ … ]", mistakes)?;
    let place = fields.at("bindings");
    let list = fields.list("bindings", mistakes)?;
    if list.len() > BINDINGS_MAX {
        let count = list.len();
        mistakes.add(&place, format!("has {count} elements, and {BINDINGS_MAX} are allowed: bind fewer"));
    }
    if list.is_empty()
        && fields.get("retired").is_none_or(|retired| retired.as_array().is_some_and(Vec::is_empty))
    {
        mistakes.add(
            &place,
            "is empty, and so is \"retired\": bind a group, or retire the scopes that were bound",
        );
    }
    unique_names(&list, mistakes);
    let bindings: Vec<_> =
        list.into_iter().filter_map(|(place, value)| binding(value, place, mistakes)).collect();
    unique_grants(&bindings, mistakes);
    Some(bindings.into_iter().map(|binding| binding.value).collect())
}

fn binding(
    value: &Value,
    place: JsonPointer,
    mistakes: &mut BindingsMistakes,
) -> Option<Placed<ConfiguredBinding>> {
    let fields = JsonFields::read(value, place, BINDING_KEYS, mistakes)?;
    let name = name(&fields, mistakes);
    let selector = selector(&fields, mistakes);
    let condition = condition(&fields, mistakes);
    let role = role(&fields, mistakes);
    let scope = bound_scope(&fields, mistakes);
    let kind = kind(&fields, mistakes);
    let limits = limits(&fields, mistakes);
    let value = ConfiguredBinding {
        name: name?,
        selector: selector?,
        condition: condition?,
        role: role?,
        scope: scope?,
        kind: kind?,
        limits: limits?,
    };
    Some(Placed { place: fields.place().clone(), value })
}

fn name(fields: &JsonFields<'_>, mistakes: &mut BindingsMistakes) -> Option<BindingName> {
    let text = fields.text("name", "\"name\": \"operators-east\"", mistakes)?;
    let name = BindingName::parse(text).ok_or_else(|| {
        format!("{text:?} is not a name: write 1 to 64 of the characters a to z, 0 to 9 and -, in lower case")
    });
    mistakes.keep(&fields.at("name"), name)
}

fn selector(fields: &JsonFields<'_>, mistakes: &mut BindingsMistakes) -> Option<Selector> {
    let value = fields.required("group", "\"group\": { \"externalId\": \"…\" }", mistakes)?;
    let fields = JsonFields::read(value, fields.at("group"), GROUP_KEYS, mistakes)?;
    let allowed = fields.flag("allowDisplayName", mistakes);
    let given: Vec<&str> = SELECTOR_KEYS.into_iter().filter(|key| fields.get(key).is_some()).collect();
    let [key] = given.as_slice() else {
        let count = if given.is_empty() { "names no group".to_owned() } else { given.join(" and ") };
        let what = format!("{count}: write exactly one of externalId, id, displayName");
        mistakes.add(fields.place(), what);
        return None;
    };
    let place = fields.at(key);
    let text = fields.text(key, "", mistakes)?;
    mistakes.keep(&place, selector_value(key, text, allowed?))
}

fn selector_value(key: &str, text: &str, display_name_allowed: bool) -> Result<Selector, String> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err("is blank or holds control characters: write what the identity provider sends".to_owned());
    }
    if text.chars().count() > SELECTOR_CHARS_MAX {
        return Err(format!("is longer than {SELECTOR_CHARS_MAX} characters: no group can match it"));
    }
    match key {
        "externalId" => Ok(Selector::ExternalId(text.to_owned())),
        "id" => GroupId::parse(text).map(Selector::Id).map_err(|error| {
            format!("{error}: write the SCIM id that this service gave the group, a GUID with hyphens")
        }),
        _ if display_name_allowed => Ok(Selector::DisplayName(text.to_owned())),
        _ => Err(
            "anyone who may name groups could claim this binding: use externalId or id, or accept that with \
             \"allowDisplayName\": true beside it"
                .to_owned(),
        ),
    }
}

/// The outer `None` is a mistake, the inner one the absence of a condition.
fn condition(fields: &JsonFields<'_>, mistakes: &mut BindingsMistakes) -> Option<Option<Filter>> {
    let Some(value) = fields.get("where") else { return Some(None) };
    let filter = text(value).and_then(|text| {
        let filter = Filter::parse(ResourceType::User, text);
        filter.map_err(|error| format!("{error}; write a SCIM filter over the attributes of a user"))
    });
    let filter = filter.and_then(|filter| match COMPUTED.into_iter().find(|name| filter.reads(name)) {
        Some(name) => Err(format!("reads {name}, which is computed: use attributes of the person")),
        None => Ok(filter),
    });
    mistakes.keep(&fields.at("where"), filter).map(Some)
}

fn role(fields: &JsonFields<'_>, mistakes: &mut BindingsMistakes) -> Option<BackupRole> {
    let text = fields.text("role", "\"role\": \"Backup Operator\"", mistakes)?;
    let role = BackupRole::parse(text).ok_or_else(|| {
        let names: Vec<String> = BackupRole::ALL.iter().map(|role| format!("{:?}", role.name())).collect();
        let near = suggestion(text, BackupRole::ALL.map(BackupRole::name));
        format!("{text:?} is not a role that is handed out: {near}write one of {}", names.join(", "))
    });
    mistakes.keep(&fields.at("role"), role)
}

fn bound_scope(fields: &JsonFields<'_>, mistakes: &mut BindingsMistakes) -> Option<Scope> {
    let broad = fields.flag("allowBroadScope", mistakes);
    let text = fields.text("scope", &format!("\"scope\": {SCOPE_EXAMPLE}"), mistakes)?;
    let scope = mistakes.keep(&fields.at("scope"), scope(text))?;
    if scope.kind() == ScopeKind::Subscription && broad == Some(false) {
        let what = "is a whole subscription: bind a vault or a resource group, or accept that with \
             \"allowBroadScope\": true in this binding";
        mistakes.add(&fields.at("scope"), what);
    }
    Some(scope)
}

fn kind(fields: &JsonFields<'_>, mistakes: &mut BindingsMistakes) -> Option<BindingKind> {
    let Some(value) = fields.get("kind") else { return Some(BindingKind::Active) };
    let kind = match value.as_str() {
        Some("active") => Ok(BindingKind::Active),
        Some(later @ ("eligible" | "timeboxed")) => {
            Err(format!("{later:?} comes in a later version: write \"active\""))
        }
        _ => Err(format!("{value} is not a kind: write \"active\"")),
    };
    mistakes.keep(&fields.at("kind"), kind)
}

/// How many people the binding gives the role. A smaller `maxPrincipals` lowers the default of `newGrantsMax`.
fn limits(fields: &JsonFields<'_>, mistakes: &mut BindingsMistakes) -> Option<GrantLimits> {
    let default = GrantLimits::default();
    let max_principals = fields.number("maxPrincipals", MAX_PRINCIPALS_MAX, mistakes);
    let most = max_principals.flatten().unwrap_or(default.max_principals);
    let known_most = if max_principals.is_some() { most } else { MAX_PRINCIPALS_MAX };
    let new_grants_max = fields.number("newGrantsMax", known_most, mistakes)?;
    max_principals?;
    Some(GrantLimits {
        max_principals: most,
        new_grants_max: new_grants_max.unwrap_or(default.new_grants_max.min(most)),
    })
}

/// Compares the names as written, so that two equal ones are found even where another part of a binding is wrong.
fn unique_names(list: &[(JsonPointer, &Value)], mistakes: &mut BindingsMistakes) {
    let mut seen: BTreeMap<&str, JsonPointer> = BTreeMap::new();
    for (place, value) in list {
        let Some(name) = value.get("name").and_then(Value::as_str) else { continue };
        let place = place.key("name");
        match seen.get(name) {
            Some(first) => mistakes.add(&place, format!("{name:?} is taken by {first}: choose another name")),
            None => {
                seen.insert(name, place);
            }
        }
    }
}

fn unique_grants(bindings: &[Placed<ConfiguredBinding>], mistakes: &mut BindingsMistakes) {
    let mut seen = BTreeMap::new();
    for Placed { place, value } in bindings {
        let condition = value.condition.as_ref().map(Filter::to_string);
        let scope = value.scope.folded();
        let grant = (value.selector.attribute(), value.selector.key(), condition, value.role, scope);
        match seen.get(&grant) {
            Some(first) => {
                mistakes
                    .add(place, format!("gives the same as {first}: group, where, role and scope; keep one"));
            }
            None => {
                seen.insert(grant, place);
            }
        }
    }
}

/// Compares the scopes as written, like [`unique_names`].
fn retired_and_bound(retired: &[Placed<Scope>], fields: &JsonFields<'_>, mistakes: &mut BindingsMistakes) {
    let list = fields.get("bindings").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut bound = BTreeMap::new();
    for (at, binding) in list.iter().enumerate() {
        let scope = binding.get("scope").and_then(Value::as_str).map(Scope::parse);
        if let Some(Ok(scope)) = scope {
            bound.entry(scope).or_insert_with(|| fields.at("bindings").index(at).key("scope"));
        }
    }
    for Placed { place, value } in retired {
        if let Some(bound) = bound.get(value) {
            mistakes.add(place, format!("is still bound by {bound}: retire it or bind it, not both"));
        }
    }
}
