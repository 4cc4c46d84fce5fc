//! Reading Entra ID through Graph, against the simulated Azure; what it does not answer comes from a script.

use super::arm_client::{Server, answer, error};
use super::simulator::{World, guid};
use azure_backup_scim::adapters::RestError;
use azure_backup_scim::adapters::credential::Credential;
use azure_backup_scim::adapters::graph::{GraphDirectory, GraphOptions, PUBLIC_TOKEN_SCOPE};
use azure_backup_scim::app::{self, SystemClock};
use azure_backup_scim::id::PrincipalId;
use azure_backup_scim::ports::azure_access::{
    AppAssignment, DirectMember, DirectoryError, DirectoryMember, DirectoryReader, HolderKind,
};
use azure_backup_scim::simulator::{
    AzureService, FaultAction, FaultRule, GraphGroup, GraphServicePrincipal, GraphUser, IdentitySettings,
    ObjectType, UserType,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const TIMEOUT: Duration = Duration::from_secs(20);

fn directory(world: &World) -> Arc<dyn DirectoryReader> {
    app::local_directory(&world.simulator.control_url()).unwrap()
}

fn scripted(server: &Server) -> GraphDirectory {
    at(&server.url).unwrap()
}

fn at(endpoint: &str) -> Result<GraphDirectory, RestError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let credential = Credential::Static("graph-token".to_owned().into()).build().unwrap();
    let clock = Arc::new(SystemClock::new());
    let options = GraphOptions { token_scope: PUBLIC_TOKEN_SCOPE.to_owned(), clock, transport: None };
    GraphDirectory::at(endpoint, credential, options)
}

fn principal(number: u128) -> PrincipalId {
    PrincipalId::new(guid(number))
}

fn member(number: u128, kind: HolderKind, name: &str) -> DirectoryMember {
    let name = (!name.is_empty()).then(|| name.to_owned());
    DirectoryMember { principal: principal(number), kind, name }
}

fn add_person(world: &World, number: u128, name: &str) {
    let user = GraphUser {
        id: guid(number),
        display_name: name.to_owned(),
        user_principal_name: format!("{name}@contoso.example"),
        account_enabled: true,
        user_type: UserType::Member,
    };
    world.azure.add_user(user).unwrap();
}

fn add_group(world: &World, number: u128, name: &str, members: Vec<Uuid>) {
    let group = GraphGroup { id: guid(number), display_name: name.to_owned(), members };
    world.azure.add_group(group).unwrap();
}

/// Two people, an application, and two groups that are in one another.
fn furnished() -> World {
    let world = World::start();
    add_person(&world, 1, "ana");
    add_person(&world, 2, "bo");
    let job =
        GraphServicePrincipal { id: guid(3), display_name: "backup job".to_owned(), assigned: Vec::new() };
    world.azure.add_service_principal(job).unwrap();
    add_group(&world, 10, "Operators", vec![guid(1), guid(11)]);
    add_group(&world, 11, "Night shift", vec![guid(2), guid(3), guid(1), guid(10)]);
    world
}

/// Facts: F-048.
#[tokio::test]
async fn members_of_groups_in_one_another_are_read_once() {
    let world = furnished();

    let members = directory(&world).members_of(principal(10), TIMEOUT).await.unwrap().unwrap();

    assert_eq!(
        members,
        [
            member(1, HolderKind::User, "ana@contoso.example"),
            member(11, HolderKind::Group, "Night shift"),
            member(2, HolderKind::User, "bo@contoso.example"),
            member(3, HolderKind::ServicePrincipal, "backup job"),
        ]
    );
    assert_eq!(directory(&world).members_of(principal(12), TIMEOUT).await, Ok(None));
    assert!(world.simulator.unrecognised().is_empty());
}

/// Facts: F-176, F-177, F-179.
#[tokio::test]
async fn direct_members_and_assignments_are_read_with_what_they_say() {
    let world = furnished();
    let app = GraphServicePrincipal {
        id: guid(20),
        display_name: "backup scim".to_owned(),
        assigned: vec![guid(10), guid(2), guid(3)],
    };
    world.azure.add_service_principal(app).unwrap();
    let direct = |number, kind, display_name: &str, name: Option<&str>, account_enabled| DirectMember {
        principal: principal(number),
        kind,
        display_name: Some(display_name.to_owned()),
        user_principal_name: name.map(str::to_owned),
        account_enabled,
    };

    let members = directory(&world).direct_members_of(principal(11), TIMEOUT).await.unwrap().unwrap();
    assert_eq!(
        members,
        [
            direct(2, HolderKind::User, "bo", Some("bo@contoso.example"), Some(true)),
            direct(3, HolderKind::ServicePrincipal, "backup job", None, Some(true)),
            direct(1, HolderKind::User, "ana", Some("ana@contoso.example"), Some(true)),
            direct(10, HolderKind::Group, "Operators", None, None),
        ]
    );
    assert_eq!(directory(&world).direct_members_of(principal(12), TIMEOUT).await, Ok(None));

    let assigned = directory(&world).assigned_to(principal(20), TIMEOUT).await.unwrap().unwrap();
    let of = |number, kind, name: &str| AppAssignment {
        principal: principal(number),
        kind,
        display_name: Some(name.to_owned()),
    };
    assert_eq!(
        assigned,
        [
            of(10, HolderKind::Group, "Operators"),
            of(2, HolderKind::User, "bo"),
            of(3, HolderKind::ServicePrincipal, "backup job"),
        ]
    );
    assert_eq!(directory(&world).assigned_to(principal(12), TIMEOUT).await, Ok(None));
    assert!(world.simulator.unrecognised().is_empty());
}

#[tokio::test]
async fn a_listing_of_exactly_as_many_pages_as_are_read_is_whole() {
    let page = |last: bool, link: &str| match last {
        true => answer(200, json!({ "value": [] })),
        false => answer(200, json!({ "value": [], "@odata.nextLink": link })),
    };
    let server = Server::start(vec![]).await;
    let link = format!("{}/v1.0/again", server.url);
    server.play((1..=200).map(|number| page(number == 200, &link)).collect());

    assert_eq!(scripted(&server).assigned_to(principal(20), TIMEOUT).await, Ok(Some(Vec::new())));
    assert_eq!(server.seen().len(), 200);
}

#[tokio::test]
async fn a_group_of_1500_is_read_in_two_pages_and_named_in_two_questions() {
    let world = World::start();
    let people: Vec<u128> = (10_000..11_500).collect();
    people.iter().for_each(|number| add_person(&world, *number, &format!("p{number}")));
    add_group(&world, 10, "All", people.iter().map(|number| guid(*number)).collect());
    let ids: Vec<PrincipalId> = people.iter().map(|number| principal(*number)).collect();

    let members = directory(&world).members_of(principal(10), TIMEOUT).await.unwrap().unwrap();
    assert_eq!(members.iter().map(|member| member.principal).collect::<Vec<_>>(), ids);
    assert_eq!(world.azure.calls().len(), 2);

    world.azure.clear_calls();
    let names = directory(&world).names_of(&ids, TIMEOUT).await.unwrap();
    assert_eq!((names.len(), names[&ids[1499]].as_str()), (1500, "p11499@contoso.example"));
    assert_eq!(world.azure.calls().len(), 2);
    assert!(world.simulator.unrecognised().is_empty());
}

/// Facts: F-051.
#[tokio::test]
async fn what_does_not_exist_has_no_name() {
    let world = furnished();

    let names = directory(&world).names_of(&[3, 77, 10, 2].map(principal), TIMEOUT).await.unwrap();

    let expected = [(3, "backup job"), (10, "Operators"), (2, "bo@contoso.example")];
    let expected: BTreeMap<_, _> = expected.map(|(number, name)| (principal(number), name.to_owned())).into();
    assert_eq!(names, expected);
    world.azure.clear_calls();
    assert_eq!(directory(&world).names_of(&[], TIMEOUT).await, Ok(BTreeMap::new()));
    assert!(world.azure.calls().is_empty());
}

/// A caller that may read groups and no people sees ids.
/// Facts: F-052.
#[tokio::test]
async fn members_without_a_name_are_members() {
    let world = furnished();
    world.azure.set_hidden_types(vec![ObjectType::User]).unwrap();

    let members = directory(&world).members_of(principal(11), TIMEOUT).await.unwrap().unwrap();
    let names = directory(&world).names_of(&[1, 3].map(principal), TIMEOUT).await.unwrap();

    assert_eq!(members[0], member(2, HolderKind::User, ""));
    assert_eq!(names, BTreeMap::from([(principal(3), "backup job".to_owned())]));
}

/// Facts: F-053, F-180.
#[tokio::test]
async fn a_missing_right_is_a_refusal_with_its_code() {
    let world = furnished();
    let action = FaultAction::Fail {
        status: 403,
        code: "Authorization_RequestDenied".to_owned(),
        message: None,
        retry_after_seconds: None,
        executed: false,
    };
    let rule = world.azure.add_rule(FaultRule::new(action).service(AzureService::Graph)).unwrap();
    let refused = DirectoryError::Refused { code: "Authorization_RequestDenied".to_owned() };
    assert_eq!(directory(&world).members_of(principal(10), TIMEOUT).await, Err(refused.clone()));
    assert_eq!(directory(&world).direct_members_of(principal(10), TIMEOUT).await, Err(refused.clone()));
    assert_eq!(directory(&world).assigned_to(principal(3), TIMEOUT).await, Err(refused.clone()));
    assert_eq!(directory(&world).names_of(&[principal(1)], TIMEOUT).await, Err(refused));
    world.azure.remove_rule(rule).unwrap();

    let strict = IdentitySettings { strict: true, ..IdentitySettings::default() };
    world.azure.set_identity_settings(strict).unwrap();
    let refused = DirectoryError::Refused { code: "InvalidAuthenticationToken".to_owned() };
    assert_eq!(directory(&world).members_of(principal(10), TIMEOUT).await, Err(refused.clone()));
    assert_eq!(directory(&world).names_of(&[principal(1)], TIMEOUT).await, Err(refused));
}

#[tokio::test]
async fn what_is_throttled_is_asked_again() {
    let world = furnished();
    let throttle = FaultAction::Throttle { retry_after_seconds: Some(0) };
    world.azure.add_rule(FaultRule::new(throttle).service(AzureService::Graph).times(2)).unwrap();
    let members = directory(&world).direct_members_of(principal(10), TIMEOUT).await.unwrap().unwrap();
    assert_eq!(members.len(), 2);
}

/// Facts: F-050.
#[tokio::test]
async fn no_answer_that_can_be_relied_on_is_never_an_empty_group() {
    let world = furnished();
    for action in [
        FaultAction::Throttle { retry_after_seconds: Some(TIMEOUT.as_secs()) },
        FaultAction::LoseAnswer,
        FaultAction::Nonsense,
    ] {
        world.azure.add_rule(FaultRule::new(action.clone()).service(AzureService::Graph).times(1)).unwrap();
        let unknown = directory(&world).members_of(principal(10), TIMEOUT).await.unwrap_err();
        assert!(matches!(unknown, DirectoryError::Unknown { .. }), "{action:?}: {unknown:?}");
    }
    for act in [
        answer(403, json!("no")),
        error(404, "NotFound"),
        error(503, "ServiceUnavailable"),
        answer(200, json!({ "value": null })),
        answer(200, json!({ "value": [{ "id": "ana" }] })),
        answer(204, Value::Null),
    ] {
        let server = Server::start(vec![act.clone(), act.clone(), act]).await;
        let unknown = scripted(&server).members_of(principal(10), TIMEOUT).await.unwrap_err();
        assert!(matches!(unknown, DirectoryError::Unknown { .. }), "{unknown:?}");
        let unknown = scripted(&server).direct_members_of(principal(10), TIMEOUT).await.unwrap_err();
        assert!(matches!(unknown, DirectoryError::Unknown { .. }), "{unknown:?}");
        let unknown = scripted(&server).assigned_to(principal(10), TIMEOUT).await.unwrap_err();
        assert!(matches!(unknown, DirectoryError::Unknown { .. }), "{unknown:?}");
    }
    world.azure.add_rule(FaultRule::new(FaultAction::Hold).service(AzureService::Graph)).unwrap();
    let late = directory(&world).members_of(principal(10), Duration::from_millis(50)).await;
    assert_eq!(late, Err(DirectoryError::Unknown { detail: "no answer in time".to_owned() }));
}

#[tokio::test]
async fn a_kind_that_is_not_known_is_a_member_all_the_same() {
    let of = |odata_type: Value| json!({ "@odata.type": odata_type, "id": guid(1), "displayName": "x" });
    let value = [of(json!("#microsoft.graph.device")), of(Value::Null)];
    let server = Server::start(vec![answer(200, json!({ "value": value }))]).await;

    let members = scripted(&server).members_of(principal(10), TIMEOUT).await.unwrap().unwrap();

    assert_eq!(members, [member(1, HolderKind::Other, "x"), member(1, HolderKind::Other, "x")]);
}

#[tokio::test]
async fn a_listing_is_not_followed_to_another_origin() {
    let elsewhere = Server::start(vec![]).await;
    let link = format!("{}/v1.0/groups/{}/transitiveMembers", elsewhere.url, guid(10));
    let page = || answer(200, json!({ "value": [], "@odata.nextLink": link }));
    let server = Server::start(vec![page(), page()]).await;

    let members = scripted(&server).members_of(principal(10), TIMEOUT).await.unwrap_err();
    let names = scripted(&server).names_of(&[principal(1)], TIMEOUT).await.unwrap_err();

    for error in [members, names] {
        assert!(
            matches!(&error, DirectoryError::Unknown { detail } if detail.contains("another origin")),
            "{error:?}"
        );
    }
    assert!(elsewhere.seen().is_empty(), "the token stays where it belongs");
}

#[tokio::test]
async fn a_listing_without_an_end_is_given_up() {
    let endless = Server::start(vec![]).await;
    let link = format!("{}/v1.0/again", endless.url);
    endless.play(vec![answer(200, json!({ "value": [], "@odata.nextLink": link })); 250]);

    let error = scripted(&endless).members_of(principal(10), TIMEOUT).await.unwrap_err();

    assert!(
        matches!(&error, DirectoryError::Unknown { detail } if detail.contains("200 pages")),
        "{error:?}"
    );
    assert_eq!(endless.seen().len(), 200);
}

#[test]
fn a_token_is_not_sent_in_the_clear() {
    for endpoint in ["http://graph.microsoft.com", "graph.microsoft.com", ""] {
        assert!(matches!(at(endpoint), Err(RestError::Insecure { .. })), "{endpoint}");
    }
}
