//! What `local` prints when it is ready: one line for a script, or a page with commands that end in a role assignment.

use super::options::LocalOptions;
use super::running::RunningLocal;
use crate::bindings::{Bindings, ConfiguredBinding, PrincipalSource, Selector};
use crate::simulator::ClientUrls;
use serde_json::{Value, json};

/// The person in the commands: a name, and an Entra object id, which a role assignment requires.
const USER_NAME: &str = "jane@contoso.example";
const OBJECT_ID: &str = "4f3b6c1e-8a1d-4a8e-9a53-0d6c1f2e7b90";
const OWN_EXTENSION: &str = "urn:ietf:params:scim:schemas:extension:azurebackup:2.0:User";

#[expect(clippy::print_stdout, reason = "what a person or a script reads")]
pub(super) fn print(options: &LocalOptions, running: &RunningLocal) {
    if options.json {
        println!("{}", line(running));
    } else {
        println!("{}", page(options, running));
    }
}

/// Where everything is, for a script.
fn line(running: &RunningLocal) -> Value {
    let azure = &running.simulator;
    let urls = azure.client_urls();
    let mut line = json!({
        "base_url": running.base_url, "token": running.token, "arm_url": urls.arm,
        "control_url": azure.control_url(), "vault_url": urls.vault, "graph_url": urls.graph,
        "identity_endpoint": urls.identity_endpoint, "identity_header": azure.identity_header(),
        "pid": std::process::id(),
    });
    if let (Some(members), Some(ca_file)) = (line.as_object_mut(), &running.ca_file) {
        members.insert("ca_file".to_owned(), json!(ca_file));
    }
    line
}

fn page(options: &LocalOptions, running: &RunningLocal) -> String {
    let ClientUrls { arm: arm_url, vault: vault_url, .. } = running.simulator.client_urls();
    let control_url = running.simulator.control_url();
    let store = if options.tables.is_some() { "a table service" } else { "an embedded store" };
    let mut page = format!(
        "Azure Backup SCIM is ready, on {store} and a simulated Azure (state: {}).\n\n",
        options.state.display()
    );
    page += &format!("  SCIM base URL    {}\n", running.base_url);
    page += &format!("  bearer token     {}\n", running.token);
    page += &format!("  simulated ARM    {arm_url}\n");
    page += &format!("  its control API  {control_url}   (GET it for help)\n");
    if let Some(ca_file) = &running.ca_file {
        page += &format!("  its Key Vault    {vault_url}\n");
        page += &format!(
            "  its CA file      {}   (for REQUESTS_CA_BUNDLE and NODE_EXTRA_CA_CERTS)\n",
            ca_file.display()
        );
    }
    page += "\nBindings in force:\n";
    for binding in &running.bindings.bindings {
        let group = format!("{} {}", binding.selector.attribute(), binding.selector.value());
        let role = binding.role;
        let scope = binding.scope.short_name();
        page += &format!("  {:<18} group with {group} -> {role} @ {scope}\n", binding.name);
    }
    if !options.demo {
        page += &format!("\nTry, in another shell:\n\n  BASE_URL={}\n", running.base_url);
        page += &format!("  TOKEN={}\n  ARM_URL={arm_url}\n", running.token);
        if let Some(ca_file) = &running.ca_file {
            page += &format!("  export CURL_CA_BUNDLE='{}'\n", ca_file.display());
        }
        page += &commands(&running.bindings).iter().map(|line| format!("  {line}\n")).collect::<String>();
    }
    page
}

/// Commands that create a person and a bound group, and show what Azure then holds. They can be repeated: existing resources
/// are found.
fn commands(bindings: &Bindings) -> Vec<String> {
    let scim = r#"scim() { curl -s -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/scim+json' "$@"; echo; }"#;
    let Some(binding) = bindings.bindings.iter().find(|binding| can_be_shown(binding)) else {
        return vec![scim.to_owned(), r#"scim "$BASE_URL/Users""#.to_owned()];
    };
    let user = user(bindings);
    let attribute = binding.selector.attribute();
    let value = binding.selector.value();
    let mut group = json!({"displayName": value});
    if let Some(members) = group.as_object_mut() {
        members.insert(attribute.to_owned(), json!(value));
    }
    let scope = binding.scope.as_str();
    vec![scim.to_owned(), r#"find_id() { scim -G "$BASE_URL/$1" --data-urlencode "filter=$2" -d attributes=id | grep -o '"id":"[^"]*"' | cut -d '"' -f 4; }"#.to_owned(), format!(r#"scim "$BASE_URL/Users" -d '{user}'"#), format!(r#"scim "$BASE_URL/Groups" -d '{group}'"#), format!(r#"PERSON=$(find_id Users 'userName eq "{USER_NAME}"')"#), format!(r#"GROUP=$(find_id Groups '{attribute} eq "{value}"')"#), r#"scim -X PATCH "$BASE_URL/Groups/$GROUP" -d '{"Operations":[{"op":"add","path":"members","value":[{"value":"'$PERSON'"}]}]}'"#.to_owned(), format!(r#"curl -s "$ARM_URL{scope}/providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01"; echo"#), r#"scim "$BASE_URL/Users/$PERSON?attributes=grants""#.to_owned(),]
}

/// The person, with her Entra object id where the bindings look for it.
fn user(bindings: &Bindings) -> Value {
    if bindings.principal_from.contains(&PrincipalSource::ExternalId) {
        json!({"userName": USER_NAME, "externalId": OBJECT_ID})
    } else {
        json!({"userName": USER_NAME, OWN_EXTENSION: {"entraObjectId": OBJECT_ID}})
    }
}

/// Whether every member of its group gets the role, the group can be created, and its name needs no quoting in a shell.
fn can_be_shown(binding: &ConfiguredBinding) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.');
    binding.condition.is_none()
        && !matches!(binding.selector, Selector::Id(_))
        && binding.selector.value().chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(principal: &str, group: Value) -> String {
        let file = json!({
            "version": 1, "principal": {"from": [principal]}, "retired": [],
            "bindings": [{
                "name": "one", "group": group, "role": "Backup Reader", "kind": "active",
                "scope": "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup",
            }],
        });
        commands(&Bindings::parse(file.to_string().as_bytes()).unwrap()).join("\n")
    }

    #[test]
    fn the_object_id_goes_where_the_bindings_look_for_it() {
        let group = json!({"externalId": "readers"});
        assert!(told("externalId", group.clone()).contains(r#""externalId":"4f3b6c1e"#));
        assert!(told("entraObjectId", group).contains(r#""entraObjectId":"4f3b6c1e"#));
    }

    #[test]
    fn a_group_that_would_need_quoting_or_cannot_be_made_is_not_shown() {
        assert!(told("externalId", json!({"externalId": "a b"})).contains("roleAssignments"));
        for group in [json!({"externalId": "a'; rm"}), json!({"id": OBJECT_ID})] {
            assert!(!told("externalId", group).contains("roleAssignments"));
        }
    }
}
