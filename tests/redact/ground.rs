//! A store, its daemon, and what has to hold whatever happened.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use recseal::catalog::Catalog;
use recseal::config::catalog_in;

use crate::common::daemon::Daemon;

/// A recording server whose recordings are redacted.
pub(crate) struct Ground {
    pub(crate) daemon: Daemon,
    folder: tempfile::TempDir,
}

impl Ground {
    /// Running, with a store of this layout and these further lines of configuration.
    pub(crate) fn start(layout: &str, lines: &str) -> Self {
        let mut ground = Self::at_rest(layout, lines);
        ground.daemon.start_again();
        ground
    }

    /// The same, not started yet.
    pub(crate) fn at_rest(layout: &str, lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("calls");
        fs::create_dir(&store).unwrap();
        let config = folder.path().join("recseal.toml");
        let text = format!(
            "[vault]\nreserve = \"1MiB\"\n[ingest]\nreconcile_every = \"2s\"\n{lines}\n\
             [[store]]\npath = {store:?}\nlayout = \"{layout}\"\nsettle = \"1s\"\n\
             poll_settle = \"1s\"\nunfinished_wait = \"1s\"\npair_within = \"2s\"\n"
        );
        fs::write(&config, text).unwrap();
        let daemon = Daemon::at_rest(None, &["--config", config.to_str().unwrap()]);
        Self { daemon, folder }
    }

    /// What the test keeps.
    pub(crate) fn desk(&self) -> &Path {
        self.folder.path()
    }

    /// From the next start on the store seals to this key.
    pub(crate) fn seal_to(&self, name: &str) {
        let config = self.folder.path().join("recseal.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(config, format!("{text}seal_to = \"{name}\"\n")).unwrap();
    }

    /// Waits until it answers, though it was told to die.
    pub(crate) fn wait_until_ready(&mut self) {
        self.daemon.wait_until("it is ready", |daemon| {
            daemon.try_json(&["status"]).is_some_and(|status| status["ready"] == true)
        });
    }

    /// Records a file and waits until it is sealed and gone; its id.
    pub(crate) fn record(&mut self, name: &str, content: &[u8]) -> String {
        let path = self.folder.path().join("calls").join(name);
        fs::write(&path, content).unwrap();
        let found = |daemon: &Daemon| {
            let all = daemon.json(&["recordings", "--state-is", "available"]);
            let one =
                all.as_array().unwrap().iter().find(|one| one["original_name"] == name)?.clone();
            Some(one["id"].as_str().unwrap().to_owned())
        };
        self.daemon.wait_until("it is stored", |daemon| found(daemon).is_some() && !path.exists());
        found(&self.daemon).unwrap()
    }

    /// All recordings, oldest first.
    pub(crate) fn ids(&self) -> Vec<String> {
        let all = self.daemon.json(&["recordings"]);
        all.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The media of a recording.
    pub(crate) fn open(&self, id: &str) -> Vec<u8> {
        let out = self.folder.path().join("opened");
        let opened = self.daemon.recseal(&["open", id, "--force", "-o", out.to_str().unwrap()]);
        assert!(opened.status.success(), "{opened:?}");
        fs::read(out).unwrap()
    }

    /// Every sealed file there is, drafts included.
    pub(crate) fn sealed_files(&self) -> BTreeSet<PathBuf> {
        let mut files = BTreeSet::new();
        let mut folders = vec![self.daemon.vault(), self.folder.path().join("calls")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let is_ours = |path: &Path| !path.ends_with(".recseal-store");
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false if is_ours(&entry.path()) => drop(files.insert(entry.path())),
                    false => {}
                }
            }
        }
        files.into_iter().filter(|path| !is_mark(path)).collect()
    }

    /// Nothing waits, the trail is whole, and on disk lies what the catalog knows, nothing more.
    pub(crate) fn must_be_in_order(&mut self) {
        self.wait_until_erased();
        let status = self.daemon.json(&["status"]);
        assert_eq!(status["recordings"]["waiting"], 0, "{status}");
        assert!(self.daemon.recseal(&["audit", "verify"]).status.success());
        let catalog = Catalog::open_read_only(&catalog_in(&self.daemon.state())).unwrap();
        let mut known = 0;
        for id in self.ids() {
            let shown = self.daemon.json(&["recordings", "show", &id]);
            if shown["state"] == "Deleted" {
                continue;
            }
            let id = id.parse().unwrap();
            known += catalog.read(|tx| tx.copies(id)).unwrap().len();
            self.daemon.json(&["verify", &format!("{id}")]);
        }
        let files = self.sealed_files();
        assert_eq!(files.len(), known, "{files:?}");
    }

    /// Until nothing is owed any more.
    pub(crate) fn wait_until_erased(&mut self) {
        self.daemon.wait_until("what was redacted is erased", |daemon| {
            let status = daemon.json(&["status"]);
            status["erasure"]["pending_files"] == 0
                && status["recordings"]["planned_for_deletion"] == 0
        });
    }

    /// A folder that nobody may look into, too.
    pub(crate) fn open_folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }

    /// A program for the shell.
    pub(crate) fn script(path: &Path, text: &str) {
        fs::write(path, format!("#!/bin/bash\n{text}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// The file by which a store is known again.
fn is_mark(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".recseal"))
}

/// A 16-bit WAV at 8 kHz that is never silent.
pub(crate) fn speech(seconds: u32, channels: u16) -> Vec<u8> {
    let data_bytes = seconds * 16_000 * u32::from(channels);
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + data_bytes).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    file.extend(channels.to_le_bytes());
    file.extend(8_000_u32.to_le_bytes());
    file.extend((16_000 * u32::from(channels)).to_le_bytes());
    file.extend((2 * channels).to_le_bytes());
    file.extend(b"\x10\0data");
    file.extend(data_bytes.to_le_bytes());
    let mut state = 9_u32;
    for _ in 0..data_bytes / 2 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        file.extend(((state >> 16) as u16 | 0x0100).to_le_bytes());
    }
    file
}

/// One of the media fixtures.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("media-fixtures").join(name)).unwrap()
}
