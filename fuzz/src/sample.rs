//! Resources that have something in every kind of attribute.

use azure_backup_scim::scim::{Resource, ResourceType};
use serde_json::{Value, json};

/// What is stored of one.
pub fn stored(kind: ResourceType) -> Value {
    match kind {
        ResourceType::User => json!({
            "userName": "ana@example.test",
            "externalId": "a-1",
            "active": true,
            "displayName": "Ana",
            "title": "Engineer",
            "name": {"givenName": "Ana", "familyName": "Straße", "formatted": "Ana Straße"},
            "emails": [
                {"value": "ana@example.test", "type": "work", "primary": true},
                {"value": "home@example.test", "type": "home"},
            ],
            "addresses": [{"type": "work", "formatted": "1 Road\nTown", "country": "DE"}],
            "phoneNumbers": [{"value": "+49 1", "type": "mobile"}],
            "roles": [{"value": "admin"}],
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
                "department": "Storage",
                "manager": {"value": "26118915-6090-4610-87e4-49d8ca9f808d"},
            },
            "urn:ietf:params:scim:schemas:extension:azurebackup:2.0:User": {
                "entraObjectId": "11111111-0000-4000-8000-000000000001",
            },
        }),
        ResourceType::Group => json!({"displayName": "Operators", "externalId": "g-1"}),
    }
}

/// The same as a resource.
pub fn resource(kind: ResourceType) -> Resource {
    let Value::Object(attributes) = stored(kind) else {
        return Resource::from_stored(kind, Default::default());
    };
    Resource::from_stored(kind, attributes)
}

/// The same as it is rendered.
pub fn rendered(kind: ResourceType) -> Value {
    let mut shown = stored(kind);
    shown["id"] = json!("2819c223-7f76-453a-919d-413861904646");
    shown["schemas"] = json!([kind.schema()]);
    shown["meta"] = json!({
        "resourceType": kind.name(),
        "created": "2026-01-01T00:00:00Z",
        "lastModified": "2026-02-01T00:00:00Z",
        "version": "W/\"1\"",
        "location": "https://scim.example/scim/v2/x",
    });
    let related = json!([{"value": "26118915-6090-4610-87e4-49d8ca9f808d", "type": "User", "display": "D"}]);
    shown[if kind == ResourceType::User { "groups" } else { "members" }] = related;
    shown
}
