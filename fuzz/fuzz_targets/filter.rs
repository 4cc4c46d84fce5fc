//! Filters: what is printed parses to the same filter, which matches the same.

#![no_main]

use azure_backup_scim::scim::Filter;
use azure_backup_scim_fuzz::{KINDS, sample};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for kind in KINDS {
        let alone = Filter::parse(kind, text);
        let among_all = Filter::parse_among_all(kind, text);
        assert!(alone.is_err() || among_all.is_ok(), "a filter of one type is one of all");
        let rendered = sample::rendered(kind);
        for filter in [alone, among_all].into_iter().flatten() {
            let _ = (
                filter.lookup(),
                filter.attributes(),
                filter.deciding_members(),
                filter.read_values(&rendered),
            );
            let matches = filter.matches(&rendered);
            assert!(matches || !filter.matches_as_written(&rendered), "as written is the stricter one");
            let printed = filter.to_string();
            let again = Filter::parse_among_all(kind, &printed);
            let again = again.unwrap_or_else(|error| panic!("{printed} does not parse: {error:?}"));
            assert_eq!(again.to_string(), printed);
            assert_eq!(again.matches(&rendered), matches, "{printed}");
        }
        if let Ok(filter) = Filter::parse(kind, text) {
            assert_eq!(
                Filter::parse(kind, &filter.to_string()).as_ref(),
                Ok(&filter),
                "printed and parsed again"
            );
        }
    }
});
