//! What a change of the key-encryption key costs: a million data keys wrapped anew, catalog and
//! scrub included, while a hundred recordings in a second are recorded as sealed.
//!
//! `cargo bench --bench rewrap [COUNT] [FOLDER]`, on the file system of FOLDER. Planting a million
//! recordings takes longer than what is measured; some 2 GB of room.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keymanager::DataKey;
use recseal::access::{Principal, authorize};
use recseal::app;
use recseal::catalog::{Catalog, CatalogError, CatalogTx, NewRecording, StoreLayout, StoreRow};
use recseal::clock::{Clock, Timestamp};
use recseal::compliance::audit::{Activity, Actor, AuditEntry};
use recseal::config::{Config, Overrides};
use recseal::domain::lifecycle::RecordingEvent;
use recseal::domain::{
    FileAttributes, Fingerprint, RecordingId, SealedCopy, SealedKind, Sighting, StoreId, StorePath,
    VaultName,
};
use recseal::flow::Engine;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let count = arguments.next().map_or(1_000_000, |text| text.parse().expect("a count"));
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let work = tempfile::tempdir_in(folder).expect("a folder to work in");
    let state = work.path().join("state");
    let over = Overrides { state: Some(state.clone()), ..Overrides::default() };
    let config = Config::read("", over).expect("the defaults are sound");
    let engine = app::build(&config, &Clock::System).expect("the parts come together");
    println!("planting {count} recordings");
    plant(&engine, &state.join("catalog.db"), count);

    let grant = authorize(&Principal::local(0, 0)).expect("root may");
    engine.rotate_keys(&grant, false, Clock::System.now()).expect("it rotates");
    println!("| What | Result |\n|---|---|");
    println!("| wrapping one data key anew, one thread | {:?} |", one_key());
    let done = AtomicBool::new(false);
    let ((whole, longest), (sealed, waited)) = std::thread::scope(|scope| {
        let sealing = scope.spawn(|| seal_on(&engine, &state.join("catalog.db"), &done));
        let moved = rewrap_all(&engine, count);
        done.store(true, Ordering::SeqCst);
        (moved, sealing.join().expect("sealing went on"))
    });
    let rate = count as f64 / whole.as_secs_f64();
    println!("| {count} data keys, catalog and scrub included | {whole:.1?}, {rate:.0} a second |");
    println!("| the longest step | {longest:.1?} |");
    println!("| recordings sealed meanwhile | {sealed}, the longest wait {waited:.1?} |");
}

/// The whole job, and its longest step: nobody waits longer for the catalog.
fn rewrap_all(engine: &Engine, count: u64) -> (Duration, Duration) {
    let (start, mut longest, mut moved) = (now(), Duration::ZERO, 0);
    loop {
        let begun = now();
        let step = engine.rewrap_step(Clock::System.now()).expect("a step");
        longest = longest.max(begun.elapsed());
        moved += step.moved;
        if step.is_done {
            assert_eq!((moved, step.pending, step.failed), (count, 0, 0));
            return (start.elapsed(), longest);
        }
    }
}

/// Records one recording after the other as sealed, as a busy server does; how many, and how long
/// the slowest of them had to wait for the catalog.
fn seal_on(engine: &Engine, catalog: &Path, done: &AtomicBool) -> (u64, Duration) {
    let catalog = Catalog::open(catalog).expect("the catalog opens twice");
    let store = StoreId::new();
    catalog.write(|tx| tx.put_store(&store_row(store))).expect("a store");
    let (mut sealed, mut longest) = (0, Duration::ZERO);
    let (_open, never) = std::sync::mpsc::channel::<()>();
    while !done.load(Ordering::SeqCst) {
        let begun = now();
        catalog.write(|tx| stored(engine, tx, store)).expect("it is recorded");
        longest = longest.max(begun.elapsed());
        sealed += 1;
        let _ = never.recv_timeout(BETWEEN_RECORDINGS);
    }
    (sealed, longest)
}

fn one_key() -> Duration {
    const KEYS: u32 = 20_000;
    let other = tempfile::tempdir().expect("a folder");
    let names = ["localhost".to_owned()];
    let keys = keymanager::KeyManager::create(&other.path().join("keys"), &names, 0);
    let keys = keys.expect("a second key store");
    let id = RecordingId::new();
    let wrapped = keys.wrap(id.0, &DataKey::generate());
    keys.rotate_kek(1, keymanager::RotationReason::Manual, 0).expect("it rotates");
    let rewrapper = keys.rewrapper();
    let start = now();
    for _ in 0..KEYS {
        std::hint::black_box(rewrapper.rewrap(id.0, std::hint::black_box(&wrapped)))
            .expect("it opens");
    }
    start.elapsed() / KEYS
}

fn plant(engine: &Engine, catalog: &Path, count: u64) {
    let catalog = Catalog::open(catalog).expect("the catalog opens twice");
    let store = StoreId::new();
    catalog.write(|tx| tx.put_store(&store_row(store))).expect("a store");
    for first in (0..count).step_by(BATCH) {
        let batch = (count - first).min(BATCH as u64);
        let planted = catalog.write(|tx| (0..batch).try_for_each(|_| stored(engine, tx, store)));
        planted.expect("room for the catalog");
    }
}

fn stored(engine: &Engine, tx: &CatalogTx<'_>, store: StoreId) -> Result<(), CatalogError> {
    let (id, now) = (RecordingId::new(), Timestamp::from_millis(1));
    let (_, wrapped) = engine.keys().new_data_key(id.0);
    let path = StorePath::new(id.to_string()).expect("a plain name");
    let fingerprint =
        Fingerprint { device: 1, inode: 7, size_bytes: 1_000, modified_ns: 5, changed_ns: 6 };
    let attributes =
        FileAttributes { mode: 0o100_640, uid: 0, gid: 0, accessed_ns: 8, modified_ns: 5 };
    let sighting = Sighting { path: path.clone(), fingerprint, attributes, links: 1 };
    tx.add_found(&NewRecording { id, store, sighting: &sighting, is_finished: true, now })?;
    tx.record_key(id, &wrapped, now)?;
    let entry = AuditEntry::new(now, Actor::DAEMON, Activity::RecordingSealed).on_recording(id);
    tx.advance(id, RecordingEvent::KeyRecorded, &entry)?;
    let copy = SealedCopy {
        vault: VaultName::Own,
        path,
        kind: SealedKind::Media,
        sidecar: None,
        sealed_bytes: 1_200,
        plain_bytes: 1_000,
    };
    tx.add_copy(id, &copy, now)?;
    tx.advance(id, RecordingEvent::SealVerified, &entry)?;
    tx.advance(id, RecordingEvent::OriginalRemoved, &entry).map(drop)
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

#[expect(clippy::disallowed_methods, reason = "measuring is what this program is for")]
fn now() -> Instant {
    Instant::now()
}

const BATCH: usize = 20_000;
const BETWEEN_RECORDINGS: Duration = Duration::from_millis(10);
