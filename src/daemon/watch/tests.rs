//! The bell by itself, and the watcher on real folders; bursts are in `tests/burst.rs`.

use std::fs;

use super::*;
use crate::intake::StoreSettings;
use crate::intake::profile::Profile;

fn store(root: &Path, settings: StoreSettings) -> Arc<Store> {
    let profile = Profile::named("generic").unwrap();
    Arc::new(Store::open(root, profile, settings, &[], None).unwrap())
}

fn path(text: &str) -> StorePath {
    StorePath::new(text).unwrap()
}

#[test]
fn a_bell_is_a_set_and_too_many_folders_are_everything() {
    let (bell, id) = (Bell::default(), StoreId::new());
    assert!(!bell.wait_blocking(Duration::ZERO));
    for _ in 0..3 {
        bell.ring_folder(id, Some(path("a")));
    }
    assert!(bell.wait_blocking(Duration::ZERO));
    assert_eq!(bell.take(), Dirty::Folders(vec![(id, Some(path("a")))]));
    assert_eq!(bell.take(), Dirty::Folders(vec![]));
    for number in 0..=Bell::FOLDERS_MAX {
        bell.ring_folder(id, Some(path(&number.to_string())));
    }
    assert_eq!(bell.take(), Dirty::All);
}

/// Planted fault: `notified` without the look before it loses the ring that came first.
#[test]
fn a_ring_before_the_wait_is_heard() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let bell = Arc::new(Bell::default());
        bell.ring();
        bell.wait(FOREVER).await;
        assert_eq!(bell.take(), Dirty::All);
        let ringer = Arc::clone(&bell);
        let thread = std::thread::spawn(move || ringer.ring());
        bell.wait(FOREVER).await;
        assert_eq!(bell.take(), Dirty::All);
        thread.join().unwrap();
    });
}

/// The handler is held up while the kernel's queue runs over: that must end in "everything".
/// Planted fault: without the look at the rescan flag nobody hears of the later files.
#[test]
fn an_overflow_of_the_kernels_queue_rings_for_everything() {
    let dir = tempfile::tempdir().unwrap();
    let bell = Arc::new(Bell::default());
    let stores = [store(dir.path(), StoreSettings::default())];
    let watcher = Watcher::start(&stores, Arc::clone(&bell)).unwrap();
    assert!(bell.wait_blocking(FOREVER), "the watches are in place");
    assert_eq!(bell.take(), Dirty::All);
    let held = bell.lock();
    let queue: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    // Three events each: made, opened, closed.
    for number in 0..queue / 2 {
        fs::write(dir.path().join(number.to_string()), "").unwrap();
    }
    drop(held);
    while bell.take() != Dirty::All {
        assert!(bell.wait_blocking(FOREVER), "{watcher:?}");
    }
    assert!(watcher.stats().overflows > 0);
}

#[test]
fn watches_are_counted_as_folders_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    for folder in ["a/b/c", "a-x", "d"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let bell = Arc::new(Bell::default());
    let stores = [store(&root, StoreSettings::default())];
    let watcher = Watcher::start(&stores, Arc::clone(&bell)).unwrap();
    let settles_at = |watches: u64| {
        let looks = std::iter::repeat_with(|| watcher.stats().watches);
        looks.take(3_000).any(|found| {
            bell.wait_blocking(Duration::from_millis(10));
            bell.take();
            found == watches
        })
    };
    assert!(settles_at(6), "{watcher:?}");
    fs::rename(root.join("a"), dir.path().join("away")).unwrap();
    assert!(settles_at(3), "the root, `a-x` and `d` are left: {watcher:?}");
    fs::create_dir(root.join("d/e")).unwrap();
    assert!(settles_at(4), "{watcher:?}");
    fs::remove_dir(root.join("d/e")).unwrap();
    assert!(settles_at(3), "{watcher:?}");
}

#[test]
fn a_polled_store_gets_no_watches() {
    let dir = tempfile::tempdir().unwrap();
    let settings =
        StoreSettings { poll: crate::intake::PollChoice::Always, ..StoreSettings::default() };
    let bell = Arc::new(Bell::default());
    let watcher = Watcher::start(&[store(dir.path(), settings)], Arc::clone(&bell)).unwrap();
    assert!(bell.wait_blocking(FOREVER));
    assert_eq!(watcher.stats(), WatchStats::default());
}

/// A root that is lost and made anew is watched again once its store is.
#[test]
fn a_store_that_came_back_is_watched_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    fs::create_dir(&root).unwrap();
    let bell = Arc::new(Bell::default());
    let first = store(&root, StoreSettings::default());
    let watcher = Watcher::start(&[first], Arc::clone(&bell)).unwrap();
    assert!(bell.wait_blocking(FOREVER));
    bell.take();
    fs::rename(&root, dir.path().join("away")).unwrap();
    assert!(bell.wait_blocking(FOREVER), "the loss is heard");
    fs::create_dir(&root).unwrap();
    let again = store(&root, StoreSettings::default());
    watcher.add(&again);
    let news = (again.id(), Some(path("new")));
    // Until the new watch is in place a write may go unheard, so write until one is heard.
    for number in 0.. {
        fs::create_dir_all(root.join("new")).unwrap();
        fs::write(root.join(format!("new/{number}")), "x").unwrap();
        bell.wait_blocking(Duration::from_millis(50));
        if matches!(bell.take(), Dirty::Folders(folders) if folders.contains(&news)) {
            return;
        }
        assert!(number < 600, "{watcher:?}");
    }
}

/// Seen once in a burst: the explorer looked for the end, then took the ring that announced it,
/// and slept on. The window is too narrow to be hit at will (the fault planted again was not
/// caught), so the order in `run` carries a comment, and this only catches a drop that never ends.
#[test]
fn dropping_ends_the_threads_whatever_they_are_doing() {
    let dir = tempfile::tempdir().unwrap();
    let stores = [store(dir.path(), StoreSettings::default())];
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for round in 0..100 {
            let bell = Arc::new(Bell::default());
            let watcher = Watcher::start(&stores, Arc::clone(&bell)).unwrap();
            for _ in 0..round {
                watcher.shared.new_folders.ring();
            }
            drop(watcher);
        }
        done.send(()).unwrap();
    });
    assert!(is_done.recv_timeout(FOREVER).is_ok(), "a drop never came back");
}

/// Long enough on any machine; a test that needs it has failed.
const FOREVER: Duration = Duration::from_secs(30);
