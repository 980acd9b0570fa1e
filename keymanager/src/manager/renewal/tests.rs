use super::*;

use std::path::PathBuf;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, ServerConnection};
use rustls::{SignatureScheme, crypto};

use crate::disk;
use crate::slots::Unlock;

const NOW_MS: i64 = 1_795_000_000_000;

fn created() -> (tempfile::TempDir, PathBuf, KeyManager) {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("keys");
    let keys = KeyManager::create(&folder, &["localhost".to_owned()], NOW_MS).unwrap();
    (state, folder, keys)
}

fn order(url: &str) -> AcmeOrder {
    let names = vec!["a.example".to_owned()];
    AcmeOrder { directory: "https://ca/dir".to_owned(), url: url.to_owned(), names, request: None }
}

/// Planted fault: a field of the state left out of the store (`serde(skip)`) is lost here.
#[test]
fn the_memory_outlives_the_program() {
    let (_state, folder, keys) = created();
    let names = ["a.example".to_owned()];
    let passing = FailureClass::Passing;
    let attempts = keys.note_renewal_failure("busy", passing, None, &names, NOW_MS).unwrap();
    assert_eq!(attempts.failures, 1);
    keys.store_acme_account("https://ca/dir", b"secret").unwrap();
    keys.store_acme_account("https://other/dir", b"other").unwrap();
    keys.store_acme_account("https://ca/dir", b"secret 2").unwrap();
    keys.store_acme_order(Some(order("https://ca/order/1"))).unwrap();
    keys.note_time(NOW_MS).unwrap();
    keys.note_time(NOW_MS + 1).unwrap();
    drop(keys);

    let keys = KeyManager::open(&folder, &Unlock::File).unwrap();
    assert_eq!(keys.renewal_attempts(), attempts);
    assert_eq!(keys.expose_acme_account("https://ca/dir").unwrap().as_slice(), b"secret 2");
    assert_eq!(keys.expose_acme_account("https://other/dir").unwrap().as_slice(), b"other");
    assert_eq!(keys.expose_acme_account("https://third/dir"), None);
    assert_eq!(keys.acme_order(), Some(order("https://ca/order/1")));
    assert_eq!(keys.clock_high_ms(), NOW_MS);
    keys.note_renewal_success(NOW_MS + 5).unwrap();
    assert_eq!((keys.acme_order(), keys.renewal_attempts().failures), (None, 0));
    assert_eq!(keys.renewal_attempts().last_success_ms, NOW_MS + 5);
    assert!(format!("{keys:?}").len() < 200, "no account in Debug");
}

#[test]
fn a_suggested_window_is_picked_from_once() {
    let (_state, _folder, keys) = created();
    let facts = keys.tls().facts();
    let subject = Subject {
        not_before_ms: facts.not_before_ms,
        not_after_ms: facts.not_after_ms,
        sha256: &facts.sha256,
        names: &[],
        wanted_names: &[],
        is_of_other_source: false,
        is_asked_for: false,
    };
    let policy = Policy { window: None, tick_ms: 60_000 };
    let window = (NOW_MS, NOW_MS + 86_400_000);
    assert!(keys.take_renewal_suggestion(&subject, &policy, window).unwrap());
    let pick = keys.renewal_suggestion().unwrap();
    for _ in 0..20 {
        keys.take_renewal_suggestion(&subject, &policy, window).unwrap();
        assert_eq!(keys.renewal_suggestion().as_ref(), Some(&pick));
    }
    let inverted = (window.1, window.0);
    assert!(!keys.take_renewal_suggestion(&subject, &policy, inverted).unwrap());
    assert_eq!(keys.renewal_suggestion(), None);
}

/// Planted fault: publishing before the commit leaves a memory in the program that the next start
/// does not have.
#[test]
fn a_crash_leaves_the_old_memory_or_the_new_one() {
    for at in 0.. {
        let (_state, folder, keys) = created();
        keys.store_acme_order(Some(order("https://ca/order/1"))).unwrap();
        let new = Some(order("https://ca/order/2"));
        let (said, done) = disk::crash::run(at, || keys.store_acme_order(new.clone()));
        assert_eq!(keys.acme_order() == new, said.is_ok(), "step {at}");
        drop(keys);
        let keys = KeyManager::open(&folder, &Unlock::File).unwrap();
        let found = keys.acme_order();
        assert!(found == new || found == Some(order("https://ca/order/1")), "step {at}");
        if done {
            assert!(at > 6, "only {at} steps were ever planned");
            return;
        }
    }
}

/// Accepts whatever is served: the test looks at it itself.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = aws_lc_rs::default_provider().signature_verification_algorithms;
        crypto::verify_tls12_signature(message, cert, dss, &known)
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // rustls' own check parses the certificate and refuses the critical extension of a proof.
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate and the protocol that a client gets; `None` if the handshake fails.
fn served(keys: &KeyManager, name: &str, offers: &[&[u8]]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_no_client_auth();
    config.alpn_protocols = offers.iter().map(|offer| offer.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut server = ServerConnection::new(keys.tls().current()).unwrap();
    for _ in 0..10 {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets().ok()?;
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets().ok()?;
    }
    let certificate = client.peer_certificates()?.first()?.to_vec();
    Some((certificate, client.alpn_protocol().map(<[u8]>::to_vec)))
}

/// Planted fault: answering with the proof whenever the name fits serves it to browsers too.
#[test]
fn a_proof_is_served_to_those_who_ask_for_exactly_that() {
    let (_state, _folder, keys) = created();
    let usual = keys.tls().certificate_der();
    let proof: &[&[u8]] = &[b"acme-tls/1"];
    assert_eq!(served(&keys, "a.example", proof), None, "not offered before an order runs");
    let proofs = [("a.example".to_owned(), [1; 32]), ("192.0.2.7".to_owned(), [2; 32])];
    keys.answer_challenges(&proofs).unwrap();

    for offers in [&[&b"h2"[..]][..], &[b"http/1.1"], &[], &[b"acme-tls/1", b"h2"]] {
        let (certificate, _) = served(&keys, "a.example", offers).unwrap();
        assert_eq!(certificate, usual, "{offers:?}");
    }
    let (first, protocol) = served(&keys, "A.example", proof).unwrap();
    assert_eq!(protocol.as_deref(), Some(proof[0]));
    let (second, _) = served(&keys, "7.2.0.192.in-addr.arpa", proof).unwrap();
    assert!(first != usual && second != usual && first != second);
    assert_eq!(served(&keys, "b.example", proof), None, "a name that nobody proves");

    keys.answer_challenges(&[]).unwrap();
    assert_eq!(served(&keys, "a.example", proof), None);
    assert_eq!(served(&keys, "a.example", &[b"h2"]).unwrap().0, usual);
}
