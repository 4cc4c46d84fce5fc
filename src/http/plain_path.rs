//! Tenant URLs are pasted with a slash too many. Under the base URL several slashes in a row count as one, and one at the end
//! does not count; an escaped slash stays part of an id.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Uri;
use actix_web::http::uri::PathAndQuery;
use actix_web::middleware::Next;

/// The path of the base URL; what is above it keeps its spelling.
const BASE: &str = "/scim/v2/";

/// Routes the request by the plain form of its path. Nothing else of it changes.
pub(super) async fn route_plainly<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    if let Some(uri) = plain_path(request.uri().path()).and_then(|path| with_path(request.uri(), path)) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
    next.call(request).await
}

/// Whether it is the path of the base URL, or one below it.
pub(super) fn is_under_base(path: &str) -> bool {
    path.starts_with(BASE) || path == BASE.trim_end_matches('/')
}

/// `None`: it is plain, or not under the base URL.
fn plain_path(path: &str) -> Option<String> {
    let rest = path.strip_prefix(BASE)?;
    let segments: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
    let plain = [BASE.trim_end_matches('/')].into_iter().chain(segments).collect::<Vec<_>>().join("/");
    (plain != path).then_some(plain)
}

fn with_path(uri: &Uri, path: String) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_under_the_base_url_has_a_plain_form() {
        let check =
            |path: &str, plain: Option<&str>| assert_eq!(plain_path(path).as_deref(), plain, "{path}");
        check("/scim/v2//Users///a/", Some("/scim/v2/Users/a"));
        check("/scim/v2/Users/", Some("/scim/v2/Users"));
        check("/scim/v2/", Some("/scim/v2"));
        for path in
            ["/scim/v2/Users", "/scim/v2/Users/%2Fa%2f", "/scim/v2", "//scim/v2/Users/", "/scim//v2/x"]
        {
            check(path, None);
        }
        check("//Reconcile", None);
    }

    #[test]
    fn the_query_stays_as_it_was() {
        let uri: Uri = "/scim/v2//Users/?filter=a%2Fb//&x".parse().unwrap();
        let plain = with_path(&uri, plain_path(uri.path()).unwrap()).unwrap();
        assert_eq!(plain.to_string(), "/scim/v2/Users?filter=a%2Fb//&x");
    }
}
