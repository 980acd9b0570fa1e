//! What the gate found: stable codes, a sentence each, and what to do about it.

use std::fmt;

use crate::certificate::CertificateFacts;

/// What one check is about. Part of the interface: programs branch on [`GateCode::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GateCode {
    /// No certificate in the file.
    PemEmpty,
    /// A block begins and does not end, or its text is not base64.
    PemTruncated,
    /// A certificate or key inside is not what its label says.
    Malformed,
    /// More bytes or certificates than any real chain has.
    TooLarge,
    /// No private key.
    NoKey,
    /// Several private keys.
    SeveralKeys,
    /// The key needs a password and there is none, or it is the wrong one.
    KeyEncrypted,
    /// Encrypted in a way that is too old to be read.
    LegacyEncryption,
    /// The key is another certificate's.
    KeyMismatch,
    /// A key that can be broken, or of a kind that TLS does not use.
    KeyWeak,
    /// Strong, but browsers do not take it.
    KeyUnusual,
    /// A signature that can be forged.
    SigWeak,
    /// Over, or over within the hour.
    Expired,
    /// Begins in the future: kept until then.
    NotYetValid,
    /// Not for the names that this server is asked for.
    WrongNames,
    /// Not for servers.
    WrongUsage,
    /// The certificate of an authority, not of a server.
    IsCa,
    /// The authority came before the server: put right.
    CaFirst,
    /// An issuer is missing between the certificate and a root.
    ChainIncomplete,
    /// Something that does not belong to the chain was left out.
    Unrelated,
    /// A root in the chain was left out: clients have their own.
    RootRemoved,
    /// The root is known only to those it was given to.
    PrivateRoot,
    /// The same authority gave the same number before.
    DuplicateSerial,
    /// Issued before the one that is served.
    OlderThanLive,
    /// Browsers will not accept such a long life.
    TooLong,
    /// Two programs could not connect with it.
    Handshake,
    /// One that waited for its day was dropped for this one.
    StagedDropped,
}

impl GateCode {
    /// The word for JSON and scripts. Never rename one.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PemEmpty => "pem-empty",
            Self::PemTruncated => "pem-truncated",
            Self::Malformed => "malformed",
            Self::TooLarge => "too-large",
            Self::NoKey => "no-key",
            Self::SeveralKeys => "several-keys",
            Self::KeyEncrypted => "key-encrypted",
            Self::LegacyEncryption => "legacy-encryption",
            Self::KeyMismatch => "key-mismatch",
            Self::KeyWeak => "key-weak",
            Self::KeyUnusual => "key-unusual",
            Self::SigWeak => "sig-weak",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::WrongNames => "wrong-names",
            Self::WrongUsage => "wrong-usage",
            Self::IsCa => "is-ca",
            Self::CaFirst => "ca-first",
            Self::ChainIncomplete => "chain-incomplete",
            Self::Unrelated => "unrelated",
            Self::RootRemoved => "root-removed",
            Self::PrivateRoot => "private-root",
            Self::DuplicateSerial => "duplicate-serial",
            Self::OlderThanLive => "older-than-live",
            Self::TooLong => "too-long",
            Self::Handshake => "handshake",
            Self::StagedDropped => "staged-dropped",
        }
    }
}

/// One thing that the gate found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable code.
    pub code: GateCode,
    /// What is the matter.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// A finding that keeps the certificate out.
pub type Refusal = Finding;
/// A finding that a person should know of.
pub type Notice = Finding;

impl Finding {
    pub(crate) fn new(code: GateCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

/// Everything the gate has to say about one candidate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Why it is kept out; empty if it may be used.
    pub refusals: Vec<Refusal>,
    /// What a person should know.
    pub notices: Vec<Notice>,
    /// What the certificate says about itself, as far as it could be read.
    pub facts: Option<CertificateFacts>,
    /// When it becomes usable, in milliseconds since 1970; `None`: at once.
    pub staged_until_ms: Option<i64>,
}

impl Report {
    /// True if it may be used.
    pub fn passed(&self) -> bool {
        self.refusals.is_empty()
    }

    pub(crate) fn refuse(
        &mut self,
        code: GateCode,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.refusals.push(Finding::new(code, message, hint));
    }

    pub(crate) fn note(
        &mut self,
        code: GateCode,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.notices.push(Finding::new(code, message, hint));
    }
}

impl From<Refusal> for Report {
    fn from(refusal: Refusal) -> Self {
        Self { refusals: vec![refusal], ..Self::default() }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, refusal) in self.refusals.iter().enumerate() {
            let separator = if number > 0 { "; " } else { "" };
            write!(f, "{separator}{refusal}")?;
        }
        Ok(())
    }
}
