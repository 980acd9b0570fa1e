//! Finality: when no old backup can bring an erased recording back.
//!
//! A backup of the catalog made before an erasure still holds the wrapped key. It is worth nothing
//! once every version of the key-encryption key that may have wrapped it is destroyed, and once
//! the backups that hold both are gone. Then a second signed statement is added to the
//! certificate. Rolling the key is the custodian's act, or the schedule's; stating is the daemon's.

use std::time::Duration;

use keymanager::{KeyState, RotationReason};
use uuid::Uuid;

use crate::access::{self, Grant};
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, Actor, AuditEntry};
use crate::compliance::erasure::certificate::{ErasureCertificate, Finality};
use crate::flow::desk::actor;
use crate::flow::{DestroyWhen, Engine, FlowError};

/// What rolling the key came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finalized {
    /// The version that took over, if one had to.
    pub rotated_to: Option<u32>,
    /// Versions that have a date of destruction now.
    pub scheduled: Vec<u32>,
    /// Versions that recordings still need: their keys are being wrapped anew, ask again then.
    pub still_needed: Vec<u32>,
    /// Known backups that hold keys of erased recordings together with what opens them.
    pub waiting_for_backups: u64,
    /// Certificates that are not final.
    pub open: u64,
    /// Certificates that became final in this call.
    pub final_now: u64,
}

impl Engine {
    /// Does what is left to make certificates final: replaces the active key version if it wrapped
    /// the key of an erased recording, sets the dates of destruction of all such versions that
    /// nothing needs any more, and states what is final.
    ///
    /// # Errors
    ///
    /// [`FlowError::ClockSuspect`], [`FlowError::Keys`], [`FlowError::Catalog`]. What was done so
    /// far stays; call it again.
    pub fn finalize_erasures(
        &self,
        grant: &Grant<access::ManageKeys>,
        when: DestroyWhen,
        now: Timestamp,
    ) -> Result<Finalized, FlowError> {
        let mut done = Finalized::default();
        let Some(newest) = self.catalog.read(|tx| tx.newest_version_not_final())? else {
            return Ok(done);
        };
        if newest >= self.keys.active_version() {
            done.rotated_to = Some(self.rotate_keys(grant, false, now)?);
        }
        for info in self.keys.versions().into_iter().filter(|info| info.version <= newest) {
            let recordings = self.catalog.read(|tx| tx.count_keys_under(info.version))?;
            match info.state {
                KeyState::Retired | KeyState::Disabled if recordings > 0 => {
                    done.still_needed.push(info.version);
                }
                KeyState::Retired | KeyState::Disabled => {
                    self.destroy_key_version(grant, info.version, when, REASON, now)?;
                    done.scheduled.push(info.version);
                }
                KeyState::Pending
                | KeyState::Active
                | KeyState::DestroyScheduled
                | KeyState::Destroying
                | KeyState::Destroyed => {}
            }
        }
        done.final_now = self.settle_finality(now)?;
        let (open, backups) = self.catalog.read(|tx| {
            Ok::<_, FlowError>((tx.count_certificates()?.1, tx.count_backups_left(now)?))
        })?;
        done.open = open;
        done.waiting_for_backups = backups;
        Ok(done)
    }

    /// States finality of every certificate that has it. True to its name only while the clock is
    /// to be believed.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn settle_finality(&self, now: Timestamp) -> Result<u64, FlowError> {
        let destroyed = self.destroyed_versions();
        let mut stated = 0;
        while let Some(newest) = destroyed.last() {
            let rows = self.catalog.read(|tx| tx.certificates_not_final(*newest, PAGE))?;
            let stated_before = stated;
            self.catalog.write(|tx| {
                for row in rows {
                    let Ok(certificate) = ErasureCertificate::parse(&row.text) else { continue };
                    let backups = tx.count_backups_left(certificate.facts().cleared_at)?;
                    let version = row.key_version.unwrap_or(0);
                    let needed: Vec<u32> =
                        destroyed.iter().copied().filter(|one| *one <= version).collect();
                    let stated_as = Finality::signed(
                        &certificate,
                        now,
                        &needed,
                        backups,
                        |context, message| self.sign_certificate(context, message),
                    );
                    // Backups that are left: whoever has them has to say that they are gone.
                    let Ok(finality) = stated_as else { continue };
                    tx.put_finality(row.recording, &finality.to_text(), now)?;
                    let entry = AuditEntry::new(now, Actor::DAEMON, Activity::ErasureFinal)
                        .with_numbers(&[("certificate", row.number)])
                        .on_recording(row.recording);
                    tx.append_audit(&entry)?;
                    stated += 1;
                }
                Ok::<_, FlowError>(())
            })?;
            if stated == stated_before {
                break;
            }
        }
        Ok(stated)
    }

    /// Looks for finality now and then; rolls the key some time after an erasure, if that is
    /// configured.
    pub(in crate::flow) fn tend_finality(&self, now: Timestamp) -> Result<(), FlowError> {
        if self.is_clock_suspect() || self.erase.inner().finality_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        self.erase.inner().finality_at = Some(now.plus(LOOK_EVERY));
        self.settle_finality(now)?;
        let Some(after) = self.erase.policy.finalize_after else { return Ok(()) };
        let oldest =
            self.catalog.read(|tx| tx.oldest_not_final_under(self.keys.active_version()))?;
        if oldest.is_some_and(|issued| now.since(issued) >= after) {
            let version = self.rotate(RotationReason::Scheduled, &Actor::DAEMON, now)?;
            tracing::info!(version, "a new key version took over, for erasures to become final");
        }
        let newest = self.catalog.read(|tx| tx.newest_version_not_final())?.unwrap_or(0);
        let at = now.plus(self.keks.policy.destroy_wait);
        for info in self.keys.versions().into_iter().filter(|info| info.version <= newest) {
            let recordings = self.catalog.read(|tx| tx.count_keys_under(info.version))?;
            if info.state == KeyState::Retired && recordings == 0 {
                self.schedule_destruction(info.version, at, REASON, &Actor::DAEMON, now)?;
            }
        }
        Ok(())
    }

    /// Notes that the file of a backup is gone, by the word of whoever says so.
    ///
    /// # Errors
    ///
    /// [`FlowError::NoSuchBackup`].
    pub fn forget_backup(
        &self,
        grant: &Grant<access::ManageBackups>,
        id: Uuid,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let entry =
            AuditEntry::new(now, actor(grant.principal()), Activity::BackupForgotten).on_object(id);
        match self.catalog.write(|tx| tx.forget_backup(id, &entry))? {
            true => {
                self.erase.inner().finality_at = None;
                Ok(())
            }
            false => Err(FlowError::NoSuchBackup),
        }
    }

    /// Versions from 1 on, as far as all of them are destroyed.
    fn destroyed_versions(&self) -> Vec<u32> {
        let versions = self.keys.versions();
        let is_destroyed = |wanted: u32| {
            let found = versions.iter().find(|info| info.version == wanted);
            found.is_some_and(|info| info.state == KeyState::Destroyed)
        };
        (1..).take_while(|version| is_destroyed(*version)).collect()
    }
}

const REASON: &str = "erasures become final";
const PAGE: usize = 500;
const LOOK_EVERY: Duration = Duration::from_secs(60);
