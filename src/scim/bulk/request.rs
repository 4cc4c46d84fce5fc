//! The body of a bulk request. A mistake in one operation is the result of that operation, and the others are carried out.

use crate::scim::bulk_reference::referred;
use crate::scim::error::Error;
use crate::scim::group::GroupInput;
use crate::scim::json_object::{JsonObject, member};
use crate::scim::patch::PatchRequest;
use crate::scim::precondition::Preconditions;
use crate::scim::quoted_text::quoted;
use crate::scim::schema::ResourceType;
use crate::scim::user::UserInput;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// Operations of one request.
pub const OPERATIONS_MAX: usize = 1000;
/// Bytes of one request.
pub const PAYLOAD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Characters of an unknown method that its result repeats.
const METHOD_CHARS_MAX: usize = 16;

/// A bulk request.
#[derive(Debug, Clone)]
pub struct BulkRequest {
    /// After so many errors no further operation is begun.
    pub errors_max: Option<u64>,
    pub operations: Vec<BulkOperation>,
}

/// One operation.
#[derive(Debug, Clone)]
pub struct BulkOperation {
    pub method: String,
    pub bulk_id: Option<String>,
    /// What it asks for; or why that cannot be.
    pub(crate) call: Result<BulkCall, Error>,
}

/// What an operation asks for.
#[derive(Debug, Clone)]
pub(crate) struct BulkCall {
    pub kind: ResourceType,
    pub preconditions: Preconditions,
    pub action: BulkAction,
}

/// The request that the operation would be alone. Where it names a resource, the text is the last part of the path.
#[derive(Debug, Clone)]
pub(crate) enum BulkAction {
    Create(ResourceBody),
    Replace(String, ResourceBody),
    Patch(String, PatchRequest),
    Delete(String),
}

/// The body of a POST or PUT.
#[derive(Debug, Clone)]
pub(crate) enum ResourceBody {
    User(UserInput),
    Group(GroupInput),
}

/// What is known of the resource that a reference names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReferenceState<'a> {
    /// It exists, with this id.
    Created(&'a str),
    /// It is created later: both refer to each other.
    Pending,
    /// It will not exist: no operation creates it, or that one failed.
    Lost,
    /// The same, because what it was to create exists with this id, and is a member of the group that the operation is about.
    LostMember(&'a str),
}

impl BulkRequest {
    /// The operations of a body as they came.
    pub fn operations(body: &Value) -> Option<&[Value]> {
        member(body.as_object()?, "Operations")?.as_array().map(Vec::as_slice)
    }

    /// Reads a body (RFC 7644 section 3.7.3); 413 where it has too many operations.
    pub fn parse(body: Value) -> Result<Self, Error> {
        let Value::Object(mut body) = body else {
            return Err(Error::invalid_syntax("a bulk request is an object with a list of Operations"));
        };
        let errors_max = member(&body, "failOnErrors").map(errors_max).transpose()?.flatten();
        let operations = body.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case("Operations"));
        let Some(Value::Array(operations)) = operations.map(|(_, operations)| operations.take()) else {
            return Err(Error::invalid_syntax("a bulk request is an object with a list of Operations"));
        };
        if operations.len() > OPERATIONS_MAX {
            let detail = format!("a bulk request takes at most {OPERATIONS_MAX} operations; send several");
            return Err(Error::payload_too_large(detail));
        }
        let mut operations: Vec<BulkOperation> = operations.iter().map(BulkOperation::parse).collect();
        refuse_duplicates(&mut operations);
        Ok(Self { errors_max, operations })
    }
}

/// `None` where null: then no number of errors ends the request.
fn errors_max(value: &Value) -> Result<Option<u64>, Error> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.trim().parse().ok(),
        // A number is a number, however it is written and however large.
        value => value.as_u64().or_else(|| {
            let number = value.as_f64().filter(|number| *number >= 0.0 && number.fract() == 0.0);
            number.map(|number| number as u64)
        }),
    };
    number
        .map(Some)
        .ok_or_else(|| Error::invalid_value("failOnErrors takes a whole number that is not negative"))
}

/// Of several operations that would create under one bulkId it is not known which one is meant.
fn refuse_duplicates(operations: &mut [BulkOperation]) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for bulk_id in operations.iter().filter_map(BulkOperation::creates) {
        *counts.entry(bulk_id.to_owned()).or_default() += 1;
    }
    let is_duplicate = |id: &str| counts.get(id).is_some_and(|count| *count > 1);
    for operation in operations.iter_mut().filter(|operation| operation.creates().is_some_and(is_duplicate)) {
        operation.call = Err(Error::invalid_value("several operations have this bulkId"));
    }
}

impl BulkOperation {
    fn parse(raw: &Value) -> Self {
        let Some(raw) = raw.as_object() else {
            let call = Err(Error::invalid_syntax("an operation is an object with method, path and data"));
            return Self { method: String::new(), bulk_id: None, call };
        };
        let text = |name: &str| member(raw, name).and_then(Value::as_str).map(str::trim);
        let method = text("method").unwrap_or_default().to_ascii_uppercase();
        let method: String = method.chars().take(METHOD_CHARS_MAX).collect();
        let bulk_id =
            member(raw, "bulkId").and_then(Value::as_str).filter(|id| !id.is_empty()).map(str::to_owned);
        let call = BulkCall::parse(&method, bulk_id.as_deref(), raw);
        Self { method, bulk_id, call }
    }

    /// The bulkId under which others may refer to what it creates.
    pub(crate) fn creates(&self) -> Option<&str> {
        self.bulk_id.as_deref().filter(|_| self.method == "POST")
    }

    /// The bulkIds that it refers to.
    pub(crate) fn needs(&mut self) -> BTreeSet<String> {
        let Ok(call) = &mut self.call else { return BTreeSet::new() };
        call.references().into_iter().filter_map(|text| referred(text).map(str::to_owned)).collect()
    }
}

impl BulkCall {
    fn parse(method: &str, bulk_id: Option<&str>, raw: &JsonObject) -> Result<Self, Error> {
        if !["POST", "PUT", "PATCH", "DELETE"].contains(&method) {
            return Err(Error::invalid_value("the method of an operation is POST, PUT, PATCH or DELETE"));
        }
        let (kind, id) = read_path(member(raw, "path").and_then(Value::as_str).unwrap_or_default())?;
        let data = || {
            let data = member(raw, "data").filter(|data| data.is_object());
            data.ok_or_else(|| Error::invalid_syntax(format!("{method} needs data, an object")))
        };
        let action = match (method, id) {
            ("POST", None) if bulk_id.is_none() => {
                return Err(Error::invalid_value("POST needs a bulkId"));
            }
            ("POST", None) => BulkAction::Create(ResourceBody::parse(kind, data()?)?),
            ("POST", Some(_)) => {
                return Err(Error::invalid_value(format!("POST takes the path /{}", kind.endpoint())));
            }
            (_, None) => {
                return Err(Error::invalid_value(format!("{method} takes a path /{}/ID", kind.endpoint())));
            }
            ("PUT", Some(id)) => BulkAction::Replace(id, ResourceBody::parse(kind, data()?)?),
            ("PATCH", Some(id)) => BulkAction::Patch(id, PatchRequest::parse(kind, data()?)?),
            (_, Some(id)) => BulkAction::Delete(id),
        };
        let version = match member(raw, "version").filter(|_| method != "POST") {
            None | Some(Value::Null) => None,
            Some(Value::String(version)) => Some(version.as_str()),
            // A write must not go ahead because its condition was not understood.
            Some(_) => return Err(Error::invalid_value("the version of an operation is a text")),
        };
        let preconditions = Preconditions::of_version(version)?;
        let mut call = Self { kind, preconditions, action };
        let is_own = |text: &mut String| referred(text) == bulk_id;
        if bulk_id.is_some() && call.references().into_iter().any(is_own) {
            return Err(Error::invalid_value("an operation cannot refer to its own bulkId"));
        }
        Ok(call)
    }

    /// The bulkIds in the places of ids: at the end of the path, and in the body.
    fn references(&mut self) -> Vec<&mut String> {
        let kind = self.kind;
        let is_reference = |text: &&mut String| referred(text).is_some();
        match &mut self.action {
            BulkAction::Create(body) => body.references(),
            BulkAction::Replace(id, body) => {
                Some(id).filter(is_reference).into_iter().chain(body.references()).collect()
            }
            BulkAction::Patch(id, patch) => {
                Some(id).filter(is_reference).into_iter().chain(patch.references(kind)).collect()
            }
            BulkAction::Delete(id) => Some(id).filter(is_reference).into_iter().collect(),
        }
    }

    /// Puts ids in the place of references. Returns what has to follow once the resources that are pending exist; 409 where
    /// one is lost. An operation that may take access away keeps that part: whether it does shows when it is carried out.
    pub fn resolve<'a>(
        &mut self,
        state: impl Fn(&str) -> ReferenceState<'a>,
    ) -> Result<Option<PatchRequest>, Error> {
        let mut lost = self.keep_members(&state);
        let mut is_pending = false;
        for text in self.references() {
            match state(referred(text).unwrap_or_default()) {
                ReferenceState::Created(id) => *text = id.to_owned(),
                ReferenceState::Pending => is_pending = true,
                ReferenceState::Lost | ReferenceState::LostMember(_) => {
                    lost.get_or_insert_with(|| lost_reference(text));
                }
            }
        }
        if let Some(error) = lost {
            return self.without_lost(error).map(|()| None);
        }
        match &mut self.action {
            BulkAction::Create(body) if is_pending => body.take_out_references().map(Some),
            _ => Ok(None),
        }
    }

    /// A change that removes all members, and says who is one, does not remove whom it names by the bulkId of an operation that
    /// failed, where what that was to create is a member: a request that is sent again would else take away what it gave. Returns
    /// the error about such a reference.
    fn keep_members<'a>(&mut self, state: &impl Fn(&str) -> ReferenceState<'a>) -> Option<Error> {
        let named = match &mut self.action {
            BulkAction::Replace(_, body @ ResourceBody::Group(_)) => body.references(),
            BulkAction::Patch(_, patch) => patch.named_as_members(),
            _ => Vec::new(),
        };
        let mut lost = None;
        for text in named {
            if let ReferenceState::LostMember(id) = state(referred(text).unwrap_or_default()) {
                lost.get_or_insert_with(|| lost_reference(text));
                *text = id.to_owned();
            }
        }
        lost
    }

    /// Whether it says who all the members are.
    pub fn replaces_members(&self) -> bool {
        match &self.action {
            BulkAction::Replace(_, ResourceBody::Group(_)) => true,
            BulkAction::Patch(_, patch) => patch.replaces_members(),
            BulkAction::Replace(..) | BulkAction::Create(_) | BulkAction::Delete(_) => false,
        }
    }

    /// The bulkIds that a change of a group refers to, and the id of the group.
    pub fn group_references(&mut self) -> Option<(String, BTreeSet<String>)> {
        let id = match &self.action {
            BulkAction::Replace(id, _) | BulkAction::Patch(id, _) if self.kind == ResourceType::Group => {
                id.clone()
            }
            _ => return None,
        };
        let references = self.references().into_iter().filter_map(|text| referred(text).map(str::to_owned));
        Some((id, references.collect()))
    }

    /// The name of what it creates.
    pub fn new_name(&mut self) -> Option<String> {
        match &mut self.action {
            BulkAction::Create(ResourceBody::User(user)) => user.input_mut().text("userName"),
            BulkAction::Create(ResourceBody::Group(group)) => group.input_mut().text("displayName"),
            _ => None,
        }
    }

    fn without_lost(&mut self, error: Error) -> Result<(), Error> {
        let kind = self.kind;
        match &mut self.action {
            BulkAction::Replace(id, body) if referred(id).is_none() => body.refuse_references(error),
            BulkAction::Patch(id, patch) if referred(id).is_none() => {
                patch.refuse_references(kind, error);
                Ok(())
            }
            _ => Err(error),
        }
    }
}

fn lost_reference(text: &str) -> Error {
    Error::conflict(format!("{} was not created: no operation creates it, or that one failed", quoted(text)))
}

/// `/Users`, `/Groups`, and what follows.
fn read_path(path: &str) -> Result<(ResourceType, Option<String>), Error> {
    let path = path.trim().trim_start_matches('/').trim_end_matches('/');
    let (endpoint, id) = match path.split_once('/') {
        Some((endpoint, id)) => (endpoint, Some(id)),
        None => (path, None),
    };
    let kind = [ResourceType::User, ResourceType::Group].into_iter().find(|kind| kind.endpoint() == endpoint);
    match kind {
        Some(kind) if id.is_none_or(|id| !id.contains(['/', '?', '#'])) => Ok((kind, id.map(str::to_owned))),
        _ if path.eq_ignore_ascii_case("Bulk") => {
            Err(Error::invalid_value("a bulk request cannot be an operation of another"))
        }
        _ => {
            Err(Error::invalid_value("the path of an operation is /Users, /Groups, /Users/ID or /Groups/ID"))
        }
    }
}

impl ResourceBody {
    fn parse(kind: ResourceType, data: &Value) -> Result<Self, Error> {
        match kind {
            ResourceType::User => UserInput::parse(data).map(ResourceBody::User),
            ResourceType::Group => GroupInput::parse(data).map(ResourceBody::Group),
        }
    }

    fn references(&mut self) -> Vec<&mut String> {
        match self {
            ResourceBody::User(user) => user.input_mut().references(),
            ResourceBody::Group(group) => group.input_mut().references(),
        }
    }

    fn refuse_references(&mut self, error: Error) -> Result<(), Error> {
        match self {
            ResourceBody::User(user) => user.input_mut().refuse_references(error),
            ResourceBody::Group(group) => group.input_mut().refuse_references(error),
        }
    }

    fn take_out_references(&mut self) -> Result<PatchRequest, Error> {
        let (kind, taken) = match self {
            ResourceBody::User(user) => (ResourceType::User, user.input_mut().take_out_references()),
            ResourceBody::Group(group) => (ResourceType::Group, group.input_mut().take_out_references()),
        };
        PatchRequest::adding(kind, taken)
    }
}

impl PatchRequest {
    /// Puts ids in the place of references that were pending. The error, where some are lost: the others stay, if any.
    pub(crate) fn resolve_pending<'a>(
        mut self,
        kind: ResourceType,
        state: impl Fn(&str) -> ReferenceState<'a>,
    ) -> (Option<Self>, Option<Error>) {
        let mut lost = None;
        for text in self.references(kind) {
            match state(referred(text).unwrap_or_default()) {
                ReferenceState::Created(id) => *text = id.to_owned(),
                ReferenceState::Pending | ReferenceState::Lost | ReferenceState::LostMember(_) => {
                    lost.get_or_insert_with(|| lost_reference(text));
                }
            }
        }
        let rest = if lost.is_some() { self.without_references(kind) } else { Some(self) };
        (rest, lost)
    }
}

#[cfg(test)]
mod tests;
