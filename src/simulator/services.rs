//! The services of the simulated Azure. Each listens on an address of its own.

use serde::{Deserialize, Serialize};

/// Which service a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AzureService {
    /// Azure Resource Manager.
    #[default]
    Arm,
    /// A Key Vault.
    Vault,
    /// The identity endpoint that App Service and Functions give to an app.
    Identity,
    /// Microsoft Graph.
    Graph,
    /// Blob Storage of one account.
    Blob,
}

/// Which service a port leads to, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entrance {
    pub service: AzureService,
    pub over_tls: bool,
}

impl AzureService {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Arm, Self::Vault, Self::Identity, Self::Graph, Self::Blob];

    /// What a 401 says of how to do better.
    /// Facts: F-104.
    pub const fn challenge(self) -> &'static str {
        match self {
            Self::Vault => {
                "Bearer authorization=\"https://login.microsoftonline.com/7e4a7000-0000-4000-8000-000000000001\", \
                 resource=\"https://vault.azure.net\""
            }
            _ => "Bearer",
        }
    }
}
