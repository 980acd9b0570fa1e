//! The TLS part of the store: the certificate that is served, those before it, the one that
//! waits for its day, and the requests that wait for an authority.
//!
//! ```text
//! request ──complete──▶ staged ──not_before + 5 min──▶ live ──replaced──▶ previous (≤ 3)
//!    └──────────────────────────────────────────────────▲ │◀──rollback──────┘
//! ```
//!
//! Each entry has chain and key together, so no order of events can pair a chain with the key of
//! another one.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::certificate::Issued;
use crate::error::KeyError;
use crate::hex::HexBytes;
use crate::request::RequestPurpose;
use crate::tls::Certified;

/// Where a certificate came from. Decides who renews it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateSource {
    /// Issued by itself; renewed by the key manager alone.
    SelfSigned,
    /// Issued by the internal authority.
    InternalCa,
    /// Brought by a person, or issued for a request that a person carried to an authority.
    Imported,
    /// Read from files that someone else renews.
    Files,
    /// Issued over ACME.
    Acme,
}

impl CertificateSource {
    /// The word for status, JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SelfSigned => "self-signed",
            Self::InternalCa => "internal-ca",
            Self::Imported => "imported",
            Self::Files => "files",
            Self::Acme => "acme",
        }
    }
}

/// A chain with its key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredCertificate {
    pub(crate) id: Uuid,
    pub(crate) source: CertificateSource,
    /// DER, the server's own certificate first.
    pub(crate) chain: Vec<HexBytes>,
    /// PKCS#8.
    pub(crate) key: HexBytes,
    /// When it was stored, in milliseconds since 1970.
    pub(crate) stored_ms: i64,
}

impl StoredCertificate {
    /// Takes a new self-signed certificate.
    pub(crate) fn self_signed(issued: Issued, now_ms: i64) -> Self {
        Self {
            id: Uuid::now_v7(),
            source: CertificateSource::SelfSigned,
            chain: vec![issued.certificate],
            key: issued.key,
            stored_ms: now_ms,
        }
    }

    /// Checks that certificate and key can serve.
    pub(crate) fn certified(&self) -> Result<Certified, KeyError> {
        Certified::new(&self.chain, &self.key)
    }

    /// True if both would serve the same bytes.
    pub(crate) fn serves_the_same(&self, chain: &[HexBytes]) -> bool {
        let bytes = |der: &HexBytes| der.as_bytes().to_vec();
        self.chain.iter().map(bytes).eq(chain.iter().map(bytes))
    }
}

/// A request whose answer is awaited, with its key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PendingRequest {
    pub(crate) id: Uuid,
    pub(crate) purpose: RequestPurpose,
    pub(crate) names: Vec<String>,
    /// PKCS#10, DER.
    pub(crate) request: HexBytes,
    /// PKCS#8.
    pub(crate) key: HexBytes,
    /// When it was made, in milliseconds since 1970.
    pub(crate) made_ms: i64,
}

/// The TLS part of the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredTls {
    /// What a self-signed certificate is issued for.
    pub(crate) names: Vec<String>,
    pub(crate) live: StoredCertificate,
    /// Passed the gate; becomes live when it is valid.
    #[serde(default)]
    pub(crate) staged: Option<StoredCertificate>,
    /// Newest first, at most [`PREVIOUS_MAX`].
    #[serde(default)]
    pub(crate) previous: Vec<StoredCertificate>,
    /// Oldest first, at most [`REQUESTS_MAX`].
    #[serde(default)]
    pub(crate) request: Vec<PendingRequest>,
}

impl StoredTls {
    /// The first certificate of a store.
    pub(crate) fn new(names: &[String], live: StoredCertificate) -> Self {
        Self {
            names: names.to_vec(),
            live,
            staged: None,
            previous: Vec::new(),
            request: Vec::new(),
        }
    }

    /// Makes `next` live; what was live is kept as the newest previous one.
    pub(crate) fn advance(&mut self, next: StoredCertificate) {
        let replaced = std::mem::replace(&mut self.live, next);
        self.previous.insert(0, replaced);
        self.previous.truncate(PREVIOUS_MAX);
    }

    #[cfg(test)]
    pub(crate) fn expose_key(&self) -> &[u8] {
        self.live.key.as_bytes()
    }
}

/// Certificates kept for a rollback.
pub(crate) const PREVIOUS_MAX: usize = 3;
/// Requests waiting at the same time.
pub(crate) const REQUESTS_MAX: usize = 4;
