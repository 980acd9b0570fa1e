use super::*;

use std::path::PathBuf;

use crate::disk::crash;
use crate::{KeyManager, Unlock};

const NOW_MS: i64 = 1_795_000_000_000;
const DAY: Duration = Duration::from_secs(86_400);

/// A store with an authority that asks its clients, and one client.
fn with_client() -> (tempfile::TempDir, PathBuf, KeyManager, ClientCertificate) {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("keys");
    let names = ["localhost".to_owned()];
    let keys = KeyManager::create(&folder, &names, NOW_MS).unwrap();
    keys.create_authority(NOW_MS).unwrap();
    keys.accept_clients(ClientPolicy { ask: true, other_authorities: Vec::new() }).unwrap();
    let shown = issue(&keys, "rec-7");
    (state, folder, keys, shown)
}

fn issue(keys: &KeyManager, name: &str) -> ClientCertificate {
    let issued = keys.issue_client(name, ClientKey::MadeHere, DAY, NOW_MS).unwrap();
    let blocks = pem::parse_many(issued.expose_bundle().as_bytes()).unwrap();
    let own = blocks.iter().find(|block| block.tag() == "CERTIFICATE").unwrap();
    ClientCertificate::parse(own.contents()).unwrap()
}

/// The disk fails before every single step of a change. Whoever was told that it worked finds it
/// done after a restart; whoever was told that it failed goes on as before. Meant to catch:
/// publishing before the store has it.
#[test]
fn a_crash_at_any_step_of_a_revocation_or_a_roll_over_leaves_one_truth() {
    for at in 0.. {
        let (_state, folder, keys, shown) = with_client();
        let old = keys.tls().current();
        let reason = RevocationReason::KeyCompromise;
        let (said, done) =
            crash::run(at, || keys.revoke_certificate(&shown.serial, reason, NOW_MS));
        let is_accepted = keys.client_names(&shown, NOW_MS).is_ok();
        assert_eq!(is_accepted, said.is_err(), "step {at}: {said:?}");
        assert_eq!(Arc::ptr_eq(&old, &keys.tls().current()), said.is_err(), "step {at}");
        drop(keys);
        let keys = KeyManager::open(&folder, &Unlock::File).unwrap();
        let is_revoked = keys.client_names(&shown, NOW_MS) == Err(ClientRefusal::Revoked);
        assert!(is_revoked || said.is_err(), "step {at}: said done, and forgotten");

        let (rolled, _) = crash::run(at, || {
            keys.prepare_authority(NOW_MS).and_then(|_| keys.activate_authority(NOW_MS))
        });
        let active = keys.authorities().last().map(|last| (last.number, last.state));
        drop(keys);
        let keys = KeyManager::open(&folder, &Unlock::File).unwrap();
        let names = ["localhost".to_owned()];
        keys.issue_own_from_authority(&names, NOW_MS).unwrap_or_else(|e| panic!("{at}: {e}"));
        if rolled.is_ok() {
            assert_eq!(active, Some((2, crate::AuthorityState::Active)), "step {at}");
            assert_eq!(keys.authorities().len(), 2, "step {at}");
        }
        if done {
            assert!(at > 5, "only {at} steps were ever planned");
            return;
        }
    }
}

/// The same for issuing: a certificate that was handed out is in the ledger.
#[test]
fn a_crash_at_any_step_of_issuing_hands_out_nothing_that_is_not_in_the_ledger() {
    for at in 0.. {
        let (_state, folder, keys, _) = with_client();
        let (said, done) =
            crash::run(at, || keys.issue_client("a", ClientKey::MadeHere, DAY, NOW_MS));
        drop(keys);
        let keys = KeyManager::open(&folder, &Unlock::File).unwrap();
        let listed = keys.issued_certificates();
        if let Ok(issued) = said {
            assert!(listed.contains(&issued.info), "step {at}");
        }
        if done {
            return;
        }
    }
}

/// Meant to catch: names of a certificate that only looks like ours, by its issuer's name or by
/// its serial.
#[test]
fn only_what_the_ledger_knows_is_ours() {
    let (_state, _folder, keys, shown) = with_client();
    let mut other = shown.clone();
    other.sha256 = "00".repeat(32);
    assert_eq!(keys.client_names(&other, NOW_MS), Err(ClientRefusal::Unknown));
    let mut unlisted = shown.clone();
    unlisted.serial = "7f".repeat(16);
    assert_eq!(keys.client_names(&unlisted, NOW_MS), Err(ClientRefusal::Unknown));
    for (at_ms, refusal) in [
        (shown.not_before_ms - 1, ClientRefusal::NotYetValid),
        (shown.not_after_ms + 1, ClientRefusal::Expired),
        (i64::MIN, ClientRefusal::NotYetValid),
        (i64::MAX, ClientRefusal::Expired),
    ] {
        assert_eq!(keys.client_names(&shown, at_ms), Err(refusal));
    }
    assert_eq!(keys.client_names(&shown, NOW_MS).unwrap(), ["rec-7"]);
}

/// Meant to catch: a policy that replaces the good one though it cannot be read.
#[test]
fn unreadable_authorities_change_nothing() {
    let (_state, _folder, keys, shown) = with_client();
    let served = keys.tls().current();
    for bad in [&b"junk"[..], b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"] {
        let policy = ClientPolicy { ask: true, other_authorities: bad.to_vec() };
        let said = keys.accept_clients(policy);
        assert!(matches!(said, Err(KeyError::OtherAuthorities)), "{said:?}");
    }
    assert!(Arc::ptr_eq(&served, &keys.tls().current()));
    assert!(keys.client_names(&shown, NOW_MS).is_ok());
}
