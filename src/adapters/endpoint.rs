//! The address of an Azure service, and whether a token may be sent to it.

use super::rest::may_carry_secret;
use azure_core::http::Url;
use std::fmt;

/// An origin, without a path: `https`, or plain `http` on a loopback address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

/// Why a text is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("it is not a URL")]
    NotAUrl,
    #[error(
        "it is neither https nor plain http on a loopback address, and a token must not travel in the clear"
    )]
    Insecure,
    #[error("it is more than an origin: no path, query, fragment or user name")]
    NotAnOrigin,
}

impl Endpoint {
    /// Checks an origin; one `/` at its end does no harm.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let url = Url::parse(text).map_err(|_| EndpointError::NotAUrl)?;
        if !may_carry_secret(&url) {
            return Err(EndpointError::Insecure);
        }
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::NotAnOrigin);
        }
        Ok(Self(url))
    }

    /// Whether it is plain http, and so on this machine: the simulated Azure.
    pub fn is_simulated(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// The origin, without a slash at its end.
    pub fn origin(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// As the clients of `azure_core` want it.
    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, EndpointError>) {
        let found = Endpoint::parse(text).map(|endpoint| endpoint.to_string());
        assert_eq!(found, expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn an_endpoint_is_an_origin_that_keeps_a_token_safe() {
        check("https://management.azure.com", Ok("https://management.azure.com"));
        check("https://management.azure.com/", Ok("https://management.azure.com"));
        check("http://127.0.0.1:8080", Ok("http://127.0.0.1:8080"));
        check("http://[::1]:8080", Ok("http://[::1]:8080"));
        check("http://localhost:1", Ok("http://localhost:1"));
        for text in ["", "management.azure.com", "https://"] {
            check(text, Err(EndpointError::NotAUrl));
        }
        for text in
            ["http://management.azure.com", "http://127.0.0.1.example", "ftp://127.0.0.1", "file:///x"]
        {
            check(text, Err(EndpointError::Insecure));
        }
        for text in
            ["https://a.example/x", "https://a.example?x", "https://a.example#x", "https://u@a.example"]
        {
            check(text, Err(EndpointError::NotAnOrigin));
        }
    }
}
