//! One installation whose every dependency stands behind a proxy: the program under the stand-in for the Functions host,
//! the trouble that can be made for it, and what must hold of it at any time.

use crate::storage::azurite;
use crate::support::chaos::{Chaos, Trouble, When};
use crate::support::cloud::{Addresses, Cloud, PATIENCE, TOKEN};
use crate::support::host::{Host, Outcome, State, Transport};
use crate::support::idp::{Answer, Idp};
use azure_backup_scim::simulator::{AzureService, FaultAction, FaultRule};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::task::block_in_place;
use tokio::time::timeout;
use uuid::Uuid;

/// A token that nobody was given.
const STRANGER: &str = "stranger-token-0123456789-abcdefghijklmn";
/// Slower than an answer waits for its effects, faster than any timeout.
const SLOW: Duration = Duration::from_millis(500);
/// Shorter than any timeout of ours, and long for a busy machine.
const PROMPT: Duration = Duration::from_secs(5);
/// Beyond every wait after one failure.
const MUCH_LATER: Duration = Duration::from_secs(300);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// What the service cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependency {
    Vault,
    Identity,
    Tables,
    Arm,
}

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Connections break.
    Away,
    Slow,
    Throttled,
    /// A page in HTML, with status 200.
    Nonsense,
    /// Connections stand, and nothing is ever answered.
    Silent,
}

impl Dependency {
    pub const ALL: [Self; 4] = [Self::Vault, Self::Identity, Self::Tables, Self::Arm];

    const fn service(self) -> Option<AzureService> {
        match self {
            Self::Vault => Some(AzureService::Vault),
            Self::Identity => Some(AzureService::Identity),
            Self::Arm => Some(AzureService::Arm),
            Self::Tables => None,
        }
    }
}

impl Fault {
    pub const ALL: [Self; 5] = [Self::Away, Self::Slow, Self::Throttled, Self::Nonsense, Self::Silent];
}

/// Everything around a program that does not run yet.
pub struct Scene {
    pub cloud: Cloud,
    proxies: BTreeMap<Dependency, Chaos>,
}

impl Scene {
    pub fn set() -> Self {
        let cloud = block_in_place(Cloud::start);
        let Addresses { tables, vault, arm, identity } = cloud.addresses();
        let origin = identity.trim_end_matches("/msi/token").to_owned();
        let origins = [(Dependency::Vault, vault), (Dependency::Identity, origin)];
        let origins = origins.into_iter().chain([(Dependency::Tables, tables), (Dependency::Arm, arm)]);
        let proxies = origins.map(|(dependency, origin)| (dependency, Chaos::before(&origin))).collect();
        Self { cloud, proxies }
    }

    pub fn proxy(&self, dependency: Dependency) -> &Chaos {
        &self.proxies[&dependency]
    }

    /// From now on that is wrong with it.
    pub fn begin(&self, dependency: Dependency, fault: Fault) {
        let proxy = self.proxy(dependency);
        let always = When::any().always();
        match (fault, dependency.service()) {
            (Fault::Away, _) => proxy.set_away(true),
            (Fault::Slow, _) => proxy.order(always, Trouble::Delay(SLOW)),
            (Fault::Nonsense, _) => proxy.order(always, Trouble::nonsense()),
            (Fault::Silent, _) => proxy.order(always, Trouble::Silence),
            (Fault::Throttled, None) => proxy.order(always, Trouble::Busy { retry_after: 2 }),
            (Fault::Throttled, Some(service)) => {
                let throttle = FaultAction::Throttle { retry_after_seconds: Some(2) };
                self.cloud.azure.handle().add_rule(FaultRule::new(throttle).service(service)).unwrap();
            }
        }
    }

    /// Nothing is wrong with it any more.
    pub fn end(&self, dependency: Dependency) {
        self.proxy(dependency).calm();
        self.cloud.azure.handle().clear_rules();
    }

    /// What the app is set to.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let url = |dependency| self.proxy(dependency).url();
        self.cloud.settings(&Addresses {
            tables: url(Dependency::Tables),
            vault: url(Dependency::Vault),
            arm: url(Dependency::Arm),
            identity: format!("{}/msi/token", url(Dependency::Identity)),
        })
    }

    pub async fn start(self) -> Stage {
        let settings = self.settings();
        self.start_with(&settings).await
    }

    pub async fn start_with(self, settings: &BTreeMap<String, String>) -> Stage {
        let host = block_in_place(|| self.cloud.host_with(Transport::Proxy, settings));
        let State::Ready { pid, .. } = block_in_place(|| host.settled()) else {
            panic!("it did not start: {:?}", host.lines());
        };
        let idp = Idp::new(&format!("{}/scim/v2", host.url()), TOKEN);
        let stranger = Idp::new(&format!("{}/scim/v2", host.url()), STRANGER);
        let line = eventually("the program says where it listens", async || line(&host, "ready")).await;
        let base_url = line["base_url"].as_str().unwrap().to_owned();
        let handler = Idp::new(base_url.trim_end_matches("/scim/v2"), TOKEN);
        Stage { scene: self, host, pid, idp, stranger, handler }
    }
}

/// The program and everything around it.
pub struct Stage {
    pub scene: Scene,
    host: Host,
    pid: u32,
    /// Through the host.
    pub idp: Idp,
    pub stranger: Idp,
    /// Past the host.
    handler: Idp,
}

impl Stage {
    /// The probe and the health check answer at once, whatever is wrong; the health check's status.
    pub async fn probe(&self) -> u16 {
        let root = timeout(PROMPT, self.handler.get("/")).await.expect("the probe hangs");
        assert_eq!(root.status, 200, "{root:?}");
        let health = timeout(PROMPT, self.handler.get("/healthz")).await.expect("the health check hangs");
        assert!(matches!(health.status, 200 | 503), "{health:?}");
        health.status
    }

    /// Waits until the program says by itself that it is well. Nobody asks it for anything.
    pub async fn healthy(&self) {
        eventually("it is well again", async || {
            let health = self.handler.get("/healthz").await;
            (health.status == 200 && health.body["status"] == "ok").then_some(())
        })
        .await;
    }

    /// The trouble ends, and so much time passes for the table service that nothing has to wait any more.
    pub fn end(&self, dependency: Dependency) {
        self.scene.end(dependency);
        self.much_later();
    }

    pub fn much_later(&self) {
        self.scene.proxy(Dependency::Tables).move_clock(MUCH_LATER);
    }

    /// One firing of the host's timer.
    pub fn tick(&self) -> Outcome {
        block_in_place(|| self.host.fire_timer("Reconcile", false, None)).outcome
    }

    /// Fires the timer until exactly these people hold a role.
    pub async fn holds(&self, people: &[Uuid]) {
        let wanted: Vec<Uuid> = people.to_vec();
        eventually(&format!("exactly {wanted:?} hold a role, not {:?}", self.holders()), async || {
            if self.holders() == wanted {
                return Some(());
            }
            self.tick();
            (self.holders() == wanted).then_some(())
        })
        .await;
    }

    /// Who holds a role in Azure, once for each, in order.
    pub fn holders(&self) -> Vec<Uuid> {
        let all = self.scene.cloud.azure.handle().assignments();
        let mut all: Vec<Uuid> = all.iter().map(|held| held.principal_id).collect();
        all.sort();
        all
    }

    /// The ids of a group's members.
    pub async fn members(&self, group: &str) -> BTreeSet<String> {
        let answer = self.idp.get(&format!("/Groups/{group}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let members = answer.body["members"].as_array().cloned().unwrap_or_default();
        members.iter().map(|member| member["value"].as_str().unwrap().to_owned()).collect()
    }

    /// What the program logged.
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.host.lines();
        lines.iter().filter_map(|line| serde_json::from_str(&line.text).ok()).collect()
    }

    /// Whether a line says that.
    pub fn says(&self, text: &str) -> bool {
        self.host.lines().iter().any(|line| line.text.contains(text))
    }

    /// What holds after every run: the same process, nothing that Azure does not know, and logs that can be read by
    /// machines and by anybody.
    pub fn assert_sound(&self) {
        let state = self.host.state();
        assert!(matches!(state, State::Ready { pid, .. } if pid == self.pid), "{state:?}");
        let azure = &self.scene.cloud.azure;
        assert!(azure.unrecognised().is_empty(), "{:?}", azure.unrecognised());
        let secrets = self.secrets();
        assert!(secrets.len() > 4, "nothing was shown to anybody");
        for line in self.host.lines() {
            let read = serde_json::from_str::<Value>(&line.text);
            assert!(read.is_ok_and(|line| line.is_object()), "no object: {}", line.text);
            let told = secrets.iter().find(|secret| line.text.contains(secret.as_str()));
            assert!(told.is_none(), "{told:?} is told: {}", line.text);
            assert!(!line.text.contains("contoso.example"), "somebody is named: {}", line.text);
        }
    }

    /// Everything that opens something: what is set, and what the proxies saw.
    fn secrets(&self) -> BTreeSet<String> {
        let mut all: BTreeSet<String> = [TOKEN, STRANGER, azurite::KEY].map(str::to_owned).into();
        all.insert(self.scene.cloud.azure.identity_header());
        for proxy in self.scene.proxies.values() {
            for call in proxy.calls() {
                let headers = call.headers.lines().filter_map(|line| line.split_once(':'));
                let shown = headers.filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
                all.extend(
                    shown.map(|(_, value)| value.rsplit([' ', ':']).next().unwrap().trim().to_owned()),
                );
            }
        }
        all
    }
}

fn line(host: &Host, message: &str) -> Option<Value> {
    let lines = host.lines().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line.text).ok());
    lines.into_iter().find(|line| line["message"] == message)
}

/// 503 with a wait that an identity provider can live with.
#[track_caller]
pub fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    let wait = answer.retry_after.as_ref().and_then(|wait| wait.parse::<u64>().ok());
    assert!(wait.is_some_and(|wait| (1..=120).contains(&wait)), "{answer:?}");
    assert_eq!(answer.body["status"], "503", "{answer:?}");
}

/// Looks until there is something to see.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(PAUSE).await;
    }
}
