//! What the engine says about itself: counts, stores, certificate, warnings.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keymanager::KeyWarning;

use crate::catalog::{self, MediaState};
use crate::clock::Timestamp;
use crate::domain::StoreId;
use crate::domain::lifecycle::RecordingState;
use crate::flow::{
    BackupStatus, Engine, ErasureStatus, FlowError, KeysStatus, RenewalStatus, StoreSlot,
};
use crate::intake::WatchMode;

/// What `recseal status` shows. Store paths are for local callers only; nothing else is personal.
#[derive(Clone, Debug)]
pub struct Status {
    /// Version of the program.
    pub version: &'static str,
    /// Keys open, catalog answers, every store looked at once.
    pub ready: bool,
    /// True while the keys are not open.
    pub sealed_keys: bool,
    /// Recordings by the words people see.
    pub recordings: Counts,
    /// What the HTTPS listener serves.
    pub certificate: CertificateStatus,
    /// Each store.
    pub stores: Vec<StoreStatus>,
    /// What a person should mend.
    pub warnings: Vec<Warning>,
    /// Named readiness checks.
    pub checks: Vec<(&'static str, bool)>,
    /// When the program started.
    pub started_at: Timestamp,
    /// Running totals.
    pub totals: Totals,
    /// Key versions and what happens to them.
    pub keys: KeysStatus,
    /// How renewals of the certificate are going.
    pub renewal: RenewalStatus,
    /// How the backups are doing.
    pub backup: BackupStatus,
    /// What is owed to be erased, and how far that is.
    pub erasure: ErasureStatus,
}

/// One thing to mend.
#[derive(Clone, Debug)]
pub struct Warning {
    /// Stable code.
    pub code: &'static str,
    /// What is the matter.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Recordings by the words people see.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Can be played.
    pub available: u64,
    /// Can be played, and will be erased.
    pub planned_for_deletion: u64,
    /// Erased, or being erased.
    pub deleted: u64,
    /// Waits for a person.
    pub quarantined: u64,
    /// Found and not sealed yet.
    pub waiting: u64,
    /// Bytes of those.
    pub waiting_bytes: u64,
    /// Sealed, and the original still to be removed. Counted among `available` too.
    pub originals_waiting: u64,
}

/// What the HTTPS listener serves.
#[derive(Clone, Debug)]
pub struct CertificateStatus {
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// Names it is for.
    pub names: Vec<String>,
    /// SHA-256 of the certificate, hex.
    pub sha256: String,
    /// Where it came from.
    pub source: &'static str,
}

/// One store.
#[derive(Clone, Debug)]
pub struct StoreStatus {
    /// Its id, once it was opened.
    pub id: Option<StoreId>,
    /// Its root, as configured.
    pub path: PathBuf,
    /// Its recorder.
    pub profile: &'static str,
    /// Where sealed files go.
    pub layout: &'static str,
    /// `events` or `poll`.
    pub mode: &'static str,
    /// Why it is polled.
    pub mode_reason: Option<String>,
    /// `starting`, `watching` or `lost`.
    pub state: &'static str,
    /// Why it is lost.
    pub reason: Option<String>,
    /// Recordings found and not sealed yet.
    pub waiting: u64,
    /// Sidecars that wait for a recording.
    pub sidecars_waiting: u64,
    /// Files with several names: they cannot be erased by removing one.
    pub hard_links: u64,
    /// Symlinks, special files, unreadable ones, foreign mounts.
    pub skipped: u64,
    /// End of the last whole scan.
    pub last_scan_at: Option<Timestamp>,
    /// How long it took.
    pub last_scan: Option<Duration>,
    /// Files it saw.
    pub last_scan_files: u64,
    /// File system below.
    pub file_system: String,
    /// Device class below.
    pub media: String,
    /// What overwriting can promise here.
    pub promise: &'static str,
}

/// Running totals since start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Files found.
    pub found: u64,
    /// Of those, found by a whole scan and not by a bell: the honest measure of the watcher.
    pub found_by_scan: u64,
    /// Recordings sealed.
    pub sealed: u64,
    /// Their bytes.
    pub sealed_bytes: u64,
    /// Attempts that failed.
    pub seal_failures: u64,
    /// Originals removed.
    pub originals_removed: u64,
    /// Whole scans.
    pub scans: u64,
    /// Credentials found in sidecars.
    pub secrets_found: u64,
    /// Folders watched now.
    pub watches: u64,
    /// Times the kernel dropped events.
    pub watch_overflows: u64,
}

impl Engine {
    /// Everything about the engine's health. A few milliseconds at any number of recordings.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`]; nothing is changed.
    pub fn status(&self, now: Timestamp) -> Result<Status, FlowError> {
        let counts = self.catalog.read(|tx| tx.counts())?;
        let recordings = Counts::of(&counts);
        let mut stores = Vec::with_capacity(self.stores.len());
        for slot in &self.stores {
            let waiting = match slot.id() {
                Some(id) => {
                    let counts = self.catalog.read(|tx| tx.counts_of(id))?;
                    counts.shown_as(MediaState::Waiting).recordings
                }
                None => 0,
            };
            stores.push(store_status(slot, waiting));
        }
        let looked = stores.iter().all(|store| store.state != "starting");
        let recovered = self.recovered.load(Ordering::Acquire);
        let checks = vec![
            ("keys", true),
            ("catalog", true),
            ("recovered", recovered),
            ("first_scan", looked),
        ];
        let keys = self.keys_status(now)?;
        let mut warnings = self.warnings(&stores, &recordings, now)?;
        warnings.extend(self.kek_warnings(&keys, now)?);
        let erasure = self.erasure_status(now)?;
        warnings.extend(self.erasure_warnings(&erasure));
        Ok(Status {
            version: env!("CARGO_PKG_VERSION"),
            ready: looked && recovered,
            sealed_keys: false,
            recordings,
            certificate: self.certificate(),
            warnings,
            backup: self.backup_status()?,
            erasure,
            stores,
            checks,
            started_at: self.started_at,
            totals: self.totals(),
            keys,
            renewal: self.renewal_status(now),
        })
    }

    fn certificate(&self) -> CertificateStatus {
        let facts = self.keys.tls().facts();
        CertificateStatus {
            not_before: Timestamp::from_millis(facts.not_before_ms),
            not_after: Timestamp::from_millis(facts.not_after_ms),
            names: facts.names.clone(),
            sha256: facts.sha256,
            source: self.keys.certificate_source().as_str(),
        }
    }

    fn totals(&self) -> Totals {
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let totals = &self.totals;
        Totals {
            found: get(&totals.found),
            found_by_scan: get(&totals.found_by_scan),
            sealed: get(&totals.sealed),
            sealed_bytes: get(&totals.sealed_bytes),
            seal_failures: get(&totals.seal_failures),
            originals_removed: get(&totals.originals_removed),
            scans: get(&totals.scans),
            secrets_found: get(&totals.secrets_found),
            watches: get(&totals.watches),
            watch_overflows: get(&totals.watch_overflows),
        }
    }

    fn warnings(
        &self,
        stores: &[StoreStatus],
        counts: &Counts,
        now: Timestamp,
    ) -> Result<Vec<Warning>, FlowError> {
        let mut warnings: Vec<Warning> =
            self.keys.warnings().into_iter().map(key_warning).collect();
        warnings.extend(self.authority_warnings());
        for (number, store) in stores.iter().enumerate() {
            if let Some(reason) = &store.reason {
                warnings.push(Warning {
                    code: "store-lost",
                    message: format!("store {} is not watched: {reason}", number + 1),
                    hint:
                        "mount it, correct its path, or let the service write to it; work goes on \
                           by itself then"
                            .to_owned(),
                });
            }
            if store.hard_links > 0 {
                warnings.push(Warning {
                    code: "hard-links",
                    message: format!(
                        "{} files of store {} have more than one name",
                        store.hard_links,
                        number + 1
                    ),
                    hint: "remove the other names: a file cannot be erased through one of them"
                        .to_owned(),
                });
            }
        }
        if counts.originals_waiting > 0 {
            warnings.push(Warning {
                code: "originals-waiting",
                message: format!(
                    "{} recordings are sealed but their originals could not be removed yet",
                    counts.originals_waiting
                ),
                hint: "let the service write to the store; `recseal doctor` checks its rights"
                    .to_owned(),
            });
        }
        if counts.quarantined > 0 {
            warnings.push(Warning {
                code: "quarantined",
                message: format!("{} recordings wait for a person", counts.quarantined),
                hint: "see `recseal recordings --state-is quarantined`, then `recordings release`"
                    .to_owned(),
            });
        }
        warnings.extend(self.seal_key_warnings());
        warnings.extend(self.certificate_warnings(now));
        warnings.extend(self.backup_warnings(now)?);
        Ok(warnings)
    }
}

impl Counts {
    fn of(counts: &catalog::Counts) -> Self {
        let shown = |state| counts.shown_as(state).recordings;
        let waiting = counts.shown_as(MediaState::Waiting);
        Self {
            available: shown(MediaState::Available),
            planned_for_deletion: shown(MediaState::PlannedForDeletion),
            deleted: shown(MediaState::Deleted),
            quarantined: shown(MediaState::Quarantined),
            waiting: waiting.recordings,
            waiting_bytes: waiting.bytes,
            originals_waiting: counts.in_state(RecordingState::Sealed).recordings,
        }
    }
}

fn key_warning(warning: KeyWarning) -> Warning {
    let (code, message, hint) = match warning {
        KeyWarning::OpenToOthers { what, mode } => (
            "keys-open-to-others",
            format!("{what} can be read by others (mode {:03o})", mode & 0o777),
            "chmod it to 0600, folders to 0700, and ask who may have read it",
        ),
        KeyWarning::DamagedGeneration { generation } => (
            "keys-damaged",
            format!("generation {generation} of the key store is damaged; an older one is used"),
            "keep a copy of the state folder and check the disk: newer keys may be missing",
        ),
        KeyWarning::SurplusGeneration { generation } => (
            "keys-surplus",
            format!("an old generation {generation} of the key store could not be destroyed yet"),
            "it is tried again at the next change; check the rights of the state folder",
        ),
        KeyWarning::RotationUnfinished => (
            "root-rotation-unfinished",
            "a new root key is in use, but old generations could not be destroyed yet".to_owned(),
            "check disk and rights of the state folder, then `recseal keys rotate-root` or restart",
        ),
        KeyWarning::NoRecoverySlot => (
            "no-recovery-slot",
            "nothing opens the keys if this machine is lost".to_owned(),
            "add one: `recseal keys slots add passphrase` or `… add shares --threshold 3 --of 5`",
        ),
        KeyWarning::NoUnattendedSlot => (
            "no-unattended-slot",
            "the program cannot start while nobody is there".to_owned(),
            "add one: `recseal keys slots add file`, `… add credential NAME` or `… add exec -- CMD`",
        ),
        KeyWarning::FileSlotBroken => (
            "file-slot-broken",
            "root.key is missing or another one: it will not open the keys at the next start"
                .to_owned(),
            "put it back, or make a new one: `recseal keys slots add file`",
        ),
        KeyWarning::Unreadable => (
            "keys-unreadable",
            "the folder of the keys could not be looked at".to_owned(),
            "check the rights of the state folder",
        ),
    };
    Warning { code, message, hint: hint.to_owned() }
}

fn store_status(slot: &StoreSlot, waiting: u64) -> StoreStatus {
    let (opened, look) = (slot.opened(), slot.last_look());
    let lost = slot.lost();
    let mode = opened.as_ref().map(|opened| opened.store.mode());
    let storage = opened.as_ref().map(|opened| &opened.storage);
    StoreStatus {
        id: slot.id(),
        path: slot.spec.path.clone(),
        profile: slot.spec.profile.name,
        layout: slot.spec.layout.as_str(),
        mode: match mode {
            Some(WatchMode::Poll { .. }) => "poll",
            Some(WatchMode::Events) | None => "events",
        },
        mode_reason: match mode {
            Some(WatchMode::Poll { why }) => Some(why.to_owned()),
            Some(WatchMode::Events) | None => None,
        },
        state: match (&lost, look.at) {
            (Some(_), _) => "lost",
            (None, None) => "starting",
            (None, Some(_)) => "watching",
        },
        reason: lost,
        waiting,
        sidecars_waiting: look.sidecars_waiting,
        hard_links: look.oddities.hard_linked,
        skipped: look.oddities.symlinks
            + look.oddities.special
            + look.oddities.unreadable
            + look.oddities.mounts
            + look.oddities.too_deep,
        last_scan_at: look.at,
        last_scan: look.took,
        last_scan_files: look.files,
        file_system: storage.map_or("unknown", |report| &report.file_system).to_owned(),
        media: storage.map_or("unknown", |report| report.media).to_owned(),
        promise: storage.map_or("unknown", |report| report.promise.as_str()),
    }
}
