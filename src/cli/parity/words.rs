//! What a difference is, and what to do next, in words.

use crate::cli::explain::Mend;
use crate::service::access::doctor::facts::SentId;
use crate::service::access::parity::difference::{Difference, ParityFinding};

/// Whose list it is, which decides what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProviderWords {
    Entra,
    Other,
}

impl ProviderWords {
    pub const fn name(self) -> &'static str {
        match self {
            ProviderWords::Entra => "Entra ID",
            ProviderWords::Other => "the identity provider",
        }
    }

    /// How one person or group is pushed now.
    fn push(self, what: &str) -> String {
        match self {
            ProviderWords::Entra => format!("run Provision on demand in Entra for {what}"),
            ProviderWords::Other => format!("have the identity provider push {what} again"),
        }
    }

    /// How everything is pushed once more.
    const fn restart(self) -> &'static str {
        match self {
            ProviderWords::Entra => "restart provisioning",
            ProviderWords::Other => "push everything again",
        }
    }
}

/// What several differences have in common: the line above them.
pub(super) fn heading(difference: &Difference) -> String {
    let text = match difference {
        Difference::NotProvisioned { .. } => "not provisioned at all",
        Difference::NotMember { .. } => "provisioned, and not a member",
        Difference::GroupNotProvisioned { .. } => "assigned to the app, and not provisioned",
        Difference::NestedNotProvisioned => "a group in the group, not provisioned",
        Difference::NestedNotMember => "a group in the group, provisioned and not a member",
        Difference::NotListed => "a member here only",
        Difference::NotAssigned { .. } => {
            "active here, and neither assigned to the app nor in an assigned group"
        }
        Difference::GroupNotAssigned { .. } => "a group here, not assigned to the app",
        Difference::NestedNotListed => "a group in the group here only",
        Difference::OtherUserName { .. } => "the same id, another userName",
        Difference::OtherId { sent: SentId::Nothing, .. } => "the same userName, no id here",
        Difference::OtherId { .. } => "the same userName, another id",
        Difference::OtherActive { here: true } => "disabled there, active here",
        Difference::OtherActive { here: false } => "enabled there, inactive here",
        Difference::SharedId { .. } => "several users here have the id",
        Difference::OtherGroupName { .. } => "the same id, another displayName",
        Difference::OtherGroupId { .. } => "the same displayName, another externalId",
        Difference::UserNameMapping { .. } => "most people have another userName here",
        Difference::IdMapping { .. } => "most people have another id here",
        Difference::DuplicateRow { .. } => "a line that says again what an earlier one does",
        Difference::RowWithoutId => "a line with neither id nor userName",
        Difference::NotHeld(grant) => {
            return format!("wanted and not held: {} ({})", grant.binding, grant.reason);
        }
        Difference::StillHeld(grant) => {
            return format!("held and not wanted: {} ({})", grant.binding, grant.reason);
        }
    };
    format!("{}: {text}", difference.kind().as_str())
}

/// What is known of one difference beyond its heading.
pub(super) fn details(finding: &ParityFinding) -> Option<String> {
    match &finding.difference {
        Difference::NotProvisioned { name_holder: Some(user) } => {
            Some(format!("user {user}, of another id, has this userName"))
        }
        Difference::NotMember { active: false } => Some("inactive here".to_owned()),
        Difference::GroupNotProvisioned { people, unknown } => {
            Some(format!("{people} people, {unknown} of them not here either"))
        }
        Difference::NotAssigned { groups } if groups.is_empty() => Some("in no group here".to_owned()),
        Difference::NotAssigned { groups } => Some(format!("here in {}", groups.join(", "))),
        Difference::GroupNotAssigned { members } => Some(format!("{members} members here")),
        Difference::OtherUserName { here } => Some(format!("here {here}")),
        Difference::OtherId { here: Some(here), .. } => Some(format!("here {here:?}")),
        Difference::SharedId { others } => {
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            Some(format!("also {}", others.join(", ")))
        }
        Difference::OtherGroupName { here } => Some(format!("here {here}")),
        Difference::OtherGroupId { here } => {
            Some(here.as_ref().map_or_else(|| "none here".to_owned(), |here| format!("here {here:?}")))
        }
        Difference::UserNameMapping { matched, example, .. } => Some(format!("of {matched}; {example}")),
        Difference::IdMapping { matched, example, sent, .. } => {
            let sent: Vec<&str> = sent.iter().map(|sent| sent_in_words(*sent)).collect();
            Some(format!("of {matched}; {example}; here is {}", sent.join(", ")))
        }
        Difference::DuplicateRow { first } => Some(format!("as line {first}")),
        Difference::NotHeld(grant) | Difference::StillHeld(grant) => {
            Some(format!("{} at {}", grant.role.name(), grant.scope.short_name()))
        }
        _ => None,
    }
}

const fn sent_in_words(sent: SentId) -> &'static str {
    match sent {
        SentId::Nothing => "no externalId",
        SentId::MailAddress => "a mail address",
        SentId::Number => "a number",
        SentId::Guid => "another GUID",
        SentId::GuidSpelling => "a GUID in another spelling",
        SentId::Name => "a name, such as mailNickname",
    }
}

/// What to do about it.
pub(super) fn next_step(difference: &Difference, provider: ProviderWords) -> String {
    match difference {
        Difference::NotProvisioned { .. } => match provider {
            ProviderWords::Entra => format!(
                "{}; it says whether the scope, a filter or an error keeps the person out",
                provider.push("the person")
            ),
            ProviderWords::Other => format!("assign the person to the app, then {}", provider.push("the person")),
        },
        Difference::NotMember { .. } => {
            format!("{}; if it comes back, {}", provider.push("the group with this member"), provider.restart())
        }
        Difference::GroupNotProvisioned { .. } => {
            format!("check that groups are provisioned (Mappings), then {}", provider.push("the group"))
        }
        Difference::NestedNotProvisioned => no_one_through_a_group(provider),
        Difference::NestedNotMember => format!(
            "{}. {}",
            provider.push("the outer group"),
            capital(&no_one_through_a_group(provider))
        ),
        Difference::NotListed | Difference::NestedNotListed => format!(
            "{}; if it stays, {}, or take the member out of the group over SCIM. Until then `revoke` takes the roles",
            provider.push("the group with this member"),
            provider.restart()
        ),
        Difference::NotAssigned { .. } => format!(
            "{}, which deactivates the user; if it does not, deactivate the user over SCIM. Until then `revoke` takes the roles",
            provider.push("the person")
        ),
        Difference::GroupNotAssigned { .. } => {
            "assign the group to the app again, or delete it over SCIM: its members keep what its bindings give".to_owned()
        }
        Difference::OtherUserName { .. } => {
            format!("{}; if it stays, the mapping of userName is not userPrincipalName", provider.push("the person"))
        }
        Difference::OtherId { sent, .. } => other_id(*sent, provider),
        Difference::OtherActive { here: true } => format!(
            "{}: the deactivation did not arrive. Until then `revoke` takes the roles",
            provider.push("the person")
        ),
        Difference::OtherActive { here: false } => provider.push("the person"),
        Difference::SharedId { .. } => {
            "delete the users that are not the person: the id gives roles to one of them alone".to_owned()
        }
        Difference::OtherGroupName { .. } => provider.push("the group"),
        Difference::OtherGroupId { .. } => format!(
            "map objectId to externalId for groups, then {}; a binding by externalId finds the group only then",
            provider.push("the group")
        ),
        Difference::UserNameMapping { .. } => {
            "nothing, if the mapping sends another attribute as userName on purpose; else correct the mapping".to_owned()
        }
        Difference::IdMapping { sent, .. } => {
            other_id(sent.first().copied().unwrap_or(SentId::Nothing), provider)
        }
        Difference::DuplicateRow { .. } => "nothing, if the export repeats lines; else export it again".to_owned(),
        Difference::RowWithoutId => "name the columns with --columns, or export the list again".to_owned(),
        Difference::NotHeld(grant) | Difference::StillHeld(grant) => match Mend::of_reason(grant.reason) {
            Some(Mend { who, how }) => format!("{who}: {how}"),
            None => "nothing: the next ticks do it; if it stays, `explain` the person".to_owned(),
        },
    }
}

/// Facts: F-174.
fn no_one_through_a_group(provider: ProviderWords) -> String {
    match provider {
        ProviderWords::Entra => {
            "Entra provisions no one through a group in a group: assign the inner group to the app, or put its people \
             into the outer one"
        }
        ProviderWords::Other => "push the inner group too, or put its people into the outer one",
    }
    .to_owned()
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}", chars.as_str())
}

fn other_id(sent: SentId, provider: ProviderWords) -> String {
    match sent {
        SentId::Guid => {
            "it may be another person who was given the userName: check who it is, then delete the user here and \
             provision them anew"
                .to_owned()
        }
        _ => match provider {
            ProviderWords::Entra => format!(
                "map objectId to externalId in the attribute mapping (the default sends mailNickname), then {}",
                provider.restart()
            ),
            ProviderWords::Other => {
                "compare the column of ids with the mapping of externalId: they should be the same attribute".to_owned()
            }
        },
    }
}
