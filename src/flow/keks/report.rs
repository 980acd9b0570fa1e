//! Key versions in status: their age, what is left to be moved, and what a person should do.

use std::time::Duration;

use keymanager::{KeyState, KeyVersionInfo};

use crate::clock::Timestamp;
use crate::flow::{Engine, FlowError, Warning};

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
    /// The keys for status. Costs what is left to be moved.
    pub(in crate::flow) fn keys_status(&self, now: Timestamp) -> Result<KeysStatus, FlowError> {
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
    pub(in crate::flow) fn kek_warnings(
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
        warnings.extend(self.lost_versions(keys)?);
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

    /// Recordings whose key version is not in the store: after an older generation had to be
    /// opened, or an older backup restored. No pretence: they are told with their number.
    fn lost_versions(&self, keys: &KeysStatus) -> Result<Vec<Warning>, FlowError> {
        let is_held = |version: &u32| {
            keys.versions.iter().any(|info| info.version == *version && info.state.has_key())
        };
        let mut warnings = Vec::new();
        for version in self.catalog.read(|tx| tx.key_versions())? {
            if is_held(&version) {
                continue;
            }
            let recordings = self.catalog.read(|tx| tx.count_keys_under(version))?;
            warnings.push(Warning {
                code: "key-version-missing",
                message: format!(
                    "key version {version} is not in the key store: {recordings} recordings cannot \
                     be opened"
                ),
                hint: "restore a backup that was made since (`recseal backup status` lists them); \
                       keep the state folder and any damaged-gen-N in it until then"
                    .into(),
            });
        }
        Ok(warnings)
    }
}

/// The daemon rotates by itself; from here on a person hears that it did not.
const OVERDUE_AFTER: Duration = Duration::from_secs(3_600);
