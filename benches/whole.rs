//! The whole program against what people use today, in one run: ratios, not absolute times.
//!
//! `cargo bench --bench whole [FOLDER]`, on the file system of FOLDER (a journaled ext4 or XFS
//! says something; a container's overlay does not). Needs `age`, `cp`, `shred` and some 12 GiB.
//! Rounds of the peers alternate and the medians are compared.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use keymanager::DataKey;
use recseal::access::{PlayMedia, Principal, authorize};
use recseal::app;
use recseal::clock::Clock;
use recseal::config::{Config, Overrides};
use recseal::domain::{RecordingId, SealedKind, StorePath};
use recseal::flow::{Engine, Places, PlayAs};
use recseal::seal::{self, Prefix};
use recseal::vault::{Layout, LocalVault, Vault};

type Row = (&'static str, String, String, &'static str);

fn main() {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let folder = folder.map_or_else(std::env::temp_dir, PathBuf::from);
    let work = tempfile::tempdir_in(folder).expect("a folder to work in");
    let mut rows = Vec::new();
    rows.extend(one_gibibyte(work.path()));
    rows.push(many_small(work.path()));
    rows.push(seek_in_an_hour(work.path()));
    rows.push(reconcile(work.path()));
    rows.push(memory(work.path()));
    println!("\n| What | recseal | Peer in the same run | Goal |\n|---|---|---|---|");
    for (what, ours, peer, goal) in rows {
        println!("| {what} | {ours} | {peer} | {goal} |");
    }
}

/// Sealing and syncing 1 GiB against `cp` and `age`, both followed by a sync of the result.
fn one_gibibyte(work: &Path) -> Vec<Row> {
    let input = work.join("input");
    let mut file = File::create(&input).expect("room for 1 GiB");
    let random = File::open("/dev/urandom").expect("random bytes");
    io::copy(&mut random.take(GIB), &mut file).expect("room");
    file.sync_all().expect("the input is on the disk");
    let recipient = age_recipient(work);
    let (mut ours, mut cp, mut age) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let copy = work.join("copy");
        cp.push(timed(|| shell("cp \"$0\" \"$1\" && sync \"$1\"", &[&input, &copy])));
        discard(&copy);
        ours.push(timed(|| seal_one(&input, work)));
        discard(&work.join("sealed.media"));
        let sealed = work.join("copy.age");
        age.push(timed(|| {
            shell(
                "age -r $(cat \"$2\") -o \"$1\" \"$0\" && sync \"$1\"",
                &[&input, &sealed, &recipient],
            )
        }));
        discard(&sealed);
    }
    discard(&input);
    let (ours, cp, age) = (median(ours), median(cp), median(age));
    vec![
        (
            "seal 1 GiB, synced, against `cp` + sync",
            seconds(ours),
            format!("{}: {:.2}× its time", seconds(cp), ratio(ours, cp)),
            "≤ 1.0×",
        ),
        (
            "the same against `age` + sync",
            seconds(ours),
            format!("{}: {:.1}× as fast", seconds(age), ratio(age, ours)),
            "≥ 3×",
        ),
    ]
}

fn seal_one(input: &Path, work: &Path) {
    let vault = LocalVault::open(work, Layout::Own, 0).expect("the folder is there");
    let key = DataKey::generate();
    let recording = RecordingId::new();
    let path = StorePath::new("sealed.media").expect("a plain name");
    let draft = vault.begin(&path, GIB).expect("room");
    let prefix = Prefix::new(recording, &key, SealedKind::Media);
    let input = File::open(input).expect("it was just written");
    seal::seal_file(&key, prefix, &input, &draft, 2).expect("it seals");
    vault.publish(vec![draft]).remove(0).expect("it is durable");
}

/// 2,000 calls from "finished" to "sealed, read back, original overwritten and gone", against a
/// loop of `age` and `shred -u` over a tenth of them, per file.
fn many_small(work: &Path) -> Row {
    let store = fresh(work, "calls");
    plant(&store, SMALL, SMALL_BYTES);
    let engine = engine(work, "small", &store, "settle = \"1s\"");
    let clock = later();
    let ours = timed(|| seal_all(&engine, &clock, SMALL));
    let loop_folder = fresh(work, "loop");
    plant(&loop_folder, SMALL / 10, SMALL_BYTES);
    let recipient = age_recipient(work);
    let theirs = timed(|| {
        shell(
            "for f in \"$0\"/*.wav; do age -r $(cat \"$1\") -o \"$f.age\" \"$f\" && sync \"$f.age\" && shred -u \"$f\"; done",
            &[&loop_folder, &recipient],
        );
    }) * 10;
    (
        "2,000 calls of 200 KiB sealed, verified, originals erased, against `age` + `shred -u`",
        seconds(ours),
        format!("{}: {:.1}× as fast", seconds(theirs), ratio(theirs, ours)),
        "≥ 10×",
    )
}

/// From the question to the first bytes at 80 % of a sealed hour: the key is unwrapped, the file
/// opened and authenticated, one chunk opened.
fn seek_in_an_hour(work: &Path) -> Row {
    let store = fresh(work, "hour");
    let bytes = 3_600 * 8_000 * 2 * 2;
    plant(&store, 1, bytes);
    let engine = engine(work, "seek", &store, "settle = \"1s\"");
    let clock = later();
    seal_all(&engine, &clock, 1);
    let root = Principal::local(0, 0);
    let list = authorize(&root).expect("root may list");
    let found = engine.recordings(&list, &Default::default(), None, 1).expect("one recording");
    let id = found[0].recording.id;
    let grant = authorize::<PlayMedia>(&root).expect("root may play");
    let mut plaintext = vec![0; 64 << 10];
    let times = (0..101)
        .map(|_| {
            timed(|| {
                let playback = engine
                    .play(&grant, id, PlayAs::Original, false, clock.now())
                    .expect("it opens");
                let at = playback.len_bytes / 5 * 4;
                playback.reader.read_at(&mut plaintext, at).expect("it reads");
            })
        })
        .collect();
    let time = median(times);
    ("seek in a sealed hour, first 64 KiB", format!("{:.2} ms", ms(time)), "-".into(), "≤ 100 ms")
}

/// A whole scan of 100,000 files in 1,000 folders that are all known already.
fn reconcile(work: &Path) -> Row {
    let store = fresh(work, "archive");
    for folder in 0..1_000 {
        let folder = store.join(format!("2026/{folder:04}"));
        fs::create_dir_all(&folder).expect("a folder");
        for file in 0..100 {
            File::create(folder.join(format!("{file:03}.wav"))).expect("a file");
        }
    }
    let engine = engine(work, "reconcile", &store, "settle = \"1h\"");
    let scan = || {
        engine.discover(0, &Places::Everywhere, &Clock::System).expect("the store is there");
    };
    scan();
    let time = median((0..5).map(|_| timed(scan)).collect());
    let find = timed(|| shell("find \"$0\" -type f -size +1 > /dev/null", &[&store]));
    (
        "reconcile 100,000 known files",
        seconds(time),
        format!("`find -size`: {}", seconds(find)),
        "≤ 2 s",
    )
}

/// Peak memory of the real daemon after a 10 KB file and after a 4 GiB one.
fn memory(work: &Path) -> Row {
    let store = fresh(work, "memory");
    let config = config_file(work, "memory", &store, "settle = \"1s\"");
    let mut daemon = start(&config);
    plant(&store, 1, 10_000);
    wait_until_empty(&store);
    let small = peak_kib(&daemon);
    File::create(store.join("screen.mkv")).and_then(|f| f.set_len(4 * GIB)).expect("a sparse file");
    wait_until_empty(&store);
    let large = peak_kib(&daemon);
    let _ = daemon.kill();
    let _ = daemon.wait();
    (
        "peak memory of the daemon, 10 KB and then 4 GiB",
        format!("{} MiB, {} MiB", small >> 10, large >> 10),
        format!("{:+} MiB", (large.cast_signed() - small.cast_signed()) >> 10),
        "flat",
    )
}

fn start(config: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_recseal"))
        .args(["serve", "--listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0", "--config"])
        .arg(config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

#[expect(clippy::disallowed_methods, reason = "a bench waits for another process")]
fn wait_until_empty(store: &Path) {
    for _ in 0..3_000 {
        std::thread::sleep(Duration::from_millis(100));
        let names = fs::read_dir(store).expect("the store is there");
        if names.filter_map(Result::ok).all(|one| one.file_name() == ".recseal-store") {
            return;
        }
    }
    panic!("the daemon did not seal everything in five minutes");
}

fn peak_kib(daemon: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn seal_all(engine: &Engine, clock: &Clock, files: usize) {
    engine.register_store(0, clock.now()).expect("the store is there");
    engine.recover(clock.now()).expect("nothing to recover");
    engine.discover(0, &Places::Everywhere, clock).expect("the store is there");
    let mut stored = 0;
    loop {
        let batch = engine.ingest(clock.now()).expect("sealing works");
        stored += batch.stored;
        if batch.taken == 0 {
            break;
        }
    }
    assert_eq!(stored, files, "every file is sealed and its original gone");
}

/// A minute ahead, so that what was just written has settled.
fn later() -> Clock {
    let now = Clock::System.now().plus(Duration::from_secs(60)).as_millis();
    Clock::Manual(std::sync::Arc::new(now.into()))
}

fn engine(work: &Path, name: &str, store: &Path, settings: &str) -> Engine {
    let file = config_file(work, name, store, settings);
    let text = fs::read_to_string(file).expect("it was just written");
    let config = Config::read(&text, Overrides::default()).expect("a valid configuration");
    let engine = app::build(&config, &Clock::System).expect("it starts");
    engine.register_store(0, Clock::System.now()).expect("the store is there");
    engine
}

fn config_file(work: &Path, name: &str, store: &Path, settings: &str) -> PathBuf {
    let file = work.join(format!("{name}.toml"));
    let state = work.join(format!("{name}-state"));
    let text = format!(
        "state = {state:?}\n[vault]\nreserve = \"0MiB\"\n[[store]]\npath = {store:?}\n{settings}\n"
    );
    fs::write(&file, text).expect("room for a configuration");
    file
}

fn plant(folder: &Path, files: usize, bytes: usize) {
    let mut wav = Vec::with_capacity(bytes);
    wav.extend(b"RIFF");
    wav.extend((bytes as u32 - 8).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x02\0\x40\x1f\0\0\0\x7d\0\0\x04\0\x10\0data");
    wav.extend((bytes as u32 - 44).to_le_bytes());
    wav.extend((0..bytes - 44).map(|n| (n * 31 % 251) as u8));
    for number in 0..files {
        let mut file = File::create(folder.join(format!("{number:05}.wav"))).expect("a file");
        file.write_all(&wav).expect("room");
    }
    shell("sync -f \"$0\"", &[folder]);
}

fn age_recipient(work: &Path) -> PathBuf {
    let (key, recipient) = (work.join("age.key"), work.join("age.pub"));
    if !key.exists() {
        shell(
            "age-keygen -o \"$0\" 2> /dev/null && age-keygen -y \"$0\" > \"$1\"",
            &[&key, &recipient],
        );
    }
    recipient
}

fn fresh(work: &Path, name: &str) -> PathBuf {
    let folder = work.join(name);
    fs::create_dir(&folder).expect("a fresh folder");
    folder
}

fn shell(script: &str, args: &[&Path]) {
    let status = Command::new("sh").args(["-c", script]).args(args).status().expect("a shell");
    assert!(status.success(), "{script}");
}

#[expect(clippy::disallowed_methods, reason = "a bench tidies up what it made")]
fn discard(path: &Path) {
    fs::remove_file(path).expect("it was just made");
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

const GIB: u64 = 1 << 30;
const ROUNDS: usize = 5;
const SMALL: usize = 2_000;
const SMALL_BYTES: usize = 200 << 10;
