//! Whether a loss of the state would be noticed: the settings of the service name the installation, and its row is the same.

use super::facts::{DoctorFacts, InstallationFacts};
use super::finding::{Finding, Mender};
use crate::store::state_hold::StateHold;

const CHECK: &str = "installation";

/// What is so of the state as a whole.
pub fn check_installation(facts: &DoctorFacts) -> Vec<Finding> {
    let InstallationFacts { id, setting, hold } = &facts.installation;
    if let Some(finding) = hold.as_ref().and_then(held) {
        return vec![finding];
    }
    // `local` has no settings, and an installation that never granted anything has no id yet.
    let Some(id) = id.filter(|_| !facts.is_simulated) else { return Vec::new() };
    match setting {
        Some(setting) if *setting == id => {
            vec![Finding::ok(CHECK, format!("INSTANCE_ID names this installation, {id}"))]
        }
        Some(setting) => vec![
            Finding::error(
                CHECK,
                format!("INSTANCE_ID names {setting}, and the state is of {id}"),
                "the service does nothing: its assignments would not be its own under another id",
            )
            .mend(Mender::BackupAdmin, set(id)),
        ],
        None => vec![
            Finding::warning(
                CHECK,
                "INSTANCE_ID is not set",
                "an empty table would be taken for a first start, and what Azure holds of ours for that of others",
            )
            .mend(Mender::BackupAdmin, set(id)),
        ],
    }
}

fn set(id: impl std::fmt::Display) -> String {
    format!("`azd env set INSTANCE_ID {id}`, then `azd provision`")
}

fn held(hold: &StateHold) -> Option<Finding> {
    let (what, how) = match hold {
        StateHold::Lost(_) => (
            "the state was lost: the table was found empty, though INSTANCE_ID is set",
            "`state restore FILE`, or `recover --begin` where there is no export",
        ),
        StateHold::Restoring => {
            ("a restore of the state is not complete", "run `state restore` with the same file again")
        }
        StateHold::OtherInstance { .. } => return None,
    };
    let why = "SCIM requests are answered with 503, and nothing is done in Azure";
    Some(Finding::error(CHECK, what, why).mend(Mender::Operator, how))
}
