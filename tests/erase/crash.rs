//! Killed at every named place and at any instant, again and again: nothing is lost, nothing is
//! done twice, nothing that is protected goes.
//!
//! `RECSEAL_ERASE_KILLS=1000` kills that often, `RECSEAL_ERASE_SEED=N` repeats the random choices
//! of a run that printed N.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use recseal::flow::crash::ERASE_CRASH_POINTS;

use crate::chance::Chance;
use crate::evidence::must_hold;
use crate::ledger::Facts;
use crate::worker::{finish, ground_at, layout, let_pass, prepare, start, variable};

/// Each place of an erasure, for the first and the second batch, in both layouts; and once more
/// while what was left is finished. Found by it: a sidecar of a recording in quarantine stayed in
/// clear, and the original of one that was being erased was found anew and sealed.
#[test]
fn whoever_dies_at_a_named_place_finishes_the_next_time() {
    let mut cases = Vec::new();
    for name in ERASE_CRASH_POINTS {
        for number in 0..4 {
            cases.push((format!("{name}:{}", 1 + number / 2), layout(number)));
        }
    }
    side_by_side(&cases, |(place, layout)| {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path(), layout);
        let what = format!("{place}, {layout}");
        let died = start(folder.path(), "script", 1, Some(place)).end();
        assert_eq!(died.0, Some(9), "{what}: {}", died.1);
        let again = format!("{}:1", place.split(':').next().unwrap());
        let died = start(folder.path(), "finish", 1, Some(&again)).end();
        assert!(matches!(died.0, Some(9) | None), "{what}: {}", died.1);
        must_end_well(folder.path(), &what);
    });
}

/// A running queue with everything that people may do to it meanwhile. Found by it: a marked file
/// that vanished, or turned out to be a sidecar, before it was sealed made every later look fail.
#[test]
fn whoever_dies_at_any_instant_finishes_the_next_time() {
    let seed = seed();
    let kills = number("RECSEAL_ERASE_KILLS", 60);
    println!("{kills} kills, RECSEAL_ERASE_SEED={seed}");
    let episodes: Vec<u64> = (0..kills.div_ceil(KILLS_PER_EPISODE)).collect();
    side_by_side(&episodes, |episode| {
        let mut chance = Chance::new(seed.wrapping_add(*episode));
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path(), layout(*episode));
        for kill in 0..KILLS_PER_EPISODE {
            let what = format!("seed {seed}, episode {episode}, kill {kill}");
            let worker = start(folder.path(), "work", chance.next(), None);
            // One in five dies while it starts, the others at work.
            if chance.below(5) > 0 {
                until_it_works(&folder.path().join("ledger"));
            }
            let_pass(Duration::from_millis(chance.below(400)));
            let (signal, said) = worker.kill();
            assert_eq!(signal, Some(9), "{what}: {said}");
        }
        must_end_well(folder.path(), &format!("seed {seed}, episode {episode}"));
    });
}

/// Waits until the worker adds to its ledger: for a while at most, it may be killed any time.
fn until_it_works(ledger: &Path) {
    let len = || std::fs::metadata(ledger).map_or(0, |seen| seen.len());
    let before = len();
    for _ in 0..5_000 {
        if len() > before {
            return;
        }
        let_pass(Duration::from_millis(1));
    }
}

fn must_end_well(folder: &Path, what: &str) {
    let ground = ground_at(folder);
    finish(&ground);
    let facts = Facts::of(&folder.join("ledger"));
    must_hold(&ground, &facts, what);
    let erased = facts.wanted.len();
    println!(
        "{what}: {} recorded, {erased} wanted, {} held",
        facts.recorded.len(),
        facts.held.len()
    );
}

/// Two at a time: most of each is waiting for the disk.
pub fn side_by_side<T: Sync>(cases: &[T], test: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    test(case);
                }
            });
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "a seed that is printed")]
pub fn seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    number("RECSEAL_ERASE_SEED", now.as_nanos() as u64 >> 8)
}

pub fn number(name: &str, default: u64) -> u64 {
    variable(name).map_or(default, |text| text.parse().expect("a number"))
}

const KILLS_PER_EPISODE: u64 = 20;
