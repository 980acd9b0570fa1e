//! Putting right what a crash, a kill or a power cut left.
//!
//! Nothing is remembered for this but the catalog. A `Sealing` recording lost its attempt: the
//! key is destroyed, its files are noise, and it is due again. A `Sealed` one still has its
//! original, which [`Engine::finish_removals`] takes care of. Every step can be repeated.

use std::sync::atomic::Ordering;

use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, Actor, AuditEntry};
use crate::domain::lifecycle::{RecordingEvent, RecordingState};
use crate::domain::{Recording, RecordingId, SealedCopy};
use crate::flow::stores::{Opened, vault_of};
use crate::flow::{Engine, FlowError};
use crate::vault::Vault;

impl Engine {
    /// Abandons the attempts of an earlier run; how many. Call it once, before anything is sealed.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`]; call it again.
    pub fn recover(&self, now: Timestamp) -> Result<u64, FlowError> {
        // A store that moved is known by its id only once it was opened. What cannot be opened now
        // is opened, and its recordings are worked on, when it is there.
        for slot in &self.stores {
            let _ = slot.open();
        }
        if let Err(error) = self.vault.sweep_drafts() {
            tracing::warn!(%error, "drafts of an earlier run stay in the vault for now");
        }
        let (mut abandoned, mut after) = (0, None);
        loop {
            let page = self.catalog.read(|tx| tx.interrupted(after, PAGE))?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for recording in page {
                // Those that were being redacted have no original to begin anew with.
                let is_ours = recording.redacted_from.is_none();
                if is_ours && recording.state == RecordingState::Sealing {
                    self.abandon_attempt(recording.id, now)?;
                    abandoned += 1;
                }
            }
        }
        self.recall_erase_limit()?;
        abandoned += self.discard_redactions(now)?;
        self.recovered.store(true, Ordering::Release);
        Ok(abandoned)
    }

    /// `Sealing` becomes `Settled` and the key is gone, in one transaction.
    pub(super) fn abandon_attempt(&self, id: RecordingId, now: Timestamp) -> Result<(), FlowError> {
        let entry =
            AuditEntry::new(now, Actor::DAEMON, Activity::SealingAbandoned).on_recording(id);
        self.catalog.write(|tx| {
            tx.advance(id, RecordingEvent::AttemptAbandoned, &entry)?;
            tx.destroy_key(id)
        })?;
        Ok(())
    }

    /// Destroys the files of an abandoned attempt and forgets them. They are noise already; this
    /// frees their names for the next attempt.
    pub(super) fn clear_abandoned(
        &self,
        recording: &Recording,
        opened: &Opened,
    ) -> Result<(), FlowError> {
        let copies = self.catalog.read(|tx| tx.copies(recording.id))?;
        self.clear_copies(recording.id, &copies, Some(opened))
    }

    /// The same for these copies: none of them was ever proved.
    pub(super) fn clear_copies<'c>(
        &self,
        id: RecordingId,
        copies: impl IntoIterator<Item = &'c SealedCopy>,
        opened: Option<&Opened>,
    ) -> Result<(), FlowError> {
        for copy in copies {
            let Some(vault) = vault_of(&self.vault, opened, copy.vault) else { continue };
            vault.destroy(&copy.path).map_err(|source| FlowError::Vault { id, source })?;
            self.catalog.write(|tx| tx.forget_copy(id, copy))?;
        }
        Ok(())
    }
}

/// Rows at a time.
const PAGE: usize = 500;
