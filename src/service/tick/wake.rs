//! `w:` rows whose time has come become `d:`, many in one transaction.

use super::Tick;
use super::look::Round;
use crate::id::UserId;
use crate::ports::tables::{Match, Row, Write};
use crate::store::marks::{self, Look};
use crate::store::{StoreError, hints, keys};
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// Looks that one tick wakes; revocations are not counted, they are all woken.
const WAKES_MAX: usize = 5000;
/// Looks of one transaction: at most three rows each.
const WAKES_AT_ONCE: usize = 32;

/// A look whose time has come.
struct Due {
    row: Row,
    look: Look,
}

impl Due {
    fn gone(&self) -> Write {
        Write::Delete { key: self.row.key.clone(), condition: Match::Exact(self.row.etag.clone()) }
    }

    /// The look becomes one of now, as a new mark or over one that is `there`.
    fn writes(&self, there: bool) -> Vec<Write> {
        let Look { user, mark, .. } = &self.look;
        let mut writes = vec![marks::wake(*user, mark, there, &self.row.key), self.gone()];
        writes.extend(mark.taken_away.then(|| hints::is_due(*user, mark)));
        writes
    }
}

impl Tick {
    /// Every `w:` that is due becomes `d:`, revocations first.
    pub(super) async fn wake(&self, round: &mut Round, now: OffsetDateTime) -> Result<(), StoreError> {
        let mut due = self.due(now).await?;
        due.sort_by_key(|due| (!due.look.mark.left, !due.look.mark.taken_away));
        for part in due.chunks(WAKES_AT_ONCE) {
            if self.over(round) {
                return Ok(());
            }
            self.wake_part(part).await?;
        }
        Ok(())
    }

    async fn due(&self, now: OffsetDateTime) -> Result<Vec<Due>, StoreError> {
        let (from, _) = keys::range_of("w:");
        let mut pages = self.store().pages(from, format!("w:{};", keys::stamp(now)));
        let (mut due, mut others) = (Vec::new(), 0);
        while let Some(rows) = pages.next().await? {
            for row in rows {
                if self.is_aside(&row) {
                    continue;
                }
                match Look::read(&row) {
                    Ok(look) if look.mark.taken_away => due.push(Due { row, look }),
                    Ok(look) if others < WAKES_MAX => {
                        others += 1;
                        due.push(Due { row, look });
                    }
                    Ok(_) => {}
                    Err(error) => self.conclude("a mark", &row, Err(error)),
                }
            }
        }
        Ok(due)
    }

    /// All at once where nobody among them is marked already, else one by one.
    async fn wake_part(&self, part: &[Due]) -> Result<(), StoreError> {
        let users: BTreeSet<UserId> = part.iter().map(|due| due.look.user).collect();
        if users.len() == part.len() {
            let writes: Vec<Write> = part.iter().flat_map(|due| due.writes(false)).collect();
            match self.store().move_looking(&writes).await {
                Err(StoreError::Conflict { .. }) => {}
                other => return other.map(|_| ()),
            }
        }
        for due in part {
            self.wake_one(due).await?;
        }
        Ok(())
    }

    async fn wake_one(&self, due: &Due) -> Result<(), StoreError> {
        match self.store().move_looking(&due.writes(false)).await {
            Err(StoreError::Conflict { index: 0, .. }) => {}
            Err(StoreError::Conflict { .. }) => return Ok(()),
            other => return other.map(|_| ()),
        }
        match self.store().move_looking(&due.writes(true)).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
