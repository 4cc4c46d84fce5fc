//! Arguments of commands that take the place of settings.

use std::collections::BTreeMap;

/// Lets a vault, by its name or address, and a secret take the place of what the environment says.
pub fn name_vault(variables: &mut BTreeMap<String, String>, vault: Option<&str>, secret: Option<&str>) {
    if let Some(vault) = vault {
        let is_name = !vault.contains("://");
        let url = if is_name { format!("https://{vault}.vault.azure.net") } else { vault.to_owned() };
        variables.insert("KEY_VAULT_URL".to_owned(), url);
    }
    if let Some(secret) = secret {
        variables.insert("BEARER_TOKEN_SECRET".to_owned(), secret.to_owned());
    }
}

/// Lets `tables`, an endpoint or a connection string, take the place of what the environment says.
pub fn point_at(variables: &mut BTreeMap<String, String>, tables: &str) {
    let is_endpoint = tables.contains("://") && !tables.contains('=');
    let (set, unset) = match is_endpoint {
        true => ("TABLES_ENDPOINT", "TABLES_CONNECTION_STRING"),
        false => ("TABLES_CONNECTION_STRING", "TABLES_ENDPOINT"),
    };
    variables.insert(set.to_owned(), tables.to_owned());
    variables.remove(unset);
}
