//! Killed with signal 9 at any moment, the catalog opens again with everything it had confirmed.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use recseal::domain::lifecycle::RecordingState;

use super::*;

const CHILD: &str = "RECSEAL_TEST_CATALOG_WRITER";

/// Not a test by itself: the process that `nothing_confirmed_is_lost` kills.
#[test]
fn writer_child() {
    #[expect(clippy::disallowed_methods, reason = "how a test tells its child process the path")]
    let Some(path) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let catalog = Catalog::open(&path).unwrap();
    let store = catalog.read(|tx| tx.stores()).unwrap()[0].id;
    let mut out = std::io::stdout().lock();
    for n in 0.. {
        let ids: Vec<_> = (0..8).map(|_| RecordingId::new()).collect();
        let done: Result<_, CatalogError> = catalog.write(|tx| {
            for id in &ids {
                add_found(tx, store, *id, &sighting(&format!("{id}.wav")), true)?;
                begin_sealing(tx, *id)?;
            }
            tx.audit_head()
        });
        if n % 5 == 4 {
            catalog.scrub().unwrap();
        }
        writeln!(out, "\nconfirmed {}", done.unwrap().seq).unwrap();
    }
}

/// Planted fault: the writer confirms before its transaction has committed. (That a power cut
/// loses nothing either is SQLite's `synchronous = FULL`, which no kill can test.)
#[test]
fn nothing_confirmed_is_lost() {
    let f = Fixture::new();
    let mut confirmed = 0_u64;
    for round in 1..=8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::writer_child", "--nocapture"])
            .env(CHILD, f.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let numbers = lines.map_while(Result::ok).filter_map(|line| {
            line.strip_prefix("confirmed ").map(|number| number.parse::<u64>().unwrap())
        });
        confirmed = numbers.take(round).last().expect("the child writes");
        child.kill().unwrap();
        child.wait().unwrap();

        let catalog = Catalog::open(&f.path()).unwrap();
        let verdict = catalog.read(|tx| tx.verify_audit(&|_, _| true)).unwrap();
        assert_eq!(verdict.fault, None);
        assert!(verdict.head.seq >= confirmed, "{} of {confirmed}", verdict.head.seq);
        let counts = catalog.read(|tx| tx.counts()).unwrap();
        assert_eq!(counts.in_state(RecordingState::Sealing).recordings, verdict.head.seq);
        let keys = catalog.read(|tx| tx.keys_by_version()).unwrap();
        assert_eq!(keys, [(1, verdict.head.seq)]);
    }
    assert!(confirmed > 0);
    let sound: String = f.raw().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}
