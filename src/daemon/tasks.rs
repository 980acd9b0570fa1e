//! The tasks: look, seal, keep house.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::{Clock, Timestamp};
use crate::daemon::Daemon;
use crate::daemon::task::{Progress, Task};
use crate::daemon::watch::{Bell, Dirty, Watcher};
use crate::domain::StorePath;
use crate::flow::{Engine, Places, chain};
use crate::intake::{Store, WatchMode};

/// Looks into the stores: everywhere at start and on the timer, in rung folders at once, and in
/// folders where something falls due.
pub struct DiscoverTask {
    engine: Arc<Engine>,
    clock: Clock,
    bell: Arc<Bell>,
    settled: Arc<Notify>,
    reconcile_every: Duration,
    watcher: Option<Watcher>,
    /// One for each store, in the order of the configuration.
    stores: Vec<Watched>,
}

/// What the task remembers of a store. Losing it costs a scan, nothing else.
#[derive(Default)]
struct Watched {
    /// The tree that the watcher was told of.
    tree: Weak<Store>,
    next_scan: Option<Timestamp>,
    due: HashMap<Option<StorePath>, Timestamp>,
    /// The last look failed: nothing but the scan that makes up for it is tried.
    is_failing: bool,
}

impl DiscoverTask {
    /// A task that has seen nothing yet.
    pub fn new(daemon: &Daemon, settled: Arc<Notify>) -> Self {
        let stores = daemon.engine.stores().iter().map(|_| Watched::default()).collect();
        let watcher = Watcher::start(&[], Arc::clone(&daemon.bell))
            .inspect_err(|error| tracing::warn!(%error, "no file events; timers alone must do"))
            .ok();
        Self {
            engine: Arc::clone(&daemon.engine),
            clock: daemon.clock.clone(),
            bell: Arc::clone(&daemon.bell),
            settled,
            reconcile_every: daemon.reconcile_every,
            watcher,
            stores,
        }
    }

    /// Where to look in one store now; `None` if there is nothing to look for.
    fn places(&mut self, store: usize, dirty: &Dirty, now: Timestamp) -> Option<Places> {
        let slot = &self.engine.stores()[store];
        let watched = &mut self.stores[store];
        let Ok(opened) = slot.open() else {
            // Reported in status. When it comes back, all of it is looked at.
            watched.tree = Weak::new();
            return None;
        };
        let is_new = !watched.tree.ptr_eq(&Arc::downgrade(&opened.store));
        if is_new {
            // Watch first, look second: what comes between is told by both.
            watched.tree = Arc::downgrade(&opened.store);
            watched.due.clear();
            if let Some(watcher) = &self.watcher {
                watcher.add(&opened.store);
            }
            if let Err(error) = self.engine.register_store(store, now) {
                let error = chain(&error);
                tracing::error!(error, "a store could not be recorded");
                // Begun anew at the next activation: nothing may be found in it before.
                watched.tree = Weak::new();
                return None;
            }
        }
        let is_time = watched.next_scan.is_none_or(|next| next <= now);
        if watched.is_failing && !is_new && !is_time {
            return None;
        }
        let mut folders: Vec<_> = match dirty {
            Dirty::All => return Some(Places::Everywhere),
            _ if is_new || is_time => return Some(Places::Everywhere),
            Dirty::Folders(folders) => folders
                .iter()
                .filter(|(id, _)| *id == opened.store.id())
                .map(|(_, folder)| folder.clone())
                .collect(),
        };
        let fallen_due: Vec<_> = watched
            .due
            .iter()
            .filter(|(folder, due)| **due <= now && !folders.contains(folder))
            .map(|(folder, _)| folder.clone())
            .collect();
        folders.extend(fallen_due);
        (!folders.is_empty()).then_some(Places::Folders(folders))
    }

    fn look(&mut self, store: usize, places: &Places, now: Timestamp) {
        match self.engine.discover(store, places, &self.clock) {
            Ok(discovered) => {
                let watched = &mut self.stores[store];
                watched.is_failing = false;
                match places {
                    Places::Everywhere => {
                        watched.due.clear();
                        let every = self.scan_every(store);
                        self.stores[store].next_scan = Some(now.plus(every));
                    }
                    Places::Folders(folders) => {
                        for folder in folders {
                            watched.due.remove(folder);
                        }
                    }
                }
                self.stores[store].due.extend(discovered.due);
                if discovered.settled > 0 {
                    self.settled.notify_one();
                }
            }
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(error, store = store + 1, "a look into a store failed");
                // The bells it was for are spent: only a whole scan makes up for them.
                let watched = &mut self.stores[store];
                watched.due.clear();
                watched.next_scan = Some(now.plus(AFTER_FAILURE));
                watched.is_failing = true;
            }
        }
    }

    fn scan_every(&self, store: usize) -> Duration {
        let opened = self.engine.stores()[store].open();
        match opened.map(|opened| (opened.store.mode(), opened.store.settings().poll_settle)) {
            Ok((WatchMode::Poll { .. }, settle)) => {
                (settle / 2).clamp(POLL_SHORTEST, self.reconcile_every.max(POLL_SHORTEST))
            }
            Ok((WatchMode::Events, _)) | Err(_) if self.watcher.is_none() => POLL_WITHOUT_EVENTS,
            Ok((WatchMode::Events, _)) | Err(_) => self.reconcile_every,
        }
    }
}

impl Task for DiscoverTask {
    fn name(&self) -> &'static str {
        "discover"
    }

    fn activate(&mut self, now: Timestamp) -> Progress {
        let dirty = self.bell.take();
        for store in 0..self.stores.len() {
            if let Some(places) = self.places(store, &dirty, now) {
                self.look(store, &places, now);
            }
        }
        if let Some(watcher) = &self.watcher {
            let stats = watcher.stats();
            self.engine.note_watching(stats.watches, stats.overflows);
        }
        let dues = self
            .stores
            .iter()
            .flat_map(|watched| watched.due.values().copied().chain(watched.next_scan));
        dues.min().map_or(Progress::Idle, Progress::DueAt)
    }
}

/// Seals what is settled, and goes on with what is not yet at its end.
pub struct SealTask {
    engine: Arc<Engine>,
    is_recovered: bool,
}

impl SealTask {
    /// A task that first puts right what an earlier run left.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine, is_recovered: false }
    }

    fn batch(&mut self, now: Timestamp) -> Result<usize, crate::flow::FlowError> {
        if !self.is_recovered {
            let abandoned = self.engine.recover(now)?;
            self.is_recovered = true;
            if abandoned > 0 {
                tracing::info!(abandoned, "attempts of an earlier run are begun anew");
            }
        }
        let removed = self.engine.finish_removals(now)?;
        let ingested = self.engine.ingest(now)?;
        let sidecars = self.engine.ingest_sidecars(now)?;
        if ingested.sealed > 0 {
            tracing::info!(sealed = ingested.sealed, stored = ingested.stored, "batch sealed");
        }
        Ok(removed + ingested.taken + sidecars)
    }
}

impl Task for SealTask {
    fn name(&self) -> &'static str {
        "seal"
    }

    fn activate(&mut self, now: Timestamp) -> Progress {
        match self.batch(now) {
            Ok(0) => Progress::Idle,
            Ok(_) => Progress::More,
            Err(error) => {
                let error = chain(&error);
                tracing::error!(error, "sealing stopped; trying again");
                Progress::Idle
            }
        }
    }
}

/// Signs the end of the audit trail.
pub struct HousekeepingTask {
    engine: Arc<Engine>,
}

impl HousekeepingTask {
    /// The task.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

impl Task for HousekeepingTask {
    fn name(&self) -> &'static str {
        "housekeeping"
    }

    fn activate(&mut self, now: Timestamp) -> Progress {
        if let Err(error) = self.engine.tend_authority(now) {
            let error = chain(&error);
            tracing::error!(error, "the internal authority was not tended");
        }
        if let Err(error) = self.engine.checkpoint_audit(now) {
            let error = chain(&error);
            tracing::error!(error, "the audit trail was not signed");
        }
        Progress::Idle
    }
}

/// Leads the lives of key versions: rotates, moves data keys, destroys.
pub struct KeysTask {
    engine: Arc<Engine>,
}

impl KeysTask {
    /// The task.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

impl Task for KeysTask {
    fn name(&self) -> &'static str {
        "keys"
    }

    fn activate(&mut self, now: Timestamp) -> Progress {
        match self.engine.keep_keys(now) {
            Ok(true) => Progress::More,
            Ok(false) => Progress::Idle,
            Err(error) => {
                let error = chain(&error);
                tracing::error!(error, "the work on key versions stopped; trying again");
                Progress::Idle
            }
        }
    }
}

/// A failed look is repeated after this; until then it would fail again, and fill the log.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
const POLL_SHORTEST: Duration = Duration::from_secs(1);
/// How often everything is looked at if the kernel gives no events at all.
const POLL_WITHOUT_EVENTS: Duration = Duration::from_secs(10);
