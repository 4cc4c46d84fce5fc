//! HTTP/1.0 has no chunks (RFC 9112 7.1): to such a client a body of unknown length ends with the connection.

use actix_web::Error;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{ConnectionType, Version};
use actix_web::middleware::Next;

/// Serves the request, and its response in a form that the version of the request has.
pub(super) async fn end_with_connection<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let has_chunks = request.version() >= Version::HTTP_11;
    let mut response = next.call(request).await?;
    if !has_chunks && response.response().body().size() == BodySize::Stream {
        let head = response.response_mut().head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}
