//! A transport that gives each request the same answer.

use async_trait::async_trait;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, HttpClient, Request, StatusCode, Transport};
use std::sync::{Arc, Mutex, PoisonError};

/// What is answered.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// Answers without a network: once what was set, then nothing but an empty 400.
#[derive(Debug, Clone, Default)]
pub struct Scripted(Arc<Mutex<Option<Answer>>>);

impl Scripted {
    /// The next answer.
    pub fn set(&self, answer: Answer) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }

    pub fn transport(&self) -> Transport {
        Transport::new(Arc::new(self.clone()))
    }
}

#[async_trait]
impl HttpClient for Scripted {
    async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
        let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let answer = next.unwrap_or_else(|| Answer { status: 400, ..Answer::default() });
        let mut headers = Headers::new();
        for (name, value) in answer.headers {
            headers.insert(name, value);
        }
        Ok(AsyncRawResponse::from_bytes(StatusCode::from(answer.status), headers, answer.body))
    }
}
