//! The straight lines: what happens to a recording from the moment it is seen.
//!
//! ```text
//! discover   a folder is listed and compared with the catalog      Found, Settled
//! ingest     key recorded → sealed → read back → proved equal      Sealing, Sealed
//! removal    the original is overwritten and removed               Stored
//! redact     stretches are left out, and what is left is sealed anew
//! desk       people and programs ask: list, play, verify, export
//! ```
//!
//! Only this floor knows that keys, sealed files, vaults and the catalog belong together. Every
//! line can be cut anywhere: until `Sealed` the original is the good copy, from then on the
//! sealed one, and [`Engine::recover`] puts the rest right from the recorded state alone.

mod answers;
mod authority;
mod backup;
mod certificates;
pub mod crash;
mod desk;
mod discover;
mod erase;
mod holds;
mod ingest;
mod keks;
mod ledger;
mod looks;
mod parallel;
mod pieces;
mod recover;
mod redact;
mod removal;
mod renewal;
mod restore;
mod seal_keys;
mod sidecars;
mod slots;
mod status;
mod stores;
mod tombstones;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use keymanager::KeyManager;

use crate::catalog::{Catalog, CatalogError};
use crate::clock::Timestamp;
use crate::domain::lifecycle::RecordingState;
use crate::domain::{RecordingId, StoreId, StorePath};
use crate::media::redact::RedactError;
use crate::media::redact::ffmpeg::Ffmpeg;
use crate::vault::{LocalVault, VaultError};

pub use answers::{Recalled, Repeatable};
pub use authority::{AuthorityView, ClientRule, IssuedClient};
pub use backup::{AutomaticBackups, BackupOutcome, BackupSettings, BackupStatus, BackupStream};
pub use desk::{PlayAs, Playback, PlaybackReader, RecordingDetail, RecordingFilter, Verified};
pub use discover::{Discovered, Places};
pub use erase::{
    ActiveErasure, EraseStep, ErasureOrder, ErasurePolicy, ErasurePulse, ErasureStatus, Finalized,
    JobControl, JobDetail, Ordered, RuleCount, Selection, Window,
};
pub use holds::{NewHold, PlacedHold};
pub use ingest::{Ingested, chain};
pub use keks::{
    DESTROY_WAIT_LEAST, DestroyWhen, KeyPolicy, KeyVersionDetail, KeysStatus, RewrapStep,
};
pub use ledger::{AuditFilter, CHECKPOINT_CONTEXT};
pub use redact::{Redacted, RedactionRequest};
pub use renewal::{CertificatePlan, Origin, RenewalFailure, RenewalStatus, TICK_MS, Tended};
pub use restore::{
    Progress, Proof, RestoreError, RestoreTo, Restored, Since, Stage, restore, trial,
};
pub use seal_keys::{SealKeyUse, SealedTo};
pub use slots::{Unlocked, WantedSlot};
pub use status::{CertificateStatus, Counts, Status, StoreStatus, Totals, Warning};
pub use stores::{Layout, StoreSlot, StoreSpec};
pub use tombstones::{TombstoneError, Tombstones};

/// What the engine is built from.
pub struct Parts {
    /// The opened catalog.
    pub catalog: Catalog,
    /// The opened keys.
    pub keys: KeyManager,
    /// Where sealed files of `layout = "vault"` lie.
    pub vault: LocalVault,
    /// The state folder; never scanned, even if it lies inside a store.
    pub state: PathBuf,
    /// The folder of `vault`; never scanned either.
    pub vault_path: PathBuf,
    /// Room that is left free where sealed files are written.
    pub reserve_bytes: u64,
    /// The watched trees.
    pub stores: Vec<StoreSpec>,
    /// Recordings sealed side by side.
    pub workers: usize,
    /// Recordings per batch, and so per catalog commit.
    pub batch: usize,
    /// When the program started.
    pub started_at: Timestamp,
    /// When to back up, and when to remind of it.
    pub backups: BackupSettings,
    /// How the eraser works.
    pub erasure: ErasurePolicy,
    /// For redacting what is not redacted in process.
    pub ffmpeg: Option<Ffmpeg>,
}

/// Everything recseal does, without sockets and timers. Share it as `Arc`; every call blocks.
pub struct Engine {
    catalog: Catalog,
    keys: KeyManager,
    vault: LocalVault,
    stores: Vec<StoreSlot>,
    workers: usize,
    batch: usize,
    started_at: Timestamp,
    recovered: AtomicBool,
    /// Files whose recorder said that it is done with them.
    told: Mutex<HashSet<(StoreId, StorePath)>>,
    totals: TotalCounters,
    /// The clock jumped: nothing irrevocable may follow its word.
    clock_suspect: AtomicBool,
    /// Which certificates stand for which role.
    client_rules: OnceLock<Vec<ClientRule>>,
    keks: keks::Keks,
    renewal: renewal::RenewalDesk,
    backups: backup::BackupState,
    erase: erase::EraseDesk,
    ffmpeg: Option<Ffmpeg>,
    /// Held by the one redaction at a time.
    redacting: Mutex<()>,
}

impl Engine {
    /// Puts the parts together. Nothing is read or written but the list of known stores.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn new(parts: Parts) -> Result<Self, FlowError> {
        let known = parts.catalog.read(|tx| tx.stores())?;
        let backups = backup::BackupState::new(parts.backups, &parts.vault_path);
        let erase = erase::EraseDesk::new(parts.erasure, parts.state.clone());
        let excluded = vec![parts.state, parts.vault_path];
        let stores = parts
            .stores
            .into_iter()
            .map(|spec| {
                let root = spec.path.canonicalize().unwrap_or_else(|_| spec.path.clone());
                let known_as = known.iter().find(|row| row.root == root).map(|row| row.id);
                StoreSlot::new(spec, known_as, excluded.clone(), parts.reserve_bytes)
            })
            .collect();
        Ok(Self {
            catalog: parts.catalog,
            keys: parts.keys,
            vault: parts.vault,
            stores,
            workers: parts.workers,
            batch: parts.batch,
            started_at: parts.started_at,
            recovered: AtomicBool::new(false),
            told: Mutex::default(),
            totals: TotalCounters::default(),
            clock_suspect: AtomicBool::new(false),
            client_rules: OnceLock::new(),
            keks: keks::Keks::default(),
            renewal: renewal::RenewalDesk::default(),
            backups,
            erase,
            ffmpeg: parts.ffmpeg,
            redacting: Mutex::default(),
        })
    }

    /// The stores, in the order of the configuration.
    pub fn stores(&self) -> &[StoreSlot] {
        &self.stores
    }

    /// The keys, for certificates and public keys.
    pub fn keys(&self) -> &KeyManager {
        &self.keys
    }

    /// True if the catalog answers: proof of life for a watchdog.
    pub fn is_answering(&self) -> bool {
        self.catalog.read(|tx| tx.counts()).is_ok()
    }

    /// True while the clock is not to be trusted: nothing is issued or destroyed by date then.
    pub fn is_clock_suspect(&self) -> bool {
        self.clock_suspect.load(Ordering::Acquire)
    }

    /// Notes whether the clock is to be trusted.
    pub fn note_clock(&self, is_suspect: bool) {
        self.clock_suspect.store(is_suspect, Ordering::Release);
    }

    /// Notes how the watcher is doing, for status and metrics.
    pub fn note_watching(&self, watches: u64, overflows: u64) {
        self.totals.watches.store(watches, Ordering::Relaxed);
        self.totals.watch_overflows.store(overflows, Ordering::Relaxed);
    }

    /// A file that keeps changing and is never finished: a person should know.
    fn note_alarm(&self, store: StoreId, why: &'static str) {
        tracing::warn!(store = %store, why, "a file is not finished for a long time");
    }

    fn slot_of(&self, store: StoreId) -> Option<&StoreSlot> {
        self.stores.iter().find(|slot| slot.id() == Some(store))
    }

    fn told(&self) -> MutexGuard<'_, HashSet<(StoreId, StorePath)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Running totals since start, for metrics.
#[derive(Debug, Default)]
struct TotalCounters {
    found: AtomicU64,
    found_by_scan: AtomicU64,
    sealed: AtomicU64,
    sealed_bytes: AtomicU64,
    seal_failures: AtomicU64,
    originals_removed: AtomicU64,
    scans: AtomicU64,
    secrets_found: AtomicU64,
    watches: AtomicU64,
    watch_overflows: AtomicU64,
}

impl TotalCounters {
    fn count_sealed(&self, recordings: u64, bytes: u64) {
        self.sealed.fetch_add(recordings, Ordering::Relaxed);
        self.sealed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn count_failure(&self) {
        self.seal_failures.fetch_add(1, Ordering::Relaxed);
    }

    fn count_removed(&self, originals: u64) {
        self.originals_removed.fetch_add(originals, Ordering::Relaxed);
    }

    fn count_secrets(&self, findings: u64) {
        self.secrets_found.fetch_add(findings, Ordering::Relaxed);
    }
}

/// Why a flow stopped. The state it leaves is the one the catalog tells: nothing is half-recorded.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// No such recording, or it was never one.
    #[error("there is no recording {0}")]
    NotFound(RecordingId),
    /// Nothing to open yet, or no longer.
    #[error("the media of {id} cannot be opened: it is {}", state.as_str())]
    NotOpen {
        /// Which one.
        id: RecordingId,
        /// Its state.
        state: RecordingState,
    },
    /// Only the holder of a private key can open it, and that is not this host.
    #[error("recording {id} is sealed to seal key {}, which this host cannot open", to.id)]
    SealedToPublicKey {
        /// Which one.
        id: RecordingId,
        /// Whose it is.
        to: SealedTo,
    },
    /// The path names none of the configured stores.
    #[error("there is no store with that path")]
    NoSuchStore,
    /// No such token, or it was revoked before.
    #[error("there is no such token, or it was revoked before")]
    NoSuchToken,
    /// The request cannot be carried out as it stands.
    #[error("{what} is not possible: {why}")]
    Invalid {
        /// The act.
        what: &'static str,
        /// The reason, without personal data.
        why: String,
    },
    /// The sealed copy is not what was sealed.
    #[error("the sealed copy of {id} does not verify")]
    Damaged {
        /// Which one.
        id: RecordingId,
        /// What is wrong with it.
        source: crate::seal::SealError,
    },
    /// Recordings would be lost with this key version.
    #[error("key version {version} is needed by {recordings} recordings")]
    KeyInUse {
        /// The version.
        version: u32,
        /// How many.
        recordings: u64,
    },
    /// The version is not destroyed, so there is nothing to certify.
    #[error("key version {version} is not destroyed")]
    NoTombstone {
        /// The version.
        version: u32,
    },
    /// Nothing irrevocable is done by a clock that jumped.
    #[error("the clock of this host is not to be trusted now")]
    ClockSuspect,
    /// A backup could not be made.
    #[error("the backup was not made")]
    Backup(#[from] keymanager::BackupError),
    /// One is being made.
    #[error("a backup is being made already")]
    BackupRunning,
    /// No backup with that id was made here.
    #[error("there is no such backup")]
    NoSuchBackup,
    /// The folder of automatic backups cannot be used.
    #[error("the folder of automatic backups cannot be used")]
    BackupFolder {
        /// Why.
        source: VaultError,
    },
    /// So many recordings are not erased without the number being repeated.
    #[error("this erases {recordings} recordings; the number was not confirmed")]
    ConfirmCount {
        /// How many.
        recordings: u64,
        /// And their bytes.
        bytes: u64,
    },
    /// Whoever asked for it cannot agree to it as well.
    #[error("whoever asked for an erasure cannot approve it")]
    SamePerson,
    /// No such job.
    #[error("there is no such erasure")]
    NoSuchJob,
    /// The job is not in a state for that.
    #[error("the erasure is {}", state.as_str())]
    JobState {
        /// Its state.
        state: crate::compliance::erasure::JobState,
    },
    /// No hold or protection in force with that id.
    #[error("there is no such hold in force")]
    NoSuchHold,
    /// No such retention rule.
    #[error("there is no such retention rule")]
    NoSuchRule,
    /// It has no certificate yet.
    #[error("recording {id} is not erased: it is {}", state.as_str())]
    NotErased {
        /// Which one.
        id: RecordingId,
        /// Its state.
        state: RecordingState,
    },
    /// The keys could not do it.
    #[error("the keys refused")]
    Keys(#[from] keymanager::KeyError),
    /// The catalog could not do it; its transaction was rolled back.
    #[error("the catalog failed")]
    Catalog(#[from] CatalogError),
    /// A recording was not redacted; it is what it was.
    #[error("recording {id} was not redacted: {source}")]
    Redaction {
        /// Which one.
        id: RecordingId,
        /// Why not.
        source: RedactError,
    },
    /// One is being redacted.
    #[error("another recording is being redacted")]
    RedactionRunning,
    /// A sidecar could not be sealed or proved.
    #[error("a sidecar of {id}: {why}")]
    Sidecar {
        /// The recording it belongs to.
        id: RecordingId,
        /// The reason, without personal data.
        why: String,
    },
    /// The vault could not do it.
    #[error("the vault failed for {id}")]
    Vault {
        /// Which recording.
        id: RecordingId,
        /// What went wrong.
        source: VaultError,
    },
}
