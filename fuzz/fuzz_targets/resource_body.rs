//! Bodies of POST and PUT: what was created is what is read, and writing that back changes nothing.

#![no_main]

use azure_backup_scim::app::BackupScim;
use azure_backup_scim::id::{GroupId, UserId};
use azure_backup_scim::scim::{GroupInput, Projection, ResourceType, UserInput};
use azure_backup_scim::service::ServiceError;
use azure_backup_scim_fuzz::service::{InProcess, assert_client_error, caller};
use azure_backup_scim_fuzz::{choice, sample};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

thread_local! {
    static SERVICE: InProcess = InProcess::start();
}

async fn user(service: &BackupScim, body: &Value, put: bool) -> Result<(), ServiceError> {
    let (provisioning, caller, all) = (&service.provisioning, caller(), Projection::all(ResourceType::User));
    let input = UserInput::parse(body)?;
    let written = if put {
        let first = UserInput::parse(&sample::stored(ResourceType::User))?;
        let first = provisioning.create_user(&caller, &first, &all).await.expect("created");
        provisioning.replace_user(&caller, UserId::parse(&first.id).expect("an id"), &input, &all).await?
    } else {
        provisioning.create_user(&caller, &input, &all).await?
    };
    let id = UserId::parse(&written.id).expect("an id");
    let read = provisioning.get_user(id, &all).await?.shown().expect("a read shows the resource");
    assert_eq!(read.body, written.body, "what is answered is what is read");
    let kept = provisioning.replace_user(&caller, id, &UserInput::parse(&read.body)?, &all).await?;
    assert_eq!(kept.version, read.version, "what was read and written back changes nothing: {}", read.body);
    Ok(())
}

async fn group(service: &BackupScim, body: &Value, put: bool) -> Result<(), ServiceError> {
    let (provisioning, caller, all) = (&service.provisioning, caller(), Projection::all(ResourceType::Group));
    let input = GroupInput::parse(body)?;
    let written = if put {
        let first = GroupInput::parse(&json!({"displayName": "Operators", "externalId": "g-1"}))?;
        let first = provisioning.create_group(&caller, &first, &all).await.expect("created");
        provisioning.replace_group(&caller, GroupId::parse(&first.id).expect("an id"), &input, &all).await?
    } else {
        provisioning.create_group(&caller, &input, &all).await?
    };
    let id = GroupId::parse(&written.id).expect("an id");
    let read = provisioning.get_group(id, &all).await?.shown().expect("a read shows the resource");
    assert_eq!(read.body, written.body, "what is answered is what is read");
    let kept = provisioning.replace_group(&caller, id, &GroupInput::parse(&read.body)?, &all).await?;
    assert_eq!(kept.version, read.version, "what was read and written back changes nothing: {}", read.body);
    Ok(())
}

fuzz_target!(|input: &[u8]| {
    let Some((variant, text)) = choice(input, 4) else { return };
    let Ok(body) = serde_json::from_slice::<Value>(text) else { return };
    let put = variant >= 2;
    SERVICE.with(|world| {
        let outcome = match variant % 2 {
            0 => world.run(user(&world.service, &body, put)),
            _ => world.run(group(&world.service, &body, put)),
        };
        if let Err(error) = outcome {
            assert_client_error(&error);
        }
    });
});
