//! The key of the cursors that lists are walked with: one for the installation, so that every process takes what another gave.

use crate::ports::tables::{TableRow, TableWrite};
use crate::store::codec::{RowFields, RowReader};
use crate::store::{StateStore, StoreError, keys};
use sha2::{Digest, Sha256};

/// The name of the row among the settings.
const NAME: &str = "cursor-key";

/// What cursors are sealed with. A secret: it is printed nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct CursorKey([u8; 32]);

impl CursorKey {
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl StateStore {
    /// The key of the cursors: made by the process that needs it first, read afterwards.
    pub async fn cursor_key(&self) -> Result<CursorKey, StoreError> {
        let key = keys::setting(NAME);
        if let Some(row) = self.get(&key).await? {
            return read(&row);
        }
        let made = self.random_key();
        let properties = RowFields::row().bytes("k", made.bytes()).done();
        match self.transact_unjournaled(&[TableWrite::Insert { key: key.clone(), properties }]).await {
            Ok(_) => Ok(made),
            // Another process was faster, or the answer was lost.
            Err(error) => match self.get(&key).await? {
                Some(row) => read(&row),
                None => Err(error),
            },
        }
    }

    /// Of three random ids, each of which has 122 random bits.
    fn random_key(&self) -> CursorKey {
        let mut digest = Sha256::new();
        (0..3).for_each(|_| digest.update(self.ids.random().as_bytes()));
        CursorKey(digest.finalize().into())
    }
}

fn read(row: &TableRow) -> Result<CursorKey, StoreError> {
    let reader = RowReader::new(row)?;
    let bytes = reader.bytes("k")?;
    let bytes = bytes.as_ref().try_into().map_err(|_| reader.corrupt("k"))?;
    Ok(CursorKey(bytes))
}
