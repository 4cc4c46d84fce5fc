//! What the active bindings mean for the attributes of people.

use crate::bindings::PrincipalSource;
use crate::scim::DecidingAttributes;
use std::sync::Arc;

/// The rules of the active bindings, as far as this process knows them. A process that knows nothing yet goes by the
/// attribute table alone.
#[derive(Debug, Clone, Default)]
pub struct BindingRules {
    /// Where a person's Entra object id is taken from.
    pub sources: Vec<PrincipalSource>,
    /// The attributes that access can depend on.
    pub deciding: Arc<DecidingAttributes>,
}

/// Gives the rules of the moment. Reads nothing.
pub type BindingRulesSource = Arc<dyn Fn() -> BindingRules + Send + Sync>;
