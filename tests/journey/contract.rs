//! What scripts rely on: the shapes of `--json` and the exit codes.

use serde_json::{Value, json};

use crate::Server;
use crate::common::daemon::program;
use crate::common::marker::Marker;

const UNKNOWN: &str = "0192f0c8-7a3b-7c4d-8e5f-123456789abc";

/// Planted fault: a duration in seconds.
#[test]
fn json_has_the_promised_shape() {
    let mut server = Server::start("generic");
    std::fs::write(server.store.join("call.wav"), Marker::new().wav(2)).unwrap();
    server.expect_sealed(1);
    let id = server.expect_sealed_one("call.wav");
    let status = server.daemon.json(&["status"]);
    for count in ["available", "planned_for_deletion", "deleted", "quarantined", "waiting"] {
        let expected = u64::from(count == "available");
        assert_eq!(status["recordings"][count], expected, "{count}");
    }
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["ready"] == true && status["sealed_keys"].is_boolean());
    assert_eq!(status["erasure"]["pending_files"], 0);
    assert_eq!(status["erasure"]["pending_bytes"], 0);
    let oldest = status["erasure"].get("oldest_pending_seconds").expect("it is there, if null");
    assert!(oldest.is_null() || oldest.is_u64());
    assert!(is_time(&status["certificate"]["not_after"]));
    assert_eq!(status["stores"][0]["path"], server.store.to_str().unwrap());
    assert!(status["warnings"].is_array());
    for listener in ["https", "health"] {
        let address = status["listen"][listener].as_str().unwrap();
        assert_ne!(address.parse::<std::net::SocketAddr>().unwrap().port(), 0);
    }

    let listed = server.recordings().remove(0);
    let shown = server.daemon.json(&["recordings", "show", &id]);
    for recording in [listed, shown] {
        assert_eq!(recording["id"], *id);
        assert!(recording["conversation_id"].is_null() || is_id(&recording["conversation_id"]));
        assert_eq!(recording["store"], server.store.to_str().unwrap());
        assert_eq!(recording["state"], "Available");
        let media = &recording["media"];
        assert_eq!(media["container"], "wav");
        assert!(media["codec"].is_string());
        let facts = [&media["duration_ms"], &media["channels"], &media["sample_rate_hz"]];
        assert_eq!(json!(facts), json!([2_000, 1, 8_000]));
        assert_eq!(recording["size_bytes"], 32_044);
        assert!(is_time(&recording["sealed_at"]));
        assert_eq!(recording["original_name"], "call.wav");
    }
    lists_take_filters(&server);
}

fn lists_take_filters(server: &Server) {
    let store = server.store.to_str().unwrap();
    for (filter, found) in [
        (&["--state-is", "available"][..], 1),
        (&["--state-is", "waiting"], 0),
        (&["--state-is", "deleted"], 0),
        (&["--store", store], 1),
        (&["--store", store, "--state-is", "available"], 1),
    ] {
        let list = server.daemon.json(&[&["recordings"], filter].concat());
        assert_eq!(list.as_array().unwrap().len(), found, "{filter:?}");
    }
}

/// Planted faults: a 404 of the daemon shown as exit code 1; usage errors without a hint.
#[test]
fn failures_have_their_exit_codes_and_a_hint() {
    let server = Server::start("generic");
    let place = |name: &str| server.desk.path().join(name).to_str().unwrap().to_owned();
    let (here, gone) = (server.daemon.state(), server.desk.path().join("gone"));
    for (code, state, args) in [
        (6, &here, &["recordings", "show", UNKNOWN][..]),
        (6, &here, &["open", UNKNOWN, "-o", &place("a")]),
        (6, &here, &["verify", UNKNOWN]),
        (6, &here, &["keys", "export", UNKNOWN, "-o", &place("b")]),
        (7, &gone, &["status"]),
        (7, &gone, &["recordings"]),
        (7, &gone, &["verify", UNKNOWN]),
        (2, &here, &["frobnicate"]),
        (2, &here, &["open", UNKNOWN]),
        (2, &here, &["recordings", "--state-is", "lost"]),
        (2, &here, &["recordings", "show", "not-an-id"]),
    ] {
        for json in [&[][..], &["--json"]] {
            let failed =
                program().args(args).arg("--state").arg(state).args(json).output().unwrap();
            assert_eq!(failed.status.code(), Some(code), "{args:?}");
            assert!(failed.stdout.is_empty(), "{args:?}");
            let said = String::from_utf8(failed.stderr).unwrap();
            let lines: Vec<_> = said.lines().collect();
            assert!(lines.len() == 2 && lines[1].starts_with("hint: "), "{args:?}: {said}");
        }
    }
    assert!(!server.desk.path().join("a").exists() && !server.desk.path().join("b").exists());
}

fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok()
}

fn is_id(value: &Value) -> bool {
    value.as_str().is_some_and(|text| uuid::Uuid::try_parse(text).is_ok())
}
