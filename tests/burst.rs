//! Nothing is missed (W3): bursts of new files in new nested folders, seen by bells alone.
//!
//! The driver below lists the folders that were rung for and nothing else. It scans everything
//! only when the bell says "everything", never at the end: a blind last scan would find what the
//! watcher missed, and the tests could not fail. They wait as long as files keep turning up and
//! assert no time.
//!
//! Planted faults: an explorer that does not go into the folders it finds; listing a folder before
//! watching it, together with no second look (either of the two alone still misses none).

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use recseal::daemon::watch::{Bell, Dirty, Watcher};
use recseal::domain::StorePath;
use recseal::intake::profile::Profile;
use recseal::intake::{Store, StoreSettings};

const FILES: usize = 5_000;

/// A daemon without a catalog: a bell, a watcher, and the set of paths it has seen.
struct Driver {
    _dir: tempfile::TempDir,
    store: Arc<Store>,
    bell: Arc<Bell>,
    watcher: Watcher,
    seen: HashSet<StorePath>,
    scans: u32,
}

impl Driver {
    fn start() -> Self {
        // In memory where that exists: faster writers are the harder test.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let root = dir.path().join("store");
        fs::create_dir(&root).unwrap();
        fs::create_dir(root.join("old")).unwrap();
        let profile = Profile::named("generic").unwrap();
        let store = Store::open(&root, profile, StoreSettings::default(), &[], None).unwrap();
        let (store, bell) = (Arc::new(store), Arc::new(Bell::default()));
        let watcher = Watcher::start(&[Arc::clone(&store)], Arc::clone(&bell)).unwrap();
        let mut driver = Self { _dir: dir, store, bell, watcher, seen: HashSet::new(), scans: 0 };
        // The first ring for everything says that the watches are in place.
        while driver.scans == 0 {
            assert!(driver.bell.wait_blocking(PATIENCE), "the watcher never got ready");
            driver.look();
        }
        driver.seen.clear();
        driver
    }

    fn root(&self) -> &Path {
        self.store.expose_root()
    }

    /// One turn of the daemon: take what was rung, look there.
    fn look(&mut self) {
        let seen = &mut self.seen;
        let mut take = |listing: recseal::intake::Listing| {
            seen.extend(listing.sightings.into_iter().map(|sighting| sighting.path));
            ControlFlow::Continue(())
        };
        match self.bell.take() {
            Dirty::All => {
                self.scans += 1;
                self.store.walk(&mut take).unwrap();
            }
            Dirty::Folders(folders) => {
                for (_, folder) in folders {
                    self.store.list(folder.as_ref(), &mut take).unwrap();
                }
            }
        }
    }

    /// Looks until all `expected` were seen, or until for `PATIENCE` there was nothing to hear.
    fn expect(&mut self, expected: &[StorePath]) {
        loop {
            let missed = expected.iter().filter(|path| !self.seen.contains(path)).count();
            if missed == 0 {
                return;
            }
            let heard = self.bell.wait_blocking(PATIENCE);
            assert!(
                heard,
                "missed {missed} of {}; {:?}, {} scans",
                expected.len(),
                self.watcher.stats(),
                self.scans
            );
            self.look();
        }
    }
}

/// Writes `FILES` files below `root` from several threads, `per_folder` in each new folder.
fn burst(root: &Path, threads: usize, per_folder: usize) -> Vec<StorePath> {
    let written = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let written = &written;
            scope.spawn(move || {
                let mut paths = Vec::new();
                for number in (thread..FILES).step_by(threads) {
                    let call = number / threads / per_folder;
                    let folder = format!("srv{thread}/2026/{:02}/{call:04}", call % 12);
                    fs::create_dir_all(root.join(&folder)).unwrap();
                    let path = format!("{folder}/{number:05}.wav");
                    fs::write(root.join(&path), [0x5a; 1_600]).unwrap();
                    paths.push(StorePath::new(path).unwrap());
                }
                written.lock().unwrap().append(&mut paths);
            });
        }
    });
    written.into_inner().unwrap()
}

fn none_is_missed(threads: usize, per_folder: usize) {
    let mut driver = Driver::start();
    let root = driver.root().to_owned();
    let writer = std::thread::spawn(move || burst(&root, threads, per_folder));
    while !writer.is_finished() {
        if driver.bell.wait_blocking(Duration::from_millis(20)) {
            driver.look();
        }
    }
    driver.expect(&writer.join().unwrap());
}

#[test]
fn one_writer_one_file_in_each_folder() {
    none_is_missed(1, 1);
}

#[test]
fn one_writer_ten_files_in_each_folder() {
    none_is_missed(1, 10);
}

#[test]
fn one_writer_a_hundred_files_in_each_folder() {
    none_is_missed(1, 100);
}

#[test]
fn four_writers_one_file_in_each_folder() {
    none_is_missed(4, 1);
}

#[test]
fn four_writers_ten_files_in_each_folder() {
    none_is_missed(4, 10);
}

#[test]
fn sixteen_writers_ten_files_in_each_folder() {
    none_is_missed(16, 10);
}

/// The daemon is busy while everything happens, and hears of it afterwards.
#[test]
fn a_slow_consumer_misses_none() {
    let mut driver = Driver::start();
    let written = burst(driver.root(), 4, 10);
    driver.expect(&written);
}

/// A whole tree comes by one rename, which is one event for its top.
#[test]
fn a_tree_moved_in_is_seen_to_its_leaves() {
    let mut driver = Driver::start();
    let outside = driver.root().parent().unwrap().join("outside");
    fs::create_dir(&outside).unwrap();
    let written = burst(&outside, 4, 10);
    fs::rename(&outside, driver.root().join("in")).unwrap();
    let moved: Vec<_> = written
        .iter()
        .map(|path| StorePath::join(StorePath::new("in").as_ref(), path.expose_bytes()).unwrap())
        .collect();
    driver.expect(&moved);
    // Then inside the store, and new files at the new place.
    fs::rename(driver.root().join("in"), driver.root().join("old/in")).unwrap();
    fs::write(driver.root().join("old/in/late.wav"), "x").unwrap();
    driver.expect(&[StorePath::new("old/in/late.wav").unwrap()]);
}

/// Folders made, filled, moved and removed while others are: names come again as other folders.
#[test]
fn names_that_come_again_are_seen_again() {
    let mut driver = Driver::start();
    let root = driver.root().to_owned();
    let writer = std::thread::spawn(move || {
        let mut last = Vec::new();
        for round in 0..200 {
            for folder in ["a", "b", "c"] {
                let here = root.join(folder).join("x/y");
                fs::create_dir_all(&here).unwrap();
                let path = format!("{folder}/x/y/{round}.wav");
                fs::write(root.join(&path), "x").unwrap();
                if round == 199 {
                    last.push(StorePath::new(path).unwrap());
                } else {
                    fs::rename(root.join(folder), root.join(format!("old/{folder}{round}")))
                        .unwrap();
                    last.push(
                        StorePath::new(format!("old/{folder}{round}/x/y/{round}.wav")).unwrap(),
                    );
                }
            }
        }
        last
    });
    let written = writer.join().unwrap();
    driver.expect(&written);
}

/// As long as this without a ring means that nothing more will come.
const PATIENCE: Duration = Duration::from_secs(30);
