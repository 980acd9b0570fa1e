//! After work of all kinds: what lies around, and what a debugger gets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Bench, GOOD, said};
use crate::common;
use crate::common::daemon::Daemon;
use crate::common::or_skip;

/// After work of all kinds, nothing that opens the keys lies in the state folder (but `root.key`
/// itself), in the log or in an answer, and the process gives away no core.
/// Planted fault: the body of a request logged at debug level.
#[test]
fn nothing_secret_lies_around() {
    let config = tempfile::NamedTempFile::new().unwrap();
    fs::write(config.path(), "log = \"trace\"\n").unwrap();
    let mut bench = Bench::start_with(&["--config", config.path().to_str().unwrap()]);
    fs::write(bench.at("calls/one.wav"), b"a call").unwrap();
    bench.ok(&["done", &bench.arg("calls/one.wav")]);
    fs::create_dir(bench.at("shares")).unwrap();
    let folder = bench.arg("shares");
    let args = ["keys", "slots", "add", "shares", "--threshold", "2", "--of", "2", "-o", &folder];
    let mut answers = bench.ok(&args).to_string();
    let file = bench.arg("good");
    let shares = ["1", "2"].map(|n| bench.arg(&format!("shares/recseal-share-{n}-of-2.txt")));
    let rotate = [
        "keys",
        "rotate-root",
        "--passphrase-file",
        &file,
        "--share-file",
        &shares[0],
        "--share-file",
        &shares[1],
    ];
    let old_key = fs::read_to_string(bench.root_key()).unwrap();
    answers += &bench.ok(&rotate).to_string();
    answers += &bench.ok(&["keys", "slots", "list"]).to_string();
    answers += &bench.ok(&["audit"]).to_string();
    answers += &bench.ok(&["status"]).to_string();
    let new_key = fs::read_to_string(bench.root_key()).unwrap();
    assert_ne!(old_key, new_key);
    bench.start_locked(&[]);
    bench.said(&["keys", "unlock", "--passphrase-file", &shares[0]], 5);
    bench.ok(&["keys", "unlock", "--passphrase-file", &file]);
    bench.until_ready();
    fs::rename(bench.at("root.key"), bench.root_key()).unwrap();
    let limits = fs::read_to_string(format!("/proc/{}/limits", bench.daemon.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().rev().nth(1), Some("0"), "{core}");

    let mut secrets = vec![GOOD.to_owned(), old_key.trim().to_owned(), new_key.trim().to_owned()];
    for share in &shares {
        let text = fs::read_to_string(share).unwrap();
        let line = text.lines().last().unwrap();
        // The point and the check, not the head that all shares of the set have.
        secrets.push(line[50..].to_owned());
    }
    bench.daemon.wait_until("the call is sealed", |daemon| {
        daemon.json(&["status"])["recordings"]["available"] == 1
    });
    secrets.push(data_key(&bench));
    secrets.extend(own_tls_key(&bench));
    for key in [&secrets[1..3], &secrets[5..]].concat() {
        let bytes: Vec<u8> =
            (0..32).map(|at| u8::from_str_radix(&key[at * 2..at * 2 + 2], 16).unwrap()).collect();
        let raw = files_with(&bench.daemon.state(), &bytes);
        assert!(raw.is_empty(), "raw key bytes in {raw:?}");
    }
    let log = bench.daemon.log();
    for (number, secret) in secrets.iter().enumerate() {
        assert!(!log.contains(secret), "secret {number} in the log");
        assert!(!answers.contains(secret), "secret {number} in an answer");
        let mut files = files_with(&bench.daemon.state(), secret.as_bytes());
        files.retain(|path| !(number == 2 && path.ends_with("keys/root.key")));
        assert!(files.is_empty(), "secret {number} in {files:?}");
    }
}

/// The data key of a recording, as an export shows it outside of the state folder.
fn data_key(bench: &Bench) -> String {
    let id = bench.ok(&["recordings"])[0]["id"].as_str().unwrap().to_owned();
    bench.ok(&["keys", "export", &id, "-o", &bench.arg("call.key")]);
    let text = fs::read_to_string(bench.at("call.key")).unwrap();
    let key = text.lines().find_map(|line| line.strip_prefix("key "));
    key.unwrap().to_owned()
}

/// Has the daemon serve a certificate of ours; the private number of its key.
fn own_tls_key(bench: &Bench) -> Option<String> {
    let (crt, key) = (bench.arg("own.crt"), bench.arg("own.key"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    openssl.args(["-nodes", "-days", "90", "-subj", "/CN=own", "-keyout", &key, "-out", &crt]);
    openssl.args(["-addext", "subjectAltName=DNS:localhost"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    if let Err(why) = common::run(&mut openssl) {
        println!("without a key of openssl: {why}");
        return None;
    }
    bench.ok(&["certs", "import", &crt, "--key", &key]);
    let mut openssl = Command::new("openssl");
    let der = openssl.args(["pkey", "-in", &key, "-outform", "DER"]).output().unwrap().stdout;
    // The private number within the PKCS#8 of a P-256 key.
    Some(der[36..68].iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Another process of the daemon's own user gets no core out of it, and SIGQUIT leaves none.
/// Planted fault: `harden` not called, and the debugger reads every key.
#[test]
fn a_debugger_of_its_own_user_gets_no_core() {
    or_skip!(common::root());
    or_skip!(common::tools(&["setpriv", "chown", "gcore"]));
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    common::run(Command::new("chown").arg("65534:65534").arg(&state)).unwrap();
    let under = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let mut daemon = Daemon::start_on(folder, state.clone(), &under, &[]);
    let core = state.join("core");
    let mut debugger = Command::new(under[0]);
    debugger.args(&under[1..]).args(["gcore", "-o"]).arg(&core).arg(daemon.pid().to_string());
    let attempt = debugger.output().unwrap();
    let made = fs::read_dir(&state)
        .unwrap()
        .flatten()
        .any(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with("core")));
    assert!(!made, "{}", said(&attempt));
    assert!(said(&attempt).contains("Operation not permitted"), "{}", said(&attempt));
    let pid = rustix::process::Pid::from_raw(daemon.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::QUIT).unwrap();
    let ended = daemon.wait_for_end("SIGQUIT");
    assert!(!ended.core_dumped(), "{ended:?}");
}

fn files_with(folder: &Path, wanted: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files_with(&path, wanted));
        } else if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            if bytes.windows(wanted.len()).any(|window| window == wanted) {
                found.push(path);
            }
        }
    }
    found
}
