//! Reads that do not wait for one another.

use futures_util::{StreamExt, TryStreamExt, stream};

/// Point reads that are under way together for one piece of work.
const READS_AT_ONCE: usize = 128;

/// The results of the reads, in order.
pub(super) async fn join_reads<T, E, F>(reads: impl IntoIterator<Item = F>) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<T, E>>,
{
    stream::iter(reads.into_iter().collect::<Vec<_>>()).buffered(READS_AT_ONCE).try_collect().await
}
