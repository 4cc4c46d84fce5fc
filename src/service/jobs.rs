use crate::id::OpId;
use crate::ports::tables::Write;
use crate::store::marks::Mark;
pub enum JobKind {
    Snapshot { before: String, after: String },
}
pub fn insert(_op: OpId, _k: &JobKind, _m: &Mark) -> Write {
    todo!()
}
