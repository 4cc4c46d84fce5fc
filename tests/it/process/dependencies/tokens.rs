//! Tokens of the identity endpoint that run out, that Azure no longer takes, and that are good while the endpoint is not.

use super::stage::{Dependency, Fault, Scene, Stage, assert_unavailable, eventually};
use super::{People, ana, ben, settled, swap};
use crate::support::chaos::Call;
use azure_backup_scim::simulator::IdentitySettings;
use std::collections::BTreeSet;
use tokio::join;

/// A scene whose tokens last so long.
fn scene(token_lifetime_seconds: u32) -> Scene {
    let scene = Scene::set();
    let azure = scene.cloud.azure.handle();
    let settings = IdentitySettings { token_lifetime_seconds, ..azure.identity_settings() };
    azure.set_identity_settings(settings).unwrap();
    scene
}

fn authorization(call: &Call) -> Option<&str> {
    let mut headers = call.headers.lines().filter_map(|line| line.split_once(':'));
    headers.find(|(name, _)| name.eq_ignore_ascii_case("authorization")).map(|(_, value)| value.trim())
}

/// The tokens that ARM was shown.
fn shown(stage: &Stage) -> BTreeSet<String> {
    let calls = stage.scene.proxy(Dependency::Arm).calls();
    calls.iter().filter_map(authorization).map(str::to_owned).collect()
}

/// Ben and Ana change places, and nothing else is asked for.
async fn changes_places(stage: &Stage, people: &People) {
    swap(stage, people).await;
    stage.holds(&[ben()]).await;
    stage.assert_sound();
}

/// Facts: F-055.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_runs_out_is_renewed() {
    let stage = scene(2).start().await;
    let people = settled(&stage).await;
    let before = shown(&stage);
    let over = stage.scene.cloud.azure.handle().now() + std::time::Duration::from_secs(3);
    eventually("the token has run out", async || {
        (stage.scene.cloud.azure.handle().now() > over).then_some(())
    })
    .await;
    changes_places(&stage, &people).await;
    assert!(shown(&stage).difference(&before).count() > 0, "the same token was shown again");
}

/// Facts: F-040.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_azure_no_longer_takes_is_replaced() {
    let stage = scene(3600).start().await;
    let people = settled(&stage).await;
    // By our clock it is good for an hour.
    stage.scene.cloud.azure.handle().advance(3600).unwrap();
    swap(&stage, &people).await;
    stage.much_later();
    stage.holds(&[ben()]).await;
    // The vault is asked anew as well.
    assert_eq!(stage.stranger.get("/Users").await.status, 401);
    stage.assert_sound();
}

/// Facts: F-055.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_still_good_is_shown_while_no_other_can_be_had() {
    join!(
        good_without_renewal(Fault::Away),
        good_without_renewal(Fault::Silent),
        good_without_renewal(Fault::Nonsense),
        good_without_renewal(Fault::Throttled)
    );
}

async fn good_without_renewal(fault: Fault) {
    // So near its end that a renewal is tried.
    let stage = scene(240).start().await;
    let people = settled(&stage).await;
    let before = shown(&stage);
    stage.scene.begin(Dependency::Identity, fault);
    changes_places(&stage, &people).await;
    let stranger = stage.stranger.get("/Users").await;
    match fault {
        // The vault's own client waits for the renewal, longer than a request waits for the vault.
        Fault::Silent => assert_unavailable(&stranger),
        _ => assert_eq!(stranger.status, 401, "{fault:?}"),
    }
    assert_eq!(shown(&stage), before, "{fault:?}");
    stage.scene.end(Dependency::Identity);
    assert_eq!(stage.idp.member("add", &people.group, &people.ana).await.status, 200);
    let mut both = [ana(), ben()];
    both.sort();
    stage.holds(&both).await;
}
