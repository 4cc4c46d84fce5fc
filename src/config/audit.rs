//! How the audit is kept: its settings, each read by its name.

use crate::adapters::endpoint::Endpoint;
use crate::service::audit::seal::RETENTION_MONTHS;

/// The container of the heads, where none is named.
const HEADS_CONTAINER: &str = "audit-heads";
/// Records are kept at least that long.
const MONTHS_MIN: u32 = 13;
const MONTHS_MAX: u32 = 120;
const ENDPOINT: &str = "AUDIT_HEADS_ENDPOINT";

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

/// A setting that is wrong, and what is.
pub(super) type Mistake = (&'static str, String);

/// The container, where there is one. `get` reads a setting.
pub(super) fn heads<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Option<HeadsContainer>, Mistake> {
    const CONTAINER: &str = "AUDIT_HEADS_CONTAINER";
    let container = get(CONTAINER).unwrap_or(HEADS_CONTAINER).to_owned();
    if !is_container_name(&container) {
        return Err((CONTAINER, "must be 3 to 63 of a-z, 0-9 and single -, as audit-heads".to_owned()));
    }
    let Some(endpoint) = get(ENDPOINT) else { return Ok(None) };
    let example = "as https://ACCOUNT.blob.core.windows.net";
    let endpoint = Endpoint::parse(endpoint).map_err(|error| (ENDPOINT, format!("{error}; {example}")))?;
    // A fixed token is sent to the simulated Azure only.
    if get("AZURE_CREDENTIAL") == Some("static") && !endpoint.is_simulated() {
        let what = "must be http://127.0.0.1:PORT where AZURE_CREDENTIAL is static";
        return Err((ENDPOINT, what.to_owned()));
    }
    Ok(Some(HeadsContainer { endpoint, container }))
}

/// How long records are kept.
pub(super) fn retention_months<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<u32, Mistake> {
    const VARIABLE: &str = "AUDIT_RETENTION_MONTHS";
    match get(VARIABLE).map(str::parse::<u32>) {
        None => Ok(RETENTION_MONTHS),
        Some(Ok(months @ MONTHS_MIN..=MONTHS_MAX)) => Ok(months),
        Some(_) => Err((VARIABLE, "must be 13 to 120 months, as 13".to_owned())),
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
