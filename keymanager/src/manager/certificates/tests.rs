use std::path::PathBuf;

use super::*;
use crate::disk::crash;
use crate::hex::HexBytes;
use crate::{CertificateSource, RenewalReason, Unlock};

const NOW_MS: i64 = 1_795_000_000_000;
const DAY_MS: i64 = 86_400_000;

fn names() -> Vec<String> {
    vec!["rec.example".to_owned(), "localhost".to_owned()]
}

fn created() -> (tempfile::TempDir, PathBuf, KeyManager) {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("keys");
    let keys = KeyManager::create(&folder, &names(), NOW_MS).unwrap();
    (state, folder, keys)
}

/// One that begins an hour before `from_ms` and is its own root.
fn candidate(from_ms: i64) -> Candidate {
    let issued = certificate::issue_self_signed(&names(), from_ms).unwrap();
    Candidate {
        chain: vec![HexBytes::new(issued.certificate.as_bytes())],
        key: Some(issued.key),
        roots: Vec::new(),
        notices: Vec::new(),
    }
}

fn policy() -> GatePolicy {
    GatePolicy::for_server(&names())
}

fn import(keys: &KeyManager, candidate: &Candidate, now_ms: i64) -> Result<Adopted, KeyError> {
    keys.adopt(candidate, CertificateSource::Imported, &policy(), now_ms)
}

fn standings(keys: &KeyManager) -> Vec<(CertificateStanding, CertificateSource)> {
    keys.certificates().iter().map(|one| (one.standing, one.source)).collect()
}

/// Planted faults: the source not looked at before a renewal; `previous` not truncated.
#[test]
fn an_imported_one_is_served_kept_and_never_replaced_by_a_self_signed_one() {
    use CertificateSource::{Imported, SelfSigned};
    use CertificateStanding::{Live, Previous};
    let (_state, folder, keys) = created();
    let first = keys.tls().facts();
    let brought = candidate(NOW_MS);
    let adopted = import(&keys, &brought, NOW_MS).unwrap();
    assert_eq!(keys.tls().facts(), adopted.facts);
    assert_eq!(standings(&keys), [(Live, Imported), (Previous, SelfSigned)]);
    assert!(matches!(import(&keys, &brought, NOW_MS), Err(KeyError::NothingNew)));
    for later_ms in [300 * DAY_MS, 500 * DAY_MS] {
        let change = keys.ensure_certificate(NOW_MS + later_ms).unwrap();
        assert_eq!(change, CertificateChange::None, "replaced after {later_ms} ms");
    }
    drop(keys);

    let keys = KeyManager::open(&folder, &Unlock::File).unwrap();
    assert_eq!(keys.tls().facts(), adopted.facts);
    for _ in 0..4 {
        import(&keys, &candidate(NOW_MS), NOW_MS).unwrap();
    }
    assert_eq!(standings(&keys).len(), 4);
    assert!(keys.certificates().iter().all(|one| one.facts != first));
}

/// Planted fault: the live one forgotten by a rollback, which could not be undone then.
#[test]
fn a_rollback_can_be_undone() {
    let (_state, folder, keys) = created();
    let none = keys.rollback_certificate(None, NOW_MS);
    assert!(matches!(none, Err(KeyError::UnknownCertificate { id: None })));
    let first = keys.tls().facts();
    let second = import(&keys, &candidate(NOW_MS), NOW_MS).unwrap();
    let third = import(&keys, &candidate(NOW_MS), NOW_MS).unwrap();
    keys.rollback_certificate(None, NOW_MS).unwrap();
    assert_eq!(keys.tls().facts(), second.facts);
    keys.rollback_certificate(None, NOW_MS).unwrap();
    assert_eq!(keys.tls().facts(), third.facts);
    let oldest = keys.certificates().pop().unwrap().id;
    let back = keys.rollback_certificate(Some(oldest), NOW_MS).unwrap();
    assert_eq!((keys.tls().facts(), back.facts), (first.clone(), first.clone()));
    let over = keys.rollback_certificate(None, NOW_MS + 500 * DAY_MS).unwrap_err();
    let KeyError::Refused { report } = over else { panic!("{over:?}") };
    assert_eq!(report.refusals[0].code, GateCode::Expired);
    drop(keys);
    assert_eq!(KeyManager::open(&folder, &Unlock::File).unwrap().tls().facts(), first);
}

/// Planted faults: activated at `not_before` itself; not persisted.
#[test]
fn one_that_begins_later_is_staged_and_takes_over_by_itself() {
    let (_state, folder, keys) = created();
    let begin_ms = NOW_MS + 10 * DAY_MS;
    let brought = candidate(begin_ms + 3_600_000);
    let adopted = import(&keys, &brought, NOW_MS).unwrap();
    assert_eq!(adopted.staged_until_ms, Some(begin_ms + 300_000));
    assert_eq!(keys.certificate_source(), CertificateSource::SelfSigned);
    assert!(matches!(import(&keys, &brought, NOW_MS), Err(KeyError::NothingNew)));
    drop(keys);
    let keys = KeyManager::open(&folder, &Unlock::File).unwrap();
    let early = keys.ensure_certificate(begin_ms + 299_999).unwrap();
    assert_eq!(early, CertificateChange::None);
    let change = keys.ensure_certificate(begin_ms + 300_000).unwrap();
    assert!(matches!(change, CertificateChange::Activated { id, .. } if id == adopted.id));
    assert_eq!(keys.tls().facts(), adopted.facts);

    // One whose whole life was slept through takes over nothing.
    import(&keys, &candidate(begin_ms + 30 * DAY_MS), begin_ms + 300_000).unwrap();
    let change = keys.ensure_certificate(begin_ms + 500 * DAY_MS).unwrap();
    assert_eq!((change, keys.tls().facts()), (CertificateChange::None, adopted.facts));

    // The last word wins: what waits is dropped for what comes after it.
    import(&keys, &candidate(begin_ms + 30 * DAY_MS), begin_ms + 300_000).unwrap();
    let last = import(&keys, &candidate(begin_ms), begin_ms + 300_000).unwrap();
    assert!(last.notices.iter().any(|notice| notice.code == GateCode::StagedDropped));
    assert!(standings(&keys).iter().all(|(one, _)| *one != CertificateStanding::Staged));
}

/// A self-signed one is still renewed, also after a rollback to it.
#[test]
fn a_self_signed_one_is_renewed_after_a_rollback_to_it() {
    let (_state, _folder, keys) = created();
    import(&keys, &candidate(NOW_MS), NOW_MS).unwrap();
    keys.rollback_certificate(None, NOW_MS).unwrap();
    let change = keys.ensure_certificate(NOW_MS + 300 * DAY_MS).unwrap();
    let is_renewed =
        matches!(change, CertificateChange::Renewed { reason: RenewalReason::LastThird, .. });
    assert!(is_renewed, "{change:?}");
}

#[test]
fn a_refused_one_changes_nothing() {
    let (_state, _folder, keys) = created();
    let (before, stored) = (keys.tls().facts(), standings(&keys));
    assert!(keys.check_live_certificate(&policy(), NOW_MS).passed());
    assert!(keys.check_certificate(&candidate(NOW_MS), &policy(), NOW_MS).passed());
    let over = candidate(NOW_MS - 500 * DAY_MS);
    let Err(KeyError::Refused { report }) = import(&keys, &over, NOW_MS) else {
        panic!("an expired one is let in");
    };
    assert_eq!(report.refusals[0].code, GateCode::Expired);
    let keyless = Candidate { key: None, ..candidate(NOW_MS) };
    assert!(import(&keys, &keyless, NOW_MS).is_err());
    assert_eq!((keys.tls().facts(), standings(&keys)), (before, stored));
}

/// Planted faults: the ACME request made anew on each retry; a fifth request let in.
#[test]
fn requests_are_kept_bounded_and_forgotten() {
    let (_state, folder, keys) = created();
    let wanted = ["rec.example".to_owned()];
    let acme = keys.request_certificate(&wanted, RequestPurpose::Acme, NOW_MS).unwrap();
    assert_eq!(keys.request_certificate(&wanted, RequestPurpose::Acme, NOW_MS).unwrap(), acme);
    let other = keys.request_certificate(&names(), RequestPurpose::Acme, NOW_MS).unwrap();
    assert_ne!(other, acme);
    assert_eq!(keys.requests().len(), 1);
    for _ in 0..3 {
        keys.request_certificate(&wanted, RequestPurpose::Manual, NOW_MS).unwrap();
    }
    let full = keys.request_certificate(&wanted, RequestPurpose::Manual, NOW_MS);
    assert!(matches!(full, Err(KeyError::TooManyRequests { max: 4 })));
    drop(keys);
    let keys = KeyManager::open(&folder, &Unlock::File).unwrap();
    let ids: Vec<Uuid> = keys.requests().iter().map(|request| request.id).collect();
    for id in ids {
        keys.cancel_request(id).unwrap();
        let again = keys.cancel_request(id);
        assert!(matches!(again, Err(KeyError::UnknownRequest { .. })));
    }
    let gone = keys.complete_request(other.id, b"", &policy(), NOW_MS);
    assert!(matches!(gone, Err(KeyError::UnknownRequest { .. })));
    let bad = keys.request_certificate(&[], RequestPurpose::Manual, NOW_MS);
    assert!(matches!(bad, Err(KeyError::BadNames { .. })));
}

/// Whatever step fails: what is served is what is stored, old or new, and the store opens.
/// Planted fault: published before it is stored.
#[test]
fn a_crash_in_any_change_leaves_the_old_or_the_new_certificate() {
    type Change = fn(&KeyManager) -> Result<(), KeyError>;
    let changes: [(&str, Change); 4] = [
        ("adopt", |keys| import(keys, &candidate(NOW_MS), NOW_MS).map(drop)),
        ("roll back", |keys| keys.rollback_certificate(None, NOW_MS).map(drop)),
        ("stage", |keys| import(keys, &candidate(NOW_MS + DAY_MS), NOW_MS).map(drop)),
        ("request", |keys| {
            keys.request_certificate(&names(), RequestPurpose::Manual, NOW_MS).map(drop)
        }),
    ];
    for (name, change) in changes {
        for at in 0.. {
            let (_state, folder, keys) = created();
            import(&keys, &candidate(NOW_MS), NOW_MS).unwrap();
            let image = |keys: &KeyManager| (keys.certificates(), keys.requests());
            let before = image(&keys);
            let (said, done) = crash::run(at, || change(&keys));
            let after = image(&keys);
            assert_eq!(said.is_err(), after == before, "{name} step {at}");
            assert_eq!(keys.tls().facts(), after.0[0].facts, "{name} step {at}: served");
            drop(keys);
            let keys = KeyManager::open(&folder, &Unlock::File).unwrap();
            let found = image(&keys);
            if said.is_ok() {
                assert_eq!(found, after, "{name} step {at}: said and not stored");
            } else {
                assert_eq!(found.0[0].facts, keys.tls().facts(), "{name} step {at}");
            }
            if done {
                assert!(at > 5, "{name}: only {at} steps were ever planned");
                break;
            }
        }
    }
}
