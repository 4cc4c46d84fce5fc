//! What tests install below the target folder, once for all runs.

use azure_backup_scim::adapters::clock::SystemClock;
use azure_backup_scim::adapters::ids::RandomIds;
use azure_backup_scim::ports::ids::IdSource;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of that name. A process installs beside it, and the first one that is ready moves its own there.
pub fn installed(name: &str, install: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    let home = target.join(name);
    if !home.exists() {
        let random = RandomIds::new(Arc::new(SystemClock::new())).random().simple();
        let beside = target.join(format!("{name}-{random}"));
        std::fs::create_dir_all(&beside).unwrap();
        // Moving fails where another process was faster.
        let moved = install(&beside).map(|()| std::fs::rename(&beside, &home).is_ok());
        if moved != Ok(true) {
            std::fs::remove_dir_all(&beside).ok();
        }
        moved?;
    }
    home.exists().then_some(home).ok_or_else(|| format!("{name} cannot be moved into the target folder"))
}
