//! Cursors (RFC 9865) and searches at the base URL over a real connection: members of the answers, errors, and tokens that
//! are rotated.

use crate::support::harness::{Node, World, caller};
use crate::support::requests::user_id;
use azure_backup_scim::app;
use azure_backup_scim::service::tokens::{BearerTokens, TokenSet};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

/// Two versions of one token, and the token of another client.
const ENTRA: &str = "a-token-of-more-than-32-characters";
const ENTRA_ROTATED: &str = "another-token-of-more-than-32-characters";
const OKTA: &str = "the-token-of-somebody-else-altogether";

/// A service that listens.
struct Listening {
    world: World,
    node: Node,
    address: SocketAddr,
}

impl Listening {
    fn start() -> Self {
        let world = World::new();
        let node = world.start();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let tokens = [("entra", ENTRA), ("entra", ENTRA_ROTATED), ("okta", OKTA)];
        let tokens = tokens.map(|(label, token)| (label.to_owned(), token.to_owned().into()));
        let tokens = BearerTokens::fixed(TokenSet::new(tokens).unwrap(), Arc::new(world.clock.clone()));
        let health = Arc::new(serde_json::Map::new);
        let timer = app::timer(&node.service, None);
        let service = node.service.clone();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async {
                app::serve(listener, &service, Arc::new(tokens), health, timer).unwrap().await
            })
        });
        Self { world, node, address }
    }

    fn users(&self, number: usize) {
        for n in 0..number {
            self.node.create_user(json!({"userName": format!("u{n}@contoso.example")}));
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/scim/v2{path}", self.address)
    }

    fn get(&self, path: &str) -> Value {
        self.get_with(ENTRA, path)
    }

    fn get_with(&self, token: &str, path: &str) -> Value {
        self.node.run(answer(client().get(self.url(path)).bearer_auth(token)))
    }

    fn search(&self, path: &str, body: &Value) -> Value {
        let request = client().post(self.url(path)).bearer_auth(ENTRA);
        let request = request.header("content-type", "application/scim+json").body(body.to_string());
        self.node.run(answer(request))
    }
}

fn client() -> Client {
    Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap()
}

/// The body; of an error too.
async fn answer(request: RequestBuilder) -> Value {
    let response = request.send().await.unwrap();
    let status = response.status();
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(status.is_success(), body.get("scimType").is_none(), "{body}");
    body
}

fn text(body: &Value, member: &str) -> String {
    body[member].as_str().unwrap_or_else(|| panic!("no {member}: {body}")).to_owned()
}

#[test]
fn the_members_of_a_page_by_cursor() {
    let service = Listening::start();
    service.users(5);
    let first = service.get("/Users?cursor=&count=2");
    assert_eq!((&first["totalResults"], &first["itemsPerPage"]), (&json!(5), &json!(2)));
    assert_eq!((first.get("startIndex"), first.get("previousCursor")), (None, None));
    let second = service.get(&format!("/Users?count=2&cursor={}", text(&first, "nextCursor")));
    let third = service.get(&format!("/Users?count=2&cursor={}", text(&second, "nextCursor")));
    assert_eq!(third["Resources"].as_array().unwrap().len(), 1);
    assert_eq!(third.get("nextCursor"), None);
    let back = service.get(&format!("/Users?count=2&cursor={}", text(&third, "previousCursor")));
    assert_eq!(back["Resources"], second["Resources"]);
    // Without a cursor it is the index that pages, and no cursor is answered.
    let page = service.get("/Users?count=2");
    assert_eq!((&page["startIndex"], page.get("nextCursor")), (&json!(1), None));
    assert_eq!(page["Resources"], first["Resources"]);
}

/// How many are walked over: `WALK_USERS`, else so many.
fn walk_users(default: usize) -> usize {
    std::env::var("WALK_USERS").map_or(default, |text| text.parse().unwrap())
}

/// Walks over so many, while a hundredth of them leave and others come between the pages. In that order.
fn walk(users: usize, order: &str) {
    let service = Listening::start();
    let ids: Vec<String> =
        (0..users).map(|n| service.node.create_user(json!({"userName": format!("u{n}")}))).collect();
    let (gone, stay) = ids.split_at(users / 100);
    let size = users / 20;
    let path = |cursor: &str| format!("/Users?attributes=userName&count={size}&cursor={cursor}{order}");
    let (mut shown, mut cursor, mut pages) = (BTreeMap::<String, usize>::new(), String::new(), 0);
    let mut costs = Vec::new();
    loop {
        service.world.faults.reset();
        let page = service.get(&path(&cursor));
        costs.push(service.world.faults.counts().requests);
        for user in page["Resources"].as_array().unwrap() {
            *shown.entry(text(user, "id")).or_default() += 1;
        }
        let Some(next) = page.get("nextCursor") else { break };
        cursor = next.as_str().unwrap().to_owned();
        let at_once = gone.len().div_ceil(15);
        for id in gone.iter().skip(at_once * pages).take(at_once) {
            let provisioning = &service.node.service.provisioning;
            service.node.run(provisioning.delete_user(&caller(), user_id(id))).unwrap();
        }
        (0..10).for_each(|n| drop(service.node.create_user(json!({"userName": format!("new {pages} {n}")}))));
        pages += 1;
    }
    assert!(pages >= 18, "{pages}");
    assert!(stay.iter().all(|id| shown.get(id) == Some(&1)), "who stays is shown once");
    assert!(shown.values().all(|times| *times == 1), "no one is shown twice");
    // The first page reads the key of cursors, the last one is short.
    let (least, most) = (costs[1..pages].iter().min().unwrap(), costs[1..pages].iter().max().unwrap());
    // In an order of names the users of a page lie here and there, sometimes nearer to one another.
    assert!(most * 2 <= least * 3 + 2, "each page costs about the same: {costs:?}");
}

#[test]
fn a_walk_over_thousands_misses_none_who_stay() {
    walk(walk_users(2_000), "");
}

/// An order reads everyone for each page, within the limit of what a scan may read.
#[test]
fn a_sorted_walk_misses_none_who_stay() {
    walk(walk_users(600).min(19_000), "&sortBy=userName");
}

#[test]
fn searches_by_post_are_walked_too() {
    let service = Listening::start();
    service.users(5);
    let mut body =
        json!({"filter": "userName co \"@contoso\"", "cursor": "", "count": 3, "sortBy": "userName"});
    let first = service.search("/Users/.search", &body);
    assert_eq!(first["Resources"][0]["userName"], "u0@contoso.example");
    body["cursor"] = first["nextCursor"].clone();
    let second = service.search("/Users/.search", &body);
    assert_eq!(second["Resources"][0]["userName"], "u3@contoso.example");
    assert_eq!(second.get("nextCursor"), None);
    // The same query by GET goes on with the same cursor.
    let path = format!(
        "/Users?filter=userName%20co%20%22%40contoso%22&sortBy=userName&count=3&cursor={}",
        text(&first, "nextCursor")
    );
    assert_eq!(service.get(&path)["Resources"], second["Resources"]);
    let groups = service.search("/Groups/.search", &json!({"cursor": ""}));
    assert_eq!((&groups["totalResults"], groups.get("nextCursor")), (&json!(0), None));
}

#[test]
fn mistakes_have_the_words_of_the_rfc() {
    let service = Listening::start();
    service.users(5);
    let cursor = text(&service.get("/Users?cursor&count=2"), "nextCursor");
    for (path, scim_type) in [
        ("/Users?cursor=nonsense", "invalidCursor"),
        (&format!("/Users?cursor={}", cursor.get(1..).unwrap()), "invalidCursor"),
        (&format!("/Groups?cursor={cursor}"), "invalidCursor"),
        (&format!("/Users?cursor={cursor}&filter=title%20pr"), "invalidCursor"),
        ("/Users?cursor=&count=0", "invalidCount"),
        ("/Users?cursor=&count=-1", "invalidCount"),
        ("/Users?cursor=&count=many", "invalidCount"),
        (&format!("/Users?cursor={cursor}&startIndex=2"), "invalidValue"),
        ("/Users?cursor=&cursor=", "invalidValue"),
    ] {
        let error = service.get(path);
        assert_eq!((&error["status"], &error["scimType"]), (&json!("400"), &json!(scim_type)), "{path}");
    }
    service.world.clock.advance(Duration::from_secs(3_600));
    assert_eq!(service.get(&format!("/Users?cursor={cursor}"))["scimType"], "expiredCursor");
}

/// A cursor is bound to the label: the next version of the same token goes on, another client does not.
#[test]
fn a_rotation_of_the_token_ends_no_walk() {
    let service = Listening::start();
    service.users(5);
    let first = service.get_with(ENTRA, "/Users?cursor=&count=2");
    let next = format!("/Users?count=2&cursor={}", text(&first, "nextCursor"));
    let second = service.get_with(ENTRA_ROTATED, &next);
    assert_eq!(second, {
        let mut same = service.get_with(ENTRA, &next);
        for member in ["nextCursor", "previousCursor"] {
            same[member] = second[member].clone();
        }
        same
    });
    assert_eq!(second["Resources"].as_array().unwrap().len(), 2);
    assert_eq!(service.get_with(OKTA, &next)["scimType"], "invalidCursor");
}

#[test]
fn the_base_url_lists_and_searches_users_and_groups() {
    let service = Listening::start();
    service.users(3);
    service.node.group("ops");
    for path in ["", "/", "?count=100", "//?cursor="] {
        let all = service.get(path);
        let kinds: Vec<&str> = all["Resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|resource| resource["meta"]["resourceType"].as_str().unwrap())
            .collect();
        assert_eq!(
            (&all["totalResults"], kinds),
            (&json!(4), vec!["User", "User", "User", "Group"]),
            "{path}"
        );
    }
    let found = service.get("?filter=userName%20eq%20%22u1%40contoso.example%22");
    assert_eq!((&found["totalResults"], &found["startIndex"]), (&json!(1), &json!(1)));
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
        "filter": "displayName eq \"ops\" or userName sw \"u\"", "attributes": ["displayName"], "count": 3, "cursor": "",
    });
    let first = service.search("/.search", &body);
    assert_eq!(first["totalResults"], json!(4));
    let next = json!({"cursor": first["nextCursor"], "filter": body["filter"]});
    let second = service.search("/.search", &next);
    assert_eq!(second["Resources"][0]["displayName"], json!("ops"));
    assert_eq!(second.get("nextCursor"), None);
    for endpoint in ["/Users/.search", "/Groups/.search"] {
        let body = json!({"cursor": first["nextCursor"], "filter": "displayName pr"});
        assert_eq!(service.search(endpoint, &body)["scimType"], "invalidCursor");
    }
    assert_eq!(service.get("?filter=shoeSize%20pr")["scimType"], "invalidFilter");
    assert_eq!(service.get("?filter=")["scimType"], "invalidFilter");
    let me =
        service.node.run(async { client().get(service.url("/Me")).bearer_auth(ENTRA).send().await.unwrap() });
    assert_eq!(me.status(), 501);
    let me: Value = serde_json::from_str(&service.node.run(me.text()).unwrap()).unwrap();
    assert!(text(&me, "detail").contains("/Users?filter"), "{me}");
}
