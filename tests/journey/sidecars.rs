//! Files beside recordings, and sealed files beside originals.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::common::marker::Marker;
use crate::common::or_skip;
use crate::{Server, plain_files};

/// Planted fault: a profile without its sidecar rule makes two recordings of them.
#[test]
fn a_sidecar_is_sealed_with_its_recording() {
    let mut server = Server::start("generic");
    let (call, who) = (Marker::new().wav(2), Marker::new());
    let json = format!("{{\"caller\": \"{}\"}}\n", who.text());
    std::fs::write(server.store.join("call.json"), &json).unwrap();
    std::fs::write(server.store.join("call.wav"), &call).unwrap();
    server.expect_sealed(1);
    let id = server.expect_sealed_one("call.wav");
    assert!(server.open(&id) == call);
    assert_eq!(server.daemon.json(&["recordings", "show", &id])["sidecars"], 1);
    assert!(open_sidecar(&server, &id) == json.as_bytes());
    assert_eq!(server.audit("SIDECAR_SEALED").len(), 1);
    assert_eq!(server.audit("SIDECAR_REMOVED").len(), 1);
    assert_eq!(who.count_in_tree(&server.daemon.state()), 0, "in clear in the state folder");
    assert!(!server.daemon.log().contains(who.text()));
}

/// Jibri: a folder for each session, `metadata.json` comes last and holds the key of the live
/// stream.
///
/// Planted faults: a session taken without its marker; the value in the log line.
#[test]
fn the_stream_key_of_jibri_is_sealed_and_reported_by_kind() {
    let mut server = Server::start("jibri");
    let session = server.store.join("abcdefghijklmnop");
    std::fs::create_dir(&session).unwrap();
    let (video, key) = (Marker::new().fill(200_000), Marker::new());
    std::fs::write(session.join("room_2026-11-23-18-24-57.mp4"), &video).unwrap();
    // Without its metadata a session is not finished, however still it lies.
    std::fs::create_dir(server.store.join("other")).unwrap();
    std::fs::write(server.store.join("other/metadata.json"), "{}").unwrap();
    std::fs::write(server.store.join("other/other.mp4"), Marker::new().fill(50_000)).unwrap();
    server.expect_sealed_one("other.mp4");
    assert!(session.join("room_2026-11-23-18-24-57.mp4").exists(), "taken before its metadata");

    let metadata = format!(
        "{{\"meeting_url\": \"https://meet.example.org/room\",\n \
         \"stream\": \"rtmp://live.example.org/live2/{}\"}}\n",
        key.text()
    );
    std::fs::write(session.join("metadata.json"), &metadata).unwrap();
    server.expect_sealed(2);
    let id = server.expect_sealed_one("room_2026-11-23-18-24-57.mp4");
    assert!(server.open(&id) == video);
    assert!(open_sidecar(&server, &id) == metadata.as_bytes());
    let log = server.daemon.log();
    assert!(log.contains("stream_key"), "{log}");
    assert!(!log.contains(key.text()) && !log.contains("meet.example"), "{log}");
    assert_eq!(key.count_in_tree(&server.daemon.state()), 0, "in clear in the state folder");
}

/// BigBlueButton: material below `raw`, flags below `status`, `events.xml` above its recordings.
///
/// Planted faults: flags taken for recordings; `events.xml` looked for beside media only.
#[test]
fn a_meeting_of_bigbluebutton_is_sealed_when_it_is_published() {
    let mut server = Server::start("bigbluebutton");
    let put = |store: &Path, name: &str, content: &[u8]| {
        let path = store.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    let (audio, video, who) = (Marker::new().wav(1), Marker::new().fill(50_000), Marker::new());
    let events = format!("<recording><attendee name=\"{}\"/></recording>", who.text());
    let store = server.store.clone();
    put(&store, "raw/m-1/audio/m-1-17.wav", &audio);
    put(&store, "raw/m-1/video/m-1/w.webm", &video);
    put(&store, "raw/m-1/events.xml", events.as_bytes());
    put(&store, "status/archived/m-1.done", b"Archived m-1");
    put(&store, "raw/m-2/audio/unmarked.wav", &Marker::new().wav(1));
    put(&store, "status/archived/m-2.norecord", b"Archived m-2");
    server.expect_sealed_one("unmarked.wav");
    assert!(store.join("raw/m-1/audio/m-1-17.wav").exists(), "taken from under the processing");
    assert!(store.join("raw/m-1/events.xml").exists(), "taken from under the processing");

    put(&store, "status/published/m-1-presentation.done", b"Published m-1");
    for (name, content) in [("w.webm", &video), ("m-1-17.wav", &audio)] {
        let id = server.expect_sealed_one(name);
        assert!(server.open(&id) == *content, "{name}");
    }
    server.daemon.wait_until("its events are sealed", |daemon| {
        daemon.json(&["audit", "--activity", "SIDECAR_REMOVED"]).as_array().unwrap().len() == 1
    });
    let id = server.expect_sealed_one("m-1-17.wav");
    assert_eq!(server.daemon.json(&["recordings", "show", &id])["sidecars"], 1);
    assert!(open_sidecar(&server, &id) == events.as_bytes());
    assert_eq!(server.recordings().len(), 3);
    let left = plain_files(&store);
    assert!(left.iter().all(|path| path.starts_with(store.join("status"))), "{left:?}");
    assert_eq!(left.len(), 3, "a flag is missing");
}

/// Layout "beside": the sealed file takes the place, the mode and the times of the original, and
/// is not taken for a recording by any later look.
///
/// Planted faults: `*.sealed` not among our own names; times not carried over.
#[test]
fn a_sealed_file_beside_its_original_takes_its_place() {
    let about = "profile = \"generic\"\nsettle = \"1s\"\nlayout = \"beside\"";
    let mut server = Server::start_with(about);
    let call = Marker::new().wav(3);
    let folder = server.store.join("agents/7");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("call.wav");
    std::fs::write(&path, &call).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::new(1_763_000_000, 123_456_789);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    let before = std::fs::metadata(&path).unwrap();
    server.expect_sealed(1);
    let id = server.expect_sealed_one("call.wav");
    let sealed = std::fs::metadata(folder.join("call.wav.sealed")).unwrap();
    assert_eq!(sealed.mode() & 0o7777, 0o640);
    assert_eq!((sealed.mtime(), sealed.mtime_nsec()), (before.mtime(), before.mtime_nsec()));
    assert_eq!((sealed.uid(), sealed.gid()), (before.uid(), before.gid()));

    let scans = |status: &serde_json::Value| status["totals"]["scans"].as_u64().unwrap();
    let so_far = scans(&server.daemon.json(&["status"]));
    server.daemon.wait_until("everything was looked at twice more", |daemon| {
        scans(&daemon.json(&["status"])) >= so_far + 2
    });
    assert!(server.daemon.stop().success());
    server.daemon.start_again();
    server.expect_sealed(1);
    assert_eq!(server.recordings().len(), 1);
    assert!(server.open(&id) == call);
    assert!(plain_files(&server.store).is_empty());
}

/// Extended attributes of a recording and of the file beside it come with them: beside originals
/// with the access list, in the own tree without; never in a list, a log or the audit trail.
///
/// Planted faults: the attributes of sidecars forgotten; the access list set in the own tree.
#[test]
fn extended_attributes_come_with_the_recording() {
    use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
    for (layout, has_access_list) in [("beside", true), ("vault", false)] {
        let about = format!("profile = \"generic\"\nsettle = \"1s\"\nlayout = \"{layout}\"");
        let mut server = Server::start_with(&about);
        let (note, about_who) = (Marker::new(), Marker::new());
        for (name, content, comment) in
            [("call.wav", Marker::new().wav(1), &note), ("call.json", b"{}".to_vec(), &about_who)]
        {
            // Under a name that is not taken, so that it is taken with all of them.
            let (part, name) = (server.store.join(format!("{name}.part")), server.store.join(name));
            std::fs::write(&part, content).unwrap();
            let file = std::fs::File::open(&part).unwrap();
            let set = |name, value: &[u8]| {
                let done = fsetxattr(&file, name, value, XattrFlags::empty());
                done.map_err(|error| format!("temporary files cannot have {name}: {error}"))
            };
            or_skip!(set("user.comment", comment.text().as_bytes()));
            or_skip!(set(ACCESS_LIST, ACL));
            std::fs::rename(part, name).unwrap();
        }
        server.expect_sealed(1);
        let id = server.expect_sealed_one("call.wav");
        server.daemon.wait_until("the file beside it is sealed", |daemon| {
            daemon.json(&["audit", "--activity", "SIDECAR_REMOVED"]).as_array().unwrap().len() == 1
        });
        for (kind, comment) in [("media", &note), ("sidecar", &about_who)] {
            let sealed = std::fs::File::open(server.sealed_copy(&id, kind)).unwrap();
            let mut value = [0; 256];
            let len = fgetxattr(&sealed, "user.comment", &mut value).unwrap();
            assert_eq!(&value[..len], comment.text().as_bytes(), "{layout} {kind}");
            let access_list = fgetxattr(&sealed, ACCESS_LIST, &mut value);
            assert_eq!(
                access_list.map(|len| value[..len] == *ACL).ok(),
                has_access_list.then_some(true)
            );
            let catalog = server.daemon.state().join("catalog.db");
            let log = catalog.with_extension("db-wal");
            assert!(comment.count_in_file(&catalog) + comment.count_in_file(&log) > 0, "not kept");
            assert!(!server.daemon.log().contains(comment.text()));
            let told = [
                server.daemon.json(&["recordings"]),
                server.daemon.json(&["recordings", "show", &id]),
                server.daemon.json(&["audit"]),
            ];
            assert!(told.iter().all(|told| !told.to_string().contains(comment.text())));
        }
    }
}

/// Layout "beside": the peaks of `call.wav` and a recording called `call.wav.peaks` want the same
/// place. Neither stops the other.
///
/// Planted fault: places not told apart within a batch (the batch fails again and again).
#[test]
fn two_that_want_the_same_place_are_both_sealed() {
    let about = "profile = \"generic\"\nsettle = \"1s\"\nlayout = \"beside\"";
    let mut server = Server::start_with(about);
    let (call, other) = (Marker::new().wav(1), Marker::new().fill(5_000));
    std::fs::write(server.store.join("call.wav"), &call).unwrap();
    std::fs::write(server.store.join("call.wav.peaks"), &other).unwrap();
    server.expect_sealed(2);
    for (name, content) in [("call.wav", call), ("call.wav.peaks", other)] {
        let id = server.expect_sealed_one(name);
        assert!(server.open(&id) == content, "{name}");
    }
}

/// The sidecar of a recording, opened offline with the recording's key.
fn open_sidecar(server: &Server, id: &str) -> Vec<u8> {
    let place = |name: &str| server.desk.path().join(format!("{id}.{name}"));
    let arg = |path: &Path| path.to_str().unwrap().to_owned();
    let (key, out) = (arg(&place("key")), place("json"));
    server.daemon.json(&["keys", "export", id, "-o", &key]);
    let sealed = arg(&server.sealed_copy(id, "sidecar"));
    server.daemon.json(&["open", &sealed, "--key", &key, "-o", &arg(&out)]);
    std::fs::read(out).unwrap()
}

const ACCESS_LIST: &str = "system.posix_acl_access";
/// Version 2, then tag, rights and id: owner rw, user 1000 r, group -, mask r, others -.
const ACL: &[u8] = b"\x02\0\0\0\
    \x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\
    \x04\0\0\0\xff\xff\xff\xff\x10\0\x04\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
