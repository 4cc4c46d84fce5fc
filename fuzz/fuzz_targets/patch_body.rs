//! Bodies of PATCH, read and carried out: one that errs changes nothing, and the outcome is a resource that a PUT keeps.

#![no_main]

use azure_backup_scim::app::BackupScim;
use azure_backup_scim::id::{GroupId, UserId};
use azure_backup_scim::scim::{GroupInput, PatchRequest, Projection, ResourceType, UserInput};
use azure_backup_scim::service::{RenderedResource, ServiceError};
use azure_backup_scim_fuzz::service::{InProcess, assert_client_error, caller};
use azure_backup_scim_fuzz::{choice, sample};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

thread_local! {
    static SERVICE: InProcess = InProcess::start();
}

async fn user(service: &BackupScim, body: &Value) -> Result<(), ServiceError> {
    let (provisioning, caller, all) = (&service.provisioning, caller(), Projection::all(ResourceType::User));
    let patch = PatchRequest::parse(ResourceType::User, body)?;
    let created = UserInput::parse(&sample::stored(ResourceType::User))?;
    let created = provisioning.create_user(&caller, &created, &all).await.expect("created");
    let id = UserId::parse(&created.id).expect("an id");
    let get = async || shown(provisioning.get_user(id, &all).await.expect("still there").shown());
    let before = get().await;
    let patched = provisioning.patch_user(&caller, id, &patch, &all).await;
    let after = get().await;
    if let Err(error) = patched {
        assert_eq!(after.body, before.body, "an error changes nothing");
        return Err(error);
    }
    let kept = provisioning.replace_user(&caller, id, &UserInput::parse(&after.body)?, &all).await?;
    assert_eq!(kept.version, after.version, "what was read and written back changes nothing: {}", after.body);
    Ok(())
}

async fn group(service: &BackupScim, body: &Value) -> Result<(), ServiceError> {
    let (provisioning, caller, all) = (&service.provisioning, caller(), Projection::all(ResourceType::Group));
    let patch = PatchRequest::parse(ResourceType::Group, body)?;
    let created = GroupInput::parse(&json!({"displayName": "Operators", "externalId": "g-1"}))?;
    let created = provisioning.create_group(&caller, &created, &all).await.expect("created");
    let id = GroupId::parse(&created.id).expect("an id");
    let get = async || shown(provisioning.get_group(id, &all).await.expect("still there").shown());
    let before = get().await;
    let patched = provisioning.patch_group(&caller, id, &patch, &all).await;
    let after = get().await;
    if let Err(error) = patched {
        assert_eq!(after.body, before.body, "an error changes nothing");
        return Err(error);
    }
    let kept = provisioning.replace_group(&caller, id, &GroupInput::parse(&after.body)?, &all).await?;
    assert_eq!(kept.version, after.version, "what was read and written back changes nothing: {}", after.body);
    Ok(())
}

fn shown(resource: Option<RenderedResource>) -> RenderedResource {
    resource.expect("a read shows the resource")
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, text)) = choice(input, 2) else { return };
    let Ok(body) = serde_json::from_slice::<Value>(text) else { return };
    SERVICE.with(|world| {
        let outcome = match kind {
            0 => world.run(user(&world.service, &body)),
            _ => world.run(group(&world.service, &body)),
        };
        if let Err(error) = outcome {
            assert_client_error(&error);
        }
    });
});
