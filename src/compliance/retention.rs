//! Retention: how long a recording is kept at least, and after which time it goes.
//!
//! A rule covers recordings by store, kind, tag and metadata; what it does not name does not
//! matter. Of all rules that cover a recording the longest wins, for keeping and for erasing, and
//! it is never erased before the longest time of keeping is over. What no rule covers is kept.

use std::fmt;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::domain::{RuleId, StoreId};

/// One rule.
#[derive(Clone, PartialEq, Eq)]
pub struct RetentionRule {
    /// Its id.
    pub id: RuleId,
    /// Its name, unique.
    pub name: String,
    /// Only recordings of this store.
    pub store: Option<StoreId>,
    /// Only recordings of this kind.
    pub kind: Option<MediaKind>,
    /// Only recordings whose conversation has this tag.
    pub tag: Option<String>,
    /// Only recordings whose conversation has this key, and this value if there is one.
    pub metadata: Option<(String, Option<String>)>,
    /// Not erased before it is this many days old.
    pub keep_days: Option<u32>,
    /// Erased when it is this many days old.
    pub erase_days: Option<u32>,
    /// What it keeps is a MiFID record: shown as such.
    pub mifid: bool,
    /// User name.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
}

impl fmt::Debug for RetentionRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetentionRule").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a recording is, as far as rules ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Sound without pictures.
    Audio,
    /// Pictures, with sound or without.
    Video,
}

impl MediaKind {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }

    /// The kind of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Audio, Self::Video].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What rules want to know of a recording.
#[derive(Clone, Debug)]
pub struct RetentionFacts {
    /// Where it was found.
    pub store: StoreId,
    /// What it is; `None` if that is not known.
    pub kind: Option<MediaKind>,
    /// When it was recorded, as far as known: the last write of its recorder.
    pub recorded_at: Timestamp,
    /// Tags of its conversation.
    pub tags: Vec<String>,
    /// Metadata of its conversation's segments.
    pub metadata: Vec<(String, String)>,
}

/// What the rules together say of one recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionVerdict {
    /// It is not erased before.
    pub keep_until: Option<Timestamp>,
    /// The rule that says so.
    pub kept_by: Option<RuleId>,
    /// That rule is about MiFID.
    pub is_mifid: bool,
    /// It is to be erased then: never before `keep_until`.
    pub erase_at: Option<Timestamp>,
    /// The rule that says so.
    pub erased_by: Option<RuleId>,
}

/// Asks every rule; the longest wins.
pub fn judge<'r>(
    rules: impl IntoIterator<Item = &'r RetentionRule>,
    facts: &RetentionFacts,
) -> RetentionVerdict {
    let mut verdict = RetentionVerdict::default();
    for rule in rules.into_iter().filter(|rule| covers(rule, facts)) {
        let after = |days: u32| facts.recorded_at.plus(DAY * days);
        if let Some(until) = rule.keep_days.map(after)
            && verdict.keep_until.is_none_or(|known| known < until)
        {
            verdict.keep_until = Some(until);
            verdict.kept_by = Some(rule.id);
            verdict.is_mifid = rule.mifid;
        }
        if let Some(at) = rule.erase_days.map(after)
            && verdict.erase_at.is_none_or(|known| known < at)
        {
            verdict.erase_at = Some(at);
            verdict.erased_by = Some(rule.id);
        }
    }
    verdict.erase_at = verdict.erase_at.max(verdict.erase_at.and(verdict.keep_until));
    verdict
}

fn covers(rule: &RetentionRule, facts: &RetentionFacts) -> bool {
    rule.store.is_none_or(|store| store == facts.store)
        && rule.kind.is_none_or(|kind| facts.kind == Some(kind))
        && rule.tag.as_ref().is_none_or(|tag| facts.tags.contains(tag))
        && rule.metadata.as_ref().is_none_or(|(key, wanted)| {
            facts.metadata.iter().any(|(known, value)| {
                known == key && wanted.as_ref().is_none_or(|wanted| wanted == value)
            })
        })
}

const DAY: Duration = Duration::from_secs(86_400);
