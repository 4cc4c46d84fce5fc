//! An identity provider over real HTTP.

use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// Longer than any answer of a service that is well may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A client with one bearer token.
#[derive(Clone)]
pub struct Idp {
    client: Client,
    base_url: String,
    token: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    pub etag: Option<String>,
    pub body: Value,
}

impl Idp {
    /// `base_url` ends in `/scim/v2`.
    pub fn new(base_url: &str, token: &str) -> Self {
        // A provider that an earlier test installed serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Plain http needs no root certificates, which take long to read.
        let client = Client::builder().no_proxy().tls_certs_only([]).timeout(TIMEOUT).build().unwrap();
        Self { client, base_url: base_url.to_owned(), token: token.to_owned() }
    }

    /// The same identity provider with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// Sends one request. No answer at all is an error.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, reqwest::Error> {
        self.send_with(method, path, &[], body).await
    }

    /// The same with further headers.
    pub async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request =
            self.client.request(method, format!("{}{path}", self.base_url)).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/scim+json").body(body.to_string());
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let header =
            |name| answer.headers().get(name).and_then(|value| value.to_str().ok().map(str::to_owned));
        let (retry_after, etag) = (header("retry-after"), header("etag"));
        let text = answer.text().await?;
        Ok(Answer {
            status,
            retry_after,
            etag,
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        })
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await.unwrap()
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(&body)).await.unwrap()
    }

    pub async fn patch(&self, path: &str, operation: Value) -> Answer {
        self.send(Method::PATCH, path, Some(&patch(operation))).await.unwrap()
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await.unwrap()
    }

    /// A user whose Entra object id is `principal`; its SCIM id.
    pub async fn create_user(&self, name: &str, principal: Uuid) -> String {
        id(self.post("/Users", user(name, principal)).await)
    }

    /// A group that bindings find by that externalId; its SCIM id.
    pub async fn create_group(&self, external_id: &str) -> String {
        id(self.post("/Groups", group(external_id)).await)
    }

    /// Adds or removes one member.
    pub async fn member(&self, op: &str, group: &str, user: &str) -> Answer {
        self.patch(&format!("/Groups/{group}"), member(op, user)).await
    }
}

fn id(answer: Answer) -> String {
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body["id"].as_str().unwrap().to_owned()
}

/// The body that creates a user.
pub fn user(name: &str, principal: Uuid) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": name, "externalId": principal.to_string(), "active": true,
    })
}

/// The body that creates a group.
pub fn group(external_id: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": external_id, "externalId": external_id,
    })
}

/// The operation that adds or removes one member.
pub fn member(op: &str, user: &str) -> Value {
    match op {
        "remove" => json!({ "op": "remove", "path": format!("members[value eq \"{user}\"]") }),
        _ => json!({ "op": op, "path": "members", "value": [{ "value": user }] }),
    }
}

/// The body of a PATCH with one operation.
pub fn patch(operation: Value) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation] })
}
