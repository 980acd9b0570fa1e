//! Backups, trial restores and moves to another host, with the real program.
//!
//! A recording server has one daemon and one store with the short waits of a test. What a test
//! proves of a restored host is what an admin cares for: the recordings play.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod hard;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use recseal::catalog::{Catalog, CatalogError};
use recseal::clock::Timestamp;
use recseal::compliance::audit::{Activity, Actor, AuditEntry};
use recseal::domain::RecordingId;
use recseal::domain::lifecycle::RecordingEvent;
use serde_json::Value;

use crate::common::daemon::{Daemon, program};
use crate::common::marker::Marker;

const PASSPHRASE: &str = "correct horse battery staple";

/// A recording server, its store, and a desk with what the admin keeps elsewhere.
struct Host {
    daemon: Daemon,
    desk: tempfile::TempDir,
}

impl Host {
    fn start(more: &str) -> Self {
        let desk = tempfile::tempdir().unwrap();
        std::fs::create_dir(desk.path().join("calls")).unwrap();
        std::fs::write(desk.path().join("pass"), format!("{PASSPHRASE}\n")).unwrap();
        let config = configure(desk.path(), "first", more);
        let daemon = Daemon::start(&["--config", config.to_str().unwrap()]);
        Self { daemon, desk }
    }

    fn at(&self, name: &str) -> String {
        self.desk.path().join(name).to_str().unwrap().to_owned()
    }

    /// Puts finished recordings into the store; their content by name.
    fn record(&self, names: impl IntoIterator<Item = String>) -> BTreeMap<String, Vec<u8>> {
        names.into_iter().map(|name| (name.clone(), put(self.desk.path(), &name))).collect()
    }

    fn expect_sealed(&mut self, count: u64) {
        expect_sealed(&mut self.daemon, count);
    }

    fn backup(&self, args: &[&str]) -> Output {
        self.daemon.recseal(&[&["backup"], args].concat())
    }

    fn create(&self, name: &str) -> String {
        let file = self.at(name);
        let made =
            self.backup(&["create", "-o", &file, "--passphrase-file", &self.at("pass"), "--json"]);
        assert!(made.status.success(), "{made:?}");
        file
    }

    /// The old host is gone: another one with the same store takes over what was restored.
    fn move_to(self, state: &Path) -> (Daemon, tempfile::TempDir) {
        let Self { mut daemon, desk } = self;
        let vault = desk.path().join("old-vault");
        daemon.kill_nine();
        let copied = Command::new("cp").arg("-a").arg(daemon.vault()).arg(&vault).status();
        assert!(copied.unwrap().success());
        drop(daemon);
        let vault = format!("path = {vault:?}");
        let config = configure_with(desk.path(), "second", &vault, "");
        let mut moved = Daemon::at_rest(Some(state), &["--config", config.to_str().unwrap()]);
        moved.start_again();
        (moved, desk)
    }
}

fn configure(desk: &Path, name: &str, more: &str) -> PathBuf {
    configure_with(desk, name, "", more)
}

fn configure_with(desk: &Path, name: &str, vault: &str, more: &str) -> PathBuf {
    let store = desk.join("calls");
    let config = desk.join(format!("{name}.toml"));
    let text = format!(
        "[vault]\nreserve = \"1MiB\"\n{vault}\n[ingest]\nreconcile_every = \"2s\"\n{more}\n\
         [[store]]\npath = {store:?}\nsettle = \"1s\"\n"
    );
    std::fs::write(&config, text).unwrap();
    config
}

fn put(desk: &Path, name: &str) -> Vec<u8> {
    let wav = Marker::new().wav(1);
    std::fs::write(desk.join("calls").join(name), &wav).unwrap();
    wav
}

fn expect_sealed(daemon: &mut Daemon, count: u64) {
    daemon.wait_until("everything is sealed", |daemon| {
        daemon.json(&["status"])["recordings"]["available"] == count
    });
}

fn available(daemon: &Daemon) -> Vec<Value> {
    let listed = daemon.json(&["recordings", "--state-is", "available"]);
    listed.as_array().unwrap().clone()
}

/// Opens a recording and compares.
fn assert_plays(daemon: &Daemon, desk: &Path, recording: &Value, said: &[u8]) {
    let id = recording["id"].as_str().unwrap();
    let out = desk.join(format!("{id}.open"));
    let opened = daemon.recseal(&["open", id, "-o", out.to_str().unwrap(), "--force"]);
    assert!(opened.status.success(), "{opened:?}");
    assert!(std::fs::read(&out).unwrap() == said, "{id} plays something else");
}

fn run(args: &[&str]) -> Output {
    program().args(args).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn warns(daemon: &Daemon, code: &str) -> bool {
    let status = daemon.json(&["status"]);
    status["warnings"].as_array().unwrap().iter().any(|warning| warning["code"] == code)
}

/// What the manual tells an admin to do, from the key pair to the new host, with a backup that was
/// made while a burst of recordings was being sealed. Every recording of the backup plays.
#[test]
fn a_host_is_lost_in_the_middle_of_a_burst_and_its_recordings_play_elsewhere() {
    let mut host = Host::start("");
    assert!(warns(&host.daemon, "no-verified-backup"));
    let mut said = host.record((0..12).map(|n| format!("early-{n}.wav")));
    host.expect_sealed(12);
    assert!(host.backup(&["keygen", "-o", &host.at("backup.key")]).status.success());
    std::fs::create_dir(host.at("shares")).unwrap();

    let desk = host.desk.path().to_owned();
    let burst = std::thread::spawn(move || {
        let names = (0..60).map(|n| format!("burst-{n}.wav"));
        names.map(|name| (name.clone(), put(&desk, &name))).collect::<Vec<_>>()
    });
    host.daemon.wait_until("the burst is being sealed", |daemon| {
        daemon.json(&["status"])["recordings"]["available"].as_u64().unwrap() > 12
    });
    let file = host.at("f.rsbackup");
    let (pass, shares) = (host.at("pass"), host.at("shares"));
    let (public, private) = (host.at("backup.key.pub"), host.at("backup.key"));
    let made = host.backup(&[
        "create",
        "-o",
        &file,
        "--passphrase-file",
        &pass,
        "--shares",
        "3/5",
        "--share-dir",
        &shares,
        "--recipient",
        &public,
        "--json",
    ]);
    assert!(made.status.success(), "{made:?}");
    said.extend(burst.join().unwrap());
    host.expect_sealed(72);

    // Each way opens all of it, with the daemon running.
    let share = |n: u32| format!("{shares}/backup-share-{n}-of-5.txt");
    let (one, two, three) = (share(1), share(4), share(5));
    let by_shares = ["--share-file", &one, "--share-file", &two, "--share-file", &three];
    for opener in [&["--passphrase-file", &*pass][..], &by_shares, &["--private-key", &private]] {
        let verified = host.daemon.json(&[&["backup", "verify", &*file], opener].concat());
        assert_eq!((&verified["verified"], &verified["told_daemon"]), (&true.into(), &true.into()));
        assert!(verified["data_keys"].as_u64().unwrap() >= 12);
    }
    assert!(!warns(&host.daemon, "no-verified-backup"));
    let status = host.daemon.json(&["status"])["backup"].clone();
    assert!(status["verified_at"].is_string() && status["created_at"].is_string());
    let backed_up = host.daemon.json(&["backup", "status"])["backups"][0]["sealed_recordings"]
        .as_u64()
        .unwrap();
    assert_eq!(status["newer_recordings"], 72 - backed_up);

    // The old host burns down; its vault was copied.
    let state = host.desk.path().join("new/state");
    std::fs::create_dir(state.parent().unwrap()).unwrap();
    let state_text = state.to_str().unwrap();
    let restored = run(&[
        &["backup", "restore", &*file, "--state", state_text, "--new-passphrase-file", &*pass],
        &by_shares[..],
        &["--json"],
    ]
    .concat());
    assert!(restored.status.success(), "{restored:?}");
    let told: Value = serde_json::from_slice(&restored.stdout).unwrap();
    assert_eq!(told["vault_was"], host.daemon.vault().to_str().unwrap());
    let (moved, desk) = host.move_to(&state);
    let recordings = available(&moved);
    assert!(recordings.len() as u64 >= backed_up, "{} of {backed_up}", recordings.len());
    for recording in &recordings {
        let name = recording["original_name"].as_str().unwrap();
        assert_plays(&moved, desk.path(), recording, &said[name]);
    }
    let trail = moved.json(&["audit", "--activity", "BACKUP_RESTORED"]);
    assert_eq!(trail.as_array().unwrap().len(), 1);
    assert_eq!(moved.json(&["audit", "verify"])["verified"], true);
    assert!(!warns(&moved, "no-recovery-slot"), "the passphrase became a recovery slot");
    assert!(!warns(&moved, "no-verified-backup"));
}

#[test]
fn whoever_brings_the_wrong_thing_is_told_so() {
    let mut host = Host::start("");
    host.record(["a.wav".to_owned()]);
    host.expect_sealed(1);
    for name in ["mine", "other"] {
        assert!(host.backup(&["keygen", "-o", &host.at(name)]).status.success());
        std::fs::create_dir(host.at(&format!("{name}-shares"))).unwrap();
        let made = host.backup(&[
            "create",
            "-o",
            &host.at(&format!("{name}.rsbackup")),
            "--passphrase-file",
            &host.at("pass"),
            "--recipient",
            &host.at(&format!("{name}.pub")),
            "--shares",
            "3/5",
            "--share-dir",
            &host.at(&format!("{name}-shares")),
        ]);
        assert!(made.status.success(), "{made:?}");
    }
    std::fs::write(host.at("wrong"), "not the passphrase").unwrap();
    let file = host.at("mine.rsbackup");
    let share = |set: &str, n: u32| host.at(&format!("{set}-shares/backup-share-{n}-of-5.txt"));
    let verify = |opener: &[&str]| {
        let output = host.backup(&[&["verify", &*file], opener].concat());
        (code(&output), stderr(&output))
    };
    let (mine_1, mine_2, mine_3) = (share("mine", 1), share("mine", 2), share("mine", 3));
    let (other_1, other_2, other_3) = (share("other", 1), share("other", 2), share("other", 3));
    let (wrong, other_key) = (host.at("wrong"), host.at("other"));
    for (opener, says) in [
        (&["--passphrase-file", &*wrong][..], "passphrase does not open"),
        (&["--private-key", &*other_key], "another public key"),
        (&["--share-file", &*mine_1, "--share-file", &*mine_2], "3 are needed"),
        (
            &["--share-file", &*mine_1, "--share-file", &*mine_2, "--share-file", &*other_3],
            "another set",
        ),
        (
            &["--share-file", &*other_1, "--share-file", &*other_2, "--share-file", &*other_3],
            "something else than this backup",
        ),
        (&["--share-file", &*mine_1, "--share-file", &*mine_1, "--share-file", &*mine_3], "twice"),
        (&["--private-key", &*wrong], "not the text of a backup private key"),
    ] {
        let (exit, said) = verify(opener);
        assert_eq!(exit, 4, "{said}");
        assert!(said.contains(says) && said.contains("\nhint: "), "{said}");
    }
    // None of that is the backup's fault.
    let rows = host.daemon.json(&["backup", "status"])["backups"].clone();
    assert!(rows.as_array().unwrap().iter().all(|row| row["damaged_at"].is_null()));
    // Nor is another host's backup this host's.
    let stranger = Host::start("");
    let output =
        stranger.backup(&["verify", &*file, "--passphrase-file", &host.at("pass"), "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), &answer["told_daemon"]), (0, &false.into()));
    assert!(warns(&stranger.daemon, "no-verified-backup"));
}

/// Takes the key of a recording away through the catalog, as an erasure does.
fn erase(state: &Path, id: &str) {
    let catalog = Catalog::open(&state.join("catalog.db")).unwrap();
    let recording = RecordingId(uuid::Uuid::try_parse(id).unwrap());
    let entry = AuditEntry::new(
        Timestamp::from_millis(1_795_000_000_000),
        Actor::DAEMON,
        Activity::KeyDestroyed,
    )
    .on_recording(recording);
    catalog
        .write::<_, CatalogError>(|tx| {
            tx.advance(recording, RecordingEvent::ErasureStarted, &entry)?;
            assert!(tx.destroy_key(recording)?);
            Ok(())
        })
        .unwrap();
    catalog.scrub().unwrap();
    catalog.close().unwrap();
}

/// An older backup still holds the key of what was erased since. Meant to catch: the list of
/// tombstones read and not applied.
#[test]
fn what_was_erased_since_stays_erased() {
    let mut host = Host::start("");
    let said = host.record((0..3).map(|n| format!("{n}.wav")));
    host.expect_sealed(3);
    host.daemon.wait_until("the originals are gone", |_| {
        std::fs::read_dir(host.desk.path().join("calls")).unwrap().flatten().count() <= 1
    });
    let file = host.create("f.rsbackup");
    let recordings = available(&host.daemon);
    let gone = recordings[1]["id"].as_str().unwrap().to_owned();
    host.daemon.stop();
    erase(&host.daemon.state(), &gone);
    host.daemon.start_again();
    let list = host.at("tombstones.txt");
    assert!(host.backup(&["tombstones", "-o", &list]).status.success());
    let text = std::fs::read_to_string(&list).unwrap();
    assert!(text.contains(&gone), "{text}");
    let pass = host.at("pass");
    let restore = |name: &str, tombstones: &str| {
        let state = host.at(name);
        let output = run(&[
            "backup",
            "restore",
            &file,
            "--passphrase-file",
            &pass,
            "--state",
            &state,
            "--tombstones",
            tombstones,
            "--json",
        ]);
        (output, state)
    };
    // A list that somebody made longer is refused.
    let forged = host.at("forged.txt");
    let other = recordings[0]["id"].as_str().unwrap();
    std::fs::write(
        &forged,
        text.replacen("recording ", &format!("recording {other}\nrecording "), 1),
    )
    .unwrap();
    let (output, state) = restore("forged", &forged);
    assert_eq!(code(&output), 4, "{output:?}");
    assert!(!Path::new(&state).exists());
    // The old state folder says the same as the list, the daemon stopped or not.
    let (output, _) = restore("by-state", host.daemon.state().to_str().unwrap());
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["kept_destroyed"]["recordings"], 1);
    let (output, state) = restore("by-list", &list);
    assert!(output.status.success(), "{output:?}");
    let (moved, desk) = host.move_to(Path::new(&state));
    let left = available(&moved);
    assert_eq!(left.len(), 2);
    for recording in &left {
        let name = recording["original_name"].as_str().unwrap();
        assert_plays(&moved, desk.path(), recording, &said[name]);
    }
    let out = desk.path().join("gone.wav");
    let opened = moved.recseal(&["open", &gone, "-o", out.to_str().unwrap()]);
    assert_eq!(code(&opened), 6, "{opened:?}");
    assert_eq!(moved.json(&["audit", "verify"])["verified"], true);
}

#[test]
fn the_daemon_backs_up_by_itself_and_says_when_it_cannot() {
    let keys = tempfile::tempdir().unwrap();
    let private = keys.path().join("backup.key");
    assert_eq!(code(&run(&["backup", "keygen", "-o", private.to_str().unwrap()])), 0);
    let folder = keys.path().join("backups");
    let plan = format!(
        "[backup]\nfolder = {folder:?}\nrecipient = {:?}\nevery = \"1m\"\nkeep = 2",
        keys.path().join("backup.key.pub")
    );
    let mut host = Host::start(&plan);
    host.daemon.wait_until("it says that the folder is missing", |d| warns(d, "backup-failed"));
    std::fs::create_dir(&folder).unwrap();
    // A restart tries at once; the plan is in the catalog and the configuration, not in memory.
    host.daemon.stop();
    host.daemon.start_again();
    let written = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&folder).unwrap().flatten();
        entries
            .map(|e| e.path())
            .filter(|p| p.extension().is_some_and(|e| e == "rsbackup"))
            .collect()
    };
    host.daemon.wait_until("a backup is kept", |daemon| {
        daemon.json(&["status"])["backup"]["created_at"].is_string()
    });
    assert_eq!(written().len(), 1);
    assert!(!warns(&host.daemon, "backup-failed"));
    let file = written().remove(0);
    let args = ["verify", file.to_str().unwrap(), "--private-key", private.to_str().unwrap()];
    assert!(host.backup(&args).status.success());
    let id = host.daemon.json(&["backup", "status"])["backups"][0]["id"].clone();
    let confirmed = host.daemon.json(&["backup", "confirm", id.as_str().unwrap()]);
    assert_eq!(confirmed["verified"], true);
}
