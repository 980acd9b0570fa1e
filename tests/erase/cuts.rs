//! Cut from power while a queue runs: the device of store and state is copied at a random moment,
//! and an engine is started on the copy.
//!
//! `RECSEAL_ERASE_CUTS=300` cuts that often, half of them ext4 and half xfs.

use std::time::Duration;

use crate::chance::Chance;
use crate::common::loop_fs::LoopFs;
use crate::common::or_skip;
use crate::crash::{number, seed};
use crate::evidence::must_hold;
use crate::ledger::Facts;
use crate::worker::{finish, ground_at, let_pass, prepare, start_with};

/// Answers that were given before the cut hold after it.
#[test]
fn a_power_cut_forgets_no_answer() {
    let seed = seed();
    let cuts = number("RECSEAL_ERASE_CUTS", 10);
    println!("{cuts} cuts, RECSEAL_ERASE_SEED={seed}");
    // A clone is one instant, as a power cut is; xfs makes it without copying.
    let host = or_skip!(LoopFs::make_in(None, HOST_BYTES, "xfs", "", &[]));
    let mut chance = Chance::new(seed);
    // A clone takes no smaller blocks than its host.
    for (kind, blocks) in [("ext4", ["-b", "4096"]), ("xfs", ["-s", "size=4096"])] {
        let mut left = cuts.div_ceil(2);
        let mut episode = 0;
        while left > 0 {
            let some = left.min(CUTS_PER_EPISODE);
            let fs = or_skip!(LoopFs::make_in(Some(host.path()), CUT_BYTES, kind, "", &blocks));
            let what = format!("seed {seed}, {kind}, episode {episode}");
            cut_some(&fs, some, &what, ["vault", "beside"][episode % 2], &mut chance);
            left -= some;
            episode += 1;
        }
    }
}

fn cut_some(fs: &LoopFs, cuts: u64, what: &str, layout: &str, chance: &mut Chance) {
    let beside = tempfile::tempdir().unwrap();
    let (folder, ledger) = (fs.path().join("ground"), beside.path().join("ledger"));
    std::fs::create_dir(&folder).unwrap();
    prepare(&folder, layout);
    let worker = start_with(&folder, &ledger, "work", chance.next(), None);
    for cut in 0..cuts {
        let_pass(Duration::from_millis(200 + chance.below(800)));
        let early = std::fs::read_to_string(&ledger).unwrap_or_default();
        let copy = fs.power_cut().expect("a copy of the device mounts");
        let late = std::fs::read_to_string(&ledger).unwrap_or_default();
        if !copy.path().join("ground/config").exists() {
            continue;
        }
        let ground = ground_at(&copy.path().join("ground"));
        finish(&ground);
        let facts = Facts::read(&early, &late);
        must_hold(&ground, &facts, &format!("{what}, cut {cut}"));
        println!("{what}, cut {cut}: {} recorded", facts.recorded.len());
        drop(ground);
    }
    let (signal, said) = worker.kill();
    assert_eq!(signal, Some(9), "{what}: {said}");
}

/// Sparse: it holds the images below and their clones.
const HOST_BYTES: u64 = 4 << 30;
/// XFS refuses less than 300 MB.
const CUT_BYTES: u64 = 320 << 20;
const CUTS_PER_EPISODE: u64 = 15;
