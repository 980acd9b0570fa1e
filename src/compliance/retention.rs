//! Retention: how long a recording is kept at least, and after which time it goes.
//!
//! A rule covers recordings by store, kind, tag and metadata; what it does not name does not
//! matter. Of all rules that cover a recording the longest wins, for keeping and for erasing, and
//! it is never erased before the longest time of keeping is over. What no rule covers is kept.
//!
//! A day has 24 hours, leap day or not and wherever the host is: 365 days from 29 February 2028 end
//! on 28 February 2029 at the same time UTC. So no rule depends on a calendar or a time zone.

use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::compliance::erasure::plan::Amount;
use crate::compliance::hold::Protection;
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
    /// That rule is about MiFID, or one that says the same is.
    pub is_mifid: bool,
    /// It is a MiFID record until then, whatever else keeps it longer.
    pub mifid_until: Option<Timestamp>,
    /// It is to be erased then: never before `keep_until`.
    pub erase_at: Option<Timestamp>,
    /// The rule that says so.
    pub erased_by: Option<RuleId>,
}

impl RetentionVerdict {
    /// True if rules want it gone by now.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.erase_at.is_some_and(|at| at <= now)
    }

    /// What rules protect it with, for [`crate::compliance::hold::clear`].
    pub fn protections(&self) -> Vec<Protection> {
        let kept = self.keep_until.map(|until| match self.is_mifid {
            true => Protection::Mifid { until: Some(until) },
            false => Protection::Retention { until },
        });
        let mifid = self.mifid_until.filter(|_| !self.is_mifid);
        kept.into_iter()
            .chain(mifid.map(|until| Protection::Mifid { until: Some(until) }))
            .collect()
    }
}

/// What the rules would do now, in counts: the dry run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionPlan {
    /// All that were looked at.
    pub seen: Amount,
    /// No rule ever erases them.
    pub kept: Amount,
    /// Erased later.
    pub later: Amount,
    /// Erased now.
    pub due: Amount,
    /// Due, and protected by something else: they wait.
    pub protected: Amount,
    /// Of those due, protected or not: how many each rule erases.
    pub by_rule: Vec<(RuleId, Amount)>,
}

impl RetentionPlan {
    /// Counts one recording of `bytes`. `others` is what protects it besides rules.
    pub fn count(
        &mut self,
        verdict: &RetentionVerdict,
        bytes: u64,
        others: &[Protection],
        now: Timestamp,
    ) {
        self.seen.add(bytes);
        if verdict.erase_at.is_none() {
            return self.kept.add(bytes);
        }
        if !verdict.is_due(now) {
            return self.later.add(bytes);
        }
        match others.iter().any(|one| one.is_active(now)) {
            true => self.protected.add(bytes),
            false => self.due.add(bytes),
        }
        if let Some(rule) = verdict.erased_by {
            match self.by_rule.iter_mut().find(|(known, _)| *known == rule) {
                Some((_, amount)) => amount.add(bytes),
                None => {
                    let mut amount = Amount::default();
                    amount.add(bytes);
                    self.by_rule.push((rule, amount));
                }
            }
        }
    }
}

/// Asks every rule; the longest wins, and of two that say the same the one with the lower id.
/// In which order they come does not matter.
pub fn judge<'r>(
    rules: impl IntoIterator<Item = &'r RetentionRule>,
    facts: &RetentionFacts,
) -> RetentionVerdict {
    let (mut keep, mut erase) = (None::<(Timestamp, Reverse<RuleId>)>, None);
    let mut mifid_until = None;
    for rule in rules.into_iter().filter(|rule| covers(rule, facts)) {
        let after = |days: Option<u32>| days.map(|days| facts.recorded_at.plus(DAY * days));
        keep = keep.max(after(rule.keep_days).map(|until| (until, Reverse(rule.id))));
        erase = erase.max(after(rule.erase_days).map(|at| (at, Reverse(rule.id))));
        if rule.mifid {
            mifid_until = mifid_until.max(after(rule.keep_days));
        }
    }
    let keep_until = keep.map(|(until, _)| until);
    RetentionVerdict {
        keep_until,
        kept_by: keep.map(|(_, Reverse(rule))| rule),
        is_mifid: keep_until.is_some() && keep_until == mifid_until,
        mifid_until,
        erase_at: erase.map(|(at, _)| at).max(erase.and(keep_until)),
        erased_by: erase.map(|(_, Reverse(rule))| rule),
    }
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

#[cfg(test)]
mod tests;
