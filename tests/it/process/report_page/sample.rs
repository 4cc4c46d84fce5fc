//! Tenants that never were, as the page gets them: who held what over three years. The same numbers give the same tenant.

use serde_json::{Value, json};
use std::collections::BTreeMap;

pub const MADE: &str = "2026-11-29T14:46:26Z";
const MADE_MS: i64 = 1_795_963_586_000;
const DAY_MS: i64 = 86_400_000;
const SINCE: &str = "2023-11-20T08:12:04Z";

const READER: (&str, u64) = ("Backup Reader", 0);
const OPERATOR: (&str, u64) = ("Backup Operator", 0b00001);
const CONTRIBUTOR: (&str, u64) = ("Backup Contributor", 0b00111);
const OWNER: (&str, u64) = ("Owner", 0b11111);

const VAULTS: [&str; 12] = [
    "east", "west", "north", "finance", "hr", "erp-prod", "erp-test", "sql-prod", "files", "vdi", "archive",
    "lab",
];
const FIRST_NAMES: [&str; 20] = [
    "ana", "ben", "cleo", "dora", "eva", "finn", "gita", "hugo", "ines", "jonas", "kim", "lea", "mira",
    "nils", "omar", "petra", "quinn", "rosa", "sami", "tara",
];
const LAST_NAMES: [&str; 15] = [
    "costa", "becker", "moreau", "okafor", "lindgren", "novak", "haddad", "rossi", "tanaka", "silva",
    "weber", "dubois", "kaya", "larsen", "mehta",
];

/// A tenant in the making.
pub struct Tenant {
    seed: u64,
    scopes: Vec<Value>,
    places: Vec<Value>,
    place_of_name: BTreeMap<String, usize>,
    people: Vec<Value>,
    spans: Vec<Value>,
}

/// Who has what where: a holder, a place by its name, the scopes that it reaches, and a role with its bits.
struct Held<'a> {
    person: usize,
    at: &'a str,
    reach: Vec<usize>,
    role: (&'a str, u64),
    from: i64,
    until: Option<i64>,
}

impl Tenant {
    fn new() -> Self {
        Self {
            seed: 0x5eed,
            scopes: Vec::new(),
            places: Vec::new(),
            place_of_name: BTreeMap::new(),
            people: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// The next number below `bound` (xorshift).
    fn below(&mut self, bound: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) % bound
    }

    fn id(&mut self) -> String {
        let (high, low) = (self.below(1 << 50), self.below(1 << 48));
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{low:012x}",
            high >> 18,
            high >> 2 & 0xffff,
            high & 0xfff,
            low & 0xfff
        )
    }

    /// The id of an operation: it begins with its time.
    fn op(&mut self, time_ms: i64) -> String {
        let tail = self.below(1 << 48);
        format!(
            "{:08x}-{:04x}-7{:03x}-9{:03x}-{tail:012x}",
            time_ms >> 16,
            time_ms & 0xffff,
            tail & 0xfff,
            tail >> 36
        )
    }

    fn place(&mut self, name: &str, id: String) {
        self.place_of_name.insert(name.to_owned(), self.places.len());
        self.places.push(json!({ "id": id, "name": name }));
    }

    fn vault(&mut self, name: &str, group: &str) {
        let id = format!(
            "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/{group}/providers/\
             Microsoft.RecoveryServices/vaults/{name}"
        );
        self.scopes.push(json!({ "id": id, "name": name }));
        self.place(name, id);
    }

    fn person(&mut self, name: Option<&str>, kind: &str) -> usize {
        let (id, user) = (self.id(), self.id());
        let user = (kind == "User" && name.is_some_and(|name| !name.starts_with("pat"))).then_some(user);
        self.people.push(json!({ "name": name, "id": id, "kind": kind, "user": user }));
        self.people.len() - 1
    }

    /// Given by this service, for being in a team.
    fn give(&mut self, held: &Held<'_>, team: &str, inner: Option<&str>) {
        let binding =
            format!("{}-{}", held.role.0.split(' ').next_back().unwrap().to_lowercase() + "s", held.at);
        let reason = match inner {
            Some(inner) => format!("member of {inner}, which is in {team} of binding {binding}"),
            None => format!("member of {team} of binding {binding}"),
        };
        let op = self.op(held.from);
        let taken = held.until.map(|until| {
            let why = if self.below(3) == 0 { "user deactivated" } else { "left the group" };
            json!({ "reasons": [format!("{why} {team}")], "actor": "entra", "op": self.op(until) })
        });
        let ours = json!({
            "bindings": [binding], "reasons": [reason], "cause": "request", "actor": "entra", "op": op,
            "confirmed": true, "taken": taken,
        });
        self.hold(held, json!({ "ours": ours }));
    }

    /// Made by somebody else.
    fn find(&mut self, held: &Held<'_>, by: Option<&str>, more: Value) {
        let others = json!({ "createdBy": by, "createdOn": rfc3339(held.from - 40 * 60_000), "firstSeen": rfc3339(held.from) });
        self.hold(held, merged(json!({ "others": others }), more));
    }

    fn hold(&mut self, held: &Held<'_>, more: Value) {
        let at = self.place_of_name[held.at];
        let span = json!({
            "p": held.person, "at": at, "reach": held.reach, "role": held.role.0, "can": held.role.1,
            "from": held.from, "until": held.until, "live": false, "conditional": false, "through": null,
            "ours": null, "others": null,
        });
        self.spans.push(merged(span, more));
    }

    /// A moment of the recorded past, so many days before now at most.
    fn moment(&mut self, days_max: u64) -> i64 {
        let days = i64::try_from(self.below(days_max)).unwrap();
        let minute = i64::try_from(self.below(600)).unwrap();
        MADE_MS - days * DAY_MS - minute * 60_000 - 3_607_000
    }

    fn data(self) -> Value {
        json!({
            "made": MADE, "since": SINCE, "scopes": self.scopes, "places": self.places,
            "verbs": ["restore", "delete-data", "change-policy", "detach-guard", "give-access"],
            "people": self.people, "spans": self.spans,
            "unseen": [
                "the members of 1 Entra group: Microsoft Graph refuses to be read (Authorization_RequestDenied); the group stands for its members",
                NEVER_SEEN,
            ],
            "unseenPast": [
                "what others gave and took again between two hourly sweeps, deny assignments, and who was in an Entra group then",
                NEVER_SEEN,
            ],
        })
    }
}

const NEVER_SEEN: &str = "what another tenant gave through Azure Lighthouse, roles that are only eligible in Privileged Identity \
                          Management, and agents that bypass Azure roles (MARS, DPM, MABS)";

fn merged(mut value: Value, more: Value) -> Value {
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    value
}

fn rfc3339(ms: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(ms / 1000).unwrap();
    time.format(&time::format_description::well_known::Rfc3339).unwrap()
}

/// 300 people, 12 vaults, three years: leavers, Owners who are inherited and made by hand, Entra groups.
pub fn tenant() -> Value {
    let mut tenant = Tenant::new();
    for (at, name) in VAULTS.into_iter().enumerate() {
        tenant.vault(name, ["backup", "backup", "backup", "business", "business", "erp"][at / 2]);
    }
    furnish(&mut tenant, 300 - 7);
    add_others(&mut tenant);
    tenant.data()
}

/// As many people and vaults as a page has to open with.
pub fn large() -> Value {
    let mut tenant = Tenant::new();
    for number in 0..200 {
        tenant.vault(&format!("vault-{number:03}"), &format!("group-{:02}", number / 10));
    }
    tenant.place_of_name.insert("east".to_owned(), 0);
    furnish(&mut tenant, 5000 - 7);
    add_others(&mut tenant);
    tenant.data()
}

/// Places above the vaults; people in teams, some of whom left.
fn furnish(tenant: &mut Tenant, people: usize) {
    let subscription = "/subscriptions/00000000-0000-0000-0000-000000000001";
    tenant.place("subscription production", subscription.to_owned());
    tenant.place("resource group backup", format!("{subscription}/resourceGroups/backup"));
    tenant.place(
        "management group contoso",
        "/providers/Microsoft.Management/managementGroups/contoso".to_owned(),
    );
    let names = tenant.scopes.iter().map(|scope| scope["name"].as_str().unwrap().to_owned());
    let vaults: Vec<String> = names.collect();
    for number in 0..people {
        let (first, last) = (FIRST_NAMES[number % 20], LAST_NAMES[number / 20 % 15]);
        let name = match number {
            0 => "ana@contoso.example".to_owned(),
            _ if number < 300 => format!("{first}.{last}@contoso.example"),
            _ => format!("{first}.{last}{}@contoso.example", number / 300),
        };
        let person = tenant.person(Some(&name), "User");
        let teams = 1 + tenant.below(3);
        for _ in 0..teams {
            join_team(tenant, &vaults, person);
        }
    }
    // Her grant is the one that a test follows to its push.
    let held = Held {
        person: 0,
        at: "east",
        reach: vec![0],
        role: OPERATOR,
        from: MADE_MS - 200 * DAY_MS,
        until: None,
    };
    tenant.give(&held, "Vault Operators", Some("Night Shift"));
}

/// A team gives one role at one to three vaults.
fn join_team(tenant: &mut Tenant, vaults: &[String], person: usize) {
    let role = [READER, READER, OPERATOR, OPERATOR, OPERATOR, CONTRIBUTOR]
        [usize::try_from(tenant.below(6)).unwrap()];
    let first = usize::try_from(tenant.below(vaults.len() as u64)).unwrap();
    let number = 1 + usize::try_from(tenant.below(3)).unwrap();
    let from = tenant.moment(1090);
    let stay = i64::try_from(tenant.below(700) + 1).unwrap() * DAY_MS + 5_000_000;
    let until = (from + stay < MADE_MS - DAY_MS && tenant.below(3) > 0).then_some(from + stay);
    let inner =
        [None, None, Some("Night Shift"), Some("Platform Team")][usize::try_from(tenant.below(4)).unwrap()];
    for reach in (first..first + number).map(|at| at % vaults.len()) {
        let held = Held { person, at: &vaults[reach], reach: vec![reach], role, from, until };
        tenant.give(&held, &format!("Vault {}s", role.0.split(' ').next_back().unwrap()), inner);
    }
}

/// What this service did not make.
fn add_others(tenant: &mut Tenant) {
    let all: Vec<usize> = (0..tenant.scopes.len()).collect();
    let days_ago = |days: i64| MADE_MS - days * DAY_MS;
    let pat = tenant.person(Some("pat.admin@contoso.example"), "User");
    let emergency = tenant.person(Some("break-glass-1@contoso.example"), "User");
    let admins = tenant.person(Some("sg-cloud-admins"), "Group");
    let pipeline = tenant.person(Some("backup-pipeline"), "ServicePrincipal");
    let gone = tenant.person(None, "Other");
    let guest = tenant.person(Some("consultant_partner.example#EXT#@contoso.example"), "User");
    let auditor = tenant.person(Some("audit.tool@contoso.example"), "ServicePrincipal");
    let of = |person, at, reach: &Vec<usize>, role, from| Held {
        person,
        at,
        reach: reach.clone(),
        role,
        from,
        until: None,
    };
    let by = Some("pat.admin@contoso.example");
    tenant.find(&of(pat, "subscription production", &all, OWNER, days_ago(1105)), None, json!({}));
    tenant.find(&of(emergency, "management group contoso", &all, OWNER, days_ago(1105)), None, json!({}));
    tenant.find(
        &of(admins, "subscription production", &all, ("User Access Administrator", 0b10000), days_ago(640)),
        by,
        json!({ "conditional": true }),
    );
    tenant.find(
        &of(
            pipeline,
            "resource group backup",
            &vec![0, 1, 2, 3, 4, 5],
            ("Contributor", 0b01111),
            days_ago(411),
        ),
        by,
        json!({}),
    );
    tenant.find(&of(gone, "east", &vec![0], CONTRIBUTOR, days_ago(95)), by, json!({}));
    tenant.find(
        &of(auditor, "subscription production", &all, ("Custom: Vault Auditor", 0), days_ago(30)),
        by,
        json!({ "can": null }),
    );
    let week = Held { until: Some(days_ago(11)), ..of(guest, "east", &vec![0], CONTRIBUTOR, days_ago(18)) };
    tenant.find(&week, by, json!({}));
    // Members of an Entra group are only known now.
    for person in [1, 2, 40] {
        let held = of(person, "subscription production", &all, OWNER, days_ago(300));
        tenant.find(&held, by, json!({ "through": "sg-platform-owners", "live": true }));
    }
    let mut held = of(7, "east", &vec![0], OPERATOR, MADE_MS - 1_260_000);
    tenant.give(&held, "Vault Operators", None);
    let last = tenant.spans.last_mut().unwrap();
    last["ours"]["confirmed"] = json!(false);
    held.person = 12;
    held.from = days_ago(70);
    tenant.give(&held, "Vault Operators", Some("Night Shift"));
    let taken =
        json!({ "reasons": ["user deactivated"], "actor": "entra", "op": tenant.op(MADE_MS - 500_000) });
    tenant.spans.last_mut().unwrap()["ours"]["taken"] = taken;
}

/// Names that would do something if they were more than text.
pub const HOSTILE: [&str; 9] = [
    "<img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title='owned'</script>",
    "<!--<script>",
    "\u{202e}elpmaxe.osotnoc@nimda",
    "bell\u{7}null\u{0}escape\u{1b}[31m",
    "line\u{2028}paragraph\u{2029}end",
    "{{script}}&lt;b&gt;&amp;",
    "javascript:document.title='owned'",
    "\u{5d0}\u{5d1}\u{5d2} right to left",
];

/// Every text that others can write is hostile.
pub fn hostile() -> Value {
    let mut tenant = Tenant::new();
    for (at, name) in HOSTILE.into_iter().enumerate() {
        let id = format!("/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/{name}");
        tenant.scopes.push(json!({ "id": id, "name": name }));
        tenant.place(name, id);
        tenant.person(Some(name), "User");
        let from = MADE_MS - 10 * DAY_MS;
        let held =
            Held { person: at, at: name, reach: vec![0, at], role: (name, 0b11111), from, until: None };
        let ours = json!({
            "bindings": [name], "reasons": [name], "cause": name, "actor": name, "op": name, "confirmed": false,
            "taken": { "reasons": [name], "actor": name, "op": name },
        });
        tenant.hold(&held, json!({ "ours": ours, "through": name }));
        let others = json!({ "createdBy": name, "createdOn": MADE, "firstSeen": MADE });
        tenant.hold(&held, json!({ "others": others, "through": name }));
    }
    let mut data = tenant.data();
    data["unseen"] = json!(HOSTILE);
    data["unseenPast"] = json!(HOSTILE);
    data
}

/// A service that has done nothing yet.
pub fn empty() -> Value {
    let mut tenant = Tenant::new();
    tenant.vault("east", "backup");
    merged(tenant.data(), json!({ "since": null }))
}
