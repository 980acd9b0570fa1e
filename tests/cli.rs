//! The command line as scripts see it: exit codes, two-line errors, one JSON document.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod common;

use std::path::Path;
use std::process::Output;

use common::daemon::{Daemon, program};

fn recseal(args: &[&str]) -> Output {
    program().args(args).output().unwrap()
}

/// Fails as told, in exactly two lines, with nothing on stdout.
fn refuses(args: &[&str], code: i32) {
    let output = recseal(args);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{args:?}");
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{args:?}: {stderr}");
    assert!(lines[0].starts_with("recseal: ") && lines[1].starts_with("hint: "), "{stderr}");
}

#[test]
fn failures_have_their_codes_without_a_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("bad.toml"), "stat = '/x'").unwrap();
    std::fs::write(path("noise"), vec![7; 1_000]).unwrap();
    std::fs::write(path("taken"), "mine").unwrap();
    let (state, id) = (path("none"), "0192f0c8-7a3b-7c4d-8e5f-123456789abc");
    refuses(&["status", "--state", &state], 7);
    refuses(&["--state", &state, "recordings"], 7);
    refuses(&["open", id, "-o", &path("o"), "--state", &state], 7);
    refuses(&["verify", id, "--state", &state], 7);
    refuses(&["keys", "export", id, "-o", &path("o"), "--state", &state], 7);
    refuses(&["tokens", "list", "--state", &state], 7);
    refuses(&["config", "check", &path("bad.toml")], 3);
    refuses(&["serve", "--config", &path("bad.toml"), "--state", &state], 3);
    refuses(&["serve", "--store", &path("a/b/c"), "--state", &state], 3);
    refuses(&["open", &path("missing"), "--key", &path("noise"), "-o", &path("o")], 6);
    refuses(&["verify", &path("noise"), "--key", &path("noise")], 4);
    refuses(&["audit", "--from", "yesterday", "--state", &state], 2);
    refuses(&["recordings", "--state-is", "waiting", "show", id, "--state", &state], 2);
    // Planted fault: opening the output before asking the daemon left an empty file here.
    assert!(!Path::new(&path("o")).exists());
    assert_eq!(std::fs::read(path("taken")).unwrap(), b"mine");
    assert!(!Path::new(&state).exists(), "asking made a state folder");
}

#[test]
fn scripts_and_pages_are_made_from_the_definitions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = String::from_utf8(recseal(&["completions", shell]).stdout).unwrap();
        assert!(script.contains("recseal") && script.contains("doctor"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    assert!(recseal(&["man", "--out", out]).status.success());
    for page in ["recseal.1", "recseal-serve.1", "recseal-keys-export.1"] {
        let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(text.contains(".SH"), "{page}");
    }
    let shown = String::from_utf8(recseal(&["config", "show"]).stdout).unwrap();
    std::fs::write(folder.path().join("c.toml"), shown).unwrap();
    let file = folder.path().join("c.toml");
    assert!(recseal(&["config", "check", file.to_str().unwrap()]).status.success());
}

#[test]
fn json_is_one_document_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("calls");
    let daemon = Daemon::start(&["--store", store.to_str().unwrap()]);
    assert!(store.is_dir(), "a missing store is made");
    let key = folder.path().join("signing.pub");
    for args in [
        &["status"][..],
        &["recordings"],
        &["recordings", "--store", store.to_str().unwrap()],
        &["tokens", "create", "t", "--role", "ops"],
        &["tokens", "list"],
        &["audit"],
        &["keys", "public", "-o", key.to_str().unwrap()],
        &["config", "show"],
        &["doctor"],
        &["done", store.join("a.wav").to_str().unwrap()],
    ] {
        daemon.json(args);
    }
    assert!(std::fs::read_to_string(key).unwrap().contains("PUBLIC KEY"));
    let status = daemon.json(&["status"]);
    for pointer in [
        "/version",
        "/ready",
        "/sealed_keys",
        "/recordings/available",
        "/recordings/planned_for_deletion",
        "/recordings/deleted",
        "/recordings/quarantined",
        "/recordings/waiting",
        "/erasure/pending_files",
        "/erasure/pending_bytes",
        "/erasure/oldest_pending_seconds",
        "/certificate/not_after",
        "/stores/0/path",
        "/warnings",
        "/listen/https",
        "/listen/health",
    ] {
        assert!(status.pointer(pointer).is_some(), "{pointer} is missing in {status:#}");
    }
    let missing = daemon.recseal(&["recordings", "show", "0192f0c8-7a3b-7c4d-8e5f-123456789abc"]);
    assert_eq!(missing.status.code(), Some(6));
    let elsewhere = daemon.recseal(&["done", "/etc/passwd"]);
    assert_eq!(elsewhere.status.code(), Some(6));
}

/// Planted fault: never removing a socket keeps a daemon from starting after kill -9.
#[test]
fn one_daemon_per_state_folder_and_a_stale_socket_is_replaced() {
    let mut daemon = Daemon::start(&[]);
    let state = daemon.state();
    let second = recseal(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--health-listen",
        "127.0.0.1:0",
        "--state",
        state.to_str().unwrap(),
    ]);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert_eq!(daemon.json(&["status"])["ready"], true);
    daemon.kill_nine();
    assert!(state.join("recseal.sock").exists(), "kill -9 leaves the socket");
    daemon.start_again();
    assert!(daemon.stop().success());
    assert!(!state.join("recseal.sock").exists(), "an orderly stop takes it away");
}
