//! Erasing sealed copies, every byte read back, against tools that read nothing back: ratios of one
//! run, not absolute times. Then what a recorder on the same disk feels of it.
//!
//! `cargo bench --bench erase [FOLDER [large] [small] [beside]]`, on the file system of FOLDER, which should be an ext4 or
//! XFS on a disk of its own, or in a loop device (`losetup --direct-io=on`): elsewhere nothing is
//! written in place. Needs `shred` and `srm` and some 3 GiB; as root the journal of ext4 is wiped,
//! too, and that is part of our time. Rounds alternate and the medians are compared. Our own spread
//! tells how far the disk was ours alone.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use recseal::domain::{DataKeyId, RecordingId, SealedKind, StorePath};
use recseal::seal::Prefix;
use recseal::vault::{
    Doomed, FullSpeed, Layout, LocalVault, Overwritten, SealedIdentity, Throttle, Vault,
};
use uuid::Uuid;

type Row = (&'static str, String, String, &'static str);
type Part = fn(&Path) -> Vec<Row>;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let wanted: Vec<_> = arguments.collect();
    let work = tempfile::tempdir_in(folder).expect("a folder to work in");
    let parts: [(&str, Part); 3] =
        [("large", one_gibibyte), ("small", many_small), ("beside", beside_a_recorder)];
    println!("\n| What | recseal | Peer in the same run | Goal |\n|---|---|---|---|");
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            for (what, ours, peer, goal) in part(work.path()) {
                println!("| {what} | {ours} | {peer} | {goal} |");
            }
        }
    }
}

fn one_gibibyte(work: &Path) -> Vec<Row> {
    let times = rounds(work, 1, GIB, &[&["shred", "-n1", "-u"], &["shred", "-n1", "-z", "-u"]]);
    vec![
        ("1 GiB, against `shred -n1 -u`", times.ours(), times.peer(0), "≥ 1.0×"),
        ("1 GiB, against `shred -n1 -z -u`", times.ours(), times.peer(1), "≥ 1.5×"),
    ]
}

fn many_small(work: &Path) -> Vec<Row> {
    let times = rounds(work, SMALL, SMALL_BYTES, &[&["shred", "-n1", "-u"], &["srm", "-ll"]]);
    vec![
        ("2,000 × 200 KiB, against `shred -n1 -u`", times.ours(), times.peer(0), "≥ 15×"),
        ("2,000 × 200 KiB, against `srm -ll`", times.ours(), times.peer(1), "≥ 7×"),
    ]
}

/// A recorder writes 64 KiB and syncs every 20 ms: alone, and while 1.5 GiB are erased.
fn beside_a_recorder(work: &Path) -> Vec<Row> {
    let recorder = work.join("recorder.wav");
    let (mut alone, mut unhurried, mut held) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let recording = scope.spawn(|| record(&recorder, &is_over));
            pause(Duration::from_secs(4));
            is_over.store(true, Ordering::SeqCst);
            alone.extend(recording.join().expect("the recorder records"));
        });
        for (times, rate, files) in [(&mut unhurried, 0, 6), (&mut held, 200 << 20, 3)] {
            let doomed = plant(work, files, 256 << 20);
            let is_over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let recording = scope.spawn(|| record(&recorder, &is_over));
                erase(work, &doomed, &Throttle::new(rate));
                is_over.store(true, Ordering::SeqCst);
                times.extend(recording.join().expect("the recorder records"));
            });
        }
    }
    let idle = percentile(&mut alone, 99);
    let row = |what, times: &mut Vec<Duration>| {
        let busy = percentile(times, 99);
        let said = format!(
            "p99 {:.2} ms alone ({} syncs, {} beside): {:.2}× of it",
            ms(idle),
            alone.len(),
            times.len(),
            ratio(busy, idle)
        );
        (what, format!("p99 {:.2} ms", ms(busy)), said, "≤ 1.5×")
    };
    vec![
        row("a recorder's fdatasync beside an eraser at full speed", &mut unhurried),
        row("the same beside an eraser held to 200 MiB/s", &mut held),
    ]
}

/// Times of each sync, until told that it is over.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn record(path: &Path, is_over: &AtomicBool) -> Vec<Duration> {
    let file = File::create(path).expect("a file to record into");
    let piece = vec![0x5A; 64 << 10];
    let mut times = Vec::new();
    for n in 0.. {
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        let begin = Instant::now();
        file.write_all_at(&piece, n % 512 * piece.len() as u64).expect("room");
        file.sync_data().expect("a working disk");
        times.push(begin.elapsed());
        pause(Duration::from_millis(20).saturating_sub(begin.elapsed()));
    }
    times
}

/// What each took, round for round.
struct Times {
    ours: Vec<Duration>,
    peers: Vec<Vec<Duration>>,
}

impl Times {
    fn ours(&self) -> String {
        let all = self.ours.iter().map(|time| time.as_secs_f64());
        let (least, most) = (all.clone().fold(f64::MAX, f64::min), all.fold(0.0, f64::max));
        format!("{:.2} s ({least:.2}–{most:.2})", median(&self.ours).as_secs_f64())
    }

    fn peer(&self, number: usize) -> String {
        let peer = median(&self.peers[number]);
        let times = ratio(peer, median(&self.ours));
        format!("{:.2} s: {times:.2}× as fast", peer.as_secs_f64())
    }
}

fn rounds(work: &Path, files: usize, bytes: u64, peers: &[&[&str]]) -> Times {
    let mut times = Times { ours: Vec::new(), peers: vec![Vec::new(); peers.len()] };
    for _ in 0..ROUNDS {
        let doomed = plant(work, files, bytes);
        times.ours.push(timed(|| erase(work, &doomed, &FullSpeed)));
        for (peer, times) in peers.iter().zip(&mut times.peers) {
            let share = if files < PEER_SHARE { 1 } else { PEER_SHARE };
            let doomed = plant(work, files / share, bytes);
            let names = doomed.iter().map(|one| one.path.expose_below(work));
            let mut command = Command::new(peer[0]);
            command.args(&peer[1..]).args(names);
            let time = timed(|| assert!(command.status().expect("a peer").success()));
            times.push(time * share as u32);
        }
    }
    times
}

/// Both steps, in batches as the queue has them.
fn erase(work: &Path, doomed: &[Doomed], pace: &dyn recseal::vault::Pace) {
    let vault = LocalVault::open(work, Layout::Own, 0).expect("the folder is there");
    for batch in doomed.chunks(BATCH) {
        for overwritten in vault.overwrite_many(batch, pace) {
            assert!(matches!(overwritten, Ok(Overwritten::Done(_))), "{overwritten:?}");
        }
        for unlinked in vault.unlink_many(batch) {
            unlinked.expect("it was overwritten");
        }
    }
}

/// Sealed copies as far as an eraser looks, durable.
fn plant(work: &Path, files: usize, bytes: u64) -> Vec<Doomed> {
    let piece = vec![0x5A; 1 << 20];
    let plant_one = |_| {
        let (recording, data_key) = (RecordingId::new(), DataKeyId::new());
        let kind = SealedKind::Media;
        let path = StorePath::new(format!("{recording}.media")).expect("a plain name");
        let mut file = File::create(path.expose_below(work)).expect("a file");
        file.write_all(&Prefix { recording, data_key, kind }.to_bytes()).expect("room");
        let mut left = bytes - 64;
        while left > 0 {
            let len = left.min(piece.len() as u64);
            file.write_all(&piece[..len as usize]).expect("room");
            left -= len;
        }
        let expected = Some(SealedIdentity { recording, data_key, kind, sealed_bytes: bytes });
        Doomed { path, token: Uuid::now_v7(), expected }
    };
    let doomed = (0..files).map(plant_one).collect();
    let sync = Command::new("sync").arg("-f").arg(work).status().expect("sync");
    assert!(sync.success() && fs::read_dir(work).is_ok());
    doomed
}

#[expect(clippy::disallowed_methods, reason = "a bench waits")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

fn median(times: &[Duration]) -> Duration {
    percentile(&mut times.to_vec(), 50)
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

const GIB: u64 = 1 << 30;
const ROUNDS: usize = 5;
const SMALL: usize = 2_000;
const SMALL_BYTES: u64 = 200 << 10;
const BATCH: usize = 256;
/// Peers erase a tenth of many files: they take minutes, in proportion to their number.
const PEER_SHARE: usize = 10;
