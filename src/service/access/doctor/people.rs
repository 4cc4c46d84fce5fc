//! Whether the identity provider sends what the bindings need: object ids, and the groups.

use super::damage::joined;
use super::facts::{DoctorFacts, PeopleFacts, SentId};
use super::finding::{Finding, Mender};
use crate::id::PrincipalId;
use crate::scim::compare::{self, CaseMode};
use crate::service::access::groups::{ArrivedGroup, UnmatchedBinding};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What to change in the mapping.
const MAPPING: &str = "map objectId to externalId in the attribute mapping of the provisioning app, or send it as entraObjectId";

/// What is wrong with the people and the groups that arrived.
pub fn check_people(facts: &DoctorFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    match facts.bindings.known() {
        Ok(_) => {
            findings.push(object_ids(&facts.people));
            findings.extend(groups(facts));
        }
        Err(why) => {
            findings.push(Finding::not_checked("people", "whether people have an Entra object id", why));
            findings.push(Finding::not_checked("groups", "whether the bindings find their groups", why));
        }
    }
    if facts.people.rows_unreadable > 0 {
        let what = format!("{} rows cannot be read", facts.people.rows_unreadable);
        findings.push(
            Finding::error("people", what, "what they decide waits")
                .mend(Mender::Operator, "deploy the release that wrote the rows that the log names"),
        );
    }
    findings
}

fn object_ids(people: &PeopleFacts) -> Finding {
    let without: usize = people.without_id.values().sum();
    let active = people.active;
    if without == 0 && people.rows_unreadable > 0 {
        let why = format!("{} rows cannot be read, and they may be of people", people.rows_unreadable);
        return Finding::not_checked("people", "whether all people have an Entra object id", why);
    }
    if without == 0 {
        return Finding::ok("people", format!("{active} of {active} active people have an Entra object id"));
    }
    let what = format!("{without} of {active} active people have no Entra object id");
    let sent = people.without_id.iter().map(|(sent, number)| {
        format!(
            "{number} of {active} {}",
            match sent {
                SentId::Nothing => "send no externalId",
                SentId::MailAddress => "send a mail address as externalId",
                SentId::Number => "send a number as externalId",
                SentId::Guid =>
                    "send a GUID as externalId, which principal.from of the bindings does not name",
                SentId::GuidSpelling =>
                    "send a GUID as externalId in another spelling than 8-4-4-4-12 hexadecimal digits",
                SentId::Name => "send a name as externalId, such as mailNickname",
            }
        )
    });
    let sent = sent.collect::<Vec<_>>().join(", ");
    let more = without.saturating_sub(people.names_without_id.len());
    let mut names = people.names_without_id.clone();
    names.extend((more > 0).then(|| format!("{more} more")));
    let why = format!("they get no role (pending-principal): {sent}. They are {}", joined(&names));
    let finding = if without == active {
        Finding::error("people", what, why)
    } else {
        Finding::warning("people", what, why)
    };
    match people.without_id.keys().eq([&SentId::Guid]) {
        true => finding.mend(Mender::BackupAdmin, "add externalId to principal.from in bindings.json"),
        false => finding.mend(Mender::IdentityAdmin, MAPPING),
    }
}

/// What an `externalId` that is not used as an object id is like.
pub fn sent_id(external_id: Option<&str>) -> SentId {
    let sent = external_id.unwrap_or_default();
    let text = sent.trim();
    if text.is_empty() {
        SentId::Nothing
    } else if text.contains('@') {
        SentId::MailAddress
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        SentId::Number
    } else if PrincipalId::parse(sent).is_ok() {
        SentId::Guid
    } else if Uuid::try_parse(text).is_ok() {
        SentId::GuidSpelling
    } else {
        SentId::Name
    }
}

fn groups(facts: &DoctorFacts) -> Vec<Finding> {
    let overview = &facts.groups;
    if overview.without_group.is_empty() && facts.people.rows_unreadable > 0 {
        let what = "whether every binding finds its one group";
        let why = format!("{} rows cannot be read, and they may be of groups", facts.people.rows_unreadable);
        return vec![Finding::not_checked("groups", what, why)];
    }
    if overview.without_group.is_empty() {
        let number = overview.groups.iter().filter(|group| !group.bindings.is_empty()).count();
        return vec![Finding::ok(
            "groups",
            format!("every binding finds its group ({number} groups are bound)"),
        )];
    }
    let mut by_key: BTreeMap<String, &ArrivedGroup> = BTreeMap::new();
    for group in &overview.groups {
        for text in group.display_name.iter().chain(&group.external_id) {
            by_key.entry(compare::key(text, CaseMode::Folded)).or_insert(group);
        }
    }
    overview.without_group.iter().map(|unmatched| without_group(unmatched, &by_key)).collect()
}

fn without_group(unmatched: &UnmatchedBinding, groups: &BTreeMap<String, &ArrivedGroup>) -> Finding {
    let UnmatchedBinding { binding, attribute, value, reason } = unmatched;
    if let Some(reason) = reason {
        let what = format!("which group the binding {binding} means is not known");
        return Finding::warning("groups", what, format!("it gives nothing new ({reason})"))
            .mend(Mender::IdentityOrBackupAdmin, format!("see {reason} in the reason codes"));
    }
    let what = format!("the binding {binding} finds no group whose {attribute} is {value:?}");
    let finding = Finding::warning("groups", what, "it gives nothing");
    match groups.get(&compare::key(value, CaseMode::Folded)) {
        Some(group) => finding.mend(Mender::BackupAdmin, meant(group)),
        None => finding.mend(
            Mender::IdentityOrBackupAdmin,
            format!("assign the group to the provisioning app, or correct the {attribute} in the binding"),
        ),
    }
}

/// A group that may be meant, and how to name it.
fn meant(group: &ArrivedGroup) -> String {
    let name = group.display_name.as_deref().unwrap_or_default();
    match &group.external_id {
        Some(id) => format!("the group {name:?} may be meant: select it by the externalId {id:?}"),
        None => format!(
            "the group {name:?} may be meant: it has no externalId, so select it by the id {}",
            group.id
        ),
    }
}
