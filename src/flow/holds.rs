//! Holds, other protections and retention rules: placed, lifted, listed, and read together.
//!
//! What protects one recording is asked in one place, [`Engine::protections_of`], inside the
//! transaction of whoever wants to know: the plan, and the step that destroys the key.

use crate::access::{self, Grant};
use crate::catalog::{CatalogTx, ReadTx};
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, Actor, AuditEntry};
use crate::compliance::hold::{HoldTarget, LegalHold, Protection};
use crate::compliance::retention::{
    self, MediaKind, RetentionFacts, RetentionRule, RetentionVerdict,
};
use crate::domain::lifecycle::RecordingState;
use crate::domain::{ConversationId, HoldId, MediaInfo, Recording, RecordingId, RuleId};
use crate::flow::desk::actor;
use crate::flow::{Engine, FlowError};

/// A hold to be placed.
#[derive(Clone)]
pub struct NewHold {
    /// Why. May name people: it is never logged.
    pub reason: String,
    /// What it covers.
    pub recordings: Vec<RecordingId>,
    /// And these, with all their recordings.
    pub conversations: Vec<ConversationId>,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

/// A hold that was placed, and what it came too late for.
#[derive(Clone, Debug)]
pub struct PlacedHold {
    /// The hold.
    pub hold: LegalHold,
    /// Recordings that are being erased already: their keys are gone.
    pub too_late: Vec<RecordingId>,
}

impl Engine {
    /// Places a legal hold.
    ///
    /// # Errors
    ///
    /// [`FlowError::Invalid`] without a reason, without a target or with an end in the past;
    /// [`FlowError::NotFound`], [`FlowError::Catalog`]; nothing is held then.
    pub fn place_hold(
        &self,
        grant: &Grant<access::PlaceHolds>,
        new: NewHold,
        now: Timestamp,
    ) -> Result<PlacedHold, FlowError> {
        let refused =
            |why: &str| FlowError::Invalid { what: "placing a hold", why: why.to_owned() };
        if new.reason.trim().is_empty() || new.reason.len() > TEXT_BYTES_MAX {
            return Err(refused("it needs a reason of at most 1,000 bytes"));
        }
        if new.recordings.is_empty() && new.conversations.is_empty() {
            return Err(refused("it covers nothing"));
        }
        if new.until.is_some_and(|until| until <= now) {
            return Err(refused("its end is not in the future"));
        }
        let who = actor(grant.principal());
        let recordings = new.recordings.iter().copied().map(HoldTarget::Recording);
        let conversations = new.conversations.iter().copied().map(HoldTarget::Conversation);
        let hold = LegalHold {
            id: HoldId::new(),
            reason: new.reason,
            placed_by: who.user().to_owned(),
            placed_at: now,
            until: new.until,
            lifted: None,
            targets: recordings.chain(conversations).collect(),
        };
        let entry = AuditEntry::new(now, who, Activity::HoldPlaced)
            .with_numbers(&[("targets", hold.targets.len() as u64)])
            .on_object(hold.id.0);
        let too_late = self.catalog.write(|tx| {
            let mut too_late = Vec::new();
            for id in &new.recordings {
                let state = tx.recording(*id)?.ok_or(FlowError::NotFound(*id))?.state;
                too_late.extend(is_too_late(state).then_some(*id));
            }
            for id in &new.conversations {
                let found = tx.candidates_of_conversation(*id)?;
                let gone = found.into_iter().filter(|one| is_too_late(one.recording.state));
                too_late.extend(gone.map(|one| one.recording.id));
            }
            tx.place_hold(&hold, &entry)?;
            Ok::<_, FlowError>(too_late)
        })?;
        self.ring_eraser();
        Ok(PlacedHold { hold, too_late })
    }

    /// Lifts a hold; erasures that waited for it go on by themselves.
    ///
    /// # Errors
    ///
    /// [`FlowError::NoSuchHold`] if there is none in force with that id.
    pub fn lift_hold(
        &self,
        grant: &Grant<access::LiftHolds>,
        id: HoldId,
        now: Timestamp,
    ) -> Result<LegalHold, FlowError> {
        let who = actor(grant.principal());
        let entry = AuditEntry::new(now, who.clone(), Activity::HoldLifted).on_object(id.0);
        let hold = self.catalog.write(|tx| {
            let lifted = tx.lift_hold(id, who.user(), &entry)?;
            let hold = if lifted { tx.hold(id)? } else { None };
            hold.ok_or(FlowError::NoSuchHold)
        })?;
        self.ring_eraser();
        Ok(hold)
    }

    /// Holds behind `after`, oldest first; with those that were lifted if `all`.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn holds(
        &self,
        _grant: &Grant<access::ViewHolds>,
        all: bool,
        after: Option<HoldId>,
        limit: usize,
    ) -> Result<Vec<LegalHold>, FlowError> {
        Ok(self.catalog.read(|tx| tx.holds(all, after, limit))?)
    }

    /// Everything that protects `id` now.
    ///
    /// # Errors
    ///
    /// [`FlowError::NotFound`], [`FlowError::Catalog`].
    pub fn protections(
        &self,
        _grant: &Grant<access::ViewHolds>,
        id: RecordingId,
        now: Timestamp,
    ) -> Result<Vec<Protection>, FlowError> {
        self.catalog.read(|tx| {
            let recording = tx.recording(id)?.ok_or(FlowError::NotFound(id))?;
            let rules = tx.retention_rules()?;
            let all = self.protections_of(tx, &recording, &rules)?;
            Ok(all.into_iter().filter(|one| one.is_active(now)).collect())
        })
    }

    /// Marks `target` as a MiFID record until a date, or for good.
    ///
    /// # Errors
    ///
    /// [`FlowError::NotFound`] for an unknown recording, [`FlowError::Catalog`].
    pub fn protect_mifid(
        &self,
        grant: &Grant<access::PlaceHolds>,
        target: HoldTarget,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let who = actor(grant.principal());
        let entry = on(AuditEntry::new(now, who.clone(), Activity::ProtectionPlaced), target)
            .because("mifid");
        self.catalog.write(|tx| {
            known(tx, target)?;
            Ok::<_, FlowError>(tx.protect(
                target,
                &Protection::Mifid { until },
                who.user(),
                &entry,
            )?)
        })
    }

    /// Takes that mark away.
    ///
    /// # Errors
    ///
    /// [`FlowError::NoSuchHold`] if there is none.
    pub fn unprotect_mifid(
        &self,
        grant: &Grant<access::LiftHolds>,
        target: HoldTarget,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let who = actor(grant.principal());
        let entry =
            on(AuditEntry::new(now, who, Activity::ProtectionLifted), target).because("mifid");
        let mark = Protection::Mifid { until: None };
        match self.catalog.write(|tx| tx.unprotect(target, &mark, &entry))? {
            true => self.ring_eraser(),
            false => return Err(FlowError::NoSuchHold),
        }
        Ok(())
    }

    /// Every retention rule, by name.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn retention_rules(
        &self,
        _grant: &Grant<access::ViewHolds>,
    ) -> Result<Vec<RetentionRule>, FlowError> {
        Ok(self.catalog.read(|tx| tx.retention_rules())?)
    }

    /// Adds a rule; `id`, `created_by` and `created_at` of `rule` are filled in here.
    ///
    /// # Errors
    ///
    /// [`FlowError::Invalid`] if it says neither keep nor erase, erases before it keeps, or its
    /// name is taken, empty or longer than 100 bytes.
    pub fn add_retention_rule(
        &self,
        grant: &Grant<access::ManageRetention>,
        rule: RetentionRule,
        now: Timestamp,
    ) -> Result<RetentionRule, FlowError> {
        let refused = |why: &str| FlowError::Invalid {
            what: "adding this retention rule",
            why: why.to_owned(),
        };
        let who = actor(grant.principal());
        let rule = RetentionRule {
            id: RuleId::new(),
            created_by: who.user().to_owned(),
            created_at: now,
            ..rule
        };
        if rule.name.trim().is_empty() || rule.name.len() > NAME_BYTES_MAX {
            return Err(refused("it needs a name of at most 100 bytes"));
        }
        match (rule.keep_days, rule.erase_days) {
            (None, None) => {
                return Err(refused("it says neither how long to keep nor when to erase"));
            }
            (Some(0), _) | (_, Some(0)) => return Err(refused("zero days are no time")),
            (Some(keep), Some(erase)) if erase < keep => {
                return Err(refused("it erases before it stops keeping"));
            }
            (Some(_), _) | (_, Some(_)) => {}
        }
        let numbers = [
            ("keep_days", rule.keep_days.unwrap_or(0).into()),
            ("erase_days", rule.erase_days.unwrap_or(0).into()),
        ];
        let entry = AuditEntry::new(now, who, Activity::RetentionRuleChanged)
            .because("added")
            .with_numbers(&numbers)
            .on_object(rule.id.0);
        if !self.catalog.write(|tx| tx.add_retention_rule(&rule, &entry))? {
            return Err(refused("a rule has that name already"));
        }
        self.ring_eraser();
        Ok(rule)
    }

    /// Takes a rule away.
    ///
    /// # Errors
    ///
    /// [`FlowError::NoSuchRule`].
    pub fn remove_retention_rule(
        &self,
        grant: &Grant<access::ManageRetention>,
        id: RuleId,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let entry = AuditEntry::new(now, actor(grant.principal()), Activity::RetentionRuleChanged)
            .because("removed")
            .on_object(id.0);
        if !self.catalog.write(|tx| tx.remove_retention_rule(id, &entry))? {
            return Err(FlowError::NoSuchRule);
        }
        self.ring_eraser();
        Ok(())
    }

    /// All that protects `recording`, active or not, in the view of `tx`.
    pub(super) fn protections_of(
        &self,
        tx: &ReadTx<'_>,
        recording: &Recording,
        rules: &[RetentionRule],
    ) -> Result<Vec<Protection>, FlowError> {
        let mut all = tx.protections(recording.id, recording.conversation)?;
        if let Some(until) = self.retention_of(recording, rules).keep_until {
            all.push(Protection::Retention { until });
        }
        Ok(all)
    }

    /// What the rules say of `recording`.
    pub(super) fn retention_of(
        &self,
        recording: &Recording,
        rules: &[RetentionRule],
    ) -> RetentionVerdict {
        let facts = RetentionFacts {
            store: recording.store,
            kind: recording.media.as_ref().and_then(kind_of),
            recorded_at: Timestamp::from_nanos(recording.fingerprint.modified_ns.into()),
            tags: Vec::new(),
            metadata: Vec::new(),
        };
        retention::judge(rules, &facts)
    }

    /// Lifts what has run out, with an entry for each hold.
    pub(super) fn expire_protections(
        &self,
        tx: &CatalogTx<'_>,
        now: Timestamp,
    ) -> Result<usize, FlowError> {
        let expired = tx.expire_protections(now)?;
        for hold in &expired {
            let entry = AuditEntry::new(now, Actor::DAEMON, Activity::HoldLifted)
                .because("until")
                .on_object(hold.0);
            tx.append_audit(&entry)?;
        }
        Ok(expired.len())
    }
}

/// Sound or pictures, as far as looking into it told.
pub(super) fn kind_of(media: &MediaInfo) -> Option<MediaKind> {
    match (media.width, media.sample_rate_hz) {
        (Some(_), _) => Some(MediaKind::Video),
        (None, Some(_)) => Some(MediaKind::Audio),
        (None, None) => None,
    }
}

fn is_too_late(state: RecordingState) -> bool {
    matches!(state, RecordingState::Erasing | RecordingState::Erased)
}

fn known(tx: &CatalogTx<'_>, target: HoldTarget) -> Result<(), FlowError> {
    match target {
        HoldTarget::Recording(id) if tx.recording(id)?.is_none() => Err(FlowError::NotFound(id)),
        HoldTarget::Recording(_) | HoldTarget::Conversation(_) => Ok(()),
    }
}

fn on(entry: AuditEntry, target: HoldTarget) -> AuditEntry {
    match target {
        HoldTarget::Recording(id) => entry.on_recording(id),
        HoldTarget::Conversation(id) => entry.on_conversation(id),
    }
}

const TEXT_BYTES_MAX: usize = 1_000;
const NAME_BYTES_MAX: usize = 100;
