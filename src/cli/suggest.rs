//! What a text may have meant that means nothing exactly: the people, or the groups, with its words in their names.

use crate::error_chain::escape_control;
use crate::store::named_like::NamedLike;
use crate::store::users::HeaderState;
use crate::store::{StateStore, StoreError};
use std::fmt::Display;

/// Lines to add to the mistake; empty where there are none like it.
pub(super) async fn people_like(store: &StateStore, text: &str) -> Result<String, StoreError> {
    let found = store.users_named_like(text).await?;
    let mut lines = Vec::new();
    for (user, name) in &found.told {
        let is_gone = matches!(store.person(*user).await?, HeaderState::Gone);
        lines.push(line(user, name, if is_gone { "  (deleted)" } else { "" }));
    }
    Ok(in_words("people", lines, &found))
}

/// The same of groups.
pub(super) async fn groups_like(store: &StateStore, text: &str) -> Result<String, StoreError> {
    let found = store.groups_named_like(text).await?;
    let lines = found.told.iter().map(|(group, name)| line(group, name, "")).collect();
    Ok(in_words("groups", lines, &found))
}

fn line(id: impl Display, name: &str, state: &str) -> String {
    format!("\n  {id}  {}{state}", escape_control(name))
}

fn in_words<I>(what: &str, lines: Vec<String>, found: &NamedLike<I>) -> String {
    let unread = if found.is_cut() { "; not all names were read" } else { "" };
    let more = match found.more {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    match lines.is_empty() {
        true => unread.to_owned(),
        false => format!("; {what} with it in their names{unread}:{}{more}", lines.concat()),
    }
}
