//! Stores and disks that make trouble: odd files, missing rights, no room, folders that go away.
//! Nothing is lost, somebody is told, and work goes on by itself.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::daemon::{Daemon, program};
use crate::common::loop_fs::LoopFs;
use crate::common::marker::Marker;
use crate::common::{or_skip, root, run, tools};
use crate::{Killed, Site, available, count, fetch, refused, store, wait_long, warns};

/// Files that are left in a store, but for its id file.
fn left_in(store: &Path) -> usize {
    let names = std::fs::read_dir(store).unwrap().flatten().map(|entry| entry.file_name());
    names.filter(|name| !name.as_bytes().starts_with(b".recseal")).count()
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
    // Enough that some are read after the closed one, in whatever order.
    for number in 0..20 {
        let open = store.join(format!("open-{number}"));
        std::fs::create_dir(&open).unwrap();
        std::fs::write(open.join("d.wav"), Marker::new().wav(1)).unwrap();
    }
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
    daemon.wait_until("what can be read is sealed", |daemon| count(daemon, "available") == 21);
    daemon.wait_until("the rest is counted", |daemon| {
        let skipped = daemon.json(&["status"])["stores"][0]["skipped"].as_u64();
        skipped >= Some(1) && count(daemon, "waiting") == 1
    });
    assert!(store.join("b.wav").exists() && store.join("closed/c.wav").exists());
    run(Command::new("chown").args(["-R", "65534:65534"]).arg(&store)).unwrap();
    daemon.kill_nine();
    daemon.start_again();
    // The unreadable one was put off; the folder is only looked into.
    daemon.wait_until("the folder is seen", |daemon| count(daemon, "available") >= 22);
    let counts = &daemon.json(&["status"])["recordings"];
    let of = |name: &str| counts[name].as_u64().unwrap();
    assert_eq!(of("available") + of("waiting"), 23);
}
