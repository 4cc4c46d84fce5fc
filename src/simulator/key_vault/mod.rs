//! Key Vault, as far as reading secrets.

pub mod secrets_api;
pub mod vault_secret;
