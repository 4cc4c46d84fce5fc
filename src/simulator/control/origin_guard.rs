//! Protects the control API, which needs no token, from web pages in a browser on this machine.
//!
//! A page of another site can send a form or plain text to any address without a CORS preflight, and can make its own host name
//! resolve to a loopback address (DNS rebinding). So a body must be JSON, and `Host` and `Origin` must be loopback.

use super::control_error::ControlError;
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::http::uri::Authority;
use actix_web::middleware::Next;

/// Lets a request pass that comes from this machine and whose body, if it has one, is JSON.
pub async fn refuse_other_sites(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    check(request.headers())?;
    next.call(request).await
}

fn check(headers: &HeaderMap) -> Result<(), ControlError> {
    let host = one(headers, header::HOST).filter(|host| is_loopback(host));
    let host = host.ok_or(ControlError::OtherSite { header: "Host" })?;
    if headers.contains_key(header::ORIGIN) {
        let ours = format!("http://{host}");
        let same = one(headers, header::ORIGIN).is_some_and(|origin| origin.eq_ignore_ascii_case(&ours));
        if !same {
            return Err(ControlError::OtherSite { header: "Origin" });
        }
    }
    let length = one(headers, header::CONTENT_LENGTH).unwrap_or("0");
    let has_body = length != "0" || headers.contains_key(header::TRANSFER_ENCODING);
    if (has_body || headers.contains_key(header::CONTENT_TYPE)) && !is_json(headers) {
        return Err(ControlError::NotJson);
    }
    Ok(())
}

/// The value of a header that is there once.
fn one(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name);
    let (Some(only), None) = (values.next(), values.next()) else { return None };
    only.to_str().ok()
}

fn is_loopback(host: &str) -> bool {
    let Some(authority) = host.parse::<Authority>().ok().filter(|_| !host.contains('@')) else {
        return false;
    };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn is_json(headers: &HeaderMap) -> bool {
    let essence =
        one(headers, header::CONTENT_TYPE).and_then(|text| text.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn status(lines: &[(&'static str, &str)]) -> u16 {
        use actix_web::ResponseError;
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        check(&headers).err().map_or(200, |error| error.status_code().as_u16())
    }

    #[test]
    fn programs_on_this_machine_are_answered() {
        for host in ["127.0.0.1:7072", "localhost:7072", "LOCALHOST", "[::1]:7072", "127.9.9.9"] {
            assert_eq!(status(&[("host", host)]), 200, "{host}");
        }
        let json = ("content-type", "application/json; charset=utf-8");
        assert_eq!(status(&[("host", "localhost:1"), ("content-length", "2"), json]), 200);
        assert_eq!(status(&[("host", "localhost:1"), ("content-length", "0")]), 200);
        assert_eq!(status(&[("host", "localhost:1"), ("origin", "http://localhost:1")]), 200);
    }

    #[test]
    fn another_name_of_the_address_is_refused() {
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "10.0.0.1",
            "",
            "0.0.0.0",
            "a@127.0.0.1",
        ] {
            assert_eq!(status(&[("host", host)]), 403, "{host}");
        }
        assert_eq!(status(&[]), 403);
        assert_eq!(status(&[("host", "127.0.0.1"), ("host", "evil.example")]), 403);
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        let host = ("host", "localhost:1");
        for origin in [
            "https://evil.example",
            "null",
            "http://localhost:2",
            "https://localhost:1",
            "http://127.0.0.1:1",
        ] {
            assert_eq!(status(&[host, ("origin", origin)]), 403, "{origin}");
        }
    }

    #[test]
    fn a_body_that_a_browser_sends_without_asking_is_refused() {
        let host = ("host", "localhost:1");
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/json",
            "",
        ] {
            assert_eq!(status(&[host, ("content-length", "2"), ("content-type", kind)]), 415, "{kind}");
            assert_eq!(status(&[host, ("content-type", kind)]), 415, "{kind}");
        }
        assert_eq!(status(&[host, ("content-length", "2")]), 415);
        assert_eq!(status(&[host, ("transfer-encoding", "chunked")]), 415);
    }
}
