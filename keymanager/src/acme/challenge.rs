//! Proofs over TLS: what is answered to an authority that connects and asks for `acme-tls/1`.
//!
//! The proof is served on the very listener that serves everybody else, and only to a client that
//! offers exactly this protocol; whoever offers anything else gets the certificate as always.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::error::KeyError;

/// The proof for one name (RFC 8737). Kept in memory only, while an order runs.
#[derive(Clone, Debug)]
pub(crate) struct Challenge {
    server_name: String,
    key: Arc<CertifiedKey>,
}

impl Challenge {
    /// Makes the proof for `name`; `digest` is the SHA-256 of the key authorization.
    pub(crate) fn new(name: &str, digest: &[u8; 32]) -> Result<Self, KeyError> {
        if ServerName::try_from(name).is_err() {
            return Err(KeyError::BadNames { max: 1 });
        }
        let issue = |source| KeyError::Issue { source };
        let pair = KeyPair::generate().map_err(issue)?;
        let mut params = CertificateParams::new([name.to_owned()]).map_err(issue)?;
        params.distinguished_name = DistinguishedName::new();
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let certificate = params.self_signed(&pair).map_err(issue)?;
        let pkcs8 = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialized_der()));
        let signer = aws_lc_rs::sign::any_supported_type(&pkcs8)
            .map_err(|source| KeyError::Tls { source })?;
        // Not `from_der`: it wants a certificate that could serve, and a critical extension that
        // it does not know is no such thing.
        let key = Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signer));
        Ok(Self { server_name: server_name(name), key })
    }
}

/// Answers with the proofs where they are asked for, and with the certificate everywhere else.
pub(crate) struct ChallengeResolver {
    usual: Arc<CertifiedKey>,
    challenges: Vec<Challenge>,
}

impl ChallengeResolver {
    pub(crate) fn new(usual: Arc<CertifiedKey>, challenges: &[Challenge]) -> Self {
        Self { usual, challenges: challenges.to_vec() }
    }
}

impl ResolvesServerCert for ChallengeResolver {
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asks_for_proof = client.alpn().is_some_and(|offered| offered.eq([PROTOCOL]));
        if !asks_for_proof {
            return Some(Arc::clone(&self.usual));
        }
        let name = client.server_name()?;
        let is_it = |challenge: &&Challenge| challenge.server_name.eq_ignore_ascii_case(name);
        self.challenges.iter().find(is_it).map(|challenge| Arc::clone(&challenge.key))
    }
}

impl fmt::Debug for ChallengeResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChallengeResolver").finish_non_exhaustive()
    }
}

/// The name under which an authority connects for `name`: an address is asked for in its reversed
/// form (RFC 8738).
fn server_name(name: &str) -> String {
    match name.parse::<IpAddr>() {
        Err(_) => name.to_ascii_lowercase(),
        Ok(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Ok(IpAddr::V6(address)) => {
            let nibbles =
                address.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            let digits: Vec<String> = nibbles.map(|nibble| format!("{nibble:x}")).collect();
            format!("{}.ip6.arpa", digits.join("."))
        }
    }
}

/// What an authority offers, and nobody else.
pub(crate) const PROTOCOL: &[u8] = b"acme-tls/1";

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    #[test]
    fn addresses_are_asked_for_in_reverse() {
        assert_eq!(server_name("A.Example"), "a.example");
        assert_eq!(server_name("192.0.2.7"), "7.2.0.192.in-addr.arpa");
        let six = server_name("2001:db8::1");
        assert!(six.starts_with("1.0.0.0.") && six.ends_with("8.b.d.0.1.0.0.2.ip6.arpa"), "{six}");
    }

    /// The extension must be critical and hold the digest (RFC 8737, section 3).
    #[test]
    fn a_challenge_certificate_carries_the_proof() {
        let challenge = Challenge::new("a.example", &[7; 32]).unwrap();
        let (_, certificate) = X509Certificate::from_der(&challenge.key.cert[0]).unwrap();
        let proof = certificate
            .extensions()
            .iter()
            .find(|extension| extension.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
            .unwrap();
        assert!(proof.critical);
        assert_eq!(proof.value, [&[4, 32][..], &[7; 32]].concat());
        assert!(Challenge::new("not a name", &[0; 32]).is_err());
    }
}
