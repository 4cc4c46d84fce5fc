//! The reconcile queue: `d:` requests of now, `w:` requests of later, `dg:` requests of a whole group. A request carries no
//! data to act on.
//!
//! A request that takes something away is written together with the hint `dl:` ([`leaver_hints`]), so that leavers are found
//! without reading every request. Every function here that writes such a request writes both.

mod enqueue;
mod group_fan_out;
pub mod leaver_hints;
mod missing_hints;
mod operations;
mod promote;
mod queue_item;
mod request;

pub use enqueue::{
    RequestPages, complete, enqueue_again, enqueue_at, enqueue_decided, enqueue_first, enqueue_group,
    enqueue_member, enqueue_now, touch,
};
pub use group_fan_out::{FanOutPage, GroupTurn};
pub use operations::OperationsSince;
pub use queue_item::{QueueItem, QueuePage, QueuePosition, RowIdentity};
pub use request::{DueRequest, Priority, QueuedRequest, ReconcileRequest};
