//! Certificates of erasure: what was seen of the end of one recording, signed, for good.
//!
//! ```text
//! recseal certificate of erasure 1
//! number: 17                               from 1, without gaps
//! previous: 64 hexadecimal digits          SHA-256 of the text of certificate 16
//! issued at: 2026-11-27T20:15:22.123Z
//! recording: UUID
//! …
//! key: destroyed_verified                  four statements, each for itself: key,
//! history: was_in_clear                    history, metadata,
//! metadata: rows_overwritten_and_log_scrubbed
//! files: 1
//! file 1 overwrite: in_place_verified      and every file
//! …
//! below the block device: not attested     always
//! says: one sentence a line                what may be said of all this, and nothing else
//! signing key: 16 hexadecimal digits
//! signature: 128 hexadecimal digits        over all lines before `signing key:`
//! ```
//!
//! There is no line "erased". A certificate tells what was observed, and [`CertificateRefusal`]
//! is what the signer says to facts that contradict one another. Every line is explained in
//! `src/manual/erasure.md`, well enough to check one with `openssl` alone.
//!
//! Start reading at [`CertificateFacts`]. [`Finality`] is the second paper: it follows when no old
//! backup can bring the key back. [`chain`] looks at many together.
//!
//! # Invariants
//!
//! - Pure: who signs and who checks a signature comes in as a closure.
//! - Reading is strict: a text is taken only if writing it again gives the same bytes.
//! - The sentences are signed as they were written. A later program that finds better words still
//!   reads them.

pub mod chain;
mod fields;
mod finality;
mod page;
mod refusal;
mod sentences;
#[cfg(test)]
mod tests;
mod text;

use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::domain::doomed::{DoomedFile, DoomedKind, DoomedStep, FileEvidence};
use crate::domain::{ConversationId, DataKeyId, DestructionEvidence, JobId, RecordingId};

use super::{ErasureReason, SelectedBy, named};

pub use fields::{Field, fields};
pub use finality::Finality;
pub use page::{html, plain};
pub use refusal::CertificateRefusal;
pub use sentences::sentences;
pub use text::TextFault;

/// What certificates of erasure are signed as.
pub const CERTIFICATE_CONTEXT: &str = "recseal-erasure";
/// What statements of finality are signed as.
pub const FINALITY_CONTEXT: &str = "recseal-finality";

/// Id of a signing key, and a signature by it.
pub type Signed = ([u8; 8], [u8; 64]);

/// What a certificate says. Texts are kept to one line of at most 200 bytes when it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its number, from 1 without gaps.
    pub number: u64,
    /// SHA-256 of the text of the certificate before it; zeros for number 1.
    pub previous: [u8; 32],
    /// When it is issued.
    pub issued_at: Timestamp,
    /// Whose end it tells of.
    pub recording: RecordingId,
    /// The conversation it belonged to, if one was known.
    pub conversation: Option<ConversationId>,
    /// The key that sealed it.
    pub data_key: Option<DataKeyId>,
    /// The erasure it was part of.
    pub job: JobId,
    /// How it was chosen.
    pub selection: SelectedBy,
    /// Why it was erased.
    pub reason: ErasureReason,
    /// Who asked: a user name.
    pub requested_by: String,
    /// Who agreed, where a second person has to.
    pub approved_by: Option<String>,
    /// When it was marked.
    pub planned_at: Timestamp,
    /// When nothing was found to protect it: the point of no return.
    pub cleared_at: Timestamp,
    /// What became of its key.
    pub key: KeyFate,
    /// Newest key version that may have wrapped its key; 0 if it was sealed to a public key.
    pub key_version: Option<u32>,
    /// Id of that public key.
    pub sealed_to: Option<String>,
    /// Its files.
    pub files: Vec<CertifiedFile>,
    /// Whether it ever lay on disk in clear.
    pub history: History,
    /// What became of its rows in the catalog.
    pub metadata: MetadataFate,
    /// Backups that hold its wrapped key and are not known to be gone.
    pub backups: u64,
    /// `recseal 0.1.0`
    pub program: String,
    /// `Linux 6.18 x86_64`
    pub host: String,
}

named! {
    /// What became of the key of a recording.
    KeyFate {
        /// Its wrapped form was removed, looked for in the files of the catalog and not found.
        DestroyedVerified = "destroyed_verified",
        /// The same, on a medium that may keep old blocks where no program can look.
        DestroyedMediumUnattested = "destroyed_medium_unattested",
        /// Its wrapped form was removed and not looked for: a crash lost what to look for.
        DestroyedNotLookedFor = "destroyed_not_looked_for",
        /// There was none: the recording never was sealed.
        NonePlaintext = "none_plaintext",
    }
}

named! {
    /// What became of the rows that told about a recording.
    MetadataFate {
        /// Overwritten in the database, its log and its index.
        RowsOverwrittenAndLogScrubbed = "rows_overwritten_and_log_scrubbed",
        /// Overwritten; the log may hold what they were until it is written over.
        RowsOverwritten = "rows_overwritten",
        /// Not yet overwritten when the certificate was issued.
        Pending = "pending",
    }
}

/// Whether a recording lay on disk in clear before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum History {
    /// It was sealed as it came.
    NeverInClear,
    /// Its recorder wrote it in clear.
    WasInClear {
        /// What was seen when that original was destroyed. `None` if it is among the files of
        /// the certificate, or if nothing is known of its end.
        original: Option<DestructionEvidence>,
    },
}

/// One file of the recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedFile {
    /// What it was.
    pub kind: DoomedKind,
    /// Its length.
    pub bytes: u64,
    /// It was there.
    pub found: bool,
    /// What was seen of its end; of a file that was there always.
    pub evidence: Option<FileEvidence>,
}

impl From<&DoomedFile> for CertifiedFile {
    fn from(file: &DoomedFile) -> Self {
        let found = file.step != DoomedStep::Missing;
        let evidence = file.evidence.clone().filter(|_| found);
        Self { kind: file.kind, bytes: file.bytes, found, evidence }
    }
}

/// A signed certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasureCertificate {
    facts: CertificateFacts,
    says: Vec<String>,
    signed: Signed,
}

impl ErasureCertificate {
    /// Signs `facts` if they do not contradict one another. `sign` gets [`CERTIFICATE_CONTEXT`]
    /// and the message.
    ///
    /// # Errors
    ///
    /// [`CertificateRefusal`]: something is claimed that cannot have been observed. Nothing was
    /// signed.
    pub fn signed(
        mut facts: CertificateFacts,
        sign: impl FnOnce(&'static str, &[u8]) -> Signed,
    ) -> Result<Self, CertificateRefusal> {
        text::keep_to_lines(&mut facts);
        refusal::check(&facts)?;
        let says = sentences(&facts);
        let signed = sign(CERTIFICATE_CONTEXT, text::statement(&facts, &says).as_bytes());
        Ok(Self { facts, says, signed })
    }

    /// The certificate as a text file.
    pub fn to_text(&self) -> String {
        text::close(text::statement(&self.facts, &self.says), &self.signed)
    }

    /// Reads the text of [`Self::to_text`]. Says nothing about who made it: see [`Self::verify`].
    ///
    /// # Errors
    ///
    /// [`TextFault`] with the line, for anything else, be it one blank.
    pub fn parse(text: &str) -> Result<Self, TextFault> {
        let (facts, says, signed) = text::parse(text)?;
        let certificate = Self { facts, says, signed };
        text::same(&certificate.to_text(), text)?;
        Ok(certificate)
    }

    /// True if `is_signed` says so of context, message and signature.
    pub fn verify(&self, is_signed: impl FnOnce(&'static str, &[u8], &Signed) -> bool) -> bool {
        let statement = text::statement(&self.facts, &self.says);
        is_signed(CERTIFICATE_CONTEXT, statement.as_bytes(), &self.signed)
    }

    /// What it says.
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// The same in sentences, as they were signed.
    pub fn says(&self) -> &[String] {
        &self.says
    }

    /// Id of the key that signed it, as it claims.
    pub fn key_id(&self) -> [u8; 8] {
        self.signed.0
    }

    /// SHA-256 of its text: what the next certificate and its statement of finality hold.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.to_text().as_bytes()).into()
    }
}

/// Id of a key, or a hash, as it stands in a certificate.
pub fn hexadecimal(bytes: &[u8]) -> String {
    text::Hex(bytes).to_string()
}

/// Reads a certificate and the statement of finality that may follow it after an empty line: what
/// the daemon hands out and `recseal certificate ID -o FILE` saves.
///
/// # Errors
///
/// As [`ErasureCertificate::parse`].
pub fn parse_with_finality(
    text: &str,
) -> Result<(ErasureCertificate, Option<Finality>), TextFault> {
    match text.split_once(BETWEEN) {
        None => Ok((ErasureCertificate::parse(text)?, None)),
        Some((first, second)) => {
            let certificate = ErasureCertificate::parse(&format!("{first}\n"))?;
            let behind = first.lines().count() + 1;
            let finality = Finality::parse(second).map_err(|fault| fault.moved_by(behind))?;
            Ok((certificate, Some(finality)))
        }
    }
}

/// The text that [`parse_with_finality`] reads.
pub fn with_finality(certificate: &str, finality: Option<&str>) -> String {
    match finality {
        None => certificate.to_owned(),
        Some(finality) => format!("{certificate}\n{finality}"),
    }
}

const BETWEEN: &str = "\n\n";
