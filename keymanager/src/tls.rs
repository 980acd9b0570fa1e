//! The TLS identity: one whole server configuration, published for every listener.
//!
//! A renewal swaps the configuration, not only the certificate: sessions belong to the old
//! configuration, so none is resumed under the old certificate. A listener asks
//! [`TlsIdentity::current`] for every connection; open connections keep what they began with.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::acme::{Challenge, ChallengeResolver, PROTOCOL};
use crate::certificate::CertificateFacts;
use crate::error::KeyError;
use crate::hex::HexBytes;

/// What a listener serves and what may be told about it.
#[derive(Debug)]
pub struct TlsIdentity(ArcSwap<Published>);

impl TlsIdentity {
    /// The configuration for the next connection: TLS 1.2 and 1.3, h2 and http/1.1.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.load().config)
    }

    /// What the certificate says about itself.
    pub fn facts(&self) -> CertificateFacts {
        self.0.load().serving.certified.facts.clone()
    }

    /// The certificate chain as PEM, for clients to trust. Public.
    pub fn chain_pem(&self) -> String {
        self.0.load().serving.certified.chain_pem.clone()
    }

    /// The server's own certificate, DER.
    pub(crate) fn certificate_der(&self) -> Vec<u8> {
        self.0.load().serving.certified.key.cert.first().map_or_else(Vec::new, |der| der.to_vec())
    }

    pub(crate) fn new(certified: Certified) -> Result<Self, KeyError> {
        let serving = Serving { certified, clients: None, challenges: Vec::new() };
        Ok(Self(ArcSwap::from_pointee(Published::new(serving)?)))
    }

    /// What would be served after `change`; [`publish`](Self::publish) it once it is durable.
    /// Whoever does both holds the writer's lock.
    pub(crate) fn prepare(&self, change: impl FnOnce(&mut Serving)) -> Result<Published, KeyError> {
        let mut serving = self.0.load().serving.clone();
        change(&mut serving);
        Published::new(serving)
    }

    pub(crate) fn publish(&self, published: Published) {
        self.0.store(Arc::new(published));
    }
}

/// Everything that goes into the next server configuration.
#[derive(Clone, Debug)]
pub(crate) struct Serving {
    pub(crate) certified: Certified,
    /// Who checks the certificates of clients; `None` asks for none.
    pub(crate) clients: Option<Arc<dyn ClientCertVerifier>>,
    /// Proofs for an authority that is asked for a certificate now.
    pub(crate) challenges: Vec<Challenge>,
}

/// A certificate with its key, proved to belong together.
#[derive(Clone, Debug)]
pub(crate) struct Certified {
    key: Arc<CertifiedKey>,
    facts: CertificateFacts,
    chain_pem: String,
}

impl Certified {
    /// Checks that a chain (DER, the server's own certificate first) and a key (PKCS#8) can serve.
    pub(crate) fn new(chain: &[HexBytes], key: &HexBytes) -> Result<Self, KeyError> {
        let tls = |source| KeyError::Tls { source };
        let own = chain.first().ok_or(KeyError::CertificateDamaged)?;
        let facts = CertificateFacts::parse(own.as_bytes())?;
        // Borrowed: the key is not copied on its way into the signer.
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.as_bytes()));
        let signer = aws_lc_rs::sign::any_supported_type(&key).map_err(tls)?;
        let ders = chain.iter().map(|der| CertificateDer::from(der.as_bytes().to_vec()));
        let key = CertifiedKey::new(ders.collect(), signer);
        key.keys_match().map_err(tls)?;
        Ok(Self { key: Arc::new(key), facts, chain_pem: to_pem(chain) })
    }

    /// What the certificate says about itself.
    pub(crate) fn facts(&self) -> &CertificateFacts {
        &self.facts
    }
}

/// Certificates as PEM, in their order.
pub(crate) fn to_pem(chain: &[HexBytes]) -> String {
    let blocks = chain.iter().map(|der| pem::Pem::new("CERTIFICATE", der.as_bytes()));
    let format = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_many_config(&blocks.collect::<Vec<_>>(), format)
}

/// Everything that changes together.
#[derive(Debug)]
pub(crate) struct Published {
    config: Arc<ServerConfig>,
    serving: Serving,
}

impl Published {
    /// The configuration to connect with.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    pub(crate) fn new(serving: Serving) -> Result<Self, KeyError> {
        let tls = |source| KeyError::Tls { source };
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(tls)?;
        let builder = match &serving.clients {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        };
        let usual = Arc::clone(&serving.certified.key);
        let mut protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let resolver: Arc<dyn ResolvesServerCert> = if serving.challenges.is_empty() {
            Arc::new(SingleCertAndKey::from(usual))
        } else {
            protocols.push(PROTOCOL.to_vec());
            Arc::new(ChallengeResolver::new(usual, &serving.challenges))
        };
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols = protocols;
        if serving.clients.is_some() {
            // A resumed session skips the look at the client's certificate: one that is over, or
            // revoked, would be let in again.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self { config: Arc::new(config), serving })
    }
}
