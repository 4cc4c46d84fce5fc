//! Whether the identity provider's list equals ours, and ours Azure's. `assigned` reads the provider's list from Entra ID,
//! `gather` reads ours, `compare` judges both and reads nothing.

pub mod assigned;
pub mod compare;
pub mod difference;
pub mod gather;
mod group_pairs;
pub mod lists;
mod person_matches;

#[cfg(test)]
mod tests;
