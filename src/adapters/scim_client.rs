//! A SCIM client with one bearer token, for the drill from outside.

use super::rest::{is_loopback, may_carry_secret};
use super::server_certificate;
use azure_core::http::Url;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::time::Duration;

/// How long one answer may take: longer than the service works on a request.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Why a SCIM endpoint could not be called.
#[derive(Debug, thiserror::Error)]
pub enum ScimClientError {
    #[error("{url:?} is no address of SCIM: https, as https://scim.contoso.example/scim/v2")]
    Address { url: String },
    #[error("the client of SCIM cannot be built")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("SCIM gave no answer to {method} {path}")]
    NoAnswer { method: &'static str, path: String, source: reqwest::Error },
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScimReply {
    pub status: u16,
    /// Null where it is no JSON.
    pub body: Value,
}

impl ScimReply {
    pub const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }
}

/// A SCIM endpoint, with the token that is shown to it.
pub struct ScimClient {
    client: reqwest::Client,
    base: String,
    token: SecretString,
}

impl ScimClient {
    /// `base` ends in `/scim/v2`. The token goes to https, or to this machine.
    pub fn new(base: &str, token: SecretString) -> Result<Self, ScimClientError> {
        let address = || ScimClientError::Address { url: base.to_owned() };
        let url = Url::parse(base).map_err(|_| address())?;
        let is_bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if !is_bare || !may_carry_secret(&url) {
            return Err(address());
        }
        let tls = match url.scheme() {
            "https" => server_certificate::client_config(),
            _ => server_certificate::client_config_without_authorities(),
        };
        let tls = tls.map_err(|error| ScimClientError::Client(error.into()))?;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT);
        if is_loopback(&url) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| ScimClientError::Client(error.into()))?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), token })
    }

    pub async fn get(&self, path: &str) -> Result<ScimReply, ScimClientError> {
        self.send("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<ScimReply, ScimClientError> {
        self.send("POST", path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Result<ScimReply, ScimClientError> {
        self.send("PATCH", path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Result<ScimReply, ScimClientError> {
        self.send("DELETE", path, None).await
    }

    async fn send(
        &self,
        method: &'static str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<ScimReply, ScimClientError> {
        let failed = |source| ScimClientError::NoAnswer { method, path: path.to_owned(), source };
        let verb = match method {
            "POST" => reqwest::Method::POST,
            "PATCH" => reqwest::Method::PATCH,
            "DELETE" => reqwest::Method::DELETE,
            _ => reqwest::Method::GET,
        };
        let request = self.client.request(verb, format!("{}{path}", self.base));
        let mut request = request.bearer_auth(self.token.expose_secret());
        if let Some(body) = body {
            request = request.header("content-type", "application/scim+json").body(body.to_string());
        }
        // The address is in the words already, and may be long.
        let answer = request.send().await.map_err(|error| failed(error.without_url()))?;
        let status = answer.status().as_u16();
        let text = answer.text().await.map_err(|error| failed(error.without_url()))?;
        Ok(ScimReply { status, body: serde_json::from_str(&text).unwrap_or(Value::Null) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_https_or_to_this_machine() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = |url| ScimClient::new(url, SecretString::from("t")).map(|client| client.base);
        assert_eq!(client("http://127.0.0.1:7/scim/v2/").unwrap(), "http://127.0.0.1:7/scim/v2");
        for url in ["http://scim.contoso.example/scim/v2", "scim", "https://a:b@c/scim/v2", "https://c/?x=1"]
        {
            assert!(matches!(client(url), Err(ScimClientError::Address { .. })), "{url}");
        }
    }
}
