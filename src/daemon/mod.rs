//! The program as it runs: tasks that compare and mend, bells that wake them, one way to stop.
//!
//! ```text
//! watch::Bell ─▶ DiscoverTask ─▶ Engine::discover ─▶ rings ─▶ SealTask ─▶ Engine::ingest …
//!      ▲ inotify, poll timer, `recseal done`          HousekeepingTask: authority, audit mark
//!                                                   KeysTask: key versions
//!                                                   EraseTask: what is owed
//!                                                   Certificates: renewal, clock
//! ```
//!
//! tokio owns timers, signals and sockets; all work is blocking and runs on the
//! [`pool::WorkPool`]. At shutdown the running activations end and no other begins; being killed
//! instead is as safe, only slower at the next start.

pub mod acme;
pub mod backup;
pub mod certificates;
pub mod erase;
pub mod pool;
pub mod task;
pub mod tasks;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch as signal};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::flow::Engine;

use backup::BackupTask;
use erase::EraseTask;
use pool::WorkPool;
use task::{Drive, Heartbeat, Ring, Task, drive};
use tasks::{DiscoverTask, HousekeepingTask, KeysTask, SealTask};
use watch::Bell;

/// What the tasks share.
#[derive(Clone)]
pub struct Daemon {
    /// What they work with.
    pub engine: Arc<Engine>,
    /// Where the time comes from.
    pub clock: Clock,
    /// Where blocking work runs.
    pub pool: WorkPool,
    /// Rung when something may have changed in a store.
    pub bell: Arc<Bell>,
    /// Longest time between two whole scans of a store.
    pub reconcile_every: Duration,
    /// Counts activations.
    pub heartbeat: Heartbeat,
}

impl Daemon {
    /// Starts every task; they end when `stop` becomes true. Await the set to know that they did.
    pub fn start(&self, stop: &signal::Receiver<bool>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let settled = Arc::new(Notify::new());
        let discover = DiscoverTask::new(self, Arc::clone(&settled));
        self.spawn(&mut tasks, discover, Arc::clone(&self.bell), SCAN_AT_LEAST, stop);
        let seal = SealTask::new(Arc::clone(&self.engine));
        self.spawn(&mut tasks, seal, settled, SEAL_AT_LEAST, stop);
        let housekeeping = HousekeepingTask::new(Arc::clone(&self.engine));
        let never = Arc::new(Notify::new());
        self.spawn(&mut tasks, housekeeping, never, HOUSEKEEPING_EVERY, stop);
        let keys = KeysTask::new(Arc::clone(&self.engine));
        self.spawn(&mut tasks, keys, Arc::new(Notify::new()), KEYS_EVERY, stop);
        let erase = EraseTask::new(Arc::clone(&self.engine), self.clock.clone());
        self.spawn(&mut tasks, erase, Arc::new(Notify::new()), ERASE_AT_LEAST, stop);
        let backup = BackupTask::new(Arc::clone(&self.engine));
        self.spawn(&mut tasks, backup, Arc::new(Notify::new()), BACKUP_LOOK_EVERY, stop);
        tasks
    }

    fn spawn<R: Ring>(
        &self,
        tasks: &mut JoinSet<()>,
        task: impl Task,
        bell: Arc<R>,
        period: Duration,
        stop: &signal::Receiver<bool>,
    ) {
        tasks.spawn(drive(
            task,
            Drive {
                bell,
                period,
                clock: self.clock.clone(),
                pool: self.pool.clone(),
                heartbeat: self.heartbeat.clone(),
                stop: stop.clone(),
            },
        ));
    }
}

/// A store that was lost is looked for this often.
const SCAN_AT_LEAST: Duration = Duration::from_secs(15);
/// What was put off is tried again this often.
const SEAL_AT_LEAST: Duration = Duration::from_secs(2);
/// What is to be done with key versions is looked for this often.
const KEYS_EVERY: Duration = Duration::from_secs(2);
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(600);
/// An eraser that waits for nothing in particular looks again after this time.
const ERASE_AT_LEAST: Duration = Duration::from_secs(2);
/// How exactly the time of an automatic backup is met.
const BACKUP_LOOK_EVERY: Duration = Duration::from_secs(30);
