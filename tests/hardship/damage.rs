//! Damaged copies, keys and state folders, and an open that is cut off: no wrong byte, no half
//! file, nothing made anew over what is there.

use std::ffi::OsStr;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::common::daemon::{Daemon, program};
use crate::common::marker::Marker;
use crate::{Killed, Site, available, count, fetch, refused, store, warns};

/// The sealed media of a recording.
fn sealed_path(daemon: &Daemon, id: &str) -> PathBuf {
    let recording = daemon.json(&["recordings", "show", id]);
    let copies = recording["copies"].as_array().unwrap();
    let media = copies.iter().find(|copy| copy["kind"] == "media").unwrap();
    daemon.vault().join(media["path"].as_str().unwrap())
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

/// Planted fault: what follows the key in its file is not looked at.
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
        let was_interrupted = (0..200).any(|_| {
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
/// told apart and nothing is made anew over it. Planted fault: keys that do not
/// open taken for a first start; new ones then lose every recording.
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
