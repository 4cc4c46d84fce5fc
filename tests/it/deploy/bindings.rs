//! The files beside the code: the published schema and the example that `local` starts with.

use azure_backup_scim::bindings::Bindings;
use std::collections::BTreeSet;
use std::path::PathBuf;

fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// `UPDATE_GOLDEN=1 cargo test` writes the file anew.
#[test]
#[expect(clippy::disallowed_methods, reason = "tests may read the environment")]
fn the_published_schema_is_the_generated_one() {
    let path = file("bindings.schema.json");
    let generated = format!("{:#}\n", Bindings::json_schema());
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(&path, &generated).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap().replace("\r\n", "\n");
    assert_eq!(published, generated, "run UPDATE_GOLDEN=1 cargo test, and read what changed");
}

#[test]
fn the_example_of_local_is_valid_and_shows_an_overlap() {
    let bytes = std::fs::read(file("src/local/bindings.json")).unwrap();
    let bindings = Bindings::parse(&bytes).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(bindings.bindings.len(), 4);
    assert_eq!(bindings.scopes().len(), 3);
    let grants: BTreeSet<_> =
        bindings.bindings.iter().map(|binding| (binding.role, &binding.scope)).collect();
    assert_eq!(grants.len(), 3, "two groups give the same role at the same scope");
}
