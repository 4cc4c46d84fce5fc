use super::*;

const LOCAL: [(&str, &str); 3] = [
    ("TABLES_CONNECTION_STRING", "UseDevelopmentStorage=true"),
    ("KEY_VAULT_URL", "https://contoso.vault.azure.net"),
    ("AZURE_CREDENTIAL", "developer"),
];

fn parse(base: &[(&str, &str)], more: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let all = base.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(&all.collect())
}

#[track_caller]
fn check(more: &[(&str, &str)], mistakes: &[&str]) {
    let found = match parse(&LOCAL, more) {
        Ok(_) => Vec::new(),
        Err(error) => error.mistakes.iter().map(|mistake| mistake.variable).collect(),
    };
    assert_eq!(found, mistakes, "{more:?}");
}

/// Facts: F-076.
#[test]
fn an_app_in_azure_needs_two_addresses() {
    let settings = [
        ("TABLES_ENDPOINT", "https://state.table.core.windows.net/"),
        ("KEY_VAULT_URL", "https://contoso.vault.azure.net/"),
        ("AZURE_CLIENT_ID", "0f7c4b3e-1111-4222-8333-944455556666"),
        ("IDENTITY_ENDPOINT", "http://127.0.0.1:42/msi/token"),
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "41123"),
        ("FUNCTIONS_APP_ROOT_PATH", "/home/site/wwwroot"),
        ("WEBSITE_HOSTNAME", "scim-contoso.azurewebsites.net"),
    ];
    let config = parse(&settings, &[]).unwrap();
    assert!(
        matches!(&config.tables.account, TablesAccount::Entra(endpoint) if endpoint.origin() == "https://state.table.core.windows.net")
    );
    assert!(
        matches!(&config.credential, Credential::ManagedIdentity { client_id: Some(id) } if id.starts_with("0f7c"))
    );
    assert_eq!(config.handler_port, Some(41123));
    assert_eq!(config.tables.table, "scim");
    assert_eq!(config.tenant, "default");
    assert_eq!(config.bearer_token_secret, "scim-bearer-token");
    assert_eq!(config.arm.origin(), "https://management.azure.com");
    assert_eq!(config.bindings_file, PathBuf::from("/home/site/wwwroot/bindings.json"));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 41123));
    assert_eq!(config.base_url(address), "https://scim-contoso.azurewebsites.net/scim/v2");
}

#[test]
fn every_mistake_is_reported_at_once_and_no_value_with_it() {
    let settings = [
        ("AZURE_CREDENTIAL", "any"),
        ("ARM_ENDPOINT", "http://management.azure.com"),
        ("SCIM_TENANT", "Contoso"),
        ("TABLES_TABLE", "1"),
        ("PUBLIC_BASE_URL", "https://scim.example/canary"),
    ];
    let error = parse(&settings, &[]).unwrap_err();
    let variables: Vec<_> = error.mistakes.iter().map(|mistake| mistake.variable).collect();
    assert_eq!(
        variables,
        [
            "PUBLIC_BASE_URL",
            "SCIM_TENANT",
            "TABLES_ENDPOINT",
            "TABLES_TABLE",
            "KEY_VAULT_URL",
            "ARM_ENDPOINT",
            "AZURE_CREDENTIAL"
        ]
    );
    assert!(!error.to_string().contains("canary"), "{error}");
}

#[test]
fn one_setting_at_a_time() {
    check(&[], &[]);
    check(&[("TABLES_ENDPOINT", "https://a.table.core.windows.net")], &["TABLES_CONNECTION_STRING"]);
    check(&[("KEY_VAULT_URL", "contoso")], &["KEY_VAULT_URL"]);
    check(&[("KEY_VAULT_URL", "http://127.0.0.1:8200")], &[]);
    check(&[("FUNCTIONS_CUSTOMHANDLER_PORT", "65536")], &["FUNCTIONS_CUSTOMHANDLER_PORT"]);
    check(&[("BEARER_TOKEN_SECRET", "a/b")], &["BEARER_TOKEN_SECRET"]);
    check(&[("AZURE_CREDENTIAL", "static")], &["AZURE_STATIC_TOKEN"]);
    check(&[("SCIM_TENANT", " ")], &[]);
    check(&[("SCIM_ANNOUNCE_CURSORS", "yes")], &["SCIM_ANNOUNCE_CURSORS"]);
    let announces = |text| parse(&LOCAL, &[("SCIM_ANNOUNCE_CURSORS", text)]).unwrap().announce_cursors;
    assert!(announces("True") && !announces("false") && !announces(""));
}

#[test]
fn a_fixed_token_stays_on_this_machine() {
    let fixed = [("AZURE_CREDENTIAL", "static"), ("AZURE_STATIC_TOKEN", "simulated")];
    let with = |more: &[(&'static str, &'static str)]| fixed.iter().chain(more).copied().collect::<Vec<_>>();
    check(&with(&[]), &["AZURE_STATIC_TOKEN"]);
    check(&with(&[("ARM_ENDPOINT", "http://127.0.0.1:1")]), &["AZURE_STATIC_TOKEN"]);
    check(&with(&[("ARM_ENDPOINT", "http://127.0.0.1:1"), ("KEY_VAULT_URL", "http://127.0.0.1:2")]), &[]);
}

#[test]
fn graph_is_the_public_one_and_is_shown_no_fixed_token() {
    let read = |more: &[(&str, &str)]| {
        let variables = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let read = graph_endpoint(&variables.collect()).map(|graph| graph.to_string());
        read.map_err(|error| error.mistakes.iter().map(|mistake| mistake.variable).collect::<Vec<_>>())
    };
    let refused = Err(vec!["GRAPH_ENDPOINT"]);
    assert_eq!(read(&[]), Ok("https://graph.microsoft.com".to_owned()));
    let china = "https://microsoftgraph.chinacloudapi.cn";
    assert_eq!(read(&[("GRAPH_ENDPOINT", china)]), Ok(china.to_owned()));
    assert_eq!(read(&[("GRAPH_ENDPOINT", "https://graph.microsoft.com/v1.0")]), refused);
    assert_eq!(read(&[("GRAPH_ENDPOINT", "http://graph.microsoft.com")]), refused);
    assert_eq!(read(&[("AZURE_CREDENTIAL", "static")]), refused);
    let simulated = "http://127.0.0.1:7";
    let fixed = [("AZURE_CREDENTIAL", "static"), ("GRAPH_ENDPOINT", simulated)];
    assert_eq!(read(&fixed), Ok(simulated.to_owned()));
}

#[test]
fn what_doctor_can_do_without_is_read_where_it_is_set() {
    let variables = |more: &[(&str, &str)]| -> BTreeMap<String, String> {
        more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let mistakes =
        |error: ConfigError| error.mistakes.iter().map(|mistake| mistake.variable).collect::<Vec<_>>();
    let vault = |more: &[(&str, &str)]| {
        let read = token_vault(&variables(more)).map_err(mistakes);
        read.map(|vault| vault.map(|(vault, secret)| (vault.to_string(), secret)))
    };
    let url = ("KEY_VAULT_URL", "https://contoso.vault.azure.net");
    assert_eq!(vault(&[]), Ok(None));
    assert_eq!(vault(&[url]), Ok(Some((url.1.to_owned(), "scim-bearer-token".to_owned()))));
    assert_eq!(vault(&[url, ("BEARER_TOKEN_SECRET", "a b")]), Err(vec!["BEARER_TOKEN_SECRET"]));
    assert_eq!(vault(&[("KEY_VAULT_URL", "contoso")]), Err(vec!["KEY_VAULT_URL"]));
    assert_eq!(vault(&[url, ("AZURE_CREDENTIAL", "static")]), Err(vec!["KEY_VAULT_URL"]));

    let service = |more: &[(&str, &str)]| {
        let read = service_principal(&variables(more)).map_err(mistakes);
        read.map(|id| id.map(|id| id.to_string()))
    };
    let id = "ca11e400-0000-4000-8000-000000000001";
    assert_eq!(service(&[]), Ok(None));
    assert_eq!(service(&[("SERVICE_PRINCIPAL_ID", id)]), Ok(Some(id.to_owned())));
    assert_eq!(service(&[("SERVICE_PRINCIPAL_ID", "scim")]), Err(vec!["SERVICE_PRINCIPAL_ID"]));
}

#[test]
fn without_a_public_address_it_is_the_one_that_is_listened_on() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    assert_eq!(parse(&LOCAL, &[]).unwrap().base_url(address), "http://127.0.0.1:8080/scim/v2");
    let core_tools = parse(&LOCAL, &[("WEBSITE_HOSTNAME", "localhost:7071")]).unwrap();
    assert_eq!(core_tools.base_url(address), "http://localhost:7071/scim/v2");
    let said =
        [("PUBLIC_BASE_URL", "https://scim.contoso.example"), ("WEBSITE_HOSTNAME", "x.azurewebsites.net")];
    assert_eq!(parse(&LOCAL, &said).unwrap().base_url(address), "https://scim.contoso.example/scim/v2");
    assert_eq!(listen(Some(41123), address), SocketAddr::from((Ipv4Addr::LOCALHOST, 41123)));
    assert_eq!(listen(None, address), address);
}
