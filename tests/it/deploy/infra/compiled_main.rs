//! What `main.bicep` deploys, by the compiler, beside what the documents promise. Nothing is checked without a compiler.

use super::{read, root, text};
use crate::deploy::compiler::{Compiler, SUBSCRIPTION, Session, TemplateCopy};
use azure_backup_scim::config::Config;
use regex_lite::Regex;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const ADMINISTRATORS: &str = "00000000-0000-0000-0000-0000000000cc";
const AUDITORS: &str = "00000000-0000-0000-0000-0000000000aa";
const OPERATORS: &str = "00000000-0000-0000-0000-0000000000bb";
const ADMINS: &str = "00000000-0000-0000-0000-0000000000dd";
/// What has no default.
const MINIMAL: [(&str, &str); 2] = [("environmentName", "prod"), ("location", "westeurope")];
/// Everything that gives a right or a setting.
const FULL: [(&str, &str); 9] = [
    ("environmentName", "prod"),
    ("location", "westeurope"),
    ("tokenAdminPrincipalId", ADMINISTRATORS),
    ("auditReaderPrincipalId", AUDITORS),
    ("operatorPrincipalId", OPERATORS),
    ("operatorPrincipalType", "User"),
    ("identityAdminPrincipalId", ADMINS),
    ("publicBaseUrl", "https://scim.contoso.example"),
    ("scimTenant", "contoso"),
];

/// Roles by the names that the documents use.
const ROLES: [(&str, &str); 8] = [
    ("Storage Blob Data Owner", "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"),
    ("Storage Blob Data Contributor", "ba92f5b4-2d11-453d-a403-e96b0029c9fe"),
    ("Storage Blob Data Reader", "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"),
    ("Storage Table Data Contributor", "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3"),
    ("Storage Table Data Reader", "76199698-9eea-4c19-bc75-cec21354c6b6"),
    ("Key Vault Secrets User", "4633458b-17de-408a-b874-0445c86b69e6"),
    ("Key Vault Secrets Officer", "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"),
    ("Monitoring Metrics Publisher", "3913510d-42f4-4e42-8a64-420c390055eb"),
];
const CONSUMER: &str = "a custom role: read and delete entities";
const HOST_STORAGE: &str = "Microsoft.Storage/storageAccounts/sthost-SUFFIX";
const SCIM_TABLE: &str = "Microsoft.Storage/storageAccounts/ststate-SUFFIX/tableServices/default/tables/scim";
const ORDERS_TABLE: &str =
    "Microsoft.Storage/storageAccounts/ststate-SUFFIX/tableServices/default/tables/orders";
const REQUESTS_TABLE: &str =
    "Microsoft.Storage/storageAccounts/ststate-SUFFIX/tableServices/default/tables/requests";
const HEADS: &str =
    "Microsoft.Storage/storageAccounts/ststate-SUFFIX/blobServices/default/containers/audit-heads";
const VAULT: &str = "Microsoft.KeyVault/vaults/kv-SUFFIX";
const INSIGHTS: &str = "Microsoft.Insights/components/appi-SUFFIX";

/// Role, scope and principal: the service's.
const OF_THE_SERVICE: [(&str, &str, &str); 7] = [
    ("Storage Blob Data Owner", HOST_STORAGE, "ServicePrincipal SERVICE"),
    ("Storage Table Data Contributor", SCIM_TABLE, "ServicePrincipal SERVICE"),
    (CONSUMER, ORDERS_TABLE, "ServicePrincipal SERVICE"),
    ("Storage Table Data Contributor", REQUESTS_TABLE, "ServicePrincipal SERVICE"),
    ("Storage Blob Data Contributor", HEADS, "ServicePrincipal SERVICE"),
    ("Key Vault Secrets User", VAULT, "ServicePrincipal SERVICE"),
    ("Monitoring Metrics Publisher", INSIGHTS, "ServicePrincipal SERVICE"),
];
/// Those that other people get where their object ids are given.
const OF_PEOPLE: [(&str, &str, &str); 9] = [
    ("Key Vault Secrets Officer", VAULT, "User 00000000-0000-0000-0000-0000000000cc"),
    ("Storage Blob Data Reader", HEADS, "Group 00000000-0000-0000-0000-0000000000aa"),
    ("Storage Table Data Reader", SCIM_TABLE, "Group 00000000-0000-0000-0000-0000000000aa"),
    ("Storage Table Data Reader", SCIM_TABLE, "User 00000000-0000-0000-0000-0000000000bb"),
    ("Storage Table Data Contributor", ORDERS_TABLE, "User 00000000-0000-0000-0000-0000000000bb"),
    ("Storage Table Data Reader", SCIM_TABLE, "Group 00000000-0000-0000-0000-0000000000dd"),
    ("Storage Table Data Reader", REQUESTS_TABLE, "Group 00000000-0000-0000-0000-0000000000aa"),
    ("Storage Table Data Reader", REQUESTS_TABLE, "User 00000000-0000-0000-0000-0000000000bb"),
    ("Storage Table Data Reader", REQUESTS_TABLE, "Group 00000000-0000-0000-0000-0000000000dd"),
];

/// App settings that only the Functions host reads.
const OF_THE_HOST: [&str; 6] = [
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "AzureWebJobsDisableHomepage",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__credential",
];
/// What `serve` could do without, and a deployment sets all the same.
const OPTIONAL: [&str; 12] = [
    "AUDIT_HEADS_CONTAINER",
    "AUDIT_HEADS_ENDPOINT",
    "AUDIT_RETENTION_MONTHS",
    "AZURE_CLIENT_ID",
    "AZURE_CREDENTIAL",
    "BEARER_TOKEN_SECRET",
    "INSTANCE_ID",
    "ORDERS_TABLE",
    "REQUESTS_TABLE",
    "SCIM_ANNOUNCE_CURSORS",
    "SCIM_TENANT",
    "TABLES_TABLE",
];
/// Set only where the parameter is given.
const WHERE_GIVEN: &str = "PUBLIC_BASE_URL";

/// Everything that a deployment makes, by type; one more is one more line here and in `docs/deploy.md`.
const RESOURCES: [(&str, usize); 22] = [
    ("Microsoft.Authorization/roleDefinitions", 1),
    ("Microsoft.Insights/components", 1),
    ("Microsoft.Insights/diagnosticSettings", 3),
    ("Microsoft.Insights/metricAlerts", 1),
    ("Microsoft.Insights/scheduledQueryRules", 15),
    ("Microsoft.Insights/webtests", 1),
    ("Microsoft.Insights/workbooks", 1),
    ("Microsoft.KeyVault/vaults", 1),
    ("Microsoft.ManagedIdentity/userAssignedIdentities", 1),
    ("Microsoft.OperationalInsights/workspaces", 1),
    ("Microsoft.OperationalInsights/workspaces/tables", 4),
    ("Microsoft.Resources/resourceGroups", 1),
    ("Microsoft.Storage/storageAccounts", 2),
    ("Microsoft.Storage/storageAccounts/blobServices", 2),
    ("Microsoft.Storage/storageAccounts/blobServices/containers", 2),
    ("Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies", 1),
    ("Microsoft.Storage/storageAccounts/tableServices", 1),
    ("Microsoft.Storage/storageAccounts/tableServices/tables", 3),
    ("Microsoft.Web/serverfarms", 1),
    ("Microsoft.Web/sites", 1),
    ("Microsoft.Web/sites/basicPublishingCredentialsPolicies", 2),
    ("Microsoft.Web/sites/config", 1),
];

/// Which switches are as they are promised: no key, nothing public, no password.
const SWITCHES: [(&str, &str, bool); 9] = [
    ("Microsoft.Storage/storageAccounts", "/allowSharedKeyAccess", false),
    ("Microsoft.Storage/storageAccounts", "/allowBlobPublicAccess", false),
    ("Microsoft.Storage/storageAccounts", "/supportsHttpsTrafficOnly", true),
    ("Microsoft.KeyVault/vaults", "/enableRbacAuthorization", true),
    ("Microsoft.KeyVault/vaults", "/enablePurgeProtection", true),
    ("Microsoft.Insights/components", "/DisableLocalAuth", true),
    ("Microsoft.OperationalInsights/workspaces", "/features/disableLocalAuth", true),
    ("Microsoft.Web/sites", "/httpsOnly", true),
    ("Microsoft.Web/sites/basicPublishingCredentialsPolicies", "/allow", false),
];

type Assignment = (String, String, String);

/// What the compiler says, with names in the place of what is derived.
struct Snapshot(Value);

fn snapshot(session: &mut Session, templates: &TemplateCopy, parameters: &[(&str, &str)]) -> Snapshot {
    let snapshot = session.snapshot(&templates.parameters("main.bicep", parameters));
    let identity = |value: &&Value| value["type"] == "Microsoft.ManagedIdentity/userAssignedIdentities";
    let identity = snapshot["predictedResources"].as_array().unwrap().iter().find(identity).unwrap();
    let suffix = text(&identity["name"]).replace("id-", "");
    let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-prod");
    // A reference names the version of the API too.
    let version = Regex::new(r"', '\d{4}-\d\d-\d\d'\)").unwrap();
    let named = version
        .replace_all(&snapshot.to_string(), "')")
        .replace(&format!("reference('{}')", text(&identity["id"])), "SERVICE")
        .replace(&format!("{group}/providers/"), "")
        .replace(&group, "GROUP")
        .replace(&format!("-{suffix}"), "-SUFFIX")
        .replace(&suffix, "-SUFFIX");
    Snapshot(serde_json::from_str(&named).unwrap())
}

impl Snapshot {
    fn resources(&self) -> impl Iterator<Item = &Value> {
        self.0["predictedResources"].as_array().unwrap().iter()
    }

    fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.resources().filter(move |resource| resource["type"] == kind)
    }

    /// Role, scope and principal of every assignment.
    fn assignments(&self) -> Vec<Assignment> {
        self.of("Microsoft.Authorization/roleAssignments").map(|one| self.assignment(one)).collect()
    }

    fn assignment(&self, assignment: &Value) -> Assignment {
        let properties = &assignment["properties"];
        let role = text(&properties["roleDefinitionId"]);
        let own =
            self.of("Microsoft.Authorization/roleDefinitions").any(|one| role.ends_with(&text(&one["name"])));
        let known = ROLES.iter().find(|(_, id)| role.ends_with(id)).map(|(name, _)| *name);
        let role = if own { CONSUMER.to_owned() } else { known.map_or(role, str::to_owned) };
        // Either an id, or an expression whose first argument is the scope.
        let id = text(&assignment["id"]);
        let scope = match id.strip_prefix("[extensionResourceId('").and_then(|rest| rest.split_once('\'')) {
            Some((scope, _)) => scope.to_owned(),
            None => id.split("/providers/Microsoft.Authorization").next().unwrap().to_owned(),
        };
        let principal = text(&properties["principalId"]).replace("[SERVICE.principalId]", "SERVICE");
        (role, scope, format!("{} {principal}", text(&properties["principalType"])))
    }

    fn settings(&self) -> BTreeMap<String, String> {
        let [settings] = self.of("Microsoft.Web/sites/config").collect::<Vec<_>>()[..] else {
            panic!("one list of settings")
        };
        let settings = settings["properties"].as_object().unwrap().iter();
        settings.map(|(name, value)| (name.clone(), text(value))).collect()
    }

    /// What is not as promised. The last two say what was given.
    fn broken(&self, assignments: &[(&str, &str, &str)], is_public_url_given: bool) -> Vec<String> {
        let mut broken = Vec::new();
        let mut expect = |what: &str, is: bool| broken.extend((!is).then(|| what.to_owned()));
        expect("no diagnostics", self.0["diagnostics"] == json!([]));
        let mut expected: Vec<Assignment> = assignments
            .iter()
            .map(|(role, scope, who)| (role.to_string(), scope.to_string(), who.to_string()))
            .collect();
        let mut made = self.assignments();
        made.sort();
        expected.sort();
        expect(&format!("role assignments: {made:?}"), made == expected);
        let kinds: BTreeMap<String, usize> = self.resources().fold(BTreeMap::new(), |mut kinds, resource| {
            *kinds.entry(text(&resource["type"])).or_default() += 1;
            kinds
        });
        let beside: BTreeMap<String, usize> =
            kinds.into_iter().filter(|(kind, _)| kind != "Microsoft.Authorization/roleAssignments").collect();
        let promised = RESOURCES.map(|(kind, count)| (kind.to_owned(), count));
        expect(&format!("resources: {beside:?}"), beside == BTreeMap::from(promised));
        let outside = |resource: &&Value| text(&resource["id"]).starts_with("/subscriptions/");
        expect("all in its own resource group", self.resources().find(outside).is_none());
        for (kind, switch, wanted) in SWITCHES {
            for resource in self.of(kind) {
                let is = resource["properties"].pointer(switch).unwrap_or(&Value::Null);
                expect(&format!("{kind}{switch}"), *is == json!(wanted));
            }
        }
        let containers = "Microsoft.Storage/storageAccounts/blobServices/containers";
        expect("no public blob", self.of(containers).all(|one| one["properties"]["publicAccess"] == "None"));
        let keys = Regex::new(r"\blist\w*\(").unwrap();
        expect("no key is read", !keys.is_match(&self.0.to_string()));
        broken.extend(self.broken_settings(is_public_url_given));
        broken.extend(self.broken_outputs(is_public_url_given));
        broken
    }

    fn broken_settings(&self, is_public_url_given: bool) -> Option<String> {
        let required = Config::parse(&BTreeMap::new()).unwrap_err().mistakes;
        let required = required.iter().map(|mistake| mistake.variable);
        let given = is_public_url_given.then_some(WHERE_GIVEN);
        let expected: BTreeSet<&str> = required.chain(OPTIONAL).chain(OF_THE_HOST).chain(given).collect();
        let settings = self.settings();
        let names: BTreeSet<&str> = settings.keys().map(String::as_str).collect();
        // What an expression gives is not known here.
        let evaluated = settings.iter().map(|(name, value)| {
            let value = if value.starts_with('[') { "https://contoso.example" } else { value };
            (name.clone(), value.to_owned())
        });
        let parsed = Config::parse(&evaluated.collect());
        (names != expected || parsed.is_err()).then(|| format!("settings: {names:?}, {parsed:?}"))
    }

    fn broken_outputs(&self, is_public_url_given: bool) -> Option<String> {
        let base = match is_public_url_given {
            true => "https://scim.contoso.example/scim/v2",
            false => {
                "[format('{0}/scim/v2', format('https://{0}', reference('Microsoft.Web/sites/func-SUFFIX').defaultHostName))]"
            }
        };
        let expected = json!({
            "AUDIT_HEADS_ACCOUNT": "ststate-SUFFIX",
            "AUDIT_HEADS_CONTAINER": "audit-heads",
            "AUDIT_HEADS_DAYS": 400,
            "AUDIT_HEADS_ENDPOINT": "[format('https://{0}.blob.{1}', 'ststate-SUFFIX', environment().suffixes.storage)]",
            "AZURE_LOCATION": "westeurope",
            "AZURE_RESOURCE_GROUP": "rg-prod",
            "FUNCTION_APP_NAME": "func-SUFFIX",
            "DRILL_PRINCIPAL_ID": "",
            "KEY_VAULT_NAME": "kv-SUFFIX",
            "SCIM_BASE_URL": base,
            "SERVICE_CLIENT_ID": "[SERVICE.clientId]",
            "SERVICE_PRINCIPAL_ID": "[SERVICE.principalId]",
            "WORKSPACE_ID": "Microsoft.OperationalInsights/workspaces/log-SUFFIX",
            "TABLES_ENDPOINT": "[format('https://{0}.table.{1}', 'ststate-SUFFIX', environment().suffixes.storage)]",
        });
        let outputs = &self.0["outputs"];
        (*outputs != expected).then(|| format!("outputs: {outputs}"))
    }
}

/// Facts: F-072.
#[test]
fn main_deploys_what_the_documents_promise() {
    let Some(compiler) = Compiler::find("what main.bicep deploys") else { return };
    let mut session = compiler.session();
    let templates = TemplateCopy::new(&read("bindings.json"));
    let minimal = snapshot(&mut session, &templates, &MINIMAL);
    assert_eq!(minimal.broken(&OF_THE_SERVICE, false), [""; 0]);

    let everyone = [&OF_THE_SERVICE[..], &OF_PEOPLE].concat();
    let full = snapshot(&mut session, &templates, &FULL);
    assert_eq!(full.broken(&everyone, true), [""; 0]);
    assert_eq!(full.settings()["SCIM_TENANT"], "contoso");

    // One assignment of a role to a principal at a scope: Azure refuses a second one.
    let auditors =
        FULL.map(|(name, value)| (name, if name == "auditReaderPrincipalId" { OPERATORS } else { value }));
    let without_auditors: Vec<_> = everyone
        .iter()
        .copied()
        .filter(|(role, _, who)| !who.ends_with(AUDITORS) || *role == "Storage Blob Data Reader")
        .map(|(role, scope, who)| match role {
            "Storage Blob Data Reader" => (role, scope, "Group 00000000-0000-0000-0000-0000000000bb"),
            "Storage Table Data Reader" if !who.ends_with(ADMINS) => {
                (role, scope, "Group 00000000-0000-0000-0000-0000000000bb")
            }
            _ => (role, scope, who),
        })
        .collect();
    assert_eq!(snapshot(&mut session, &templates, &auditors).broken(&without_auditors, true), [""; 0]);
}

#[test]
fn drills_have_a_leaver_without_a_right_and_an_empty_resource_group() {
    let Some(compiler) = Compiler::find("what main.bicep deploys for drills") else { return };
    let mut session = compiler.session();
    let templates = TemplateCopy::new(&read("bindings.json"));
    let kinds = |made: &Snapshot| {
        let mut kinds: Vec<String> = made.resources().map(|resource| text(&resource["type"])).collect();
        kinds.sort();
        kinds
    };
    let without = snapshot(&mut session, &templates, &MINIMAL);
    let drill = [&MINIMAL[..], &[("drill", "true"), ("drillEveryHours", "24")]].concat();
    let with = snapshot(&mut session, &templates, &drill);
    let mut expected = kinds(&without);
    expected.push("Microsoft.ManagedIdentity/userAssignedIdentities".to_owned());
    expected.push("Microsoft.Resources/resourceGroups".to_owned());
    expected.sort();
    assert_eq!(kinds(&with), expected, "no right, and nothing in the group");
    let groups: Vec<String> =
        with.of("Microsoft.Resources/resourceGroups").map(|group| text(&group["name"])).collect();
    assert_eq!(groups, ["rg-prod", "rg-prod-drill"]);

    let (settings, hours) = (with.settings(), "DRILL_EVERY_HOURS");
    assert_eq!(settings[hours], "24");
    let leaver =
        "[reference('Microsoft.ManagedIdentity/userAssignedIdentities/id-drill-SUFFIX').principalId]";
    assert_eq!(settings["DRILL_PRINCIPAL_ID"], leaver);
    assert_eq!(with.0["outputs"]["DRILL_PRINCIPAL_ID"], leaver);
    let by_order = [&MINIMAL[..], &[("drill", "true")]].concat();
    let settings = snapshot(&mut session, &templates, &by_order).settings();
    assert!(settings.contains_key("DRILL_PRINCIPAL_ID") && !settings.contains_key(hours));
    // Hours alone set nothing.
    let hours_alone = [&MINIMAL[..], &[(("drillEveryHours"), "24")]].concat();
    assert_eq!(snapshot(&mut session, &templates, &hours_alone).broken(&OF_THE_SERVICE, false), [""; 0]);
}

/// Each promise is broken once.
#[test]
fn a_template_that_breaks_a_promise_is_noticed() {
    let Some(compiler) = Compiler::find("that a broken main.bicep is noticed") else { return };
    let mut session = compiler.session();
    for (file, old, new, expected) in [
        (
            "app/host-storage.bicep",
            "allowSharedKeyAccess: false",
            "allowSharedKeyAccess: true",
            "allowSharedKeyAccess",
        ),
        ("app/state-storage.bicep", "allowBlobPublicAccess: false", "", "allowBlobPublicAccess"),
        ("app/host-storage.bicep", "publicAccess: 'None'", "publicAccess: 'Blob'", "no public blob"),
        ("app/host-storage.bicep", ROLES[0].1, "b24988ac-6180-42a0-ab88-20f7382dd24c", "role assignments"),
        ("app/state-storage.bicep", "  scope: scim\n", "  scope: account\n", "role assignments"),
        (
            "app/key-vault.bicep",
            "principalId: servicePrincipalId",
            "principalId: tenant().tenantId",
            "role assignments",
        ),
        ("app/function-app.bicep", "    SCIM_TENANT: scimTenant\n", "", "settings"),
        ("app/function-app.bicep", "KEY_VAULT_URL:", "VAULT_URL:", "settings"),
        ("app/function-app.bicep", "'managed-identity'", "'managedidentity'", "settings"),
        ("main.bicep", "output TABLES_ENDPOINT", "output TABLE_ENDPOINT", "outputs"),
        (
            "main.bicep",
            "output SERVICE_CLIENT_ID string = identity.outputs.clientId",
            "output SERVICE_CLIENT_ID string = identity.outputs.id",
            "outputs",
        ),
        (
            "main.bicep",
            "resource group 'Microsoft",
            "resource more 'Microsoft.Resources/resourceGroups@2025-04-01' = {\n  name: 'more'\n  location: location\n}\nresource group 'Microsoft",
            "resources",
        ),
    ] {
        let templates = TemplateCopy::new(&read("bindings.json")).replace(&format!("infra/{file}"), old, new);
        let broken = snapshot(&mut session, &templates, &MINIMAL).broken(&OF_THE_SERVICE, false);
        assert!(broken.iter().any(|what| what.contains(expected)), "{file}: {new}: {broken:?}");
    }
}

/// Facts: F-154.
#[test]
fn the_linter_finds_nothing_in_the_templates_and_something_in_a_planted_one() {
    let Some(compiler) = Compiler::find("the templates, by the linter") else { return };
    for template in ["infra/main.bicep", "infra/delegation.bicep"] {
        assert_eq!(compiler.lint(&root().join(template)), [""; 0]);
    }
    let planted = TemplateCopy::new(&read("bindings.json")).replace(
        "infra/delegation.bicep",
        "param principalId string",
        "param principalId string\nparam forgotten string",
    );
    let found = compiler.lint(&planted.path("infra/delegation.bicep"));
    assert!(found.iter().any(|line| line.contains("no-unused-params")), "{found:?}");
}

/// Without a compiler too.
#[test]
fn the_rights_of_the_service_are_documented() {
    let security = read("docs/security.md");
    for (role, _, _) in OF_THE_SERVICE {
        assert!(security.contains(&format!("| {role} |")), "{role} is in a table of docs/security.md");
    }
}
