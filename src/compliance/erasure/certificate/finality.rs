//! The second paper: no old backup can bring the key of a certified recording back.
//!
//! ```text
//! recseal statement of finality 1
//! certificate: 64 hexadecimal digits       SHA-256 of its text
//! number: 17
//! recording: UUID
//! final at: 2027-01-31T03:00:00.000Z
//! destroyed key versions: 1-3, 5           each that may have wrapped the key is among them
//! known backups with the key: 0            always
//! says: …
//! signing key: …
//! signature: …
//! ```

use crate::clock::Timestamp;
use crate::domain::RecordingId;

use super::text::{self, Hex, Lines, Reader, SAYS, TextFault};
use super::{CertificateRefusal, ErasureCertificate, FINALITY_CONTEXT, Signed};

/// A signed statement that a certificate is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finality {
    certificate: [u8; 32],
    number: u64,
    recording: RecordingId,
    final_at: Timestamp,
    destroyed_versions: Vec<u32>,
    says: Vec<String>,
    signed: Signed,
}

impl Finality {
    /// States that `certificate` is final: every key version that may have wrapped its key is
    /// among `destroyed_versions`, and none of its backups is left. `sign` gets
    /// [`FINALITY_CONTEXT`] and the message.
    ///
    /// # Errors
    ///
    /// [`CertificateRefusal::NeverFinal`] for a recording without a key or sealed to a public
    /// key, [`CertificateRefusal::VersionAlive`], [`CertificateRefusal::BackupsLeft`]. Nothing was
    /// signed.
    pub fn signed(
        certificate: &ErasureCertificate,
        final_at: Timestamp,
        destroyed_versions: &[u32],
        backups: u64,
        sign: impl FnOnce(&'static str, &[u8]) -> Signed,
    ) -> Result<Self, CertificateRefusal> {
        let facts = certificate.facts();
        let newest = facts.key_version.filter(|version| *version > 0);
        let newest = newest.ok_or(CertificateRefusal::NeverFinal)?;
        if backups > 0 {
            return Err(CertificateRefusal::BackupsLeft { backups });
        }
        let mut versions = destroyed_versions.to_vec();
        versions.sort_unstable();
        versions.dedup();
        if !versions.contains(&newest) {
            return Err(CertificateRefusal::VersionAlive { version: newest });
        }
        let mut finality = Self {
            certificate: certificate.sha256(),
            number: facts.number,
            recording: facts.recording,
            final_at,
            destroyed_versions: versions,
            says: SENTENCES.map(str::to_owned).to_vec(),
            signed: ([0; 8], [0; 64]),
        };
        finality.signed = sign(FINALITY_CONTEXT, finality.statement().as_bytes());
        Ok(finality)
    }

    /// The statement as a text file.
    pub fn to_text(&self) -> String {
        text::close(self.statement(), &self.signed)
    }

    /// Reads the text of [`Self::to_text`]. Says nothing about who made it: see [`Self::verify`].
    ///
    /// # Errors
    ///
    /// [`TextFault`] with the line, for anything else.
    pub fn parse(text: &str) -> Result<Self, TextFault> {
        let mut from = Reader::begin(text, TITLE)?;
        let mut finality = Self {
            certificate: from.with("certificate", text::unhex)?,
            number: from.value("number")?,
            recording: from.value("recording")?,
            final_at: from.with("final at", text::moment)?,
            destroyed_versions: from.with(VERSIONS, versions_of)?,
            says: Vec::new(),
            signed: ([0; 8], [0; 64]),
        };
        from.with(BACKUPS, |value| (value == "0").then_some(()))?;
        finality.says = from.all(SAYS);
        finality.signed = from.signed()?;
        text::same(&finality.to_text(), text)?;
        Ok(finality)
    }

    /// True if `is_signed` says so of context, message and signature.
    pub fn verify(&self, is_signed: impl FnOnce(&'static str, &[u8], &Signed) -> bool) -> bool {
        is_signed(FINALITY_CONTEXT, self.statement().as_bytes(), &self.signed)
    }

    /// True if this is about `certificate`, to the byte.
    pub fn is_of(&self, certificate: &ErasureCertificate) -> bool {
        let facts = certificate.facts();
        (self.number, self.recording) == (facts.number, facts.recording)
            && self.certificate == certificate.sha256()
    }

    /// Number of its certificate.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Since when it is final.
    pub fn final_at(&self) -> Timestamp {
        self.final_at
    }

    /// The destroyed key versions, in order.
    pub fn destroyed_versions(&self) -> &[u32] {
        &self.destroyed_versions
    }

    /// The same in sentences, as they were signed.
    pub fn says(&self) -> &[String] {
        &self.says
    }

    /// Id of the key that signed it, as it claims.
    pub fn key_id(&self) -> [u8; 8] {
        self.signed.0
    }

    fn statement(&self) -> String {
        let mut out = Lines::titled(TITLE);
        out.put("certificate", Hex(&self.certificate));
        out.put("number", self.number);
        out.put("recording", self.recording);
        out.put("final at", self.final_at);
        out.put(VERSIONS, ranges(&self.destroyed_versions));
        out.put(BACKUPS, 0);
        self.says.iter().for_each(|sentence| out.put(SAYS, sentence));
        out.0
    }
}

/// `1-3, 5`
fn ranges(sorted: &[u32]) -> String {
    let parts = sorted.chunk_by(|a, b| *b == a + 1).map(|run| match run {
        [one] => one.to_string(),
        run => format!("{}-{}", run[0], run[run.len() - 1]),
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn versions_of(text: &str) -> Option<Vec<u32>> {
    let mut versions = Vec::new();
    for part in text.split(", ") {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let run = first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?;
        // A stranger's range must not fill the memory.
        let count = usize::try_from(run.end().checked_sub(*run.start())?).ok()?;
        if versions.len().saturating_add(count) >= VERSIONS_MAX {
            return None;
        }
        versions.extend(run);
    }
    versions.is_sorted_by(|a, b| a < b).then_some(versions)
}

const TITLE: &str = "recseal statement of finality 1";
const VERSIONS: &str = "destroyed key versions";
const BACKUPS: &str = "known backups with the key";
const SENTENCES: [&str; 2] = [
    "Every key version that may have wrapped the data key of this recording is destroyed, and no \
     backup that holds such a version together with the wrapped key is known to be left.",
    "Copies of the sealed file and of the wrapped key, wherever they are, cannot be opened with \
     any key that this host knows of.",
];
/// More key versions than a host makes in its life.
const VERSIONS_MAX: usize = 100_000;
