//! Two releases alive at once on one table: the processes are upgraded one after the other while clients go on, then rolled back.
//! `tests/upgrade.sh` builds the older release and names its program in `OLDER_PROGRAM`.

use super::{Flex, Restarts, assert_nothing_is_lost};
use crate::support::cloud::PROGRAM;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// When a process runs the newer release, as shares of the whole time: the timer in the middle, so that either release ticks over
/// what the other one wrote, and at the end the older one is alone again.
const UPGRADED: [(f64, f64); 3] = [(0.15, 0.85), (0.45, 0.6), (0.3, 0.75)];

/// A link for each process, to the program that it starts next.
struct Releases {
    links: [PathBuf; 3],
    older: PathBuf,
    /// Starts of the older and of the newer release under traffic.
    starts: [AtomicUsize; 2],
    _folder: TempDir,
}

impl Releases {
    fn new(older: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let links = ["first", "second", "timer"].map(|name| folder.path().join(name));
        links.iter().for_each(|link| symlink(older, link).unwrap());
        Self { links, older: older.to_owned(), starts: Default::default(), _folder: folder }
    }
}

impl Restarts for Releases {
    fn before(&self, turn: usize, share: f64) {
        let (from, to) = UPGRADED[turn];
        let is_newer = (from..to).contains(&share);
        let program = if is_newer { Path::new(PROGRAM) } else { &self.older };
        fs::remove_file(&self.links[turn]).unwrap();
        symlink(program, &self.links[turn]).unwrap();
        self.starts[usize::from(is_newer)].fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
#[ignore = "needs the program of an older release, which tests/upgrade.sh builds"]
fn an_upgrade_and_a_rollback_under_traffic_lose_nothing() {
    let older = std::env::var_os("OLDER_PROGRAM").map(PathBuf::from).expect("OLDER_PROGRAM is set");
    let releases = Releases::new(&older);
    let flex = Flex::start_programs(releases.links.each_ref().map(PathBuf::as_path));
    assert_nothing_is_lost(flex, &releases);
    let [older, newer] = releases.starts.each_ref().map(|starts| starts.load(Ordering::SeqCst));
    println!("{older} starts of the older release, {newer} of the newer one");
    assert!(older > 2 && newer > 2, "too short to upgrade and roll back");
}
