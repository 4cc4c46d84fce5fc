//! What `infra/` and `host.json` ask of the platform beside resources and rights.

use crate::support::host_client::repository;
use serde_json::Value;

fn text(path: &str) -> String {
    let text = std::fs::read_to_string(repository().join(path)).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Facts: F-073.
#[test]
fn flex_consumption_runs_the_package_as_a_custom_handler() {
    let app = text("infra/app/function-app.bicep");
    for asked in
        ["runtime: { name: 'custom' version: '1.0' }", "sku: { name: 'FC1' tier: 'FlexConsumption' }"]
    {
        assert!(app.contains(asked), "{asked}");
    }
    assert!(text("infra/main.bicep").contains("param maximumInstanceCount int = 40 "));
}

/// A request or a line that is dropped raises no alert.
/// Facts: F-081.
#[test]
fn the_host_samples_neither_requests_nor_lines() {
    let host: Value = serde_json::from_str(&text("host.json")).unwrap();
    let sampling = &host["logging"]["applicationInsights"]["samplingSettings"];
    let excluded: Vec<&str> = sampling["excludedTypes"].as_str().unwrap().split(';').collect();
    assert_eq!(excluded, ["Request", "Trace"]);
    assert_eq!(host["logging"]["logLevel"]["Host.Function.Console"], "Information");
}
