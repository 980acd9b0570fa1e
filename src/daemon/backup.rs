//! The task that backs up by itself.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::daemon::task::{Progress, Task};
use crate::flow::{Engine, chain};

/// Makes a backup when one is due. What is due is in the catalog, so a restart forgets nothing.
pub struct BackupTask {
    engine: Arc<Engine>,
}

impl BackupTask {
    /// The task.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

impl Task for BackupTask {
    fn name(&self) -> &'static str {
        "backup"
    }

    fn activate(&mut self, now: Timestamp) -> Progress {
        if let Err(error) = self.engine.back_up_if_due(now) {
            let error = chain(&error);
            tracing::error!(error, "the automatic backup was not written");
        }
        Progress::Idle
    }
}
