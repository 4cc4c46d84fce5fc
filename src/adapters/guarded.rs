//! A transport for the SDK's own clients, which follow whatever link an answer holds, token included, and read an answer
//! however long it is.

use super::rest::read;
use async_trait::async_trait;
use azure_core::Error;
use azure_core::error::ErrorKind;
use azure_core::http::{AsyncRawResponse, Context, HttpClient, Request, Transport};
use std::sync::Arc;

/// A longer answer of a vault or an identity endpoint is rejected: a page of versions has some kilobytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// `transport`, to no other host than `host` where one is given, and with bounded answers.
pub fn guarded(transport: Transport, host: Option<&str>) -> Transport {
    Transport::new(Arc::new(Guarded { transport, host: host.map(str::to_owned) }))
}

#[derive(Debug)]
struct Guarded {
    transport: Transport,
    host: Option<String>,
}

#[async_trait]
impl HttpClient for Guarded {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        if self.host.is_some() && self.host.as_deref() != request.url().host_str() {
            return Err(Error::with_message(ErrorKind::Other, "an answer leads to another host"));
        }
        let answer = self.transport.send(&Context::new(), &mut request.clone()).await?;
        let (status, headers, body) = answer.deconstruct();
        let body = read(body, ANSWER_BYTES_MAX).await;
        let body = body.map_err(|error| Error::with_message(ErrorKind::Io, error.detail))?;
        Ok(AsyncRawResponse::from_bytes(status, headers, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use azure_core::http::headers::Headers;
    use azure_core::http::{Method, StatusCode, Url};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Answers everything with so many bytes.
    #[derive(Debug)]
    struct Answers {
        bytes: usize,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl HttpClient for Answers {
        async fn execute_request(&self, _request: &Request) -> azure_core::Result<AsyncRawResponse> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            Ok(AsyncRawResponse::from_bytes(StatusCode::Ok, Headers::new(), vec![b'x'; self.bytes]))
        }
    }

    async fn ask(host: Option<&str>, url: &str, bytes: usize) -> (bool, usize) {
        let answers = Arc::new(Answers { bytes, asked: AtomicUsize::new(0) });
        let transport = guarded(Transport::new(answers.clone()), host);
        let mut request = Request::new(Url::parse(url).unwrap(), Method::Get);
        let answer = transport.send(&Context::new(), &mut request).await;
        (answer.is_ok(), answers.asked.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_token_goes_to_its_own_host_only() {
        let vault = Some("name.vault.azure.net");
        assert_eq!(ask(vault, "https://name.vault.azure.net/secrets", 3).await, (true, 1));
        for url in
            ["https://evil.example/secrets", "https://other.vault.azure.net/", "https://vault.azure.net/"]
        {
            assert_eq!(ask(vault, url, 3).await, (false, 0), "{url}");
        }
        assert_eq!(ask(None, "http://127.0.0.1:1/", 3).await, (true, 1));
    }

    #[tokio::test]
    async fn an_answer_without_end_is_none() {
        assert_eq!(ask(None, "https://a.example/", ANSWER_BYTES_MAX).await, (true, 1));
        assert_eq!(ask(None, "https://a.example/", ANSWER_BYTES_MAX + 1).await, (false, 1));
    }
}
