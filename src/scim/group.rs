//! Groups (RFC 7643 section 4.2): from bodies, and to answers. Members are kept apart from the stored attributes.

use crate::id::MemberId;
use crate::scim::deciding::DecidingAttributes;
use crate::scim::edit::EditedResource;
use crate::scim::error::Error;
use crate::scim::resource::{MemberRef, Meta, Resource, location};
use crate::scim::resource_input::{InputEdit, ResourceInput};
use crate::scim::schema::ResourceType::{Group, User};
use serde_json::{Value, json};

/// A group as a client wrote it, in the body of a POST or PUT.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupInput(ResourceInput);

/// A group as a body leaves it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EditedGroup {
    pub edited: EditedResource,
    /// None: the body does not speak of members. Empty: it says that there are none.
    pub members: Option<Vec<MemberRef>>,
}

impl GroupInput {
    /// Reads a body.
    pub fn parse(body: &Value) -> Result<Self, Error> {
        ResourceInput::parse(Group, body).map(Self)
    }

    /// The group of a POST.
    pub(crate) fn create(&self, deciding: &DecidingAttributes) -> Result<EditedGroup, Error> {
        let EditedGroup { edited, members } = self.edit(None, deciding)?;
        Ok(EditedGroup { edited: edited.unless_refused(false)?, members })
    }

    /// The group after a PUT; what the body leaves out is gone. A mistake in its name or external id may still be refused:
    /// that depends on who is removed.
    pub(crate) fn replace(
        &self,
        current: &Resource,
        deciding: &DecidingAttributes,
    ) -> Result<EditedGroup, Error> {
        self.edit(Some(current), deciding)
    }

    pub(super) fn input_mut(&mut self) -> &mut ResourceInput {
        &mut self.0
    }

    fn edit(&self, current: Option<&Resource>, deciding: &DecidingAttributes) -> Result<EditedGroup, Error> {
        let InputEdit { editor, members } = self.0.edit(current, deciding)?;
        Ok(EditedGroup { edited: editor.finish()?, members })
    }
}

/// The answer (RFC 7644 section 3.4.1), with members where they were read.
pub(crate) fn render(resource: Resource, meta: &Meta, members: Option<&[MemberId]>) -> Value {
    let mut shown = resource.frame(meta);
    if let Some(members) = members {
        let list = members.iter().map(|member| member_object(*member, &meta.base_url));
        shown.insert("members".to_owned(), Value::Array(list.collect()));
    }
    Value::Object(shown)
}

/// One member as it is shown, and as a filter on members sees it. `base_url` ends in `/scim/v2`.
pub(crate) fn member_object(member: MemberId, base_url: &str) -> Value {
    let kind = match member {
        MemberId::User(_) => User,
        MemberId::Group(_) => Group,
    };
    let id = member.to_string();
    json!({"value": id, "$ref": location(base_url, kind, &id), "type": kind.name()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{GroupId, UserId};
    use crate::scim::urn;

    fn create(body: &Value) -> Result<EditedGroup, Error> {
        GroupInput::parse(body)?.create(&DecidingAttributes::default())
    }

    #[track_caller]
    fn creates(body: Value, members: Option<&[&str]>) {
        let input = create(&body).unwrap();
        assert_eq!(input.edited.resource.text("displayName"), Some("Ops"));
        let found = input.members.map(|members| members.into_iter().map(|m| m.value).collect::<Vec<_>>());
        assert_eq!(found, members.map(|m| m.iter().map(|id| (*id).to_owned()).collect()));
    }

    #[test]
    fn members_are_taken_out_of_the_body() {
        creates(
            json!({"displayName": "Ops", "schemas": [urn::GROUP, "http://schemas.microsoft.com/x"]}),
            None,
        );
        creates(json!({"displayName": "Ops", "members": null}), Some(&[]));
        creates(json!({"displayName": "Ops", "members": []}), Some(&[]));
        creates(
            json!({"displayName": "Ops", "Members": [{"value": "a", "display": null}, {"VALUE": "b"}, {"value": "a"}]}),
            Some(&["a", "b"]),
        );
        creates(
            json!({"displayName": "Ops", "members": [{"display": "x"}, {"value": "a"}]}),
            Some(&["", "a"]),
        );
    }

    #[track_caller]
    fn refuses(body: Value, detail: &str) {
        let error = create(&body).unwrap_err();
        assert_eq!((error.status, error.detail.as_str()), (400, detail));
    }

    #[test]
    fn wrong_groups_are_refused() {
        refuses(json!({}), "displayName is required and must not be empty");
        refuses(json!({"displayName": "\u{200B}"}), "displayName is required and must not be empty");
        refuses(json!({"displayName": ["a"]}), "displayName takes one value, not a list");
        let members = "members takes a list of members; send an empty list to remove all of them";
        refuses(json!({"displayName": "Ops", "members": ""}), members);
        refuses(json!({"displayName": "Ops", "members": "a"}), members);
        let twice = json!({"displayName": "Ops", "members": [], format!("{}:members", urn::GROUP): []});
        refuses(twice, "members is given more than once");
        let path = json!({"displayName": "Ops", "members.value": "a"});
        refuses(path, "a whole group has members, not members.value");
        assert!(create(&json!({"displayName": "Ops", "members[display eq \"x\"]": 1})).is_err());
    }

    #[test]
    fn an_answer_shows_the_members_it_was_given() {
        let group = create(&json!({"displayName": "Ops", "externalId": "x"})).unwrap().edited.resource;
        let meta = Meta {
            id: "g1".to_owned(),
            created: "c".to_owned(),
            last_modified: "m".to_owned(),
            version: "W/\"1\"".to_owned(),
            base_url: "https://x.example/scim/v2".to_owned(),
        };
        let [ana, night] = [1, 2].map(uuid::Uuid::from_u128);
        let members = [MemberId::User(UserId::new(ana)), MemberId::Group(GroupId::new(night))];
        let shown = render(group.clone(), &meta, Some(&members));
        assert_eq!(
            shown["members"],
            json!([
                {"value": ana, "$ref": format!("https://x.example/scim/v2/Users/{ana}"), "type": "User"},
                {"value": night, "$ref": format!("https://x.example/scim/v2/Groups/{night}"), "type": "Group"},
            ])
        );
        assert_eq!(shown["meta"]["location"], "https://x.example/scim/v2/Groups/g1");
        assert_eq!(shown["schemas"], json!([urn::GROUP]));
        assert_eq!(render(group, &meta, None).get("members"), None);
    }
}
