//! Hard times with the real program: damaged copies, odd files, folders that cannot be written,
//! full disks, stores that go away. What holds in all of them: no wrong byte leaves, nothing is
//! lost, somebody is told, and work goes on by itself when the trouble ends.
//!
//! Whatever waits for a second try of the daemon takes up to a minute here; the tests run side by
//! side and assert no time.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod common;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::daemon::{Daemon, program};
use common::loop_fs::LoopFs;
use common::marker::Marker;
use common::{or_skip, root, run, tools};
use serde_json::Value;

/// A folder with a configuration that does not wait long.
struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new(stores: &[&Path], vault: &str) -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        let mut text = format!("[vault]\n{vault}\n");
        for store in stores {
            text.push_str(&format!(
                "[[store]]\npath = {:?}\nsettle = '1s'\nempty_wait = '2s'\nunfinished_wait = '1s'\n",
                store.to_str().unwrap()
            ));
        }
        std::fs::write(site.config(), text).unwrap();
        site
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("recseal.toml")
    }

    fn start(&self) -> Daemon {
        Daemon::start(&["--config", self.config().to_str().unwrap()])
    }
}

fn store() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("calls");
    std::fs::create_dir(&store).unwrap();
    (folder, store)
}

fn count(daemon: &Daemon, what: &str) -> u64 {
    daemon.json(&["status"])["recordings"][what].as_u64().unwrap()
}

/// For what the daemon puts off for a minute: three times the patience of one wait.
fn wait_long(daemon: &mut Daemon, what: &str, is_so: impl Fn(&Daemon) -> bool) {
    for _ in 0..2 {
        let waiting = std::cell::Cell::new(0);
        daemon.wait_until(what, |daemon| {
            waiting.set(waiting.get() + 1);
            waiting.get() > 400 || is_so(daemon)
        });
    }
    daemon.wait_until(what, is_so);
}

fn warns(daemon: &Daemon, code: &str) -> bool {
    let status = daemon.json(&["status"]);
    status["warnings"].as_array().unwrap().iter().any(|w| w["code"] == code)
}

fn available(daemon: &Daemon) -> Vec<Value> {
    let list = daemon.json(&["recordings", "--state-is", "available"]);
    list.as_array().unwrap().clone()
}

/// Two lines on stderr, the second a hint; one of these codes.
fn refused(output: &Output, codes: &[i32], what: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(codes.contains(&output.status.code().unwrap_or(-1)), "{what}: {output:?}");
    assert!(
        lines.len() == 2 && lines[0].starts_with("recseal: ") && lines[1].starts_with("hint: "),
        "{what}: {stderr}"
    );
}

/// The media of a recording over the socket: the head, and as much body as came.
fn fetch(daemon: &Daemon, id: &str, range: &str) -> (String, Vec<u8>) {
    let mut stream = UnixStream::connect(daemon.state().join("recseal.sock")).unwrap();
    let request = format!(
        "GET /api/v1/recordings/{id}/media HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{range}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    (String::from_utf8_lossy(&answer[..end]).into_owned(), answer[end..].to_vec())
}

/// The sealed media of a recording.
fn sealed_path(daemon: &Daemon, id: &str) -> PathBuf {
    let recording = daemon.json(&["recordings", "show", id]);
    let copies = recording["copies"].as_array().unwrap();
    let media = copies.iter().find(|copy| copy["kind"] == "media").unwrap();
    daemon.vault().join(media["path"].as_str().unwrap())
}

/// Files that are left in a store, but for its id file.
fn left_in(store: &Path) -> usize {
    let names = std::fs::read_dir(store).unwrap().flatten().map(|entry| entry.file_name());
    names.filter(|name| !name.as_bytes().starts_with(b".recseal")).count()
}

type Damage = (&'static str, fn(&mut Vec<u8>, &[u8]));

/// Prefix 64, header 74, then chunks of 65,536.
const DAMAGES: &[Damage] = &[
    ("magic", |sealed, _| sealed[0] ^= 1),
    ("recording in the prefix", |sealed, _| sealed[20] ^= 1),
    ("end of the prefix", |sealed, _| sealed[63] ^= 0x80),
    ("begin of the header", |sealed, _| sealed[64] ^= 1),
    ("end of the header", |sealed, _| sealed[137] ^= 1),
    ("first chunk", |sealed, _| sealed[138 + 100] ^= 1),
    ("middle", |sealed, _| {
        let middle = sealed.len() / 2;
        sealed[middle] ^= 4;
    }),
    ("last byte", |sealed, _| *sealed.last_mut().unwrap() ^= 1),
    ("emptied", |sealed, _| sealed.clear()),
    ("cut in the prefix", |sealed, _| sealed.truncate(10)),
    ("cut in the header", |sealed, _| sealed.truncate(100)),
    ("cut at a chunk", |sealed, _| sealed.truncate(138 + 2 * 65_536)),
    ("cut in a chunk", |sealed, _| sealed.truncate(400_000)),
    ("one byte short", |sealed, _| sealed.truncate(sealed.len() - 1)),
    ("one byte more", |sealed, _| sealed.push(0)),
    ("a chunk more", |sealed, _| sealed.extend_from_within(138..138 + 65_536)),
    ("two chunks changed places", |sealed, _| {
        let (one, other) = sealed.split_at_mut(138 + 65_536);
        one[138..].swap_with_slice(&mut other[..65_536]);
    }),
    ("another recording's", |sealed, other| *sealed = other.to_vec()),
    ("zeros", |sealed, _| sealed.fill(0)),
];

/// Planted faults: a `PlaybackReader` that skips the tag check sends wrong bytes; a verification
/// whose outcome is not looked at before its audit entry leaves fewer failed ones.
#[test]
fn a_damaged_copy_gives_no_wrong_byte_and_says_so() {
    let (_folder, store) = store();
    let original = Marker::new().wav(60);
    std::fs::write(store.join("a.wav"), &original).unwrap();
    std::fs::write(store.join("b.wav"), Marker::new().wav(60)).unwrap();
    let site = Site::new(&[&store], "reserve = '1MiB'");
    let mut daemon = site.start();
    daemon.wait_until("both are sealed", |daemon| count(daemon, "available") == 2);
    let ids: Vec<(String, String)> = available(&daemon)
        .iter()
        .map(|one| (one["original_name"].to_string(), one["id"].as_str().unwrap().to_owned()))
        .collect();
    let id_of = |name: &str| ids.iter().find(|(n, _)| n.contains(name)).unwrap().1.clone();
    let (id, other_id) = (id_of("a.wav"), id_of("b.wav"));
    let (sealed, other) = (sealed_path(&daemon, &id), sealed_path(&daemon, &other_id));
    let good = std::fs::read(&sealed).unwrap();
    let other = std::fs::read(other).unwrap();
    let outs = tempfile::tempdir().unwrap();
    let keys = tempfile::tempdir().unwrap();
    let out = outs.path().join("o").to_str().unwrap().to_owned();
    let key = keys.path().join("k").to_str().unwrap().to_owned();
    let sealed_text = sealed.to_str().unwrap();
    daemon.json(&["keys", "export", &id, "-o", &key]);

    for (what, damage) in DAMAGES {
        let mut bytes = good.clone();
        damage(&mut bytes, &other);
        std::fs::write(&sealed, &bytes).unwrap();
        refused(&daemon.recseal(&["verify", &id]), &[4], what);
        refused(&daemon.recseal(&["open", &id, "-o", &out]), &[4], what);
        refused(&daemon.recseal(&["verify", sealed_text, "--key", &key]), &[4], what);
        refused(&daemon.recseal(&["open", sealed_text, "--key", &key, "-o", &out]), &[4], what);
        assert_eq!(std::fs::read_dir(outs.path()).unwrap().count(), 0, "{what}: half a file");
        let (head, body) = fetch(&daemon, &id, "");
        if head.starts_with("HTTP/1.1 200") {
            assert!(body.len() < original.len(), "{what}: whole");
            assert!(original.starts_with(&body), "{what}: wrong bytes");
        } else {
            assert!(head.starts_with("HTTP/1.1 500"), "{what}: {head}");
            let problem: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["code"], "damaged", "{what}: {problem}");
            assert!(!problem["hint"].as_str().unwrap().is_empty());
        }
    }
    let failed = daemon.json(&["audit", "--activity", "MEDIA_VERIFIED", "--result", "failed"]);
    let failed = failed.as_array().unwrap();
    // `open` verifies, too, when its stream breaks off.
    assert!(failed.len() >= DAMAGES.len(), "{failed:#?}");

    // What does not lie in the damage can still be heard.
    let mut bytes = good.clone();
    bytes[good.len() / 2] ^= 1;
    std::fs::write(&sealed, &bytes).unwrap();
    let (head, body) = fetch(&daemon, &id, "Range: bytes=70000-79999\r\n");
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    assert_eq!(body, &original[70_000..80_000]);

    std::fs::rename(&sealed, keys.path().join("away")).unwrap();
    refused(&daemon.recseal(&["verify", &id]), &[1, 4], "missing");
    refused(&daemon.recseal(&["open", &id, "-o", &out]), &[1, 4], "missing");
    std::fs::write(&sealed, &good).unwrap();
    daemon.json(&["verify", &id]);
    daemon.json(&["open", &id, "-o", &out]);
    assert!(std::fs::read(&out).unwrap() == original);
    assert!(!daemon.log().contains("a.wav"), "a name in the log");
}

/// Planted fault: a key file whose end is not looked at opens with a tail cut off.
#[test]
fn a_wrong_or_damaged_key_opens_nothing() {
    let (_folder, store) = store();
    std::fs::write(store.join("a.wav"), Marker::new().wav(2)).unwrap();
    std::fs::write(store.join("b.wav"), Marker::new().wav(2)).unwrap();
    let site = Site::new(&[&store], "reserve = '1MiB'");
    let mut daemon = site.start();
    daemon.wait_until("both are sealed", |daemon| count(daemon, "available") == 2);
    let found = available(&daemon);
    let (id, other) = (found[0]["id"].as_str().unwrap(), found[1]["id"].as_str().unwrap());
    let keys = tempfile::tempdir().unwrap();
    let path = |name: &str| keys.path().join(name).to_str().unwrap().to_owned();
    daemon.json(&["keys", "export", id, "-o", &path("good")]);
    daemon.json(&["keys", "export", other, "-o", &path("other")]);
    assert_eq!(std::fs::metadata(path("good")).unwrap().mode() & 0o777, 0o600);
    let good = std::fs::read(path("good")).unwrap();
    let sealed = sealed_path(&daemon, id);
    let sealed = sealed.to_str().unwrap();
    let (out, key) = (path("out"), path("key"));
    let tries = |what: &str, codes: &[i32], key: &str| {
        refused(&daemon.recseal(&["verify", sealed, "--key", key]), codes, what);
        refused(&daemon.recseal(&["open", sealed, "--key", key, "-o", &out]), codes, what);
        assert!(!Path::new(&out).exists(), "{what}");
    };
    tries("another recording's", &[4], &path("other"));
    tries("missing", &[6], &path("missing"));
    for at in (0..good.len()).filter(|at| !good[*at].is_ascii_whitespace()).step_by(7) {
        let mut bytes = good.clone();
        bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
        std::fs::write(&key, &bytes).unwrap();
        tries(&format!("byte {at}"), &[4], &key);
    }
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("half", good[..good.len() / 2].to_vec()),
        ("doubled", good.repeat(2)),
        ("noise", vec![0xff; 300]),
        ("long", vec![b'a'; 1 << 20]),
    ] {
        std::fs::write(&key, bytes).unwrap();
        tries(what, &[4, 1], &key);
    }
}

/// Names that hurt, files that are none, files that come and go. Planted faults: following
/// symlinks seals what lies outside; printing names as they are clears the terminal.
#[test]
fn odd_files_are_sealed_or_left_alone_and_no_name_is_obeyed() {
    let (folder, store) = store();
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret.wav"), Marker::new().wav(1)).unwrap();
    symlink(outside.join("secret.wav"), store.join("link.wav")).unwrap();
    symlink(&outside, store.join("linked-folder")).unwrap();
    symlink(&store, store.join("loop")).unwrap();
    run(Command::new("mkfifo").arg(store.join("pipe.wav"))).unwrap();
    let _socket = UnixListener::bind(store.join("socket.wav")).unwrap();
    let twice = Marker::new().wav(1);
    std::fs::write(store.join("twice.wav"), &twice).unwrap();
    std::fs::hard_link(store.join("twice.wav"), store.join("again.wav")).unwrap();
    let longest = [&[b'n'; 251][..], b".wav"].concat();
    let names: &[&[u8]] = &[
        b"one-byte.wav",
        b"empty.wav",
        &longest,
        b"\xff\xfe not text.wav",
        b"two\nlines\tand \"quotes\" 'n $(reboot) `id`.wav",
        b"\x1b[2J\x1b]0;owned\x07.wav",
        b"right\xe2\x80\xaetfel.wav",
        b" .wav",
        b"-rf",
    ];
    // Hidden is how recorders and rsync say: not yet.
    std::fs::write(store.join("..wav"), Marker::new().wav(1)).unwrap();
    let content = |name: &[u8]| match name {
        b"one-byte.wav" => vec![7],
        b"empty.wav" => vec![],
        name => [&Marker::new().wav(1)[..], name].concat(),
    };
    for name in names {
        std::fs::write(store.join(OsStr::from_bytes(name)), content(name)).unwrap();
    }
    let site = Site::new(&[&store], "reserve = '1MiB'");
    let mut daemon = site.start();
    for number in 0..300 {
        let path = store.join(format!("brief-{number}.wav"));
        std::fs::write(&path, b"gone in a moment").unwrap();
        #[expect(clippy::disallowed_methods, reason = "a recorder that changes its mind")]
        std::fs::remove_file(&path).unwrap();
    }
    let wanted = names.len() as u64;
    daemon.wait_until("all are sealed", |daemon| count(daemon, "available") == wanted);
    daemon.wait_until("the hard link is reported", |daemon| {
        warns(daemon, "hard-links") && count(daemon, "quarantined") > 0
    });
    assert_eq!(std::fs::read(store.join("twice.wav")).unwrap(), twice);
    assert_eq!(std::fs::read(store.join("again.wav")).unwrap(), twice);
    assert!(outside.join("secret.wav").exists());
    for kept in ["link.wav", "linked-folder", "loop", "pipe.wav", "socket.wav", "..wav"] {
        assert!(store.join(kept).symlink_metadata().is_ok(), "{kept}");
    }
    for name in names {
        assert!(!store.join(OsStr::from_bytes(name)).exists(), "{name:?}");
    }
    let ids: Vec<String> =
        available(&daemon).iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    let empty = available(&daemon).iter().filter(|one| one["size_bytes"] == 0).count();
    assert_eq!(empty, 1);
    for args in [
        vec!["recordings"],
        vec!["status"],
        vec!["audit"],
        vec!["recordings", "show", &ids[4]],
        vec!["recordings", "show", &ids[5]],
        vec!["recordings", "--json"],
    ] {
        let output = daemon.recseal(&args);
        assert!(output.status.success(), "{args:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let rude = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        let rude = text.chars().find(|c| rude(*c) && !args.contains(&"--json"));
        assert_eq!(rude, None, "{args:?}: {text:?}");
        assert!(!text.contains('\u{1b}'), "{args:?}");
    }
    let rows = daemon.recseal(&["recordings", "--state-is", "available"]);
    let rows = String::from_utf8(rows.stdout).unwrap();
    assert_eq!(rows.lines().count(), names.len() + 1, "a name made a row of its own: {rows}");
    for id in ids {
        daemon.json(&["verify", &id]);
        let (head, _) = fetch(&daemon, &id, "");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    }
}

/// The original cannot be removed: sealed anyway, kept, reported, and finished later. Planted
/// fault: `End::Gone` for a refused removal forgets the plaintext.
#[test]
fn a_store_that_cannot_be_written_keeps_its_originals_until_it_can() {
    or_skip!(root());
    or_skip!(tools(&["mount", "umount", "chattr"]));
    let (_one, real) = store();
    let (_two, pinned) = store();
    let seen = real.parent().unwrap().join("seen");
    std::fs::create_dir(&seen).unwrap();
    let _bound = or_skip!(Bound::new(&real, &seen));
    std::fs::write(pinned.join("b.wav"), Marker::new().wav(1)).unwrap();
    or_skip!(run(Command::new("chattr").arg("+i").arg(pinned.join("b.wav"))));
    let site = Site::new(&[&seen, &pinned], "reserve = '1MiB'");
    let mut daemon = site.start();
    // A store that was read-only from the first day cannot be marked, and so not be known again.
    daemon.wait_until("the other is sealed", |daemon| count(daemon, "available") == 1);
    assert!(warns(&daemon, "store-lost"));
    let remount = |how: &str| {
        run(Command::new("mount").args(["-o", how]).arg(&seen)).unwrap();
    };
    remount("remount,rw,bind");
    daemon.wait_until("it is marked", |_| real.join(".recseal-store").exists());
    remount("remount,ro,bind");
    std::fs::write(real.join("a.wav"), Marker::new().wav(1)).unwrap();
    wait_long(&mut daemon, "both are sealed", |daemon| count(daemon, "available") == 2);
    daemon.wait_until("it is told", |daemon| warns(daemon, "originals-waiting"));
    assert!(real.join("a.wav").exists() && pinned.join("b.wav").exists());
    for one in available(&daemon) {
        daemon.json(&["verify", one["id"].as_str().unwrap()]);
    }
    remount("remount,rw,bind");
    run(Command::new("chattr").arg("-i").arg(pinned.join("b.wav"))).unwrap();
    wait_long(&mut daemon, "the originals are gone", |_| {
        !real.join("a.wav").exists() && !pinned.join("b.wav").exists()
    });
    daemon.wait_until("no warning is left", |daemon| !warns(daemon, "originals-waiting"));
    assert_eq!(count(&daemon, "available"), 2, "nothing was found a second time");
}

/// A read-only bind mount, undone when dropped.
struct Bound(PathBuf);

impl Bound {
    fn new(real: &Path, seen: &Path) -> Result<Self, String> {
        run(Command::new("mount").arg("--bind").arg(real).arg(seen))?;
        let bound = Self(seen.to_owned());
        run(Command::new("mount").args(["-o", "remount,ro,bind"]).arg(seen))?;
        Ok(bound)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

/// Takes all the room of a file system but `left` bytes.
fn fill(fs: &Path, left: u64) -> PathBuf {
    let filler = fs.join("filler");
    let file = std::fs::File::create(&filler).unwrap();
    let room = rustix::fs::fstatvfs(&file).unwrap();
    let mut taken = (room.f_bfree * room.f_frsize).saturating_sub(left);
    let mut step = taken;
    let mut at = 0;
    while step >= 4_096 && taken > 0 {
        let flags = rustix::fs::FallocateFlags::empty();
        if rustix::fs::fallocate(&file, flags, at, step.min(taken)).is_ok() {
            at += step.min(taken);
            taken -= step.min(taken);
        } else {
            step /= 2;
        }
    }
    filler
}

/// The vault is full: the originals stay, the log says why, and room is all it takes. Planted
/// fault: quarantine for a full disk needs a person where nobody is needed.
#[test]
fn a_full_vault_loses_nothing_and_goes_on() {
    let fs = or_skip!(LoopFs::make("ext4", "", &["-m", "0"]));
    let (_folder, store) = store();
    let vault = fs.path().join("vault");
    let site = Site::new(&[&store], &format!("path = {vault:?}\nreserve = '0B'"));
    let mut daemon = site.start();
    let filler = fill(fs.path(), 100_000);
    let originals: Vec<Vec<u8>> = (0..3).map(|_| Marker::new().wav(30)).collect();
    for (number, original) in originals.iter().enumerate() {
        std::fs::write(store.join(format!("{number}.wav")), original).unwrap();
    }
    daemon.wait_until("it says so", |daemon| daemon.log().contains("sealing failed"));
    let log = daemon.log();
    let told = log.lines().find(|line| line.contains("sealing failed")).unwrap();
    assert!(told.contains("space") || told.contains("full"), "{told}");
    for (number, original) in originals.iter().enumerate() {
        assert_eq!(&std::fs::read(store.join(format!("{number}.wav"))).unwrap(), original);
    }
    assert_eq!((count(&daemon, "available"), count(&daemon, "waiting")), (0, 3));
    truncate(&filler);
    wait_long(&mut daemon, "all are sealed", |daemon| count(daemon, "available") == 3);
    for one in available(&daemon) {
        daemon.json(&["verify", one["id"].as_str().unwrap()]);
    }
    daemon.wait_until("no original is left", |_| left_in(&store) == 0);
    drop(daemon);
}

fn truncate(filler: &Path) {
    std::fs::File::options().write(true).open(filler).unwrap().set_len(0).unwrap();
}

/// Not even the catalog can be written. Planted fault: a task that repeats a failed look at every
/// bell writes hundreds of lines.
#[test]
fn a_full_state_folder_loses_nothing_and_goes_on() {
    let fs = or_skip!(LoopFs::make("ext4", "", &["-m", "0"]));
    let (_folder, store) = store();
    let site = Site::new(&[&store], "reserve = '0B'");
    let folder = tempfile::tempdir().unwrap();
    let state = fs.path().join("state");
    let config = site.config();
    let mut daemon = Daemon::start_on(folder, state, &[], &["--config", config.to_str().unwrap()]);
    daemon.wait_until("it has looked", |daemon| {
        !daemon.json(&["status"])["stores"][0]["last_scan_at"].is_null()
    });
    let filler = fill(fs.path(), 0);
    for number in 0..200 {
        std::fs::write(store.join(format!("{number}.wav")), Marker::new().wav(1)).unwrap();
    }
    daemon.wait_until("it says so", |daemon| {
        let log = daemon.log();
        log.contains("a look into a store failed")
            || log.contains("sealing failed")
            || log.contains("sealing stopped")
    });
    for number in 200..300 {
        std::fs::write(store.join(format!("{number}.wav")), Marker::new().wav(1)).unwrap();
        daemon.recseal(&["status"]);
    }
    // It is up, and says what it can.
    refused(
        &daemon.recseal(&["open", "0192f0c8-7a3b-7c4d-8e5f-123456789abc", "-o", "x"]),
        &[6],
        "",
    );
    truncate(&filler);
    wait_long(&mut daemon, "all are sealed", |daemon| count(daemon, "available") == 300);
    let failures = daemon.log().matches("a look into a store failed").count();
    assert!(failures < 50, "{failures} lines: a full disk fills the log");
    daemon.wait_until("no original is left", |_| left_in(&store) == 0);
    let proved = daemon.recseal(&["audit", "verify"]);
    assert!(proved.status.success(), "{proved:?}");
    drop(daemon);
}

/// The log cannot be written. Planted fault: `log_internal_errors(true)`, which reports errors of
/// the log on the same stderr and panics there.
#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let (_folder, store) = store();
    let site = Site::new(&[&store], "reserve = '1MiB'");
    let state = site.folder.path().join("state");
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let child = program()
        .args(["serve", "--listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0", "--config"])
        .arg(site.config())
        .arg("--state")
        .arg(&state)
        .stdin(Stdio::null())
        .stdout(full())
        .stderr(full())
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    std::fs::write(store.join("a.wav"), Marker::new().wav(1)).unwrap();
    let sealed = (0..1_200).any(|_| {
        let ended = child.0.try_wait().unwrap();
        assert!(ended.is_none(), "it ended: {ended:?}");
        let output = program().args(["status", "--json", "--state"]).arg(&state).output().unwrap();
        let status: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        status.is_some_and(|status| status["recordings"]["available"] == 1)
    });
    assert!(sealed);
}

/// A child of ours that does not outlive its test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Renamed away, and a mount that comes off: neither means "all deleted". Planted fault: a store
/// that is looked up by path only takes the empty mount point for the store.
#[test]
fn a_store_that_goes_away_is_missed_and_taken_up_again() {
    let fs = or_skip!(LoopFs::make("ext4", "", &["-m", "0"]));
    let (_folder, store) = store();
    let mounted = fs.path();
    let site = Site::new(&[&store, mounted], "reserve = '1MiB'");
    // Empty files wait here as long as the test takes: known to the catalog, not yet sealed.
    let text = std::fs::read_to_string(site.config()).unwrap().replace("'2s'", "'1h'");
    std::fs::write(site.config(), text).unwrap();
    let mut daemon = site.start();
    for store in [store.as_path(), mounted] {
        std::fs::write(store.join("early.wav"), Marker::new().wav(1)).unwrap();
        std::fs::write(store.join("placeholder.wav"), b"").unwrap();
    }
    daemon.wait_until("they are known", |daemon| {
        count(daemon, "available") == 2 && count(daemon, "waiting") == 2
    });
    let waiting: Vec<String> = ids_waiting(&daemon);

    let away = store.with_file_name("away");
    std::fs::rename(&store, &away).unwrap();
    run(Command::new("umount").arg("-l").arg(mounted)).unwrap();
    daemon.wait_until("both are missed", |daemon| {
        let status = daemon.json(&["status"]);
        status["stores"].as_array().unwrap().iter().all(|store| store["state"] == "lost")
    });
    assert!(warns(&daemon, "store-lost"));
    assert_eq!(ids_waiting(&daemon), waiting, "a store that is away is not an empty one");
    for one in available(&daemon) {
        daemon.json(&["verify", one["id"].as_str().unwrap()]);
    }
    std::fs::write(mounted.join("below.wav"), Marker::new().wav(1)).unwrap();
    std::fs::rename(&away, &store).unwrap();
    run(Command::new("mount").arg(fs.device()).arg(mounted)).unwrap();
    for store in [store.as_path(), mounted] {
        std::fs::write(store.join("late.wav"), Marker::new().wav(1)).unwrap();
    }
    wait_long(&mut daemon, "work goes on", |daemon| count(daemon, "available") == 4);
    daemon.wait_until("no warning is left", |daemon| !warns(daemon, "store-lost"));
    assert_eq!(ids_waiting(&daemon), waiting);
    drop(daemon);
}

fn ids_waiting(daemon: &Daemon) -> Vec<String> {
    let list = daemon.json(&["recordings", "--state-is", "waiting"]);
    list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

/// As nobody: what it may not read stays, the rest goes on, and a folder that opens is entered.
/// Planted fault: ending a scan at the first folder that does not open.
#[test]
fn what_may_not_be_read_stops_nothing_else() {
    or_skip!(root());
    or_skip!(tools(&["setpriv", "chown"]));
    let (outer, store) = store();
    let site = Site::new(&[&store], "reserve = '1MiB'");
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::create_dir(store.join("closed")).unwrap();
    std::fs::write(store.join("closed/c.wav"), Marker::new().wav(1)).unwrap();
    std::fs::write(store.join("a.wav"), Marker::new().wav(1)).unwrap();
    std::fs::write(store.join("b.wav"), Marker::new().wav(1)).unwrap();
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    run(Command::new("chown").args(["-R", "65534:65534"]).arg(&state).arg(&store)).unwrap();
    run(Command::new("chown").arg("0:0").arg(store.join("b.wav"))).unwrap();
    run(Command::new("chown").args(["-R", "0:0"]).arg(store.join("closed"))).unwrap();
    set(&store.join("b.wav"), 0o600);
    set(&store.join("closed"), 0o700);
    for path in [outer.path(), site.folder.path(), folder.path()] {
        set(path, 0o755);
    }
    set(&state, 0o700);
    let config = site.config();
    let under =
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"];
    let mut daemon =
        Daemon::start_on(folder, state, &under, &["--config", config.to_str().unwrap()]);
    daemon.wait_until("the readable one is sealed", |daemon| count(daemon, "available") == 1);
    daemon.wait_until("the rest is counted", |daemon| {
        let skipped = daemon.json(&["status"])["stores"][0]["skipped"].as_u64();
        skipped >= Some(1) && count(daemon, "waiting") == 1
    });
    assert!(store.join("b.wav").exists() && store.join("closed/c.wav").exists());
    run(Command::new("chown").args(["-R", "65534:65534"]).arg(&store)).unwrap();
    daemon.kill_nine();
    daemon.start_again();
    // The unreadable one was put off; the folder is only looked into.
    daemon.wait_until("the folder is seen", |daemon| count(daemon, "available") >= 2);
    let counts = &daemon.json(&["status"])["recordings"];
    let of = |name: &str| counts[name].as_u64().unwrap();
    assert_eq!(of("available") + of("waiting"), 3);
}

/// Ctrl-C in the middle of a big recording. Planted fault: writing under the final name.
#[test]
fn an_interrupted_open_leaves_no_file() {
    let (_folder, store) = store();
    std::fs::write(store.join("big.wav"), Marker::new().wav(3_600)).unwrap();
    let site = Site::new(&[&store], "reserve = '1MiB'");
    let mut daemon = site.start();
    daemon.wait_until("it is sealed", |daemon| count(daemon, "available") == 1);
    let id = available(&daemon)[0]["id"].as_str().unwrap().to_owned();
    let outs = tempfile::tempdir().unwrap();
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("k");
    daemon.json(&["keys", "export", &id, "-o", key.to_str().unwrap()]);
    let sealed = sealed_path(&daemon, &id);
    let offline = [sealed.as_os_str(), OsStr::new("--key"), key.as_os_str()];
    for what in [&[OsStr::new(&id)][..], &offline] {
        let was_interrupted = (0..20).any(|_| {
            let out = outs.path().join("o");
            let mut open = program();
            open.arg("open").args(what).arg("-o").arg(&out);
            open.arg("--state").arg(daemon.state()).stdout(Stdio::null());
            let mut child = Killed(open.spawn().unwrap());
            let pid = rustix::process::Pid::from_child(&child.0);
            while !has_written(child.0.id(), outs.path()) {
                if child.0.try_wait().unwrap().is_some() {
                    break;
                }
            }
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
            if child.0.wait().unwrap().success() {
                std::fs::rename(&out, keys.path().join("whole")).unwrap();
                return false;
            }
            assert_eq!(std::fs::read_dir(outs.path()).unwrap().count(), 0, "half a file");
            true
        });
        assert!(was_interrupted, "it was always quicker");
    }
    daemon.json(&["verify", &id]);
}

/// True once an unnamed file below `folder` that the process has open holds something.
fn has_written(pid: u32, folder: &Path) -> bool {
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.flatten().any(|entry| {
        let is_below = std::fs::read_link(entry.path()).is_ok_and(|to| to.starts_with(folder));
        is_below && std::fs::metadata(entry.path()).is_ok_and(|seen| seen.len() > 1_000_000)
    })
}

/// The state folder is open to others, the root key damaged, the catalog not a database: each is
/// told apart and nothing is made anew over it. Planted fault: a missing key file taken for a
/// first start makes new keys and loses every recording.
#[test]
fn a_damaged_state_folder_is_refused_and_not_replaced() {
    let (_folder, store) = store();
    std::fs::write(store.join("a.wav"), Marker::new().wav(1)).unwrap();
    let site = Site::new(&[&store], "reserve = '1MiB'");
    let mut daemon = site.start();
    daemon.wait_until("it is sealed", |daemon| count(daemon, "available") == 1);
    assert!(daemon.stop().success());
    let state = daemon.state();
    let keys = state.join("keys");
    let mut files: Vec<PathBuf> = vec![state.join("catalog.db")];
    files.extend(
        std::fs::read_dir(&keys)
            .unwrap()
            .flatten()
            .filter(|entry| entry.metadata().unwrap().len() > 0)
            .map(|entry| entry.path())
            .filter(|path| path.is_file()),
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (address.to_string(), taken)).unwrap();
    for file in &files {
        let good = std::fs::read(file).unwrap();
        let damaged = std::fs::File::options().write(true).open(file).unwrap();
        let noise: Vec<u8> = good.iter().map(|byte| byte ^ 0x55).collect();
        damaged.write_all_at(&noise, 0).unwrap();
        let output = program()
            .args(["serve", "--listen", "127.0.0.1:0", "--health-listen", &taken.0])
            .arg("--state")
            .arg(&state)
            .output()
            .unwrap();
        // The taken port keeps a daemon that came up from staying. That it got so far is right
        // only where an older generation stands in for the damaged one.
        assert!(!output.status.success());
        let name = file.file_name().unwrap().to_string_lossy();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = stderr.lines().rev().take(2).collect();
        assert!(last[0].starts_with("hint: ") && last[1].starts_with("recseal: "), "{stderr}");
        println!("{name}: {}", last[1]);
        damaged.write_all_at(&good, 0).unwrap();
        damaged.set_len(good.len() as u64).unwrap();
    }
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o755)).unwrap();
    daemon.start_again();
    assert!(warns(&daemon, "keys-open-to-others"));
    let id = available(&daemon)[0]["id"].as_str().unwrap().to_owned();
    daemon.json(&["verify", &id]);
}
