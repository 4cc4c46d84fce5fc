//! First starts that are killed: whatever a dead one left in its folder, the next one starts.
//!
//! `FIRST_STARTS` is how many are killed (20 if it is not set).

use crate::resilience::two_processes::{number_of, wait_until};
use crate::support::idp::Idp;
use crate::support::local_process::LocalProcess;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const STARTS: u64 = 20;
/// The kills are spread over this time: as long as a first start takes until it is ready.
const KILLED_WITHIN: Duration = Duration::from_millis(120);

#[test]
fn after_any_first_start_that_was_killed_the_folder_starts() {
    let starts = number_of("FIRST_STARTS", STARTS);
    let mut begun = 0;
    let mut ready = 0;
    for number in 0..starts {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let mut first = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
            .args(["local", "--listen", "127.0.0.1:0", "--json", "--state"])
            .arg(&state)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until(Instant::now() + KILLED_WITHIN.mul_f64(number as f64 / starts as f64));
        first.kill().unwrap();
        let output = first.wait_with_output().unwrap();
        begun += u64::from(state.exists());
        ready += u64::from(!output.stdout.is_empty());

        let local = LocalProcess::start(&state, &[]);
        let idp = Idp::new(&local.ready.base_url, &local.ready.token);
        assert_eq!(Runtime::new().unwrap().block_on(idp.get("/Users")).status, 200, "start {number}");
    }
    println!("{starts} first starts killed: {begun} had made their folder, {ready} were ready");
}
