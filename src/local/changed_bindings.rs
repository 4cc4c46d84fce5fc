//! Asks before a changed file takes roles away, or gives one to very many people.

use crate::app::BackupScim;
use crate::bindings::Bindings;
use crate::service::bindings::active::hash_of;
use crate::service::bindings::pending::{FilePlan, FileToPlan, plan_of_file};
use crate::store::StoreError;
use crate::store::settings::ActiveVersionRow;
use std::io::{self, BufRead, IsTerminal};

/// Why a changed file does not become active.
#[derive(Debug, thiserror::Error)]
pub enum ChangedBindingsError {
    #[error(
        "the bindings file changed, and {cause}; nothing was changed ({summary}). With --yes it becomes active; while the \
         file of before is active, `plan --bindings FILE` names each person"
    )]
    NotAgreed { cause: String, summary: String },
    #[error("cannot plan the changed bindings file")]
    Store(#[from] StoreError),
}

/// Returns where the file may become active: it is the first, it is the active one, its plan is harmless, or a person agreed.
pub(super) async fn confirm(
    service: &BackupScim,
    file: &[u8],
    bindings: &Bindings,
    yes: bool,
) -> Result<(), ChangedBindingsError> {
    let Some((cause, summary)) = question(service, file, bindings).await? else {
        return Ok(());
    };
    if yes || is_agreed(&cause, &summary) {
        return Ok(());
    }
    Err(ChangedBindingsError::NotAgreed { cause, summary })
}

/// Why a person must agree, and what would happen.
async fn question(
    service: &BackupScim,
    file: &[u8],
    bindings: &Bindings,
) -> Result<Option<(String, String)>, StoreError> {
    let pointer = service.store.pointer().await?;
    match &pointer {
        ActiveVersionRow::Absent => return Ok(None),
        ActiveVersionRow::Names(pointer) if pointer.hash == hash_of(file) => return Ok(None),
        ActiveVersionRow::Names(_) | ActiveVersionRow::Unreadable => {}
    }
    let active = service.active_bindings.read(&pointer).await?;
    let to_plan = FileToPlan { bindings: bindings.clone(), hash: hash_of(file) };
    let FilePlan { plan, wait, .. } = plan_of_file(&service.store, active, to_plan, None, &|_| {}).await?;
    let (revocations, grants) = plan.revocations_and_grants();
    let summary = format!("revocations {revocations}, grants {grants}, plan {}", plan.hash());
    Ok(wait.map(|cause| (cause.to_string(), summary)))
}

/// Asks a person, where one is at the terminal.
#[expect(clippy::print_stderr, reason = "a question to a person")]
fn is_agreed(cause: &str, summary: &str) -> bool {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return false;
    }
    eprint!("The bindings file changed: {cause}.\n  {summary}\nMake it active? [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
