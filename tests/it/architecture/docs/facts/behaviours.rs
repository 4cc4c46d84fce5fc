//! What a caller of the simulator can meet, and what a handler behind the stand-in for the host can.

use super::items::{Item, Kind};

/// The folders of the simulator's services. What is beside them receives, delivers and keeps.
const SERVICES: [&str; 5] = ["arm/", "blob/", "graph/", "identity/", "key_vault/"];
/// Types whose cases are what can be asked, what can go wrong and what can forbid.
const OPERATIONS: [&str; 4] = ["Operation", "Action", "Level", "Wanted"];
/// Types whose fields are limits.
const LIMITS: &str = "Limits";
/// Codes that no Azure sends: the simulator says that it does not know, or that it could not write its file.
const OWN_CODES: [&str; 2] = ["UnrecognisedRequest", "StateFileNotWritten"];
/// Public functions of the stand-in that hand bytes on and decide nothing.
const CARRIERS: [&str; 2] = ["full", "empty"];

/// The behaviours in one file, by its path below the simulator. The control API orders them and is not one itself.
pub fn behaviours<'a>(path: &str, items: &'a [Item]) -> Vec<&'a Item> {
    if path.starts_with("control/") || path.ends_with("tests.rs") {
        return Vec::new();
    }
    let of_service = SERVICES.iter().any(|folder| path.starts_with(folder));
    let behaves = |item: &&Item| match item.kind {
        Kind::Function if item.is_test => false,
        Kind::Function => {
            let is_rule = of_service && item.is_public && item.is_free;
            is_rule || item.name.starts_with("refuse_") || answers_with_an_error(item)
        }
        Kind::Case => OPERATIONS.iter().any(|end| item.parent.ends_with(end)) && !wraps_an_operation(item),
        Kind::Struct => item.name.ends_with("Operation"),
        Kind::Field => item.parent.ends_with(LIMITS),
        Kind::Enum => false,
    };
    items.iter().filter(behaves).collect()
}

/// Makes an error of Azure's, under a status.
fn answers_with_an_error(item: &Item) -> bool {
    let body: String = item.body.split_whitespace().collect::<Vec<_>>().join(" ");
    let made = body.split("AzureError::new(").skip(1).chain(body.split("Self::new(").skip(1));
    let mut codes = made.filter(|rest| {
        let status = rest.trim_start().split(',').next().unwrap_or_default();
        status == "status" || status.parse::<u16>().is_ok()
    });
    codes.any(|rest| !OWN_CODES.iter().any(|own| rest.contains(own)))
}

/// Only says whose operation it is: that one has the facts.
fn wraps_an_operation(item: &Item) -> bool {
    item.body.trim_end_matches(',').ends_with("Operation)")
}

/// The rules in one file of the stand-in.
pub fn rules(items: &[Item]) -> Vec<&Item> {
    let rules = |item: &&Item| match item.kind {
        Kind::Function if item.is_test || CARRIERS.contains(&item.name.as_str()) => false,
        Kind::Function => (item.is_public && item.is_free) || item.body.contains("StatusCode::"),
        Kind::Case => !item.parent.ends_with("Error") && is_public(items, &item.parent),
        Kind::Struct | Kind::Field | Kind::Enum => false,
    };
    items.iter().filter(rules).collect()
}

fn is_public(items: &[Item], name: &str) -> bool {
    items.iter().any(|item| item.kind == Kind::Enum && item.name == name && item.is_public)
}
