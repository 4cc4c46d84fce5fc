//! The simulated Azure, asked over raw HTTP. Each test names the fact of Azure that it copies.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail loudly, as tests do"
)]

mod arm;
mod blob;
mod control;
mod faults;
mod graph;
mod identity;
mod key_vault;
mod sdk;

use azure_backup_scim::simulator::{
    ArmLimits, Scope, Simulator, SimulatorHandle, SimulatorOptions, StartClock,
};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use time::macros::datetime;
use uuid::Uuid;

pub const SUBSCRIPTION: &str = "/subscriptions/11111111-1111-1111-1111-111111111111";
pub const GROUP: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/backup";
pub const VAULT: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/backup/providers/Microsoft.RecoveryServices/vaults/east";
pub const READER: &str = "a795c7a0-d4a2-40c1-ae25-d81f01202912";
pub const OPERATOR: &str = "00c29273-979b-4161-815c-10b084fb9324";

/// An Azure of its own for each test, with one vault, and a client that shows a token.
pub struct World {
    pub simulator: Simulator,
    pub azure: SimulatorHandle,
    pub client: Client,
}

impl World {
    pub fn start() -> Self {
        Self::start_with(options())
    }

    pub fn start_with(options: SimulatorOptions) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let simulator = Simulator::start(options).unwrap();
        Self { azure: simulator.handle(), simulator, client: Client::new() }
    }

    /// A request to ARM with api-version and token.
    pub fn arm(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}?api-version=2022-04-01", self.simulator.arm_url());
        self.client.request(method, url).bearer_auth("anything")
    }

    /// One page of a collection.
    pub async fn filtered(&self, path: &str, filter: &str) -> Answer {
        let filter = if filter.is_empty() { String::new() } else { format!("&$filter={filter}") };
        let url = format!("{}{path}?api-version=2022-04-01{filter}", self.simulator.arm_url());
        Answer::of(self.client.get(url).send().await.unwrap()).await
    }

    pub async fn put(&self, scope: &str, name: Uuid, properties: Value) -> Answer {
        let body = json!({ "properties": properties });
        Answer::of(self.arm(Method::PUT, &assignment(scope, name)).json(&body).send().await.unwrap()).await
    }

    pub async fn grant(&self, scope: &str, name: Uuid, person: Uuid) -> Answer {
        self.put(scope, name, reader(person)).await
    }

    pub async fn get(&self, scope: &str, name: Uuid) -> Answer {
        Answer::of(self.arm(Method::GET, &assignment(scope, name)).send().await.unwrap()).await
    }

    pub async fn delete(&self, scope: &str, name: Uuid) -> Answer {
        Answer::of(self.arm(Method::DELETE, &assignment(scope, name)).send().await.unwrap()).await
    }

    /// One page of role assignments.
    pub async fn list(&self, scope: &str, filter: &str) -> Answer {
        self.filtered(&format!("{scope}{COLLECTION}"), filter).await
    }

    pub async fn control(&self, method: Method, path: &str, body: Value) -> Answer {
        let request = self.client.request(method, format!("{}{path}", self.simulator.control_url()));
        let request = if body.is_null() { request } else { request.json(&body) };
        Answer::of(request.send().await.unwrap()).await
    }
}

pub const COLLECTION: &str = "/providers/Microsoft.Authorization/roleAssignments";

pub fn options() -> SimulatorOptions {
    SimulatorOptions {
        scopes: vec![scope(VAULT)],
        clock: StartClock::Manual(datetime!(2026-03-01 12:00 UTC)),
        limits: ArmLimits::default(),
        ..SimulatorOptions::default()
    }
}

pub fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

pub fn assignment(scope: &str, name: Uuid) -> String {
    format!("{scope}{COLLECTION}/{name}")
}

/// A name or a principal: the same number, the same GUID.
pub fn guid(number: u128) -> Uuid {
    Uuid::from_u128(0xaaaa_0000_0000_4000_8000_0000_0000_0000 | number)
}

pub fn role_id(role: &str) -> String {
    format!("{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{role}")
}

/// What gives a person the reader role.
pub fn reader(person: Uuid) -> Value {
    json!({ "roleDefinitionId": role_id(READER), "principalId": person, "principalType": "User" })
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub async fn of(response: Response) -> Self {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.unwrap();
        Self { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null) }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The names of a listed page, in order.
    pub fn names(&self) -> Vec<Uuid> {
        let name = |item: &Value| Uuid::try_parse(item["name"].as_str().unwrap()).unwrap();
        self.body["value"].as_array().unwrap().iter().map(name).collect()
    }

    #[track_caller]
    pub fn assert_error(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status, self.body["error"]["code"].as_str()),
            (status, Some(code)),
            "{:?}",
            self.body
        );
        assert!(self.body["error"]["message"].is_string());
    }
}
