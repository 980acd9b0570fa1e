//! Removing 500 originals of 200 KiB, verified, against `shred -n1 -u`, which verifies nothing.
//!
//! `cargo bench --bench remove [FOLDER]`. Rounds alternate and the medians' ratio counts: absolute
//! times are those of the disk and of whoever else uses it.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use recseal::domain::{Fingerprint, RecordingId, StorePath};
use recseal::vault::original::{RemovePolicy, Resumed, Unfinished, removing_name, resume_many};

const FILES: usize = 500;
const FILE_BYTES: usize = 200 << 10;
const BATCH: usize = 64;
const ROUNDS: usize = 3;

fn main() {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let folder = folder.map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder).expect("a folder to work in");
    let (mut ours, mut shred) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let files = plant(folder.path());
        ours.push(timed(|| remove_ours(folder.path(), &files)));
        let files = plant(folder.path());
        shred.push(timed(|| remove_with_shred(folder.path(), &files)));
    }
    ours.sort();
    shred.sort();
    let (ours, shred) = (ours[ROUNDS / 2], shred[ROUNDS / 2]);
    let ratio = shred.as_secs_f64() / ours.as_secs_f64();
    println!("ours {ours:?}, shred {shred:?}: {ratio:.1} times as fast, {FILES} files");
}

/// The rename of a removal is made here, the rest by `resume_many`: a proof cannot be forged.
fn remove_ours(folder: &Path, files: &[String]) {
    let root = File::open(folder).expect("it was just made");
    let policy = RemovePolicy { overwrite: true };
    for batch in files.chunks(BATCH) {
        let begin = |name: &String| {
            let recording = RecordingId::new();
            let seen = fs::metadata(folder.join(name)).expect("it was just written");
            let removing = String::from_utf8(removing_name(recording, seen.ino()));
            let removing = folder.join(removing.expect("it is ASCII"));
            fs::rename(folder.join(name), removing).expect("it was just written");
            let expected = Fingerprint {
                device: seen.dev(),
                inode: seen.ino(),
                size_bytes: seen.len(),
                modified_ns: 0,
                changed_ns: 0,
            };
            let path = StorePath::new(name.as_str()).expect("a plain name");
            Unfinished { path, expected, recording }
        };
        for resumed in resume_many(root.as_fd(), batch.iter().map(begin).collect(), policy) {
            assert!(matches!(resumed, Ok(Resumed::Finished(_))), "{resumed:?}");
        }
    }
}

fn remove_with_shred(folder: &Path, files: &[String]) {
    let done = Command::new("shred").args(["-n1", "-u"]).args(files).current_dir(folder).status();
    assert!(done.is_ok_and(|status| status.success()), "shred is part of coreutils");
}

fn plant(folder: &Path) -> Vec<String> {
    let content = vec![0x5A; FILE_BYTES];
    let name = |n| format!("2026-11-23-call-{n:08}-leg.wav");
    let files: Vec<_> = (0..FILES).map(name).collect();
    for file in &files {
        fs::write(folder.join(file), &content).expect("room for 100 MB");
        File::open(folder.join(file)).and_then(|file| file.sync_all()).expect("a working disk");
    }
    files
}

#[expect(clippy::disallowed_methods, reason = "measuring is what this program is for")]
fn timed(work: impl FnOnce()) -> Duration {
    let start = std::time::Instant::now();
    work();
    start.elapsed()
}
