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

/// Every verb, and every verb of a verb, explains itself and shows how it is used.
#[test]
fn every_verb_has_help_with_an_example() {
    let verbs = |args: &[&str]| -> Vec<String> {
        let help = recseal(&[args, &["--help"]].concat());
        assert!(help.status.success() && help.stderr.is_empty(), "{args:?}: {help:?}");
        let help = String::from_utf8(help.stdout).unwrap();
        assert!(!help.contains('\u{1b}'), "{args:?}: colours into a pipe");
        let is_parent = help.contains("\nCommands:\n");
        if args.len() == 1 {
            assert!(help.contains("Example"), "{args:?}: {help}");
        }
        if !is_parent {
            return Vec::new();
        }
        let listed = help.split("\nCommands:\n").nth(1).unwrap();
        let lines = listed.lines().take_while(|line| line.starts_with("  "));
        let names = lines.filter(|line| !line.starts_with("   "));
        let names = names.filter_map(|line| line.split_whitespace().next());
        names.filter(|name| *name != "help").map(ToOwned::to_owned).collect()
    };
    let top = verbs(&[]);
    assert!(top.len() >= 14, "{top:?}");
    for verb in &top {
        for inner in verbs(&[verb]) {
            verbs(&[verb, &inner]);
        }
    }
}

/// A configuration that is wrong is refused with its key, its line where there is one, and what
/// to write instead, by `config check` and by `serve` alike. Planted fault: `serve` that reads
/// the file later than it makes the state folder.
#[test]
fn a_wrong_configuration_names_key_line_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let state = folder.path().join("state");
    let (file_text, state_text) = (file.to_str().unwrap(), state.to_str().unwrap());
    for (text, says) in [
        ("log = 'info'\nwatt = 1", "line 2"),
        ("log = 'info'\nwatt = 1", "watt"),
        ("[listen]\nhttps = 9443", "line 2"),
        ("[ingest]\nworkers = 'four'", "line 2"),
        ("[ingest]\nworkers = 0", "ingest.workers"),
        ("[ingest]\nbatch = -1", "line 2"),
        ("[[store]]\nprofile = 'obs'", "path"),
        ("[[store]]\npath = 'calls'", "store[0].path"),
        ("[[store]]\npath = '/a'\nprofile = 'cassette'", "store[0].profile"),
        ("[[store]]\npath = '/a'\n[[store]]\npath = '/a/b'", "store[1].path"),
        ("[[store]]\npath = '/a'\nsettle = '10'", "line 3"),
        ("[[store]]\npath = '/a'\nsettle = '99y'", "store[0].settle"),
        ("[[store]]\npath = '/a'\nlayout = 'besides'", "line 3"),
        ("[vault]\nreserve = '-1'", "line 2"),
        ("[vault]\npath = 'vault'", "vault.path"),
        ("[listen]\nnames = ['a b']", "listen.names"),
        ("state = 'here'", "state"),
        ("\u{0}", "line 1"),
        ("[[store]", "line 1"),
        ("log = 'info'\nlog = 'warn'", "line 2"),
    ] {
        std::fs::write(&file, text).unwrap();
        let serve = ["serve", "--config", file_text, "--state", state_text];
        // A relative state in the file counts only where the command line names none.
        let lines: &[&[&str]] = if text.starts_with("state") {
            &[&["config", "check", file_text]]
        } else {
            &[&["config", "check", file_text], &serve]
        };
        for args in lines {
            refuses(args, 3);
            let stderr = String::from_utf8(recseal(args).stderr).unwrap();
            assert!(stderr.lines().next().unwrap().contains(says), "{text:?}: {stderr}");
        }
        assert!(!state.exists(), "{text:?}");
    }
    std::fs::write(&file, [0xff, 0xfe, 0x00]).unwrap();
    refuses(&["config", "check", file_text], 3);
    std::fs::write(&file, "# ".repeat(600_000)).unwrap();
    refuses(&["config", "check", file_text], 3);
    refuses(&["config", "check", folder.path().to_str().unwrap()], 3);
    refuses(&["serve", "--config", folder.path().join("none").to_str().unwrap()], 3);
}

/// What keeps `serve` from coming up is said with its remedy. Planted fault: one hint for all.
#[test]
fn a_daemon_that_cannot_start_says_what_to_do() {
    let daemon = Daemon::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("file"), "").unwrap();
    let in_use = daemon.json(&["status"])["listen"]["https"].as_str().unwrap().to_owned();
    let (own, free) = (daemon.state().to_str().unwrap().to_owned(), "127.0.0.1:0");
    for (state, https, health, says) in [
        (&own, free, free, "--state"),
        (&path("new"), in_use.as_str(), free, "--listen"),
        (&path("new"), free, in_use.as_str(), "--health-listen"),
        (&path("file"), free, free, "made there"),
        (&path("file/below"), free, free, "made there"),
    ] {
        let output =
            recseal(&["serve", "--state", state, "--listen", https, "--health-listen", health]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        let lines: Vec<&str> = stderr.lines().rev().take(2).collect();
        assert!(lines[1].starts_with("recseal: "), "{stderr}");
        assert!(lines[0].starts_with("hint: ") && lines[0].contains(says), "{stderr}");
    }
    assert_eq!(daemon.json(&["status"])["ready"], true, "the first was not disturbed");
}

/// A colon in a path is a colon; only a known profile behind the last one is more.
#[test]
fn a_store_may_have_a_colon_in_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("12:30:calls");
    let daemon = Daemon::start(&["--store", &format!("{}:asterisk", store.display())]);
    let status = daemon.json(&["status"]);
    assert_eq!(status["stores"][0]["path"], store.to_str().unwrap());
    assert_eq!(status["stores"][0]["profile"], "asterisk");
}

/// The codes that need a daemon to provoke: 0, 2, 4, 5, 6. (1, 3, 7 are provoked above; 8 is of
/// commands that do not exist yet.) Planted fault: 409 and 403 as plain failures.
#[test]
fn every_exit_code_can_be_had() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("calls");
    std::fs::create_dir(&store).unwrap();
    std::fs::write(store.join("a.wav"), "").unwrap();
    let mut daemon = Daemon::start(&["--store", store.to_str().unwrap()]);
    daemon.wait_until("the placeholder is known", |daemon| {
        daemon.json(&["status"])["recordings"]["waiting"] == 1
    });
    let id = daemon.json(&["recordings"])[0]["id"].as_str().unwrap().to_owned();
    let out = folder.path().join("o").to_str().unwrap().to_owned();
    let unknown = "0192f0c8-7a3b-7c4d-8e5f-123456789abc";
    for (args, code) in [
        (vec!["status"], 0),
        (vec!["recordings", "show", &id], 0),
        (vec!["status", "--no-such"], 2),
        (vec!["recordings", "show", "x"], 2),
        (vec!["open", &id, "-o", &out], 5),
        (vec!["verify", &id], 5),
        (vec!["keys", "export", &id, "-o", &out], 5),
        (vec!["verify", unknown], 6),
        (vec!["recordings", "release", unknown], 6),
        (vec!["recordings", "--store", "/no/such/store"], 6),
        (vec!["tokens", "revoke", unknown], 6),
    ] {
        let output = daemon.recseal(&args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert_eq!(stderr.contains("\nhint: "), code != 0, "{args:?}: {stderr}");
    }
    assert!(!Path::new(&out).exists());
    let before = program().args(["--state"]).arg(daemon.state()).arg("status").output().unwrap();
    assert!(before.status.success());
    // A trail that was cut is no trail.
    daemon.stop();
    std::fs::write(folder.path().join("pub"), "nothing").unwrap();
    let key = folder.path().join("pub").to_str().unwrap().to_owned();
    assert_eq!(daemon.recseal(&["audit", "verify", "--public-key", &key]).status.code(), Some(4));
}
