//! The JSON Schema of the file format, generated from the structs below. They document the format and are never
//! built: [`super::walk`] reads files, because a schema cannot say where each mistake is and what to do.

use super::model::Bindings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::Value;

impl Bindings {
    /// The JSON Schema of the file format.
    pub fn json_schema() -> Value {
        json_schema()
    }
}

fn json_schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(without_null));
    settings.into_generator().into_root_schema_for::<File>().to_value()
}

/// What may be left out may not be null: the generator writes both for an `Option`.
fn without_null(schema: &mut Schema) {
    for key in ["type", "anyOf"] {
        let Some(Value::Array(choices)) = schema.get_mut(key) else { continue };
        choices.retain(|choice| choice != "null" && choice.get("type").is_none_or(|kind| kind != "null"));
        let [only] = choices.as_slice() else { continue };
        let only = only.clone();
        schema.remove(key);
        match only {
            Value::Object(members) => schema.ensure_object().extend(members),
            name => drop(schema.insert(key.to_owned(), name)),
        }
    }
}

/// Which SCIM group gives which Azure Backup role at which scope.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
#[schemars(rename_all = "camelCase", deny_unknown_fields, title = "Azure Backup SCIM bindings")]
struct File {
    /// Where the schema of this file is found, for editors.
    #[schemars(rename = "$schema")]
    schema: Option<String>,
    /// The version of the format.
    #[schemars(extend("const" = 1))]
    version: u32,
    principal: Option<Principal>,
    /// Scopes that were bound once and are no more. They give nothing; the service keeps its right to revoke there.
    /// A scope may not be bound and retired.
    #[schemars(extend("uniqueItems" = true))]
    retired: Option<Vec<Scope>>,
    #[schemars(length(max = 2000))]
    bindings: Vec<Binding>,
}

/// How the Entra object of a person is found.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
#[schemars(deny_unknown_fields)]
struct Principal {
    /// The attributes that may hold the Entra object id, in the order in which they are tried. `externalId` counts
    /// only where it has the form of a GUID. Default: `["entraObjectId"]`.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    from: Option<Vec<PrincipalSource>>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
#[schemars(rename_all = "camelCase")]
enum PrincipalSource {
    EntraObjectId,
    ExternalId,
}

/// One group, one role, one scope.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Binding {
    /// Unique in the file. Shown in plans, audit records and `grants[].binding`.
    #[schemars(regex(pattern = "^[a-z0-9-]{1,64}$"))]
    name: String,
    group: Group,
    /// A SCIM filter over the attributes of a person: of the group's members only those who match. It narrows a
    /// binding and never widens it.
    r#where: Option<String>,
    role: Role,
    scope: Scope,
    /// How the role is given. Default: `active`, a standing role assignment.
    kind: Option<Kind>,
    /// A whole subscription is accepted as scope only where this is true.
    allow_broad_scope: Option<bool>,
    /// The most people who may get the role through this binding. Others wait until there is room; who holds the role
    /// already through another binding keeps it. Default: 500.
    #[schemars(range(min = 1, max = 4000))]
    max_principals: Option<u32>,
    /// The most people whom this binding may give the role within an hour; at most `maxPrincipals`. More are held until an
    /// operator releases them. It does not count in the 24 hours after the binding's first grant. Default: 50.
    #[schemars(range(min = 1, max = 4000))]
    new_grants_max: Option<u32>,
}

/// The SCIM group: exactly one of `externalId`, `id` and `displayName`.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
#[schemars(untagged, deny_unknown_fields)]
enum Group {
    #[schemars(rename_all = "camelCase")]
    ExternalId {
        /// What the identity provider sends as the group's `externalId`; compared exactly.
        #[schemars(length(min = 1, max = 256))]
        external_id: String,
        allow_display_name: Option<bool>,
    },
    #[schemars(rename_all = "camelCase")]
    Id {
        /// The SCIM id that this service gave the group.
        #[schemars(extend("format" = "uuid"))]
        id: String,
        allow_display_name: Option<bool>,
    },
    #[schemars(rename_all = "camelCase")]
    DisplayName {
        /// The group's `displayName`, compared without case. Anyone who may name groups can claim it.
        #[schemars(length(min = 1, max = 256))]
        display_name: String,
        /// Says that the file's author knows that.
        #[schemars(extend("const" = true))]
        allow_display_name: bool,
    },
}

/// A built-in role of Azure Backup.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
enum Role {
    #[schemars(rename = "Backup Contributor")]
    Contributor,
    #[schemars(rename = "Backup Operator")]
    Operator,
    #[schemars(rename = "Backup Reader")]
    Reader,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
#[schemars(rename_all = "camelCase")]
enum Kind {
    Active,
}

/// A Recovery Services vault, a Backup vault, a resource group or, where it is allowed, a subscription.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
#[schemars(transparent)]
struct Scope(
    #[schemars(regex(
        pattern = "^/[sS][uU][bB][sS][cC][rR][iI][pP][tT][iI][oO][nN][sS]/[0-9A-Fa-f-]{36}(/.+)?$"
    ))]
    String,
);
