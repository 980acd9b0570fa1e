//! The eraser as a task: one batch after the other, as long as something is owed.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::daemon::task::{Progress, Task};
use crate::flow::{Engine, chain};

/// Erases what is owed and may go; looks for what became final or due.
pub struct EraseTask {
    engine: Arc<Engine>,
    clock: Clock,
}

impl EraseTask {
    /// The task.
    pub fn new(engine: Arc<Engine>, clock: Clock) -> Self {
        Self { engine, clock }
    }
}

impl Task for EraseTask {
    fn name(&self) -> &'static str {
        "erase"
    }

    fn activate(&mut self, now: Timestamp) -> Progress {
        if let Err(error) = self.engine.tend_erasures(now) {
            let error = chain(&error);
            tracing::error!(error, "erasures were not tended");
        }
        match self.engine.erase_batch(&self.clock) {
            Ok(step) if step.more || self.engine.take_eraser_bell() => Progress::More,
            Ok(step) => {
                let next = self.clock.now().plus(LOOK_EVERY);
                Progress::DueAt(step.due_at.map_or(next, |due| due.min(next)))
            }
            Err(error) => {
                let error = chain(&error);
                tracing::error!(error, "erasing stopped; trying again");
                self.engine.note_erase_problem(error);
                Progress::DueAt(self.clock.now().plus(AFTER_FAILURE))
            }
        }
    }
}

/// How soon an order is taken up, and how often blocked ones may be looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const AFTER_FAILURE: Duration = Duration::from_secs(5);
