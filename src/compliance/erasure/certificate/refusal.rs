//! What the signer refuses: claims that contradict one another, so one of them was not observed.
//!
//! Moments are not compared. They come from a wall clock that may have been set back in between,
//! and an erasure that was done is certified with the times that were read.

use crate::domain::Overwrite;
use crate::domain::doomed::{DoomedKind, FileEvidence, JournalFate};

use super::text::FILES_MAX;
use super::{CertificateFacts, CertifiedFile, History, KeyFate};

/// Facts that are not certified. Files are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefusal {
    /// Numbers begin with 1, which follows zeros; no other does.
    #[error("its number and the certificate before it do not fit together")]
    Number,
    /// A recording that never was sealed has no key, version or public key.
    #[error("a recording without a key has facts of a key")]
    KeyOfPlaintext,
    /// A key that was destroyed has a version, and an id if anybody looked for it.
    #[error("a destroyed key without its id and version")]
    KeyUnknown,
    /// Version 0 says "sealed to a public key", and any other says that it was not.
    #[error("key version and public key do not fit together")]
    SealedTo,
    /// A recording that never was sealed lay in clear.
    #[error("a recording in clear is said never to have been in clear")]
    NeverInClear,
    /// A recording that never was sealed has no sealed file.
    #[error("file {file} is sealed, of a recording that never was")]
    SealedPlaintext {
        /// Which.
        file: usize,
    },
    /// Something was seen of a file that was not there.
    #[error("file {file} was missing and has evidence")]
    EvidenceOfMissing {
        /// Which.
        file: usize,
    },
    /// Nothing was seen of a file that was there.
    #[error("file {file} was found and has no evidence")]
    NoEvidence {
        /// Which.
        file: usize,
    },
    /// An overwrite in place covers the whole file.
    #[error("file {file} was overwritten in place, but not all of it")]
    TooFewBytes {
        /// Which.
        file: usize,
    },
    /// What was overwritten in place did not move.
    #[error("file {file} was overwritten in place and moved")]
    InPlaceMoved {
        /// Which.
        file: usize,
    },
    /// What the journal may hold is not gone.
    #[error("file {file} was overwritten in place, and the journal may hold its content")]
    InPlaceJournal {
        /// Which.
        file: usize,
    },
    /// A journal that takes content holds content until it is flushed.
    #[error("file {file} may be in the journal, whose fate is that of a journal without content")]
    JournalUnknown {
        /// Which.
        file: usize,
    },
    /// Nothing was overwritten and bytes were.
    #[error("file {file} was not overwritten, and bytes of it were")]
    SkippedBytes {
        /// Which.
        file: usize,
    },
    /// The same of the original: in place and not all of it, or skipped and some of it.
    #[error("what is said of the original's bytes does not fit its overwrite")]
    OriginalBytes,
    /// More files than a certificate has room for.
    #[error("more than {FILES_MAX} files")]
    TooManyFiles,
    /// Final is what had a key of this host that no backup holds any more.
    #[error("the certificate cannot become final: its recording had no key of this host")]
    NeverFinal,
    /// A version that may have wrapped the key is not among the destroyed ones.
    #[error("key version {version} is not among the destroyed ones")]
    VersionAlive {
        /// Which.
        version: u32,
    },
    /// Backups with the key are left.
    #[error("{backups} backups that hold the key are not known to be gone")]
    BackupsLeft {
        /// How many.
        backups: u64,
    },
}

/// Looks for contradictions.
pub(super) fn check(facts: &CertificateFacts) -> Result<(), CertificateRefusal> {
    use CertificateRefusal as R;
    if facts.number == 0 || (facts.number == 1) != (facts.previous == [0; 32]) {
        return Err(R::Number);
    }
    check_key(facts)?;
    if facts.files.len() > FILES_MAX {
        return Err(R::TooManyFiles);
    }
    let is_plaintext = facts.key == KeyFate::NonePlaintext;
    for (number, file) in (1..).zip(&facts.files) {
        check_file(number, file)?;
        match file.kind {
            DoomedKind::Sealed(_) if is_plaintext => {
                return Err(R::SealedPlaintext { file: number });
            }
            DoomedKind::Original | DoomedKind::Leftover
                if facts.history == History::NeverInClear =>
            {
                return Err(R::NeverInClear);
            }
            DoomedKind::Sealed(_) | DoomedKind::Original | DoomedKind::Leftover => {}
        }
    }
    match &facts.history {
        History::WasInClear { original: Some(original) } => {
            let is_skipped = original.overwrite == Overwrite::Skipped;
            let is_odd = is_skipped && original.overwritten_bytes > 0;
            if is_odd { Err(R::OriginalBytes) } else { Ok(()) }
        }
        History::WasInClear { original: None } => Ok(()),
        History::NeverInClear if is_plaintext => Err(R::NeverInClear),
        History::NeverInClear => Ok(()),
    }
}

fn check_key(facts: &CertificateFacts) -> Result<(), CertificateRefusal> {
    use CertificateRefusal as R;
    let CertificateFacts { data_key, key_version, sealed_to, .. } = facts;
    match facts.key {
        KeyFate::NonePlaintext => {
            let has_key = data_key.is_some() || key_version.is_some() || sealed_to.is_some();
            if has_key { Err(R::KeyOfPlaintext) } else { Ok(()) }
        }
        KeyFate::DestroyedVerified
        | KeyFate::DestroyedMediumUnattested
        | KeyFate::DestroyedNotLookedFor => {
            // Behind a restored backup nobody saw the key, and so nobody looked for it either.
            let is_known = data_key.is_some() || facts.key == KeyFate::DestroyedNotLookedFor;
            let Some(version) = key_version.filter(|_| is_known) else {
                return Err(R::KeyUnknown);
            };
            if (version == 0) == sealed_to.is_some() { Ok(()) } else { Err(R::SealedTo) }
        }
    }
}

fn check_file(number: usize, file: &CertifiedFile) -> Result<(), CertificateRefusal> {
    use CertificateRefusal as R;
    let evidence = match (file.found, &file.evidence) {
        (false, None) => return Ok(()),
        (false, Some(_)) => return Err(R::EvidenceOfMissing { file: number }),
        (true, None) => return Err(R::NoEvidence { file: number }),
        (true, Some(evidence)) => evidence,
    };
    let FileEvidence { destruction, journal, moved, .. } = evidence;
    let bytes = destruction.overwritten_bytes;
    match (destruction.overwrite, journal) {
        (Overwrite::InPlaceVerified | Overwrite::InPlaceUnverified, journal) => {
            if bytes < file.bytes {
                return Err(R::TooFewBytes { file: number });
            }
            if *moved {
                return Err(R::InPlaceMoved { file: number });
            }
            if *journal == JournalFate::CopyPossible {
                return Err(R::InPlaceJournal { file: number });
            }
            Ok(())
        }
        (Overwrite::JournalCopyPossible, JournalFate::NotApplicable | JournalFate::NotFlushed) => {
            Err(R::JournalUnknown { file: number })
        }
        (Overwrite::JournalCopyPossible, _) if bytes < file.bytes => {
            Err(R::TooFewBytes { file: number })
        }
        (Overwrite::JournalCopyPossible, _) if *moved => Err(R::InPlaceMoved { file: number }),
        (Overwrite::Skipped, _) if bytes > 0 => Err(R::SkippedBytes { file: number }),
        (
            Overwrite::JournalCopyPossible
            | Overwrite::NotGuaranteedCow
            | Overwrite::NotGuaranteedShared
            | Overwrite::NotGuaranteedInlineOrCompressed
            | Overwrite::NotGuaranteedRemote
            | Overwrite::NotGuaranteedUnknownFs
            | Overwrite::Skipped,
            _,
        ) => Ok(()),
    }
}
