//! Bulk bodies, read and carried out: an answer for each operation, none of them a fault of the service.

#![no_main]

use azure_backup_scim::scim::BulkRequest;
use azure_backup_scim_fuzz::service::{InProcess, assert_client_error, caller};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

thread_local! {
    static SERVICE: InProcess = InProcess::start();
}

fuzz_target!(|text: &[u8]| {
    let Ok(body) = serde_json::from_slice::<Value>(text) else { return };
    let asked = BulkRequest::operations(&body).map_or(0, <[Value]>::len);
    let Ok(request) = BulkRequest::parse(body) else { return };
    SERVICE.with(|world| {
        let results = world.run(async { world.service.provisioning.run_bulk(&caller(), request).await });
        assert!(results.len() <= asked, "no more answers than operations");
        for error in results.iter().filter_map(|result| result.outcome.as_ref().err()) {
            assert_client_error(error);
        }
    });
});
