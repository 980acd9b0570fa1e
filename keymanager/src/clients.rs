//! Clients that show a certificate: who checks it at the handshake, and what it says.
//!
//! Our own clients are checked against the issuing authorities that are accepted, each with its
//! revocation list, and a list that is over refuses everybody rather than nobody. Clients of an
//! authority that the configuration names are checked against that one, without a list.
//!
//! A handshake proves only its moment. [`KeyManager::client_names`](crate::KeyManager) is asked
//! again for every request, and a listener that asks for certificates resumes no session
//! (`tls.rs`): a resumed one would let in a certificate that is over.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore};
use rustls::{Error, SignatureScheme};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authority::{Authority, CLIENT_URI};
use crate::error::KeyError;
use crate::hex;

/// Which clients may show a certificate.
#[derive(Clone, Debug, Default)]
pub struct ClientPolicy {
    /// False: nobody is asked for one.
    pub ask: bool,
    /// PEM of authorities besides our own, public.
    pub other_authorities: Vec<u8>,
}

/// What a client's certificate says. The handshake proved that the client has its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its serial, hexadecimal.
    pub serial: String,
    /// SHA-256 of its DER, hexadecimal.
    pub sha256: String,
    /// Valid from, in milliseconds since 1970.
    pub not_before_ms: i64,
    /// Valid until.
    pub not_after_ms: i64,
    /// The name in our own URI, if there is one.
    own_name: Option<String>,
    /// Host names; the common name where there are none.
    other_names: Vec<String>,
    /// Common name of the issuer.
    issuer: String,
}

/// Why a client's certificate is not accepted for this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientRefusal {
    /// It begins later.
    #[error("the client's certificate is not valid yet")]
    NotYetValid,
    /// It is over.
    #[error("the client's certificate is over")]
    Expired,
    /// It was revoked, or its authority was.
    #[error("the client's certificate is revoked")]
    Revoked,
    /// It is of no authority that is accepted now.
    #[error("the client's certificate is of no accepted authority")]
    Unknown,
}

impl ClientCertificate {
    /// Reads the first certificate that a client showed.
    ///
    /// # Errors
    ///
    /// [`KeyError::CertificateDamaged`].
    pub fn parse(der: &[u8]) -> Result<Self, KeyError> {
        let damaged = |_| KeyError::CertificateDamaged;
        let (_, certificate) = X509Certificate::from_der(der).map_err(damaged)?;
        let common_name = |name: &x509_parser::x509::X509Name<'_>| {
            name.iter_common_name().next().and_then(|cn| cn.as_str().ok()).map(str::to_owned)
        };
        let names = certificate.subject_alternative_name();
        let names = names.map_err(|_| KeyError::CertificateDamaged)?;
        let (mut own_name, mut other_names) = (None, Vec::new());
        for name in names.iter().flat_map(|names| &names.value.general_names).take(NAMES_MAX) {
            match name {
                GeneralName::URI(uri) => {
                    own_name = own_name.or_else(|| Some(uri.strip_prefix(CLIENT_URI)?.to_owned()));
                }
                GeneralName::DNSName(name) => other_names.push((*name).to_owned()),
                // Other kinds do not name a client.
                _ => {}
            }
        }
        if other_names.is_empty() {
            other_names.extend(common_name(certificate.subject()));
        }
        let validity = certificate.validity();
        let serial = certificate.raw_serial();
        let serial = &serial[serial.iter().take_while(|byte| **byte == 0).count()..];
        Ok(Self {
            serial: hex::encode(serial).to_string(),
            sha256: hex::encode(digest::digest(&digest::SHA256, der).as_ref()).to_string(),
            not_before_ms: validity.not_before.timestamp().saturating_mul(1_000),
            not_after_ms: validity.not_after.timestamp().saturating_mul(1_000),
            own_name,
            other_names,
            issuer: common_name(certificate.issuer()).unwrap_or_default(),
        })
    }

    /// The names it may be known by, if it is accepted at `now_ms`.
    pub(crate) fn names(
        &self,
        authority: Option<&Authority>,
        has_other_authorities: bool,
        now_ms: i64,
    ) -> Result<Vec<String>, ClientRefusal> {
        if now_ms < self.not_before_ms {
            return Err(ClientRefusal::NotYetValid);
        }
        if now_ms > self.not_after_ms {
            return Err(ClientRefusal::Expired);
        }
        if let Some(authority) = authority.filter(|authority| authority.is_ours(&self.issuer)) {
            let record = authority.ledger.get(&self.serial).ok_or(ClientRefusal::Unknown)?;
            if record.sha256 != self.sha256 {
                return Err(ClientRefusal::Unknown);
            }
            if record.revoked.is_some() || !authority.accepts(record.issuer) {
                return Err(ClientRefusal::Revoked);
            }
            return Ok(self.own_name.iter().cloned().collect());
        }
        if !has_other_authorities {
            return Err(ClientRefusal::Unknown);
        }
        Ok(self.other_names.clone())
    }
}

/// Who checks clients, as `policy` and the authority stand; `None` if nobody is asked.
///
/// # Errors
///
/// [`KeyError::OtherAuthorities`] if those of the policy cannot be read.
pub(crate) fn verifier(
    policy: &ClientPolicy,
    authority: Option<&Authority>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, KeyError> {
    if !policy.ask {
        return Ok(None);
    }
    let mut verifiers = Vec::new();
    if let Some(authority) = authority {
        let (mut anchors, mut lists) = (RootCertStore::empty(), Vec::new());
        for (certificate, list) in authority.accepted() {
            let certificate = CertificateDer::from(certificate);
            anchors.add(certificate).map_err(|source| KeyError::Tls { source })?;
            lists.push(CertificateRevocationListDer::from(list.to_vec()));
        }
        verifiers.push(build(anchors, lists)?);
    }
    if !policy.other_authorities.is_empty() {
        verifiers.push(build(other_anchors(&policy.other_authorities)?, Vec::new())?);
    }
    if verifiers.is_empty() {
        return Ok(None);
    }
    let hints = verifiers.iter().flat_map(|one| one.root_hint_subjects().to_vec()).collect();
    Ok(Some(Arc::new(Verifiers { verifiers, hints })))
}

fn other_anchors(pem: &[u8]) -> Result<RootCertStore, KeyError> {
    let blocks = Some(pem).filter(|pem| pem.len() <= AUTHORITIES_BYTES_MAX);
    let blocks = blocks.and_then(|pem| pem::parse_many(pem).ok());
    let mut anchors = RootCertStore::empty();
    for block in blocks.ok_or(KeyError::OtherAuthorities)? {
        if block.tag() == "CERTIFICATE" {
            let added = anchors.add(CertificateDer::from(block.into_contents()));
            added.map_err(|_| KeyError::OtherAuthorities)?;
        }
    }
    if anchors.is_empty() { Err(KeyError::OtherAuthorities) } else { Ok(anchors) }
}

fn build(
    anchors: RootCertStore,
    lists: Vec<CertificateRevocationListDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, KeyError> {
    let crypto: Arc<CryptoProvider> = Arc::new(provider::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(anchors.into(), crypto);
    if !lists.is_empty() {
        // Only of the client itself: our authorities are anchors, there is nothing above them.
        builder = builder
            .with_crls(lists)
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration();
    }
    let built = builder.allow_unauthenticated().build();
    built.map_err(|error| KeyError::Tls { source: Error::General(error.to_string()) })
}

/// The first that knows the issuer decides. Never empty.
#[derive(Debug)]
struct Verifiers {
    verifiers: Vec<Arc<dyn ClientCertVerifier>>,
    hints: Vec<DistinguishedName>,
}

impl ClientCertVerifier for Verifiers {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for verifier in &self.verifiers {
            match verifier.verify_client_cert(end_entity, intermediates, now) {
                Err(error) if error == unknown => {}
                decided => return decided,
            }
        }
        Err(unknown)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifiers[0].verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifiers[0].verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifiers[0].supported_verify_schemes()
    }
}

const NAMES_MAX: usize = 100;
const AUTHORITIES_BYTES_MAX: usize = 1 << 20;
