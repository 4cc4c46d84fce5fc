//! The state folder of `local`: the embedded store, the simulated Azure's state and the bearer token.

use crate::app::{RandomIds, SystemClock};
use crate::ports::ids::Ids;
use crate::service::tokens::TokenSet;
use secrecy::SecretString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot use {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} holds no token of 32 characters or more; delete it to have a new one made")]
    Token { path: PathBuf },
}

/// An open state folder.
pub struct State {
    folder: PathBuf,
    token: String,
    tokens: TokenSet,
}

impl State {
    /// Makes the folder and the token where they are not there yet.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| StateError::Io { path, source }
        };
        make_folder(folder).map_err(io(folder))?;
        let path = folder.join("token");
        let token = match fs::read_to_string(&path) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_token(&path).map_err(io(&path))?,
            Err(error) => return Err(io(&path)(error)),
        };
        let tokens = TokenSet::new([("local".to_owned(), SecretString::from(token.clone()))]);
        let tokens = tokens.map_err(|_| StateError::Token { path })?;
        Ok(Self { folder: folder.to_path_buf(), token, tokens })
    }

    /// The embedded store.
    pub fn tables_file(&self) -> PathBuf {
        self.folder.join("tables.redb")
    }

    /// The simulated Azure's state.
    pub fn azure_file(&self) -> PathBuf {
        self.folder.join("azure.json")
    }

    /// What callers must show.
    pub fn into_tokens(self) -> TokenSet {
        self.tokens
    }

    /// The token for the person at the terminal.
    pub fn token_text(&self) -> String {
        self.token.clone()
    }
}

/// Names and addresses of people stand in it: it is for its owner only.
fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn make_token(path: &Path) -> io::Result<String> {
    let ids = RandomIds::new(Arc::new(SystemClock::new()));
    let token = format!("{}{}", ids.random().as_simple(), ids.random().as_simple());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(token.as_bytes())?;
    Ok(token)
}
