//! Work that failed and is retried by the next tick.

use crate::error_chain::ErrorChain;
use crate::store::StoreError;

/// One line for a failure that ends here; the marks stay, so it is tried again.
pub(super) fn log_deferred(what: &str, error: &StoreError) {
    tracing::warn!(error = %ErrorChain(error), "{what} is left to the next tick");
}
