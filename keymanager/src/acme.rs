//! What is kept for a certificate authority that speaks ACME: records only, nothing is sent here.
//!
//! The account is the authority's word that we are who we were; it is kept for each directory, so
//! that trying another authority does not lose the first. The order is kept while it runs, so that
//! a try that broke off goes on with the same order and does not count against a rate limit.

mod challenge;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::hex::HexBytes;

pub(crate) use challenge::{Challenge, ChallengeResolver, PROTOCOL};

/// An account at one authority.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AcmeAccount {
    /// The authority, by the address of its directory.
    pub(crate) directory: String,
    /// The account's address and private key, as the client writes them.
    pub(crate) credentials: HexBytes,
}

/// An order that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcmeOrder {
    /// The authority, by the address of its directory.
    pub directory: String,
    /// Where the order is asked about.
    pub url: String,
    /// The names it is for.
    pub names: Vec<String>,
    /// The signing request that goes with it, once one was sent.
    pub request: Option<Uuid>,
}

/// How an authority names a certificate it issued (RFC 9773): both parts as in the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateId {
    /// The key identifier of the issuer.
    pub authority_key: Vec<u8>,
    /// The serial number, as DER encodes its value.
    pub serial: Vec<u8>,
}

impl CertificateId {
    /// Reads it; `None` if the certificate does not name its issuer's key.
    pub(crate) fn parse(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let authority = certificate.extensions().iter().find_map(|extension| {
            match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(found) => found.key_identifier.as_ref(),
                _ => None,
            }
        })?;
        let serial = certificate.tbs_certificate.raw_serial().to_vec();
        Some(Self { authority_key: authority.0.to_vec(), serial })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junk_has_no_id() {
        for junk in [&b""[..], b"junk", &[0x30; 64]] {
            assert_eq!(CertificateId::parse(junk), None);
        }
    }
}
