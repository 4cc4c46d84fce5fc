//! Groups (RFC 7643 section 4.2): from bodies, and to answers. Members are kept apart from the stored attributes.

use super::body::Body;
use super::error::Error;
use super::resource::{MemberRef, Meta, Resource, location};
use super::schema::ResourceType::{Group, User};
use serde_json::{Value, json};

/// A group as a client wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupInput {
    /// Its attributes.
    pub resource: Resource,
    /// Its members; none if the body does not speak of members, empty if it says that there are none.
    pub members: Option<Vec<MemberRef>>,
}

/// The group of a POST body.
pub fn create(body: &Value) -> Result<GroupInput, Error> {
    let mut body = Body::read(Group, body)?;
    let members = body.members.take();
    Ok(GroupInput { resource: body.resource(Group)?, members })
}

/// The group after a PUT; what the body leaves out is gone.
pub fn replace(body: &Value, _current: &Resource) -> Result<GroupInput, Error> {
    create(body)
}

/// The answer (RFC 7644 section 3.4.1), with members where they were read.
pub fn render(resource: &Resource, meta: &Meta, members: Option<&[String]>) -> Value {
    let mut shown = resource.frame(meta);
    if let Some(members) = members {
        let list = members
            .iter()
            .map(|id| json!({"value": id, "$ref": location(&meta.base_url, User, id), "type": User.name()}));
        shown.insert("members".to_owned(), Value::Array(list.collect()));
    }
    Value::Object(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::urn;

    #[track_caller]
    fn creates(body: Value, members: Option<&[&str]>) {
        let input = create(&body).unwrap();
        assert_eq!(input.resource.text("displayName"), Some("Ops"));
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
    }

    #[test]
    fn wrong_groups_are_refused() {
        assert_eq!(create(&json!({})).unwrap_err().detail, "displayName is required and must not be empty");
        assert_eq!(
            create(&json!({"displayName": "Ops", "members": [{"display": "x"}]})).unwrap_err().detail,
            "each member needs a value, the id of a user or group"
        );
    }

    #[test]
    fn an_answer_shows_the_members_it_was_given() {
        let group = create(&json!({"displayName": "Ops", "externalId": "x"})).unwrap().resource;
        let meta = Meta {
            id: "g1".to_owned(),
            created: "c".to_owned(),
            last_modified: "m".to_owned(),
            version: "W/\"1\"".to_owned(),
            base_url: "https://x.example/scim/v2".to_owned(),
        };
        let shown = render(&group, &meta, Some(&["u1".to_owned()]));
        assert_eq!(
            shown["members"],
            json!([{"value": "u1", "$ref": "https://x.example/scim/v2/Users/u1", "type": "User"}])
        );
        assert_eq!(shown["meta"]["location"], "https://x.example/scim/v2/Groups/g1");
        assert_eq!(shown["schemas"], json!([urn::GROUP]));
        assert_eq!(render(&group, &meta, None).get("members"), None);
    }
}
