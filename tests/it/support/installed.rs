//! What tests install below the target folder, once for all runs.

use azure_backup_scim::adapters::clock::SystemClock;
use azure_backup_scim::adapters::ids::RandomIds;
use azure_backup_scim::ports::ids::IdSource;
use sha2::{Digest, Sha256};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

/// The folder of that name. A process installs beside it, and the first one that is ready moves its own there.
pub fn installed(name: &str, install: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    let home = target.join(name);
    if !home.exists() {
        let random = RandomIds::new(Arc::new(SystemClock::new())).random().simple();
        let beside = target.join(format!("{name}-{random}"));
        std::fs::create_dir_all(&beside).unwrap();
        // Moving fails where another process was faster.
        let moved = install(&beside).map(|()| std::fs::rename(&beside, &home).is_ok());
        if moved != Ok(true) {
            std::fs::remove_dir_all(&beside).ok();
        }
        moved?;
    }
    home.exists().then_some(home).ok_or_else(|| format!("{name} cannot be moved into the target folder"))
}

/// The name of an installation: another one for other versions.
pub fn folder(name: &str, depends_on: &[&str]) -> String {
    let digest = Sha256::digest(depends_on.concat());
    let short: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{name}-{short}")
}

/// Python with the packages of a requirements file, which names everything that they need. `home` is theirs alone.
pub fn python_with(
    home: &OnceLock<Result<PathBuf, String>>,
    name: &str,
    requirements: &str,
) -> Result<Command, String> {
    let home = home.get_or_init(|| install_for_python(name, requirements)).clone()?;
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", home);
    Ok(python)
}

fn install_for_python(name: &str, requirements: &str) -> Result<PathBuf, String> {
    let version = said(Command::new("python3").arg("--version"))?;
    installed(&folder(name, &[&version, requirements]), |folder| {
        let file = folder.join("requirements.txt");
        std::fs::write(&file, requirements).unwrap();
        let pip =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-warn-script-location"];
        let pinned = ["--only-binary", ":all:", "--no-deps", "--no-compile", "--retries", "1", "--target"];
        let mut install = Command::new("python3");
        said(install.args(pip).args(pinned).arg(folder).arg("--requirement").arg(file)).map(drop)
    })
}

/// What a program says, or why it failed.
pub fn said(command: &mut Command) -> Result<String, String> {
    let name = Path::new(command.get_program()).display().to_string();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => {
            let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
            let errors = complaints.lines().filter(|line| line.to_ascii_lowercase().contains("error"));
            Err(format!("{name}: {}", errors.take(2).collect::<Vec<_>>().join("; ")))
        }
    }
}

/// A line that is seen even where a test passes: what the macros print then is swallowed.
pub fn said_if_not_installed<T>(what: &str, found: Result<T, String>) -> Option<T> {
    found
        .map_err(|why| {
            let line = format!("{what}: skipped, not installed: {why}\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        })
        .ok()
}
