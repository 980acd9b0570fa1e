//! The lives of key-encryption keys: rotated by schedule, moved away from, destroyed by date.
//!
//! ```text
//! keep_keys    rotate, if the active version is old enough
//!              re-wrap: read a batch ─▶ wrap anew ─▶ one transaction ─▶ … ─▶ scrub, audit entry
//!              destroy what is due and needed by nothing
//! ```
//!
//! Nothing here remembers what is left to do: the rows say it. Between two batches the catalog is
//! free, so sealing goes on. Two rules make destruction exact: a data key is wrapped inside the
//! transaction that records it, and a version is destroyed inside the transaction that counted
//! nothing under it; so each sees the other.

mod report;
mod rewrap;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keymanager::{Destruction, KeyError, KeyState, KeyVersionInfo, RotationReason, Tombstone};

use crate::access::{self, Grant};
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, Actor, AuditEntry, Outcome};
use crate::flow::desk::actor;
use crate::flow::{Engine, FlowError, chain};

pub use report::KeysStatus;
pub use rewrap::RewrapStep;

/// How long versions live.
#[derive(Clone, Copy, Debug)]
pub struct KeyPolicy {
    /// Age at which the active version is replaced; `None` leaves it to people.
    pub rotate_every: Option<Duration>,
    /// Time between asking for a destruction and the destruction.
    pub destroy_wait: Duration,
}

impl Default for KeyPolicy {
    fn default() -> Self {
        Self { rotate_every: Some(90 * DAY), destroy_wait: 30 * DAY }
    }
}

/// What the engine remembers of this work. Losing it costs a look at the rows.
#[derive(Debug, Default)]
pub(super) struct Keks {
    pub(super) policy: KeyPolicy,
    /// Taken for a whole step: two at a time would do the same batch.
    job: Mutex<rewrap::Job>,
    destruction: Mutex<DestructionTry>,
}

#[derive(Debug, Default)]
struct DestructionTry {
    not_before: Option<Timestamp>,
    problem: Option<String>,
}

/// When a version is to be destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestroyWhen {
    /// After the configured time.
    Later,
    /// Not before this moment, at least [`DESTROY_WAIT_LEAST`] from now.
    At(Timestamp),
    /// In this call.
    Now,
}

/// One key version with what it is used for.
#[derive(Clone, Debug)]
pub struct KeyVersionDetail {
    /// The version.
    pub info: KeyVersionInfo,
    /// SHA-256 of its key-check value.
    pub fingerprint: Option<[u8; 32]>,
    /// Recordings whose data keys are under it.
    pub recordings: u64,
}

impl Engine {
    /// The engine with this policy instead of the default one.
    #[must_use]
    pub fn with_key_policy(mut self, policy: KeyPolicy) -> Self {
        self.keks.policy = policy;
        self
    }

    /// At most one batch of everything that is due: a rotation, moved data keys, destructions.
    /// True if more is waiting.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`], [`FlowError::Catalog`]; the next call goes on from what is recorded.
    pub fn keep_keys(&self, now: Timestamp) -> Result<bool, FlowError> {
        self.rotate_if_due(now)?;
        let is_put_off = self.rewrap_put_off_until().is_some_and(|moment| now < moment);
        if !is_put_off && !self.rewrap_step(now)?.is_done {
            return Ok(true);
        }
        let is_put_off = self.destruction().not_before.is_some_and(|moment| now < moment);
        if !is_put_off {
            self.destroy_due(now)?;
        }
        Ok(false)
    }

    /// A new version takes over at once; its number is returned. The old one is marked as known to
    /// others if `is_compromised`.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`], [`FlowError::Catalog`]; the old version is active then.
    pub fn rotate_keys(
        &self,
        grant: &Grant<access::ManageKeys>,
        is_compromised: bool,
        now: Timestamp,
    ) -> Result<u32, FlowError> {
        let reason = match is_compromised {
            true => RotationReason::Compromised,
            false => RotationReason::Manual,
        };
        self.rotate(reason, &actor(grant.principal()), now)
    }

    /// Forbids the use of a retired version for now.
    ///
    /// # Errors
    ///
    /// [`FlowError::Keys`], [`FlowError::Catalog`]; nothing was changed.
    pub fn disable_key(
        &self,
        grant: &Grant<access::ManageKeys>,
        version: u32,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let entry = self.entry(grant, Activity::KeyDisabled, version, now);
        self.change_key(entry, || self.keys.disable_kek(version))
    }

    /// Allows the use of a disabled version again.
    ///
    /// # Errors
    ///
    /// As [`Self::disable_key`].
    pub fn enable_key(
        &self,
        grant: &Grant<access::ManageKeys>,
        version: u32,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let entry = self.entry(grant, Activity::KeyEnabled, version, now);
        self.change_key(entry, || self.keys.enable_kek(version))
    }

    /// Takes the date of a destruction back; the version is disabled then.
    ///
    /// # Errors
    ///
    /// As [`Self::disable_key`].
    pub fn restore_key(
        &self,
        grant: &Grant<access::ManageKeys>,
        version: u32,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let entry = self.entry(grant, Activity::KeyDestructionCancelled, version, now);
        self.change_key(entry, || self.keys.cancel_kek_destruction(version))
    }

    /// Sets the date on which a version is destroyed, or destroys it in this call; a tombstone is
    /// returned if it is gone already.
    ///
    /// # Errors
    ///
    /// [`FlowError::KeyInUse`] while recordings need it, [`FlowError::ClockSuspect`],
    /// [`FlowError::Invalid`] for a date that is too near; [`FlowError::Keys`]: with
    /// [`DestroyWhen::Now`] the date may be set then, and the daemon tries again.
    pub fn destroy_key_version(
        &self,
        grant: &Grant<access::ManageKeys>,
        version: u32,
        when: DestroyWhen,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<Tombstone>, FlowError> {
        // A clock that is behind would make the wait too short.
        if self.is_clock_suspect() {
            return Err(FlowError::ClockSuspect);
        }
        let at = match when {
            DestroyWhen::Later => now.plus(self.keks.policy.destroy_wait),
            DestroyWhen::Now => now,
            DestroyWhen::At(moment) => moment,
        };
        if matches!(when, DestroyWhen::At(_)) && at < now.plus(DESTROY_WAIT_LEAST) {
            let why = "the date must lie 7 days ahead or more".to_owned();
            return Err(FlowError::Invalid { what: "destroying on that date", why });
        }
        self.schedule_destruction(version, at, reason, &actor(grant.principal()), now)?;
        if when != DestroyWhen::Now {
            return Ok(None);
        }
        let gone = self.destroy_due(now)?;
        Ok(gone.into_iter().find(|tombstone| tombstone.version == version))
    }

    /// Sets the date on which `version` is destroyed, if no recording needs it.
    pub(super) fn schedule_destruction(
        &self,
        version: u32,
        at: Timestamp,
        reason: &str,
        who: &Actor,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let entry = AuditEntry::new(now, who.clone(), Activity::KeyDestructionScheduled)
            .with_numbers(&[("version", version.into())]);
        let outcome = self.catalog.write(|tx| {
            // Said first: moving its recordings away would be no way out.
            if version == self.keys.active_version() {
                return Err(KeyError::ActiveVersion { version }.into());
            }
            let recordings = tx.count_keys_under(version)?;
            if recordings > 0 {
                return Err(FlowError::KeyInUse { version, recordings });
            }
            let (reason, by) = (reason.to_owned(), who.user().to_owned());
            let wish = Destruction { version, at_ms: at.as_millis(), recordings, reason, by };
            self.keys.schedule_kek_destruction(&wish)?;
            Ok(tx.append_audit(&entry).map(drop)?)
        });
        self.note_failed(entry, &outcome)?;
        outcome
    }

    /// The certificate of a destroyed version, as text.
    ///
    /// # Errors
    ///
    /// [`FlowError::NoTombstone`].
    pub fn key_certificate(
        &self,
        _grant: &Grant<access::ViewKeys>,
        version: u32,
    ) -> Result<String, FlowError> {
        let tombstones = self.keys.tombstones();
        let found = tombstones.iter().find(|tombstone| tombstone.version == version);
        found.map(Tombstone::to_text).ok_or(FlowError::NoTombstone { version })
    }

    /// Every version and what it is used for. Counts every wrapped key, some 50 ms for a million.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn key_versions(
        &self,
        _grant: &Grant<access::ViewKeys>,
    ) -> Result<Vec<KeyVersionDetail>, FlowError> {
        let used: HashMap<u32, u64> =
            self.catalog.read(|tx| tx.keys_by_version())?.into_iter().collect();
        let detail = |info: KeyVersionInfo| KeyVersionDetail {
            info,
            fingerprint: self.keys.kek_fingerprint(info.version),
            recordings: used.get(&info.version).copied().unwrap_or(0),
        };
        Ok(self.keys.versions().into_iter().map(detail).collect())
    }

    /// Destroys what is due. Does nothing while the clock is not to be trusted.
    fn destroy_due(&self, now: Timestamp) -> Result<Vec<Tombstone>, FlowError> {
        let versions = self.keys.versions();
        let is_due = |info: &&KeyVersionInfo| match info.state {
            KeyState::DestroyScheduled => info.destroy_at_ms.is_none_or(|at| at <= now.as_millis()),
            KeyState::Destroying => true,
            KeyState::Pending
            | KeyState::Active
            | KeyState::Retired
            | KeyState::Disabled
            | KeyState::Destroyed => false,
        };
        let due: Vec<u32> = versions.iter().filter(is_due).map(|info| info.version).collect();
        if due.is_empty() || self.is_clock_suspect() {
            return Ok(Vec::new());
        }
        let outcome = self.catalog.write(|tx| {
            let mut used = HashMap::new();
            for version in due {
                used.insert(version, tx.count_keys_under(version)?);
            }
            let used = |version| used.get(&version).copied().unwrap_or(u64::MAX);
            let destroyed = self.keys.destroy_due_keks(now.as_millis(), used)?;
            for tombstone in &destroyed.tombstones {
                let entry = AuditEntry::new(now, Actor::DAEMON, Activity::KeyDestroyed)
                    .with_numbers(&[("version", tombstone.version.into())]);
                tx.append_audit(&entry)?;
            }
            Ok::<_, FlowError>(destroyed)
        });
        let mut state = self.destruction();
        match outcome {
            Ok(destroyed) => {
                *state = DestructionTry::default();
                for tombstone in &destroyed.tombstones {
                    tracing::info!(version = tombstone.version, "a key version was destroyed");
                }
                Ok(destroyed.tombstones)
            }
            Err(error) => {
                state.not_before = Some(now.plus(DESTROY_AGAIN_AFTER));
                state.problem = Some(chain(&error));
                Err(error)
            }
        }
    }

    fn rotate_if_due(&self, now: Timestamp) -> Result<(), FlowError> {
        let due = self.next_rotation().is_some_and(|due| due <= now);
        if due && !self.is_clock_suspect() {
            let version = self.rotate(RotationReason::Scheduled, &Actor::DAEMON, now)?;
            tracing::info!(version, "a new key version took over by schedule");
        }
        Ok(())
    }

    pub(super) fn rotate(
        &self,
        reason: RotationReason,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<u32, FlowError> {
        self.catalog.write(|tx| {
            let old = self.keys.active_version();
            let above = tx.highest_key_version()?;
            let version = self.keys.rotate_kek(now.as_millis(), reason, above)?;
            let entry = |activity, version: u32| {
                AuditEntry::new(now, actor.clone(), activity)
                    .with_numbers(&[("version", version.into())])
            };
            if reason == RotationReason::Compromised {
                tx.append_audit(&entry(Activity::KeyCompromised, old))?;
            }
            tx.append_audit(&entry(Activity::KeyRotated, version))?;
            Ok(version)
        })
    }

    fn change_key(
        &self,
        entry: AuditEntry,
        change: impl FnOnce() -> Result<(), KeyError>,
    ) -> Result<(), FlowError> {
        let outcome = self.catalog.write(|tx| {
            change()?;
            Ok(tx.append_audit(&entry).map(drop)?)
        });
        self.note_failed(entry, &outcome)?;
        outcome
    }

    /// Records that the keys did not do it.
    fn note_failed(
        &self,
        entry: AuditEntry,
        outcome: &Result<(), FlowError>,
    ) -> Result<(), FlowError> {
        let how = match outcome {
            Err(FlowError::KeyInUse { .. }) => Outcome::Refused,
            Err(FlowError::Keys(KeyError::Disk { .. })) => Outcome::Failed,
            Err(FlowError::Keys(_)) => Outcome::Refused,
            Ok(()) | Err(_) => return Ok(()),
        };
        let entry = entry.with_outcome(how);
        Ok(self.catalog.write(|tx| tx.append_audit(&entry).map(drop))?)
    }

    fn entry(
        &self,
        grant: &Grant<access::ManageKeys>,
        activity: Activity,
        version: u32,
        now: Timestamp,
    ) -> AuditEntry {
        AuditEntry::new(now, actor(grant.principal()), activity)
            .with_numbers(&[("version", version.into())])
    }

    fn next_rotation(&self) -> Option<Timestamp> {
        let every = self.keks.policy.rotate_every?;
        let versions = self.keys.versions();
        let active = versions.iter().find(|info| info.state == KeyState::Active)?;
        Some(Timestamp::from_millis(active.created_ms).plus(every))
    }

    fn destruction(&self) -> MutexGuard<'_, DestructionTry> {
        self.keks.destruction.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const DAY: Duration = Duration::from_secs(86_400);
/// The shortest wait that a date may leave.
pub const DESTROY_WAIT_LEAST: Duration = Duration::from_secs(7 * 86_400);
const DESTROY_AGAIN_AFTER: Duration = Duration::from_secs(60);
