//! Work that failed and is retried by the next tick.

use crate::error_chain::ErrorChain;
use crate::events::log_event;
use crate::store::StoreError;

/// Logs a failure that ends here. The requests stay, so the work is retried.
pub(super) fn log_deferred(what: &str, error: &StoreError) {
    log_event!(WorkDeferred, error = %ErrorChain(error), "{what} failed and is retried by the next tick");
}
