//! Erasures, holds and retention through the doors of the real program.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod commands;
mod events;
mod orders;
mod steering;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use common::daemon::Daemon;
use serde_json::{Value, json};

/// A daemon with a store of sealed recordings.
pub struct Sealed {
    /// The daemon.
    pub daemon: Daemon,
    /// Their ids, oldest first.
    pub ids: Vec<String>,
    /// Where they were recorded.
    pub store: PathBuf,
    _folder: tempfile::TempDir,
}

impl Sealed {
    /// `count` recordings of about 16 KB, written two days ago, and `config` besides the store.
    #[expect(clippy::disallowed_methods, reason = "files get a time in the past")]
    pub fn new(count: usize, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("calls");
        std::fs::create_dir(&store).unwrap();
        for number in 0..count {
            let file = store.join(format!("call-{number}.wav"));
            std::fs::write(&file, common::marker::Marker::new().wav(1)).unwrap();
            let then = SystemTime::now() - Duration::from_secs(2 * 86_400);
            std::fs::File::options().write(true).open(&file).unwrap().set_modified(then).unwrap();
        }
        let text = format!("{config}\n[[store]]\npath = '{}'\nsettle = '1s'\n", store.display());
        let file = folder.path().join("recseal.toml");
        std::fs::write(&file, text).unwrap();
        let mut daemon = Daemon::start(&["--config", file.to_str().unwrap()]);
        daemon.wait_until("all is sealed", |daemon| {
            daemon.json(&["status"])["recordings"]["available"] == count
        });
        let listed = daemon.json(&["recordings"]);
        let ids = listed.as_array().unwrap().iter();
        let ids = ids.map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        Self { daemon, ids, store, _folder: folder }
    }

    /// The same with the eraser stopped, so that what is ordered stays ordered.
    pub fn paused(count: usize, config: &str) -> Self {
        let sealed = Self::new(count, config);
        sealed.daemon.json(&["erase", "pause"]);
        sealed
    }

    /// An order for these recordings.
    pub fn order(&self, which: std::ops::Range<usize>) -> Value {
        json!({ "recordings": self.ids[which] })
    }

    /// Runs a command; its exit code and its standard error.
    pub fn code(&self, args: &[&str]) -> (i32, String) {
        let output = self.daemon.recseal(args);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), stderr)
    }

    /// How many recordings people see in `state`.
    pub fn count(&self, state: &str) -> u64 {
        self.daemon.json(&["status"])["recordings"][state].as_u64().unwrap()
    }
}
