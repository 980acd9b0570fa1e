//! Damaged backups, kills in the middle, full disks.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use recseal::catalog::Catalog;

use super::{Host, assert_plays, available, code, run, stderr, warns};
use crate::common::daemon::program;
use crate::common::loop_fs::LoopFs;
use crate::common::or_skip;

#[test]
fn a_damaged_backup_is_four_and_remembered() {
    let mut host = Host::start("");
    host.record(["a.wav".to_owned()]);
    host.expect_sealed(1);
    let file = host.create("f.rsbackup");
    let whole = std::fs::read(&file).unwrap();
    let damaged = host.at("d.rsbackup");
    let middle = whole.len() / 2;
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        bytes
    };
    let state = host.at("nothing");
    for (what, bytes) in [
        ("head", flipped(40)),
        ("body", flipped(middle)),
        ("end", flipped(whole.len() - 1)),
        ("cut", whole[..middle].to_vec()),
        ("cut in the head", whole[..60].to_vec()),
        ("longer", [&whole[..], b"x"].concat()),
        ("empty", Vec::new()),
    ] {
        std::fs::write(&damaged, bytes).unwrap();
        let verified = host.backup(&["verify", &damaged, "--passphrase-file", &host.at("pass")]);
        assert_eq!(code(&verified), 4, "{what}: {verified:?}");
        let pass = host.at("pass");
        let args = ["backup", "restore", &damaged, "--passphrase-file", &pass, "--state", &state];
        let restored = run(&args);
        assert_eq!(code(&restored), 4, "{what}: {restored:?}");
        assert!(!Path::new(&state).exists(), "{what}");
        assert!(!Path::new(&format!("{state}.restoring")).exists(), "{what}");
    }
    let rows = host.daemon.json(&["backup", "status"]);
    assert!(rows["backups"][0]["damaged_at"].is_string(), "{rows}");
    assert!(warns(&host.daemon, "no-verified-backup"));
    // The other copy is fine, and says so later than the damage.
    let pass = host.at("pass");
    let good = host.backup(&["verify", &file, "--passphrase-file", &pass, "--work", &host.at("")]);
    assert!(good.status.success(), "{good:?}");
    assert!(!warns(&host.daemon, "no-verified-backup"));
    let left: Vec<_> = std::fs::read_dir(host.desk.path()).unwrap().flatten().collect();
    assert!(!left.iter().any(|e| e.file_name().to_string_lossy().starts_with("recseal-trial")));
    // With the daemon dead as well.
    host.daemon.kill_nine();
    assert!(host.backup(&["verify", &file, "--passphrase-file", &pass]).status.success());
    // And a folder that is in use is left alone.
    let state = host.daemon.state();
    let args = [
        "backup",
        "restore",
        &file,
        "--passphrase-file",
        &pass,
        "--state",
        state.to_str().unwrap(),
    ];
    assert_eq!(code(&run(&args)), 5);
}

/// Makes the catalog of a daemon at rest some MiB large, so that a backup takes a while.
fn make_large(state: &Path) {
    let catalog = Catalog::open(&state.join("catalog.db")).unwrap();
    catalog.scrub().unwrap();
    catalog.close().unwrap();
}

fn copies_beside_catalog(state: &Path) -> usize {
    let entries = std::fs::read_dir(state).unwrap().flatten();
    entries.filter(|e| e.file_name().to_string_lossy().contains(".copy-")).count()
}

/// Meant to catch: no sweep when the catalog is opened, and the copy stays for ever.
#[test]
fn a_daemon_killed_while_it_backs_up_leaves_nothing_behind() {
    let mut host = Host::start("");
    host.record(["a.wav".to_owned()]);
    host.expect_sealed(1);
    host.daemon.stop();
    make_large(&host.daemon.state());
    host.daemon.start_again();
    let pass = host.at("pass");
    // Whoever asked for it does not take it, so it cannot end.
    let mut slow: Child = program()
        .args(["backup", "create", "-o", "-", "--passphrase-file", &pass, "--state"])
        .arg(host.daemon.state())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = slow.stdout.take().unwrap();
    out.read_exact(&mut [0; 1]).unwrap();
    assert_eq!(copies_beside_catalog(&host.daemon.state()), 1);
    let second = host.backup(&["create", "-o", &host.at("s"), "--passphrase-file", &pass]);
    assert_eq!(code(&second), 5, "{second:?}");
    // Sealing goes on meanwhile.
    host.record(["b.wav".to_owned()]);
    host.expect_sealed(2);
    host.daemon.kill_nine();
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    assert_eq!(slow.wait().unwrap().code(), Some(1));
    host.daemon.start_again();
    assert_eq!(copies_beside_catalog(&host.daemon.state()), 0);
    assert!(host.daemon.json(&["backup", "status"])["created_at"].is_null(), "nobody has it");
    // Half of it is no backup.
    std::fs::write(host.at("half"), &rest).unwrap();
    assert_eq!(code(&host.backup(&["verify", &host.at("half"), "--passphrase-file", &pass])), 4);
    let file = host.create("whole.rsbackup");
    assert!(host.backup(&["verify", &file, "--passphrase-file", &pass]).status.success());
    assert_eq!(copies_beside_catalog(&host.daemon.state()), 0);
}

/// Killed as soon as each thing appears that a restore makes.
#[test]
fn a_restore_that_is_killed_leaves_a_whole_state_folder_or_none() {
    let mut host = Host::start("");
    let said = host.record(["a.wav".to_owned()]);
    host.expect_sealed(1);
    host.daemon.stop();
    make_large(&host.daemon.state());
    host.daemon.start_again();
    let file = host.create("f.rsbackup");
    let (pass, state) = (host.at("pass"), host.desk.path().join("new"));
    let building = host.desk.path().join("new.restoring");
    let args = ["backup", "restore", &file, "--passphrase-file", &pass, "--state"];
    let parts = ["", "catalog.db", "catalog.db-wal", "keys.creating", "keys", "keys/live"];
    for (number, part) in parts.iter().enumerate() {
        let mut child = program().args(args).arg(&state).stdout(Stdio::null()).spawn().unwrap();
        let waited = building.join(part);
        while waited.symlink_metadata().is_err() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if state.exists() {
            // It was quicker than we. Then it is whole.
            assert!(!building.exists());
            std::fs::rename(&state, host.desk.path().join(format!("quick-{number}"))).unwrap();
        }
    }
    let restored = program().args(args).arg(&state).output().unwrap();
    assert!(restored.status.success(), "{restored:?}");
    assert!(!building.exists());
    let (moved, desk) = host.move_to(&state);
    let recordings = available(&moved);
    assert_plays(&moved, desk.path(), &recordings[0], &said["a.wav"]);
}

/// The disk that the backup goes to is full: nobody counts a backup that nobody has.
#[test]
fn a_full_disk_makes_no_backup() {
    let disk = or_skip!(LoopFs::make_in(None, 8 << 20, "ext4", "", &["-m", "0"]));
    let mut host = Host::start("");
    host.record(["a.wav".to_owned()]);
    host.expect_sealed(1);
    host.daemon.stop();
    make_large(&host.daemon.state());
    host.daemon.start_again();
    let filler = Command::new("dd")
        .args(["if=/dev/zero", "bs=64k", "count=1000"])
        .arg(format!("of={}", disk.path().join("filler").display()))
        .stderr(Stdio::null())
        .status();
    assert!(!filler.unwrap().success(), "the disk is full");
    let file = disk.path().join("f.rsbackup");
    let pass = host.at("pass");
    let made = host.backup(&["create", "-o", file.to_str().unwrap(), "--passphrase-file", &pass]);
    assert_eq!(code(&made), 1, "{made:?}");
    assert!(stderr(&made).contains("hint: "), "{made:?}");
    let names: Vec<_> = std::fs::read_dir(disk.path()).unwrap().flatten().collect();
    assert_eq!(names.iter().filter(|e| e.file_name() != "lost+found").count(), 1, "{names:?}");
    assert!(host.daemon.json(&["backup", "status"])["created_at"].is_null());
    assert_eq!(copies_beside_catalog(&host.daemon.state()), 0);
    assert_eq!(host.daemon.json(&["status"])["recordings"]["available"], 1);
}
