//! What an identity provider asks for, as values that can be asked again.

use crate::support::harness::{
    Node, OWN, PATCH_OP, Person, World, bindings_file, caller, member_ids, members, patch_group,
};
use crate::support::requests::{group_id, group_input, user_id, user_input, user_patch};
use azure_backup_scim::app::BackupScim;
use azure_backup_scim::rbac::BackupRole;
use azure_backup_scim::scim::{Projection, ResourceType};
use azure_backup_scim::service::ServiceError;
use azure_backup_scim::service::bindings::active::ActivateError;
use serde_json::{Value, json};
use uuid::Uuid;

/// externalId of a group, role, scope.
pub type Bindings = &'static [(&'static str, BackupRole, &'static str)];

/// One request, or one tick. People and groups are numbers in the cast.
#[derive(Debug, Clone)]
pub enum Action {
    Join(usize, Vec<usize>),
    Leave(usize, Vec<usize>),
    /// The second group becomes a member of the first.
    Nest(usize, usize),
    Unnest(usize, usize),
    Active(usize, bool),
    DeleteUser(usize),
    DeleteGroup(usize),
    /// The group gets another externalId.
    Rename(usize, &'static str),
    /// A POST with the name and the externalId of a user who existed before.
    Post(usize),
    PostGroup(usize),
    Bind(Bindings),
    Tick,
    /// Azure is compared with the ledger now.
    Sweep,
}

/// How a request ended that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// 503: the identity provider asks again.
    Busy,
    /// Another status of ours.
    Refused(u16),
}

/// Who plays. What they are called outlives their ids.
#[derive(Debug, Clone, Default)]
pub struct Cast {
    pub people: Vec<Person>,
    pub groups: Vec<String>,
}

impl Cast {
    /// `people` people, and the groups with these externalIds.
    pub fn enter(node: &Node, people: usize, groups: &[&str]) -> Self {
        let mut cast = Self::default();
        for number in 0..people {
            let principal = Uuid::new_v4();
            cast.people.push(Person { id: node.create_user(user(number, principal)), principal });
        }
        for (number, external_id) in groups.iter().enumerate() {
            cast.groups.push(node.run(create_group(&node.service, number, external_id)).unwrap());
        }
        cast
    }

    fn of(&self, people: &[usize]) -> Vec<&Person> {
        people.iter().map(|number| &self.people[*number]).collect()
    }
}

fn user(number: usize, principal: Uuid) -> Value {
    json!({"userName": format!("p{number}"), "externalId": format!("x{number}"), OWN: {"entraObjectId": principal.to_string()}})
}

async fn create_group(service: &BackupScim, number: usize, external_id: &str) -> Result<String, Failure> {
    let body = json!({"displayName": format!("g{number}"), "externalId": external_id});
    let projection = Projection::all(ResourceType::Group);
    let created = service.provisioning.create_group(&caller(), &group_input(&body), &projection).await;
    created.map(|created| created.id).map_err(failure)
}

fn failure(error: ServiceError) -> Failure {
    match error {
        ServiceError::Busy { .. } | ServiceError::ChangeUnderWay { .. } => Failure::Busy,
        ServiceError::Scim(error) | ServiceError::StorageLimit { error, .. } => {
            Failure::Refused(error.status)
        }
        ServiceError::NoState { hold, .. } => panic!("there is a state: {hold:?}"),
        ServiceError::Bug { source } | ServiceError::NewerRelease { source, .. } => {
            panic!("a bug of ours: {source}")
        }
    }
}

impl Action {
    /// What must be so before the request is sent: a new file is there for the next process.
    pub fn prepare(&self, world: &mut World) {
        if let Action::Bind(bindings) = self {
            world.rebind(bindings);
        }
    }

    /// Sends the request. `bindings` is the file that lies there. The id of what was created, if something was.
    pub async fn perform(
        self,
        service: BackupScim,
        cast: Cast,
        bindings: Vec<Value>,
    ) -> Result<Option<String>, Failure> {
        let service = &service;
        let cast = &cast;
        match self {
            Action::Join(group, who) => change_members(service, cast, group, "add", &who).await,
            Action::Leave(group, who) => change_members(service, cast, group, "remove", &who).await,
            Action::Nest(outer, inner) => nest(service, cast, "add", outer, inner).await,
            Action::Unnest(outer, inner) => nest(service, cast, "remove", outer, inner).await,
            Action::Active(who, active) => set_active(service, &cast.people[who].id, active).await,
            Action::DeleteUser(who) => {
                nothing(service.provisioning.delete_user(&caller(), user_id(&cast.people[who].id)).await)
            }
            Action::DeleteGroup(group) => {
                nothing(service.provisioning.delete_group(&caller(), group_id(&cast.groups[group])).await)
            }
            Action::Rename(group, external_id) => {
                let operation = json!({"op": "replace", "path": "externalId", "value": external_id});
                nothing(patch_group(service, &cast.groups[group], operation).await)
            }
            Action::Post(who) => {
                let body = user(who, cast.people[who].principal);
                let projection = Projection::all(ResourceType::User);
                let created =
                    service.provisioning.create_user(&caller(), &user_input(&body), &projection).await;
                created.map(|created| Some(created.id)).map_err(failure)
            }
            Action::PostGroup(group) => {
                let external_id = ["a", "b", "c"][group % 3];
                create_group(service, group, external_id).await.map(Some)
            }
            Action::Bind(_) => {
                match service.active_bindings.activate(bindings_file(&bindings).as_bytes()).await {
                    Ok(_) => Ok(None),
                    Err(ActivateError::Store(error)) => Err(failure(error.into())),
                    Err(error) => panic!("{error:?}"),
                }
            }
            Action::Sweep => service.tick.sweep().await.map(|()| None).map_err(|_| Failure::Busy),
            Action::Tick => service.tick.run().await.map(|()| None).map_err(|_| Failure::Busy),
        }
    }

    /// Whether the answer to a request that is asked again says that it was carried out before.
    pub fn was_done(&self, failure: &Failure) -> bool {
        match self {
            Action::DeleteUser(_) | Action::DeleteGroup(_) => *failure == Failure::Refused(404),
            Action::Post(_) | Action::PostGroup(_) => *failure == Failure::Refused(409),
            _ => false,
        }
    }
}

fn nothing(answer: Result<(), ServiceError>) -> Result<Option<String>, Failure> {
    answer.map(|()| None).map_err(failure)
}

async fn change_members(
    service: &BackupScim,
    cast: &Cast,
    group: usize,
    op: &str,
    who: &[usize],
) -> Result<Option<String>, Failure> {
    nothing(patch_group(service, &cast.groups[group], members(op, &cast.of(who))).await)
}

async fn nest(
    service: &BackupScim,
    cast: &Cast,
    op: &str,
    outer: usize,
    inner: usize,
) -> Result<Option<String>, Failure> {
    nothing(patch_group(service, &cast.groups[outer], member_ids(op, &[&cast.groups[inner]])).await)
}

async fn set_active(service: &BackupScim, id: &str, active: bool) -> Result<Option<String>, Failure> {
    let operation = json!({"op": "replace", "path": "active", "value": active});
    let body = json!({"schemas": [PATCH_OP], "Operations": [operation]});
    let projection = Projection::all(ResourceType::User);
    nothing(
        service
            .provisioning
            .patch_user(&caller(), user_id(id), &user_patch(&body).unwrap(), &projection)
            .await
            .map(|_| ()),
    )
}
