//! Group commit: one thread takes all waiting transactions, executes them together and flushes once.
//!
//! While a flush runs, the next group gathers. A caller waits for its own answer without holding a thread.

use super::row_store::{RowStoreError, TransactionOutcome, TransactionRequest};
use crate::ports::tables::TableError;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Transactions that may wait for the thread. Beyond it the table answers that it is busy.
const WAITING_MAX: usize = 4096;
/// Transactions of one flush.
const GROUP_MAX: usize = 256;
/// The wait that a caller gets when too many are waiting.
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// Carries out a group and answers for each request, in order. An error is the outcome of all of them.
type Commit = dyn Fn(&[TransactionRequest]) -> Result<Vec<TransactionOutcome>, RowStoreError> + Send;

struct Waiting {
    request: TransactionRequest,
    answer: oneshot::Sender<TransactionOutcome>,
}

/// The thread and the way to it. Dropping it waits until everything accepted is carried out.
pub(super) struct GroupCommitWriter {
    queue: Option<SyncSender<Waiting>>,
    thread: Option<JoinHandle<()>>,
}

impl GroupCommitWriter {
    pub fn start(
        commit: impl Fn(&[TransactionRequest]) -> Result<Vec<TransactionOutcome>, RowStoreError> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, waiting) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("table-writer".to_owned())
            .spawn(move || run(&waiting, &commit))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// A transaction that was accepted is carried out even if its caller stops waiting.
    pub async fn transact(&self, request: TransactionRequest) -> TransactionOutcome {
        let (answer, answered) = oneshot::channel();
        let sent = self.queue.as_ref().map(|queue| queue.try_send(Waiting { request, answer }));
        match sent {
            Some(Ok(())) => answered.await.unwrap_or_else(|_| Err(stopped())),
            Some(Err(TrySendError::Full(_))) => Err(TableError::Throttled { retry_after: BUSY_WAIT }),
            Some(Err(TrySendError::Disconnected(_))) | None => Err(stopped()),
        }
    }
}

impl Drop for GroupCommitWriter {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // If the thread panicked, its callers already have an answer: their channels closed.
            let _ = thread.join();
        }
    }
}

fn stopped() -> TableError {
    TableError::Unknown { detail: "the writer of the table file has stopped".to_owned() }
}

fn run(waiting: &Receiver<Waiting>, commit: &Commit) {
    while let Ok(first) = waiting.recv() {
        // The callers answered last are about to ask again: let them join this flush.
        std::thread::yield_now();
        let mut requests = Vec::new();
        let mut answers = Vec::new();
        for Waiting { request, answer } in std::iter::once(first).chain(waiting.try_iter()).take(GROUP_MAX) {
            requests.push(request);
            answers.push(answer);
        }
        answer_all(answers, commit(&requests));
    }
}

fn answer_all(
    answers: Vec<oneshot::Sender<TransactionOutcome>>,
    committed: Result<Vec<TransactionOutcome>, RowStoreError>,
) {
    match committed {
        Ok(outcomes) => {
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // The caller may have stopped waiting.
                let _ = answer.send(outcome);
            }
        }
        Err(error) => {
            let detail = error.unknown().to_string();
            for answer in answers {
                let _ = answer.send(Err(TableError::Unknown { detail: detail.clone() }));
            }
        }
    }
}
