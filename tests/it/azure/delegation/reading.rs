//! How `doctor` reads a condition, beside how Azure reads it: on random conditions, whatever else they depend on.

use super::*;
use crate::support::dice::Dice;

/// Conditions that are tried.
const CONDITIONS: usize = 3000;

fn term(dice: &mut Dice, depth: usize) -> String {
    let source = dice.of(&["@Request", "@Resource"]);
    let attribute = |name: &str| format!("{source}[Microsoft.Authorization/roleAssignments:{name}]");
    let cross =
        dice.of(&["ForAnyOfAnyValues", "ForAnyOfAllValues", "ForAllOfAnyValues", "ForAllOfAllValues"]);
    match dice.roll(if depth == 0 { 5 } else { 8 }) {
        0 => {
            let (first, second) = (dice.of(&ROLES).1, dice.of(&ROLES).1);
            let operator = dice.of(&["GuidEquals", "GuidNotEquals"]);
            format!("{} {cross}:{operator} {{{first}, {second}}}", attribute("RoleDefinitionId"))
        }
        1 => {
            let operator = dice.of(&[
                "StringEquals",
                "StringEqualsIgnoreCase",
                "StringNotEquals",
                "StringNotEqualsIgnoreCase",
            ]);
            let (first, second) = (dice.of(&["User", "user"]), dice.of(&["Group", "ServicePrincipal"]));
            format!("{} {cross}:{operator} {{'{first}', '{second}'}}", attribute("PrincipalType"))
        }
        2 => format!("{} GuidEquals {}", attribute("PrincipalId"), Uuid::from_u128(dice.roll(2) as u128)),
        3 => {
            let pattern = dice.of(&["write", "delete", "*"]);
            format!("ActionMatches{{'Microsoft.Authorization/roleAssignments/{pattern}'}}")
        }
        4 => format!("Exists {}", attribute(dice.of(&["RoleDefinitionId", "PrincipalId"]))),
        5 => format!("!({})", term(dice, depth - 1)),
        n => {
            let word = if n == 6 { "AND" } else { "OR" };
            format!("({}) {word} ({})", term(dice, depth - 1), term(dice, depth - 1))
        }
    }
}

/// What is certain for `doctor` is so for Azure, for every principal.
/// Facts: F-026.
#[test]
fn what_doctor_is_certain_of_is_what_azure_does() {
    let mut dice = Dice::new(7);
    let mut certain = 0;
    for _ in 0..CONDITIONS {
        let text = term(&mut dice, 3);
        let condition = Condition::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let read = AssignmentCondition::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        for (role, id) in ROLES {
            let id = Uuid::try_parse(id).unwrap();
            let principal = Some(Uuid::from_u128(dice.roll(2) as u128));
            for kind in ["User", "ServicePrincipal", "Group"] {
                let give = AccessCheck::write(Some(id), principal, Some(kind));
                let take = AccessCheck::delete(Some(id), principal, Some(kind));
                for (action, check) in [(AssignmentAction::Give, give), (AssignmentAction::Take, take)] {
                    let is_allowed = match read.verdict(action, id, kind) {
                        Verdict::Yes => true,
                        Verdict::No => false,
                        Verdict::Depends => continue,
                    };
                    certain += 1;
                    assert_eq!(condition.allows(&check), is_allowed, "{action:?} {role} {kind}: {text}");
                }
            }
        }
    }
    assert!(certain > CONDITIONS * 10, "{certain}");
}
