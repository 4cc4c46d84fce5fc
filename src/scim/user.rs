//! Users (RFC 7643 section 4.1): from bodies, and to answers.

use crate::scim::deciding::DecidingAttributes;
use crate::scim::edit::EditedResource;
use crate::scim::error::Error;
use crate::scim::json_object::JsonObject;
use crate::scim::resource::{AccessView, GroupRef, Meta, Resource, location, set_schemas};
use crate::scim::resource_input::ResourceInput;
use crate::scim::schema::ResourceType::{self, User};
use crate::scim::urn;
use serde_json::{Value, json};

/// A user as a client wrote it, in the body of a POST or PUT.
#[derive(Debug, Clone, PartialEq)]
pub struct UserInput(ResourceInput);

impl UserInput {
    /// Reads a body.
    pub fn parse(body: &Value) -> Result<Self, Error> {
        ResourceInput::parse(User, body).map(Self)
    }

    /// The user of a POST. Without `active` it is active.
    pub(crate) fn create(&self, deciding: &DecidingAttributes) -> Result<EditedResource, Error> {
        self.edit(None, deciding)
    }

    /// The user after a PUT. What the body leaves out is gone, except `active`: leaving that out must not bring a leaver back.
    pub(crate) fn replace(
        &self,
        current: &Resource,
        deciding: &DecidingAttributes,
    ) -> Result<EditedResource, Error> {
        self.edit(Some(current), deciding)
    }

    pub(super) fn input_mut(&mut self) -> &mut ResourceInput {
        &mut self.0
    }

    fn edit(
        &self,
        current: Option<&Resource>,
        deciding: &DecidingAttributes,
    ) -> Result<EditedResource, Error> {
        let mut editor = self.0.edit(current, deciding)?.editor;
        editor.default_active(current.is_none_or(Resource::active));
        let edited = editor.finish()?;
        let deactivates = edited.deactivates;
        edited.unless_refused(deactivates)
    }
}

/// The answer with everything that was read; projection comes later (RFC 7644 section 3.4.1).
pub(crate) fn render(
    resource: Resource,
    meta: &Meta,
    groups: Option<&[GroupRef]>,
    access: Option<&AccessView>,
) -> Value {
    let mut shown = resource.frame(meta);
    if let Some(groups) = groups {
        let list = groups.iter().map(|group| group_view(&meta.base_url, group)).collect();
        shown.insert("groups".to_owned(), Value::Array(list));
    }
    if let Some(access) = access {
        show_access(&mut shown, access);
        set_schemas(User, &mut shown);
    }
    Value::Object(shown)
}

fn group_view(base_url: &str, group: &GroupRef) -> Value {
    json!({
        "value": group.id,
        "$ref": location(base_url, ResourceType::Group, &group.id),
        "display": group.display,
        "type": if group.direct { "direct" } else { "indirect" },
    })
}

fn show_access(shown: &mut JsonObject, access: &AccessView) {
    let extension = shown.entry(urn::BACKUP_USER).or_insert_with(|| json!({}));
    let Some(extension) = extension.as_object_mut() else { return };
    extension.insert("grants".to_owned(), Value::Array(access.grants.clone()));
    if let Some(state) = &access.grant_state {
        extension.insert("grantState".to_owned(), Value::from(state.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::error::ScimType;

    #[track_caller]
    fn created(body: &Value) -> Resource {
        UserInput::parse(body).unwrap().create(&DecidingAttributes::default()).unwrap().resource
    }

    #[track_caller]
    fn replaced(body: &Value, current: &Resource) -> Resource {
        UserInput::parse(body).unwrap().replace(current, &DecidingAttributes::default()).unwrap().resource
    }

    #[track_caller]
    fn creates(body: Value, stored: Value) {
        assert_eq!(Value::Object(created(&body).attributes().clone()), stored);
    }

    #[test]
    fn bodies_are_stored_canonically() {
        creates(
            json!({"USERNAME": "ana", "DisplayName": "Ana", "Name": {"FAMILYNAME": "F"}, "Emails": [{"Type": "work", "VALUE": "a@b"}]}),
            json!({"userName": "ana", "displayName": "Ana", "name": {"familyName": "F"}, "emails": [{"type": "work", "value": "a@b"}], "active": true}),
        );
        creates(
            json!({"schemas": [urn::USER, "urn:x:2.0User"], "id": "chosen", "meta": {"resourceType": "Group"}, "groups": [{"value": "g"}],
                "password": "secret", "userName": "ana", "title": null, "nickName": "", "roles": [], "active": "False", "shoeSize": 44,
                "urn:x:2.0User": {"department": "d"}}),
            json!({"userName": "ana", "active": false}),
        );
        creates(
            json!({"userName": "ana", "active": null, "name.givenName": "G", "manager": "m1",
                urn::ENTERPRISE_USER: {"department": "D", "unknown": 1, "costCenter": ""},
                urn::BACKUP_USER: {"grants": [{"role": "x"}], "grantState": "held"}}),
            json!({"userName": "ana", "active": true, "name": {"givenName": "G"},
                urn::ENTERPRISE_USER: {"department": "D", "manager": {"value": "m1"}}}),
        );
    }

    #[track_caller]
    fn refuses(body: Value, scim_type: ScimType, detail: &str) {
        let error = UserInput::parse(&body)
            .and_then(|input| input.create(&DecidingAttributes::default()))
            .unwrap_err();
        assert_eq!((error.status, error.scim_type, error.detail.as_str()), (400, Some(scim_type), detail));
    }

    #[test]
    fn wrong_bodies_are_refused() {
        let required = "userName is required and must not be empty";
        refuses(json!([]), ScimType::InvalidSyntax, "the body must be a JSON object, a User");
        refuses(json!("x"), ScimType::InvalidSyntax, "the body must be a JSON object, a User");
        refuses(json!({"displayName": "No name"}), ScimType::InvalidValue, required);
        refuses(json!({"userName": ""}), ScimType::InvalidValue, required);
        refuses(json!({"userName": null}), ScimType::InvalidValue, required);
        refuses(json!({"userName": "  "}), ScimType::InvalidValue, required);
        refuses(json!({"userName": 12345}), ScimType::InvalidValue, "userName takes text, not 12345");
        let both = json!({"userName": "a", format!("{}:active", urn::USER): false, "active": "maybe"});
        refuses(both, ScimType::InvalidValue, "active takes true or false, not \"maybe\"");
    }

    #[test]
    fn a_put_clears_what_it_leaves_out_but_not_active() {
        let inactive = created(&json!({"userName": "ana", "title": "T", "active": false}));
        let put = replaced(&json!({"userName": "ana", "nickName": "N"}), &inactive);
        assert_eq!(
            put.attributes(),
            json!({"userName": "ana", "nickName": "N", "active": false}).as_object().unwrap()
        );
        assert!(replaced(&json!({"userName": "ana", "active": true}), &inactive).active());
        assert!(!replaced(&json!({"userName": "ana", "active": null}), &inactive).active());
        assert!(
            UserInput::parse(&json!({"title": "x"}))
                .unwrap()
                .replace(&inactive, &DecidingAttributes::default())
                .is_err()
        );
    }

    fn meta() -> Meta {
        Meta {
            id: "u1".to_owned(),
            created: "2026-01-01T00:00:00.000Z".to_owned(),
            last_modified: "2026-01-02T00:00:00.000Z".to_owned(),
            version: "W/\"3\"".to_owned(),
            base_url: "https://x.example/scim/v2".to_owned(),
        }
    }

    #[test]
    fn an_answer_has_meta_groups_access_and_the_schemas_it_shows() {
        let user = created(&json!({"userName": "ana", urn::ENTERPRISE_USER: {"department": "D"}}));
        let groups = [GroupRef { id: "g1".to_owned(), display: "Ops".to_owned(), direct: false }];
        let access =
            AccessView { grants: vec![json!({"binding": "b"})], grant_state: Some("held".to_owned()) };
        let shown = render(user, &meta(), Some(&groups), Some(&access));
        assert_eq!(
            shown,
            json!({
                "schemas": [urn::USER, urn::ENTERPRISE_USER, urn::BACKUP_USER],
                "id": "u1", "userName": "ana", "active": true,
                "groups": [{"value": "g1", "$ref": "https://x.example/scim/v2/Groups/g1", "display": "Ops", "type": "indirect"}],
                "meta": {"resourceType": "User", "created": "2026-01-01T00:00:00.000Z", "lastModified": "2026-01-02T00:00:00.000Z",
                    "location": "https://x.example/scim/v2/Users/u1", "version": "W/\"3\""},
                urn::ENTERPRISE_USER: {"department": "D"},
                urn::BACKUP_USER: {"grants": [{"binding": "b"}], "grantState": "held"},
            })
        );
        let plain = render(created(&json!({"userName": "ana"})), &meta(), None, None);
        assert_eq!(plain["schemas"], json!([urn::USER]));
        assert_eq!(plain.get("groups"), None);
    }
}
