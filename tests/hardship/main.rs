//! Hard times with the real program: damaged copies, odd files, folders that cannot be written,
//! full disks, stores that go away. What holds in all of them: no wrong byte leaves, nothing is
//! lost, somebody is told, and work goes on by itself when the trouble ends.
//!
//! Whatever waits for a second try of the daemon takes up to a minute here; the tests run side by
//! side and assert no time.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

#[path = "../common/mod.rs"]
mod common;
mod damage;
mod storage;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::daemon::Daemon;
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

/// A child of ours that does not outlive its test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
