//! The bell: which folders may have news.
//!
//! ```text
//! inotify ─▶ handler ─▶ Bell "news" (a set of folders) ─────────▶ whoever lists folders
//!               └─────▶ Bell "new folders" ─▶ explorer thread ─▶ watch it, then look for
//!                                              folders in it, then ring "news" for it
//! ```
//!
//! Events carry no facts into the program, only "look there". `notify` alone misses files in new
//! folders, because it watches them late and says nothing of what it finds; so recursion is ours,
//! in the one order that has no gap: **watch, then list**. Whatever came into being before the
//! watch is listed, whatever came after makes an event. New folders get the same once more a
//! second later, because a tree that is renamed while it is explored can lose a watch.
//!
//! Whatever cannot be told exactly (kernel queue overflow, no more watches, too many folders at
//! once) becomes "everything". The reconcile scan on the daemon's timer stays the truth.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::event::{
    AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RemoveKind, RenameMode,
};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::daemon::task::Ring;
use crate::domain::{StoreId, StorePath};
use crate::intake::{Store, WatchMode};

/// One folder of one store; `None` is its root.
pub type Folder = (StoreId, Option<StorePath>);

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dirty {
    /// Everywhere.
    All,
    /// In these folders, not below them; may be empty.
    Folders(Vec<Folder>),
}

/// A set of folders to look at, bounded: above [`Bell::FOLDERS_MAX`] it means everything.
///
/// Rung by anybody, emptied by one. Ringing never waits longer than another ring takes.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<Rung>,
    rang: Condvar,
    rang_async: Notify,
}

#[derive(Debug, Default)]
struct Rung {
    everything: bool,
    folders: BTreeSet<Folder>,
}

impl Bell {
    /// Most folders that are told apart.
    pub const FOLDERS_MAX: usize = 10_000;

    /// Look everywhere.
    pub fn ring(&self) {
        let mut rung = self.lock();
        rung.everything = true;
        rung.folders.clear();
        self.wake(rung);
    }

    /// Look in one folder.
    pub fn ring_folder(&self, store: StoreId, folder: Option<StorePath>) {
        let mut rung = self.lock();
        if rung.everything {
            return;
        }
        rung.folders.insert((store, folder));
        if rung.folders.len() > Self::FOLDERS_MAX {
            rung.everything = true;
            rung.folders.clear();
        }
        self.wake(rung);
    }

    /// What was rung since the last time. Look after taking, never before.
    pub fn take(&self) -> Dirty {
        match std::mem::take(&mut *self.lock()) {
            Rung { everything: true, .. } => Dirty::All,
            Rung { folders, .. } => Dirty::Folders(folders.into_iter().collect()),
        }
    }

    /// Returns when it rings or has rung, at the latest after `at_most`.
    pub async fn wait(&self, at_most: Duration) {
        let rings = async {
            while !self.lock().is_rung() {
                self.rang_async.notified().await;
            }
        };
        let _ = tokio::time::timeout(at_most, rings).await;
    }

    /// The same for a thread. True if it rang.
    pub fn wait_blocking(&self, at_most: Duration) -> bool {
        let (rung, _) = self
            .rang
            .wait_timeout_while(self.lock(), at_most, |rung| !rung.is_rung())
            .unwrap_or_else(PoisonError::into_inner);
        rung.is_rung()
    }

    fn wake(&self, rung: MutexGuard<'_, Rung>) {
        drop(rung);
        self.rang.notify_all();
        self.rang_async.notify_one();
    }

    /// A set of folders is sound at every instant, so a panicked ringer spoils nothing.
    fn lock(&self) -> MutexGuard<'_, Rung> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rung {
    fn is_rung(&self) -> bool {
        self.everything || !self.folders.is_empty()
    }
}

impl Ring for Bell {
    async fn rung(&self) {
        self.wait(Duration::MAX).await;
    }
}

/// What the watcher has been through, for status and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchStats {
    /// Folders watched now. The kernel allows `fs.inotify.max_user_watches` per user.
    pub watches: u64,
    /// Times the kernel dropped events because nobody read them in time.
    pub overflows: u64,
    /// Other failures.
    pub errors: u64,
    /// True once a folder could not be watched for want of watches: timers must do.
    pub is_out_of_watches: bool,
}

/// Watches stores and rings a bell. Dropping it ends its threads.
pub struct Watcher {
    shared: Arc<Shared>,
    explorer: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    news: Arc<Bell>,
    new_folders: Bell,
    stores: Mutex<BTreeMap<PathBuf, Arc<Store>>>,
    is_ending: AtomicBool,
    watches: AtomicU64,
    overflows: AtomicU64,
    errors: AtomicU64,
    is_out_of_watches: AtomicBool,
}

impl Watcher {
    /// Starts watching `stores`, except those that are polled. When all watches are in place,
    /// `bell` rings for everything: what came before is the caller's first scan.
    ///
    /// # Errors
    ///
    /// No inotify instance (`fs.inotify.max_user_instances`) or no thread. The caller can work on
    /// by timers alone.
    pub fn start(stores: &[Arc<Store>], bell: Arc<Bell>) -> notify::Result<Self> {
        let shared = Arc::new(Shared { news: bell, ..Shared::default() });
        shared.lock_stores().extend(stores.iter().filter_map(with_root));
        let handler = Arc::clone(&shared);
        let config = notify::Config::default().with_follow_symlinks(false);
        let inotify = RecommendedWatcher::new(move |event| handler.on_event(event), config)?;
        let explorer = Explorer { shared: Arc::clone(&shared), inotify, watched: BTreeSet::new() };
        shared.new_folders.ring();
        let explorer =
            std::thread::Builder::new().name("watch".to_owned()).spawn(move || explorer.run())?;
        Ok(Self { shared, explorer: Some(explorer) })
    }

    /// Watches one more store, or one that was opened again after it had been lost.
    pub fn add(&self, store: &Arc<Store>) {
        self.shared.lock_stores().extend(with_root(store));
        self.shared.new_folders.ring();
    }

    /// What it has been through.
    pub fn stats(&self) -> WatchStats {
        WatchStats {
            watches: self.shared.watches.load(Ordering::Relaxed),
            overflows: self.shared.overflows.load(Ordering::Relaxed),
            errors: self.shared.errors.load(Ordering::Relaxed),
            is_out_of_watches: self.shared.is_out_of_watches.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stats().fmt(f)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.is_ending.store(true, Ordering::SeqCst);
        self.shared.new_folders.ring();
        if let Some(explorer) = self.explorer.take() {
            let _ = explorer.join();
        }
    }
}

impl Shared {
    /// Called on notify's thread for every event: it must only ring.
    fn on_event(&self, event: notify::Result<notify::Event>) {
        let event = match event {
            Ok(event) if event.need_rescan() => {
                self.overflows.fetch_add(1, Ordering::Relaxed);
                return self.ring_everything();
            }
            Ok(event) => event,
            Err(error) => return self.on_error(&error),
        };
        let may_be_folder = match event.kind {
            EventKind::Create(CreateKind::Folder)
            | EventKind::Remove(RemoveKind::Folder)
            | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::From)) => true,
            EventKind::Create(_)
            | EventKind::Remove(_)
            | EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            // Bytes being written, attributes, readers, and the summary of a rename told twice.
            EventKind::Modify(_) | EventKind::Access(_) | EventKind::Any | EventKind::Other => {
                return;
            }
        };
        for path in &event.paths {
            let Some((store, path)) = self.locate(path) else { continue };
            match path {
                // The root itself was moved or deleted: the daemon's check of the store will see.
                None => self.ring_everything(),
                Some(path) => {
                    if may_be_folder {
                        self.new_folders.ring_folder(store, Some(path.clone()));
                    }
                    self.news.ring_folder(store, path.folder());
                }
            }
        }
    }

    fn on_error(&self, error: &notify::Error) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) {
            self.is_out_of_watches.store(true, Ordering::Relaxed);
        }
        self.news.ring();
    }

    /// New folders may be among what was not told: explore all, then look at all.
    fn ring_everything(&self) {
        self.new_folders.ring();
        self.news.ring();
    }

    /// The store that holds `path`, and the path in it (`None`: its root).
    fn locate(&self, path: &Path) -> Option<Folder> {
        use std::os::unix::ffi::OsStrExt;
        let stores = self.lock_stores();
        let (root, store) = path.ancestors().find_map(|root| stores.get_key_value(root))?;
        let inside = path.strip_prefix(root).ok()?.as_os_str().as_bytes();
        match inside {
            b"" => Some((store.id(), None)),
            inside => Some((store.id(), Some(StorePath::new(inside)?))),
        }
    }

    fn store(&self, id: StoreId) -> Option<Arc<Store>> {
        self.lock_stores().values().find(|store| store.id() == id).cloned()
    }

    fn lock_stores(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Arc<Store>>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn with_root(store: &Arc<Store>) -> Option<(PathBuf, Arc<Store>)> {
    (store.mode() == WatchMode::Events).then(|| (store.expose_root().to_owned(), Arc::clone(store)))
}

/// The thread that watches new folders and what is in them.
struct Explorer {
    shared: Arc<Shared>,
    inotify: RecommendedWatcher,
    /// What is watched now, to count and to forget by prefix.
    watched: BTreeSet<Folder>,
}

impl Explorer {
    #[expect(clippy::disallowed_methods, reason = "paces the second look, decides nothing")]
    fn run(mut self) {
        let mut again: VecDeque<(Instant, Folder)> = VecDeque::new();
        loop {
            let pause = again.front().map_or(IDLE, |(due, _)| due.duration_since(Instant::now()));
            self.shared.new_folders.wait_blocking(pause);
            // Only after taking: the ring that came with the end may be the one just taken.
            let fresh = self.shared.new_folders.take();
            if self.shared.is_ending.load(Ordering::SeqCst) {
                return;
            }
            let now = Instant::now();
            while again.front().is_some_and(|(due, _)| *due <= now) {
                if let Some((_, folder)) = again.pop_front() {
                    self.explore(folder, true);
                }
            }
            match fresh {
                Dirty::All => {
                    again.clear();
                    self.explore_everything();
                }
                Dirty::Folders(folders) => {
                    for folder in folders {
                        if self.explore(folder.clone(), true) {
                            again.push_back((now + SECOND_LOOK, folder));
                        }
                    }
                }
            }
            if again.len() > Bell::FOLDERS_MAX {
                self.shared.new_folders.ring();
            }
        }
    }

    fn explore_everything(&mut self) {
        self.shared.is_out_of_watches.store(false, Ordering::Relaxed);
        let stores: Vec<_> = self.shared.lock_stores().values().cloned().collect();
        for store in stores {
            self.explore((store.id(), None), false);
        }
        self.shared.news.ring();
    }

    /// Watches a folder and all below it, each before it is listed, and `rings` for each. False
    /// if it is none: most names that are renamed into place are files.
    fn explore(&mut self, top: Folder, rings: bool) -> bool {
        let Some(store) = self.shared.store(top.0) else { return false };
        if !store.has_folder(top.1.as_ref()) {
            self.forget(top);
            return false;
        }
        let mut pending = vec![top.1];
        while let Some(folder) = pending.pop() {
            if self.shared.is_ending.load(Ordering::SeqCst) || !self.watch(&store, folder.as_ref())
            {
                return true;
            }
            match store.folders(folder.as_ref()) {
                Ok(folders) => pending.extend(
                    folders.into_iter().filter(|folder| store.has_folder(Some(folder))).map(Some),
                ),
                Err(_) => {
                    self.shared.errors.fetch_add(1, Ordering::Relaxed);
                }
            }
            if rings {
                self.shared.news.ring_folder(store.id(), folder);
            }
        }
        true
    }

    /// False if there are no more watches to be had, so that trying on makes no sense.
    fn watch(&mut self, store: &Store, folder: Option<&StorePath>) -> bool {
        let path = folder.map_or_else(
            || store.expose_root().to_owned(),
            |folder| folder.expose_below(store.expose_root()),
        );
        match self.inotify.watch(&path, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert((store.id(), folder.cloned()));
            }
            // Gone since we looked: the event of its parent says so.
            Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
            Err(error) => self.shared.on_error(&error),
        }
        self.shared.watches.store(self.watched.len() as u64, Ordering::Relaxed);
        !self.shared.is_out_of_watches.load(Ordering::Relaxed)
    }

    /// Drops a folder and all below it from the count; notify drops the watches by itself.
    fn forget(&mut self, (store, folder): Folder) {
        let Some(folder) = folder else { return };
        let top = folder.expose_bytes();
        // In byte order `a/b-x` comes between `a/b` and what is in it.
        let below = |path: &StorePath| path.expose_path().starts_with(folder.expose_path());
        let below: Vec<Folder> = self
            .watched
            .range((store, Some(folder.clone()))..)
            .map_while(|(id, path)| path.as_ref().filter(|_| *id == store))
            .take_while(|path| path.expose_bytes().starts_with(top))
            .filter(|path| below(path))
            .map(|path| (store, Some(path.clone())))
            .collect();
        for folder in below {
            self.watched.remove(&folder);
        }
        self.shared.watches.store(self.watched.len() as u64, Ordering::Relaxed);
    }
}

/// When a new folder is explored once more.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// How long the explorer sleeps when nothing is due; it wakes by its bell.
const IDLE: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests;
