//! The search for marks that take away and have no hint: such as an earlier release wrote. A few pages of all marks in each
//! tick, from where the last one stopped, beside the hints of the same people.

use super::Tick;
use super::round::Round;
use crate::id::UserId;
use crate::ports::tables::{PAGE_ROWS_MAX, Row, Write};
use crate::store::hints::{self, Hint, Waiting};
use crate::store::marks::Look;
use crate::store::{StoreError, keys};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeSet;

/// Marks that one tick reads, of each kind.
const ROWS_MAX: usize = 5 * PAGE_ROWS_MAX;
/// Hints that are read side by side.
const READS_AT_ONCE: usize = 16;
/// Hints of one transaction.
const WRITES_MAX: usize = 90;

impl Tick {
    /// Answers whether a hint was missing.
    pub(super) async fn give_hints(&self, round: &mut Round) -> Result<bool, StoreError> {
        let now = self.marks_of_now(round).await?;
        let later = self.marks_of_later(round).await?;
        for part in [now.as_slice(), later.as_slice()].concat().chunks(WRITES_MAX) {
            self.store().move_looking(part).await?;
        }
        Ok(!now.is_empty() || !later.is_empty())
    }

    /// Both are sorted by person, so the hints of a stretch are a stretch too.
    async fn marks_of_now(&self, round: &mut Round) -> Result<Vec<Write>, StoreError> {
        let rows = self.stretch("d:", &mut round.cursors.marks).await?;
        let looks: Vec<Look> = rows.iter().filter_map(taking).collect();
        let (Some(first), Some(last)) = (looks.first(), looks.last()) else { return Ok(Vec::new()) };
        let (from, to) = (keys::hint(first.user), format!("{}!", keys::hint(last.user)));
        let mut hinted: BTreeSet<UserId> = BTreeSet::new();
        let mut pages = self.store().pages(from, to);
        while let Some(rows) = pages.next().await? {
            hinted.extend(rows.iter().filter_map(|row| Hint::read(row).ok()).map(|hint| hint.user));
        }
        let missing = looks.iter().filter(|look| !hinted.contains(&look.user));
        Ok(missing.map(|look| hints::look_now(look.user, &look.mark)).collect())
    }

    async fn marks_of_later(&self, round: &mut Round) -> Result<Vec<Write>, StoreError> {
        let rows = self.stretch("w:", &mut round.cursors.later).await?;
        let looks = rows.iter().filter_map(|row| Some((keys::time_of_look_later(&row.key)?, taking(row)?)));
        let missing = |(at, look): (time::OffsetDateTime, Look)| async move {
            let hint = self.store().get(&keys::hint(look.user)).await?;
            let is_there = hint.is_some_and(|row| Hint::read(&row).is_ok());
            let waiting = Waiting { wished: look.mark.origin.op.time(), ..Waiting::default() };
            let write = || hints::look_later(at, look.user, &look.mark, &waiting);
            Ok::<_, StoreError>((!is_there).then(write))
        };
        let looks: Vec<_> = looks.map(missing).collect();
        let writes: Vec<Option<Write>> = stream::iter(looks).buffered(READS_AT_ONCE).try_collect().await?;
        // Somebody with two looks later needs one hint, for the first of them.
        let mut people = BTreeSet::new();
        Ok(writes.into_iter().flatten().filter(|write| people.insert(write.key().to_owned())).collect())
    }

    /// The next rows of a range. The place goes on, and back to the beginning from the end.
    async fn stretch(&self, prefix: &str, place: &mut String) -> Result<Vec<Row>, StoreError> {
        let (from, to) = keys::range_of(prefix);
        let from = if place.is_empty() { from } else { format!("{place}!") };
        let rows = self.store().rows_between(from, to, ROWS_MAX).await?;
        let last = rows.last().map(|row| row.key.clone()).filter(|_| rows.len() >= ROWS_MAX);
        *place = last.unwrap_or_default();
        Ok(rows)
    }
}

/// A mark that takes away. What cannot be read is set aside where it is looked at.
fn taking(row: &Row) -> Option<Look> {
    Look::read(row).ok().filter(|look| look.mark.taken_away)
}
