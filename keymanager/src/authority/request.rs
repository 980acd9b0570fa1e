//! The public key out of a signing request. Nothing else of a request is ever used: names, dates
//! and purposes are ours to decide.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rcgen::{PublicKeyData, SignatureAlgorithm};
use x509_parser::prelude::{FromDer, X509CertificationRequest};

use super::AuthorityError;

/// A public key whose owner proved to hold the private one.
#[derive(Debug)]
pub(super) struct RequestedKey {
    public: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl RequestedKey {
    /// Reads a request, PEM or DER, and checks its signature.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::RequestDamaged`], [`AuthorityError::RequestKey`].
    pub(super) fn read(bytes: &[u8]) -> Result<Self, AuthorityError> {
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(AuthorityError::RequestDamaged);
        }
        let is_request = |block: &&pem::Pem| {
            matches!(block.tag(), "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST")
        };
        let blocks = pem::parse_many(bytes).unwrap_or_default();
        let der = blocks.iter().find(is_request).map_or(bytes, pem::Pem::contents);
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|_| AuthorityError::RequestDamaged)?;
        if !rest.is_empty() {
            return Err(AuthorityError::RequestDamaged);
        }
        let info = &request.certification_request_info;
        let spki = &info.subject_pki;
        let curve = spki.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
        let curve = curve.map(|oid| oid.to_id_string()).unwrap_or_default();
        let signed_by = request.signature_algorithm.algorithm.to_id_string();
        let (algorithm, verified_by) =
            known(&spki.algorithm.algorithm.to_id_string(), &curve, &signed_by)
                .ok_or(AuthorityError::RequestKey)?;
        let public = spki.subject_public_key.data.to_vec();
        UnparsedPublicKey::new(verified_by, &public)
            .verify(info.raw, &request.signature_value.data)
            .map_err(|_| AuthorityError::RequestDamaged)?;
        Ok(Self { public, algorithm })
    }
}

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

/// How a key of this kind is written, and how a signature of this kind by it is checked.
fn known(
    key: &str,
    curve: &str,
    signed_by: &str,
) -> Option<(&'static SignatureAlgorithm, &'static dyn VerificationAlgorithm)> {
    Some(match (key, curve, signed_by) {
        (EC, P256, ECDSA_SHA256) => {
            (&rcgen::PKCS_ECDSA_P256_SHA256, &signature::ECDSA_P256_SHA256_ASN1)
        }
        (EC, P256, ECDSA_SHA384) => {
            (&rcgen::PKCS_ECDSA_P256_SHA256, &signature::ECDSA_P256_SHA384_ASN1)
        }
        (EC, P384, ECDSA_SHA256) => {
            (&rcgen::PKCS_ECDSA_P384_SHA384, &signature::ECDSA_P384_SHA256_ASN1)
        }
        (EC, P384, ECDSA_SHA384) => {
            (&rcgen::PKCS_ECDSA_P384_SHA384, &signature::ECDSA_P384_SHA384_ASN1)
        }
        (ED25519, _, ED25519) => (&rcgen::PKCS_ED25519, &signature::ED25519),
        (RSA, _, RSA_SHA256) => (&rcgen::PKCS_RSA_SHA256, &signature::RSA_PKCS1_2048_8192_SHA256),
        (RSA, _, RSA_SHA384) => (&rcgen::PKCS_RSA_SHA256, &signature::RSA_PKCS1_2048_8192_SHA384),
        (RSA, _, RSA_SHA512) => (&rcgen::PKCS_RSA_SHA256, &signature::RSA_PKCS1_2048_8192_SHA512),
        _ => return None,
    })
}

const EC: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
const ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";
const ED25519: &str = "1.3.101.112";
const RSA: &str = "1.2.840.113549.1.1.1";
const RSA_SHA256: &str = "1.2.840.113549.1.1.11";
const RSA_SHA384: &str = "1.2.840.113549.1.1.12";
const RSA_SHA512: &str = "1.2.840.113549.1.1.13";
/// A request for an RSA key of 8192 bits has some 3 KiB.
const REQUEST_BYTES_MAX: usize = 16 << 10;
