//! What it costs that names are gone for good: a thousand of a hundred thousand.
//!
//! `cargo bench --bench scrub [FOLDER]`, on the file system of FOLDER. The yardstick is the same
//! change in an SQLite database as it comes: no secure deletion, a log that is shortened, no scrub.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use recseal::catalog::{Catalog, CatalogError, NewRecording, StoreLayout, StoreRow};
use recseal::clock::Timestamp;
use recseal::domain::{FileAttributes, Fingerprint, RecordingId, Sighting, StoreId, StorePath};

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let work = tempfile::tempdir_in(folder).expect("a folder to work in");
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    let (path, other) = (work.path().join("catalog.db"), work.path().join("plain.db"));
    let (ids, catalog) = plant(&path);
    catalog.scrub().expect("it is clean");
    drop(catalog);
    std::fs::copy(&path, &other).expect("a second catalog");
    let catalog = Catalog::open(&path).expect("it opens");
    for round in 0..ROUNDS {
        let chosen = &ids[round * CHOSEN..(round + 1) * CHOSEN];
        ours.push(timed(|| scrub(&catalog, chosen)));
        plain.push(timed(|| update(&other, chosen)));
    }
    let (ours, plain) = (median(ours), median(plain));
    println!("| What | Time |\n|---|---|");
    println!("| {CHOSEN} of {ROWS} names overwritten, log and gaps scrubbed | {ours:.1?} |");
    println!("| the same as a plain update, synced | {plain:.1?} |");
    println!("| ratio | {:.2} |", ours.as_secs_f64() / plain.as_secs_f64());
}

fn scrub(catalog: &Catalog, chosen: &[RecordingId]) {
    let all =
        |tx: &recseal::catalog::CatalogTx<'_>| chosen.iter().try_for_each(|id| tx.scrub_names(*id));
    catalog.write::<_, CatalogError>(all).expect("names go");
    catalog.scrub().expect("the files are scrubbed");
}

fn update(path: &Path, chosen: &[RecordingId]) {
    let mut plain = rusqlite::Connection::open(path).expect("it opens");
    plain
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = OFF;",
        )
        .expect("as it comes");
    let tx = plain.transaction().expect("a transaction");
    for id in chosen {
        tx.execute(
            "UPDATE recording SET folder = x'', name = CAST('[anonymized]' AS BLOB) WHERE id = ?1",
            [id.0.as_bytes()],
        )
        .expect("a name goes");
    }
    tx.commit().expect("it is durable");
    plain.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("a checkpoint");
}

fn plant(path: &Path) -> (Vec<RecordingId>, Catalog) {
    let catalog = Catalog::open(path).expect("a catalog");
    let store = StoreId::new();
    let row = StoreRow {
        id: store,
        root: "/recordings".into(),
        profile: "generic".to_owned(),
        layout: StoreLayout::Vault,
        device: 1,
        created_at: Timestamp::from_millis(0),
    };
    catalog.write::<_, CatalogError>(|tx| tx.put_store(&row)).expect("a store");
    let mut ids = Vec::with_capacity(ROWS);
    for first in (0..ROWS).step_by(5_000) {
        let add = |tx: &recseal::catalog::CatalogTx<'_>| {
            for number in first..first + 5_000 {
                let id = RecordingId::new();
                tx.add_found(&NewRecording {
                    id,
                    store,
                    sighting: &sighting(number as u64),
                    is_finished: true,
                    now: Timestamp::from_millis(number as i64),
                })?;
                ids.push(id);
            }
            Ok(())
        };
        catalog.write::<_, CatalogError>(add).expect("rows");
    }
    let raw = rusqlite::Connection::open(path).expect("it opens twice");
    raw.execute("UPDATE recording SET state = 'erased'", []).expect("nothing is left of them");
    // As they would be chosen: anywhere.
    ids.sort_by_key(|id| id.0.as_bytes().iter().rev().copied().collect::<Vec<u8>>());
    (ids, catalog)
}

fn sighting(number: u64) -> Sighting {
    let name = format!("2026/11/{:02}/q-100-+1202555{number:07}-{number}.wav", number % 28);
    Sighting {
        path: StorePath::new(name).expect("a sound path"),
        fingerprint: Fingerprint {
            device: 1,
            inode: number,
            size_bytes: 200_000,
            modified_ns: number as i64,
            changed_ns: number as i64,
        },
        attributes: FileAttributes {
            mode: 0o644,
            uid: 0,
            gid: 0,
            accessed_ns: 0,
            modified_ns: number as i64,
        },
        links: 1,
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    #[expect(clippy::disallowed_methods, reason = "a bench measures")]
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

const ROWS: usize = 100_000;
const CHOSEN: usize = 1_000;
const ROUNDS: usize = 7;
