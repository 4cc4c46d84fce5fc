//! Graph: who is in a group, and what objects are called.

use super::*;
use azure_backup_scim::simulator::{
    AzureService, FaultAction, FaultRule, GraphGroup, GraphServicePrincipal, GraphUser, ObjectType, UserType,
};

impl World {
    fn add_person(&self, number: u128, name: &str) {
        let user = GraphUser {
            id: guid(number),
            display_name: name.to_owned(),
            user_principal_name: format!("{}@contoso.example", name.to_lowercase()),
            account_enabled: true,
            user_type: UserType::Member,
        };
        self.azure.add_user(user).unwrap();
    }

    fn add_group(&self, number: u128, name: &str, members: &[u128]) {
        let members = members.iter().map(|number| guid(*number)).collect();
        let group = GraphGroup { id: guid(number), display_name: name.to_owned(), members };
        self.azure.add_group(group).unwrap();
    }

    async fn members(&self, number: u128, query: &str) -> Answer {
        self.graph(&format!("groups/{}/transitiveMembers{query}", guid(number))).await
    }

    async fn graph(&self, path: &str) -> Answer {
        self.follow(&format!("{}/v1.0/{path}", self.simulator.graph_url())).await
    }

    async fn follow(&self, link: &str) -> Answer {
        Answer::of(self.client.get(link).bearer_auth("anything").send().await.unwrap()).await
    }

    /// An application, and who is assigned to it.
    fn add_app(&self, number: u128, name: &str, assigned: &[u128]) {
        let assigned = assigned.iter().map(|number| guid(*number)).collect();
        let app = GraphServicePrincipal { id: guid(number), display_name: name.to_owned(), assigned };
        self.azure.add_service_principal(app).unwrap();
    }

    async fn by_ids(&self, question: Value) -> Answer {
        let url = format!("{}/v1.0/directoryObjects/getByIds", self.simulator.graph_url());
        let request = self.client.post(url).bearer_auth("anything").json(&question);
        Answer::of(request.send().await.unwrap()).await
    }
}

/// The ids of a collection, in order.
fn ids(answer: &Answer) -> Vec<Uuid> {
    let id = |object: &Value| Uuid::try_parse(object["id"].as_str().unwrap()).unwrap();
    answer.body["value"].as_array().unwrap().iter().map(id).collect()
}

/// Two people, an application, and two groups that are in one another.
fn furnished() -> World {
    let world = World::start();
    world.add_person(1, "Ana");
    world.add_person(2, "Bo");
    let backup =
        GraphServicePrincipal { id: guid(3), display_name: "backup job".to_owned(), assigned: Vec::new() };
    world.azure.add_service_principal(backup).unwrap();
    world.add_group(10, "Operators", &[1, 11]);
    world.add_group(11, "Night shift", &[2, 3, 1, 10, 99]);
    world
}

/// Graph: `transitiveMembers` is a flat list of everything in the group, each once, with its type. That a group that
/// is in one of its members is not listed among them is not published.
/// Facts: F-047, F-048.
#[actix_web::test]
async fn members_of_members_are_listed_once() {
    let world = furnished();

    let members = world.members(10, "?$select=id,displayName,userPrincipalName&$top=999").await;

    assert_eq!(members.status, 200, "{members:?}");
    assert_eq!(
        members.body,
        json!({
            "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#directoryObjects",
            "value": [
                { "@odata.type": "#microsoft.graph.user", "id": guid(1), "displayName": "Ana",
                  "userPrincipalName": "ana@contoso.example" },
                { "@odata.type": "#microsoft.graph.group", "id": guid(11), "displayName": "Night shift" },
                { "@odata.type": "#microsoft.graph.user", "id": guid(2), "displayName": "Bo",
                  "userPrincipalName": "bo@contoso.example" },
                { "@odata.type": "#microsoft.graph.servicePrincipal", "id": guid(3), "displayName": "backup job" },
            ],
        })
    );
    world.members(12, "").await.assert_error(404, "Request_ResourceNotFound");
    let call = world.azure.calls().pop().unwrap();
    assert_eq!((call.service, call.principal, call.status), (AzureService::Graph, Some(guid(12)), Some(404)));
}

/// Graph: pages of 100, or of as many as `$top` says, 999 at most; `@odata.nextLink` is followed as it is.
/// Facts: F-049.
#[actix_web::test]
async fn members_come_in_pages() {
    let world = World::start();
    let people: Vec<u128> = (1000..1150).collect();
    people.iter().for_each(|number| world.add_person(*number, &format!("P{number}")));
    world.add_group(10, "All", &people);

    let first = world.members(10, "").await;
    let link = first.body["@odata.nextLink"].as_str().unwrap().to_owned();
    let last = Answer::of(world.client.get(link).bearer_auth("anything").send().await.unwrap()).await;

    assert_eq!((ids(&first).len(), ids(&last).len()), (100, 50));
    assert!(last.body.get("@odata.nextLink").is_none());
    assert!(world.members(10, "?$top=999").await.body.get("@odata.nextLink").is_none());
    for wrong in ["0", "1000"] {
        assert_eq!(world.members(10, &format!("?$top={wrong}")).await.status, 400);
    }
    assert!(world.azure.unrecognised().is_empty());
}

/// Graph: `members` lists what is in the group itself, groups as such; the account's state can be selected.
/// Facts: F-177, F-179, F-049.
#[actix_web::test]
async fn direct_members_are_listed_without_those_of_groups_in_the_group() {
    let world = furnished();
    let mut bo = world.azure.users().into_iter().find(|user| user.id == guid(2)).unwrap();
    bo.account_enabled = false;
    world.azure.add_user(bo).unwrap();

    let select = "?$select=id,displayName,userPrincipalName,accountEnabled&$top=999";
    let outer = world.graph(&format!("groups/{}/members{select}", guid(10))).await;
    let inner = world.graph(&format!("groups/{}/members{select}", guid(11))).await;

    assert_eq!(
        outer.body["value"],
        json!([
            { "@odata.type": "#microsoft.graph.user", "id": guid(1), "displayName": "Ana",
              "userPrincipalName": "ana@contoso.example", "accountEnabled": true },
            { "@odata.type": "#microsoft.graph.group", "id": guid(11), "displayName": "Night shift" },
        ])
    );
    assert_eq!(ids(&inner), [guid(2), guid(3), guid(1), guid(10)]);
    assert_eq!(inner.body["value"][0]["accountEnabled"], false);
    let unasked = world.graph(&format!("groups/{}/members", guid(11))).await;
    assert!(unasked.body["value"][0].get("accountEnabled").is_none(), "{unasked:?}");
    world.graph(&format!("groups/{}/members", guid(12))).await.assert_error(404, "Request_ResourceNotFound");
    assert!(world.azure.unrecognised().is_empty());
}

/// Graph: who is assigned to an application, each with its type and name; groups are not opened.
/// Facts: F-176, F-050.
#[actix_web::test]
async fn who_is_assigned_to_an_application_is_listed() {
    let world = furnished();
    world.add_app(20, "backup scim", &[1, 10, 3, 99]);

    let assigned = world.graph(&format!("servicePrincipals/{}/appRoleAssignedTo", guid(20))).await;

    assert_eq!(assigned.status, 200, "{assigned:?}");
    let context = format!(
        "https://graph.microsoft.com/v1.0/$metadata#servicePrincipals('{}')/appRoleAssignedTo",
        guid(20)
    );
    assert_eq!(assigned.body["@odata.context"], context);
    let told: Vec<_> = assigned.body["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["principalId"], &one["principalType"], &one["principalDisplayName"]))
        .collect();
    let [ana, operators, job] = [1, 10, 3].map(|number| json!(guid(number)));
    assert_eq!(
        told,
        [
            (&ana, &json!("User"), &json!("Ana")),
            (&operators, &json!("Group"), &json!("Operators")),
            (&job, &json!("ServicePrincipal"), &json!("backup job")),
        ]
    );
    let first = &assigned.body["value"][0];
    assert_eq!(
        (&first["resourceId"], &first["resourceDisplayName"]),
        (&json!(guid(20)), &json!("backup scim"))
    );
    assert_eq!(first["appRoleId"], "00000000-0000-0000-0000-000000000000");
    // A group, and an application that is not there.
    for number in [10, 21] {
        let none = world.graph(&format!("servicePrincipals/{}/appRoleAssignedTo", guid(number))).await;
        none.assert_error(404, "Request_ResourceNotFound");
    }
    let call = world.azure.calls().pop().unwrap();
    assert_eq!((call.service, call.principal, call.status), (AzureService::Graph, Some(guid(21)), Some(404)));
    assert!(world.azure.unrecognised().is_empty());
}

/// Graph: assignments come in pages of 100, and `@odata.nextLink` is followed as it is.
/// Facts: F-178.
#[actix_web::test]
async fn assignments_come_in_pages() {
    let world = World::start();
    let people: Vec<u128> = (1000..1250).collect();
    people.iter().for_each(|number| world.add_person(*number, &format!("P{number}")));
    world.add_app(20, "backup scim", &people);

    let mut found = Vec::new();
    let mut pages = Vec::new();
    let mut next = Some(format!(
        "{}/v1.0/servicePrincipals/{}/appRoleAssignedTo",
        world.simulator.graph_url(),
        guid(20)
    ));
    while let Some(link) = next {
        let page = world.follow(&link).await;
        let of_page = page.body["value"].as_array().unwrap().iter().map(|one| one["principalId"].clone());
        let before = found.len();
        found.extend(of_page);
        pages.push(found.len() - before);
        next = page.body.get("@odata.nextLink").map(|link| link.as_str().unwrap().to_owned());
    }

    assert_eq!(pages, [100, 100, 50]);
    assert_eq!(found, people.iter().map(|number| json!(guid(*number))).collect::<Vec<_>>());
    assert!(world.azure.unrecognised().is_empty());
}

/// What the simulator does not know of these collections fails the run.
#[actix_web::test]
async fn what_is_not_known_of_members_and_assignments_is_not_guessed_at() {
    let world = furnished();
    world.add_app(20, "backup scim", &[1]);
    let unknown = [
        format!("groups/{}/owners", guid(10)),
        format!("groups/{}/members?$filter=x", guid(10)),
        format!("groups/{}/members?$select=mail", guid(10)),
        format!("servicePrincipals/{}/owners", guid(20)),
        format!("servicePrincipals/{}/appRoleAssignedTo?$top=5", guid(20)),
        "servicePrincipals/x/appRoleAssignedTo".to_owned(),
    ];
    for path in &unknown {
        world.graph(path).await;
    }
    assert_eq!(world.azure.unrecognised().len(), unknown.len(), "{:#?}", world.azure.unrecognised());
}

/// Graph: `getByIds` leaves out what does not exist or is of another type, and takes at most 1,000 ids.
/// Facts: F-051, F-107.
#[actix_web::test]
async fn objects_are_read_by_their_ids() {
    let world = furnished();
    let all = json!(["user", "group", "servicePrincipal"]);
    let found = world.by_ids(json!({ "ids": [guid(2), guid(77), guid(3), guid(10)], "types": all })).await;
    assert_eq!((found.status, ids(&found)), (200, vec![guid(2), guid(3), guid(10)]));
    assert_eq!(found.body["value"][0]["userPrincipalName"], "bo@contoso.example");
    let groups = world.by_ids(json!({ "ids": [guid(2), guid(10)], "types": ["group"] })).await;
    assert_eq!(ids(&groups), [guid(10)]);

    let many: Vec<Uuid> = (0..1001).map(guid).collect();
    assert_eq!(world.by_ids(json!({ "ids": many[..1000], "types": all })).await.status, 200);
    let too_many = world.by_ids(json!({ "ids": many, "types": all })).await;
    too_many.assert_error(400, "Request_BadRequest");
    assert!(world.azure.unrecognised().is_empty());
}

/// Graph: of a type that the caller may not read it shows type and id, and null for the rest.
/// Facts: F-052.
#[actix_web::test]
async fn objects_that_may_not_be_read_have_no_names() {
    let world = furnished();
    world.azure.set_hidden_types(vec![ObjectType::User]).unwrap();

    let members = world.members(11, "?$select=id,displayName,userPrincipalName").await;

    let shown = &members.body["value"];
    let nameless = json!({
        "@odata.type": "#microsoft.graph.user", "id": guid(2), "displayName": null, "userPrincipalName": null,
    });
    assert_eq!(shown[0], nameless);
    assert_eq!(shown[1]["displayName"], "backup job");
    let found = world.by_ids(json!({ "ids": [guid(1)], "types": ["user"] })).await;
    assert_eq!((ids(&found), &found.body["value"][0]["displayName"]), (vec![guid(1)], &Value::Null));
}

/// Graph: who has no right at all is refused, and a rule plays that for all of Graph or for one group.
/// Facts: F-053, F-180.
#[actix_web::test]
async fn a_missing_right_hides_the_members_of_a_group() {
    let world = furnished();
    let refuse = || {
        let action = FaultAction::Fail {
            status: 403,
            code: "Authorization_RequestDenied".to_owned(),
            message: Some("Insufficient privileges to complete the operation.".to_owned()),
            retry_after_seconds: None,
            executed: false,
        };
        FaultRule::new(action).service(AzureService::Graph)
    };
    world.azure.add_rule(refuse().about(&guid(10).to_string())).unwrap();

    world.members(10, "").await.assert_error(403, "Authorization_RequestDenied");
    assert_eq!(world.members(11, "").await.status, 200);
    world.azure.add_rule(refuse()).unwrap();
    world.members(11, "").await.assert_error(403, "Authorization_RequestDenied");
    let question = json!({ "ids": [guid(1)], "types": ["user"] });
    world.by_ids(question).await.assert_error(403, "Authorization_RequestDenied");
    let assigned = world.graph(&format!("servicePrincipals/{}/appRoleAssignedTo", guid(3))).await;
    assigned.assert_error(403, "Authorization_RequestDenied");
}

/// A transport that sends the requests of the real host to another port is understood, and gets links of the real
/// host.
#[actix_web::test]
async fn graph_is_known_by_its_host_on_every_port() {
    let world = furnished();
    let path = format!("/v1.0/groups/{}/transitiveMembers?$top=1", guid(10));
    let request = world.client.get(format!("{}{path}", world.simulator.arm_url())).bearer_auth("anything");
    let answer = request.header("x-original-host", "graph.microsoft.com").send().await.unwrap();

    let answer = Answer::of(answer).await;

    assert_eq!(ids(&answer), [guid(1)]);
    let link = answer.body["@odata.nextLink"].as_str().unwrap();
    assert!(link.starts_with("https://graph.microsoft.com/v1.0/groups/"), "{link}");
}

#[actix_web::test]
async fn groups_and_service_principals_are_added_and_removed_over_http() {
    let world = World::start();
    world.add_person(1, "Ana");
    let set = async |method, path: &str, body| world.control(method, path, body).await.status;
    let job = json!({ "id": guid(3), "displayName": "backup job" });
    assert_eq!(set(Method::POST, "/service-principals", job).await, 204);
    let group = json!({ "id": guid(10), "displayName": "Operators", "members": [guid(1), guid(3)] });
    assert_eq!(set(Method::POST, "/groups", group).await, 204);
    assert_eq!(ids(&world.members(10, "").await), [guid(1), guid(3)]);
    assert_eq!(set(Method::PUT, "/hidden-types", json!(["servicePrincipal"])).await, 204);
    assert_eq!(
        world.control(Method::GET, "/hidden-types", Value::Null).await.body,
        json!(["servicePrincipal"])
    );

    assert_eq!(set(Method::DELETE, &format!("/service-principals/{}", guid(3)), Value::Null).await, 204);
    assert_eq!(ids(&world.members(10, "").await), [guid(1)]);
    assert_eq!(set(Method::DELETE, &format!("/groups/{}", guid(10)), Value::Null).await, 204);
    assert_eq!(world.members(10, "").await.status, 404);
    assert_eq!(set(Method::DELETE, &format!("/groups/{}", guid(10)), Value::Null).await, 404);
}
