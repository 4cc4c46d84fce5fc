use crate::id::OpId;
use crate::ports::tables::Write;
use crate::store::marks::Mark;
pub enum JobKind {
    Snapshot { before: String, after: String },
}
pub fn insert(_op: OpId, _k: &JobKind, _m: &Mark) -> Write {
    todo!()
}
pub struct Rolled { pub people: Vec<crate::id::UserId>, pub done: bool }
pub async fn roll_chunk(_s: &crate::store::Store, _j: OpId) -> Result<Rolled, crate::store::StoreError> { todo!() }
