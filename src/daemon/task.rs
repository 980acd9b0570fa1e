//! Work the daemon does again and again: on a bell, on a timer, never on a message.
//!
//! A task takes no hint about what changed. After a crash there is none, and a second code path
//! for that case would be the one nobody tests. So every activation compares what is with what
//! should be, does at most one batch of the difference, and is safe to repeat.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time;

use crate::clock::{Clock, Timestamp};
use crate::daemon::pool::WorkPool;

/// One kind of repeated work. Blocking: the driver runs it on the pool.
pub trait Task: Send + 'static {
    /// Stable name, for logs.
    fn name(&self) -> &'static str;

    /// Does at most one batch. Safe to repeat and safe to kill.
    fn activate(&mut self, now: Timestamp) -> Progress;
}

/// What an activation says about the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing left: wait for the bell or the period.
    Idle,
    /// Nothing now, but something falls due then.
    DueAt(Timestamp),
    /// A batch was done and more is waiting: activate again at once.
    More,
}

/// Proof of life for the watchdog: counts activations of all tasks.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat(Arc<AtomicU64>);

impl Heartbeat {
    /// How many activations have ended.
    pub fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that can wake a task. It carries nothing: a thousand rings cost one activation.
pub trait Ring: Send + Sync + 'static {
    /// Returns when it rings or has rung since the last activation.
    fn rung(&self) -> impl Future<Output = ()> + Send;
}

impl Ring for Notify {
    async fn rung(&self) {
        self.notified().await;
    }
}

/// What one task is driven by.
pub struct Drive<R> {
    /// Rung when something may have changed.
    pub bell: Arc<R>,
    /// Longest time between two activations.
    pub period: Duration,
    /// Where the time comes from.
    pub clock: Clock,
    /// Where the work runs.
    pub pool: WorkPool,
    /// Counts activations.
    pub heartbeat: Heartbeat,
    /// Becomes true at shutdown; the running activation ends, no other begins.
    pub stop: watch::Receiver<bool>,
}

/// Drives `task` until shutdown. A panicking activation is reported and tried again after a pause.
pub async fn drive<R: Ring>(task: impl Task, mut by: Drive<R>) {
    let mut slot = Some(task);
    while !*by.stop.borrow() {
        let mut task = slot.take().expect("put back after each activation");
        let now = by.clock.now();
        let (task, outcome) = by
            .pool
            .run(move || {
                let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| task.activate(now)));
                (task, outcome)
            })
            .await;
        let name = task.name();
        slot = Some(task);
        by.heartbeat.0.fetch_add(1, Ordering::Relaxed);
        let pause = match outcome {
            Ok(Progress::More) => continue,
            Ok(Progress::Idle) => by.period,
            Ok(Progress::DueAt(due)) => due.since(by.clock.now()).clamp(SHORTEST, by.period),
            Err(_) => {
                tracing::error!(task = name, "an activation panicked; trying again");
                AFTER_PANIC
            }
        };
        tokio::select! {
            _ = time::timeout(pause, by.bell.rung()) => {}
            _ = by.stop.wait_for(|stop| *stop) => {}
        }
    }
}

/// Keeps a due time that lies in the past from turning the driver into a busy loop.
const SHORTEST: Duration = Duration::from_millis(20);
const AFTER_PANIC: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    struct Scripted {
        answers: Vec<Progress>,
        activations: Arc<AtomicU64>,
        stop: watch::Sender<bool>,
    }

    impl Task for Scripted {
        fn name(&self) -> &'static str {
            "scripted"
        }

        fn activate(&mut self, _now: Timestamp) -> Progress {
            let nth = self.activations.fetch_add(1, Ordering::SeqCst);
            if nth == 0 {
                panic!("the first activation breaks");
            }
            self.answers.pop().unwrap_or_else(|| {
                self.stop.send_replace(true);
                Progress::Idle
            })
        }
    }

    /// Planted fault: returning on a panic leaves one activation instead of four.
    #[tokio::test(start_paused = true)]
    async fn a_panic_is_survived_and_more_means_at_once() {
        let (stop, receiver) = watch::channel(false);
        let activations = Arc::new(AtomicU64::new(0));
        let task = Scripted {
            answers: vec![Progress::More, Progress::DueAt(Timestamp::from_millis(0))],
            activations: Arc::clone(&activations),
            stop,
        };
        drive(
            task,
            Drive {
                bell: Arc::new(Notify::new()),
                period: Duration::from_secs(3600),
                clock: Clock::System,
                pool: WorkPool::new(1),
                heartbeat: Heartbeat::default(),
                stop: receiver,
            },
        )
        .await;
        assert_eq!(activations.load(Ordering::SeqCst), 4);
    }
}
