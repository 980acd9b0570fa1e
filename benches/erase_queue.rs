//! What a long queue of erasures costs: how fast status answers, how much memory it takes, and
//! how good the first estimate is.
//!
//! `cargo bench --bench erase_queue [QUEUED] [FILES] [FOLDER]`, on the file system of FOLDER:
//! QUEUED rows without files for the length of the queue, FILES real small ones for the estimate.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use recseal::access::{Act, Grant, Principal, authorize};
use recseal::app;
use recseal::catalog::{Catalog, CatalogError, CatalogTx, NewRecording, StoreLayout, StoreRow};
use recseal::clock::{Clock, Timestamp};
use recseal::compliance::audit::{Activity, Actor, AuditEntry};
use recseal::compliance::erasure::ErasureReason;
use recseal::config::{Config, Overrides};
use recseal::domain::lifecycle::RecordingEvent;
use recseal::domain::{
    FileAttributes, Fingerprint, RecordingId, SealedCopy, SealedKind, Sighting, StoreId, StorePath,
    VaultName,
};
use recseal::flow::{Engine, ErasureOrder, Places, RecordingFilter, Selection};

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let mut number =
        |default| arguments.next().map_or(default, |text| text.parse().expect("a count"));
    let (queued, files) = (number(100_000), number(20_000));
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    println!("| What | Result |\n|---|---|");
    a_long_queue(queued, &folder);
    an_estimate(files, &folder);
}

/// Status and memory, at rest and while the queue is worked on.
fn a_long_queue(count: u64, folder: &Path) {
    let work = tempfile::tempdir_in(folder).expect("a folder to work in");
    let state = work.path().join("state");
    let engine = engine_on(&state, "");
    plant(&engine, &state.join("catalog.db"), count);
    let before = resident_kib();
    let begun = now();
    order_all(&engine, count);
    println!("| ordering {count} recordings | {:.1?} |", begun.elapsed());
    println!("| memory grown by that | {} KiB |", resident_kib().saturating_sub(before));
    let (median, longest) = status_takes(&engine, 200);
    println!("| status with {count} queued | median {median:.1?}, longest {longest:.1?} |");
    let before = resident_kib();
    let (longest, most) = std::thread::scope(|scope| {
        let (done, told) = std::sync::mpsc::channel::<()>();
        let watcher = scope.spawn({
            let engine = &engine;
            move || {
                let mut longest = Duration::ZERO;
                while told.try_recv().is_err() {
                    longest = longest.max(status_takes(engine, 5).1);
                }
                longest
            }
        });
        let mut most = 0;
        for _ in 0..BATCHES {
            engine.erase_batch(&Clock::System).expect("a batch");
            most = most.max(resident_kib());
        }
        done.send(()).expect("the watcher listens");
        (watcher.join().expect("it watched"), most)
    });
    println!("| status beside {BATCHES} running batches | longest {longest:.1?} |");
    println!("| memory grown by those | {} KiB |", most.saturating_sub(before));
}

/// The estimate after the first tenth against what came.
fn an_estimate(count: u64, folder: &Path) {
    let work = tempfile::tempdir_in(folder).expect("a folder to work in");
    let store = work.path().join("store");
    std::fs::create_dir(&store).expect("a store");
    for number in 0..count {
        let bytes = vec![number as u8; 2_000 + (number % 4_000) as usize];
        std::fs::write(store.join(format!("call-{number}.wav")), bytes).expect("a recording");
    }
    let config =
        format!("[vault]\nreserve = \"1MiB\"\n[[store]]\npath = {store:?}\nsettle = \"1s\"\n");
    let engine = engine_on(&work.path().join("state"), &config);
    let time = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(0));
    let at = Clock::System.now().as_millis();
    for hours in [0, 1] {
        time.store(at + hours * 3_600_000, std::sync::atomic::Ordering::SeqCst);
        let clock = Clock::Manual(std::sync::Arc::clone(&time));
        engine.register_store(0, clock.now()).expect("a store");
        engine.discover(0, &Places::Everywhere, &clock).expect("a look");
    }
    let late = Timestamp::from_millis(at + 3_600_000);
    while engine.ingest(late).expect("sealing").taken > 0 {}
    order_all(&engine, count);
    let (begun, mut estimate) = (now(), None);
    loop {
        let step = engine.erase_batch(&Clock::System).expect("a batch");
        let status = engine.erasure_status(Clock::System.now()).expect("a status");
        if estimate.is_none() && status.progress.done_items >= count / 10 {
            estimate = status.eta.map(|eta| (begun.elapsed(), eta));
        }
        if !step.more {
            assert_eq!(status.certificates, count, "all are certified");
            break;
        }
    }
    let whole = begun.elapsed();
    let (at, eta) = estimate.expect("an estimate after the first tenth");
    let real = whole - at;
    let off = eta.as_secs_f64() / real.as_secs_f64() * 100.0 - 100.0;
    let rate = count as f64 / whole.as_secs_f64();
    println!("| {count} small recordings erased and certified | {whole:.1?}, {rate:.0} a second |");
    println!("| estimate after the first tenth | {eta:.1?}, it took {real:.1?}: {off:+.0} % |");
}

fn status_takes(engine: &Engine, times: usize) -> (Duration, Duration) {
    let mut took: Vec<Duration> = (0..times)
        .map(|_| {
            let begun = now();
            engine.erasure_status(Clock::System.now()).expect("a status");
            begun.elapsed()
        })
        .collect();
    took.sort();
    (took[took.len() / 2], took[took.len() - 1])
}

fn order_all(engine: &Engine, count: u64) {
    let (mut ids, filter) = (Vec::new(), RecordingFilter::default());
    loop {
        let page = engine.recordings(&may(), &filter, ids.last().copied(), 1_000);
        let page = page.expect("they are listed");
        if page.is_empty() {
            break;
        }
        ids.extend(page.iter().map(|detail| detail.recording.id));
    }
    let selection = Selection::Recordings(ids);
    let order = ErasureOrder { selection, reason: ErasureReason::Decision, confirm: Some(count) };
    let ordered = engine.order_erasure(&may(), &order, Clock::System.now());
    let ordered = ordered.unwrap_or_else(|error| panic!("ordering: {error}"));
    assert_eq!(ordered.plan.erase.recordings, count);
}

fn engine_on(state: &Path, config: &str) -> Engine {
    let over = Overrides { state: Some(state.to_owned()), ..Overrides::default() };
    let config = Config::read(config, over).expect("the configuration is sound");
    let engine = app::build(&config, &Clock::System).expect("the parts come together");
    engine.recover(Clock::System.now()).expect("it recovers");
    engine
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
        root: "/srv/recordings".into(),
        profile: "generic".into(),
        layout: StoreLayout::Vault,
        device: 1,
        created_at: Timestamp::from_millis(0),
    }
}

fn may<A: Act>() -> Grant<A> {
    authorize(&Principal::local(0, 0)).expect("root may")
}

/// What the process holds in memory now.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("in this line");
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
}

#[expect(clippy::disallowed_methods, reason = "measuring is what this program is for")]
fn now() -> Instant {
    Instant::now()
}

const BATCH: usize = 20_000;
/// Enough to be certified twice.
const BATCHES: usize = 12;
