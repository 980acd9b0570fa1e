//! The life of a recording, as one table.
//!
//! ```text
//! Found ─finished─▶ Settled ─key recorded─▶ Sealing ─seal verified─▶ Sealed ─original removed─▶ Stored
//!   ▲                  │  ▲                    │                       │                          │
//!   └────changed───────┘  └──attempt abandoned─┘                       │                   erasure started
//!                                               └─────redaction verified───────────────────▶ Stored
//!        gave up: Found, Settled, Sealing ─▶ Quarantined ──────────────┼──────────────────────────┤
//!                                                                      └── (waits for Stored)     ▼
//!                                                          Erased ◀─erasure verified─────────  Erasing
//! ```
//!
//! `Quarantined` waits for a person, and its original is left alone; `Erased` is final.

use std::fmt;

/// Where a recording is in its life. Stored by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordingState {
    /// Seen, but its recorder may still be writing.
    Found,
    /// Finished by the rule of its store; waits for the sealer.
    Settled,
    /// A data key is recorded and the sealed copy is being made. The original is the good copy.
    Sealing,
    /// The sealed copy was read back and proved equal; the original is still to be removed.
    Sealed,
    /// The sealed copy is the only one.
    Stored,
    /// Something is wrong that only a person can decide.
    Quarantined,
    /// The key is gone; copies are being destroyed.
    Erasing,
    /// Nothing is left but the certificate.
    Erased,
}

/// What can happen to a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordingEvent {
    /// The finish rule of the store says the recorder is done.
    Finished,
    /// It changed after all, before a key was made for it.
    Changed,
    /// Its data key is durable.
    KeyRecorded,
    /// The attempt was thrown away (crash, change, full disk); the next one gets a new key.
    AttemptAbandoned,
    /// The sealed copy was read back and is equal.
    SealVerified,
    /// The same for what was redacted: it was made here and has no original to remove.
    RedactionVerified,
    /// The original was overwritten and removed.
    OriginalRemoved,
    /// Needs a person.
    GaveUp,
    /// A person said: try again.
    Released,
    /// Its wrapped key was destroyed.
    ErasureStarted,
    /// Nothing of it was found any more.
    ErasureVerified,
}

/// A transition that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalTransition {
    /// The state it was in.
    pub from: RecordingState,
    /// What should have happened.
    pub event: RecordingEvent,
}

impl fmt::Display for IllegalTransition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} cannot follow {}", self.event, self.from.as_str())
    }
}

impl std::error::Error for IllegalTransition {}

impl RecordingState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 8] = [
        Self::Found,
        Self::Settled,
        Self::Sealing,
        Self::Sealed,
        Self::Stored,
        Self::Quarantined,
        Self::Erasing,
        Self::Erased,
    ];

    /// The whole life cycle: a transition not listed here does not exist.
    pub fn next(self, event: RecordingEvent) -> Result<Self, IllegalTransition> {
        use {RecordingEvent as E, RecordingState as S};
        Ok(match (self, event) {
            (S::Found, E::Finished) => S::Settled,
            (S::Settled, E::Changed) => S::Found,
            (S::Settled, E::KeyRecorded) => S::Sealing,
            (S::Sealing, E::AttemptAbandoned) => S::Settled,
            (S::Sealing, E::SealVerified) => S::Sealed,
            (S::Sealing, E::RedactionVerified) => S::Stored,
            (S::Sealed, E::OriginalRemoved) => S::Stored,
            (S::Found | S::Settled | S::Sealing, E::GaveUp) => S::Quarantined,
            (S::Quarantined, E::Released) => S::Found,
            (S::Stored | S::Quarantined, E::ErasureStarted) => S::Erasing,
            (S::Erasing, E::ErasureVerified) => S::Erased,
            (from, event) => return Err(IllegalTransition { from, event }),
        })
    }

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Settled => "settled",
            Self::Sealing => "sealing",
            Self::Sealed => "sealed",
            Self::Stored => "stored",
            Self::Quarantined => "quarantined",
            Self::Erasing => "erasing",
            Self::Erased => "erased",
        }
    }

    /// The state of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// True while the watched folder still holds a file of ours to care for.
    pub fn has_original(self) -> bool {
        match self {
            Self::Found | Self::Settled | Self::Sealing | Self::Sealed | Self::Quarantined => true,
            Self::Stored | Self::Erasing | Self::Erased => false,
        }
    }

    /// True if a sealed copy can be opened.
    pub fn is_open_to_readers(self) -> bool {
        matches!(self, Self::Sealed | Self::Stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [RecordingEvent; 11] = [
        RecordingEvent::Finished,
        RecordingEvent::Changed,
        RecordingEvent::KeyRecorded,
        RecordingEvent::AttemptAbandoned,
        RecordingEvent::SealVerified,
        RecordingEvent::RedactionVerified,
        RecordingEvent::OriginalRemoved,
        RecordingEvent::GaveUp,
        RecordingEvent::Released,
        RecordingEvent::ErasureStarted,
        RecordingEvent::ErasureVerified,
    ];

    /// Walks all pairs. Planted faults: `Erased` given a way out, and the original removed
    /// straight from `Sealing`; both fail here.
    #[test]
    fn all_pairs_keep_the_promises() {
        let mut reached = vec![RecordingState::Found];
        for from in RecordingState::ALL {
            for event in EVENTS {
                let Ok(to) = from.next(event) else { continue };
                reached.push(to);
                assert_ne!(from, RecordingState::Erased, "erased is final");
                if from.has_original() && !to.has_original() {
                    // What was redacted never had one; the catalog refuses it for all others.
                    let from_proof = from == RecordingState::Sealed
                        || event == RecordingEvent::RedactionVerified;
                    assert!(
                        from_proof || to == RecordingState::Erasing,
                        "{from:?} lost its original"
                    );
                }
            }
        }
        for state in RecordingState::ALL {
            assert!(reached.contains(&state), "{state:?} cannot be reached");
            assert_eq!(RecordingState::from_name(state.as_str()), Some(state));
        }
    }
}
