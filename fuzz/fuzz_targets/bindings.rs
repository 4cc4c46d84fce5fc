//! `bindings.json`: a file is checked, or every mistake has a text and a place in the file.

#![no_main]

use azure_backup_scim::bindings::{Bindings, position_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    match Bindings::parse(file) {
        Ok(bindings) => {
            assert_eq!(Bindings::parse(file).as_ref(), Ok(&bindings), "the same file says the same");
            for binding in &bindings.bindings {
                let _ = (binding.selector.key(), binding.selector.value());
                if let Some(condition) = &binding.condition {
                    let _ = (condition.to_string(), condition.attributes());
                }
            }
        }
        Err(error) => {
            assert!(!error.mistakes.is_empty() && !error.to_string().is_empty());
            for mistake in &error.mistakes {
                let lines = file.split(|byte| *byte == b'\n').count();
                if let Some(position) = position_of(file, &mistake.place) {
                    assert!(
                        position.line >= 1 && position.column >= 1 && position.line <= lines,
                        "{mistake}"
                    );
                }
            }
        }
    }
});
