//! A client of the control API of a running `local`, for commands that look into it.

use reqwest::{Client, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a running `local` could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlClientError {
    #[error("{url:?} is not a control address; expected the form http://127.0.0.1:41123/control")]
    Address { url: String },
    #[error("the control API cannot be asked")]
    NoAnswer(#[source] reqwest::Error),
    #[error("the control API answered {status}")]
    Answer { status: u16 },
}

/// The control API at one address.
pub struct ControlClient {
    client: Client,
    url: Url,
}

impl ControlClient {
    /// `url` as `local` prints it. A rustls provider must be installed in the process before.
    pub fn new(url: &str) -> Result<Self, ControlClientError> {
        let address = || ControlClientError::Address { url: url.to_owned() };
        let parsed = Url::parse(url.trim_end_matches('/')).map_err(|_| address())?;
        if parsed.scheme() != "http" || parsed.path() != "/control" {
            return Err(address());
        }
        // Plain http needs no root certificates, which take long to read.
        let builder = Client::builder().no_proxy().tls_certs_only([]).timeout(TIMEOUT);
        let client = builder.build().map_err(ControlClientError::NoAnswer)?;
        Ok(Self { client, url: parsed })
    }

    /// Posts a question as JSON. Returns the body of the answer, which is JSON too.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        question: &impl Serialize,
    ) -> Result<T, ControlClientError> {
        let mut url = self.url.clone();
        url.set_path(&format!("/control/{path}"));
        let answer =
            self.client.post(url).json(question).send().await.map_err(ControlClientError::NoAnswer)?;
        if !answer.status().is_success() {
            return Err(ControlClientError::Answer { status: answer.status().as_u16() });
        }
        answer.json().await.map_err(ControlClientError::NoAnswer)
    }
}
