//! Paths of PATCH operations, under each verb and with a value of each JSON type.

#![no_main]

use azure_backup_scim::scim::{DecidingAttributes, PatchRequest};
use azure_backup_scim_fuzz::{KINDS, sample};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|path: &str| {
    let deciding = DecidingAttributes::of([]);
    for kind in KINDS {
        let resource = sample::resource(kind);
        for verb in ["add", "replace", "remove"] {
            for value in
                [json!("x"), json!(true), json!({"value": "x", "type": "work"}), json!([]), Value::Null]
            {
                let body = json!({"Operations": [{"op": verb, "path": path, "value": value}]});
                let Ok(patch) = PatchRequest::parse(kind, &body) else { continue };
                let Ok(edited) = patch.apply(&resource, &deciding) else { continue };
                let again = patch.apply(&edited.resource, &deciding);
                if verb == "remove"
                    && let Ok(again) = again
                {
                    assert_eq!(again.resource, edited.resource, "removing twice is removing once");
                }
            }
        }
    }
});
