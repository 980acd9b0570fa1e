use super::*;

use std::time::Duration;

use proptest::prelude::*;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509CertificationRequest};

use crate::clients::ClientCertificate;

const NOW_MS: i64 = 1_795_000_000_000;
const DAY: Duration = Duration::from_secs(86_400);

/// What webpki says about a chain, with these roots.
fn verify(
    roots: &[&[u8]],
    chain: &[HexBytes],
    usage: KeyUsage,
    at_ms: i64,
) -> Result<(), webpki::Error> {
    let roots: Vec<_> = roots.iter().map(|der| CertificateDer::from(*der)).collect();
    let anchors: Vec<_> =
        roots.iter().map(|root| anchor_from_trusted_cert(root).unwrap()).collect();
    let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.as_bytes())).collect();
    let own = EndEntityCert::try_from(&chain[0]).unwrap();
    let time = UnixTime::since_unix_epoch(Duration::from_millis(at_ms.try_into().unwrap()));
    own.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &chain[1..],
        time,
        usage,
        None,
        None,
    )
    .map(|_| ())
}

fn issue(authority: &mut Authority, name: &str, lifetime: Duration, now_ms: i64) -> IssuedChain {
    authority.issue_client(name, ClientKey::MadeHere, lifetime, now_ms).unwrap()
}

/// Meant to catch: a cap forgotten prepares a root's successor five years before its end.
#[test]
fn successors_are_due_by_the_table() {
    for (lifetime_days, prepare_days_before, activate_days_before) in
        [(730, 30, 7), (3_652, 30, 7), (60, 30, 7), (42, 21, 7), (12, 6, 2), (0, 0, 0)]
    {
        let end_ms = NOW_MS + lifetime_days * DAY_MS;
        let (prepare_ms, activate_ms) = due(NOW_MS, end_ms);
        assert_eq!(prepare_ms, end_ms - prepare_days_before * DAY_MS, "{lifetime_days}");
        assert_eq!(activate_ms, end_ms - activate_days_before * DAY_MS, "{lifetime_days}");
    }
    let _ = (due(i64::MIN, i64::MAX), due(i64::MAX, i64::MIN));
}

/// Thirty years, looked at every five days. Whoever fetches the bundle once in 20 days can
/// always verify us, and a certificate is never refused before its end. Meant to catch: a root
/// dropped with its successor's activation; a successor made under a root that ends before it.
#[test]
fn thirty_years_without_a_gap() {
    let mut authority = Authority::create(NOW_MS).unwrap();
    let mut clients: Vec<(i64, IssuedChain)> = Vec::new();
    let mut bundles: Vec<(i64, Vec<Vec<u8>>)> = Vec::new();
    let (mut activated, mut roots) = (0, std::collections::BTreeSet::new());
    for day in (0..30 * 365).step_by(5) {
        let now_ms = NOW_MS + day * DAY_MS;
        let (changes, _) = authority.tend(now_ms).unwrap();
        activated +=
            changes.iter().filter(|c| matches!(c, AuthorityChange::Activated { .. })).count();
        authority.check().unwrap();
        let active = authority.active().unwrap();
        assert!(active.not_after_ms - now_ms >= 2 * DAY_MS, "day {day}");
        roots.insert(active.root);
        assert!(authority.issuers.len() <= 3 && authority.roots.len() <= 2, "day {day}");

        let own = authority.issue_server(&["rec.example".to_owned()], now_ms).unwrap();
        bundles.push((now_ms, authority.bundle().iter().map(|der| der.to_vec()).collect()));
        bundles.retain(|(fetched_ms, _)| now_ms - fetched_ms <= 20 * DAY_MS);
        for (_, bundle) in &bundles {
            let roots: Vec<&[u8]> = bundle.iter().map(Vec::as_slice).collect();
            verify(&roots, &own.chain, KeyUsage::server_auth(), now_ms).unwrap();
        }
        if day % 50 == 0 {
            clients.push((now_ms, issue(&mut authority, "rec-7", 90 * DAY, now_ms)));
        }
        for (issued_ms, client) in &clients {
            let facts = ClientCertificate::parse(client.chain[0].as_bytes()).unwrap();
            assert!(facts.not_after_ms <= issued_ms + 90 * DAY_MS);
            if facts.not_after_ms > now_ms {
                let names = facts.names(Some(&authority), false, now_ms);
                assert_eq!(names.unwrap(), ["rec-7"], "day {day}");
                verify(&authority.bundle(), &client.chain, KeyUsage::client_auth(), now_ms)
                    .unwrap();
            }
        }
        clients.retain(|(issued_ms, _)| now_ms - issued_ms < 100 * DAY_MS);
    }
    assert!(activated >= 14 && roots.len() >= 4, "{activated} {roots:?}");
}

/// The daemon was off for years: it comes back by itself. Meant to catch: one tend that only
/// prepares leaves a certificate authority that is over in charge.
#[test]
fn an_authority_that_slept_wakes_up() {
    for years in [2, 3, 11, 25] {
        let mut authority = Authority::create(NOW_MS).unwrap();
        let now_ms = NOW_MS + years * 366 * DAY_MS;
        authority.tend(now_ms).unwrap();
        authority.check().unwrap();
        let client = issue(&mut authority, "late", DAY, now_ms);
        verify(&authority.bundle(), &client.chain, KeyUsage::client_auth(), now_ms).unwrap();
        assert_eq!(authority.tend(now_ms).unwrap().0, [], "{years}: all done at once");
    }
    // A clock that went back changes nothing.
    let mut authority = Authority::create(NOW_MS).unwrap();
    assert_eq!(authority.tend(NOW_MS - 400 * DAY_MS).unwrap().0, []);
    assert_eq!(authority.tend(i64::MIN).unwrap().0, []);
}

/// The next root's key, known to clients with the old root, the new one, or both. Meant to catch:
/// the cross-certificate left out of the chain.
#[test]
fn a_new_root_is_trusted_through_the_old_one() {
    let mut authority = Authority::create(NOW_MS).unwrap();
    let first = authority.roots[0].certificate.clone();
    let late_ms = NOW_MS + 9 * 365 * DAY_MS;
    authority.tend(late_ms).unwrap();
    let own = authority.issue_server(&["rec.example".to_owned()], late_ms).unwrap();
    assert_eq!(authority.roots.last().unwrap().number, 2);
    assert_eq!(own.chain.len(), 3);
    let second = authority.roots.last().unwrap().certificate.clone();
    let (first, second) = (first.as_bytes(), second.as_bytes());
    for roots in [vec![first], vec![second], vec![first, second]] {
        verify(&roots, &own.chain, KeyUsage::server_auth(), late_ms).unwrap();
    }
    let stranger = Authority::create(NOW_MS).unwrap();
    let refused = verify(&stranger.bundle(), &own.chain, KeyUsage::server_auth(), late_ms);
    assert_eq!(refused, Err(webpki::Error::UnknownIssuer));
}

/// Meant to catch: the tainted root goes on vouching for its successor; a revoked one stays in
/// the bundle.
#[test]
fn a_tainted_root_is_replaced_and_then_ended() {
    let mut authority = Authority::create(NOW_MS).unwrap();
    let client = issue(&mut authority, "rec-7", DAY, NOW_MS);
    let facts = ClientCertificate::parse(client.chain[0].as_bytes()).unwrap();
    let old_root = authority.roots[0].certificate.clone();
    assert!(authority.revoke(1).is_err(), "an active one is tainted first");
    assert_eq!(authority.taint(1, NOW_MS).unwrap(), 2);
    authority.check().unwrap();
    assert!(authority.taint(1, NOW_MS).is_err() && authority.taint(9, NOW_MS).is_err());
    assert_eq!(authority.bundle().len(), 2);
    assert_eq!(facts.names(Some(&authority), false, NOW_MS).unwrap(), ["rec-7"]);
    let next = issue(&mut authority, "rec-7", DAY, NOW_MS);
    let by_old = verify(&[old_root.as_bytes()], &next.chain, KeyUsage::client_auth(), NOW_MS);
    assert_eq!(by_old, Err(webpki::Error::UnknownIssuer), "the tainted root vouches for nothing");

    authority.revoke(1).unwrap();
    authority.check().unwrap();
    assert_eq!(authority.bundle().len(), 1);
    assert_eq!(authority.accepted().count(), 1);
    let refused = facts.names(Some(&authority), false, NOW_MS);
    assert_eq!(refused, Err(crate::ClientRefusal::Revoked));
    assert!(authority.issuers[0].key.is_none() && authority.roots[0].key.is_none());
    let json = serde_json::to_string(&authority).unwrap();
    serde_json::from_str::<Authority>(&json).unwrap().check().unwrap();
}

/// Meant to catch: a list that is not written anew on revocation, or with the number of the last.
#[test]
fn revocation_lists_say_what_the_ledger_says() {
    let mut authority = Authority::create(NOW_MS).unwrap();
    let [good, bad] = ["good", "bad"].map(|name| issue(&mut authority, name, DAY, NOW_MS));
    let before = authority.issuers[0].crl.clone().unwrap();
    let reason = RevocationReason::KeyCompromise;
    authority.revoke_certificate(&bad.serial, reason, NOW_MS).unwrap();
    let again = authority.revoke_certificate(&bad.serial, reason, NOW_MS);
    assert!(matches!(again, Err(KeyError::Authority(AuthorityError::AlreadyRevoked))));
    assert!(authority.revoke_certificate("00", reason, NOW_MS).is_err());
    let crl = authority.issuers[0].crl.clone().unwrap();
    assert_ne!(crl.der.as_bytes(), before.der.as_bytes());
    let der = CertificateRevocationListDer::from(crl.der.as_bytes());
    let list = webpki::BorrowedCertRevocationList::from_der(&der).unwrap();
    let revoked: Vec<_> = list.into_iter().map(Result::unwrap).collect();
    let [entry] = &revoked[..] else { panic!("{} entries", revoked.len()) };
    assert_eq!(entry.serial_number, hex::decode(&bad.serial).unwrap().as_slice());
    assert_eq!(entry.reason_code, Some(webpki::RevocationReason::KeyCompromise));
    assert!(authority.ledger.info(&good.serial).unwrap().revoked.is_none());
    // A day later it is written anew, and the ledger forgets two days after the end.
    assert!(!authority.tend(NOW_MS + DAY_MS / 2).unwrap().1);
    assert!(authority.tend(NOW_MS + DAY_MS).unwrap().1);
    assert!(authority.tend(NOW_MS - 2 * DAY_MS).unwrap().1, "a list from the future is renewed");
    authority.tend(NOW_MS + 2 * DAY_MS).unwrap();
    assert_eq!(authority.ledger.infos(), []);
}

#[test]
fn names_lifetimes_and_requests_are_bounded() {
    let mut authority = Authority::create(NOW_MS).unwrap();
    for name in ["", "a b", "ä", "a/b", &"a".repeat(65), "a\n", "*.example"] {
        let said = authority.issue_client(name, ClientKey::MadeHere, DAY, NOW_MS);
        let Err(KeyError::Authority(AuthorityError::BadClientName { .. })) = said else {
            panic!("{name:?}: {said:?}")
        };
    }
    for lifetime in [Duration::ZERO, Duration::from_secs(59), 91 * DAY, Duration::MAX] {
        let said = authority.issue_client("a", ClientKey::MadeHere, lifetime, NOW_MS);
        assert!(matches!(said, Err(KeyError::Authority(AuthorityError::BadLifetime { .. }))));
    }
    for bytes in [&b""[..], b"junk", &[0x30; 70], &[b'-'; 20 << 10]] {
        let said = authority.issue_client("a", ClientKey::Request(bytes), DAY, NOW_MS);
        assert!(matches!(said, Err(KeyError::Authority(AuthorityError::RequestDamaged))));
    }
    for name in ["a", "rec_7", &"a".repeat(64), "rec-7.example.org"] {
        issue(&mut authority, name, DAY, NOW_MS);
    }
    assert_eq!(authority.ledger.infos().len(), 4, "what was refused is not in the ledger");
}

/// A request by rcgen, with everything in it that a client may not choose. Meant to catch: the
/// signature of the request not checked.
#[test]
fn only_the_key_of_a_request_is_used() {
    let mut authority = Authority::create(NOW_MS).unwrap();
    let (signer, _) = Signer::generate(Curve::P384);
    let mut params = rcgen::CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "evil");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let request = params.serialize_request(&signer).unwrap();
    let pem = request.pem().unwrap();
    for bytes in [request.der().as_ref(), pem.as_bytes()] {
        let issued =
            authority.issue_client("rec-7", ClientKey::Request(bytes), DAY, NOW_MS).unwrap();
        assert!(issued.key.is_none());
        let facts = ClientCertificate::parse(issued.chain[0].as_bytes()).unwrap();
        assert_eq!(facts.names(Some(&authority), false, NOW_MS).unwrap(), ["rec-7"]);
        assert!(!issued.chain[0].as_bytes().windows(4).any(|window| window == b"evil"));
        verify(&authority.bundle(), &issued.chain, KeyUsage::client_auth(), NOW_MS).unwrap();
        let as_server = verify(&authority.bundle(), &issued.chain, KeyUsage::server_auth(), NOW_MS);
        assert!(as_server.is_err(), "a client is no server");
    }
    // What the signature covers; beside it a flip may mean nothing.
    let der = request.der();
    let (_, parsed) = X509CertificationRequest::from_der(der).unwrap();
    let signed = parsed.certification_request_info.raw;
    let from = der.windows(signed.len()).position(|window| window == signed).unwrap();
    for at in from..from + signed.len() {
        let mut bytes = der.to_vec();
        bytes[at] ^= 1;
        let said = authority.issue_client("a", ClientKey::Request(&bytes), DAY, NOW_MS);
        assert!(said.is_err(), "byte {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Damaged certificates and requests: refused or read, never a panic.
    #[test]
    fn damage_is_no_surprise(at in any::<prop::sample::Index>(), bits in 1..=255_u8, cut: bool) {
        let mut authority = Authority::create(NOW_MS).unwrap();
        let whole = issue(&mut authority, "rec-7", DAY, NOW_MS).chain.remove(0);
        let mut bytes = whole.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        if cut {
            bytes.truncate(at);
        }
        if let Ok(facts) = ClientCertificate::parse(&bytes) {
            let names = facts.names(Some(&authority), false, NOW_MS);
            prop_assert!(names.is_err(), "another fingerprint");
        }
        let _ = request::RequestedKey::read(&bytes);
    }
}
