//! Key Vault, the identity endpoint, Tables and ARM: each absent at the start, lost later, slow, throttled, answering
//! nonsense or nothing at all. The program stays up, says 503 with Retry-After where it must, loses nothing, and is well
//! again by itself. It runs under the stand-in for the Functions host, whose timer it waits for.

mod first_deployment;
mod rotation;
pub mod stage;
mod tokens;

use crate::support::chaos::{Trouble, When};
use crate::support::host::Outcome;
use crate::support::idp::{Answer, member, user};
use stage::{Dependency, Fault, Scene, Stage, assert_unavailable, eventually};
use tokio::join;
use uuid::Uuid;

/// A group of the bindings.
const OPERATORS: &str = "vault-operators";
const ANA: &str = "ana@contoso.example";
const BEN: &str = "ben@contoso.example";

/// When it goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Start,
    Later,
}

fn ana() -> Uuid {
    principal(1)
}

fn ben() -> Uuid {
    principal(2)
}

fn principal(number: u128) -> Uuid {
    Uuid::from_u128(0x6f9d_1a3e_0000_4000_8000_0000_0000_0000 + number)
}

/// Whether requests with a good token are carried out meanwhile.
fn is_served(dependency: Dependency, fault: Fault, moment: Moment) -> bool {
    match dependency {
        _ if fault == Fault::Slow => true,
        // Nothing that Azure Resource Manager does is waited for.
        Dependency::Arm => true,
        // What was learned before is believed for a while.
        Dependency::Vault | Dependency::Identity => moment == Moment::Later,
        Dependency::Tables => false,
    }
}

/// Every fault of one dependency, at the start and later, side by side.
fn check_all(dependency: Dependency) {
    let cells = Fault::ALL.into_iter().flat_map(|fault| [(fault, Moment::Start), (fault, Moment::Later)]);
    let check = move |fault, moment| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.unwrap().block_on(check(dependency, fault, moment));
    };
    let running: Vec<_> = cells
        .map(|(fault, moment)| (fault, moment, std::thread::spawn(move || check(fault, moment))))
        .collect();
    let ended = running.into_iter().map(|(fault, moment, cell)| (fault, moment, cell.join().is_ok()));
    let failed: Vec<_> = ended.filter(|(_, _, passed)| !passed).collect();
    assert!(failed.is_empty(), "{dependency:?}: {failed:?}");
}

async fn check(dependency: Dependency, fault: Fault, moment: Moment) {
    match moment {
        Moment::Start => check_start(dependency, fault).await,
        Moment::Later => check_later(dependency, fault).await,
    }
}

async fn check_start(dependency: Dependency, fault: Fault) {
    let scene = Scene::set();
    scene.begin(dependency, fault);
    let stage = scene.start().await;
    let served = is_served(dependency, fault, Moment::Start);
    stage.probe().await;
    if served {
        // The first start makes the tables.
        eventually("the tables are there", async || {
            (stage.idp.get("/Users").await.status == 200).then_some(())
        })
        .await;
    }
    let (listed, created) = join!(stage.idp.get("/Users"), stage.idp.post("/Users", user(ANA, ana())));
    let group = match served {
        true => {
            assert_eq!((listed.status, created.status), (200, 201), "{listed:?} {created:?}");
            let group = stage.idp.create_group(OPERATORS).await;
            assert_eq!(stage.idp.member("add", &group, id(&created)).await.status, 200);
            Some((group, id(&created).to_owned()))
        }
        false => {
            assert_unavailable(&listed);
            assert_unavailable(&created);
            None
        }
    };
    let health = stage.probe().await;
    assert!(served || health == 503, "it says that it is well");

    stage.end(dependency);
    stage.healthy().await;
    let (group, user) = match group {
        Some(made) => made,
        // Nothing was made before: the name is free.
        None => (stage.idp.create_group(OPERATORS).await, stage.idp.create_user(ANA, ana()).await),
    };
    if !served {
        assert_eq!(stage.idp.member("add", &group, &user).await.status, 200);
    }
    stage.holds(&[ana()]).await;
    assert_eq!(stage.idp.member("remove", &group, &user).await.status, 200);
    stage.holds(&[]).await;
    stage.assert_sound();
}

/// Ana is in the group, Ben is not yet.
struct People {
    group: String,
    ana: String,
    ben: String,
}

async fn settled(stage: &Stage) -> People {
    // It listens before it has met its tables: until then a write is 503.
    stage.healthy().await;
    let (group, user) = (stage.idp.create_group(OPERATORS).await, stage.idp.create_user(ANA, ana()).await);
    let other = stage.idp.create_user(BEN, ben()).await;
    assert_eq!(stage.idp.member("add", &group, &user).await.status, 200);
    stage.holds(&[ana()]).await;
    stage.healthy().await;
    People { group, ana: user, ben: other }
}

async fn check_later(dependency: Dependency, fault: Fault) {
    let stage = Scene::set().start().await;
    let people = settled(&stage).await;
    stage.scene.begin(dependency, fault);
    stage.probe().await;
    if dependency == Dependency::Tables {
        tables_in_trouble(&stage, &people, fault).await;
    } else {
        changes_in_trouble(&stage, &people, dependency, fault).await;
    }
    stage.probe().await;

    stage.end(dependency);
    if dependency == Dependency::Tables {
        assert_eq!(stage.members(&people.group).await, [people.ana.clone()].into());
        swap(&stage, &people).await;
    }
    stage.holds(&[ben()]).await;
    stage.healthy().await;
    assert_eq!(stage.members(&people.group).await, [people.ben.clone()].into());
    assert_eq!(stage.idp.get("/Users").await.body["totalResults"], 2);
    assert_eq!(stage.idp.delete(&format!("/Users/{}", people.ben)).await.status, 204);
    stage.holds(&[]).await;
    stage.assert_sound();
}

/// Ben takes Ana's place.
async fn swap(stage: &Stage, people: &People) {
    let (added, removed) = join!(
        stage.idp.member("add", &people.group, &people.ben),
        stage.idp.member("remove", &people.group, &people.ana)
    );
    assert_eq!((added.status, removed.status), (200, 200), "{added:?} {removed:?}");
}

/// Changes go on, with whatever is known; what ARM does not do now, it does later.
async fn changes_in_trouble(stage: &Stage, people: &People, dependency: Dependency, fault: Fault) {
    swap(stage, people).await;
    let stranger = stage.stranger.get("/Users").await;
    match dependency {
        // Our own trouble is never a 401.
        Dependency::Vault if fault != Fault::Slow => assert_unavailable(&stranger),
        _ => assert_eq!(stranger.status, 401, "{stranger:?}"),
    }
    if dependency == Dependency::Arm && fault != Fault::Slow {
        assert_eq!(stage.holders(), [ana()]);
    } else {
        stage.holds(&[ben()]).await;
    }
}

/// Nothing is changed, nobody is missing, and nobody is there twice.
async fn tables_in_trouble(stage: &Stage, people: &People, fault: Fault) {
    let by_name = format!("/Users?filter=userName%20eq%20%22{ANA}%22");
    let by_id = format!("/Users/{}", people.ana);
    let (added, read, found, twice) = join!(
        stage.idp.member("add", &people.group, &people.ben),
        stage.idp.get(&by_id),
        stage.idp.get(&by_name),
        stage.idp.post("/Users", user(ANA, ana()))
    );
    let answers = [added, read, found, twice];
    if fault == Fault::Slow {
        assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 200, 200, 409], "{answers:?}");
        let remove = member("remove", &people.ben);
        assert_eq!(stage.idp.patch(&format!("/Groups/{}", people.group), remove).await.status, 200);
    } else {
        answers.iter().for_each(assert_unavailable);
        // The host's timer is told as well; where nothing is answered, that takes its time.
        assert!(fault == Fault::Silent || matches!(stage.tick(), Outcome::Failed(_)));
    }
}

fn id(answer: &Answer) -> &str {
    answer.body["id"].as_str().unwrap()
}

/// Facts: F-106, F-162.
#[test]
fn key_vault_in_trouble() {
    check_all(Dependency::Vault);
}

/// Facts: F-056.
#[test]
fn the_identity_endpoint_in_trouble() {
    check_all(Dependency::Identity);
}

#[test]
fn tables_in_every_trouble() {
    check_all(Dependency::Tables);
}

#[test]
fn arm_in_trouble() {
    check_all(Dependency::Arm);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_away_at_the_start_comes_back_in_either_order() {
    let mut backwards = Dependency::ALL;
    backwards.reverse();
    join!(back_in_order(Dependency::ALL), back_in_order(backwards));
}

async fn back_in_order(order: [Dependency; 4]) {
    let scene = Scene::set();
    order.into_iter().for_each(|dependency| scene.begin(dependency, Fault::Away));
    let stage = scene.start().await;
    for dependency in order {
        assert_unavailable(&stage.idp.get("/Users").await);
        stage.probe().await;
        if dependency == order[3] {
            break;
        }
        stage.end(dependency);
    }
    let served_without_arm = order[3] == Dependency::Arm;
    if !served_without_arm {
        stage.end(order[3]);
    }
    stage.healthy().await;
    let user = stage.idp.create_user(ANA, ana()).await;
    let group = stage.idp.create_group(OPERATORS).await;
    assert_eq!(stage.idp.member("add", &group, &user).await.status, 200);
    if served_without_arm {
        assert!(stage.holders().is_empty());
        stage.end(order[3]);
    }
    stage.holds(&[ana()]).await;
    stage.assert_sound();
}

/// Answers that are none of the table service's, whatever else they look like.
const NONSENSE: [(u16, &str, &str); 7] = [
    (200, "text/html", "<html>Please log in</html>"),
    (200, "application/json", "{}"),
    (200, "application/json", r#"{"value":{}}"#),
    (200, "application/json", ""),
    (202, "text/html", "<html>Accepted</html>"),
    (302, "text/html", "<html>Moved</html>"),
    (404, "text/html", "<html>Not found</html>"),
];

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_from_tables_is_never_taken_for_a_missing_row_or_a_commit() {
    let stage = Scene::set().start().await;
    let people = settled(&stage).await;
    for (status, content_type, body) in NONSENSE {
        let nonsense = Trouble::Answer { status, content_type, body: body.to_owned() };
        stage.scene.proxy(Dependency::Tables).order(When::any().always(), nonsense);
        tables_in_trouble(&stage, &people, Fault::Nonsense).await;
        stage.scene.end(Dependency::Tables);
        assert_eq!(stage.members(&people.group).await, [people.ana.clone()].into(), "{status} {body}");
    }
    assert_eq!(stage.idp.get("/Users").await.body["totalResults"], 2);
    stage.holds(&[ana()]).await;
    stage.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_a_success() {
    let stage = Scene::set().start().await;
    let people = settled(&stage).await;
    let tables = stage.scene.proxy(Dependency::Tables);
    for trouble in [Trouble::LoseAnswer, Trouble::FailAfter { code: "OperationTimedOut" }] {
        tables.order(When::writes().path("$batch"), trouble);
        assert_eq!(stage.idp.member("add", &people.group, &people.ben).await.status, 200);
        assert_eq!(stage.members(&people.group).await, [people.ana.clone(), people.ben.clone()].into());
        tables.order(When::writes().path("$batch"), Trouble::LoseAnswer);
        assert_eq!(stage.idp.member("remove", &people.group, &people.ben).await.status, 200);
        assert_eq!(stage.members(&people.group).await, [people.ana.clone()].into());
    }
    stage.much_later();
    stage.holds(&[ana()]).await;
    stage.assert_sound();
}
