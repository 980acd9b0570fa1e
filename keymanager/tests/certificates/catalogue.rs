//! Every code that the gate may say, and the test that makes it say so, with message and hint.

use std::fs;
use std::path::Path;

/// Code, file below the crate, test. In the file of `manager` the one that needs a store.
const CODES: &[(&str, &str, &str)] = &[
    ("pem-empty", IMPORT, "pem_in_all_clothes"),
    ("pem-truncated", IMPORT, "a_chain_cut_anywhere_is_told"),
    ("malformed", IMPORT, "pkcs12_of_every_make"),
    ("too-large", IMPORT, "pem_in_all_clothes"),
    ("no-key", GATE, "keys_that_do_not_fit_or_hold"),
    ("several-keys", GATE, "keys_that_do_not_fit_or_hold"),
    ("key-encrypted", IMPORT, "keys_with_a_password"),
    ("legacy-encryption", IMPORT, "pkcs12_of_every_make"),
    ("key-mismatch", GATE, "keys_that_do_not_fit_or_hold"),
    ("key-weak", GATE, "keys_that_do_not_fit_or_hold"),
    ("key-unusual", GATE, "a_good_chain_has_nothing_to_remark"),
    ("sig-weak", GATE, "keys_that_do_not_fit_or_hold"),
    ("expired", GATE, "dates"),
    ("not-yet-valid", GATE, "dates"),
    ("wrong-names", GATE, "names_and_usage"),
    ("wrong-usage", GATE, "names_and_usage"),
    ("is-ca", GATE, "names_and_usage"),
    ("ca-first", GATE, "chains"),
    ("chain-incomplete", GATE, "chains"),
    ("unrelated", GATE, "chains"),
    ("root-removed", GATE, "chains"),
    ("private-root", GATE, "chains"),
    ("duplicate-serial", GATE, "beside_the_live_one"),
    ("older-than-live", GATE, "beside_the_live_one"),
    ("too-long", "../tests/keys/certs.rs", "a_root_of_the_host_is_enough"),
    ("handshake", GATE, "names_and_usage"),
    ("staged-dropped", STORE, "one_that_begins_later_is_staged_and_takes_over_by_itself"),
];

/// Each code that the source knows is in the list, and its test speaks of it. Planted faults: a
/// row taken out; a row with another test of the same file.
#[test]
fn every_code_of_the_gate_has_its_test() {
    let source = text("src/gate/report.rs");
    let words: Vec<(&str, &str)> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \""))
        .filter_map(|(name, rest)| Some((name, rest.strip_suffix("\",")?)))
        .collect();
    assert!(words.len() > 20, "the source is written in another way");
    for (name, code) in &words {
        let row = CODES.iter().find(|(listed, _, _)| listed == code);
        let (_, file, test) = row.unwrap_or_else(|| panic!("no test for {code}"));
        let file = text(file);
        let at = file.find(&format!("fn {test}()")).unwrap_or_else(|| panic!("no test {test}"));
        assert!(file[..at].trim_end().ends_with("#[test]"), "{test} is no test");
        let end = file[at..].find("\n}\n").map_or(file.len(), |end| at + end);
        let body = &file[at..end];
        let speaks = body.contains(&format!("GateCode::{name}")) || body.contains(*code);
        assert!(speaks, "{test} does not speak of {code}");
    }
    assert_eq!(words.len(), CODES.len(), "a row for a code that is gone");
}

fn text(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

const GATE: &str = "tests/certificates/gate.rs";
const IMPORT: &str = "tests/certificates/import.rs";
const STORE: &str = "src/manager/certificates/tests.rs";
