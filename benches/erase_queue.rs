//! What a long queue of erasures costs those who watch it: the status of 100,000 recordings that
//! are marked, the pulse of the event stream, a page of items; and the memory of it all.
//!
//! `cargo bench --bench erase_queue [COUNT] [FOLDER]`, on the file system of FOLDER. To be held
//! against 50 ms at any length of the queue.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use recseal::access::{Act, Grant, Principal, authorize};
use recseal::app;
use recseal::catalog::{
    Catalog, CatalogError, CatalogTx, ItemFilter, NewRecording, StoreLayout, StoreRow,
};
use recseal::clock::{Clock, Timestamp};
use recseal::compliance::audit::{Activity, Actor, AuditEntry};
use recseal::compliance::erasure::ErasureReason;
use recseal::config::{Config, Overrides};
use recseal::domain::lifecycle::RecordingEvent;
use recseal::domain::{
    FileAttributes, Fingerprint, RecordingId, SealedCopy, SealedKind, Sighting, StoreId, StorePath,
    VaultName,
};
use recseal::flow::{Engine, ErasureOrder, Selection};

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let count = arguments.next().map_or(100_000, |text| text.parse().expect("a count"));
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let work = tempfile::tempdir_in(folder).expect("a folder to work in");
    let state = work.path().join("state");
    let over = Overrides { state: Some(state.clone()), ..Overrides::default() };
    let config = Config::read("", over).expect("the defaults are sound");
    let engine = app::build(&config, &Clock::System).expect("the parts come together");
    println!("planting {count} recordings");
    let ids = plant(&engine, &state.join("catalog.db"), count);
    let time = || Clock::System.now();
    println!("| {count} recordings | median | p99 |\n|---|---|---|");
    show("status, nothing owed", || drop(engine.erasure_status(time()).expect("it answers")));
    let before = resident_kib();

    let order = ErasureOrder {
        selection: Selection::Recordings(ids),
        reason: ErasureReason::Request,
        confirm: Some(count),
    };
    let begun = now();
    let ordered = engine.order_erasure(&may(), &order, time()).expect("it is ordered");
    let took = begun.elapsed();
    let marked = resident_kib();
    let job = ordered.job.expect("a job").id;
    drop((order, ordered.plan));

    show("status, all owed", || drop(engine.erasure_status(time()).expect("it answers")));
    show("pulse of the events", || drop(engine.erasure_pulse(&[job], 100, time()).expect("it")));
    show("the whole of `recseal status`", || drop(engine.status(time()).expect("it answers")));
    show("a page of 100 items", || {
        let page = engine.erasure_items(&may(), job, ItemFilter::All, None, 100);
        drop(page.expect("it answers"));
    });
    show("a page of failing items", || {
        let page = engine.erasure_items(&may(), job, ItemFilter::Failing, None, 100);
        drop(page.expect("it answers"));
    });
    println!("\nplanned and marked in {took:.1?}");
    println!(
        "memory: {before} KiB before, {marked} KiB with the plan, {} KiB after 5,000 looks",
        resident_kib()
    );
}

fn show(what: &str, look: impl Fn()) {
    let mut times: Vec<Duration> = (0..LOOKS)
        .map(|_| {
            let begun = now();
            look();
            begun.elapsed()
        })
        .collect();
    times.sort();
    let (median, p99) = (times[LOOKS / 2], times[LOOKS * 99 / 100]);
    println!("| {what} | {median:.1?} | {p99:.1?} |");
}

fn may<A: Act>() -> Grant<A> {
    authorize(&Principal::local(0, 0)).expect("root may")
}

fn plant(engine: &Engine, catalog: &Path, count: u64) -> Vec<RecordingId> {
    let catalog = Catalog::open(catalog).expect("the catalog opens twice");
    let store = StoreId::new();
    catalog.write(|tx| tx.put_store(&store_row(store))).expect("a store");
    let mut ids = Vec::new();
    for first in (0..count).step_by(BATCH) {
        let batch = (count - first).min(BATCH as u64);
        let planted = catalog.write(|tx| {
            (0..batch).map(|_| stored(engine, tx, store)).collect::<Result<Vec<_>, _>>()
        });
        ids.extend(planted.expect("room for the catalog"));
    }
    ids
}

fn stored(
    engine: &Engine,
    tx: &CatalogTx<'_>,
    store: StoreId,
) -> Result<RecordingId, CatalogError> {
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
    tx.advance(id, RecordingEvent::OriginalRemoved, &entry)?;
    Ok(id)
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

/// Resident memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

const BATCH: usize = 20_000;
const LOOKS: usize = 1_000;
