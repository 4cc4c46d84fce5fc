//! A transport for the SDK's own clients, which follow whatever link an answer holds, token included, read an answer however long it
//! is, and accept it from any server.

use super::call_observer::{AnswerOrigin, answer_origin};
use super::rest::read;
use super::unreachable::ForeignAnswer;
use crate::ports::connectivity::Dependency;
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
        if answer_origin(self.service, status.into(), &headers) != AnswerOrigin::Azure {
            let foreign = ForeignAnswer { status: status.into() };
            return Err(Error::with_error(ErrorKind::Io, foreign, "another program answered"));
        }
        let body = read(body, ANSWER_BYTES_MAX).await;
        let body =
            body.map_err(|error| Error::with_error(ErrorKind::Io, error, "the answer was not read"))?;
        Ok(AsyncRawResponse::from_bytes(status, headers, body))
    }
}

#[cfg(test)]
mod tests {
    use super::super::rest::describe;
    use super::*;
    use azure_core::http::headers::Headers;
    use azure_core::http::{Method, StatusCode, Url};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Answers everything with so many bytes and that header.
    #[derive(Debug)]
    struct Answers {
        status: u16,
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
            Ok(AsyncRawResponse::from_bytes(StatusCode::from(self.status), headers, vec![b'x'; self.bytes]))
        }
    }

    async fn ask(host: Option<&str>, url: &str, bytes: usize) -> (bool, usize) {
        let answers = Arc::new(Answers { status: 200, bytes, header: AZURE, asked: AtomicUsize::new(0) });
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

    /// Else another service's 200 would be a vault without secrets, and a proxy's 503 a vault that is busy.
    #[tokio::test]
    async fn an_answer_of_another_service_is_none() {
        for header in [("content-type", "application/json"), ("content-type", "Text/HTML")] {
            let answers = Answers { status: 200, bytes: 3, header, asked: AtomicUsize::new(0) };
            assert_eq!(error_of(answers).await, "the answer is not Azure's: status 200");
        }
        let busy = ("retry-after", "60");
        let answers = Answers { status: 503, bytes: 3, header: busy, asked: AtomicUsize::new(0) };
        assert_eq!(error_of(answers).await, "the answer is not Azure's: status 503");
        let endless =
            Answers { status: 200, bytes: ANSWER_BYTES_MAX + 1, header: AZURE, asked: AtomicUsize::new(0) };
        assert_eq!(error_of(endless).await, "the answer is too large");
    }

    async fn error_of(answers: Answers) -> String {
        let transport = guarded(Transport::new(Arc::new(answers)), Dependency::KeyVault, None);
        let mut request = Request::new(Url::parse("https://a.example/").unwrap(), Method::Get);
        describe(&transport.send(&Context::new(), &mut request).await.err().unwrap())
    }

    #[tokio::test]
    async fn an_answer_without_end_is_none() {
        assert_eq!(ask(None, "https://a.example/", ANSWER_BYTES_MAX).await, (true, 1));
        assert_eq!(ask(None, "https://a.example/", ANSWER_BYTES_MAX + 1).await, (false, 1));
    }
}
