//! The client of Azure Table Storage beyond what every table must do: what it sends, what it sends again, and what it
//! makes of a service that is busy, broken or not the service at all.

use crate::storage::azurite;
use crate::storage::tables::{insert, number, range};
use crate::support::chaos::{Chaos, Trouble, When};
use azure_backup_scim::adapters::credential::Credential;
use azure_backup_scim::adapters::tables::{AzureTables, ConnectionString, TablesAccount, TablesClientError};
use azure_backup_scim::ports::tables::{EtagMatch, KeyRange, TableError, TableOps, TableWrite};
use std::time::Duration;

/// A fresh table behind a proxy.
async fn table() -> (Chaos, AzureTables) {
    let chaos = Chaos::before(&azurite::origin());
    let account = azurite::connection_string_of(azurite::DEVELOPMENT_ACCOUNT, &chaos.url());
    let tables = azurite::fresh(&account).await;
    chaos.forget();
    (chaos, tables)
}

async fn put(tables: &AzureTables, keys: &[&str]) -> Result<(), TableError> {
    let writes: Vec<TableWrite> = keys.iter().map(|key| insert(key, number(1))).collect();
    tables.transact("p", &writes).await.map(|_| ())
}

async fn is_there(tables: &AzureTables, key: &str) -> bool {
    tables.get("p", key).await.unwrap().value.is_some()
}

async fn keys(tables: &AzureTables) -> Vec<String> {
    let mut keys = Vec::new();
    let mut whole = range("a", "z");
    loop {
        let page = tables.page("p", &whole).await.unwrap().value;
        keys.extend(page.rows.into_iter().map(|row| row.key));
        match page.continuation {
            Some(next) => whole = KeyRange { continuation: Some(next), ..whole },
            None => return keys,
        }
    }
}

#[track_caller]
fn assert_unknown<T: std::fmt::Debug>(result: Result<T, TableError>) {
    assert!(matches!(result, Err(TableError::Unknown { .. })), "{result:?}");
}

fn broken() -> [Trouble; 4] {
    [
        Trouble::LoseRequest,
        Trouble::LoseAnswer,
        Trouble::FailAfter { code: "OperationTimedOut" },
        Trouble::nonsense(),
    ]
}

#[tokio::test]
async fn a_write_whose_answer_is_worth_nothing_is_unknown_and_sent_once() {
    let (chaos, tables) = table().await;
    for (n, trouble) in broken().into_iter().enumerate() {
        for keys in [&["single"][..], &["batch", "more"]] {
            let keys: Vec<String> = keys.iter().map(|key| format!("{key}:{n}")).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            chaos.forget();
            chaos.order(When::writes(), trouble.clone());
            assert_unknown(put(&tables, &keys).await);
            assert_eq!(chaos.calls().len(), 1, "{trouble:?}");
            let done = matches!(trouble, Trouble::LoseAnswer | Trouble::FailAfter { .. });
            assert_eq!(is_there(&tables, keys[0]).await, done, "{trouble:?}");
        }
    }
}

#[tokio::test]
async fn a_read_whose_answer_is_worth_nothing_is_asked_again() {
    let (chaos, tables) = table().await;
    put(&tables, &["k"]).await.unwrap();
    for trouble in broken() {
        chaos.order(When::reads(), trouble.clone());
        chaos.forget();
        assert!(is_there(&tables, "k").await, "{trouble:?}");
        assert_eq!(chaos.calls().len(), 2, "{trouble:?}");
        chaos.order(When::reads(), trouble.clone());
        assert_eq!(keys(&tables).await, ["k"], "{trouble:?}");
        assert_eq!(chaos.calls().len(), 4, "{trouble:?}");
    }
}

#[tokio::test]
async fn a_read_gives_up_when_nothing_helps() {
    let (chaos, tables) = table().await;
    chaos.set_away(true);
    assert_unknown(tables.get("p", "k").await);
    assert_eq!(chaos.calls().len(), 3);
    chaos.set_away(false);
    assert!(!is_there(&tables, "k").await);
}

#[tokio::test]
async fn no_answer_in_time_is_no_answer() {
    let (chaos, tables) = table().await;
    put(&tables, &["there"]).await.unwrap();
    chaos.forget();
    let longer_than_any_limit = Duration::from_secs(15);
    chaos.order(When::writes(), Trouble::Delay(longer_than_any_limit));
    chaos.order(When::reads(), Trouble::Delay(longer_than_any_limit));
    let (written, read) = tokio::join!(put(&tables, &["k", "l"]), tables.get("p", "there"));
    assert_unknown(written);
    assert!(read.unwrap().value.is_some(), "asked again");
    assert_eq!(chaos.count(|call| call.method != "GET"), 1);
}

/// Facts: F-115.
#[tokio::test]
async fn a_busy_service_is_left_alone_for_as_long_as_it_asks() {
    let (chaos, tables) = table().await;
    chaos.order(When::any().always(), Trouble::Busy { retry_after: 17 });
    let wait = Duration::from_secs(17);
    let busy = |error| matches!(error, TableError::Throttled { retry_after } if retry_after == wait);
    assert!(busy(tables.get("p", "k").await.unwrap_err()));
    assert!(busy(put(&tables, &["k"]).await.unwrap_err()));
    assert!(busy(put(&tables, &["k", "l"]).await.unwrap_err()));
    assert_eq!(chaos.calls().len(), 3, "nothing was sent twice");
    chaos.calm();
    assert!(!is_there(&tables, "k").await);
}

#[tokio::test]
async fn a_read_waits_out_a_short_wait() {
    let (chaos, tables) = table().await;
    put(&tables, &["k"]).await.unwrap();
    chaos.order(When::reads(), Trouble::Busy { retry_after: 0 });
    assert!(is_there(&tables, "k").await);
}

#[tokio::test]
async fn a_continuation_that_is_forgotten_or_ignored_loses_no_row_and_repeats_none() {
    let (chaos, tables) = table().await;
    let expected: Vec<String> = (0..9).map(|n| format!("k:{n}")).collect();
    put(&tables, &expected.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
    chaos.order(When::reads().always(), Trouble::ShortPage { rows_max: 2 });
    assert_eq!(keys(&tables).await, expected);
    for trouble in [Trouble::stale_continuation(), Trouble::Restart] {
        for n in 1..=4 {
            chaos.order(When::reads().path("NextRowKey=").nth(n), trouble.clone());
            assert_eq!(keys(&tables).await, expected, "{trouble:?} at page {n}");
        }
    }
}

#[tokio::test]
async fn a_query_that_is_refused_is_no_stale_continuation() {
    let (chaos, tables) = table().await;
    chaos.order(When::reads(), Trouble::stale_continuation());
    let refused = tables.page("p", &range("a", "z")).await;
    assert!(matches!(refused, Err(TableError::Refused { .. })), "{refused:?}");
    assert_eq!(chaos.calls().len(), 1);
}

#[tokio::test]
async fn being_turned_away_has_a_name() {
    let tables = azurite::client(&azurite::connection_string(), &azurite::table());
    for refused in [
        tables.get("p", "k").await.map(|_| ()),
        tables.page("p", &range("a", "z")).await.map(|_| ()),
        put(&tables, &["k"]).await,
        put(&tables, &["k", "l"]).await,
    ] {
        assert!(
            matches!(&refused, Err(TableError::Refused { code }) if code == "TableNotFound"),
            "{refused:?}"
        );
    }
    let wrong_key = azurite::connection_string().replace("AccountKey=E", "AccountKey=F");
    let tables = azurite::client(&wrong_key, &azurite::table());
    let refused = tables.create_table().await;
    assert!(
        matches!(&refused, Err(TableError::Refused { code }) if code == "AuthorizationFailure" || code == "AuthenticationFailed"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_table_that_is_there_already_is_fine() {
    let (_chaos, tables) = table().await;
    tables.create_table().await.unwrap();
}

/// Facts: F-058.
#[tokio::test]
async fn what_breaks_a_rule_is_not_sent() {
    let (chaos, tables) = table().await;
    let name = "a-b".to_owned();
    let refused = tables.insert("p", "k", [(name, number(1)["Number"].clone())].into()).await;
    assert!(matches!(refused, Err(TableError::Invalid { .. })), "{refused:?}");
    assert!(chaos.calls().is_empty());
}

/// Facts: F-181.
#[tokio::test]
async fn every_call_is_one_request_and_every_request_is_named_and_dated() {
    let (chaos, tables) = table().await;
    put(&tables, &["k"]).await.unwrap();
    put(&tables, &["l", "m"]).await.unwrap();
    tables.merge("p", "k", number(2), EtagMatch::Any).await.unwrap();
    tables.delete("p", "k", EtagMatch::Any).await.unwrap();
    assert!(is_there(&tables, "l").await);
    assert_eq!(keys(&tables).await, ["l", "m"]);
    let calls = chaos.calls();
    let methods: Vec<&str> = calls.iter().map(|call| call.method.as_str()).collect();
    assert_eq!(methods, ["POST", "POST", "PATCH", "DELETE", "GET", "GET"]);
    for call in &calls {
        let headers = call.headers.to_ascii_lowercase();
        for name in [
            "x-ms-version: 2020-12-06",
            "x-ms-client-request-id: ",
            "x-ms-date: ",
            "sharedkeylite devstoreaccount1:",
        ] {
            assert!(headers.contains(name), "{name} in {headers}");
        }
    }
    assert_eq!(calls[1].body.matches("return-no-content").count(), 2);
    let inserted = calls[0].headers.to_ascii_lowercase();
    assert!(inserted.contains("x-ms-client-request-id: k\r\n"), "the log says which row: {inserted}");
    assert_eq!(inserted.matches("x-ms-client-request-id").count(), 1);
}

/// Facts: F-057.
#[tokio::test]
async fn an_entra_token_is_shown_as_it_is() {
    let chaos = Chaos::before("http://127.0.0.1:9");
    chaos.order(
        When::any().always(),
        Trouble::Answer { status: 403, content_type: "text/plain", body: String::new() },
    );
    let credential = Credential::Static("entra-token".to_owned().into()).build();
    let tables = azurite::open(
        TablesAccount::Entra { endpoint: chaos.url(), credential: credential.unwrap() },
        "scim",
    );
    let refused = tables.get("p", "k").await;
    assert!(matches!(refused, Err(TableError::Refused { .. })), "{refused:?}");
    let [call] = &chaos.calls()[..] else { panic!("one request") };
    assert_eq!(call.target, "/scim(PartitionKey='p',RowKey='k')");
    assert!(call.headers.to_ascii_lowercase().contains("authorization: bearer entra-token"));
}

#[test]
fn neither_key_nor_token_travels_in_the_clear_beyond_this_machine() {
    let key = |endpoint: &str| {
        let account = azurite::connection_string_of(azurite::DEVELOPMENT_ACCOUNT, endpoint);
        TablesAccount::Key(ConnectionString::parse(&account).unwrap())
    };
    let token = |endpoint: &str| TablesAccount::Entra {
        endpoint: endpoint.to_owned(),
        credential: Credential::Static("t".to_owned().into()).build().unwrap(),
    };
    for endpoint in ["http://acme.table.core.windows.net", "http://10.0.0.1:10002"] {
        for account in [key(endpoint), token(endpoint)] {
            let refused = azurite::try_open(account, "scim");
            assert!(matches!(refused, Err(TablesClientError::Rest(_))), "{refused:?}");
        }
    }
    for endpoint in ["https://acme.table.core.windows.net", "http://localhost:10002"] {
        assert!(
            azurite::try_open(key(endpoint), "scim").is_ok()
                && azurite::try_open(token(endpoint), "scim").is_ok()
        );
    }
}
