//! The route table. Whatever is not in it is 404; a known path with another method is 405. HEAD arrives here as GET.

use super::discovery::BaseUrl;
use super::error::{EndpointResult, HttpError};
use super::{base, bulk, discovery, functions, groups, health, plain_path, users};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Resource, Route};

/// Every route of the service.
pub(super) fn configure(cfg: &mut ServiceConfig) {
    cfg.service(read_only("/").get(health::root))
        .service(read_only("/healthz").get(health::healthz))
        .service(web::resource(functions::RECONCILE).post(functions::reconcile).default_service(only("POST")))
        .service(
            web::scope("/scim/v2")
                .configure(base_routes)
                .configure(user_routes)
                .configure(group_routes)
                .configure(rest),
        )
        .default_service(web::to(not_found));
}

/// What there is while the settings are not in order.
pub(super) fn configure_not_configured(cfg: &mut ServiceConfig) {
    let refuse = || web::to(async || Err::<HttpResponse, _>(HttpError::NotConfigured));
    cfg.route("/", web::get().to(health::root))
        .route("/healthz", web::get().to(health::healthz))
        .default_service(refuse());
}

fn base_routes(cfg: &mut ServiceConfig) {
    let search = web::resource("/.search").post(base::search);
    cfg.service(read_only("").get(base::list))
        .service(search.default_service(only("POST")))
        .route("/Me", web::to(base::me));
}

fn user_routes(cfg: &mut ServiceConfig) {
    let all = web::resource("/Users").get(users::list).post(users::create);
    let one = web::resource("/Users/{id}")
        .get(users::get)
        .put(users::replace)
        .patch(users::patch)
        .delete(users::delete);
    let search = web::resource("/Users/.search").post(users::search);
    cfg.service(all.default_service(only("GET, HEAD, POST")))
        .service(search.default_service(only("POST")))
        .service(one.default_service(only("GET, HEAD, PUT, PATCH, DELETE")));
}

fn group_routes(cfg: &mut ServiceConfig) {
    let all = web::resource("/Groups").get(groups::list).post(groups::create);
    let one = web::resource("/Groups/{id}")
        .get(groups::get)
        .put(groups::replace)
        .patch(groups::patch)
        .delete(groups::delete);
    let search = web::resource("/Groups/.search").post(groups::search);
    cfg.service(all.default_service(only("GET, HEAD, POST")))
        .service(search.default_service(only("POST")))
        .service(one.default_service(only("GET, HEAD, PUT, PATCH, DELETE")));
}

fn rest(cfg: &mut ServiceConfig) {
    cfg.service(read_only("/ServiceProviderConfig").get(discovery::service_provider_config))
        .service(read_only("/ResourceTypes").get(discovery::resource_types))
        .service(read_only("/ResourceTypes/{id}").get(discovery::resource_type))
        .service(read_only("/Schemas").get(discovery::schemas))
        .service(read_only("/Schemas/{id}").get(discovery::schema));
    cfg.service(web::resource("/Bulk").post(bulk::bulk).default_service(only("POST")));
}

fn read_only(path: &str) -> Resource {
    web::resource(path).default_service(only("GET, HEAD"))
}

/// The answer to every other method of a known path.
fn only(allow: &'static str) -> Route {
    web::to(move || async move { Err::<HttpResponse, _>(HttpError::MethodNotAllowed { allow }) })
}

/// A path that begins like the base URL names it in the answer: a tenant URL was pasted with a mistake in it. (The Functions host
/// matches routes without case.)
async fn not_found(request: HttpRequest, base: Data<BaseUrl>) -> EndpointResult {
    let path = request.path();
    let first = path.split('/').find(|segment| !segment.is_empty());
    let is_beside = first.is_some_and(|first| first.eq_ignore_ascii_case("scim"));
    match is_beside && !plain_path::is_under_base(path) {
        true => Err(HttpError::beside_base_url(&base.0)),
        false => Err(HttpError::no_endpoint()),
    }
}
