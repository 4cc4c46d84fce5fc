//! What this service can do and what its resources look like (RFC 7643 sections 5 to 7, RFC 7644 section 4, RFC 9865).

use crate::scim::bulk::{OPERATIONS_MAX, PAYLOAD_BYTES_MAX};
use crate::scim::page::{COUNT_DEFAULT, COUNT_MAX, CURSOR_TIMEOUT};
use crate::scim::schema::{
    Attribute, AttributeType, Mutability, ResourceType, Returned, SCHEMAS, Schema, Uniqueness,
};
use crate::scim::urn;
use serde_json::{Map, Value, json};

/// The answer of `/ServiceProviderConfig`. It announces only what works, and how lists are paged (RFC 9865) only where that
/// is asked for: identity providers of today refuse a member that they do not know.
pub fn service_provider_config(base_url: &str, announce_cursors: bool) -> Value {
    let mut config = json!({
        "schemas": [urn::SERVICE_PROVIDER_CONFIG],
        "patch": {"supported": true},
        "bulk": {"supported": true, "maxOperations": OPERATIONS_MAX, "maxPayloadSize": PAYLOAD_BYTES_MAX},
        "filter": {"supported": true, "maxResults": COUNT_MAX},
        "changePassword": {"supported": false},
        "sort": {"supported": true},
        "etag": {"supported": true},
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "The token of this tenant, in the Authorization header.",
            "specUri": "https://www.rfc-editor.org/info/rfc6750",
            "primary": true,
        }],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{base_url}/ServiceProviderConfig"),
        },
    });
    if let Some(config) = config.as_object_mut().filter(|_| announce_cursors) {
        config.insert("pagination".to_owned(), pagination());
    }
    config
}

fn pagination() -> Value {
    json!({
        "cursor": true,
        "index": true,
        "defaultPaginationMethod": "index",
        "defaultPageSize": COUNT_DEFAULT,
        "maxPageSize": COUNT_MAX,
        "cursorTimeout": CURSOR_TIMEOUT.as_secs(),
    })
}

/// The resources of `/ResourceTypes`.
pub fn resource_types(base_url: &str) -> Vec<Value> {
    [ResourceType::User, ResourceType::Group].into_iter().map(|kind| resource_type(base_url, kind)).collect()
}

fn resource_type(base_url: &str, kind: ResourceType) -> Value {
    let extensions = kind.extensions().iter().map(|schema| json!({"schema": schema.urn, "required": false}));
    json!({
        "schemas": [urn::RESOURCE_TYPE],
        "id": kind.name(),
        "name": kind.name(),
        "description": kind.core().description,
        "endpoint": format!("/{}", kind.endpoint()),
        "schema": kind.schema(),
        "schemaExtensions": extensions.collect::<Vec<_>>(),
        "meta": {
            "resourceType": "ResourceType",
            "location": format!("{base_url}/ResourceTypes/{}", kind.name()),
        },
    })
}

/// The resources of `/Schemas`.
pub fn schemas(base_url: &str) -> Vec<Value> {
    SCHEMAS.into_iter().map(|schema| schema_view(base_url, schema)).collect()
}

fn schema_view(base_url: &str, schema: &Schema) -> Value {
    json!({
        "schemas": [urn::SCHEMA],
        "id": schema.urn,
        "name": schema.name,
        "description": schema.description,
        "attributes": attributes(schema.attributes),
        "meta": {"resourceType": "Schema", "location": format!("{base_url}/Schemas/{}", schema.urn)},
    })
}

fn attributes(list: &[Attribute]) -> Vec<Value> {
    list.iter().map(attribute).collect()
}

/// One attribute; characteristics that do not apply to its type are left out, never null.
fn attribute(attribute: &Attribute) -> Value {
    let mut view = Map::new();
    let mut put = |name: &str, value: Value| view.insert(name.to_owned(), value);
    put("name", attribute.name.into());
    put("type", type_name(attribute.kind).into());
    put("multiValued", attribute.multi_valued.into());
    put("description", attribute.description.into());
    put("required", attribute.required.into());
    put("mutability", mutability(attribute.mutability).into());
    put("returned", returned(attribute.returned).into());
    put("uniqueness", uniqueness(attribute.uniqueness).into());
    if matches!(attribute.kind, AttributeType::String | AttributeType::Reference | AttributeType::Binary) {
        put("caseExact", attribute.case_exact.into());
    }
    if !attribute.canonical_values.is_empty() {
        put("canonicalValues", attribute.canonical_values.into());
    }
    if !attribute.reference_types.is_empty() {
        put("referenceTypes", attribute.reference_types.into());
    }
    if !attribute.sub_attributes.is_empty() {
        put("subAttributes", attributes(attribute.sub_attributes).into());
    }
    Value::Object(view)
}

const fn type_name(kind: AttributeType) -> &'static str {
    match kind {
        AttributeType::String => "string",
        AttributeType::Boolean => "boolean",
        AttributeType::DateTime => "dateTime",
        AttributeType::Reference => "reference",
        AttributeType::Binary => "binary",
        AttributeType::Complex => "complex",
    }
}

const fn mutability(mutability: Mutability) -> &'static str {
    match mutability {
        Mutability::ReadOnly => "readOnly",
        Mutability::ReadWrite => "readWrite",
        Mutability::Immutable => "immutable",
        Mutability::WriteOnly => "writeOnly",
    }
}

const fn returned(returned: Returned) -> &'static str {
    match returned {
        Returned::Always => "always",
        Returned::Never => "never",
        Returned::Default => "default",
        Returned::Request => "request",
    }
}

const fn uniqueness(uniqueness: Uniqueness) -> &'static str {
    match uniqueness {
        Uniqueness::None => "none",
        Uniqueness::Server => "server",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://x.example/scim/v2";

    #[track_caller]
    fn has(list: &[Value], wanted: Value) {
        let wanted = wanted.as_object().unwrap();
        let found = list.iter().any(|item| wanted.iter().all(|(name, value)| item.get(name) == Some(value)));
        assert!(found, "{wanted:?}");
    }

    #[track_caller]
    fn no_nulls(value: &Value) {
        match value {
            Value::Null => panic!("a null in a discovery answer"),
            Value::Array(list) => list.iter().for_each(no_nulls),
            Value::Object(object) => object.values().for_each(no_nulls),
            _ => {}
        }
    }

    #[test]
    fn the_configuration_has_every_required_member() {
        let config = service_provider_config(BASE, false);
        for (pointer, expected) in [
            ("/patch/supported", json!(true)),
            ("/bulk/supported", json!(true)),
            ("/bulk/maxOperations", json!(1000)),
            ("/bulk/maxPayloadSize", json!(8 * 1024 * 1024)),
            ("/filter/maxResults", json!(1000)),
            ("/etag/supported", json!(true)),
            ("/sort/supported", json!(true)),
            ("/changePassword/supported", json!(false)),
            ("/authenticationSchemes/0/type", json!("oauthbearertoken")),
        ] {
            assert_eq!(config.pointer(pointer), Some(&expected), "{pointer}");
        }
        assert_eq!(config.get("pagination"), None);
    }

    #[test]
    fn how_lists_are_paged_is_said_where_that_is_asked_for() {
        let config = service_provider_config(BASE, true);
        let expected = json!({
            "cursor": true, "index": true, "defaultPaginationMethod": "index",
            "defaultPageSize": 100, "maxPageSize": 1000, "cursorTimeout": 3600,
        });
        assert_eq!(config.get("pagination"), Some(&expected));
    }

    #[test]
    fn resource_types_name_their_endpoint_and_extensions() {
        let types = resource_types(BASE);
        has(&types, json!({"name": "User", "endpoint": "/Users", "schema": urn::USER}));
        has(
            &types,
            json!({"name": "Group", "endpoint": "/Groups", "schema": urn::GROUP, "schemaExtensions": []}),
        );
        has(types[0]["schemaExtensions"].as_array().unwrap(), json!({"schema": urn::ENTERPRISE_USER}));
        types.iter().for_each(no_nulls);
    }

    #[test]
    fn schemas_come_from_the_table() {
        let schemas = schemas(BASE);
        let ids: Vec<&str> = schemas.iter().filter_map(|schema| schema["id"].as_str()).collect();
        assert_eq!(ids, [urn::USER, urn::ENTERPRISE_USER, urn::BACKUP_USER, urn::GROUP]);
        has(&schemas, json!({"name": "User", "description": "User Account"}));
        has(&schemas, json!({"name": "EnterpriseUser", "description": "Enterprise User"}));
        has(&schemas, json!({"name": "Group", "description": "Group"}));
        let members = &schemas[3]["attributes"][1];
        let subs: Vec<&str> = members["subAttributes"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|sub| sub["name"].as_str())
            .collect();
        assert_eq!((&members["name"], subs), (&json!("members"), vec!["value", "$ref", "type"]));
        let user = schemas[0]["attributes"].as_array().unwrap();
        has(
            user,
            json!({"name": "userName", "required": true, "uniqueness": "server", "caseExact": false, "mutability": "readWrite"}),
        );
        has(user, json!({"name": "groups", "mutability": "readOnly", "multiValued": true}));
        has(user, json!({"name": "password", "mutability": "writeOnly", "returned": "never"}));
        let emails = user.iter().find(|attribute| attribute["name"] == "emails").unwrap();
        has(
            emails["subAttributes"].as_array().unwrap(),
            json!({"name": "type", "canonicalValues": ["work", "home", "other"]}),
        );
        has(schemas[2]["attributes"].as_array().unwrap(), json!({"name": "grants", "returned": "request"}));
        schemas.iter().for_each(no_nulls);
    }
}
