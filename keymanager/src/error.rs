//! What can go wrong with keys, told by ids, versions and roles, never by paths or key bytes.

use std::io;

use uuid::Uuid;

use crate::authority::AuthorityError;
use crate::gate::Report;
use crate::key_state::{IllegalKeyTransition, KeyState};
use crate::seal_key::SealKeyError;
use crate::shares::ShareError;
use crate::slots::{SlotKind, SlotProblem};

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

    /// No slot that needs no person opens: somebody must unlock the keys.
    #[error("no unattended slot opens{}", reasons(refusals))]
    Locked {
        /// Why, one for each slot; empty if there is none.
        refusals: Vec<KeyError>,
    },
    /// What one slot opens with is not right.
    #[error("slot {slot} ({}) does not open", kind.as_str())]
    Slot {
        /// The slot.
        slot: Uuid,
        /// Its kind.
        kind: SlotKind,
        /// What is the matter.
        source: SlotProblem,
    },
    /// Such a slot cannot be made.
    #[error("a {} slot like this is not possible: {rule}", kind.as_str())]
    BadSlot {
        /// The kind asked for.
        kind: SlotKind,
        /// What it must be like.
        rule: &'static str,
    },
    /// The given shares cannot be put together.
    #[error("the shares cannot be used")]
    Shares {
        /// Why.
        source: ShareError,
    },
    /// They belong together, but to no slot here.
    #[error("no slot was made with this set of shares")]
    UnknownShares,
    /// A generation that was set aside would become unreadable for ever.
    #[error("generation {generation} was set aside as damaged and is not dealt with")]
    Unrepaired {
        /// The generation.
        generation: u64,
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
    /// The active version wraps every new data key: it can only be replaced.
    #[error("key version {version} is the active one")]
    ActiveVersion {
        /// The version.
        version: u32,
    },
    /// The life of a version does not go that way.
    #[error("key version {version} is {}: that cannot be done with it", source.from.as_str())]
    IllegalKeyTransition {
        /// The version.
        version: u32,
        /// From which state it was tried.
        source: IllegalKeyTransition,
    },
    /// No number is left for another version.
    #[error("the key store has its {max} key versions already")]
    TooManyVersions {
        /// The limit.
        max: usize,
    },
    /// A generation that was set aside as damaged may hold the key that is to be destroyed.
    #[error("the damaged generation {generation} may still hold it")]
    DamagedGenerationLeft {
        /// Its number, as in `damaged-gen-N`.
        generation: u64,
    },
    /// What was just written does not read back.
    #[error("generation {generation} does not read back")]
    NotReadBack {
        /// Its number.
        generation: u64,
    },
    /// Not the text of a certificate of key destruction.
    #[error("the certificate of destruction cannot be read")]
    TombstoneDamaged,
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

    /// The internal authority refuses.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The file of further authorities for clients is no PEM with certificates.
    #[error("the certificates of the other authorities cannot be read")]
    OtherAuthorities,
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

    /// A seal key was refused, or what is sealed to one.
    #[error(transparent)]
    SealKey(#[from] SealKeyError),
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
            | Self::Locked { .. }
            | Self::Slot { .. }
            | Self::BadSlot { .. }
            | Self::Shares { .. }
            | Self::UnknownShares
            | Self::Unrepaired { .. }
            | Self::ForeignSlots
            | Self::NoGeneration { .. }
            | Self::LaterFormat { .. }
            | Self::Inconsistent { .. }
            | Self::MalformedWrappedKey { .. }
            | Self::UnknownVersion { .. }
            | Self::VersionUnavailable { .. }
            | Self::ActiveVersion { .. }
            | Self::IllegalKeyTransition { .. }
            | Self::TooManyVersions { .. }
            | Self::DamagedGenerationLeft { .. }
            | Self::NotReadBack { .. }
            | Self::TombstoneDamaged
            | Self::Unwrap { .. }
            | Self::BadNames { .. }
            | Self::Issue { .. }
            | Self::CertificateDamaged
            | Self::Tls { .. }
            | Self::Authority(_)
            | Self::OtherAuthorities
            | Self::Refused { .. }
            | Self::NothingNew
            | Self::UnknownCertificate { .. }
            | Self::UnknownRequest { .. }
            | Self::TooManyRequests { .. }
            | Self::PublicKeysDamaged
            | Self::UnknownSigner { .. }
            | Self::SealKey(_)
            | Self::BadSignature => false,
        }
    }

    /// For `map_err`: names the act and keeps the cause.
    pub(crate) fn disk(act: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk { act, source }
    }
}

/// `: reason; reason`, with their causes.
fn reasons(refusals: &[KeyError]) -> String {
    let mut text = String::new();
    for (number, refusal) in refusals.iter().enumerate() {
        text.push_str(if number == 0 { ": " } else { "; " });
        text.push_str(&chain(refusal));
    }
    text
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
