//! Keys and signatures that can be broken, told before a parser says "cannot be read".

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{GateCode, Report};
use crate::hex::HexBytes;
use crate::import::Candidate;

/// Key there, strong, and that of the certificate; signatures that hold.
pub(super) fn check(candidate: &Candidate, report: &mut Report) {
    for (place, der) in candidate.chain.iter().enumerate() {
        let Ok((_, certificate)) = X509Certificate::from_der(der.as_bytes()) else { continue };
        let whose = if place == 0 { "the certificate" } else { "an authority of the chain" };
        if let Some(weakness) = weak_key(certificate.public_key()) {
            let hint = "ask for a new one with RSA of 2048 bits or more, P-256 or P-384; \
                        `recseal certs csr` makes the key";
            report.refuse(GateCode::KeyWeak, format!("{whose} has {weakness}"), hint);
        }
        if place == 0 && is_unusual(certificate.public_key()) {
            let hint = "nothing to do if no browser is used; else ask for P-256 or RSA";
            report.note(GateCode::KeyUnusual, "browsers do not take keys of this kind", hint);
        }
        let algorithm = certificate.signature_algorithm.algorithm.to_id_string();
        if let Some((_, name)) = WEAK_SIGNATURES.iter().find(|(oid, _)| *oid == algorithm) {
            let hint = "ask your authority for a certificate signed with SHA-256";
            report.refuse(GateCode::SigWeak, format!("{whose} is signed with {name}"), hint);
        }
    }
    let Some(key) = &candidate.key else {
        report.refuse(
            GateCode::NoKey,
            "there is a certificate, but no private key",
            "name the key file with --key FILE; for an answer to a request of this program use \
             `recseal certs complete ID FILE`",
        );
        return;
    };
    let own =
        candidate.chain.first().and_then(|der| X509Certificate::from_der(der.as_bytes()).ok());
    match (public_key_of(key), own) {
        (Some(public), Some((_, own))) if own.public_key().raw != public => report.refuse(
            GateCode::KeyMismatch,
            "the private key belongs to another certificate",
            "find the key that the request was made with; both of these must print the same: \
             openssl x509 -in CERT -noout -pubkey, openssl pkey -in KEY -pubout",
        ),
        (None, _) if !report.refusals.iter().any(|one| one.code == GateCode::KeyWeak) => report
            .refuse(
                GateCode::KeyWeak,
                "the private key is weak, damaged, or of a kind that TLS does not use",
                "use RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519",
            ),
        _ => {}
    }
}

/// The public half (DER) of a private key (PKCS#8); `None` if it cannot serve.
pub(crate) fn public_key_of(key: &HexBytes) -> Option<Vec<u8>> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.as_bytes()));
    let signer = aws_lc_rs::sign::any_supported_type(&key).ok()?;
    Some(signer.public_key()?.as_ref().to_vec())
}

/// What is weak about a public key.
fn weak_key(key: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    let kind = key.algorithm.algorithm.to_id_string();
    match (kind.as_str(), key.parsed()) {
        (RSA, Ok(PublicKey::RSA(rsa))) => {
            let bits = rsa.key_size();
            (bits < RSA_BITS_MIN).then(|| format!("an RSA key of {bits} bits"))
        }
        (EC, _) => {
            let curve = curve(key);
            (!CURVES.contains(&curve.as_str())).then(|| match curve.as_str() {
                SECP256K1 => "a key on the curve secp256k1, which TLS does not use".to_owned(),
                _ => "a key on a curve that TLS does not use".to_owned(),
            })
        }
        (ED25519, _) => None,
        _ => Some("a key of a kind that TLS does not use".to_owned()),
    }
}

/// Ed25519 and P-521.
fn is_unusual(key: &SubjectPublicKeyInfo<'_>) -> bool {
    key.algorithm.algorithm.to_id_string() == ED25519 || curve(key) == CURVES[2]
}

fn curve(key: &SubjectPublicKeyInfo<'_>) -> String {
    let curve = key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    curve.map(|oid| oid.to_id_string()).unwrap_or_default()
}

const RSA_BITS_MIN: usize = 2_048;
const RSA: &str = "1.2.840.113549.1.1.1";
const EC: &str = "1.2.840.10045.2.1";
const ED25519: &str = "1.3.101.112";
const SECP256K1: &str = "1.3.132.0.10";
/// P-256, P-384, P-521.
const CURVES: [&str; 3] = ["1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"];
const WEAK_SIGNATURES: [(&str, &str); 5] = [
    ("1.2.840.113549.1.1.2", "MD2"),
    ("1.2.840.113549.1.1.4", "MD5"),
    ("1.2.840.113549.1.1.5", "SHA-1"),
    ("1.2.840.10045.4.1", "SHA-1"),
    ("1.2.840.10040.4.3", "SHA-1"),
];
