use super::{World, options};
use azure_backup_scim::simulator::BlobContainer;
use reqwest::{Method, Response};

impl World {
    fn add_container(&self, name: &str, immutable_days: Option<u32>) {
        self.azure.set_container(name, BlobContainer { immutable_days }).unwrap();
    }

    async fn blob(
        &self,
        method: Method,
        path: &str,
        body: &'static str,
        condition: Option<&str>,
    ) -> Response {
        let url = format!("{}/{path}", self.simulator.blob_url());
        let request = self.client.request(method, url).bearer_auth("anything").body(body);
        let request = request.header("x-ms-blob-type", "BlockBlob");
        let request = condition
            .into_iter()
            .fold(request, |request, condition| request.header("if-none-match", condition));
        request.send().await.unwrap()
    }

    async fn write(&self, path: &str, body: &'static str, condition: Option<&str>) -> (u16, String) {
        code(&self.blob(Method::PUT, path, body, condition).await)
    }

    async fn remove(&self, path: &str) -> (u16, String) {
        code(&self.blob(Method::DELETE, path, "", None).await)
    }

    async fn content(&self, path: &str) -> String {
        self.blob(Method::GET, path, "", None).await.text().await.unwrap()
    }
}

fn code(answer: &Response) -> (u16, String) {
    let code = answer.headers().get("x-ms-error-code").and_then(|code| code.to_str().ok());
    (answer.status().as_u16(), code.unwrap_or_default().to_owned())
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// Blob Storage: a write that demands that there is none, and reading.
/// Facts: F-188.
#[actix_web::test]
async fn a_blob_that_must_be_new_is_written_once() {
    let world = World::start_with(options());
    world.add_container("heads", None);
    assert_eq!(world.write("heads/a/1", "one", Some("*")).await, is(201, ""));
    assert_eq!(world.write("heads/a/1", "two", Some("*")).await, is(409, "BlobAlreadyExists"));
    assert_eq!(world.content("heads/a/1").await, "one");
    assert_eq!(world.write("heads/a/1", "two", None).await, is(201, ""));
    assert_eq!(world.content("heads/a/1").await, "two");
    assert_eq!(code(&world.blob(Method::GET, "heads/a/2", "", None).await), is(404, "BlobNotFound"));
    assert_eq!(world.write("none/a/1", "one", Some("*")).await, is(404, "ContainerNotFound"));
    assert!(world.simulator.unrecognised().is_empty());
    assert_eq!(world.write("heads/a/1", "two", Some("\"etag\"")).await.0, 400);
}

/// Blob Storage: what a time-based immutability policy forbids, and when it ends.
/// Facts: F-189.
#[actix_web::test]
async fn a_policy_keeps_a_blob_from_being_overwritten_and_deleted() {
    let world = World::start_with(options());
    world.add_container("heads", Some(2));
    assert_eq!(world.write("heads/1", "one", Some("*")).await, is(201, ""));
    assert_eq!(world.write("heads/1", "two", None).await, is(409, "BlobImmutableDueToPolicy"));
    assert_eq!(world.remove("heads/1").await, is(409, "BlobImmutableDueToPolicy"));
    world.azure.advance(2 * 86_400).unwrap();
    assert_eq!(world.write("heads/1", "two", None).await, is(409, "BlobImmutableDueToPolicy"));
    assert_eq!(world.content("heads/1").await, "one");
    assert_eq!(world.remove("heads/1").await, is(202, ""));
    assert_eq!(world.remove("heads/1").await, is(404, "BlobNotFound"));
}

/// Blob Storage: nothing without a token, and none for another service.
/// Facts: F-040.
#[actix_web::test]
async fn blobs_need_a_token() {
    let world = World::start_with(options());
    world.add_container("heads", None);
    let url = format!("{}/heads/1", world.simulator.blob_url());
    let answer = world.client.get(url).send().await.unwrap();
    assert_eq!(code(&answer), is(401, "InvalidAuthenticationInfo"));
}
