//! What a request makes of a resource: assignment by assignment, what can be carried out is, what cannot is dropped, and a
//! mistake in an attribute that access can depend on refuses the whole.

mod engine;
mod list;
mod patch_op;

use crate::scim::assignment::{AssignmentTarget, AttributeAssignment};
use crate::scim::attr_path::AttrPath;
use crate::scim::deciding::DecidingAttributes;
use crate::scim::dropped::{DropReason, DroppedAttributes};
use crate::scim::error::Error;
use crate::scim::json_object::JsonObject;
use crate::scim::patch_path::PatchPath;
use crate::scim::patch_verb::PatchVerb;
use crate::scim::resource::{ACTIVE, Resource};
use crate::scim::schema::{Attribute, AttributeType, ResourceType};
use crate::scim::value::{self, ValueStrictness};
use patch_op::PatchOp;
use serde_json::Value;

/// A resource as a request leaves it.
#[derive(Debug, Clone, PartialEq)]
pub struct EditedResource {
    /// The attributes afterwards.
    pub resource: Resource,
    /// The attributes whose assignments were dropped.
    pub dropped: DroppedAttributes,
    /// The request makes the user inactive.
    pub deactivates: bool,
    /// Why it is refused, unless it takes access away.
    refusal: Option<Error>,
}

impl EditedResource {
    /// Refuses a mistake in a deciding attribute, unless the request takes access away: then only the mistake is dropped.
    pub fn unless_refused(mut self, takes_away: bool) -> Result<Self, Error> {
        match self.refusal.take() {
            Some(refusal) if !takes_away => Err(refusal),
            _ => Ok(self),
        }
    }

    /// Records that what the request says about this attribute was left out beside what it takes away.
    pub fn left_out(&mut self, name: &str, error: &Error) {
        self.dropped.insert(name, DropReason::of(error));
    }

    /// Leaves those top-level attributes as they were: something is in the way of writing them.
    pub fn keep_current(&mut self, current: &Resource, reason: DropReason, keeps: impl Fn(&str) -> bool) {
        let mut attributes = self.resource.attributes().clone();
        attributes.retain(|name, _| !keeps(name));
        let kept = current.attributes().iter().filter(|(name, _)| keeps(name));
        attributes.extend(kept.map(|(name, value)| (name.clone(), value.clone())));
        let kept = Resource::from_stored(current.kind(), attributes);
        let lost = kept.changed_attributes(&self.resource);
        let names = lost.iter().filter_map(|name| name.rsplit(':').next());
        names.for_each(|name| self.dropped.insert(name, reason));
        self.resource = kept;
    }
}

impl From<Resource> for EditedResource {
    /// A resource of which nothing was dropped.
    fn from(resource: Resource) -> Self {
        Self { resource, dropped: DroppedAttributes::default(), deactivates: false, refusal: None }
    }
}

/// A resource on its way from what is stored, or from nothing, to what a request wants.
pub(super) struct ResourceEditor<'a> {
    kind: ResourceType,
    deciding: &'a DecidingAttributes,
    /// The attributes before the request; none for a new resource.
    stored: Option<&'a Resource>,
    /// Begins with nothing: what is not named is gone.
    anew: bool,
    attributes: JsonObject,
    dropped: DroppedAttributes,
    /// Attributes that a dropped assignment was about.
    missed: Vec<AttrPath>,
    written: usize,
    /// The first mistake outside the deciding attributes.
    mistake: Option<Error>,
    /// The first one in them.
    refusal: Option<Error>,
    deactivates: bool,
}

impl<'a> ResourceEditor<'a> {
    /// Goes on from what is stored (PATCH).
    pub fn on(stored: &'a Resource, deciding: &'a DecidingAttributes) -> Self {
        let attributes = stored.attributes().clone();
        Self { anew: false, attributes, ..Self::anew(stored.kind(), Some(stored), deciding) }
    }

    /// Begins with nothing (POST and, in the place of what is stored, PUT).
    pub fn anew(kind: ResourceType, stored: Option<&'a Resource>, deciding: &'a DecidingAttributes) -> Self {
        Self {
            kind,
            deciding,
            stored,
            anew: true,
            attributes: JsonObject::new(),
            dropped: DroppedAttributes::default(),
            missed: Vec::new(),
            written: 0,
            mistake: None,
            refusal: None,
            deactivates: false,
        }
    }

    /// Carries an assignment out, or drops it. Refuses at once only where whether the user is active cannot be understood.
    pub fn assign(&mut self, assignment: &AttributeAssignment) -> Result<(), Error> {
        match &assignment.target {
            AssignmentTarget::Foreign => {
                self.dropped.insert(&assignment.name, DropReason::UnknownSchema);
                Ok(())
            }
            AssignmentTarget::Nowhere { of, error } => {
                // An operation that does not say what it is about may be about anything that decides.
                let decides =
                    assignment.is_unnamed() || of.is_some_and(|path| self.deciding.holds(self.kind, &path));
                self.drop(assignment, *of, decides, error.clone())
            }
            AssignmentTarget::Write(path, value) => {
                let decides = self.decides(path);
                match self.write(assignment.verb, path, value, decides) {
                    Ok(()) => {
                        self.written += 1;
                        Ok(())
                    }
                    Err(error) => self.drop(assignment, path.attribute(), decides, error),
                }
            }
        }
    }

    /// A mistake in a deciding attribute that is not stored with the others: it is dropped, or refuses the request.
    pub fn refuse(&mut self, name: &str, error: Error) {
        self.dropped.insert(name, DropReason::of(&error));
        self.refusal.get_or_insert(error);
    }

    /// The value of `active` where the request says nothing about it.
    pub fn default_active(&mut self, active: bool) {
        self.attributes.entry(ACTIVE).or_insert(Value::Bool(active));
    }

    /// Refuses a request that wanted something and of which nothing is left. `others`: what it wants beside attributes. What is
    /// under a schema that is not ours was never ours to do.
    pub fn refuse_if_nothing_is_left(&self, others: usize) -> Result<(), Error> {
        match &self.mistake {
            Some(mistake) if self.written + others == 0 && self.refusal.is_none() => Err(mistake.clone()),
            _ => Ok(()),
        }
    }

    /// The resource, if it is complete.
    pub fn finish(mut self) -> Result<EditedResource, Error> {
        if self.anew {
            self.keep_what_was_missed();
        } else {
            self.drop_stale_references();
        }
        self.require()?;
        let resource = Resource::from_stored(self.kind, self.attributes);
        let deactivates = self.deactivates && !resource.active();
        Ok(EditedResource { resource, dropped: self.dropped, deactivates, refusal: self.refusal })
    }

    fn decides(&self, path: &PatchPath) -> bool {
        match (path, path.attribute()) {
            (PatchPath::Schema(Some(schema)), _) => self.deciding.holds_some_of(schema),
            (_, Some(path)) => self.deciding.holds(self.kind, &path),
            (_, None) => false,
        }
    }

    fn write(
        &mut self,
        verb: PatchVerb,
        path: &PatchPath,
        value: &Value,
        decides: bool,
    ) -> Result<(), Error> {
        let strictness = if decides { ValueStrictness::Strict } else { ValueStrictness::Tolerant };
        if self.anew && path.attribute().is_some_and(|path| value::is_none(path.attribute, value, strictness))
        {
            return Ok(());
        }
        let operation = PatchOp { verb, path, value, strictness };
        let tolerant = PatchOp { strictness: ValueStrictness::Tolerant, ..operation };
        match engine::apply(&mut self.attributes, &operation) {
            Err(_) if decides && self.changes_nothing(&tolerant) => {
                engine::apply(&mut self.attributes, &tolerant)?
            }
            done => done?,
        }
        let activity = path.attribute().is_some_and(|path| is_activity(&path));
        self.deactivates |= activity && self.attributes.get(ACTIVE) == Some(&Value::Bool(false));
        Ok(())
    }

    /// A value that is stored already is accepted as it is: it changes nothing.
    fn changes_nothing(&self, operation: &PatchOp<'_>) -> bool {
        let (Some(stored), Some(path)) = (self.stored, operation.path.attribute()) else { return false };
        let is_plain = !path.attribute.multi_valued && path.attribute.kind != AttributeType::Complex;
        if is_plain && operation.verb != PatchVerb::Remove {
            let read = value::single(path.attribute, operation.value, operation.strictness);
            return read
                .is_ok_and(|read| read.is_some() && read.as_ref() == slot(stored.attributes(), &path));
        }
        let mut after = alone(&self.attributes, &path);
        engine::apply(&mut after, operation).is_ok() && after == alone(stored.attributes(), &path)
    }

    fn drop(
        &mut self,
        assignment: &AttributeAssignment,
        of: Option<AttrPath>,
        decides: bool,
        error: Error,
    ) -> Result<(), Error> {
        let error = assignment.placed(error);
        if of.is_some_and(|path| is_activity(&path)) {
            return Err(error);
        }
        self.dropped.insert(&assignment.name, DropReason::of(&error));
        let first = if decides { &mut self.refusal } else { &mut self.mistake };
        first.get_or_insert(error);
        self.missed.extend(of);
        Ok(())
    }

    /// A PUT clears what it leaves out. What it names and what cannot be read is not left out: it stays as it is.
    fn keep_what_was_missed(&mut self) {
        let Some(stored) = self.stored else { return };
        for path in std::mem::take(&mut self.missed) {
            if let (None, Some(value)) = (slot(&self.attributes, &path), slot(stored.attributes(), &path)) {
                put(&mut self.attributes, &path, value.clone());
            }
        }
    }

    /// The address of a reference goes stale with its value, unless the request brings a new one.
    fn drop_stale_references(&mut self) {
        let Some(stored) = self.stored else { return };
        for schema in self.kind.extensions() {
            let stale = schema.attributes.iter().filter(|attribute| attribute.sub("$ref").is_some());
            for attribute in stale.filter(|attribute| !attribute.multi_valued) {
                let path = AttrPath { extension: Some(schema), attribute, sub: None };
                let before = slot(stored.attributes(), &path);
                let part = |name: &str| before.and_then(|before| before.get(name));
                if let Some(Value::Object(after)) = slot_mut(&mut self.attributes, &path)
                    && after.get("value") != part("value")
                    && after.get("$ref") == part("$ref")
                {
                    after.remove("$ref");
                    if after.is_empty() {
                        take_out(&mut self.attributes, &path);
                    }
                }
            }
        }
    }

    /// What a resource must have stays as it is where the request does not give it, and that is a mistake.
    fn require(&mut self) -> Result<(), Error> {
        let required = |attribute: &&'static Attribute| attribute.required;
        for attribute in self.kind.core().attributes.iter().filter(required) {
            let path = AttrPath { extension: None, attribute, sub: None };
            if slot(&self.attributes, &path).is_some() {
                continue;
            }
            let error = Error::invalid_value(format!("{} is required and must not be empty", attribute.name));
            let refusal = self.refusal.get_or_insert(error);
            let Some(stored) = self.stored else { return Err(refusal.clone()) };
            if let Some(value) = slot(stored.attributes(), &path) {
                put(&mut self.attributes, &path, value.clone());
            }
            self.dropped.insert(attribute.name, DropReason::Required);
        }
        Ok(())
    }
}

fn is_activity(path: &AttrPath) -> bool {
    path.extension.is_none() && path.attribute.name == ACTIVE
}

/// The value of an attribute, whatever sub-attribute the path names.
fn slot<'a>(attributes: &'a JsonObject, path: &AttrPath) -> Option<&'a Value> {
    match path.extension {
        None => attributes.get(path.attribute.name),
        Some(schema) => attributes.get(schema.urn)?.get(path.attribute.name),
    }
}

fn slot_mut<'a>(attributes: &'a mut JsonObject, path: &AttrPath) -> Option<&'a mut Value> {
    match path.extension {
        None => attributes.get_mut(path.attribute.name),
        Some(schema) => attributes.get_mut(schema.urn)?.get_mut(path.attribute.name),
    }
}

fn put(attributes: &mut JsonObject, path: &AttrPath, value: Value) {
    let name = path.attribute.name.to_owned();
    let holder = match path.extension {
        None => Some(attributes),
        Some(schema) => {
            attributes.entry(schema.urn).or_insert_with(|| Value::Object(JsonObject::new())).as_object_mut()
        }
    };
    if let Some(holder) = holder {
        holder.insert(name, value);
    }
}

/// Without the attribute; an extension goes with the last of its attributes.
fn take_out(attributes: &mut JsonObject, path: &AttrPath) {
    let Some(schema) = path.extension else { return drop(attributes.remove(path.attribute.name)) };
    if let Some(Value::Object(holder)) = attributes.get_mut(schema.urn) {
        holder.remove(path.attribute.name);
        if holder.is_empty() {
            attributes.remove(schema.urn);
        }
    }
}

/// An object that has that attribute, if there is one, and nothing else.
fn alone(attributes: &JsonObject, path: &AttrPath) -> JsonObject {
    let mut alone = JsonObject::new();
    if let Some(value) = slot(attributes, path) {
        put(&mut alone, path, value.clone());
    }
    alone
}

#[cfg(test)]
mod tests;
