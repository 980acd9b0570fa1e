//! Backups: begun, noted, reminded of, and made by the daemon itself.
//!
//! The catalog is copied first and the keys are taken second. A data key in the copy was wrapped
//! under a version that existed then, and versions only ever come, so the keys taken later have
//! it; a version that came in between wraps nothing of the copy and does no harm. The other way
//! round, a rotation in between would leave rows in the backup whose version it lacks. Versions
//! also go, by destruction: the key manager compares what the copy needs with what it has, and if
//! one is gone, everything is begun anew.

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use keymanager::{BackupError, BackupPublicKey, BackupWay, CatalogFacts, Manifest, SealedBackup};
use uuid::Uuid;

use crate::access::{self, Grant};
use crate::catalog::{BackupRow, CatalogCopy};
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, Actor, AuditEntry, Outcome};
use crate::domain::lifecycle::RecordingState;
use crate::flow::desk::actor;
use crate::flow::{Engine, FlowError, Warning};
use crate::vault::BackupFolder;

/// What the daemon is told about backups.
#[derive(Clone, Debug)]
pub struct BackupSettings {
    /// The backups it makes by itself.
    pub automatic: Option<AutomaticBackups>,
    /// How old the last verified backup may get before a person is reminded.
    pub remind_after: Duration,
}

/// Backups that the daemon makes by itself.
#[derive(Clone, Debug)]
pub struct AutomaticBackups {
    /// How often.
    pub every: Duration,
    /// Where to.
    pub folder: PathBuf,
    /// The file of the public key they are made for: no secret is needed on this host.
    pub recipient: PathBuf,
    /// How many are kept.
    pub keep: usize,
}

impl Default for BackupSettings {
    fn default() -> Self {
        Self { automatic: None, remind_after: Duration::from_secs(30 * 86_400) }
    }
}

/// What the engine remembers of backups while it runs.
#[derive(Debug)]
pub(super) struct BackupState {
    pub(super) settings: BackupSettings,
    /// Where sealed files lie, for the one who restores.
    pub(super) vault: String,
    is_running: Arc<AtomicBool>,
    /// When the last automatic one failed, in milliseconds since 1970; 0 if it did not.
    failed_at: AtomicI64,
}

impl BackupState {
    pub(super) fn new(settings: BackupSettings, vault: &std::path::Path) -> Self {
        Self {
            settings,
            vault: vault.to_string_lossy().into_owned(),
            is_running: Arc::default(),
            failed_at: AtomicI64::new(0),
        }
    }
}

/// A backup to be read to its end. One at a time exists.
#[derive(Debug)]
pub struct BackupStream {
    sealed: SealedBackup<CatalogCopy>,
    _turn: Turn,
}

impl BackupStream {
    /// Its id.
    pub fn id(&self) -> Uuid {
        self.sealed.manifest().backup
    }

    /// How long it will be.
    pub fn len_bytes(&self) -> u64 {
        self.sealed.len_bytes()
    }

    /// What it says about itself.
    pub fn manifest(&self) -> &Manifest {
        self.sealed.manifest()
    }
}

impl Read for BackupStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.sealed.read(buf)
    }
}

/// The right to be the one backup that is made now.
#[derive(Debug)]
struct Turn(Arc<AtomicBool>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// How a backup turned out, in the words of whoever has the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupOutcome {
    /// It lies under its name, synced.
    Kept,
    /// A trial restore opened everything. Facts of its manifest.
    Verified {
        /// Id of its key store.
        store: Option<Uuid>,
        /// When its keys were taken.
        created_at: Timestamp,
        /// Its newest key version.
        newest_version: u32,
        /// Recordings sealed when its catalog was copied.
        sealed: u64,
    },
    /// A trial restore failed.
    Damaged,
}

/// How the backups are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupStatus {
    /// When the newest kept backup was made.
    pub created_at: Option<Timestamp>,
    /// When the newest verified backup was made.
    pub verified_of: Option<Timestamp>,
    /// When that was verified.
    pub verified_at: Option<Timestamp>,
    /// Key versions that the verified one lacks.
    pub newer_key_versions: u64,
    /// Recordings that the verified one lacks.
    pub newer_recordings: u64,
    /// When the last automatic backup failed, if it did.
    pub failed_at: Option<Timestamp>,
    /// When the next automatic one is due.
    pub next_at: Option<Timestamp>,
}

impl Engine {
    /// Begins a backup that opens by each of `ways`. The audit entry is durable before a byte of
    /// it can be read. Copies the whole catalog, so it takes as long as that.
    ///
    /// # Errors
    ///
    /// [`FlowError::BackupRunning`], [`FlowError::Backup`] for what is wrong with `ways`,
    /// [`FlowError::Catalog`]. Nothing is left then.
    pub fn begin_backup(
        &self,
        grant: &Grant<access::ManageBackups>,
        ways: &[BackupWay],
        now: Timestamp,
    ) -> Result<BackupStream, FlowError> {
        self.begin(actor(grant.principal()), ways, false, now)
    }

    /// Notes how a backup turned out.
    ///
    /// # Errors
    ///
    /// [`FlowError::NoSuchBackup`] unless it is [`BackupOutcome::Verified`], which carries all
    /// that is to be known; [`FlowError::Catalog`].
    pub fn note_backup(
        &self,
        grant: &Grant<access::ManageBackups>,
        id: Uuid,
        outcome: BackupOutcome,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let entry =
            AuditEntry::new(now, actor(grant.principal()), Activity::BackupVerified).on_object(id);
        let known = self.catalog.read(|tx| tx.backups(BACKUPS_MAX))?;
        let known = known.into_iter().find(|row| row.id == id);
        match outcome {
            BackupOutcome::Kept => match self.catalog.write(|tx| tx.keep_backup(id, now))? {
                true => Ok(()),
                false => Err(FlowError::NoSuchBackup),
            },
            BackupOutcome::Verified { store, created_at, newest_version, sealed } => {
                // Another host's backup, verified here, says nothing about ours.
                if known.is_none() && store != Some(self.keys.store_id()) {
                    return Err(FlowError::NoSuchBackup);
                }
                let row = BackupRow {
                    id,
                    created_at,
                    kept_at: known.map_or(Some(now), |row| row.kept_at.or(Some(now))),
                    verified_at: Some(now),
                    damaged_at: None,
                    newest_version,
                    sealed,
                    automatic: false,
                };
                Ok(self.catalog.write(|tx| tx.put_backup(&row, &entry))?)
            }
            BackupOutcome::Damaged => {
                let known = known.ok_or(FlowError::NoSuchBackup)?;
                let row = BackupRow { damaged_at: Some(now), ..known };
                let entry = entry.with_outcome(Outcome::Failed);
                Ok(self.catalog.write(|tx| tx.put_backup(&row, &entry))?)
            }
        }
    }

    /// The newest backups, newest first.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn backups(&self, _grant: &Grant<access::ViewKeys>) -> Result<Vec<BackupRow>, FlowError> {
        Ok(self.catalog.read(|tx| tx.backups(BACKUPS_MAX))?)
    }

    /// How the backups are doing. A few index steps at any number of recordings.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn backup_status(&self) -> Result<BackupStatus, FlowError> {
        let ((kept, verified), counts) = self
            .catalog
            .read(|tx| Ok::<_, crate::catalog::CatalogError>((tx.last_backups()?, tx.counts()?)))?;
        use RecordingState as S;
        let sealed_states = [S::Sealed, S::Stored, S::Erasing, S::Erased];
        let sealed: u64 = sealed_states.map(|state| counts.in_state(state).recordings).iter().sum();
        let newest = verified.map_or(0, |row| row.newest_version);
        let newer = self.keys.versions().iter().filter(|info| info.version > newest).count();
        let failed_ms = self.backups.failed_at.load(Ordering::Acquire);
        Ok(BackupStatus {
            created_at: kept.map(|row| row.created_at),
            verified_of: verified.map(|row| row.created_at),
            verified_at: verified.and_then(|row| row.verified_at),
            newer_key_versions: newer as u64,
            newer_recordings: sealed.saturating_sub(verified.map_or(0, |row| row.sealed)),
            failed_at: (failed_ms != 0).then(|| Timestamp::from_millis(failed_ms)),
            next_at: self.next_automatic(kept),
        })
    }

    /// Makes a backup by itself if one is due; true if it did. A failure is kept for the status
    /// and tried again within the hour.
    ///
    /// # Errors
    ///
    /// [`FlowError`]; the backups that exist are as they were.
    pub fn back_up_if_due(&self, now: Timestamp) -> Result<bool, FlowError> {
        let Some(plan) = &self.backups.settings.automatic else { return Ok(false) };
        let (kept, _) = self.catalog.read(|tx| tx.last_backups())?;
        let failed_ms = self.backups.failed_at.load(Ordering::Acquire);
        let retry_at = Timestamp::from_millis(failed_ms).plus(plan.every.min(RETRY_AFTER));
        let is_due = self.next_automatic(kept).is_none_or(|next| next <= now);
        if !is_due || (failed_ms != 0 && now < retry_at) || self.is_clock_suspect() {
            return Ok(false);
        }
        let outcome = self.back_up(plan, now);
        let failed_ms = if outcome.is_ok() { 0 } else { now.as_millis() };
        self.backups.failed_at.store(failed_ms, Ordering::Release);
        outcome.map(|()| true)
    }

    /// What a person should do about backups.
    pub(super) fn backup_warnings(&self, now: Timestamp) -> Result<Vec<Warning>, FlowError> {
        let status = self.backup_status()?;
        let mut warnings = Vec::new();
        let mut warn = |code, message: String, hint: &str| {
            warnings.push(Warning { code, message, hint: hint.to_owned() });
        };
        let lacks = format!(
            "{} key versions and {} recordings are newer than it",
            status.newer_key_versions, status.newer_recordings
        );
        match status.verified_of {
            None => warn(
                "no-verified-backup",
                "no backup of keys and catalog was ever verified".to_owned(),
                "make one with `recseal backup create -o FILE`, then `recseal backup verify FILE`",
            ),
            Some(made) if now.since(made) > self.backups.settings.remind_after => warn(
                "backup-stale",
                format!(
                    "the last verified backup is {} days old; {lacks}",
                    now.since(made).as_secs() / 86_400
                ),
                "make and verify a new one: `recseal backup create`, `recseal backup verify`",
            ),
            Some(_) => {}
        }
        if status.failed_at.is_some() {
            warn(
                "backup-failed",
                "the last automatic backup could not be written".to_owned(),
                "check `[backup]`: its folder exists, has room and is writable, and its recipient \
                 is a public key of `recseal backup keygen`",
            );
        }
        Ok(warnings)
    }

    fn begin(
        &self,
        who: Actor,
        ways: &[BackupWay],
        automatic: bool,
        now: Timestamp,
    ) -> Result<BackupStream, FlowError> {
        if self.backups.is_running.swap(true, Ordering::AcqRel) {
            return Err(FlowError::BackupRunning);
        }
        let turn = Turn(Arc::clone(&self.backups.is_running));
        let sealed = self.seal(ways, now)?;
        let manifest = sealed.manifest();
        let entry = AuditEntry::new(now, who, Activity::BackupCreated).on_object(manifest.backup);
        let row = BackupRow {
            id: manifest.backup,
            created_at: now,
            kept_at: None,
            verified_at: None,
            damaged_at: None,
            newest_version: manifest.newest_version(),
            sealed: manifest.catalog.sealed,
            automatic,
        };
        self.catalog.write(|tx| tx.put_backup(&row, &entry))?;
        Ok(BackupStream { sealed, _turn: turn })
    }

    /// The catalog first, the keys second; see the module.
    fn seal(
        &self,
        ways: &[BackupWay],
        now: Timestamp,
    ) -> Result<SealedBackup<CatalogCopy>, FlowError> {
        let mut tries_left = TRIES;
        loop {
            let copy = self.catalog.copy()?;
            let facts = copy.facts().clone();
            let facts = CatalogFacts {
                len_bytes: facts.len_bytes,
                sha256: facts.sha256,
                taken_ms: now.as_millis(),
                recordings: facts.recordings,
                sealed: facts.sealed,
                data_keys: facts.data_keys,
                vault: Some(self.backups.vault.clone()),
            };
            tries_left -= 1;
            match self.keys.seal_backup(ways, facts, copy, now.as_millis()) {
                Err(BackupError::Keys(_)) if tries_left > 0 => {}
                sealed => return Ok(sealed?),
            }
        }
    }

    fn back_up(&self, plan: &AutomaticBackups, now: Timestamp) -> Result<(), FlowError> {
        let mut text = String::new();
        File::open(&plan.recipient)
            .and_then(|file| file.take(KEY_TEXT_BYTES_MAX).read_to_string(&mut text))
            .map_err(BackupError::Read)?;
        let ways = [BackupWay::Recipient(BackupPublicKey::parse(&text)?)];
        let mut stream = self.begin(Actor::DAEMON, &ways, true, now)?;
        let (id, store) = (stream.id(), stream.manifest().store);
        let folder = BackupFolder::new(&plan.folder, store);
        let failed = |source| FlowError::BackupFolder { source };
        folder.write(id, now, &mut stream).map_err(failed)?;
        self.catalog.write(|tx| tx.keep_backup(id, now))?;
        let removed = folder.prune(plan.keep).map_err(failed)?;
        self.catalog.write(|tx| tx.forget_oldest_backups(removed, now))?;
        tracing::info!(backup = %id, bytes = stream.len_bytes(), removed, "backup written");
        Ok(())
    }

    /// When the next one is due, counted from the newest kept one, whoever made it.
    fn next_automatic(&self, kept: Option<BackupRow>) -> Option<Timestamp> {
        let plan = self.backups.settings.automatic.as_ref()?;
        Some(kept?.created_at.plus(plan.every))
    }
}

/// How often a copy is begun anew because a key version was destroyed meanwhile.
const TRIES: u32 = 3;
const BACKUPS_MAX: u32 = 200;
const KEY_TEXT_BYTES_MAX: u64 = 4_096;
const RETRY_AFTER: Duration = Duration::from_secs(3_600);
