//! Answers of Azure Resource Manager, Microsoft Graph and the table service, each read by the client that asks for it.

#![no_main]

use azure_backup_scim::adapters::arm::{self, ArmOptions, ArmRoleAssignments};
use azure_backup_scim::adapters::credential::Credential;
use azure_backup_scim::adapters::graph::{self, GraphDirectory, GraphOptions};
use azure_backup_scim::adapters::tables::TablesOptions;
use azure_backup_scim::app::{AzureTables, ConnectionString, TablesAccount};
use azure_backup_scim::id::{InstanceId, PrincipalId};
use azure_backup_scim::ports::azure_access::{AccessReader, DirectoryReader};
use azure_backup_scim::ports::role_assignments::RoleAssignments;
use azure_backup_scim::ports::tables::{EtagMatch, KeyRange, TableOps, TableWrite};
use azure_backup_scim::rbac::{AssignmentName, BackupRole, PrincipalType, RoleAssignment, Scope};
use azure_backup_scim_fuzz::choice;
use azure_backup_scim_fuzz::service::{Counted, Fixed};
use azure_backup_scim_fuzz::transport::{Answer, Scripted};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use uuid::uuid;

const TIMEOUT: Duration = Duration::from_secs(10);
const STATUSES: [u16; 9] = [200, 201, 204, 202, 400, 403, 404, 409, 412];
const SCOPE: &str = "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/Backup/providers/Microsoft.RecoveryServices/vaults/East";

struct Clients {
    runtime: Runtime,
    script: Scripted,
    arm: ArmRoleAssignments,
    graph: GraphDirectory,
    tables: AzureTables,
    wanted: RoleAssignment,
}

impl Clients {
    fn new() -> Self {
        azure_backup_scim::app::install_tls();
        let (script, clock) = (Scripted::default(), Arc::new(Fixed));
        let transport = || Some(script.transport());
        let credential = || Credential::Static("token".to_owned().into()).build().expect("a credential");
        let token_scope = arm::PUBLIC_TOKEN_SCOPE.to_owned();
        let options = ArmOptions { token_scope, clock: clock.clone(), transport: transport() };
        let arm = ArmRoleAssignments::at("http://127.0.0.1:9", credential(), options).expect("a client");
        let token_scope = graph::PUBLIC_TOKEN_SCOPE.to_owned();
        let options = GraphOptions { token_scope, clock: clock.clone(), transport: transport() };
        let graph = GraphDirectory::at("http://127.0.0.1:9", credential(), options).expect("a client");
        let account = ConnectionString::parse("UseDevelopmentStorage=true").expect("an account");
        let options = TablesOptions { clock, ids: Arc::new(Counted::default()), transport: transport() };
        let tables = AzureTables::new(TablesAccount::Key(account), "scim", options).expect("a client");
        let principal = PrincipalId::new(uuid!("aaaaaaaa-0000-4000-8000-000000000001"));
        let instance = InstanceId::parse("bbbbbbbb-0000-4000-8000-000000000000").expect("an id");
        let (scope, role) = (Scope::parse(SCOPE).expect("a scope"), BackupRole::Operator);
        let wanted = RoleAssignment {
            name: AssignmentName::derive(&scope, role, principal, instance),
            scope,
            role,
            principal,
            principal_type: PrincipalType::User,
            description: "Managed by azure-backup-scim".to_owned(),
        };
        let runtime =
            Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        Self { runtime, script, arm, graph, tables, wanted }
    }

    async fn ask(&self, call: usize) {
        let RoleAssignment { scope, name, principal, .. } = &self.wanted;
        let write = |key: &str| TableWrite::Insert { key: key.to_owned(), properties: Default::default() };
        match call {
            0 => drop(self.arm.list(scope, TIMEOUT).await),
            1 => drop(self.arm.get(scope, name, TIMEOUT).await),
            2 => drop(self.arm.create(&self.wanted, TIMEOUT).await),
            3 => drop(self.arm.delete(scope, name, TIMEOUT).await),
            4 => drop(self.arm.at_or_above(scope, TIMEOUT).await),
            5 => drop(self.arm.role_definition(scope, BackupRole::Operator.definition_id(), TIMEOUT).await),
            6 => drop(self.arm.denied(scope, TIMEOUT).await),
            7 => drop(self.arm.locks(scope, TIMEOUT).await),
            8 => drop(self.graph.members_of(*principal, TIMEOUT).await),
            9 => drop(self.graph.names_of(&[*principal], TIMEOUT).await),
            10 => drop(self.tables.get("default", "a").await),
            11 => {
                let range = KeyRange { from: "a".into(), to: "b".into(), rows_max: 10, continuation: None };
                drop(self.tables.page("default", &range).await);
            }
            12 => drop(self.tables.transact("default", &[write("a"), write("b")]).await),
            _ => drop(self.tables.delete("default", "a", EtagMatch::Any).await),
        }
    }
}

thread_local! {
    static CLIENTS: Clients = Clients::new();
}

fuzz_target!(|input: &[u8]| {
    let Some((call, rest)) = choice(input, 14) else { return };
    let Some((status, body)) = choice(rest, STATUSES.len()) else { return };
    CLIENTS.with(|clients| {
        let boundary = body.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let boundary = String::from_utf8_lossy(boundary.strip_prefix(b"--").unwrap_or_default()).into_owned();
        let kind = match call {
            12 => format!("multipart/mixed; boundary={boundary}"),
            _ => "application/json".to_owned(),
        };
        let headers = vec![
            ("content-type", kind),
            ("date", "Sun, 01 Mar 2026 10:00:00 GMT".to_owned()),
            ("etag", "W/\"1\"".to_owned()),
        ];
        clients.script.set(Answer { status: STATUSES[status], headers, body: body.to_vec() });
        clients.runtime.block_on(clients.ask(call));
    });
});
