//! What waits, what is found and what comes back: looked at before each batch, and as files are
//! sealed.

use std::time::Duration;

use crate::catalog::CatalogTx;
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, Actor, AuditEntry};
use crate::compliance::erasure::{ErasureReason, SelectedBy};
use crate::compliance::hold;
use crate::domain::Recording;
use crate::flow::{Engine, FlowError};

use super::object;

impl Engine {
    /// Looks at blocked items again: after something changed, and once a minute.
    pub(super) fn recheck_blocked(&self, now: Timestamp) -> Result<(), FlowError> {
        if self.erase.inner().recheck_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        self.erase.inner().recheck_at = Some(now.plus(RECHECK_EVERY));
        let mut after = None;
        loop {
            let page = self.catalog.read(|tx| tx.blocked_erasures(after, PAGE))?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.recording);
            self.catalog.write(|tx| {
                self.expire_protections(tx, now)?;
                let rules = tx.retention_rules()?;
                for item in page {
                    let Some(recording) = tx.recording(item.recording)? else { continue };
                    let protections = self.protections_of(tx, &recording, &rules)?;
                    let kind = hold::clear(item.recording, protections, now).err();
                    let kind = kind.map(|protected| protected.reasons[0].kind());
                    if kind != item.blocked_by.as_deref() {
                        tx.block_erasure(item.recording, kind)?;
                    }
                }
                Ok::<_, FlowError>(())
            })?;
        }
    }

    /// Owes what a restored backup left without its key, under one job of the daemon.
    pub(super) fn adopt_buried(&self, now: Timestamp) -> Result<(), FlowError> {
        let buried = self.catalog.read(|tx| tx.erasing_unowed(PAGE))?;
        if buried.is_empty() {
            return Ok(());
        }
        let (selection, reason) = (SelectedBy::Tombstone, ErasureReason::ErasedBefore);
        self.catalog.write(|tx| {
            let job = self.new_job(tx, &Actor::DAEMON, selection, reason, now)?;
            for id in buried {
                let highest = tx.highest_key_version()?.max(self.keys.active_version());
                tx.adopt_erasing(id, job, highest, now)?;
                let recording = tx.recording(id)?.ok_or(FlowError::NotFound(id))?;
                self.doom_files(tx, &recording, None, now)?;
                tx.put_tombstone(&self.handle_of(&recording), id, now)?;
            }
            Ok::<_, FlowError>(())
        })
    }

    /// Marks a file that was erased before and came back, by its handle: it is sealed first, like
    /// any other, and erased again.
    pub(in crate::flow) fn note_if_returned(
        &self,
        tx: &CatalogTx<'_>,
        recording: &Recording,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        if recording.planned_for_deletion || tx.tombstone(&self.handle_of(recording))?.is_none() {
            return Ok(());
        }
        let (selection, reason) = (SelectedBy::Tombstone, ErasureReason::ErasedBefore);
        let job = self.new_job(tx, &Actor::DAEMON, selection, reason, now)?;
        tx.add_erasure_item(recording.id, job, recording.fingerprint.size_bytes, None, now)?;
        let entry = AuditEntry::new(now, Actor::DAEMON, Activity::ErasedFileReturned)
            .on_recording(recording.id)
            .on_object(object(job));
        tx.append_audit(&entry)?;
        Ok(())
    }
}

const PAGE: usize = 500;
const RECHECK_EVERY: Duration = Duration::from_secs(60);
