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

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keymanager::{Destruction, KeyState, KeyVersionInfo, Rewrapper, RotationReason, Tombstone};

use crate::access::{self, Grant};
use crate::catalog::MovedKey;
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, Actor, AuditEntry, Outcome};
use crate::domain::RecordingId;
use crate::flow::crash::crash_point;
use crate::flow::desk::actor;
use crate::flow::{Engine, FlowError, Warning, chain, parallel};

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
    job: Mutex<Job>,
    destruction: Mutex<DestructionTry>,
}

#[derive(Debug, Default)]
struct Job {
    /// The last row looked at in this pass.
    after: Option<(u32, RecordingId)>,
    /// Rows of this pass that could not be moved.
    failed: u64,
    seen: Progress,
    /// After a pass with failures, nothing is tried before this moment.
    not_before: Option<Timestamp>,
}

/// What people are shown of a running job.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    began: Option<Timestamp>,
    moved: u64,
    failed: u64,
    per_second: u64,
}

#[derive(Debug, Default)]
struct DestructionTry {
    not_before: Option<Timestamp>,
    problem: Option<String>,
}

/// What one step of re-wrapping came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RewrapStep {
    /// Data keys moved by it.
    pub moved: u64,
    /// Data keys still under a version that was left behind.
    pub pending: u64,
    /// Of those, found in this pass to be damaged or another recording's.
    pub failed: u64,
    /// True if there is nothing left to do now.
    pub is_done: bool,
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

/// The keys in status and metrics.
#[derive(Clone, Debug, Default)]
pub struct KeysStatus {
    /// Every version, oldest first.
    pub versions: Vec<KeyVersionInfo>,
    /// The one that wraps.
    pub active_version: u32,
    /// How old it is.
    pub active_age: Duration,
    /// When the next one takes over, if by itself.
    pub next_rotation_at: Option<Timestamp>,
    /// Data keys still to be wrapped anew.
    pub rewrap_pending: u64,
    /// Of the running job, as of its last batch.
    pub rewrap_per_second: u64,
    /// Of the running job.
    pub rewrap_eta_seconds: Option<u64>,
    /// Of the last pass.
    pub rewrap_failed: u64,
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
        let is_put_off = self.job().not_before.is_some_and(|moment| now < moment);
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

    /// Moves one batch of data keys to the active version. When none is left, takes the old forms
    /// out of the files and records the job. Calls wait for each other.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`]; call again.
    pub fn rewrap_step(&self, now: Timestamp) -> Result<RewrapStep, FlowError> {
        let mut job = self.job();
        let rewrapper = self.keys.rewrapper();
        let rows = self.next_rows(&mut job, &rewrapper)?;
        if rows.is_empty() {
            return self.finish_rewrap(&mut job, &rewrapper, now);
        }
        let (keys, failed) = rewrap(&rewrapper, &rows);
        let moved = self.catalog.write(|tx| {
            // A rotation meanwhile: what was made for the version before could outlive it.
            if self.keys.active_version() != rewrapper.active_version() {
                return Ok::<_, FlowError>(None);
            }
            Ok(Some(tx.move_keys(&keys)?))
        })?;
        crash_point("keks.batch_moved");
        let pending = self.pending(&rewrapper)?;
        let Some(moved) = moved else {
            return Ok(RewrapStep { pending, ..RewrapStep::default() });
        };
        let last = rows.last().expect("a batch that is not empty has a last row");
        job.after = Some((last.version, last.recording));
        job.failed += failed;
        job.note(moved, now);
        Ok(RewrapStep { moved, pending, failed: job.failed, is_done: false })
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
        self.change_key(&entry, || self.keys.disable_kek(version))
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
        self.change_key(&entry, || self.keys.enable_kek(version))
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
        self.change_key(&entry, || self.keys.cancel_kek_destruction(version))
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
        if when == DestroyWhen::Now && self.is_clock_suspect() {
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
        let by = grant.principal().user.clone();
        let entry = self.entry(grant, Activity::KeyDestructionScheduled, version, now);
        let outcome = self.catalog.write(|tx| {
            let recordings = tx.count_keys_under(version)?;
            if recordings > 0 {
                return Err(FlowError::KeyInUse { version, recordings });
            }
            let at_ms = at.as_millis();
            let reason = reason.to_owned();
            let wish = Destruction { version, at_ms, recordings, reason, by };
            self.keys.schedule_kek_destruction(&wish)?;
            Ok(tx.append_audit(&entry).map(drop)?)
        });
        if let Err(FlowError::KeyInUse { .. }) = &outcome {
            let refused = entry.with_outcome(Outcome::Refused);
            self.catalog.write(|tx| tx.append_audit(&refused).map(drop))?;
        }
        outcome?;
        if when != DestroyWhen::Now {
            return Ok(None);
        }
        let gone = self.destroy_due(now)?;
        Ok(gone.into_iter().find(|tombstone| tombstone.version == version))
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

    fn rotate(
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
        entry: &AuditEntry,
        change: impl FnOnce() -> Result<(), keymanager::KeyError>,
    ) -> Result<(), FlowError> {
        self.catalog.write(|tx| {
            change()?;
            Ok(tx.append_audit(entry).map(drop)?)
        })
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

    /// The next rows to move, none at the end of a pass.
    fn next_rows(&self, job: &mut Job, rewrapper: &Rewrapper) -> Result<Vec<Row>, FlowError> {
        let begin = job.after.map_or(0, |(version, _)| version);
        for version in rewrapper.left_behind().into_iter().filter(|version| *version >= begin) {
            let after = job.after.filter(|(at, _)| *at == version).map(|(_, recording)| recording);
            let rows = self.catalog.read(|tx| tx.keys_under(version, after, BATCH_ROWS))?;
            if !rows.is_empty() {
                let row = |(recording, key)| Row { version, recording, key };
                return Ok(rows.into_iter().map(row).collect());
            }
        }
        Ok(Vec::new())
    }

    fn finish_rewrap(
        &self,
        job: &mut Job,
        rewrapper: &Rewrapper,
        now: Timestamp,
    ) -> Result<RewrapStep, FlowError> {
        let moved = self.catalog.read(|tx| tx.keys_moved())?;
        if moved > 0 {
            // The old forms open with the old version: they leave the files before this is done.
            self.catalog.scrub()?;
            crash_point("keks.scrubbed");
            let entry =
                AuditEntry::new(now, Actor::DAEMON, Activity::KeysRewrapped).with_numbers(&[
                    ("version", rewrapper.active_version().into()),
                    ("data_keys", moved),
                    ("failed", job.failed),
                ]);
            self.catalog.write(|tx| {
                tx.settle_moved_keys()?;
                tx.append_audit(&entry).map(drop)
            })?;
            tracing::info!(data_keys = moved, failed = job.failed, "data keys were wrapped anew");
        }
        let failed = job.failed;
        *job = Job::default();
        job.seen.failed = failed;
        job.not_before = (failed > 0).then(|| now.plus(REWRAP_AGAIN_AFTER));
        let pending = self.pending(rewrapper)?;
        // Rows that came in meanwhile are the next pass's.
        Ok(RewrapStep { moved: 0, pending, failed, is_done: pending <= failed })
    }

    fn pending(&self, rewrapper: &Rewrapper) -> Result<u64, FlowError> {
        let versions = rewrapper.left_behind();
        Ok(self.catalog.read(|tx| {
            versions.iter().map(|version| tx.count_keys_under(*version)).sum::<Result<u64, _>>()
        })?)
    }

    fn next_rotation(&self) -> Option<Timestamp> {
        let every = self.keks.policy.rotate_every?;
        let versions = self.keys.versions();
        let active = versions.iter().find(|info| info.state == KeyState::Active)?;
        Some(Timestamp::from_millis(active.created_ms).plus(every))
    }

    /// The keys for status. Costs what is left to be moved.
    pub(super) fn keys_status(&self, now: Timestamp) -> Result<KeysStatus, FlowError> {
        let versions = self.keys.versions();
        let active = versions.iter().find(|info| info.state == KeyState::Active);
        let active_since = active.map_or(now, |info| Timestamp::from_millis(info.created_ms));
        let rewrap_pending = self.pending(&self.keys.rewrapper())?;
        // Not waited for: a step may take a second.
        let seen = self.keks.job.try_lock().map(|job| job.seen).unwrap_or_default();
        Ok(KeysStatus {
            active_version: active.map_or(0, |info| info.version),
            active_age: now.since(active_since),
            next_rotation_at: self.next_rotation(),
            rewrap_pending,
            rewrap_per_second: seen.per_second,
            rewrap_eta_seconds: rewrap_pending.checked_div(seen.per_second),
            rewrap_failed: seen.failed,
            versions,
        })
    }

    /// What a person should know about key versions.
    pub(super) fn kek_warnings(
        &self,
        keys: &KeysStatus,
        now: Timestamp,
    ) -> Result<Vec<Warning>, FlowError> {
        let mut warnings = Vec::new();
        if let Some(due) = keys.next_rotation_at
            && now.since(due) > OVERDUE_AFTER
        {
            warnings.push(Warning {
                code: "key-rotation-overdue",
                message: format!(
                    "key version {} should have been replaced {} days ago",
                    keys.active_version,
                    now.since(due).as_secs() / 86_400
                ),
                hint: "see the log for why it was not; `recseal keys rotate` does it now".into(),
            });
        }
        for info in &keys.versions {
            let count = || self.catalog.read(|tx| tx.count_keys_under(info.version));
            if info.compromised && info.state.has_key() && count()? > 0 {
                warnings.push(Warning {
                    code: "key-compromised-rewrap-pending",
                    message: format!(
                        "key version {} may be known to others, and {} recordings are under it",
                        info.version,
                        count()?
                    ),
                    hint: "`recseal keys rewrap --wait`, then `recseal keys destroy VERSION`"
                        .into(),
                });
            }
            let is_due = info.destroy_at_ms.is_some_and(|at| at <= now.as_millis());
            if info.state == KeyState::DestroyScheduled && is_due && count()? > 0 {
                warnings.push(Warning {
                    code: "key-destruction-blocked",
                    message: format!(
                        "key version {} is due for destruction, but {} recordings need it",
                        info.version,
                        count()?
                    ),
                    hint: "`recseal keys rewrap --wait` moves them to the active version".into(),
                });
            }
        }
        if let Some(problem) = &self.destruction().problem {
            warnings.push(Warning {
                code: "key-destruction-blocked",
                message: format!("a key version could not be destroyed: {problem}"),
                hint: "remove damaged generations of the key store once they are not needed, and \
                       check the disk; it is tried again by itself"
                    .into(),
            });
        }
        Ok(warnings)
    }

    fn job(&self) -> MutexGuard<'_, Job> {
        self.keks.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn destruction(&self) -> MutexGuard<'_, DestructionTry> {
        self.keks.destruction.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    fn note(&mut self, moved: u64, now: Timestamp) {
        let began = *self.seen.began.get_or_insert(now);
        let millis = now.since(began).as_millis().max(1);
        // The first batch has no duration yet: the rate is that of the batches behind it.
        self.seen.per_second = u64::try_from(u128::from(self.seen.moved) * 1_000 / millis)
            .ok()
            .filter(|_| self.seen.moved > 0 && millis > 1)
            .unwrap_or(0);
        self.seen.moved += moved;
        self.seen.failed = self.failed;
    }
}

/// One row of a batch; no key if its bytes are none.
struct Row {
    version: u32,
    recording: RecordingId,
    key: Option<keymanager::WrappedKey>,
}

/// Wraps a batch anew on two threads; rows that cannot be are counted and left as they are.
fn rewrap(rewrapper: &Rewrapper, rows: &[Row]) -> (Vec<MovedKey>, u64) {
    let parts: Vec<&[Row]> = rows.chunks(rows.len().div_ceil(REWRAP_THREADS).max(1)).collect();
    let moved = parallel::map(REWRAP_THREADS, parts, |part| {
        let anew = |row: &Row| {
            let old = row.key?;
            let new = rewrapper.rewrap(row.recording.0, &old).ok()?;
            Some(MovedKey { recording: row.recording, old, new })
        };
        part.iter().filter_map(anew).collect::<Vec<_>>()
    });
    let moved: Vec<MovedKey> = moved.into_iter().flatten().collect();
    let failed = rows.len() - moved.len();
    (moved, failed as u64)
}

const DAY: Duration = Duration::from_secs(86_400);
/// The shortest wait that a date may leave.
pub const DESTROY_WAIT_LEAST: Duration = Duration::from_secs(7 * 86_400);
/// Rows for one transaction: some 100 ms without the writer for everybody else.
const BATCH_ROWS: usize = 10_000;
const REWRAP_THREADS: usize = 2;
/// Rows that could not be moved are looked at again after this.
const REWRAP_AGAIN_AFTER: Duration = Duration::from_secs(600);
const DESTROY_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// The daemon rotates by itself; from here on a person hears that it did not.
const OVERDUE_AFTER: Duration = Duration::from_secs(3_600);
