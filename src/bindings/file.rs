//! Reading the file: no more of it than is needed to see that it is too long.

use super::model::FILE_BYTES_MAX;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The bytes of a file, at most one more than [`FILE_BYTES_MAX`]: whatever has no end (a device) ends there, and is refused
/// for its length.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn what_has_no_end_ends_after_one_byte_too_many() {
        assert_eq!(read(Path::new("/dev/zero")).unwrap().len(), FILE_BYTES_MAX + 1);
    }
}
