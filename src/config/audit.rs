//! How the audit is kept.

use super::{ConfigError, ConfigMistake, Reader};
use crate::adapters::endpoint::Endpoint;
use crate::service::audit::seal::RETENTION_MONTHS;
use std::collections::BTreeMap;

/// The container of the heads, where none is named.
const HEADS_CONTAINER: &str = "audit-heads";
/// Records are kept at least that long.
const MONTHS_MIN: u32 = 13;
const MONTHS_MAX: u32 = 120;

/// How the audit is kept.
#[derive(Debug)]
pub struct AuditConfig {
    /// Where the heads go; nowhere but the table where it is not set.
    pub heads: Option<HeadsContainer>,
    pub retention_months: u32,
}

/// The container of the heads.
#[derive(Debug)]
pub struct HeadsContainer {
    pub endpoint: Endpoint,
    pub container: String,
}

/// The container of the heads, for a command that reads them.
pub fn audit_heads(variables: &BTreeMap<String, String>) -> Result<Option<HeadsContainer>, ConfigError> {
    let mut reader = Reader { variables, mistakes: Vec::new() };
    let heads = reader.heads();
    if let Some(Some(heads)) = &heads {
        reader.check_heads_token(heads);
    }
    reader.done(heads)
}

impl Reader<'_> {
    pub(super) fn audit(&mut self) -> Option<AuditConfig> {
        let heads = self.heads();
        let retention_months = self.retention_months();
        Some(AuditConfig { heads: heads?, retention_months: retention_months? })
    }

    fn heads(&mut self) -> Option<Option<HeadsContainer>> {
        const VARIABLE: &str = "AUDIT_HEADS_CONTAINER";
        let container = self.get(VARIABLE).unwrap_or(HEADS_CONTAINER).to_owned();
        if !is_container_name(&container) {
            let what = "must be 3 to 63 of a-z, 0-9 and single -, as audit-heads";
            return self.mistake(VARIABLE, what);
        }
        if self.get("AUDIT_HEADS_ENDPOINT").is_none() {
            return Some(None);
        }
        let endpoint = self.endpoint("AUDIT_HEADS_ENDPOINT", None, "https://ACCOUNT.blob.core.windows.net");
        endpoint.map(|endpoint| Some(HeadsContainer { endpoint, container }))
    }

    fn retention_months(&mut self) -> Option<u32> {
        const VARIABLE: &str = "AUDIT_RETENTION_MONTHS";
        match self.get(VARIABLE).map(str::parse::<u32>) {
            None => Some(RETENTION_MONTHS),
            Some(Ok(months @ MONTHS_MIN..=MONTHS_MAX)) => Some(months),
            Some(_) => self.mistake(VARIABLE, "must be 13 to 120 months, as 13"),
        }
    }

    /// A fixed token is sent to the simulated Azure only.
    pub(super) fn check_heads_token(&mut self, heads: &HeadsContainer) {
        if self.get("AZURE_CREDENTIAL") == Some("static") && !heads.endpoint.is_simulated() {
            self.mistakes.push(ConfigMistake {
                variable: "AUDIT_HEADS_ENDPOINT",
                what: "must be http://127.0.0.1:PORT where AZURE_CREDENTIAL is static".to_owned(),
            });
        }
    }
}

/// As the blob service has it.
fn is_container_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (3..=63).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}
