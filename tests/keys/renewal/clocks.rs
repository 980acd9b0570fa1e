//! Clocks that jump under the real daemon, by libfaketime; the steady clock stays real.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::own::fingerprint;
use crate::common::daemon::Daemon;
use crate::common::or_skip;

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

fn library() -> Result<(), String> {
    Path::new(LIBRARY).exists().then_some(()).ok_or_else(|| "no libfaketime".to_owned())
}

/// A daemon whose wall clock follows a file.
struct Fooled {
    daemon: Daemon,
    folder: tempfile::TempDir,
}

impl Fooled {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut this = Self { daemon: Daemon::at_rest(None, &[]), folder };
        this.set("+0");
        this.start_again();
        this
    }

    fn set(&self, offset: &str) {
        // Replaced whole: a half-written file would be another jump.
        let (new, path) = (self.folder.path().join("new"), self.folder.path().join("offset"));
        fs::write(&new, format!("{offset}\n")).unwrap();
        fs::rename(new, path).unwrap();
    }

    fn start_again(&mut self) {
        let offset = self.folder.path().join("offset");
        self.daemon.begin(&[
            ("LD_PRELOAD", LIBRARY),
            ("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]);
        self.daemon.wait_until("it is ready", |daemon| {
            daemon.try_json(&["status"]).is_some_and(|status| status["ready"] == true)
        });
    }

    /// Lets it look at the clocks; the state of the renewal then.
    fn looked(&self, asked: &[&str]) -> (Value, Value) {
        let answer = self.daemon.json(&[&["certs", "renew", "--wait"], asked].concat());
        (answer, self.daemon.json(&["status"]))
    }
}

/// Meant to catch: comparing with a deadline instead of two clocks issues a certificate at +400 d.
#[test]
fn nothing_is_issued_by_a_clock_that_jumped() {
    or_skip!(library());
    let fooled = Fooled::start();
    let (_, status) = fooled.looked(&[]);
    assert_eq!(status["renewal"]["clock_suspect"], false, "{status}");
    let first = fingerprint(&fooled.daemon);
    for jump in ["+40d", "+400d", "-1d", "+3m", "-3m"] {
        fooled.set(jump);
        let (answer, status) = fooled.looked(&["--now"]);
        let held = (&answer["renewal"], &answer["reason"]);
        assert_eq!(held, (&"held".into(), &"clock-suspect".into()), "{jump}");
        assert_eq!(status["renewal"]["clock_suspect"], true, "{jump}");
        let warnings = status["warnings"].as_array().unwrap();
        assert!(warnings.iter().any(|one| one["code"] == "clock-suspect"), "{jump}: {status}");
        assert_eq!(fingerprint(&fooled.daemon), first, "{jump}: it serves on");
        fooled.set("+0");
        let (_, status) = fooled.looked(&[]);
        assert_eq!(status["renewal"]["clock_suspect"], false, "taken back after {jump}");
    }
    let (answer, _) = fooled.looked(&["--now"]);
    assert_eq!(answer["renewal"], "renewed");
}

/// What was believed before the restart is remembered. Meant to catch: a watch that begins at zero.
#[test]
fn a_start_in_the_past_is_suspect() {
    or_skip!(library());
    let mut fooled = Fooled::start();
    fooled.looked(&[]);
    fooled.daemon.stop();
    fooled.set("-1d");
    fooled.start_again();
    let (_, status) = fooled.looked(&[]);
    assert_eq!(status["renewal"]["clock_suspect"], true, "{status}");
    // A machine that was off for a year has no reason to doubt.
    fooled.daemon.stop();
    let first = fingerprint_before(&status);
    fooled.set("+350d");
    fooled.start_again();
    let (_, status) = fooled.looked(&[]);
    assert_eq!(status["renewal"]["clock_suspect"], false, "{status}");
    assert_ne!(fingerprint(&fooled.daemon), first, "renewed at once");
}

fn fingerprint_before(status: &Value) -> String {
    status["certificate"]["sha256"].as_str().unwrap().to_owned()
}
