//! What can go wrong with keys, told by ids, versions and roles, never by paths or key bytes.

use std::io;

use uuid::Uuid;

use crate::gate::Report;
use crate::key_state::KeyState;
use crate::slots::SlotKind;

/// Why a key operation failed. The store on disk is what it was before, unless a variant says
/// otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The folder holds no key store.
    #[error("there is no key store in this folder")]
    NoStore,
    /// `create` was asked to write over an existing store.
    #[error("this folder holds a key store already")]
    Exists,
    /// The lock is held elsewhere.
    #[error("another process uses this key store")]
    InUse,
    /// A file operation failed. After a failed change the store opens with the old or with the
    /// new content; both are whole.
    #[error("{act}")]
    Disk {
        /// What was being done.
        act: &'static str,
        /// Why it failed.
        source: io::Error,
    },

    /// `slots.json` cannot be read as a slot table.
    #[error("the slot table is damaged")]
    SlotsDamaged,
    /// No slot of the kind that was to unlock.
    #[error("the key store has no {} slot", kind.as_str())]
    NoSuchSlot {
        /// The kind asked for.
        kind: SlotKind,
    },
    /// No passphrase slot opens with it.
    #[error("the passphrase opens no slot")]
    WrongPassphrase,
    /// `root.key` is not the one its slot was made with, or one of the two is damaged.
    #[error("the root key file does not fit its slot {slot}")]
    WrongKeyFile {
        /// The slot.
        slot: Uuid,
    },
    /// A new passphrase is too short or too long.
    #[error("a passphrase needs {min_bytes} to {max_bytes} bytes")]
    PassphraseLength {
        /// Shortest.
        min_bytes: usize,
        /// Longest.
        max_bytes: usize,
    },
    /// The table is full.
    #[error("the key store has its {max} slots already")]
    TooManySlots {
        /// The limit.
        max: usize,
    },
    /// No slot has this id.
    #[error("there is no slot {id}")]
    UnknownSlot {
        /// The id asked for.
        id: Uuid,
    },
    /// Removing it would lock everyone out for ever.
    #[error("slot {id} is the last one")]
    LastSlot {
        /// The slot.
        id: Uuid,
    },

    /// The slots unlock another store than the one beside them.
    #[error("the slot table belongs to another key store")]
    ForeignSlots,
    /// Every stored generation is damaged or missing.
    #[error("none of {tried} stored generations can be opened")]
    NoGeneration {
        /// How many were tried.
        tried: usize,
    },
    /// It is authentic, but this program does not understand it.
    #[error("generation {generation} was written by a later version of this program")]
    LaterFormat {
        /// The generation.
        generation: u64,
    },
    /// It is authentic, but breaks a rule that every store keeps.
    #[error("the stored keys contradict themselves: {rule}")]
    Inconsistent {
        /// The rule.
        rule: &'static str,
    },

    /// Not the length or version number of a wrapped key.
    #[error("a wrapped key of {actual_bytes} bytes cannot be read")]
    MalformedWrappedKey {
        /// Its length.
        actual_bytes: usize,
    },
    /// This store never had it, or has lost it: an older generation was opened.
    #[error("there is no key version {version}")]
    UnknownVersion {
        /// The version that the wrapped key names.
        version: u32,
    },
    /// The version may not be used in this state.
    #[error("key version {version} is {}", state.as_str())]
    VersionUnavailable {
        /// The version.
        version: u32,
        /// Its state.
        state: KeyState,
    },
    /// The wrapped key is another recording's, or damaged; nothing can tell the two apart.
    #[error("the wrapped key is damaged or not that of recording {recording}")]
    Unwrap {
        /// The recording asked for.
        recording: Uuid,
        /// The version that the wrapped key names.
        version: u32,
    },

    /// A certificate cannot be issued for these names.
    #[error("a certificate needs 1 to {max} host names or addresses, each valid")]
    BadNames {
        /// Most names.
        max: usize,
    },
    /// The certificate could not be made.
    #[error("issuing the certificate")]
    Issue {
        /// Why.
        source: rcgen::Error,
    },
    /// A certificate cannot be parsed.
    #[error("the certificate cannot be read")]
    CertificateDamaged,
    /// The certificate and its key cannot serve TLS.
    #[error("the certificate cannot serve TLS")]
    Tls {
        /// Why.
        source: rustls::Error,
    },

    /// The gate keeps the certificate out.
    #[error("the certificate is refused: {report}")]
    Refused {
        /// Every refusal with its hint.
        report: Box<Report>,
    },
    /// It is served already, or waits for its day.
    #[error("this very certificate is in use already")]
    NothingNew,
    /// No stored certificate has this id, or there is none before the live one.
    #[error("there is no such previous certificate")]
    UnknownCertificate {
        /// The id asked for; `None`: the newest one.
        id: Option<Uuid>,
    },
    /// No request has this id, or it was answered.
    #[error("there is no request {id}")]
    UnknownRequest {
        /// The id asked for.
        id: Uuid,
    },
    /// The list is full.
    #[error("{max} requests wait for an answer already")]
    TooManyRequests {
        /// The limit.
        max: usize,
    },

    /// The text holds no public signing key, or something else as well.
    #[error("the public keys cannot be read")]
    PublicKeysDamaged,
    /// None of the given public keys made it.
    #[error("the signature is by key {key_id}, which is not among the given ones")]
    UnknownSigner {
        /// Id of the signing key, in hexadecimal.
        key_id: String,
    },
    /// The message, its context or the signature were changed.
    #[error("the signature does not fit")]
    BadSignature,
}

impl KeyError {
    /// Worth the same try again later; everything else needs a person or another input.
    pub fn is_transient(&self) -> bool {
        use io::ErrorKind::{Interrupted, QuotaExceeded, ResourceBusy, StorageFull, TimedOut};
        match self {
            Self::InUse => true,
            Self::Disk { source, .. } => matches!(
                source.kind(),
                Interrupted | QuotaExceeded | ResourceBusy | StorageFull | TimedOut
            ),
            Self::NoStore
            | Self::Exists
            | Self::SlotsDamaged
            | Self::NoSuchSlot { .. }
            | Self::WrongPassphrase
            | Self::WrongKeyFile { .. }
            | Self::PassphraseLength { .. }
            | Self::TooManySlots { .. }
            | Self::UnknownSlot { .. }
            | Self::LastSlot { .. }
            | Self::ForeignSlots
            | Self::NoGeneration { .. }
            | Self::LaterFormat { .. }
            | Self::Inconsistent { .. }
            | Self::MalformedWrappedKey { .. }
            | Self::UnknownVersion { .. }
            | Self::VersionUnavailable { .. }
            | Self::Unwrap { .. }
            | Self::BadNames { .. }
            | Self::Issue { .. }
            | Self::CertificateDamaged
            | Self::Tls { .. }
            | Self::Refused { .. }
            | Self::NothingNew
            | Self::UnknownCertificate { .. }
            | Self::UnknownRequest { .. }
            | Self::TooManyRequests { .. }
            | Self::PublicKeysDamaged
            | Self::UnknownSigner { .. }
            | Self::BadSignature => false,
        }
    }

    /// For `map_err`: names the act and keeps the cause.
    pub(crate) fn disk(act: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk { act, source }
    }
}

/// `error` and its sources on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
