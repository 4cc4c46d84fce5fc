//! A transport for the SDK's own clients, which follow whatever link an answer holds, token included, read an answer however long it
//! is, and believe whoever gives it.

use super::call_observer::is_azure;
use super::rest::read;
use crate::ports::connectivity::{Dependency, UnreachableKind};
use async_trait::async_trait;
use azure_core::Error;
use azure_core::error::ErrorKind;
use azure_core::http::{AsyncRawResponse, Context, HttpClient, Request, Transport};
use std::sync::Arc;

/// A longer answer of a vault or an identity endpoint is rejected: a page of versions has some kilobytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// `transport` to a service, with bounded answers that are of its kind, and to no other host than `host` where one is given.
pub fn guarded(transport: Transport, service: Dependency, host: Option<&str>) -> Transport {
    Transport::new(Arc::new(Guarded { transport, service, host: host.map(str::to_owned) }))
}

#[derive(Debug)]
struct Guarded {
    transport: Transport,
    service: Dependency,
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
        if !is_azure(self.service, status.into(), &headers) {
            let foreign = UnreachableKind::NotAzure.in_words();
            return Err(Error::with_message(
                ErrorKind::Io,
                format!("{foreign}: status {}", u16::from(status)),
            ));
        }
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

    /// Answers everything with so many bytes and that header.
    #[derive(Debug)]
    struct Answers {
        bytes: usize,
        header: (&'static str, &'static str),
        asked: AtomicUsize,
    }

    const AZURE: (&str, &str) = ("x-ms-request-id", "1");

    #[async_trait]
    impl HttpClient for Answers {
        async fn execute_request(&self, _request: &Request) -> azure_core::Result<AsyncRawResponse> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let mut headers = Headers::new();
            headers.insert(self.header.0, self.header.1);
            Ok(AsyncRawResponse::from_bytes(StatusCode::Ok, headers, vec![b'x'; self.bytes]))
        }
    }

    async fn ask(host: Option<&str>, url: &str, bytes: usize) -> (bool, usize) {
        ask_one_who_answers(AZURE, host, url, bytes).await
    }

    async fn ask_one_who_answers(
        header: (&'static str, &'static str),
        host: Option<&str>,
        url: &str,
        bytes: usize,
    ) -> (bool, usize) {
        let answers = Arc::new(Answers { bytes, header, asked: AtomicUsize::new(0) });
        let transport = guarded(Transport::new(answers.clone()), Dependency::KeyVault, host);
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

    /// Else another service's 200 would be a vault without secrets.
    #[tokio::test]
    async fn an_answer_of_another_service_is_none() {
        for header in [("content-type", "application/json"), ("content-type", "Text/HTML")] {
            assert_eq!(ask_one_who_answers(header, None, "https://a.example/", 3).await, (false, 1));
        }
    }

    #[tokio::test]
    async fn an_answer_without_end_is_none() {
        assert_eq!(ask(None, "https://a.example/", ANSWER_BYTES_MAX).await, (true, 1));
        assert_eq!(ask(None, "https://a.example/", ANSWER_BYTES_MAX + 1).await, (false, 1));
    }
}
