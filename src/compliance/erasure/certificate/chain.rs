//! Many certificates together: each holds the hash of the one before, so none can be left out.
//!
//! A signature shows that one certificate is as it was issued. The chain shows that none between
//! two others was held back, and that none was issued twice. What lies before the first and
//! behind the last that is shown here, it cannot show.

use std::collections::HashSet;

use crate::domain::RecordingId;

use super::ErasureCertificate;

/// Certificates that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Number of the first; 1 if nothing is missing before it.
    pub first: u64,
    /// Number of the last.
    pub last: u64,
}

/// The first thing in a chain that is not in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// Some are not there.
    #[error("certificates {first} to {last} are missing")]
    Missing {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// Two have one number.
    #[error("certificate {number} is there twice")]
    Twice {
        /// Which.
        number: u64,
    },
    /// One of two is not the one that was issued there.
    #[error("certificate {number} does not follow the one before it: one of the two was exchanged")]
    Exchanged {
        /// The second of the two.
        number: u64,
    },
    /// One recording ended twice.
    #[error("certificate {number} is the second of recording {recording}")]
    SecondOfRecording {
        /// Which.
        number: u64,
        /// Whose.
        recording: RecordingId,
    },
}

/// Looks at `certificates` in the order of their numbers, whatever order they come in. `None` if
/// there are none. Signatures are not asked: do that first.
///
/// # Errors
///
/// The first [`ChainFault`].
pub fn check(certificates: &[&ErasureCertificate]) -> Result<Option<Chain>, ChainFault> {
    let mut ordered = certificates.to_vec();
    ordered.sort_by_key(|certificate| certificate.facts().number);
    for pair in ordered.windows(2) {
        let (before, after) = (pair[0].facts().number, pair[1].facts().number);
        if before == after {
            return Err(ChainFault::Twice { number: after });
        }
        if before + 1 < after {
            return Err(ChainFault::Missing { first: before + 1, last: after - 1 });
        }
        if pair[1].facts().previous != pair[0].sha256() {
            return Err(ChainFault::Exchanged { number: after });
        }
    }
    let mut seen = HashSet::new();
    for facts in ordered.iter().map(|certificate| certificate.facts()) {
        if !seen.insert(facts.recording) {
            let (number, recording) = (facts.number, facts.recording);
            return Err(ChainFault::SecondOfRecording { number, recording });
        }
    }
    let ends = ordered.first().zip(ordered.last());
    Ok(ends.map(|(first, last)| Chain { first: first.facts().number, last: last.facts().number }))
}
