//! What leaves this crate in a public form, checked by someone else's program.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use keymanager::{KeyManager, public_keys_to_pem};

/// The self-signed certificate is one that openssl would trust for its names, and a signature can
/// be checked with the PEM public key by following the module doc of `signing`.
#[test]
fn openssl_agrees_with_certificate_and_signature() {
    let state = tempfile::tempdir().unwrap();
    let Some(version) = openssl(state.path(), &["version"]) else {
        return skip("openssl is not installed");
    };
    assert!(version.status.success());
    let names = ["localhost", "rec.example", "127.0.0.1"].map(str::to_owned);
    let now_ms = 1_795_000_000_000;
    let keys = KeyManager::create(&state.path().join("keys"), &names, now_ms).unwrap();

    fs::write(state.path().join("chain.pem"), keys.tls().chain_pem()).unwrap();
    for name in [["-verify_hostname", "rec.example"], ["-verify_ip", "127.0.0.1"]] {
        let time = ["-attime", "1795000000", "-purpose", "sslserver"];
        let files = ["-CAfile", "chain.pem", "chain.pem"];
        check(state.path(), &[&["verify"], &name[..], &time, &files].concat());
    }

    let message = b"what was signed";
    let signature = keys.sign("test", message);
    let signed = [b"recseal/sign/1\0\x04test".as_slice(), message].concat();
    fs::write(state.path().join("message"), signed).unwrap();
    fs::write(state.path().join("signature"), signature.bytes).unwrap();
    fs::write(state.path().join("public.pem"), public_keys_to_pem(&keys.public_signing_keys()))
        .unwrap();
    let verify = ["pkeyutl", "-verify", "-pubin", "-inkey", "public.pem", "-rawin"];
    check(state.path(), &[&verify[..], &["-in", "message", "-sigfile", "signature"]].concat());
}

fn check(folder: &Path, arguments: &[&str]) {
    let output = openssl(folder, arguments).expect("openssl was there a moment ago");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

fn openssl(folder: &Path, arguments: &[&str]) -> Option<Output> {
    Command::new("openssl").current_dir(folder).args(arguments).output().ok()
}

#[expect(clippy::disallowed_methods, reason = "tests are configured by the environment")]
fn skip(reason: &str) {
    assert!(std::env::var("RECSEAL_TEST_ALL").is_err(), "must not skip: {reason}");
    println!("SKIP: {reason}");
}
