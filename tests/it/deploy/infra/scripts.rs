//! `infra/delegate.sh`, with a stand-in for the Azure CLI that writes down what it was told.
#![cfg(unix)]

use super::root;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

/// Keeps its arguments, and the content and the mode of the file that `--file` names.
const AZ: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$@" >>"$here/arguments"
while [ $# -gt 0 ]; do
    if [ "$1" = --file ]; then
        cp "$2" "$here/content"
        ls -l "$2" | cut -c 1-10 >"$here/mode"
        echo "$2" >"$here/path"
    fi
    shift
done
[ ! -e "$here/refuse" ]
"#;

/// A folder that is the whole PATH beside the system's, so that a real az or azd is never called.
struct Cli(tempfile::TempDir);

impl Cli {
    fn new() -> Self {
        let cli = Self(tempfile::tempdir().unwrap());
        for (name, text) in [("az", AZ), ("azd", "#!/bin/sh\nexit 1\n")] {
            let path = cli.0.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        cli
    }

    fn run(&self, script: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
        let mut command = Command::new(root().join("infra").join(script));
        let path = format!("{}:/usr/bin:/bin", self.0.path().display());
        command.args(arguments).env_clear().env("PATH", path).envs(settings.iter().copied());
        command.output().unwrap()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join(name)).unwrap_or_default().trim_end().to_owned()
    }
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

const PROVISIONED: [(&str, &str); 4] = [
    ("SERVICE_PRINCIPAL_ID", "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"),
    ("AZURE_SUBSCRIPTION_ID", "00000000-0000-0000-0000-00000000000a"),
    ("AZURE_LOCATION", "westeurope"),
    ("AZURE_ENV_NAME", "prod"),
];

#[test]
fn the_rights_are_a_deployment_of_their_own() {
    let cli = Cli::new();
    let output = cli.run("delegate.sh", &[], &PROVISIONED);
    assert!(output.status.success(), "{}", printed(&output));
    let arguments = cli.read("arguments");
    assert!(arguments.starts_with("deployment sub create "), "{arguments}");
    assert!(
        arguments.contains("--name delegation-prod --template-file infra/delegation.bicep"),
        "{arguments}"
    );
    assert!(arguments.contains("principalId=6f9619ff-8b86-4d01-b42d-00cf4fc964ff"), "{arguments}");
}

/// Facts: F-190.
#[test]
fn heads_are_locked_only_where_that_is_wanted() {
    let cli = Cli::new();
    let output = cli.run("lock-heads.sh", &[], &PROVISIONED);
    assert!(output.status.success(), "{}", printed(&output));
    assert_eq!(cli.read("arguments"), "", "unlocked is the default");

    let mut settings = PROVISIONED.to_vec();
    settings.extend([
        ("AUDIT_HEADS_POLICY", "locked"),
        ("AZURE_RESOURCE_GROUP", "rg-prod"),
        ("AUDIT_HEADS_ACCOUNT", "ststate1"),
        ("AUDIT_HEADS_CONTAINER", "audit-heads"),
        ("AUDIT_HEADS_DAYS", "400"),
    ]);
    let output = cli.run("lock-heads.sh", &[], &settings);
    assert!(output.status.success(), "{}", printed(&output));
    let arguments = cli.read("arguments");
    let verbs: Vec<&str> = arguments.lines().filter_map(|line| line.split(' ').nth(3)).collect();
    assert_eq!(verbs, ["show", "create", "show", "lock"], "{arguments}");
    let container = "--resource-group rg-prod --account-name ststate1 --container-name audit-heads";
    assert!(arguments.lines().all(|line| line.contains(container)), "{arguments}");
    assert!(arguments.contains("--period 400"), "{arguments}");

    std::fs::write(cli.0.path().join("refuse"), "").unwrap();
    let output = cli.run("lock-heads.sh", &[], &settings);
    assert!(!output.status.success() && !printed(&output).contains("is locked for"), "{}", printed(&output));
}

#[test]
fn the_activity_log_is_sent_to_the_workspace_where_it_is_watched() {
    let workspace =
        "/subscriptions/a/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/log";
    let watched = [("ACTIVITY_LOG_ALERT", "true"), ("WORKSPACE_ID", workspace)];
    for (settings, is_sent) in [(&watched[..], true), (&watched[1..], false)] {
        let cli = Cli::new();
        let output = cli.run("delegate.sh", &[], &[&PROVISIONED[..], settings].concat());
        assert!(output.status.success(), "{}", printed(&output));
        assert_eq!(cli.read("arguments").contains(&format!("workspaceId={workspace}")), is_sent);
        let by_others = [&PROVISIONED[..], settings, &[("DEPLOY_ROLE_DELEGATION", "false")]].concat();
        let output = Cli::new().run("delegate.sh", &[], &by_others);
        assert_eq!(printed(&output).contains(&format!("workspaceId={workspace}")), is_sent);
    }
}

#[test]
fn the_service_may_grant_at_the_resource_group_of_drills_where_they_are_set() {
    let scope = "drillScope=/subscriptions/00000000-0000-0000-0000-00000000000a/resourceGroups/rg-prod-drill";
    for (drill, is_given) in [("true", true), ("false", false)] {
        let settings = [&PROVISIONED[..], &[("DRILL", drill)]].concat();
        let cli = Cli::new();
        let output = cli.run("delegate.sh", &[], &settings);
        assert!(output.status.success(), "{}", printed(&output));
        assert_eq!(cli.read("arguments").contains(scope), is_given);
        let by_others = [&settings[..], &[("DEPLOY_ROLE_DELEGATION", "false")]].concat();
        assert_eq!(printed(&Cli::new().run("delegate.sh", &[], &by_others)).contains(scope), is_given);
    }
}

#[test]
fn another_team_gets_the_command_instead() {
    let cli = Cli::new();
    let mut settings = PROVISIONED.to_vec();
    settings.push(("DEPLOY_ROLE_DELEGATION", "false"));
    let output = cli.run("delegate.sh", &[], &settings);
    assert!(output.status.success(), "{}", printed(&output));
    assert_eq!(cli.read("arguments"), "", "nothing was deployed");
    assert!(printed(&output).contains("--template-file infra/delegation.bicep"), "{}", printed(&output));
}

#[test]
fn rights_that_could_not_be_deployed_are_a_failure() {
    let cli = Cli::new();
    std::fs::write(cli.0.path().join("refuse"), "").unwrap();
    let output = cli.run("delegate.sh", &[], &PROVISIONED);
    assert!(!output.status.success() && !printed(&output).contains("may hand out"), "{}", printed(&output));
    let output = cli.run("delegate.sh", &[], &PROVISIONED[1..]);
    assert!(
        !output.status.success() && printed(&output).contains("SERVICE_PRINCIPAL_ID"),
        "{}",
        printed(&output)
    );
}
