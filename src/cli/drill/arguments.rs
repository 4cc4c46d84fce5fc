//! The arguments of `drill`.

use crate::bindings::DRILL_GROUP;
use crate::cli::operator::OperatorArguments;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Why. It is kept in the audit.
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["history", "scim"])]
    pub(super) because: Option<String>,
    /// Who orders. [default: the name of the login on this machine]
    #[arg(long, value_name = "NAME")]
    pub(super) who: Option<String>,
    /// Do not wait until the drill is over.
    #[arg(long)]
    pub(super) no_wait: bool,
    /// List the last so many drills instead, and the green days.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "50", conflicts_with_all = ["because", "who", "no_wait"])]
    pub(super) history: Option<usize>,
    /// Play the drill from outside instead, over SCIM at this address, as https://HOST/scim/v2, with the bearer token in the
    /// environment variable DRILL_SCIM_TOKEN. That token is a full one: it can do what that of the identity provider can.
    #[arg(long, value_name = "URL", conflicts_with_all = ["because", "who", "no_wait", "history"])]
    pub(super) scim: Option<String>,
    /// The object id of the leaver, for --scim. [default: DRILL_PRINCIPAL_ID]
    #[arg(long, value_name = "ID", requires = "scim")]
    pub(super) principal: Option<String>,
    /// The externalId of the group of the binding, for --scim.
    #[arg(long, value_name = "TEXT", requires = "scim", default_value = DRILL_GROUP)]
    pub(super) group: String,
    /// One line of JSON per drill.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) operator: OperatorArguments,
}
