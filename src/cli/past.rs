//! What the commands about the past share: the moment that is meant, and the audit folded to a history.

use crate::cli::moment::parse_time;
use crate::cli::operator::{OperatorArguments, OperatorError};
use crate::cli::progress::Progress;
use crate::error_chain::escape_control;
use crate::service::access::report::history::AccessHistory;
use crate::store::StateStore;
use time::OffsetDateTime;

/// Records per read of the audit.
const PAGE_RECORDS: usize = 1000;

/// The moment that `--at` names.
pub(super) fn moment(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, OperatorError> {
    let time = parse_time(text, now).ok_or_else(|| {
        let shown = escape_control(text);
        OperatorError::Usage(format!(
            "--at {shown:?} is not a time; examples: 2026-11-25, 2026-11-25T12:00:00Z, 24h"
        ))
    })?;
    if time > now {
        return Err(OperatorError::Usage("--at is in the future".to_owned()));
    }
    Ok(time)
}

/// What to type to read of a person's past. `id`: a SCIM id, or an object id.
pub(super) fn lines_about_past(operator: &OperatorArguments, id: &str) -> String {
    let explain = operator.command_line(&format!("explain {id} --at 24h"));
    let audit = operator.command_line(&format!("audit --person {id} --since 365d"));
    format!("What was held before, and when it went:\n\n  {explain}\n  {audit}")
}

/// Folds the whole audit: what a moment was like can be confirmed by what came after it.
pub(super) async fn history(store: &StateStore) -> Result<AccessHistory, OperatorError> {
    let mut history = AccessHistory::default();
    let progress = Progress::begin("reading audit records", PAGE_RECORDS);
    let mut after: Option<String> = None;
    loop {
        let page = store.audit(after.as_deref(), PAGE_RECORDS).await?;
        let Some(last) = page.last().and_then(|record| record.get("op")?.as_str()) else { break };
        after = Some(last.to_owned());
        page.iter().for_each(|record| history.fold(record));
        progress.show(history.records());
    }
    progress.end();
    Ok(history)
}
