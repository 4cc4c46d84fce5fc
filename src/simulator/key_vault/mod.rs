//! Key Vault, as far as reading and setting secrets.

pub mod secrets_api;
pub mod vault_secret;
