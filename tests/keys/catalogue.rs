//! What happens when …: the catalogue of failures, row by row, and which test holds each.
//!
//! [`ROWS`] is the list to tick off. Rows that no other test holds are tested here.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keymanager::KeyManager;

use crate::common::daemon::{Daemon, program};
use crate::common::{or_skip, run, tools};

/// What happens, and the tests that show what is done about it: file below the repository, name.
const ROWS: &[(&str, &[(&str, &str)])] = &[
    (
        "a renewal fails: back-off that is kept and never ends, the old one serves, it gets louder",
        &[
            ("keymanager/src/renewal/tests.rs", "failures_climb_the_ladder_and_never_end_it"),
            ("keymanager/src/manager/renewal/tests.rs", "the_memory_outlives_the_program"),
            ("tests/keys/renewal/acme.rs", "both_proofs_lead_to_a_certificate_and_the_next_one"),
            ("src/flow/renewal/alarms.rs", "what_renews_itself_alarms_late_and_the_rest_early"),
        ],
    ),
    (
        "a certificate is over all the same: served, and told",
        &[("tests/keys/catalogue.rs", "a_certificate_that_is_over_is_served_and_told")],
    ),
    (
        "the machine was off for months: renewed at once",
        &[("tests/keys/renewal/clocks.rs", "a_start_in_the_past_is_suspect")],
    ),
    (
        "the clock jumps, forwards and backwards: nothing issued, nothing destroyed, serving on",
        &[
            ("tests/keys/renewal/clocks.rs", "nothing_is_issued_by_a_clock_that_jumped"),
            ("tests/keys/keks.rs", "dates_are_kept_unless_the_clock_is_suspect"),
        ],
    ),
    (
        "our certificates begin in the future of a client whose clock is behind: backdated",
        &[("tests/keys/catalogue.rs", "all_that_is_issued_begins_in_the_past")],
    ),
    (
        "a half-written chain, a key that is replaced before its certificate",
        &[
            ("tests/keys/renewal/files.rs", "a_swap_of_links_is_taken_when_it_is_whole"),
            ("keymanager/tests/certificates/import.rs", "a_chain_cut_anywhere_is_told"),
        ],
    ),
    (
        "a key that does not match or is weak, wrong names, half a chain, not yet valid",
        &[
            ("keymanager/tests/certificates/catalogue.rs", "every_code_of_the_gate_has_its_test"),
            ("tests/keys/certs.rs", "a_refusal_says_what_to_do_and_changes_nothing"),
        ],
    ),
    (
        "what leads to the root key is gone at a start: locked, recordings wait, a person opens it",
        &[
            ("tests/keys/slots.rs", "a_locked_start_waits_for_a_person_and_loses_nothing"),
            ("tests/keys/slots.rs", "a_locked_daemon_tries_again_by_itself"),
            ("tests/keys/slots.rs", "shares_are_handed_out_once_and_open_the_keys"),
            ("keymanager/src/manager/slot_changes/tests.rs", "each_slot_alone_opens"),
        ],
    ),
    (
        "a key is lost and no backup has it: told with version and number of recordings",
        &[("tests/keys/catalogue.rs", "a_lost_key_version_is_told_and_comes_back_with_its_file")],
    ),
    (
        "the store is damaged: the generation before it, and a warning",
        &[
            (
                "keymanager/src/store/tests.rs",
                "a_damaged_generation_is_set_aside_and_the_one_before_it_taken",
            ),
            ("tests/keys/catalogue.rs", "a_lost_key_version_is_told_and_comes_back_with_its_file"),
        ],
    ),
    (
        "the disk is full, or read-only: the old state serves, and what is tried says so",
        &[
            ("tests/keys/turns.rs", "a_disk_that_takes_nothing_leaves_the_old_one_serving"),
            ("tests/hardship/storage.rs", "a_full_state_folder_loses_nothing_and_goes_on"),
            ("tests/keys/backup/hard.rs", "a_full_disk_makes_no_backup"),
        ],
    ),
    (
        "two daemons on one state folder: the second is refused",
        &[("tests/keys/slots.rs", "a_damaged_store_does_not_start_locked")],
    ),
    (
        "the authority revoked or replaced the certificate: renewal information in the past",
        &[("tests/keys/renewal/suggested.rs", "only_what_makes_sense_is_believed")],
    ),
    (
        "the authority forgot the account, or dies in the order, or we do",
        &[
            ("tests/keys/renewal/acme.rs", "an_authority_that_forgot_everything_is_met_anew"),
            ("tests/keys/renewal/acme.rs", "an_authority_that_dies_in_the_order_is_met_anew"),
            ("tests/keys/renewal/acme.rs", "a_killed_order_is_taken_up_again"),
            ("tests/keys/renewal/acme.rs", "a_third_of_all_nonces_refused_only_costs_tries"),
        ],
    ),
    (
        "the authority limits the rate: its wish is kept, seven days at most",
        &[
            (
                "keymanager/src/renewal/tests.rs",
                "lasting_failures_and_the_servers_wish_wait_longer",
            ),
            ("src/daemon/acme/failure.rs", "lasting_problems_are_told_from_passing_ones"),
        ],
    ),
    (
        "an admin locks himself out of mTLS: the socket on the host knows root without one",
        &[("tests/keys/mtls.rs", "by_command_and_with_curl")],
    ),
];

/// The list tells the truth. Planted fault: a name with a typing error.
#[test]
fn every_row_of_the_catalogue_has_its_test() {
    for (row, tests) in ROWS {
        assert!(!tests.is_empty(), "{row}: nothing holds it");
        for (file, name) in *tests {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
            let at = text.find(&format!("fn {name}()")).unwrap_or_else(|| panic!("{file}: {name}"));
            let before = text[..at].trim_end();
            assert!(before.ends_with("#[test]"), "{file}: {name} is no test");
        }
    }
}

/// Under a clock that is 400 days ahead: an imported certificate is over, nobody renews it. Meant
/// to catch: a start that refuses it, and a door that shows a self-signed one in its place.
#[test]
fn a_certificate_that_is_over_is_served_and_told() {
    or_skip!(tools(&["openssl"]));
    or_skip!(Path::new(LIBRARY).exists().then_some(()).ok_or_else(|| "no libfaketime".to_owned()));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (crt, key) = (path("own.crt"), path("own.key"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    openssl.args(["-nodes", "-days", "90", "-subj", "/CN=own", "-keyout", &key, "-out", &crt]);
    openssl.args(["-addext", "subjectAltName=DNS:localhost"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    run(&mut openssl).unwrap();
    let mut daemon = Daemon::at_rest(None, &[]);
    run(program()
        .args(["init", "--names", "localhost", "--cert", &crt, "--key", &key, "--state"])
        .arg(daemon.state()))
    .unwrap();
    daemon.begin(&[("LD_PRELOAD", LIBRARY), ("FAKETIME", "+400d")]);
    daemon.wait_until("it is ready", |daemon| {
        daemon.try_json(&["status"]).is_some_and(|status| status["ready"] == true)
    });
    let status = daemon.json(&["status"]);
    assert_eq!(status["certificate"]["source"], "imported");
    let warning = warning(&status, "certificate-expired");
    assert!(warning["hint"].as_str().unwrap().contains("recseal certs import"), "{warning}");
    let address = status["listen"]["https"].as_str().unwrap();
    let shown =
        run(Command::new("openssl").args(["s_client", "-connect", address, "-showcerts"])).unwrap();
    let first = fs::read_to_string(&crt).unwrap();
    assert!(shown.contains(first.lines().nth(1).unwrap()), "{shown}");
    let said = daemon.recseal(&["certs", "renew", "--now", "--wait"]);
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(5), "{words}");
    assert!(words.contains("nothing is configured") && words.contains("hint: import"), "{words}");
    assert_eq!(daemon.json(&["certs", "renew", "--wait"])["renewal"], "by-nobody");
}

/// Five minutes at least, for clients whose clocks are behind. Meant to catch: valid from now on.
#[test]
fn all_that_is_issued_begins_in_the_past() {
    const NOW_MS: i64 = 1_795_000_000_000;
    const LEAST_MS: i64 = 5 * 60_000;
    let folder = tempfile::tempdir().unwrap();
    let names = ["localhost".to_owned()];
    let keys = KeyManager::create(&folder.path().join("keys"), &names, NOW_MS).unwrap();
    assert!(keys.tls().facts().not_before_ms <= NOW_MS - LEAST_MS, "self-signed");
    keys.create_authority(NOW_MS).unwrap();
    let own = keys.issue_own_from_authority(&names, NOW_MS).unwrap();
    assert!(own.not_before_ms <= NOW_MS - LEAST_MS, "internal authority");
}

/// The newest generations are damaged, and with them every copy of the version that all is under.
/// Planted fault: versions that the store does not know left out of the status.
#[test]
fn a_lost_key_version_is_told_and_comes_back_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let calls = folder.path().join("calls");
    fs::create_dir(&calls).unwrap();
    let mut daemon = Daemon::start(&["--store", &format!("{}:generic", calls.display())]);
    for name in ["one.wav", "two.wav"] {
        fs::write(calls.join(name), b"a call").unwrap();
        daemon.json(&["done", calls.join(name).to_str().unwrap()]);
    }
    daemon.wait_until("both are sealed", |daemon| {
        daemon.json(&["status"])["recordings"]["available"] == 2
    });
    let id = daemon.json(&["recordings"])[0]["id"].as_str().unwrap().to_owned();
    let keys = daemon.state().join("keys");
    let older = generations(&keys);
    assert_eq!(daemon.json(&["keys", "rotate", "--wait"])["version"], 2);
    daemon.stop();
    let newer: Vec<PathBuf> =
        generations(&keys).into_iter().filter(|path| !older.contains(path)).collect();
    assert!(!newer.is_empty() && older.iter().any(|path| path.exists()), "no older one is left");
    let kept = folder.path().join("kept");
    fs::create_dir(&kept).unwrap();
    for path in &newer {
        run(Command::new("cp").arg("-a").arg(path).arg(&kept)).unwrap();
        fs::write(path.join("store.bin"), b"rust on the disk").unwrap();
    }

    daemon.start_again();
    let status = daemon.json(&["status"]);
    warning(&status, "keys-damaged");
    let missing = warning(&status, "key-version-missing");
    let message = missing["message"].as_str().unwrap();
    assert!(message.contains("version 2") && message.contains("2 recordings"), "{missing}");
    assert!(missing["hint"].as_str().unwrap().contains("damaged-gen-N"), "{missing}");
    let back = folder.path().join("back.wav");
    let said = daemon.recseal(&["open", &id, "-o", back.to_str().unwrap()]);
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!said.status.success() && words.contains("hint: "), "{words}");
    assert!(!back.exists());
    // What is recorded now is under a version that is there.
    fs::write(calls.join("three.wav"), b"a call").unwrap();
    daemon.json(&["done", calls.join("three.wav").to_str().unwrap()]);
    daemon.wait_until("the third is sealed", |daemon| {
        daemon.json(&["status"])["recordings"]["available"] == 3
    });
    daemon.stop();

    // Somebody had a copy of the folder.
    for path in generations(&keys) {
        run(Command::new("rm").arg("-r").arg(path)).unwrap();
    }
    let name = newer.last().unwrap().file_name().unwrap();
    run(Command::new("cp").arg("-a").arg(kept.join(name)).arg(&keys)).unwrap();
    daemon.start_again();
    daemon.json(&["open", &id, "-o", back.to_str().unwrap()]);
    assert_eq!(fs::read(&back).unwrap(), b"a call");
}

fn warning<'s>(status: &'s serde_json::Value, code: &str) -> &'s serde_json::Value {
    let warnings = status["warnings"].as_array().unwrap();
    let found = warnings.iter().find(|warning| warning["code"] == code);
    found.unwrap_or_else(|| panic!("no {code}: {status}"))
}

/// The generations in a key folder, oldest first.
fn generations(keys: &Path) -> Vec<PathBuf> {
    let number = |path: &PathBuf| -> Option<u64> {
        path.file_name()?.to_str()?.strip_prefix("gen-")?.parse().ok()
    };
    let entries = fs::read_dir(keys).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(|path| number(path).is_some()).collect();
    found.sort_by_key(number);
    found
}

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
