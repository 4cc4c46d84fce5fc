//! `w:` rows whose time has come become `d:`, many in one transaction.

use super::Tick;
use super::look::Round;
use crate::id::UserId;
use crate::ports::tables::{Match, Row, Write};
use crate::store::codec::Fields;
use crate::store::marks::Look;
use crate::store::{StoreError, keys};
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// Looks that one tick wakes; revocations are not counted, they are all woken.
const WAKES_MAX: usize = 5000;
/// Looks of one transaction: two rows each.
const WAKES_AT_ONCE: usize = 48;

/// A look whose time has come.
struct Due {
    row: Row,
    look: Look,
}

impl Due {
    fn insert(&self) -> Write {
        Write::Insert { key: keys::look_now(self.look.user), properties: self.look.mark.fields().done() }
    }

    fn gone(&self) -> Write {
        Write::Delete { key: self.row.key.clone(), condition: Match::Exact(self.row.etag.clone()) }
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
            let writes: Vec<Write> = part.iter().flat_map(|due| [due.insert(), due.gone()]).collect();
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
        match self.store().move_looking(&[due.insert(), due.gone()]).await {
            Err(StoreError::Conflict { index: 0, .. }) => {}
            Err(StoreError::Conflict { .. }) => return Ok(()),
            other => return other.map(|_| ()),
        }
        let touched = Fields::some().text("woken", due.row.key.clone());
        let key = keys::look_now(due.look.user);
        let touch =
            Write::Merge { key, properties: due.look.mark.haste(touched).done(), condition: Match::Any };
        match self.store().move_looking(&[touch, due.gone()]).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
