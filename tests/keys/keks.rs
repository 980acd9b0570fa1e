//! The lives of key-encryption keys.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use keymanager::{KeyManager, KeyState, Unlock, WrappedKey};
use recseal::access::{Grant, ManageKeys, Principal, ViewKeys, authorize};
use recseal::catalog::{Catalog, CatalogError, CatalogTx, NewRecording, StoreLayout, StoreRow};
use recseal::clock::{Clock, Timestamp};
use recseal::compliance::audit::{Activity, Actor, AuditEntry};
use recseal::config::{Config, Overrides};
use recseal::domain::lifecycle::RecordingEvent;
use recseal::domain::{
    FileAttributes, Fingerprint, RecordingId, SealedCopy, SealedKind, Sighting, StoreId, StorePath,
    VaultName,
};
use recseal::flow::{DestroyWhen, Engine, FlowError};
use recseal::{app, flow};
use serde_json::Value;

use crate::common::daemon::Daemon;

/// The proof that erasing holds against yesterday's catalog, and what an admin does for it.
#[test]
fn yesterdays_catalog_is_worth_nothing_once_the_old_key_is_destroyed() {
    let (_folder, store, config) = ground();
    let mut daemon = Daemon::start(&["--config", &config]);
    record(&store, "first", 4);
    wait_for(&mut daemon, 4);
    daemon.stop();

    let old = keys_of(&daemon.state().join("catalog.db"));
    assert!(old.len() == 4 && old.iter().all(|(_, key)| key.version() == 1));
    let yesterday = daemon.state().join("yesterday.db");
    for suffix in ["", "-wal"] {
        let name = |base: &str| daemon.state().join(format!("{base}{suffix}"));
        fs::copy(name("catalog.db"), name("yesterday.db")).unwrap();
    }
    let erased = old[0].0;
    erase(&daemon.state().join("catalog.db"), erased);

    daemon.start_again();
    let rotated = daemon.json(&["keys", "rotate", "--wait"]);
    assert_eq!(rotated["version"], 2);
    record(&store, "second", 2);
    wait_for(&mut daemon, 5);
    let refused = daemon.recseal(&["keys", "destroy", "2", "--now", "--yes"]);
    assert_eq!(refused.status.code(), Some(5), "the active one");
    let hesitant = daemon.recseal(&["keys", "destroy", "1", "--now"]);
    assert_eq!(hesitant.status.code(), Some(2), "no terminal, no --yes");
    let gone = daemon.json(&["keys", "destroy", "1", "--now", "--yes", "--reason", "test"]);
    assert_eq!(gone["state"], "destroyed");
    assert_eq!(daemon.recseal(&["keys", "enable", "1"]).status.code(), Some(5));
    assert_eq!(daemon.recseal(&["keys", "show", "9"]).status.code(), Some(6));
    assert_eq!(daemon.json(&["keys", "list"])[0]["state"], "destroyed");
    let audited = |activity| daemon.json(&["audit", "--activity", activity]);
    assert_eq!(audited("KEY_DESTROYED")[0]["detail"], "version=1");
    assert_eq!(audited("KEYS_REWRAPPED").as_array().map(Vec::len), Some(1));
    certificate_holds(&daemon);
    daemon.stop();

    let keys = open_keys(&daemon);
    for (recording, key) in keys_of(&yesterday) {
        assert!(keys.unwrap(recording.0, &key).is_err(), "yesterday's row opens");
    }
    let live = keys_of(&daemon.state().join("catalog.db"));
    assert_eq!(live.len(), 5);
    assert!(live.iter().all(|(recording, key)| keys.unwrap(recording.0, key).is_ok()));
    for name in ["catalog.db", "catalog.db-wal"] {
        let bytes = fs::read(daemon.state().join(name)).unwrap();
        for (_, key) in &old {
            let secret = &key.as_bytes()[20..];
            let is_there = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!is_there, "an old form is still in {name}");
        }
    }
}

fn certificate_holds(daemon: &Daemon) {
    let folder = tempfile::tempdir().unwrap();
    let name = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (certificate, public) = (name("certificate"), name("public"));
    daemon.json(&["keys", "certificate", "1", "-o", &certificate]);
    daemon.json(&["keys", "public", "-o", &public]);
    assert_eq!(daemon.recseal(&["keys", "certificate", "2", "-o", "-"]).status.code(), Some(6));
    let check = ["keys", "certificate", "--verify", &certificate, "--public-key", &public];
    let verified = daemon.json(&check);
    assert_eq!((&verified["version"], &verified["reason"]), (&1.into(), &"test".into()));
    let text = fs::read_to_string(&certificate).unwrap();
    fs::write(&certificate, text.replace("key version: 1", "key version: 2")).unwrap();
    assert_eq!(daemon.recseal(&check).status.code(), Some(4));
}

/// 20,000 data keys, killed after a batch and again after the scrub, while calls come in.
#[test]
fn a_move_that_is_killed_goes_on_and_sealing_with_it() {
    let (_folder, store, config) = ground();
    let mut daemon = Daemon::start(&["--config", &config]);
    daemon.stop();
    plant(&daemon, 20_000);
    // The first life rotates and dies after its first batch, the next one after the scrub.
    daemon.begin(&[("RECSEAL_CRASH_AT", "keks.batch_moved:1")]);
    daemon.wait_until("it answers", |daemon| daemon.try_json(&["status"]).is_some());
    daemon.json(&["keys", "rotate", "--compromised"]);
    let end = daemon.wait_for_end("keks.batch_moved:1");
    assert_eq!(end.signal(), Some(9));
    let moved = keys_of(&daemon.state().join("catalog.db"));
    let moved = moved.iter().filter(|(_, key)| key.version() == 2).count();
    assert!(moved > 0 && moved < 20_000, "{moved} moved");
    record(&store, "call", 6);
    daemon.begin(&[("RECSEAL_CRASH_AT", "keks.scrubbed:1")]);
    let end = daemon.wait_for_end("keks.scrubbed:1");
    assert_eq!(end.signal(), Some(9));

    daemon.begin(&[]);
    daemon.wait_until("it answers", |daemon| daemon.try_json(&["status"]).is_some());
    daemon.json(&["keys", "rewrap", "--wait"]);
    wait_for(&mut daemon, 20_006);
    let status = daemon.json(&["status"]);
    assert_eq!(status["keys"]["rewrap"]["pending"], 0);
    assert!(!status["warnings"].to_string().contains("compromised"), "{status}");
    let entries = daemon.json(&["audit", "--activity", "KEYS_REWRAPPED"]);
    let details: Vec<_> = entries.as_array().unwrap().iter().map(|e| e["detail"].clone()).collect();
    assert_eq!(details[0], "version=2 data_keys=20000 failed=0");
    daemon.stop();
    let keys = open_keys(&daemon);
    let rows = keys_of(&daemon.state().join("catalog.db"));
    assert_eq!(rows.len(), 20_006);
    for (recording, key) in &rows {
        assert_eq!(key.version(), 2);
        keys.unwrap(recording.0, key).unwrap();
    }
}

/// The engine at dates of our choice.
#[test]
fn dates_are_kept_unless_the_clock_is_suspect() {
    let ground = Ground::new();
    let engine = ground.engine();
    let (manage, view) = grants();
    let states = || -> Vec<KeyState> {
        engine.key_versions(&view).unwrap().iter().map(|detail| detail.info.state).collect()
    };
    let keep = |engine: &Engine| while engine.keep_keys(ground.now()).unwrap() {};
    ground.plant(&engine, 30);
    keep(&engine);
    assert_eq!(states(), [KeyState::Active]);

    ground.advance_days(91);
    engine.note_clock(true);
    keep(&engine);
    assert_eq!(states(), [KeyState::Active], "rotated by a clock that jumped");
    assert!(codes(&engine, ground.now()).contains(&"key-rotation-overdue"));
    engine.note_clock(false);
    keep(&engine);
    assert_eq!(states(), [KeyState::Retired, KeyState::Active]);
    assert!(!codes(&engine, ground.now()).contains(&"key-rotation-overdue"));
    assert_eq!(engine.key_versions(&view).unwrap()[0].recordings, 0);

    let too_near = DestroyWhen::At(ground.now().plus(std::time::Duration::from_secs(86_400)));
    let refused = engine.destroy_key_version(&manage, 1, too_near, "r", ground.now());
    assert!(matches!(refused, Err(FlowError::Invalid { .. })));
    engine.destroy_key_version(&manage, 1, DestroyWhen::Later, "r", ground.now()).unwrap();
    ground.advance_days(29);
    keep(&engine);
    assert_eq!(states()[0], KeyState::DestroyScheduled);
    engine.restore_key(&manage, 1, ground.now()).unwrap();
    assert_eq!(states()[0], KeyState::Disabled);
    engine.destroy_key_version(&manage, 1, DestroyWhen::Later, "r", ground.now()).unwrap();
    ground.advance_days(31);
    engine.note_clock(true);
    keep(&engine);
    assert_eq!(states()[0], KeyState::DestroyScheduled, "destroyed by a clock that jumped");
    let refused = engine.destroy_key_version(&manage, 1, DestroyWhen::Now, "r", ground.now());
    assert!(matches!(refused, Err(FlowError::ClockSuspect)));
    engine.note_clock(false);
    keep(&engine);
    assert_eq!(states()[0], KeyState::Destroyed);
    assert!(engine.key_certificate(&view, 1).unwrap().contains("key version: 1"));
}

/// A row that no key opens ends the pass all the same, and is named.
#[test]
fn what_cannot_be_moved_is_told_and_holds_the_destruction_up() {
    let ground = Ground::new();
    let engine = ground.engine();
    let (manage, _) = grants();
    ground.plant(&engine, 5);
    // One key of another store among them.
    let other = Ground::new();
    let foreign = other.engine();
    other.plant(&foreign, 1);
    drop(foreign);
    let (recording, key) = keys_of(&other.state().join("catalog.db"))[0];
    plant_row(&ground.catalog_path(), recording, &key);

    engine.rotate_keys(&manage, true, ground.now()).unwrap();
    assert!(codes(&engine, ground.now()).contains(&"key-compromised-rewrap-pending"));
    let mut steps = Vec::new();
    while steps.last().is_none_or(|step: &flow::RewrapStep| !step.is_done) {
        steps.push(engine.rewrap_step(ground.now()).unwrap());
    }
    let last = steps.last().unwrap();
    assert_eq!((last.pending, last.failed), (1, 1));
    let sum: u64 = steps.iter().map(|step| step.moved).sum();
    assert_eq!(sum, 5);
    let refused = engine.destroy_key_version(&manage, 1, DestroyWhen::Now, "r", ground.now());
    assert!(matches!(refused, Err(FlowError::KeyInUse { version: 1, recordings: 1 })));
    assert!(!engine.keep_keys(ground.now()).unwrap(), "it is not tried again at once");
    erase(&ground.catalog_path(), recording);
    engine.destroy_key_version(&manage, 1, DestroyWhen::Now, "r", ground.now()).unwrap().unwrap();
}

/// A row that comes in late under a version that waits for its end is saved, not lost.
#[test]
fn a_row_that_comes_late_is_moved_before_its_key_goes() {
    let ground = Ground::new();
    let engine = ground.engine();
    let (manage, _) = grants();
    let late = RecordingId::new();
    let (data_key, wrapped) = engine.keys().new_data_key(late.0);
    engine.rotate_keys(&manage, false, ground.now()).unwrap();
    engine.destroy_key_version(&manage, 1, DestroyWhen::Later, "r", ground.now()).unwrap();
    plant_row(&ground.catalog_path(), late, &wrapped);
    ground.advance_days(31);
    assert!(codes(&engine, ground.now()).contains(&"key-destruction-blocked"));
    while engine.keep_keys(ground.now()).unwrap() {}
    let (_, moved) = keys_of(&ground.catalog_path())[0];
    assert_eq!(engine.keys().unwrap(late.0, &moved).unwrap().id(), data_key.id());
    assert_eq!(engine.keys().tombstones().len(), 1);
}

/// An engine without tasks, on a state folder of its own, at a date of our choice.
struct Ground {
    folder: tempfile::TempDir,
    clock: Arc<AtomicI64>,
}

impl Ground {
    fn new() -> Self {
        let clock = Arc::new(AtomicI64::new(1_795_000_000_000));
        Self { folder: tempfile::tempdir().unwrap(), clock }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn catalog_path(&self) -> PathBuf {
        self.state().join("catalog.db")
    }

    fn engine(&self) -> Engine {
        let over = Overrides { state: Some(self.state()), ..Overrides::default() };
        let config = Config::read("", over).unwrap();
        app::build(&config, &Clock::Manual(Arc::clone(&self.clock))).unwrap()
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.load(Ordering::SeqCst))
    }

    fn advance_days(&self, days: i64) {
        self.clock.fetch_add(days * 86_400_000, Ordering::SeqCst);
    }

    fn plant(&self, engine: &Engine, count: usize) {
        for _ in 0..count {
            let recording = RecordingId::new();
            let (_, wrapped) = engine.keys().new_data_key(recording.0);
            plant_row(&self.catalog_path(), recording, &wrapped);
        }
    }
}

fn codes(engine: &Engine, now: Timestamp) -> Vec<&'static str> {
    engine.status(now).unwrap().warnings.iter().map(|warning| warning.code).collect()
}

fn grants() -> (Grant<ManageKeys>, Grant<ViewKeys>) {
    let root = Principal::local(0, 0);
    (authorize(&root).unwrap(), authorize(&root).unwrap())
}

/// A folder with an empty store and a configuration that names it.
fn ground() -> (tempfile::TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("calls");
    fs::create_dir(&store).unwrap();
    let text = format!(
        "[[store]]\npath = {:?}\nprofile = \"generic\"\nsettle = \"1s\"\npoll_settle = \"1s\"\n",
        store.to_str().unwrap()
    );
    let config = folder.path().join("recseal.toml");
    fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap().to_owned();
    (folder, store, config)
}

fn record(store: &Path, name: &str, count: u8) {
    for number in 0..count {
        fs::write(store.join(format!("{name}-{number}.bin")), vec![number; 5_000]).unwrap();
    }
}

fn wait_for(daemon: &mut Daemon, available: u64) {
    let what = format!("{available} are available");
    daemon.wait_until(&what, |daemon| {
        let status = daemon.try_json(&["status"]).unwrap_or(Value::Null);
        status["recordings"]["available"] == available && status["recordings"]["waiting"] == 0
    });
}

fn open_keys(daemon: &Daemon) -> KeyManager {
    KeyManager::open(&daemon.state().join("keys"), &Unlock::File).unwrap()
}

/// Every wrapped key in the catalog at `path`.
fn keys_of(path: &Path) -> Vec<(RecordingId, WrappedKey)> {
    let catalog = Catalog::open(path).unwrap();
    let read = |tx: &recseal::catalog::ReadTx<'_>| {
        let mut rows = Vec::new();
        for (version, _) in tx.keys_by_version()? {
            rows.extend(tx.keys_under(version, None, usize::MAX)?);
        }
        Ok::<_, CatalogError>(rows)
    };
    let rows = catalog.read(read).unwrap();
    rows.into_iter().map(|(recording, key)| (recording, key.unwrap())).collect()
}

/// What an erasure does to the catalog.
fn erase(path: &Path, recording: RecordingId) {
    let catalog = Catalog::open(path).unwrap();
    let entry = entry(recording);
    catalog
        .write(|tx| {
            tx.advance(recording, RecordingEvent::ErasureStarted, &entry)?;
            assert!(tx.destroy_key(recording)?);
            for copy in tx.copies(recording)? {
                assert!(tx.forget_copy(recording, &copy)?);
            }
            tx.advance(recording, RecordingEvent::ErasureVerified, &entry).map(drop)
        })
        .unwrap();
    catalog.scrub().unwrap();
}

/// Stored recordings of a store that is not configured, so that nobody touches them.
fn plant(daemon: &Daemon, count: usize) {
    let keys = open_keys(daemon);
    let catalog = Catalog::open(&daemon.state().join("catalog.db")).unwrap();
    let store = StoreId::new();
    catalog
        .write(|tx| {
            tx.put_store(&store_row(store))?;
            for _ in 0..count {
                let recording = RecordingId::new();
                let (_, wrapped) = keys.new_data_key(recording.0);
                stored(tx, store, recording, &wrapped)?;
            }
            Ok::<_, CatalogError>(())
        })
        .unwrap();
}

fn plant_row(path: &Path, recording: RecordingId, key: &WrappedKey) {
    let catalog = Catalog::open(path).unwrap();
    let store = StoreId::new();
    catalog
        .write(|tx| {
            tx.put_store(&store_row(store))?;
            stored(tx, store, recording, key)
        })
        .unwrap();
}

fn stored(
    tx: &CatalogTx<'_>,
    store: StoreId,
    id: RecordingId,
    key: &WrappedKey,
) -> Result<(), CatalogError> {
    let now = Timestamp::from_millis(1);
    let path = StorePath::new(id.to_string()).unwrap();
    let fingerprint =
        Fingerprint { device: 1, inode: 7, size_bytes: 1_000, modified_ns: 5, changed_ns: 6 };
    let attributes =
        FileAttributes { mode: 0o100_640, uid: 0, gid: 0, accessed_ns: 8, modified_ns: 5 };
    let sighting = Sighting { path: path.clone(), fingerprint, attributes, links: 1 };
    tx.add_found(&NewRecording { id, store, sighting: &sighting, is_finished: true, now })?;
    tx.record_key(id, key, now)?;
    tx.advance(id, RecordingEvent::KeyRecorded, &entry(id))?;
    let copy = SealedCopy {
        vault: VaultName::Own,
        path,
        kind: SealedKind::Media,
        sidecar: None,
        sealed_bytes: 1_200,
        plain_bytes: 1_000,
    };
    tx.add_copy(id, &copy, now)?;
    tx.advance(id, RecordingEvent::SealVerified, &entry(id))?;
    tx.advance(id, RecordingEvent::OriginalRemoved, &entry(id)).map(drop)
}

fn entry(recording: RecordingId) -> AuditEntry {
    let at = Timestamp::from_millis(1);
    AuditEntry::new(at, Actor::DAEMON, Activity::RecordingSealed).on_recording(recording)
}

fn store_row(id: StoreId) -> StoreRow {
    StoreRow {
        id,
        root: format!("/srv/{id}").into(),
        profile: "generic".into(),
        layout: StoreLayout::Vault,
        device: 1,
        created_at: Timestamp::from_millis(0),
    }
}
