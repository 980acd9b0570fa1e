//! What protects a recording from erasure, and the proof that nothing does.
//!
//! ```text
//! facts in the transaction ─▶ clear(recording, facts, now) ─▶ HoldClearance ─▶ key destroyed
//!                                                         └─▶ Protected: why, and until when
//! ```
//!
//! Legal holds, compliance tags, MiFID dates and unexpired retention are one question with one
//! answer, asked when an erasure is planned and asked again in the transaction that destroys the
//! key. The database repeats it with triggers, for all but retention, which needs the rules.

use std::fmt;

use crate::clock::Timestamp;
use crate::domain::{ConversationId, HoldId, RecordingId};

/// A legal hold: nothing under it is erased or anonymized until it is lifted.
#[derive(Clone, PartialEq, Eq)]
pub struct LegalHold {
    /// Its id.
    pub id: HoldId,
    /// Why, in the words of who placed it. May name people: only for those who may see holds.
    pub reason: String,
    /// User name.
    pub placed_by: String,
    /// When.
    pub placed_at: Timestamp,
    /// The moment at which it ends by itself.
    pub until: Option<Timestamp>,
    /// Who lifted it (`until` if nobody had to), and when.
    pub lifted: Option<(String, Timestamp)>,
    /// What it covers.
    pub targets: Vec<HoldTarget>,
}

impl fmt::Debug for LegalHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LegalHold").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a hold or another protection is placed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HoldTarget {
    /// One recording.
    Recording(RecordingId),
    /// Every recording of a conversation, also those that come later.
    Conversation(ConversationId),
}

/// One reason why a recording may not be erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// A legal hold.
    Hold {
        /// Which.
        hold: HoldId,
        /// The moment at which it ends by itself.
        until: Option<Timestamp>,
    },
    /// A compliance tag, such as GDPR 6(1)(b).
    Tag {
        /// Which.
        code: String,
    },
    /// MiFID: kept until its date.
    Mifid {
        /// The date; `None` for good.
        until: Option<Timestamp>,
    },
    /// A retention rule keeps it.
    Retention {
        /// Until then.
        until: Timestamp,
    },
}

impl Protection {
    /// The stored and shown code of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hold { .. } => "hold",
            Self::Tag { .. } => "tag",
            Self::Mifid { .. } => "mifid",
            Self::Retention { .. } => "retention",
        }
    }

    /// When it ends by itself.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Hold { until, .. } | Self::Mifid { until } => *until,
            Self::Tag { .. } => None,
            Self::Retention { until } => Some(*until),
        }
    }

    /// True if it protects at `now`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.until().is_none_or(|until| now < until)
    }
}

/// Proof that nothing protected `recording` at a moment.
///
/// Only [`clear`] makes one, so "erase without asking" does not compile. Use it inside the
/// transaction whose facts made it: a hold placed later is not seen.
#[must_use]
#[derive(Debug)]
pub struct HoldClearance {
    recording: RecordingId,
    checked_at: Timestamp,
}

impl HoldClearance {
    /// Which recording.
    pub fn recording(&self) -> RecordingId {
        self.recording
    }

    /// When it was asked.
    pub fn checked_at(&self) -> Timestamp {
        self.checked_at
    }
}

/// Something protects it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("recording {recording} is protected by {}", reasons.first().map_or("nothing", Protection::kind))]
pub struct Protected {
    /// Which recording.
    pub recording: RecordingId,
    /// Everything that protects it, holds first.
    pub reasons: Vec<Protection>,
}

/// Asks whether anything of `protections` is active at `now`.
///
/// # Errors
///
/// [`Protected`] with all that is.
pub fn clear(
    recording: RecordingId,
    protections: Vec<Protection>,
    now: Timestamp,
) -> Result<HoldClearance, Protected> {
    let reasons: Vec<_> = protections.into_iter().filter(|one| one.is_active(now)).collect();
    if reasons.is_empty() {
        Ok(HoldClearance { recording, checked_at: now })
    } else {
        Err(Protected { recording, reasons })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted faults: `until` compared with `<=`, and the first protection alone looked at.
    #[test]
    fn what_has_run_out_protects_no_longer() {
        let (id, at) = (RecordingId::new(), Timestamp::from_millis);
        let hold = |until| Protection::Hold { hold: HoldId::new(), until };
        let rows = [
            (vec![], None),
            (vec![hold(Some(at(100)))], None),
            (vec![hold(Some(at(101)))], Some("hold")),
            (vec![hold(None)], Some("hold")),
            (vec![Protection::Tag { code: "6(1)(b)".to_owned() }], Some("tag")),
            (vec![Protection::Mifid { until: Some(at(100)) }], None),
            (vec![Protection::Mifid { until: None }], Some("mifid")),
            (vec![hold(Some(at(7))), Protection::Retention { until: at(200) }], Some("retention")),
        ];
        for (protections, kind) in rows {
            let found = clear(id, protections.clone(), at(100));
            let reason = found.as_ref().err().map(|protected| protected.reasons[0].kind());
            assert_eq!(reason, kind, "{protections:?}");
            if let Ok(clearance) = found {
                assert_eq!((clearance.recording(), clearance.checked_at()), (id, at(100)));
            }
        }
    }

    /// A refusal names everything that protects, for people who have to lift it. Planted fault:
    /// only the first reason kept.
    #[test]
    fn a_refusal_names_all_that_protects_and_shows_no_words_of_people() {
        let (id, at) = (RecordingId::new(), Timestamp::from_millis);
        let reasons = vec![
            Protection::Hold { hold: HoldId::new(), until: None },
            Protection::Tag { code: "6(1)(c)".to_owned() },
            Protection::Mifid { until: Some(at(9)) },
            Protection::Retention { until: at(7) },
        ];
        let refused = clear(id, reasons.clone(), at(5)).unwrap_err();
        assert_eq!(refused.reasons, reasons);
        assert_eq!(refused.to_string(), format!("recording {id} is protected by hold"));
        let refused = clear(id, reasons, at(8)).unwrap_err();
        let left: Vec<_> = refused.reasons.iter().map(Protection::kind).collect();
        assert_eq!(left, ["hold", "tag", "mifid"]);
        let hold = LegalHold {
            id: HoldId::new(),
            reason: "a case about a person".to_owned(),
            placed_by: "uid:0".to_owned(),
            placed_at: at(0),
            until: None,
            lifted: None,
            targets: vec![HoldTarget::Recording(id)],
        };
        assert!(!format!("{hold:?}").contains("person"));
    }
}
