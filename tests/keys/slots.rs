//! The ways to the root key with the real program: locked starts, slots of every kind, a new root
//! key, and that nothing secret lies around afterwards.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod hygiene;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::common;
use crate::common::daemon::{Daemon, program};
use crate::common::or_skip;

const GOOD: &str = "correct horse battery staple";

/// A daemon with a passphrase slot, and a folder of its own for files.
struct Bench {
    daemon: Daemon,
    desk: tempfile::TempDir,
}

impl Bench {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(args: &[&str]) -> Self {
        let desk = tempfile::tempdir().unwrap();
        let store = format!("{}:generic", desk.path().join("calls").display());
        let bench = Self { daemon: Daemon::start(&[args, &["--store", &store]].concat()), desk };
        bench.write("good", GOOD);
        let file = bench.arg("good");
        bench.ok(&["keys", "slots", "add", "passphrase", "--passphrase-file", &file]);
        bench
    }

    fn at(&self, name: &str) -> PathBuf {
        self.desk.path().join(name)
    }

    fn arg(&self, name: &str) -> String {
        self.at(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.at(name), content).unwrap();
    }

    fn ok(&self, args: &[&str]) -> serde_json::Value {
        self.daemon.json(args)
    }

    fn said(&self, args: &[&str], exit: i32) -> String {
        let output = self.daemon.recseal(args);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {text}");
        text
    }

    fn slot(&self, kind: &str) -> String {
        let slots = self.ok(&["keys", "slots", "list"]);
        let slot = slots.as_array().unwrap().iter().find(|slot| slot["kind"] == kind);
        slot.unwrap_or_else(|| panic!("no {kind} slot"))["id"].as_str().unwrap().to_owned()
    }

    fn root_key(&self) -> PathBuf {
        self.daemon.state().join("keys/root.key")
    }

    /// Stops it and starts it without `root.key`, so that it comes up locked.
    fn start_locked(&mut self, environment: &[(&str, &str)]) {
        assert!(self.daemon.stop().success());
        fs::rename(self.root_key(), self.at("root.key")).unwrap();
        self.daemon.begin(environment);
        self.until_locked();
    }

    fn until_locked(&mut self) {
        self.daemon.wait_until("it is locked", |daemon| {
            daemon.try_json(&["status"]).is_some_and(|status| status["sealed_keys"] == true)
        });
    }

    fn until_ready(&mut self) {
        self.daemon.wait_until("it is ready", |daemon| {
            daemon.try_json(&["status"]).is_some_and(|status| status["ready"] == true)
        });
    }

    fn health(&self, path: &str) -> String {
        let status = self.ok(&["status"]);
        let mut stream = TcpStream::connect(status["listen"]["health"].as_str().unwrap()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn audit(&self, activity: &str) -> Vec<String> {
        let entries = self.ok(&["audit", "--activity", activity]);
        let word = |entry: &serde_json::Value, key: &str| {
            entry[key].as_str().unwrap_or_default().to_owned()
        };
        let entries = entries.as_array().unwrap().iter();
        entries
            .map(|e| format!("{} {} {}", word(e, "user"), word(e, "result"), word(e, "detail")))
            .collect()
    }
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Planted fault: refused attempts forgotten.
#[test]
fn a_locked_start_waits_for_a_person_and_loses_nothing() {
    let mut bench = Bench::start();
    bench.start_locked(&[]);
    let status = bench.ok(&["status"]);
    assert_eq!((&status["ready"], &status["sealed_keys"]), (&false.into(), &true.into()));
    assert_eq!(status["warnings"][0]["code"], "keys-locked");
    assert!(status["warnings"][0]["hint"].as_str().unwrap().contains("recseal keys unlock"));
    let words = bench.said(&["status"], 0);
    assert!(words.contains("locked") && words.contains("keys unlock"), "{words}");
    assert!(bench.health("/livez").starts_with("HTTP/1.1 200"));
    let ready = bench.health("/readyz");
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("keys are locked"), "{ready}");
    assert!(bench.health("/metrics").contains("recseal_key_sealed 1"));
    let health = status["listen"]["health"].clone();
    // The first try of a person is to do something else.
    let words = bench.said(&["recordings"], 1);
    assert!(words.contains("locked") && words.contains("keys unlock"), "{words}");

    let call = bench.at("calls/during.wav");
    fs::write(&call, b"not really audio").unwrap();
    bench.write("bad", "wrong horse battery staple");
    for _ in 0..2 {
        let file = bench.arg("bad");
        let words = bench.said(&["keys", "unlock", "--passphrase-file", &file], 5);
        assert!(words.contains("opens no slot"), "{words}");
    }
    bench.said(&["keys", "unlock", "--retry"], 5);
    assert_eq!(fs::read(&call).unwrap(), b"not really audio");

    let file = bench.arg("good");
    assert_eq!(bench.ok(&["keys", "unlock", "--passphrase-file", &file])["unlocked"], true);
    bench.until_ready();
    assert_eq!(bench.ok(&["status"])["listen"]["health"], health, "it keeps its address");
    let again = bench.ok(&["keys", "unlock", "--passphrase-file", &file]);
    assert_eq!(again["were_open"], true);
    let user = format!("uid:{}", rustix::process::geteuid().as_raw());
    let refused = format!("{user} failed ");
    let unlocked = format!("{user} ok passphrase");
    assert_eq!(bench.audit("KEYS_UNLOCKED"), [refused.clone(), refused, unlocked]);
    let done = bench.at("calls/during.wav");
    bench.ok(&["done", done.to_str().unwrap()]);
    bench.daemon.wait_until("what came while it was locked is sealed", |daemon| {
        daemon.try_json(&["recordings"]).is_some_and(|all| all.as_array().unwrap().len() == 1)
            && !call.exists()
    });
    assert!(bench.daemon.stop().success());
}

/// Planted fault: SIGTERM heard by the unlocked program only.
#[test]
fn a_locked_daemon_ends_when_told_to() {
    let mut bench = Bench::start();
    bench.start_locked(&[]);
    assert!(bench.daemon.stop().success());
    assert!(!bench.daemon.state().join("recseal.sock").exists());
    // And a second start is as locked as the first.
    bench.daemon.begin(&[]);
    bench.until_locked();
    assert!(bench.daemon.stop().success());
}

/// A token may come back in the night. Planted fault: no second attempt.
#[test]
fn a_locked_daemon_tries_again_by_itself() {
    let config = tempfile::NamedTempFile::new().unwrap();
    fs::write(config.path(), "[keys]\nretry_every = \"1s\"\n").unwrap();
    let mut bench = Bench::start_with(&["--config", config.path().to_str().unwrap()]);
    bench.start_locked(&[]);
    fs::rename(bench.at("root.key"), bench.root_key()).unwrap();
    bench.until_ready();
    let daemon = bench.audit("KEYS_UNLOCKED");
    assert!(daemon.len() == 1 && daemon[0].contains(" ok "), "{daemon:?}");
}

/// Only what a person can mend by unlocking is waited for. Planted fault: every error locks.
#[test]
fn a_damaged_store_does_not_start_locked() {
    let mut bench = Bench::start();
    let keys = bench.daemon.state().join("keys");
    let held = Daemon::at_rest(Some(&bench.daemon.state()), &[]);
    let second = program()
        .args(["serve", "--listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0", "--state"])
        .arg(held.state())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("another process uses this key store"), "{}", said(&second));
    assert!(bench.daemon.stop().success());
    fs::rename(keys.join("slots.json"), bench.at("slots.json")).unwrap();
    fs::write(keys.join("slots.json"), "{}").unwrap();
    bench.daemon.begin(&[]);
    assert_eq!(bench.daemon.wait_for_end("a damaged table").code(), Some(1));
    fs::rename(bench.at("slots.json"), keys.join("slots.json")).unwrap();
    bench.daemon.start_again();
}

/// Planted fault: the slot kept though its shares could not be written.
#[test]
fn shares_are_handed_out_once_and_open_the_keys() {
    let mut bench = Bench::start();
    let folder = bench.arg("shares");
    let before = bench.ok(&["keys", "slots", "list"]);
    let add = |out: &[&str]| {
        let args = ["keys", "slots", "add", "shares", "--threshold", "3", "--of", "5"];
        bench.daemon.recseal(&[&args, out].concat())
    };
    let nowhere = add(&[]);
    assert_eq!(nowhere.status.code(), Some(2), "{}", said(&nowhere));
    assert_eq!(add(&["-o", &folder]).status.code(), Some(6));
    let impossible = ["keys", "slots", "add", "shares", "--threshold", "9", "-o", "/tmp"];
    bench.said(&impossible, 5);
    let unwritable = add(&["-o", "/proc"]);
    assert!(!unwritable.status.success());
    assert_eq!(bench.ok(&["keys", "slots", "list"]), before);
    fs::create_dir(bench.at("shares")).unwrap();
    assert!(add(&["-o", &folder]).status.success());
    let again = add(&["-o", &folder]);
    assert_eq!(again.status.code(), Some(1), "{}", said(&again));
    let share = |n: u32| bench.at("shares").join(format!("recseal-share-{n}-of-5.txt"));
    let mut texts = Vec::new();
    for n in 1..=5 {
        assert_eq!(share(n).metadata().unwrap().permissions().mode() & 0o777, 0o600);
        texts.push(fs::read_to_string(share(n)).unwrap());
    }
    let given = |numbers: &[u32]| -> Vec<String> {
        numbers
            .iter()
            .flat_map(|n| ["--share-file".to_owned(), share(*n).to_str().unwrap().to_owned()])
            .collect()
    };
    let (two, three) = (given(&[1, 4]), given(&[5, 2, 3]));
    let run = |verb: &[&str], shares: &[String], exit: i32| {
        let shares: Vec<&str> = shares.iter().map(String::as_str).collect();
        bench.said(&[verb, &shares].concat(), exit)
    };
    let slot = bench.slot("shares");
    run(&["keys", "slots", "test", &slot], &three, 0);
    let words = run(&["keys", "slots", "test", &slot], &two, 4);
    assert!(words.contains("2 shares are given and 3 are needed"), "{words}");
    fs::write(share(1), texts[0].replace("rsshare1-", "rsshare1-?")).unwrap();
    run(&["keys", "slots", "test", &slot], &given(&[1, 2, 3]), 4);
    fs::write(share(1), &texts[0]).unwrap();

    bench.start_locked(&[]);
    let given = |numbers: &[u32]| -> Vec<String> {
        let path = |n: &u32| bench.arg(&format!("shares/recseal-share-{n}-of-5.txt"));
        numbers.iter().flat_map(|n| ["--share-file".to_owned(), path(n)]).collect()
    };
    let run = |shares: &[String], exit: i32| {
        let shares: Vec<&str> = shares.iter().map(String::as_str).collect();
        bench.said(&[&["keys", "unlock"], &shares[..]].concat(), exit)
    };
    run(&given(&[1, 4]), 5);
    run(&given(&[1, 4, 4]), 5);
    run(&given(&[1, 4, 2]), 0);
    bench.until_ready();
}

#[test]
fn slots_come_and_go_through_the_doors() {
    let mut bench = Bench::start();
    assert_eq!(codes(&bench.ok(&["status"])), ["no-verified-backup"]);
    let exec = ["keys", "slots", "add", "exec", "--json", "--state"];
    let state = bench.daemon.state();
    let added = program()
        .args(exec)
        .arg(&state)
        .args(["--", "/bin/sh", "-c", "printf %064d 7"])
        .output()
        .unwrap();
    assert!(added.status.success(), "{}", said(&added));
    let words = bench.said(&["keys", "slots", "list"], 0);
    assert!(words.contains("exec") && words.contains("by people, on any machine"), "{words}");
    let refused = bench.said(&["keys", "slots", "remove", &bench.slot("file")], 2);
    assert!(refused.contains("--yes"), "{refused}");
    bench.ok(&["keys", "slots", "remove", &bench.slot("file"), "--yes"]);
    assert!(!bench.root_key().exists());
    bench.ok(&["keys", "slots", "test", &bench.slot("exec")]);
    // It starts by the command alone.
    assert!(bench.daemon.stop().success());
    bench.daemon.start_again();
    bench.ok(&["keys", "slots", "remove", &bench.slot("exec"), "--yes"]);
    let status = bench.ok(&["status"]);
    assert_eq!(status["warnings"][0]["code"], "no-unattended-slot");
    assert!(status["warnings"][0]["hint"].as_str().unwrap().contains("recseal keys slots add"));
    let last = bench.slot("passphrase");
    assert!(bench.said(&["keys", "slots", "remove", &last, "--yes"], 5).contains("last"));
    bench.ok(&["keys", "slots", "add", "file"]);
    let unknown = "0192f0c8-7a3b-7c4d-8e5f-123456789abc";
    bench.said(&["keys", "slots", "test", unknown], 6);
    bench.said(&["keys", "slots", "add", "credential", "nowhere"], 5);
    assert_eq!(bench.audit("KEY_SLOT_ADDED").len(), 4);
    assert_eq!(bench.audit("KEY_SLOT_REMOVED").len(), 3);
    assert_eq!(bench.audit("KEY_SLOT_TESTED").len(), 2);
    bench.ok(&["audit", "verify"]);
}

/// What `systemd-creds` encrypted for this host, handed over as systemd would.
#[test]
fn a_credential_of_systemd_starts_the_daemon() {
    or_skip!(common::root());
    or_skip!(common::tools(&["systemd-creds", "openssl"]));
    let mut bench = Bench::start();
    let (key, blob, folder) = (bench.arg("key"), bench.arg("blob"), bench.arg("credentials"));
    fs::create_dir(&folder).unwrap();
    let digits = common::run(Command::new("openssl").args(["rand", "-hex", "32"])).unwrap();
    fs::write(&key, &digits).unwrap();
    let creds = |args: &[&str]| common::run(Command::new("systemd-creds").args(args));
    or_skip!(creds(&["encrypt", "--with-key=host", "--name=recseal-root", &key, &blob]));
    let clear = creds(&["decrypt", "--name=recseal-root", &blob, "-"]).unwrap();
    fs::write(bench.at("credentials/recseal-root"), clear).unwrap();
    let environment = [("CREDENTIALS_DIRECTORY", &*folder)];

    assert!(bench.daemon.stop().success());
    bench.daemon.begin(&environment);
    bench.until_ready();
    bench.ok(&["keys", "slots", "add", "credential", "recseal-root"]);
    bench.ok(&["keys", "slots", "remove", &bench.slot("file"), "--yes"]);
    assert!(bench.daemon.stop().success());
    bench.daemon.begin(&environment);
    bench.until_ready();
    bench.ok(&["keys", "slots", "test", &bench.slot("credential")]);
    assert!(bench.daemon.stop().success());
    // Without it, or with another one, people are needed.
    bench.daemon.begin(&[]);
    bench.until_locked();
    let words = bench.said(&["status"], 0);
    assert!(words.contains("given no credentials"), "{words}");
    assert!(bench.daemon.stop().success());
    fs::write(bench.at("credentials/recseal-root"), "00".repeat(32)).unwrap();
    bench.daemon.begin(&environment);
    bench.until_locked();
    let file = bench.arg("good");
    bench.ok(&["keys", "unlock", "--passphrase-file", &file]);
    bench.until_ready();
}

/// Planted fault: the running program goes on with the old root key.
#[test]
fn a_new_root_key_is_used_at_once_and_after_a_restart() {
    let mut bench = Bench::start();
    fs::copy(bench.root_key(), bench.at("old.key")).unwrap();
    fs::copy(bench.daemon.state().join("keys/slots.json"), bench.at("old.json")).unwrap();
    let words = bench.said(&["keys", "rotate-root"], 5);
    assert!(words.contains("--passphrase-file"), "{words}");
    let file = bench.arg("good");
    let rotated = bench.ok(&["keys", "rotate-root", "--passphrase-file", &file]);
    assert_eq!(rotated["kept"].as_array().unwrap().len(), 2);
    bench.ok(&["keys", "slots", "test", &bench.slot("file")]);
    assert_eq!(bench.audit("ROOT_KEY_ROTATED").len(), 2);
    bench.said(&["keys", "rotate-root", "--drop-slots"], 2);
    let dropped = bench.ok(&["keys", "rotate-root", "--drop-slots", "--yes"]);
    assert_eq!(dropped["dropped"][0]["kind"], "passphrase");
    assert!(bench.daemon.stop().success());
    bench.daemon.start_again();
    // Who kept a copy of the old table and key has nothing.
    assert!(bench.daemon.stop().success());
    fs::copy(bench.at("old.key"), bench.root_key()).unwrap();
    fs::copy(bench.at("old.json"), bench.daemon.state().join("keys/slots.json")).unwrap();
    bench.daemon.begin(&[]);
    assert_eq!(bench.daemon.wait_for_end("an old table").code(), Some(1));
    assert!(bench.daemon.log().contains("none of 1 stored generations"), "{}", bench.daemon.log());
}

#[test]
fn init_makes_the_recovery_slot() {
    let desk = tempfile::tempdir().unwrap();
    let (state, file) = (desk.path().join("state"), desk.path().join("p"));
    let init = |passphrase: &str| {
        fs::write(&file, passphrase).unwrap();
        program()
            .args(["init", "--json", "--passphrase-file"])
            .arg(&file)
            .arg("--state")
            .arg(&state)
            .output()
            .unwrap()
    };
    let short = init("short");
    assert_eq!(short.status.code(), Some(1), "{}", said(&short));
    assert!(init(GOOD).status.success());
    // A second one does not add a second slot.
    assert!(init("another sentence").status.success());
    let mut daemon = Daemon::at_rest(Some(&state), &[]);
    daemon.start_again();
    let slots = daemon.json(&["keys", "slots", "list"]);
    assert_eq!(slots.as_array().unwrap().len(), 2);
    assert_eq!(codes(&daemon.json(&["status"])), ["no-verified-backup"]);
}

/// The codes of the warnings in a status.
fn codes(status: &serde_json::Value) -> Vec<&str> {
    let warnings = status["warnings"].as_array().unwrap().iter();
    warnings.map(|warning| warning["code"].as_str().unwrap()).collect()
}
