//! Long lists over a real connection.

use crate::support::fault_injection::{Fault, When};
use crate::support::harness::{Node, World};
use azure_backup_scim::app;
use azure_backup_scim::service::tokens::{BearerTokens, TokenSet};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

const TOKEN: &str = "a-token-of-more-than-32-characters";

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
        let tokens = TokenSet::new([("entra".to_owned(), TOKEN.to_owned().into())]).unwrap();
        let tokens = Arc::new(BearerTokens::fixed(tokens, Arc::new(world.clock.clone())));
        let health = Arc::new(serde_json::Map::new);
        let timer = app::timer(&node.service, None);
        let service = node.service.clone();
        std::thread::spawn(move || {
            actix_web::rt::System::new()
                .block_on(async { app::serve(listener, &service, tokens, health, timer).unwrap().await })
        });
        Self { world, node, address }
    }

    fn large_users(&self, number: usize) {
        for n in 0..number {
            self.node.create_user(json!({"userName": format!("u{n}"), "title": "x".repeat(400_000)}));
        }
    }

    async fn get(&self, path: &str) -> Response {
        self.ask(Method::GET, path).await
    }

    async fn ask(&self, method: Method, path: &str) -> Response {
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        let url = format!("http://{}/scim/v2{path}", self.address);
        client.request(method, url).bearer_auth(TOKEN).send().await.unwrap()
    }
}

/// RFC 9112 7.1: HTTP/1.0 has no chunks.
#[test]
fn an_old_client_gets_a_long_list_without_chunks() {
    let service = Listening::start();
    service.large_users(3);
    let mut socket = TcpStream::connect(service.address).unwrap();
    let request = format!("GET /scim/v2/Users HTTP/1.0\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    assert!(!head.contains("transfer-encoding") && !head.contains("content-length"), "{head}");
    let list: Value = serde_json::from_str(body).unwrap();
    assert_eq!(list["Resources"].as_array().unwrap().len(), 3);
}

#[test]
fn a_long_list_is_streamed_and_a_short_one_has_its_length() {
    let service = Listening::start();
    service.large_users(20);
    service.node.run(async {
        let long = service.get("/Users?count=20").await;
        assert_eq!((long.status().as_u16(), long.content_length()), (200, None));
        assert_eq!(long.headers()["content-type"], "application/scim+json; charset=utf-8");
        assert_eq!(long.headers()["cache-control"], "no-store");
        let body: Value = serde_json::from_str(&long.text().await.unwrap()).unwrap();
        assert_eq!((&body["totalResults"], &body["itemsPerPage"]), (&json!(20), &json!(20)));
        assert_eq!(body["Resources"].as_array().unwrap().len(), 20);

        let short = service.get("/Users?attributes=userName").await;
        assert!(short.content_length().is_some_and(|bytes| bytes > 100));
        let body: Value = serde_json::from_str(&short.text().await.unwrap()).unwrap();
        assert_eq!(body["itemsPerPage"], 20);
    });
}

#[test]
fn a_list_that_cannot_be_read_to_its_end_is_no_whole_answer() {
    let service = Listening::start();
    service.large_users(30);
    service.node.run(async {
        let faults = service.world.faults.clone();
        // The first headers, the same once more with their groups, and those that come next.
        faults.inject(When::page().key("u:").nth(3), Fault::RequestLost);
        let cut = service.get("/Users?count=30").await;
        assert_eq!(cut.status(), 200, "the first resources are on their way");
        assert!(cut.text().await.is_err(), "the connection breaks off");

        // Before the first resource it is an answer like any other.
        faults.inject(When::page().key("u:"), Fault::RequestLost);
        let failed = service.get("/Users?count=30").await;
        assert_eq!(failed.status(), 503);
        assert!(failed.headers().contains_key("retry-after"));
    });
}

#[test]
fn head_reads_no_more_of_a_streamed_list_than_its_beginning() {
    let service = Listening::start();
    service.large_users(30);
    service.node.run(async {
        let rows_read = async |method: Method| {
            service.world.faults.reset();
            let answer = service.ask(method, "/Users?count=30").await;
            assert_eq!(answer.status().as_u16(), 200);
            assert!(!answer.headers().contains_key("content-length"), "{:?}", answer.headers());
            answer.bytes().await.unwrap();
            service.world.faults.counts().rows_read
        };
        let (head, get) = (rows_read(Method::HEAD).await, rows_read(Method::GET).await);
        assert!(head > 0 && head * 2 < get, "{head} of {get}");
    });
}
