//! Recordings as recorders really write them, all the way through the real program: found, sealed,
//! the original gone, opened again byte for byte, played like in a browser, and not a byte of
//! plaintext left on the device.
//!
//! Each test has a daemon, a store and a state folder of its own. The waits of the program are
//! short here; a test waits by asking again, never by the clock. "Not taken yet" is shown by a
//! second file: one that was finished later and is sealed already.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

#[path = "../common/mod.rs"]
mod common;
mod contract;
mod playback;
mod prompts;
mod raw;
mod recorders;
mod sidecars;

use std::path::{Path, PathBuf};

use common::daemon::Daemon;
use serde_json::Value;

/// A recording server: a store and the daemon that watches it.
struct Server {
    daemon: Daemon,
    store: PathBuf,
    /// What the test itself keeps: references, outputs, configuration.
    desk: tempfile::TempDir,
    store_folder: tempfile::TempDir,
}

impl Server {
    /// With a store of this profile and the short waits of a test.
    fn start(profile: &str) -> Self {
        Self::start_with(&format!("profile = \"{profile}\"\nsettle = \"1s\""))
    }

    /// With these lines about the store.
    fn start_with(about_store: &str) -> Self {
        Self::start_on(tempfile::tempdir().unwrap(), about_store, tempfile::tempdir().unwrap())
    }

    /// With the store and the state in folders of the caller's choice.
    fn start_on(
        store_folder: tempfile::TempDir,
        about_store: &str,
        state_folder: tempfile::TempDir,
    ) -> Self {
        let desk = tempfile::tempdir().unwrap();
        let store = store_folder.path().join("calls");
        std::fs::create_dir(&store).unwrap();
        let config = desk.path().join("recseal.toml");
        let text = format!(
            "[vault]\nreserve = \"1MiB\"\n[ingest]\nreconcile_every = \"2s\"\n[[store]]\n\
             path = {store:?}\npoll_settle = \"1s\"\nunfinished_wait = \"2s\"\n\
             pair_within = \"30s\"\n{about_store}\n"
        );
        std::fs::write(&config, text).unwrap();
        let daemon = Daemon::start_in(state_folder, &["--config", config.to_str().unwrap()]);
        Self { daemon, store, desk, store_folder }
    }

    /// Waits until this many recordings are sealed, their originals gone and nothing is on the
    /// way. More than that is a failure: something was taken twice, or in halves.
    fn expect_sealed(&mut self, recordings: u64) {
        let store = self.store.clone();
        self.daemon.wait_until("everything is sealed", |daemon| {
            let counts = &daemon.json(&["status"])["recordings"];
            let (available, waiting) = (&counts["available"], &counts["waiting"]);
            assert!(available.as_u64().unwrap() <= recordings, "taken twice: {counts}");
            assert_eq!(counts["quarantined"], 0);
            *available == recordings && *waiting == 0 && plain_files(&store).is_empty()
        });
    }

    /// Waits until the recording found under this name is sealed, and returns its id.
    fn expect_sealed_one(&mut self, name: &str) -> String {
        let sealed = |daemon: &Daemon| {
            let all = daemon.json(&["recordings", "--state-is", "available"]);
            all.as_array().unwrap().iter().find(|one| one["original_name"] == name).cloned()
        };
        self.daemon.wait_until("it is sealed", |daemon| sealed(daemon).is_some());
        id_of(&sealed(&self.daemon).unwrap())
    }

    /// All recordings, as the list shows them.
    fn recordings(&self) -> Vec<Value> {
        self.daemon.json(&["recordings"]).as_array().unwrap().clone()
    }

    /// The media of a recording, through `recseal open`.
    fn open(&self, id: &str) -> Vec<u8> {
        let out = self.desk.path().join(format!("{id}.open"));
        let opened = self.daemon.recseal(&["open", id, "-o", out.to_str().unwrap()]);
        assert!(opened.status.success(), "{opened:?}");
        std::fs::read(out).unwrap()
    }

    /// Audit entries of one activity, all pages.
    fn audit(&self, activity: &str) -> Vec<Value> {
        self.daemon.json(&["audit", "--activity", activity]).as_array().unwrap().clone()
    }

    /// Who was given the media of this recording.
    fn listeners(&self, id: &str) -> Vec<String> {
        let entries = self.daemon.json(&["audit"]);
        let of_it = |entry: &&Value| {
            let activity = entry["activity"].as_str().unwrap();
            entry["recording"] == id && ["MEDIA_OPENED", "MEDIA_PLAYED"].contains(&activity)
        };
        let who = entries.as_array().unwrap().iter().filter(of_it);
        who.map(|entry| entry["authenticated_by"].as_str().unwrap().to_owned()).collect()
    }

    /// Where the sealed copy of this kind lies. `show` names it relative to its tree.
    fn sealed_copy(&self, id: &str, kind: &str) -> PathBuf {
        let shown = self.daemon.json(&["recordings", "show", id]);
        let copies = shown["copies"].as_array().unwrap();
        let copy = copies.iter().find(|copy| copy["kind"] == kind).expect("a copy of this kind");
        let path = copy["path"].as_str().unwrap();
        let places = [self.daemon.vault().join(path), self.store.join(path)];
        places.into_iter().find(|place| place.is_file()).expect("the copy is on disk")
    }
}

fn id_of(recording: &Value) -> String {
    recording["id"].as_str().unwrap().to_owned()
}

/// Every file below `folder` that is not the program's own, sorted.
fn plain_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ if name.starts_with(".recseal") || name.ends_with(".sealed") => {}
                _ => files.push(entry.path()),
            }
        }
    }
    files.sort();
    files
}
