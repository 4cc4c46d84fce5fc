//! What `doctor` judges: everything that it read, and what it could not read.

use crate::id::{InstanceId, PrincipalId};
use crate::ports::azure_access::{AccessAssignment, DirectoryError, ManagementLock};
use crate::ports::connectivity::Dependency;
use crate::ports::role_assignments::AssignmentError;
use crate::ports::secrets::{SecretError, SecretVersion};
use crate::rbac::verbs::RoleDefinition;
use crate::rbac::{BackupRole, Scope};
use crate::service::access::groups::GroupOverview;
use crate::store::audit_chain::ChainState;
use crate::store::overdue::{OverdueCount, StoredUnreachable};
use crate::store::state_hold::StateHold;
use crate::store::sweep_schedule::SweepCounts;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;
use uuid::Uuid;

/// Everything that was read.
#[derive(Debug)]
pub struct DoctorFacts {
    pub bindings: BindingsFact,
    pub identity: ServiceIdentity,
    /// Everything that may be the service, whichever it is.
    pub may_be_service: BTreeSet<PrincipalId>,
    /// A `local` is asked: its Azure enforces no rights of the service.
    pub is_simulated: bool,
    /// Of every scope that is bound or retired, or that the ledger names.
    pub scopes: Vec<ScopeFacts>,
    /// Of every subscription of those, and of what the ledger ever named.
    pub subscriptions: Vec<SubscriptionFacts>,
    /// The roles that may be the service's.
    pub roles: RoleFacts,
    /// The scopes at which the ledger has an assignment that is not known to be gone.
    pub scopes_in_ledger: BTreeSet<Scope>,
    pub people: PeopleFacts,
    pub groups: GroupOverview,
    pub installation: InstallationFacts,
    pub work: WorkFacts,
    /// The table of orders, or why it could not be read.
    pub orders: Result<(), String>,
    /// The table of the request log, or why it could not be read.
    pub requests: Result<(), String>,
    pub clocks: ClockFacts,
    pub directory: Result<(), DirectoryError>,
    pub tokens: TokenFacts,
}

/// Definitions of roles, or why they could not be read. A role that is not among them was not asked for.
pub type RoleFacts = BTreeMap<Uuid, Result<RoleDefinition, String>>;

/// The active bindings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindingsFact {
    Known(BoundScopes),
    /// Nothing was ever stored.
    Absent,
    Unreadable,
}

impl BindingsFact {
    /// What they bind, or why that is not known.
    pub const fn known(&self) -> Result<&BoundScopes, &'static str> {
        match self {
            BindingsFact::Known(bound) => Ok(bound),
            BindingsFact::Absent => Err("no bindings were ever stored"),
            BindingsFact::Unreadable => Err("the active bindings cannot be read"),
        }
    }
}

/// What is bound where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BoundScopes {
    pub roles: BTreeMap<Scope, BTreeSet<BackupRole>>,
    /// Scopes that are only retired.
    pub retired: BTreeSet<Scope>,
}

impl BoundScopes {
    /// Every scope, bound or retired.
    pub fn all(&self) -> BTreeSet<Scope> {
        self.roles.keys().chain(&self.retired).cloned().collect()
    }
}

/// Which Entra object the service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceIdentity {
    /// The caller, or a setting, says so.
    Named(PrincipalId),
    /// It made the assignments of the ledger.
    MadeOurs(PrincipalId),
    /// It alone holds a right to give roles at a scope of the bindings.
    OnlyHolder(PrincipalId),
    /// It should be that object, and `by` speaks against it.
    Contradicted { id: PrincipalId, by: String },
    /// These may be it; none where no right was seen.
    Unknown { candidates: BTreeSet<PrincipalId> },
}

impl ServiceIdentity {
    /// The Entra object, where it is known.
    pub const fn id(&self) -> Option<PrincipalId> {
        match self {
            ServiceIdentity::Named(id) | ServiceIdentity::MadeOurs(id) | ServiceIdentity::OnlyHolder(id) => {
                Some(*id)
            }
            ServiceIdentity::Contradicted { .. } | ServiceIdentity::Unknown { .. } => None,
        }
    }
}

/// What Azure says of a scope.
#[derive(Debug)]
pub struct ScopeFacts {
    pub scope: Scope,
    /// Assignments at or above it.
    pub assignments: Result<Vec<AccessAssignment>, AssignmentError>,
    /// Locks at or above it.
    pub locks: Result<Vec<ManagementLock>, AssignmentError>,
}

/// What Azure says of a subscription.
#[derive(Debug)]
pub struct SubscriptionFacts {
    /// Its GUID in lower case.
    pub id: String,
    /// Assignments at, above and below it.
    pub assignments: Result<Vec<AccessAssignment>, AssignmentError>,
}

/// What an `externalId` is like that is not used as an object id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SentId {
    Nothing,
    MailAddress,
    Number,
    /// A GUID, in an attribute that the bindings do not read.
    Guid,
    /// A GUID in a spelling that is no object id, such as one in braces.
    GuidSpelling,
    /// A word, such as `mailNickname`.
    Name,
}

/// The active people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeopleFacts {
    pub active: usize,
    /// Those without an Entra object id, by what they have in `externalId`.
    pub without_id: BTreeMap<SentId, usize>,
    /// The names of the first of those.
    pub names_without_id: Vec<String>,
    /// Rows that could not be read.
    pub rows_unreadable: usize,
}

/// What the last tick and the last sweep left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkFacts {
    /// The table service's clock.
    pub now: OffsetDateTime,
    /// When a tick last counted; `None`: never.
    pub counted: Option<OffsetDateTime>,
    pub overdue: OverdueCount,
    /// The dependencies that the service does not reach.
    pub unreachable: BTreeMap<Dependency, StoredUnreachable>,
    /// None of these is known: the row that holds them cannot be read.
    pub overdue_unreadable: bool,
    /// When the oldest change was made whose reconcile waits.
    pub oldest_request: Option<OffsetDateTime>,
    pub paused: bool,
    /// Entra objects that operators revoked.
    pub brakes: usize,
    pub batches: usize,
    /// The stamp of a file of bindings that waits.
    pub pending: Option<String>,
    pub scopes_refused: usize,
    pub swept: SweepCounts,
    /// What the last sweep left is not known: its row cannot be read.
    pub sweep_unreadable: bool,
    /// How far the audit is sealed; `None` before the first head.
    pub chain: Option<ChainState>,
}

/// Which installation it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstallationFacts {
    /// `None`: it has granted nothing yet.
    pub id: Option<InstanceId>,
    /// What the settings of the service name, as it last wrote down.
    pub setting: Option<InstanceId>,
    /// Why nothing may be done with the state.
    pub hold: Option<StateHold>,
}

/// Two clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockFacts {
    pub here: OffsetDateTime,
    pub tables: OffsetDateTime,
}

/// The bearer tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenFacts {
    /// Which vault holds them is not known here.
    NoVault,
    Read(Vec<SecretVersion>),
    Failed(SecretError),
}
