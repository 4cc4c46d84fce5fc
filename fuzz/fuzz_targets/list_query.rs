//! Queries of lists, as parameters and as the body of `.search`.

#![no_main]

use azure_backup_scim::scim::page::COUNT_MAX;
use azure_backup_scim::scim::{ListQuery, Projection};
use azure_backup_scim_fuzz::{KINDS, choice, sample};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fn check(query: &ListQuery) {
    assert!(query.count <= COUNT_MAX);
    let _ = (query.sort(), query.lists_all());
    for (kind, of_type) in query.types() {
        let rendered = sample::rendered(kind);
        if let Some(filter) = &of_type.filter {
            let _ = filter.matches(&rendered);
        }
        check_projection(&of_type.projection, &rendered);
    }
}

fn check_projection(projection: &Projection, rendered: &Value) {
    let shown = projection.apply(rendered.clone());
    assert_eq!(shown["id"], rendered["id"], "what is always returned is returned");
    assert_eq!(projection.apply(shown.clone()), shown, "projecting twice is projecting once");
}

fuzz_target!(|input: &[u8]| {
    let Some((variant, rest)) = choice(input, 2) else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    if variant == 0 {
        let pair = |part: &str| part.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let pairs: Vec<(String, String)> = text.split('&').filter_map(pair).collect();
        KINDS
            .into_iter()
            .filter_map(|kind| ListQuery::from_pairs(kind, &pairs).ok())
            .for_each(|query| check(&query));
        ListQuery::for_all_types(&pairs).iter().for_each(check);
    } else if let Ok(body) = serde_json::from_str::<Value>(text) {
        KINDS
            .into_iter()
            .filter_map(|kind| ListQuery::from_search(kind, &body).ok())
            .for_each(|query| check(&query));
        ListQuery::for_all_types_from_search(&body).iter().for_each(check);
    }
});
