//! Redaction through the real program: what comes out, what stays when it goes wrong, and what a
//! kill at each named place leaves.
//!
//! Each test has a daemon, stores and a state folder of its own; none waits by the clock.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

#[path = "../common/mod.rs"]
mod common;
mod ground;

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use common::daemon::program;
use common::{or_skip, tools};
use ground::{Ground, fixture, speech};
use recseal::flow::crash::REDACTION_CRASH_POINTS;
use serde_json::Value;

/// Planted fault: the new recording given the name of the original. Meant to catch: the twin
/// expected in its folder, which the next scan then takes for vanished.
#[test]
fn a_stretch_is_gone_and_everything_else_is_there() {
    for layout in ["vault", "beside"] {
        let mut ground = Ground::start(layout, "");
        let call = speech(3, 2);
        let id = ground.record("+12025550143.wav", &call);
        let range = ["redact", &id, "--range", "0.5-1", "--range", "750ms-1.2s", "--channel", "2"];
        let dry = ground.daemon.json(&[&range[..], &["--dry-run"]].concat());
        assert_eq!(dry["redacted"], Value::Null);
        assert_eq!(dry["ranges"], serde_json::json!([{ "from_ms": 500, "to_ms": 1_200 }]));
        assert_eq!(ground.ids(), std::slice::from_ref(&id), "a dry run changes nothing");

        let done = ground.daemon.json(&range);
        assert_eq!((&done["way"], &done["original"]), (&"exact".into(), &Value::from(id.clone())));
        let twin = done["redacted"].as_str().unwrap().to_owned();
        let mut expected = call.clone();
        for frame in 4_000..9_600 {
            expected[44 + 4 * frame + 2..44 + 4 * frame + 4].fill(0);
        }
        assert!(ground.open(&twin) == expected, "silence in one channel, no other bit");
        ground.wait_until_erased();

        let shown = ground.daemon.json(&["recordings", "show", &twin]);
        assert_eq!(shown["state"], "Available", "{shown}");
        assert_eq!(shown["redacted_from"], id.as_str());
        assert_eq!(shown["original_name"], "[anonymized].wav");
        assert_eq!(shown["media"]["duration_ms"], 3_000);
        assert!(!shown.to_string().contains("2025550143"), "{shown}");
        let original = ground.daemon.json(&["recordings", "show", &id]);
        assert_eq!(original["state"], "Deleted", "the original was owed to the eraser: {original}");
        assert_eq!(shown["found_at"], original["found_at"]);
        let kinds: Vec<&str> = shown["copies"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["kind"].as_str().unwrap())
            .collect();
        assert_eq!(kinds, ["media", "peaks"]);
        ground.daemon.json(&["verify", &twin]);
        let entries = ground.daemon.json(&["audit", "--activity", "MEDIA_REDACTED"]);
        let entry = &entries[0];
        assert_eq!(
            (&entry["recording"], &entry["object"]),
            (&id.clone().into(), &twin.clone().into())
        );
        assert_eq!(entry["detail"], "ranges=1 milliseconds=700 channels=1", "{entry}");

        // A scan, and another start, leave it alone. What is redacted can be redacted again.
        ground.record("later.wav", &speech(1, 1));
        ground.daemon.stop();
        ground.daemon.start_again();
        assert!(ground.open(&twin) == expected);
        let again = ground.daemon.json(&["redact", &twin, "--range", "0-3", "--beep"]);
        assert_eq!(again["way"], "exact");
        ground.must_be_in_order();
    }
}

/// Killed at each named place, it leaves the original, and the redacted recording whole or not at
/// all; once there is a redacted one, the original is owed. Planted fault: no `discard_redactions`
/// (the half of one stays).
#[test]
fn whoever_dies_in_a_redaction_leaves_nothing_half() {
    for layout in ["vault", "beside"] {
        for name in REDACTION_CRASH_POINTS {
            let mut ground = Ground::at_rest(layout, "");
            ground.daemon.start_again();
            let call = speech(2, 1);
            let id = ground.record("call.wav", &call);
            ground.daemon.stop();
            let what = format!("{name}:1");
            ground.daemon.begin(&[("RECSEAL_CRASH_AT", &what)]);
            ground.wait_until_ready();
            let mut asked = program();
            asked.args(["redact", &id, "--range", "1-2", "--state"]).arg(ground.daemon.state());
            assert!(!asked.output().unwrap().status.success(), "{what}");
            let status = ground.daemon.wait_for_end(&what);
            assert_eq!(status.signal(), Some(9), "{what}\n{}", ground.daemon.log());
            ground.daemon.start_again();
            let is_done = *name == "redact.recorded";
            assert_eq!(ground.ids().len(), if is_done { 2 } else { 1 }, "{layout}, {what}");
            ground.must_be_in_order();
            let original = ground.daemon.json(&["recordings", "show", &id]);
            let left = match is_done {
                true => {
                    assert_eq!(original["state"], "Deleted", "{layout}, {what}: it was owed");
                    ground.ids().into_iter().find(|other| *other != id).unwrap()
                }
                false => {
                    assert!(ground.open(&id) == call, "{layout}, {what}: the original");
                    id
                }
            };
            // And the next one goes well.
            ground.daemon.json(&["redact", &left, "--range", "1-2"]);
            ground.must_be_in_order();
        }
    }
}

/// Programs that are none: each is an error with a code, and nothing is left of the attempt.
/// Planted fault: a result that is not probed again, so that garbage is kept and the original given
/// up.
#[test]
fn a_bad_ffmpeg_costs_nothing() {
    let encoders = "if [ \"$2\" = -encoders ]; then printf ' ------\\n A..... libmp3lame x\\n'; exit; fi\n\
         case \"$*\" in *pipe:1*) ;; *) echo '  Stream #0:0: Audio: mp3, 8000 Hz' >&2; exit 1;; esac\n";
    for (what, script, says) in [
        ("garbage", "head -c 50000 /dev/urandom", "is not good"),
        ("nothing", "exit 0", "is not good"),
        ("half", "head -c 3000", "is not good"),
        ("the original", "cat", "does not sound redacted"),
        ("failure", "exit 3", "ended with code 3"),
        ("too long", "sleep 1000", "was ended after 2 s"),
    ] {
        let desk = Ground::open_folder();
        let program = desk.path().join("ffmpeg");
        Ground::script(&program, &format!("{encoders}{script}"));
        let lines = format!("[redaction]\nffmpeg = {program:?}\ntime_limit = \"2s\"\n");
        let mut ground = Ground::start("vault", &lines);
        let call = fixture("cbr.mp3");
        let id = ground.record("call.mp3", &call);
        let before = ground.sealed_files();
        let asked = ground.daemon.recseal(&["redact", &id, "--range", "0.3-1.2"]);
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        assert_eq!(asked.status.code(), Some(1), "{what}: {said}");
        assert!(said.contains(says) && said.contains("hint:"), "{what}: {said}");
        assert_eq!(ground.ids(), std::slice::from_ref(&id), "{what}");
        assert_eq!(ground.sealed_files(), before, "{what}: nothing is left in the vault");
        assert!(ground.open(&id) == call, "{what}");
        let entries = ground.daemon.json(&["audit", "--activity", "MEDIA_REDACTED"]);
        assert_eq!(
            (&entries[0]["result"], &entries[0]["recording"]),
            (&"failed".into(), &id.into())
        );
        ground.must_be_in_order();
    }
}

/// Video by the real program, and what it takes for a recording to be refused.
#[test]
fn video_is_redacted_and_refusals_say_why() {
    or_skip!(tools(&["ffmpeg", "ffprobe"]));
    let mut ground = Ground::start("vault", "");
    let screen = ground.record("screen.mp4", &fixture("h264_aac.mp4"));
    let done = ground.daemon.json(&["redact", &screen, "--range", "500ms-1s"]);
    assert_eq!(done["way"], "encoded");
    let shown = ground.daemon.json(&["recordings", "show", done["redacted"].as_str().unwrap()]);
    assert_eq!(shown["media"]["container"], "mp4");
    assert_eq!(shown["media"]["damage"], Value::Null, "{shown}");
    let call = ground.record("call.wav", &speech(1, 1));
    for (args, code, says) in [
        (vec!["--range", "5-6"], 5, "begins behind the end"),
        (vec!["--range", "0-1", "--channel", "2"], 5, "there is no channel 2"),
        (vec!["--range", "0-1", "--video-only"], 5, "has no picture"),
        (vec!["--range", "1-0"], 2, "ends before it begins"),
    ] {
        let asked = ground.daemon.recseal(&[&["redact", &call], &args[..]].concat());
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        assert_eq!(asked.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
    }
    let nobody = "0192f0c8-7a3b-7c4d-8e5f-123456789abc";
    assert_eq!(ground.daemon.recseal(&["redact", nobody, "--range", "0-1"]).status.code(), Some(6));
    ground.must_be_in_order();
}

/// Who seals to a public key cannot redact. Meant to catch: a new wrapped key made all the
/// same.
#[test]
fn what_this_host_cannot_open_it_cannot_redact() {
    let mut ground = Ground::at_rest("vault", "");
    let key: PathBuf = ground.desk().join("archive");
    let key = key.to_str().unwrap();
    let words = ["keys", "seal-keys", "generate", "-o", key, "--unprotected", "--json"];
    assert!(program().args(words).output().unwrap().status.success());
    ground.daemon.start_again();
    ground.daemon.json(&["keys", "seal-keys", "add", "archive", &format!("{key}.pub")]);
    ground.daemon.stop();
    ground.seal_to("archive");
    ground.daemon.start_again();
    let id = ground.record("call.wav", &speech(1, 1));
    let asked = ground.daemon.recseal(&["redact", &id, "--range", "0-1"]);
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert_eq!(asked.status.code(), Some(5), "{said}");
    assert!(said.contains("sealed to seal key"), "{said}");
    let entries = ground.daemon.json(&["audit", "--activity", "MEDIA_REDACTED"]);
    assert_eq!(entries[0]["result"], "refused");
    assert_eq!(ground.ids(), [id]);
}
