//! The vault of the bearer tokens is away for a day. Requests are refused with 503 after an hour, what was accepted before
//! is carried out all the same, and the first load ends it, without a restart.

use crate::support::clock::ManualClock;
use crate::support::cloud::{SECRET, TOKEN, secret};
use crate::support::harness::{Node, START, VAULT_EAST, World};
use crate::support::idp::{Answer, Idp};
use azure_backup_scim::app::{self, RandomIds};
use azure_backup_scim::config;
use azure_backup_scim::engine::TableEngine;
use azure_backup_scim::ports::clock::Clock;
use azure_backup_scim::rbac::BackupRole::Operator;
use azure_backup_scim::service::tokens::{BearerTokens, TokenState};
use azure_backup_scim::simulator::{
    AzureService, FaultAction, FaultRule, LockLevel, Scope, Simulator, SimulatorOptions, StartClock,
};
use std::net::TcpListener;
use std::sync::Arc;

const HOUR: u64 = 60 * 60;
/// Requests are answered from what was loaded for so long.
const STALE_AFTER: u64 = HOUR;

/// A service that reads its tokens from the vault of a simulated Azure.
struct Installation {
    world: World,
    node: Node,
    tokens: Arc<BearerTokens>,
    idp: Idp,
    _simulator: Simulator,
}

impl Installation {
    fn start() -> Self {
        let clock = ManualClock::at(START);
        let scopes = vec![Scope::parse(VAULT_EAST).unwrap()];
        let start = StartClock::Manual(clock.now());
        let simulator =
            Simulator::start(SimulatorOptions { scopes, clock: start, ..SimulatorOptions::default() });
        let simulator = simulator.unwrap();
        let tables = Arc::new(TableEngine::memory(Arc::new(clock.clone())));
        let world = World::around(&simulator, clock.clone(), tables).bind("operators", Operator, VAULT_EAST);
        world.azure().set_secret(SECRET, secret(TOKEN, "entra")).unwrap();
        let node = world.start();
        let tokens = tokens_from(&simulator, &clock);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let idp = Idp::new(&format!("http://{}/scim/v2", listener.local_addr().unwrap()), TOKEN);
        let (service, timer) = (node.service.clone(), app::timer(&node.service, None));
        let served = tokens.clone();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async {
                let loading = served.clone();
                actix_web::rt::spawn(async move { loading.keep_fresh().await });
                let health = Arc::new(serde_json::Map::new);
                app::serve(listener, &service, served, health, timer).unwrap().await
            })
        });
        Self { world, node, tokens, idp, _simulator: simulator }
    }

    fn get(&self) -> Answer {
        self.node.run(self.idp.get("/Users"))
    }
}

fn tokens_from(simulator: &Simulator, clock: &ManualClock) -> Arc<BearerTokens> {
    let url = simulator.vault_url();
    let variables =
        [("KEY_VAULT_URL", url.as_str()), ("AZURE_CREDENTIAL", "static"), ("AZURE_STATIC_TOKEN", "any")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let (credential, vault, _) = config::token_vault_access(&variables).unwrap();
    let secrets = app::operator_secret_keeper(credential, &vault).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    Arc::new(BearerTokens::from_vault(
        secrets,
        SECRET.to_owned(),
        clock.clone(),
        Arc::new(RandomIds::new(clock)),
    ))
}

#[test]
fn a_vault_that_is_away_for_a_day_loses_no_revocation_and_needs_no_restart() {
    let installed = Installation::start();
    let (world, node) = (&installed.world, &installed.node);
    assert_eq!(installed.get().status, 200);
    let group = node.group("operators");
    let [ana, ben] = ["ana", "ben"].map(|name| node.provision(name));
    node.join(&group, &[&ana, &ben]);
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);

    let azure = world.azure();
    let lock = azure.add_lock(&Scope::parse(VAULT_EAST).unwrap(), LockLevel::CanNotDelete).unwrap();
    let deleted = node.run(installed.idp.delete(&format!("/Users/{}", ana.id)));
    assert_eq!(deleted.status, 204);
    let away = FaultRule::new(FaultAction::LoseRequest).service(AzureService::Vault);
    let rule = azure.add_rule(away).unwrap();
    world.pass(STALE_AFTER - 60);
    assert_eq!(installed.get().status, 200, "within the hour");

    world.pass(120);
    let refused = installed.get();
    assert_eq!((refused.status, refused.retry_after.is_some()), (503, true), "{refused:?}");
    assert_eq!(installed.tokens.health().state, TokenState::Stale);
    world.pass(23 * HOUR);
    assert_eq!(installed.get().status, 503);

    // What was accepted does not need the vault.
    assert!(world.holds(&ana, Operator, VAULT_EAST), "the lock does not hold");
    azure.remove_lock(lock).unwrap();
    node.settle();
    world.assert_holds_nothing(&ana);
    world.assert_holds(&ben, Operator, VAULT_EAST);

    azure.remove_rule(rule).unwrap();
    world.pass(120);
    let answer = installed.get();
    assert_eq!((answer.status, answer.body["totalResults"].as_u64()), (200, Some(1)), "{answer:?}");
    assert_eq!(installed.tokens.health().state, TokenState::Usable);
}
