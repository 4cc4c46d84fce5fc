//! Connection strings of a storage account, as far as tables need them. A key is never printed.

use azure_core::base64;
use std::collections::BTreeMap;
use std::fmt;

/// The account of the emulator, and its key: both are in the public documentation, and protect nothing.
const DEVELOPMENT_ACCOUNT: &str = "devstoreaccount1";
const DEVELOPMENT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const DEVELOPMENT_ENDPOINT: &str = "http://127.0.0.1:10002/devstoreaccount1";
/// The public cloud.
const ENDPOINT_SUFFIX: &str = "core.windows.net";
/// What belongs to other services, or to the read-only copy of this one.
const IGNORED: [&str; 9] = [
    "blobendpoint",
    "queueendpoint",
    "fileendpoint",
    "dfsendpoint",
    "webendpoint",
    "blobsecondaryendpoint",
    "queuesecondaryendpoint",
    "filesecondaryendpoint",
    "tablesecondaryendpoint",
];

/// How much a signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureScheme {
    /// Method, content type, date and resource.
    SharedKey,
    /// Date and resource.
    SharedKeyLite,
}

/// An account, its key, and where its tables are.
#[derive(Clone)]
pub struct ConnectionString {
    account: String,
    key: Vec<u8>,
    endpoint: String,
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionString")
            .field("account", &self.account)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Why a connection string cannot be used. No value of it is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionStringError {
    #[error("part {number} of the connection string is not of the form Name=value")]
    Form { number: usize },
    #[error("the connection string has {name} twice")]
    Twice { name: String },
    #[error("the connection string lacks {name}")]
    Missing { name: &'static str },
    #[error("the connection string has {name}, which is not known")]
    Unknown { name: String },
    #[error("{name} of the connection string has a value that cannot be used; expected {expected}")]
    Value { name: &'static str, expected: &'static str },
    #[error("a shared access signature is not supported; use AccountName and AccountKey, or an Entra token")]
    SharedAccessSignature,
    #[error("DevelopmentStorageProxyUri is not supported; name the emulator by TableEndpoint")]
    DevelopmentProxy,
    #[error("UseDevelopmentStorage=true stands alone; name an emulator elsewhere by TableEndpoint")]
    DevelopmentWithMore,
}

impl ConnectionString {
    /// Reads `UseDevelopmentStorage=true`, or an account and its key with `DefaultEndpointsProtocol`,
    /// `EndpointSuffix` or `TableEndpoint`. Names count without case.
    pub fn parse(text: &str) -> Result<Self, ConnectionStringError> {
        let mut parts = parts(text)?;
        if parts.contains_key("sharedaccesssignature") {
            return Err(ConnectionStringError::SharedAccessSignature);
        }
        if parts.contains_key("developmentstorageproxyuri") {
            return Err(ConnectionStringError::DevelopmentProxy);
        }
        parts.retain(|name, _| !IGNORED.contains(&name.as_str()));
        match parts.remove("usedevelopmentstorage") {
            None => Self::of_account(parts),
            Some(yes) if yes.eq_ignore_ascii_case("true") && parts.is_empty() => {
                Self::new(DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY, DEVELOPMENT_ENDPOINT.to_owned())
            }
            Some(yes) if yes.eq_ignore_ascii_case("true") => Err(ConnectionStringError::DevelopmentWithMore),
            Some(_) => Err(ConnectionStringError::Value { name: "UseDevelopmentStorage", expected: "true" }),
        }
    }

    fn of_account(mut parts: BTreeMap<String, &str>) -> Result<Self, ConnectionStringError> {
        let mut take = |name: &'static str| parts.remove(&name.to_ascii_lowercase());
        let account = take("AccountName").ok_or(ConnectionStringError::Missing { name: "AccountName" })?;
        let key = take("AccountKey").ok_or(ConnectionStringError::Missing { name: "AccountKey" })?;
        let protocol = take("DefaultEndpointsProtocol").unwrap_or("https");
        let suffix = take("EndpointSuffix").unwrap_or(ENDPOINT_SUFFIX);
        let endpoint = take("TableEndpoint").map(str::to_owned);
        if let Some(name) = parts.into_keys().next() {
            return Err(ConnectionStringError::Unknown { name });
        }
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "https" => "https",
            "http" => "http",
            _ => {
                let expected = "http or https";
                return Err(ConnectionStringError::Value { name: "DefaultEndpointsProtocol", expected });
            }
        };
        let endpoint = endpoint.unwrap_or_else(|| format!("{protocol}://{account}.table.{suffix}"));
        Self::new(account, key, endpoint)
    }

    fn new(account: &str, key: &str, endpoint: String) -> Result<Self, ConnectionStringError> {
        let plain = |account: &str| account.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !plain(account) || !(3..=24).contains(&account.len()) {
            let expected = "3 to 24 lower-case letters and digits";
            return Err(ConnectionStringError::Value { name: "AccountName", expected });
        }
        match base64::decode(key) {
            Ok(key) if !key.is_empty() => Ok(Self { account: account.to_owned(), key, endpoint }),
            _ => Err(ConnectionStringError::Value { name: "AccountKey", expected: "a key in base64" }),
        }
    }

    /// Where the tables are, for messages as well.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) fn account(&self) -> &str {
        &self.account
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Development storage gets the short signature, so that both are in use.
    pub(super) fn scheme(&self) -> SignatureScheme {
        if self.account == DEVELOPMENT_ACCOUNT {
            SignatureScheme::SharedKeyLite
        } else {
            SignatureScheme::SharedKey
        }
    }
}

/// Values by lower-case name. Only names are ever repeated in an error, and only where they look like one.
fn parts(text: &str) -> Result<BTreeMap<String, &str>, ConnectionStringError> {
    let mut parts = BTreeMap::new();
    for (at, part) in text.split(';').map(str::trim).enumerate().filter(|(_, part)| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or_default();
        let named = !name.is_empty() && name.len() <= 40 && name.bytes().all(|b| b.is_ascii_alphabetic());
        if !named || value.is_empty() {
            return Err(ConnectionStringError::Form { number: at + 1 });
        }
        if parts.insert(name.to_ascii_lowercase(), value).is_some() {
            return Err(ConnectionStringError::Twice { name: name.to_owned() });
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "c2VjcmV0LWtleQ==";

    fn endpoint(text: &str) -> String {
        ConnectionString::parse(&text.replace("KEY", KEY)).unwrap().endpoint
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let error = ConnectionString::parse(&text.replace("KEY", KEY)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains(KEY) && !error.contains("topsecret"), "{error}");
    }

    #[test]
    fn the_forms_that_azure_hands_out_are_read() {
        assert_eq!(endpoint("UseDevelopmentStorage=true"), DEVELOPMENT_ENDPOINT);
        assert_eq!(endpoint("usedevelopmentstorage=True;"), DEVELOPMENT_ENDPOINT);
        assert_eq!(endpoint("AccountName=acme;AccountKey=KEY"), "https://acme.table.core.windows.net");
        assert_eq!(
            endpoint(
                "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=KEY;EndpointSuffix=core.chinacloudapi.cn"
            ),
            "https://acme.table.core.chinacloudapi.cn"
        );
        assert_eq!(
            endpoint(
                "DefaultEndpointsProtocol=http;AccountName=acme;AccountKey=KEY;BlobEndpoint=http://b/;TableEndpoint=http://127.0.0.1:1/acme;"
            ),
            "http://127.0.0.1:1/acme"
        );
    }

    #[test]
    fn what_cannot_be_used_is_named_and_no_value_is_repeated() {
        check_refused("", "lacks AccountName");
        check_refused("AccountName=acme", "lacks AccountKey");
        check_refused("AccountName=acme;AccountKey=%topsecret", "AccountKey");
        check_refused("AccountName=ACME;AccountKey=KEY", "AccountName");
        check_refused("AccountName=acme;AccountKey=KEY;AccountKey=KEY", "AccountKey twice");
        check_refused("AccountName=acme;AccountKey=KEY;Colour=topsecret", "colour");
        check_refused("AccountName=acme;AccountKey=KEY;topsecret", "part 3");
        check_refused("AccountName=acme;AccountKey=KEY;DefaultEndpointsProtocol=ftp", "http or https");
        check_refused("TableEndpoint=https://a;SharedAccessSignature=topsecret", "shared access signature");
        check_refused("UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://h", "TableEndpoint");
        check_refused("UseDevelopmentStorage=true;AccountName=acme", "stands alone");
        check_refused("UseDevelopmentStorage=false", "expected true");
    }

    #[test]
    fn a_key_is_not_printed() {
        let connection = ConnectionString::parse(&format!("AccountName=acme;AccountKey={KEY}")).unwrap();
        let printed = format!("{connection:?}");
        assert!(printed.contains("acme"));
        assert!(!printed.contains(KEY) && !printed.contains("115, 101, 99"), "{printed}");
    }
}
