//! `local` as a child process: started on a state folder, killed without warning, started again.

use serde::Deserialize;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a start may take on a busy machine.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// The one line that `local --json` prints when it is ready.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Ready {
    /// Ends in `/scim/v2`.
    pub base_url: String,
    pub token: String,
    pub arm_url: String,
    pub control_url: String,
    pub vault_url: String,
    pub graph_url: String,
    pub identity_endpoint: String,
    pub identity_header: String,
    /// With `--tls`.
    pub ca_file: Option<PathBuf>,
    pub pid: u32,
}

/// A running `local`. It is killed when this is dropped.
pub struct LocalProcess {
    pub ready: Ready,
    child: Child,
    listen: String,
    state: PathBuf,
    arguments: Vec<String>,
}

impl LocalProcess {
    /// Starts `local` on a port of its own choice and waits until it is ready.
    pub fn start(state: &Path, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self::spawn("127.0.0.1:0".to_owned(), state.to_owned(), arguments)
    }

    /// The same on a certain port, where it is found again after a restart.
    pub fn start_at(address: SocketAddr, state: &Path) -> Self {
        Self::spawn(address.to_string(), state.to_owned(), Vec::new())
    }

    /// SIGKILL: nothing is flushed, nothing is closed.
    pub fn kill(&mut self) {
        self.child.kill().expect("the child can be killed");
        self.child.wait().expect("the child ends");
    }

    /// Kills it, if it still runs, and starts another on the same state.
    pub fn restart(mut self) -> Self {
        self.kill();
        let listen = std::mem::take(&mut self.listen);
        Self::spawn(listen, std::mem::take(&mut self.state), std::mem::take(&mut self.arguments))
    }

    fn spawn(listen: String, state: PathBuf, arguments: Vec<String>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
            .args(["local", "--listen", &listen, "--json", "--state"])
            .arg(&state)
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let log = drain(child.stderr.take().expect("piped"));
        let line = first_line(child.stdout.take().expect("piped"));
        match line.recv_timeout(READY_TIMEOUT).ok().and_then(|line| serde_json::from_str(&line).ok()) {
            Some(ready) => Self { ready, child, listen, state, arguments },
            None => {
                child.kill().ok();
                child.wait().ok();
                panic!(
                    "local ended or was not ready in {READY_TIMEOUT:?}; it said:\n{}",
                    log.join().unwrap()
                );
            }
        }
    }
}

impl Drop for LocalProcess {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The first line, as soon as it is there. What follows is read and dropped, so that the child never waits for us.
fn first_line(output: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        if output.read_line(&mut line).is_ok() {
            sender.send(line).ok();
        }
        std::io::copy(&mut output, &mut std::io::sink()).ok();
    });
    receiver
}

fn drain(mut output: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = Vec::new();
        output.read_to_end(&mut text).ok();
        String::from_utf8_lossy(&text).into_owned()
    })
}

#[test]
fn after_a_kill_local_starts_again_on_the_same_state() {
    let state = tempfile::tempdir().unwrap();
    let first = LocalProcess::start(state.path(), &[]);
    let before = first.ready.clone();

    let second = first.restart();

    assert_ne!(second.ready.pid, before.pid);
    assert_eq!(second.ready.token, before.token);
    assert!(second.ready.base_url.ends_with("/scim/v2"), "{}", second.ready.base_url);
}
