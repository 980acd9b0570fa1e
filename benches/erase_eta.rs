//! How good the first estimate of a long queue is, and how much memory it takes to its end.
//!
//! `cargo bench --bench erase_eta [FILES] [FOLDER]`: real small files, sealed, erased and certified
//! on the file system of FOLDER. To be held against 20 % after the first tenth.

use std::path::{Path, PathBuf};
use std::time::Instant;

use recseal::access::{Act, Grant, Principal, authorize};
use recseal::app;
use recseal::clock::{Clock, Timestamp};
use recseal::compliance::erasure::ErasureReason;
use recseal::config::{Config, Overrides};
use recseal::flow::{Engine, ErasureOrder, Places, RecordingFilter, Selection};

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let count = arguments.next().map_or(20_000, |text| text.parse().expect("a count"));
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    println!("| What | Result |\n|---|---|");
    an_estimate(count, &folder);
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
    let (before, mut most) = (resident_kib(), 0);
    loop {
        most = most.max(resident_kib());
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
    println!("| memory grown by that | {} KiB |", most.saturating_sub(before));
    println!("| estimate after the first tenth | {eta:.1?}, it took {real:.1?}: {off:+.0} % |");
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
