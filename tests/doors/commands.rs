//! The command line by itself: what it asks, what it prints, what it follows.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::Sealed;
use crate::common::caller::Local;
use crate::common::daemon::program;

fn with_input(sealed: &Sealed, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(program().get_program())
        .args(args)
        .arg("--state")
        .arg(sealed.daemon.state())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever needs no input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Planted fault: the wrong number taken for an answer. Meant to catch, too: erasing although nobody
/// said yes.
#[test]
fn nothing_goes_without_a_yes() {
    let sealed = Sealed::paused(3, "[erasure]\nmass_from = 2");
    let asked = with_input(&sealed, &["erase", "--recording", &sealed.ids[0]], "");
    assert_eq!(asked.status.code(), Some(2), "{asked:?}");
    let told = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(told.contains("to be erased") && told.contains("1 recordings"), "{told}");
    assert!(String::from_utf8_lossy(&asked.stderr).contains("--yes"), "{asked:?}");
    assert_eq!(sealed.count("planned_for_deletion"), 0);
    let dry = sealed.daemon.json(&["erase", "--recording", &sealed.ids[0], "--dry-run"]);
    assert_eq!(dry["erase"]["recordings"], 1);
    let files = format!("{0}/call-0.wav\n\n{0}/call-1.wav\n", sealed.store.display());
    let wrong = with_input(&sealed, &["erase", "--files", "-", "--confirm", "3"], &files);
    assert_eq!(wrong.status.code(), Some(5), "{wrong:?}");
    let made = with_input(&sealed, &["erase", "--files", "-", "--confirm", "2", "--json"], &files);
    assert!(made.status.success(), "{made:?}");
    let answer: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(
        (&answer["job"]["selection"], sealed.count("planned_for_deletion")),
        (&"files".into(), 2)
    );
    for (args, code) in [
        (vec!["erase", "--due", "status"], 2),
        (vec!["erase", "--yes", "list"], 2),
        (vec!["erase"], 2),
        (vec!["erase", "--due", "--yes"], 0),
    ] {
        let (found, stderr) = sealed.code(&args);
        assert_eq!(found, code, "{args:?}: {stderr}");
    }
}

/// Somebody follows a job; the daemon is killed and started again; the job is done. Meant to
/// catch: a follower that ends with the first connection.
#[test]
fn following_survives_a_restart() {
    let mut sealed = Sealed::paused(2, "");
    let made = sealed.daemon.json(&["erase", "--recording", &sealed.ids[0], "--yes"]);
    let job = made["job"]["id"].as_str().unwrap().to_owned();
    let mut follower = Command::new(program().get_program())
        .args(["erase", "status", &job, "--follow", "--state"])
        .arg(sealed.daemon.state())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(follower.stdout.take().unwrap()).lines();
    let first = told.next().unwrap().unwrap();
    assert!(first.starts_with("running: 0 of 1 files"), "{first}");
    // Heard by an event: it listens now.
    sealed.daemon.json(&["erase", "pause", &job]);
    let second = told.next().unwrap().unwrap();
    assert!(second.starts_with("paused: 0 of 1 files"), "{second}");
    sealed.daemon.kill_nine();
    sealed.daemon.start_again();
    sealed.daemon.json(&["erase", "resume"]);
    sealed.daemon.json(&["erase", "resume", &job]);
    let last = told.last().unwrap().unwrap();
    let output = follower.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(last.starts_with("finished: 1 of 1 files"), "{last}");
    let lines = sealed.daemon.recseal(&["erase", "status", "--follow"]);
    let lines = String::from_utf8(lines.stdout).unwrap();
    assert!(lines.starts_with("0 waiting"), "{lines}");
}

/// Metrics and status say the same of the queue.
#[test]
fn the_queue_is_in_the_metrics() {
    let sealed = Sealed::paused(2, "");
    sealed.daemon.json(&["erase", "--recording", &sealed.ids[0], "--yes"]);
    let listen = sealed.daemon.json(&["status"]);
    let address = listen["listen"]["health"].as_str().unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
    for line in ["recseal_erasure_pending_files 1", "recseal_erasure_paused 1"] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
    }
    let queue = Local::new(&sealed.daemon).ask("GET", "/api/v1/erasures/status", &[], "").json();
    assert_eq!(listen["erasure"]["pending_bytes"], queue["pending_bytes"]);
}
