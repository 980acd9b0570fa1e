//! Certificate signing requests: the key is made here and stays here, the answer comes later.
//!
//! *If the power goes here, which good copy is left?* The key is stored with the request before
//! the request is handed out, and leaves the list in the same generation in which its
//! certificate is stored. So an answer of an authority always finds its key.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::stored_tls::PendingRequest;

/// Who carries a request to the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestPurpose {
    /// A person. Each call makes a new one.
    Manual,
    /// The ACME client. It has one at a time: the same names get the same request again, so that
    /// a retry finishes the order it began.
    Acme,
}

impl RequestPurpose {
    /// The word for JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Acme => "acme",
        }
    }
}

/// A request to hand to an authority. Public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// Names it when the answer comes.
    pub id: Uuid,
    /// PKCS#10, DER.
    pub der: Vec<u8>,
    /// The same as PEM.
    pub pem: String,
}

/// A request that waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestInfo {
    /// Names it when the answer comes.
    pub id: Uuid,
    /// Who carries it.
    pub purpose: RequestPurpose,
    /// What it asks for.
    pub names: Vec<String>,
    /// When it was made, in milliseconds since 1970.
    pub made_ms: i64,
}

impl From<&PendingRequest> for CertificateRequest {
    fn from(pending: &PendingRequest) -> Self {
        let der = pending.request.as_bytes().to_vec();
        let format = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let block = pem::Pem::new("CERTIFICATE REQUEST", der.as_slice());
        Self { id: pending.id, pem: pem::encode_config(&block, format), der }
    }
}

impl From<&PendingRequest> for RequestInfo {
    fn from(pending: &PendingRequest) -> Self {
        Self {
            id: pending.id,
            purpose: pending.purpose,
            names: pending.names.clone(),
            made_ms: pending.made_ms,
        }
    }
}
