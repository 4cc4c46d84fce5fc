//! The state file: a log of changes, one line of JSON for each, written before the change is answered.
//!
//! A line is a list of [`StateEntry`]s that belong together. It is written in one go and not flushed to the disk: it survives
//! the death of the process, which is what tests and `local` need, not that of the machine. A last line that was torn by
//! that death was never acknowledged and is dropped. The log is rewritten as one snapshot at each start and when it has
//! grown large.

use super::state::AzureState;
use super::tracked::StateEntry;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The first line; another one is another format.
const HEADER: &str = r#"{"simulated_azure_log":1}"#;
/// Bytes of changes that are appended at least before the log is written anew.
const APPENDED_BYTES_MIN: u64 = 1024 * 1024;

/// Reads a state file; an absent one is an Azure that holds nothing.
pub fn load(path: &Path) -> io::Result<AzureState> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text).map_err(|problem| unreadable(path, &problem)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(AzureState::default()),
        Err(error) => Err(unreadable(path, &error.to_string())),
    }
}

fn unreadable(path: &Path, problem: &str) -> io::Error {
    let path = path.display();
    io::Error::other(format!(
        "the state file {path} of the simulated Azure cannot be read: {problem}; delete it to start with an empty Azure"
    ))
}

fn parse(text: &str) -> Result<AzureState, String> {
    let mut state = AzureState::default();
    // The text after the last line break was torn.
    let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
    let mut lines = whole.lines();
    match lines.next() {
        None if text.is_empty() => return Ok(state),
        Some(HEADER) => (),
        _ => return Err("it is not a log of this version".to_owned()),
    }
    for (number, line) in (2..).zip(lines) {
        let wrong = |problem: String| format!("line {number}: {problem}");
        let entries: Vec<StateEntry> =
            serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        for (kind, key, value) in entries {
            state.restore(&kind, &key, value).map_err(|problem| wrong(format!("{kind}: {problem}")))?;
        }
    }
    Ok(state)
}

/// An open log.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    log: Option<File>,
    snapshot_bytes: u64,
    appended_bytes: u64,
}

impl StateFile {
    /// A log at that place. Nothing is written yet; the first [`StateFile::save`] writes a snapshot.
    pub const fn new(path: PathBuf) -> Self {
        Self { path, log: None, snapshot_bytes: 0, appended_bytes: 0 }
    }

    /// Writes what changed in the state since the last time. After an error the next one writes everything.
    pub fn save(&mut self, state: &mut AzureState) -> io::Result<()> {
        let changes = state.drain();
        let full = self.appended_bytes > APPENDED_BYTES_MIN.max(2 * self.snapshot_bytes);
        match self.log.take() {
            Some(_) if full => self.write_snapshot(state),
            None => self.write_snapshot(state),
            Some(log) if changes.is_empty() => {
                self.log = Some(log);
                Ok(())
            }
            Some(mut log) => {
                let line = line(&changes)?;
                log.write_all(&line)?;
                self.appended_bytes += line.len() as u64;
                self.log = Some(log);
                Ok(())
            }
        }
    }

    /// Puts a snapshot in the place of the log, so that a process killed at any moment leaves the old file or the new one.
    fn write_snapshot(&mut self, state: &mut AzureState) -> io::Result<()> {
        let mut temporary = self.path.as_os_str().to_owned();
        temporary.push(".tmp");
        let mut text = format!("{HEADER}\n").into_bytes();
        for entry in state.all() {
            text.extend(line(&[entry])?);
        }
        write_private(Path::new(&temporary), &text)?;
        std::fs::rename(&temporary, &self.path)?;
        self.log = Some(OpenOptions::new().append(true).open(&self.path)?);
        self.snapshot_bytes = text.len() as u64;
        self.appended_bytes = 0;
        Ok(())
    }
}

fn line(entries: &[StateEntry]) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(entries)?;
    line.push(b'\n');
    Ok(line)
}

/// The file holds the vault's secrets, so only its owner may read it.
fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    // A temporary file left by a killed process may be readable by others.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::arm::directory_principal::{DirectoryPrincipal, PrincipalType};
    use uuid::Uuid;

    struct Place {
        _folder: tempfile::TempDir,
        path: PathBuf,
    }

    fn place() -> Place {
        let folder = tempfile::tempdir().unwrap();
        Place { path: folder.path().join("azure.json"), _folder: folder }
    }

    fn add(state: &mut AzureState, number: u128) {
        let id = Uuid::from_u128(number);
        state.principals.insert(id, DirectoryPrincipal::new(id, PrincipalType::User));
    }

    #[test]
    fn a_change_costs_a_line_and_not_the_whole_state() {
        let place = place();
        let mut state = AzureState::default();
        let mut file = StateFile::new(place.path.clone());
        for number in 0..100 {
            add(&mut state, number);
        }
        file.save(&mut state).unwrap();
        let before = std::fs::read_to_string(&place.path).unwrap();

        add(&mut state, 100);
        file.save(&mut state).unwrap();
        state.principals.remove(&Uuid::from_u128(3));
        file.save(&mut state).unwrap();
        file.save(&mut state).unwrap();

        let after = std::fs::read_to_string(&place.path).unwrap();
        assert_eq!(after.strip_prefix(&before).unwrap().lines().count(), 2);
        let loaded = load(&place.path).unwrap();
        assert_eq!(*loaded.principals, *state.principals);
        assert_eq!(loaded.principals.len(), 100);
    }

    #[test]
    fn a_log_that_has_grown_is_written_anew() {
        let place = place();
        let mut state = AzureState::default();
        let mut file = StateFile::new(place.path.clone());
        file.save(&mut state).unwrap();
        let mut longest = 0;
        for _ in 0..12_000 {
            add(&mut state, 1);
            file.save(&mut state).unwrap();
            longest = longest.max(std::fs::metadata(&place.path).unwrap().len());
        }

        assert!(longest > APPENDED_BYTES_MIN, "it grew to {longest}");
        assert!(std::fs::metadata(&place.path).unwrap().len() < longest);
        assert_eq!(load(&place.path).unwrap().principals.len(), 1);
    }

    #[test]
    fn after_an_error_the_next_time_writes_everything() {
        let place = place();
        let folder = place.path.with_file_name("later");
        let mut state = AzureState::default();
        let mut file = StateFile::new(folder.join("azure.json"));
        add(&mut state, 1);
        assert!(file.save(&mut state).is_err());

        std::fs::create_dir(&folder).unwrap();
        add(&mut state, 2);
        file.save(&mut state).unwrap();

        assert_eq!(load(&folder.join("azure.json")).unwrap().principals.len(), 2);
    }

    #[test]
    fn a_torn_last_line_was_never_acknowledged() {
        let place = place();
        let mut state = AzureState::default();
        let mut file = StateFile::new(place.path.clone());
        file.save(&mut state).unwrap();
        add(&mut state, 1);
        file.save(&mut state).unwrap();
        let whole = std::fs::read(&place.path).unwrap();
        add(&mut state, 2);
        file.save(&mut state).unwrap();
        let all = std::fs::read(&place.path).unwrap();

        for end in whole.len()..all.len() {
            std::fs::write(&place.path, &all[..end]).unwrap();
            let mut loaded = load(&place.path).unwrap();
            assert_eq!(loaded.principals.len(), 1, "{end}");
            add(&mut loaded, 3);
            StateFile::new(place.path.clone()).save(&mut loaded).unwrap();
            assert_eq!(load(&place.path).unwrap().principals.len(), 2, "{end}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_what_is_wrong() {
        let place = place();
        let header = format!("{HEADER}\n");
        for (text, problem) in [
            (r#"{"assignments":{}}"#.to_owned(), "not a log of this version"),
            ("\n".to_owned(), "not a log of this version"),
            (format!("{header}nonsense\n[]\n"), "line 2"),
            (format!("{header}[]\n[[\"planets\",\"x\",null]]\n"), "line 3: planets"),
            (format!("{header}[[\"principals\",\"x\",null]]\n"), "line 2: principals"),
        ] {
            std::fs::write(&place.path, text).unwrap();
            let error = load(&place.path).unwrap_err().to_string();
            assert!(error.contains("azure.json") && error.contains(problem), "{error}");
            assert!(error.contains("delete it"), "{error}");
        }
    }
}
