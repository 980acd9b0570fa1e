//! Recorders at work: growing files, late headers, placeholders, renames, second thoughts.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::common::marker::Marker;
use crate::common::{or_skip, tools};
use crate::{Server, id_of};

/// How ffmpeg writes one file, and under which name.
const SCREENS: &[(&str, &str)] = &[
    ("screen.mkv", "f=matroska:fflags=+bitexact"),
    ("plain.mp4", "f=mp4"),
    ("fragmented.mp4", "f=mp4:movflags=frag_keyframe+empty_moov"),
    ("faststart.mp4", "f=mp4:movflags=+faststart"),
];
const CALLS: &[(&str, &str)] = &[("call.wav", "f=wav:fflags=+bitexact")];

/// ffmpeg writes each file twice: into the store, and where nobody watches. Its pauses between
/// writes are longer than `settle`, so only "closed by its writer" keeps the files whole.
///
/// Planted fault: a lease check that always says that nobody writes seals the first half.
#[test]
fn a_live_recording_is_taken_whole_or_not_at_all() {
    or_skip!(tools(&["ffmpeg"]));
    let mut server = Server::start("generic");
    let day = server.store.join("2026/11/23");
    let reference = server.desk.path().join("reference");
    std::fs::create_dir_all(&day).unwrap();
    std::fs::create_dir(&reference).unwrap();
    let places = [day.as_path(), &reference];
    let mut recorders = [
        ffmpeg(&["-map", "0:a", "-map", "1:v", "-c:v", "mpeg4", "-c:a", "aac"], SCREENS, places),
        ffmpeg(&["-map", "0:a", "-c:a", "pcm_s16le"], CALLS, places),
    ];
    server.daemon.wait_until("ffmpeg is done", |_| {
        recorders.iter_mut().all(|one| one.try_wait().unwrap().is_some())
    });
    assert!(recorders.iter_mut().all(|one| one.wait().unwrap().success()));
    server.expect_sealed((SCREENS.len() + CALLS.len()) as u64);
    for recording in server.recordings() {
        let name = recording["original_name"].as_str().unwrap();
        let whole = std::fs::read(reference.join(name)).unwrap();
        assert!(server.open(&id_of(&recording)) == whole, "{name} is not what ffmpeg wrote");
        assert_eq!(recording["media"]["damage"], serde_json::Value::Null, "{name}");
        let duration = recording["media"]["duration_ms"].as_u64().unwrap();
        assert!((6_500..7_500).contains(&duration), "{name}: {duration} ms");
    }
}

/// Seven seconds as they happen, into the same file at each of the places.
fn ffmpeg(codecs: &[&str], files: &[(&str, &str)], places: [&Path; 2]) -> Child {
    let outputs: Vec<_> = files
        .iter()
        .flat_map(|(name, how)| places.map(|at| format!("[{how}]{}", at.join(name).display())))
        .collect();
    Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error"])
        .args(["-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=8000"])
        .args(["-re", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=5", "-t", "7"])
        .args(codecs)
        .args(["-flags", "+bitexact", "-f", "tee", &outputs.join("|")])
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

/// A WAV whose sizes are patched at the end, and a file that is rewritten in place when the
/// recording stops (OBS): both stay open while a call that ended later is sealed.
///
/// Planted fault: as above.
#[test]
fn what_a_recorder_holds_open_stays_until_it_closes() {
    let mut server = Server::start("generic");
    let (wav, take) = (Marker::new().wav(4), Marker::new().fill(300_000));
    let mut late_header = File::create(server.store.join("late.wav")).unwrap();
    let mut empty_sizes = wav.clone();
    empty_sizes[4..8].fill(0);
    empty_sizes[40..44].fill(0);
    late_header.write_all(&empty_sizes).unwrap();
    let mut rewritten = File::create(server.store.join("screen.mp4")).unwrap();
    rewritten.write_all(&Marker::new().fill(take.len())).unwrap();
    std::fs::write(server.store.join("other.wav"), Marker::new().wav(1)).unwrap();
    server.expect_sealed_one("other.wav");
    assert_eq!(server.daemon.json(&["status"])["recordings"]["available"], 1);
    assert!(std::fs::read(server.store.join("late.wav")).unwrap() == empty_sizes, "touched");

    late_header.seek(SeekFrom::Start(0)).unwrap();
    late_header.write_all(&wav[..44]).unwrap();
    rewritten.seek(SeekFrom::Start(0)).unwrap();
    rewritten.write_all(&take).unwrap();
    drop((late_header, rewritten));
    server.expect_sealed(3);
    let (late, screen) =
        (server.expect_sealed_one("late.wav"), server.expect_sealed_one("screen.mp4"));
    assert!(server.open(&late) == wav);
    assert!(server.open(&screen) == take);
}

/// Asterisk with `record_cache_dir`: an empty file stands where the recording will be, and is
/// replaced at the end. Others write under a working name and rename.
///
/// Planted faults: an `empty_wait` of zero seals the placeholder; `*.part` taken for content.
#[test]
fn placeholders_and_working_names_are_not_recordings() {
    let mut server = Server::start("asterisk");
    let cache = tempfile::tempdir_in(server.store_folder.path()).unwrap();
    let (call, renamed) = (Marker::new().wav(3), Marker::new().wav(2));
    File::create(server.store.join("call.wav")).unwrap();
    std::fs::write(server.store.join("leg.wav.part"), &renamed).unwrap();
    std::fs::write(server.store.join("other.wav"), Marker::new().wav(1)).unwrap();
    server.expect_sealed_one("other.wav");
    assert_eq!(server.daemon.json(&["status"])["recordings"]["available"], 1);
    assert_eq!(std::fs::metadata(server.store.join("call.wav")).unwrap().len(), 0);
    assert!(server.store.join("leg.wav.part").exists());

    std::fs::write(cache.path().join("call.wav"), &call).unwrap();
    let moved = Command::new("mv")
        .arg("-f")
        .args([cache.path().join("call.wav"), server.store.join("call.wav")])
        .status()
        .unwrap();
    assert!(moved.success());
    std::fs::rename(server.store.join("leg.wav.part"), server.store.join("leg.wav")).unwrap();
    server.expect_sealed(3);
    let (id, leg) = (server.expect_sealed_one("call.wav"), server.expect_sealed_one("leg.wav"));
    assert!(server.open(&id) == call);
    assert!(server.open(&leg) == renamed);
}

/// `MixMonitor(…,a)`: the recorder closes the file and opens it again to go on, sooner than
/// `settle`. Here `settle` is long against what lies between the two writes.
///
/// Planted fault: `settle` taken as zero seals the first half alone.
#[test]
fn a_recording_that_goes_on_after_a_pause_is_one_recording() {
    let mut server = Server::start_with("profile = \"asterisk\"\nsettle = \"6s\"");
    let path = server.store.join("call.wav");
    let whole = Marker::new().wav(6);
    let thirds: Vec<_> = whole.chunks(whole.len().div_ceil(3)).collect();
    append(&path, thirds[0]);
    for third in &thirds[1..] {
        // It was seen as it is now, and left alone.
        let size = std::fs::metadata(&path).unwrap().len();
        server.daemon.wait_until("it was seen", |daemon| {
            daemon.json(&["status"])["recordings"]["waiting_bytes"] == size
        });
        append(&path, third);
    }
    server.expect_sealed(1);
    let id = server.expect_sealed_one("call.wav");
    assert!(server.open(&id) == whole);
    assert_eq!(server.audit("RECORDING_SEALED").len(), 1);
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}
