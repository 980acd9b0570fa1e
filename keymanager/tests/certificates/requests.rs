//! A request carried to an authority, and its answer.

use keymanager::gate::GateCode;
use keymanager::{CertificateSource, GatePolicy, KeyError, KeyManager, RequestPurpose, Unlock};
use uuid::Uuid;

use crate::lab::{Lab, SERVER};

/// Signs a request as an authority does: its own extensions, the request's key.
fn answer(lab: &Lab, pem: &str, extensions: &str) -> Vec<u8> {
    std::fs::write(lab.path("ours.csr"), pem).unwrap();
    std::fs::write(lab.path("ours.ext"), extensions).unwrap();
    let verified = lab.openssl(&["req", "-in", "ours.csr", "-noout", "-verify", "-text"]);
    assert!(verified.contains("DNS:rec.example"), "{verified}");
    let by = ["-CA", "int.crt", "-CAkey", "int.key", "-CAcreateserial", "-days", "90"];
    let of = ["x509", "-req", "-in", "ours.csr", "-extfile", "ours.ext", "-out", "ours.crt"];
    lab.openssl(&[&of[..], &by].concat());
    lab.cat(&["ours.crt", "int.crt"])
}

/// Planted faults: the request forgotten although its answer was refused; the key of another
/// request taken.
#[test]
fn an_answer_finds_the_key_of_its_request() {
    let Some(lab) = Lab::new() else { return };
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("keys");
    let names = ["rec.example".to_owned()];
    let keys = KeyManager::create(&folder, &names, lab.now_ms).unwrap();
    let policy = GatePolicy { extra_roots: vec![lab.root()], ..GatePolicy::for_server(&names) };
    let ask = |purpose| keys.request_certificate(&names, purpose, lab.now_ms).unwrap();
    let (first, second) = (ask(RequestPurpose::Manual), ask(RequestPurpose::Acme));
    assert!(first.pem.starts_with("-----BEGIN CERTIFICATE REQUEST-----\n"));

    let refusal =
        |id: Uuid, chain: &[u8]| match keys.complete_request(id, chain, &policy, lab.now_ms) {
            Err(KeyError::Refused { report }) => report.refusals[0].code,
            other => panic!("{other:?}"),
        };
    let chain = answer(&lab, &first.pem, SERVER);
    assert_eq!(refusal(second.id, &chain), GateCode::KeyMismatch);
    assert_eq!(refusal(first.id, b"no PEM"), GateCode::PemEmpty);
    assert_eq!(refusal(first.id, first.pem.as_bytes()), GateCode::PemEmpty);
    let elsewhere = SERVER.replace("rec.example", "else.example");
    assert_eq!(refusal(first.id, &answer(&lab, &first.pem, &elsewhere)), GateCode::WrongNames);
    assert_eq!(keys.requests().len(), 2, "a refused answer cost the request");

    let adopted = keys.complete_request(first.id, &chain, &policy, lab.now_ms).unwrap();
    assert_eq!(keys.tls().facts(), adopted.facts);
    assert_eq!(keys.certificate_source(), CertificateSource::Imported);
    let acme = answer(&lab, &second.pem, SERVER);
    keys.complete_request(second.id, &acme, &policy, lab.now_ms).unwrap();
    assert_eq!(keys.certificate_source(), CertificateSource::Acme);
    assert!(keys.requests().is_empty());
    let again = keys.complete_request(first.id, &chain, &policy, lab.now_ms);
    assert!(matches!(again, Err(KeyError::UnknownRequest { .. })));
    drop(keys);
    let keys = KeyManager::open(&folder, &Unlock::File).unwrap();
    assert_eq!(keys.certificate_source(), CertificateSource::Acme);
}
