//! The positions of the stages of the last tick: stored, because no process is the only one.

use crate::events::log_event;
use crate::ports::tables::{TableAnswer, TableRow, TableWrite};
use crate::store::codec::{RowFields, RowReader};
use crate::store::reconcile_queue::QueuePosition;
use crate::store::{StateStore, StoreError, keys};

/// Where each stage of the last tick stopped, as the key of the last row that it dealt with; empty where it came to the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TickCursors {
    /// Among the hints of those from whom something was taken.
    pub leavers: QueuePosition,
    /// Among the hints of those whom other bindings concern.
    pub rebindings: QueuePosition,
    /// Among those who only gain.
    pub gains: QueuePosition,
    /// Among the requests of later that are due.
    pub due: QueuePosition,
    pub jobs: QueuePosition,
    pub groups: QueuePosition,
    /// Among the requests of now, in the search for those without a hint.
    pub requests: QueuePosition,
    /// Among the requests of later, in the same search.
    pub requests_later: QueuePosition,
}

impl TickCursors {
    /// A position among other rows was written by an earlier release, and means the beginning.
    fn forget_other_ranges(&mut self) {
        for place in [&mut self.leavers, &mut self.rebindings] {
            if !place.as_str().starts_with(keys::HINTS) {
                *place = QueuePosition::default();
            }
        }
    }

    fn places(&mut self) -> [(&'static str, &mut QueuePosition); 8] {
        [
            ("leaving_after", &mut self.leavers),
            ("moving_after", &mut self.rebindings),
            ("gaining_after", &mut self.gains),
            ("due_after", &mut self.due),
            ("jobs_after", &mut self.jobs),
            ("groups_after", &mut self.groups),
            ("marks_after", &mut self.requests),
            ("later_after", &mut self.requests_later),
        ]
    }

    fn read(row: &TableRow) -> Result<Self, StoreError> {
        let reader = RowReader::new(row)?;
        let mut cursors = Self::default();
        for (name, place) in cursors.places() {
            *place = QueuePosition::behind(reader.text_opt(name)?.unwrap_or_default());
        }
        Ok(cursors)
    }
}

impl StateStore {
    /// Where the last tick stopped, with the service's clock; the beginning, where that cannot be understood.
    pub async fn cursors(&self) -> Result<TableAnswer<TickCursors>, StoreError> {
        let TableAnswer { value, date } = self.read(&keys::setting("tick")).await?;
        let read = value.as_ref().map(TickCursors::read).transpose();
        let mut value = read.unwrap_or_else(|error| {
            log_event!(RowUnreadable, error = %error, "the positions of the tick cannot be read: it starts over");
            None
        });
        if let Some(cursors) = &mut value {
            cursors.forget_other_ranges();
        }
        Ok(TableAnswer { value: value.unwrap_or_default(), date })
    }

    /// The last write wins: a wrong position changes the order and omits no person.
    pub async fn leave_cursors(&self, cursors: &TickCursors) -> Result<(), StoreError> {
        let mut cursors = cursors.clone();
        let places = cursors.places();
        let fields = places
            .into_iter()
            .fold(RowFields::row(), |fields, (name, place)| fields.text(name, place.as_str()));
        let properties = fields.done();
        self.transact_unjournaled(&[TableWrite::InsertOrReplace { key: keys::setting("tick"), properties }])
            .await?;
        Ok(())
    }
}
