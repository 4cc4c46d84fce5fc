//! What must be so whenever everything has settled: Azure, ledger and rows against a naive model of what SCIM says.

use crate::support::harness::{Node, OWN, World, caller, whole_page};
use azure_backup_scim::id::{GroupId, UserId};
use azure_backup_scim::ports::tables::TableRow;
use azure_backup_scim::rbac::BackupRole;
use azure_backup_scim::scim::{ListQuery, ResourceType};
use azure_backup_scim::simulator::RoleAssignment;
use azure_backup_scim::store::codec::RowReader;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Principal, role definition, scope.
type Grant = (Uuid, Uuid, String);

/// What SCIM answers, by ids.
struct Scim {
    users: BTreeMap<String, Value>,
    groups: BTreeMap<String, Value>,
}

/// Who should hold what.
#[derive(Default)]
struct Wanted {
    given: BTreeSet<Grant>,
    /// Those who held it before may still hold it.
    kept: BTreeSet<Grant>,
}

impl Wanted {
    fn allows(&self, grant: &Grant) -> bool {
        self.given.contains(grant) || self.kept.contains(grant)
    }
}

/// What SCIM says, by names: userName → active, displayName → externalId and members.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    users: BTreeMap<String, bool>,
    groups: BTreeMap<String, (String, BTreeSet<String>)>,
}

/// Lets time pass until nothing waits for it any more.
pub fn calm(world: &World, node: &Node) {
    for _ in 0..4 {
        node.settle();
        world.pass(200);
    }
    node.settle();
}

/// Everything that is not as it must be.
pub fn problems(world: &World, node: &Node) -> Vec<String> {
    problems_under(world, world.bindings(), node)
}

/// The same under bindings that another process has stored.
pub fn problems_under(world: &World, bindings: &[Value], node: &Node) -> Vec<String> {
    let scim = Scim::read(node);
    let mut problems = Vec::new();
    problems.extend(azure_and_ledger(world, bindings, node, &scim));
    problems.extend(left_over(node));
    problems.extend(memberships(node, &scim));
    problems.extend(indexes(node, &scim));
    problems
}

/// What SCIM says now.
pub fn summary(node: &Node) -> Summary {
    let scim = Scim::read(node);
    let name = |id: &String| match scim.users.get(id) {
        Some(user) => text(user, "userName"),
        None => text(&scim.groups[id], "displayName"),
    };
    let users = scim.users.values().map(|user| (text(user, "userName"), user["active"] == true)).collect();
    let groups = scim.groups.values().map(|group| {
        let members = member_ids(group).iter().map(name).collect();
        (text(group, "displayName"), (text(group, "externalId"), members))
    });
    Summary { users, groups: groups.collect() }
}

impl Scim {
    fn read(node: &Node) -> Self {
        let query = |kind| ListQuery::from_pairs(kind, &[("count".to_owned(), "1000".to_owned())]).unwrap();
        let provisioning = &node.service.provisioning;
        let users = node
            .run(async { whole_page(provisioning.list(&caller(), &query(ResourceType::User)).await).await })
            .unwrap();
        let groups = node
            .run(async { whole_page(provisioning.list(&caller(), &query(ResourceType::Group)).await).await })
            .unwrap();
        let by_id =
            |list: Vec<Value>| list.into_iter().map(|resource| (text(&resource, "id"), resource)).collect();
        Self { users: by_id(users.resources), groups: by_id(groups.resources) }
    }

    /// The group that a binding of this externalId means, and whether all its members get the role: the pinned one while it
    /// lives, else the only one that carries the value. One that lost the value gives nothing new.
    fn bound(&self, external_id: &str, pins: &BTreeMap<String, String>) -> Option<(&Value, bool)> {
        if let Some(pinned) = pins.get(external_id).and_then(|pinned| self.groups.get(pinned)) {
            return Some((pinned, pinned["externalId"] == external_id));
        }
        let mut carrying = self.groups.values().filter(|group| group["externalId"] == external_id);
        let only = carrying.next();
        only.filter(|_| carrying.next().is_none()).map(|only| (only, true))
    }

    /// Everyone in a group, directly or through the groups in it.
    fn people_in(&self, group: &Value) -> Vec<&Value> {
        let mut found: BTreeSet<String> = member_ids(group).into_iter().collect();
        loop {
            let inner = found.iter().filter_map(|id| self.groups.get(id)).flat_map(member_ids);
            let more: Vec<String> = inner.filter(|id| !found.contains(id)).collect();
            if more.is_empty() {
                return found.iter().filter_map(|id| self.users.get(id)).collect();
            }
            found.extend(more);
        }
    }

    /// Who should hold what.
    fn grants(&self, bindings: &[Value], pins: &BTreeMap<String, String>) -> Wanted {
        let mut wanted = Wanted::default();
        for binding in bindings {
            let role = BackupRole::parse(&text(binding, "role")).unwrap().definition_id();
            let Some((group, gives)) = self.bound(&text(&binding["group"], "externalId"), pins) else {
                continue;
            };
            for person in self.people_in(group).into_iter().filter(|person| person["active"] == true) {
                let principal = text(&person[OWN], "entraObjectId").parse().unwrap();
                let grants = if gives { &mut wanted.given } else { &mut wanted.kept };
                grants.insert((principal, role, text(binding, "scope").to_lowercase()));
            }
        }
        wanted
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn member_ids(group: &Value) -> BTreeSet<String> {
    let members = group["members"].as_array().cloned().unwrap_or_default();
    members.iter().map(|member| text(member, "value")).collect()
}

/// Every row whose key begins so, up to its first colon.
pub fn rows(node: &Node, prefix: &str) -> Vec<TableRow> {
    let end = format!("{};", prefix.trim_end_matches(':'));
    node.run(node.service.store.rows_between(prefix.to_owned(), end, 100_000)).unwrap()
}

/// The parts of each key after its first colon.
fn keys(node: &Node, prefix: &str) -> Vec<Vec<String>> {
    let parts = |row: TableRow| row.key.split(':').skip(1).map(str::to_owned).collect();
    rows(node, prefix).into_iter().map(parts).collect()
}

/// Roles that are held or missing while no request for the person is left. They are none from the moment on
/// when nothing is due, long before everything is settled.
pub fn unexplained_roles(world: &World, bindings: &[Value], node: &Node) -> Vec<String> {
    let scim = Scim::read(node);
    let wanted = wanted(node, bindings, &scim);
    let assignments = world.azure().assignments();
    let held: BTreeSet<Grant> = assignments.iter().map(grant).collect();
    let later: BTreeSet<String> = keys(node, "w:").into_iter().map(|key| key[1].clone()).collect();
    let ledger = node.run(node.service.store.ledger_of_all()).unwrap();
    // A call may still land, or a breaker held the revocation.
    let looked_at_later = |held: &RoleAssignment| {
        let mut entries = ledger.iter().filter(|entry| text(entry, "assignment") == held.name.to_string());
        entries.any(|entry| later.contains(&text(entry, "person")))
    };
    let waits = |(principal, _, _): &Grant| {
        let mut people = scim.users.values().filter(|user| later.contains(&text(user, "id")));
        people.any(|user| text(&user[OWN], "entraObjectId") == principal.to_string())
    };
    let extra = assignments.iter().filter(|held| !wanted.allows(&grant(held)) && !looked_at_later(held));
    let missing = wanted.given.difference(&held).filter(|wanted| !waits(wanted));
    let extra = extra.map(|extra| format!("should not be held: {extra:?}"));
    extra.chain(missing.map(|missing| format!("should be held: {missing:?}"))).collect()
}

fn grant(held: &RoleAssignment) -> Grant {
    (held.principal_id, held.role, held.scope.to_string().to_lowercase())
}

/// Who should hold what under these bindings.
fn wanted(node: &Node, bindings: &[Value], scim: &Scim) -> Wanted {
    let pin = |row: &TableRow| {
        let reader = RowReader::new(row).unwrap();
        (reader.text("value").unwrap().to_owned(), reader.text("group").unwrap().to_owned())
    };
    let pins = rows(node, "b:").iter().map(pin).collect();
    scim.grants(bindings, &pins)
}

fn azure_and_ledger(world: &World, bindings: &[Value], node: &Node, scim: &Scim) -> Vec<String> {
    let mut problems = Vec::new();
    let wanted = wanted(node, bindings, scim);
    let assignments = world.azure().assignments();
    let held: BTreeSet<Grant> = assignments.iter().map(grant).collect();
    // People who were refused while several groups matched are reconciled again after a while.
    let waiting = people_who_wait_for_one_group(node, scim);
    let missing: Vec<_> =
        wanted.given.difference(&held).filter(|(principal, _, _)| !waiting.contains(principal)).collect();
    let extra: Vec<_> = held.iter().filter(|grant| !wanted.allows(grant)).collect();
    if !missing.is_empty() || !extra.is_empty() {
        problems.push(format!("azure lacks {missing:?} and should not hold {extra:?}"));
    }
    let ledger = node.run(node.service.store.ledger_of_all()).unwrap();
    let in_azure: BTreeSet<String> = assignments.iter().map(|held| held.name.to_string()).collect();
    let in_ledger: Vec<String> = ledger
        .iter()
        .filter(|entry| entry["state"] == "present")
        .map(|entry| text(entry, "assignment"))
        .collect();
    if in_ledger.len() != in_azure.len() || in_ledger.iter().cloned().collect::<BTreeSet<_>>() != in_azure {
        problems.push(format!("the ledger says {in_ledger:?} and azure {in_azure:?}"));
    }
    let unsettled: Vec<_> = ledger.iter().filter(|entry| entry["settled"] != true).collect();
    if !unsettled.is_empty() {
        problems.push(format!("unsettled: {unsettled:?}"));
    }
    problems
}

fn people_who_wait_for_one_group(node: &Node, scim: &Scim) -> BTreeSet<Uuid> {
    let waits = rows(node, "l:").into_iter().filter(|row| row.key.ends_with(":waits"));
    let ambiguous = |row: &TableRow| {
        let list = RowReader::new(row).unwrap().json("list").unwrap();
        list.as_array().unwrap().iter().any(|wait| wait["reason"] == "binding-ambiguous")
    };
    let people = waits.filter(ambiguous).filter_map(|row| {
        let person = scim.users.get(row.key.split(':').nth(1).unwrap())?;
        Some(text(&person[OWN], "entraObjectId").parse().unwrap())
    });
    people.collect()
}

/// Nothing is left to do; a request of later exists only where something waits.
fn left_over(node: &Node) -> Vec<String> {
    let mut problems = Vec::new();
    for prefix in ["d:", "dl:", "i:", "dg:"] {
        let left = rows(node, prefix);
        if !left.is_empty() {
            problems.push(format!("left over: {left:?}"));
        }
    }
    let waiting: BTreeSet<String> =
        keys(node, "l:").into_iter().filter(|key| key[1] == "waits").map(|key| key[0].clone()).collect();
    for key in keys(node, "w:").iter().filter(|key| !waiting.contains(&key[1])) {
        problems.push(format!("a request of later for nothing: {key:?}"));
    }
    problems
}

/// Both directions say the same, of people and groups that exist, and it is what is answered.
fn memberships(node: &Node, scim: &Scim) -> Vec<String> {
    let mut problems = Vec::new();
    let by_group: BTreeSet<Vec<String>> = keys(node, "m:").into_iter().collect();
    let by_user: BTreeSet<Vec<String>> = keys(node, "ug:")
        .into_iter()
        .map(|mut key| {
            key.reverse();
            key
        })
        .collect();
    let answered: BTreeSet<Vec<String>> = scim
        .groups
        .iter()
        .flat_map(|(id, group)| member_ids(group).into_iter().map(move |member| vec![id.clone(), member]))
        .collect();
    if by_group != by_user || by_group != answered {
        problems.push(format!("memberships: m {by_group:?}, ug {by_user:?}, answered {answered:?}"));
    }
    for key in by_group {
        let is_known = scim.users.contains_key(&key[1]) || scim.groups.contains_key(&key[1]);
        if !scim.groups.contains_key(&key[0]) || !is_known {
            problems.push(format!("a membership of an unknown member: {key:?}"));
        }
    }
    problems
}

/// Counters count the headers, names belong to the headers, and principals to the records that say so.
fn indexes(node: &Node, scim: &Scim) -> Vec<String> {
    let mut problems = Vec::new();
    let totals = (
        node.run(node.service.store.totals::<UserId>()).unwrap().total(),
        node.run(node.service.store.totals::<GroupId>()).unwrap().total(),
    );
    let kinds = [
        ("u:", "cu:", "un:", "ux:", "user", totals.0, scim.users.len()),
        ("g:", "cg:", "gn:", "gx:", "group", totals.1, scim.groups.len()),
    ];
    for (header, counter, name, external, owner, total, answered) in kinds {
        let headers: BTreeSet<String> = keys(node, header).into_iter().map(|key| key[0].clone()).collect();
        if total != headers.len() || answered != headers.len() {
            problems.push(format!("{header} {} rows, counted {total}, answered {answered}", headers.len()));
        }
        for row in rows(node, counter) {
            let bucket = row.key.split(':').nth(1).unwrap().to_owned();
            let number = headers.iter().filter(|id| id.starts_with(&bucket)).count();
            if RowReader::new(&row).unwrap().int("n").unwrap() != i64::try_from(number).unwrap() {
                problems.push(format!("{} does not count {number}: {row:?}", row.key));
            }
        }
        let owners: Vec<String> = rows(node, name)
            .iter()
            .map(|row| RowReader::new(row).unwrap().text(owner).unwrap().to_owned())
            .collect();
        let external: Vec<String> = keys(node, external).into_iter().map(|key| key[1].clone()).collect();
        for ids in [owners, external] {
            if ids.len() != headers.len() || ids.into_iter().collect::<BTreeSet<_>>() != headers {
                problems.push(format!("the indexes {name} or of externalId name others than {headers:?}"));
            }
        }
    }
    problems.extend(principals(node));
    problems
}

fn principals(node: &Node) -> Option<String> {
    let by_principal: BTreeSet<(String, String)> = rows(node, "p:")
        .iter()
        .map(|row| {
            let user = RowReader::new(row).unwrap().text("user").unwrap().to_owned();
            (user, row.key.split(':').nth(1).unwrap().to_owned())
        })
        .collect();
    let by_record: BTreeSet<(String, String)> = keys(node, "l:")
        .into_iter()
        .filter(|key| key[1] == "pin")
        .map(|key| (key[0].clone(), key[2].clone()))
        .collect();
    (by_principal != by_record).then(|| format!("pins: {by_principal:?} and {by_record:?}"))
}
