//! Orders about the vault, the identity endpoint, Graph, and what the service's own identity may do.

use super::control_error::{ControlError, found};
use super::simulator_handle::SimulatorHandle;
use crate::simulator::arm::own_right::{OwnRight, ParsedRight};
use crate::simulator::blob::container::{BlobContainer, StoredBlob};
use crate::simulator::graph::graph_user::GraphUser;
use crate::simulator::identity::issued_tokens::LIFETIME_SECONDS_MAX;
use crate::simulator::key_vault::vault_secret::{self, NewSecret, SecretUpdate, VaultSecret};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// How the identity endpoint behaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentitySettings {
    /// The client ids of the app's identities; empty: any, and one that is not named.
    #[serde(default)]
    pub clients: Vec<String>,
    /// What a new token lasts, by Azure's clock; 24 hours unless set.
    #[serde(default = "day")]
    pub token_lifetime_seconds: u32,
    /// Whether ARM, the vault and Graph take only tokens of this endpoint.
    #[serde(default)]
    pub strict: bool,
}

const fn day() -> u32 {
    86_400
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self { clients: Vec::new(), token_lifetime_seconds: day(), strict: false }
    }
}

impl SimulatorHandle {
    // Blob Storage.

    /// Makes a container, or changes it.
    pub fn set_container(&self, name: &str, container: BlobContainer) -> Result<(), ControlError> {
        self.order(|azure| {
            azure.state.containers.insert(name.to_owned(), container);
            Ok(())
        })
    }

    /// The blobs, each by its container and name.
    pub fn blobs(&self) -> BTreeMap<String, StoredBlob> {
        self.with(|azure| (*azure.state.blobs).clone())
    }

    // The vault.

    /// The secrets by their name in lower case, soft-deleted ones included.
    pub fn secrets(&self) -> BTreeMap<String, VaultSecret> {
        self.with(|azure| (*azure.state.secrets).clone())
    }

    /// Makes a version of a secret, which comes back if it was deleted; the id of the version.
    pub fn set_secret(&self, name: &str, made: NewSecret) -> Result<String, ControlError> {
        let key = secret_key(name)?;
        self.order(|azure| {
            let version = made.into_version(azure.now());
            let id = version.id.clone();
            azure.state.add_secret_version(key, version);
            Ok(id)
        })
    }

    /// Changes attributes of a version.
    pub fn update_secret(&self, name: &str, version: &str, update: SecretUpdate) -> Result<(), ControlError> {
        let key = secret_key(name)?;
        self.order(|azure| {
            let now = azure.now();
            let change = |secret: &mut VaultSecret| {
                let found = secret.versions.iter_mut().find(|found| found.id == version)?;
                update.apply(found, now);
                Some(())
            };
            found(azure.state.secrets.change(&key, change), "secret", name)
                .and_then(|changed| found(changed, "version", version))
        })
    }

    /// Soft-deletes a secret with all its versions.
    pub fn delete_secret(&self, name: &str) -> Result<(), ControlError> {
        let key = secret_key(name)?;
        self.order(|azure| {
            found(azure.state.secrets.change(&key, |secret| secret.deleted = true), "secret", name)
        })
    }

    // The identity endpoint.

    /// What a caller of the identity endpoint has to show in `x-identity-header`.
    pub fn identity_header(&self) -> String {
        self.with(|azure| azure.tokens.header.clone())
    }

    pub fn identity_settings(&self) -> IdentitySettings {
        self.with(|azure| IdentitySettings {
            clients: azure.tokens.clients.iter().cloned().collect(),
            token_lifetime_seconds: azure.tokens.lifetime_seconds,
            strict: azure.tokens.strict,
        })
    }

    /// Sets them all. Tokens that were given out before keep what they were given.
    pub fn set_identity_settings(&self, settings: IdentitySettings) -> Result<(), ControlError> {
        let seconds = settings.token_lifetime_seconds;
        if seconds == 0 || seconds > LIFETIME_SECONDS_MAX {
            let text = format!("`token_lifetime_seconds` must lie between 1 and {LIFETIME_SECONDS_MAX}");
            return Err(ControlError::Invalid(text));
        }
        self.change(|azure| {
            azure.tokens.clients = settings.clients.iter().map(|id| id.to_ascii_lowercase()).collect();
            azure.tokens.lifetime_seconds = seconds;
            azure.tokens.strict = settings.strict;
        });
        Ok(())
    }

    // Graph.

    pub fn users(&self) -> Vec<GraphUser> {
        self.with(|azure| azure.state.users.values().cloned().collect())
    }

    /// Adds a person to Graph, or replaces what it says of them. ARM's principals are another list.
    pub fn add_user(&self, user: GraphUser) -> Result<(), ControlError> {
        self.order(|azure| {
            azure.state.users.insert(user.id, user);
            Ok(())
        })
    }

    /// Enables or disables a person's account.
    pub fn enable_user(&self, id: Uuid, enabled: bool) -> Result<(), ControlError> {
        self.order(|azure| {
            found(azure.state.users.change(&id, |user| user.account_enabled = enabled), "user", id)
        })
    }

    pub fn remove_user(&self, id: Uuid) -> Result<(), ControlError> {
        self.order(|azure| found(azure.state.users.remove(&id), "user", id).map(drop))
    }

    // The service's own rights.

    /// What the service's own identity holds; `None`: it may do everything.
    pub fn own_rights(&self) -> Option<Vec<OwnRight>> {
        let rights = self.with(|azure| (*azure.state.own_rights).clone());
        rights.map(|rights| rights.into_iter().map(OwnRight::from).collect())
    }

    /// From now on the service's own identity holds this and nothing else.
    pub fn set_own_rights(&self, rights: Vec<OwnRight>) -> Result<(), ControlError> {
        let understood: Result<Vec<ParsedRight>, _> = rights.into_iter().map(ParsedRight::try_from).collect();
        let understood = understood.map_err(|error| ControlError::Invalid(error.to_string()))?;
        self.order(|azure| {
            azure.state.own_rights.set(Some(understood));
            Ok(())
        })
    }

    /// From now on it may do everything.
    pub fn lift_own_rights(&self) -> Result<(), ControlError> {
        self.order(|azure| {
            azure.state.own_rights.set(None);
            Ok(())
        })
    }
}

fn secret_key(name: &str) -> Result<String, ControlError> {
    vault_secret::secret_key(name).ok_or_else(|| {
        ControlError::Invalid(format!("{name:?} is no name of a secret: letters, digits and hyphens"))
    })
}
