//! The end of a plaintext original, once its sealed copy is proved.
//!
//! How one file is overwritten and removed, and which good copy each step leaves, is told in
//! [`crate::vault::original`]. Here: whose turn it is, what is recorded, and what happens when it
//! does not work. A recording stays `Sealed`, and can be played, until its original is gone.

use std::time::Duration;

use keymanager::StoredDataKey;

use crate::catalog::Sidecar;
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, Actor, AuditEntry};
use crate::domain::lifecycle::RecordingEvent;
use crate::domain::{
    DestructionEvidence, Overwrite, Recording, RecordingId, SealedCopy, SealedKind, StoreId,
};
use crate::flow::crash::crash_point;
use crate::flow::ingest::chain;
use crate::flow::looks::{self, Original};
use crate::flow::stores::{Opened, vault_of};
use crate::flow::{Engine, FlowError, parallel};
use crate::seal::{self, SealedReader, VerifiedSeal};
use crate::vault::Vault;
use crate::vault::original::{self, Removal, RemoveError, RemovePolicy, Resumed, Unfinished};

/// A recording whose original may go.
pub(super) struct Removable {
    pub(super) recording: Recording,
    pub(super) proof: VerifiedSeal,
    /// Of the sealed copy, where nobody here can open it again; noted with `Sealed`.
    pub(super) digest: Option<(SealedCopy, [u8; 32])>,
}

/// What became of an original.
enum End {
    /// Gone, and this is how.
    Gone(DestructionEvidence, &'static str),
    /// Still there; try again after this time.
    Later(Duration),
}

impl Engine {
    /// Removes originals whose seal was just proved; how many.
    pub(super) fn remove_originals(
        &self,
        removables: Vec<Removable>,
        now: Timestamp,
    ) -> Result<usize, FlowError> {
        let mut removed = 0;
        let mut waiting = removables;
        while let Some(store) = waiting.first().map(|one| one.recording.store) {
            let (ours, others): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|one| one.recording.store == store);
            waiting = others;
            let ids: Vec<_> = ours.iter().map(|one| one.recording.id).collect();
            let ends = self.remove_in(store, ours);
            removed += self.record_ends(ids.into_iter().zip(ends).collect(), now)?;
        }
        Ok(removed)
    }

    fn remove_in(&self, store: StoreId, removables: Vec<Removable>) -> Vec<End> {
        let slot = self.slot_of(store);
        let Some((slot, opened)) = slot.and_then(|slot| Some((slot, slot.opened()?))) else {
            return removables.iter().map(|_| End::Later(SLOW)).collect();
        };
        let policy = RemovePolicy { overwrite: slot.spec().overwrite };
        let removals = removables
            .into_iter()
            .map(|one| Removal {
                path: one.recording.path,
                expected: one.recording.fingerprint,
                proof: one.proof,
            })
            .collect();
        crash_point("removal.begun");
        let ends = original::remove_many(opened.store.root(), removals, policy);
        crash_point("removal.done");
        ends.into_iter().map(end_of).collect()
    }

    fn record_ends(
        &self,
        ends: Vec<(RecordingId, End)>,
        now: Timestamp,
    ) -> Result<usize, FlowError> {
        let removed = self.catalog.write(|tx| {
            let mut removed = 0;
            for (id, end) in &ends {
                match end {
                    End::Later(span) => {
                        tx.postpone(*id, now.plus(*span))?;
                    }
                    End::Gone(evidence, why) => {
                        let entry = AuditEntry::new(now, Actor::DAEMON, Activity::OriginalRemoved)
                            .on_recording(*id)
                            .because(why);
                        tx.set_original(*id, evidence)?;
                        tx.advance(*id, RecordingEvent::OriginalRemoved, &entry)?;
                        removed += 1;
                    }
                }
            }
            Ok::<_, FlowError>(removed)
        })?;
        self.totals.count_removed(removed as u64);
        Ok(removed)
    }

    /// Goes on with originals that an earlier run, a crash or an obstacle left behind; how many
    /// are gone now. The sealed copy is opened and compared again first.
    ///
    /// # Errors
    ///
    /// [`FlowError`] if the catalog fails.
    pub fn finish_removals(&self, now: Timestamp) -> Result<usize, FlowError> {
        let due = self.catalog.read(|tx| tx.due_for_removal(now, self.batch))?;
        let mut ends = Vec::new();
        let mut removables = Vec::new();
        for recording in due {
            match self.resume(&recording) {
                Some(end) => ends.push((recording.id, end)),
                None => removables.push(recording),
            }
        }
        let proofs = parallel::map(self.workers, removables, |recording| {
            let proof = self.prove_again(&recording);
            (recording, proof)
        });
        let mut again = Vec::new();
        for (recording, proof) in proofs {
            match proof {
                Ok(proof) => again.push(Removable { recording, proof, digest: None }),
                Err(end) => ends.push((recording.id, end)),
            }
        }
        let finished = self.record_ends(ends, now)?;
        Ok(finished + self.remove_originals(again, now)?)
    }

    /// Finishes a removal that had begun; `None` if the original lies untouched where it was.
    fn resume(&self, recording: &Recording) -> Option<End> {
        let Some(slot) = self.slot_of(recording.store) else { return Some(End::Later(SLOW)) };
        let Ok(opened) = slot.open() else { return Some(End::Later(SLOW)) };
        let policy = RemovePolicy { overwrite: slot.spec().overwrite };
        let unfinished = Unfinished {
            path: recording.path.clone(),
            expected: recording.fingerprint,
            recording: recording.id,
        };
        match original::resume_many(opened.store.root(), vec![unfinished], policy).pop()? {
            Ok(Resumed::Finished(evidence)) => Some(End::Gone(evidence, "resumed")),
            Ok(Resumed::NothingLeft) => Some(End::Gone(untouched(&opened), "already-gone")),
            Ok(Resumed::Untouched) => None,
            Err(error) => Some(end_of(Err(error))),
        }
    }

    /// Compares the sealed copy with the original once more.
    fn prove_again(&self, recording: &Recording) -> Result<VerifiedSeal, End> {
        let later = || End::Later(SLOW);
        let slot = self.slot_of(recording.store).ok_or_else(later)?;
        let opened = slot.open().map_err(|_| later())?;
        let file = match looks::open_original(&opened, &recording.path, &recording.fingerprint) {
            Ok(Original::Same(file)) => file,
            Ok(Original::Changed(_)) => {
                return Err(End::Gone(untouched(&opened), "changed-after-sealing"));
            }
            Ok(Original::Vanished) => {
                return Err(End::Gone(untouched(&opened), "already-gone"));
            }
            Ok(Original::Busy) => return Err(End::Later(SOON)),
            Ok(Original::HardLinked) | Err(_) => return Err(later()),
        };
        let id = recording.id;
        let (copies, stored) = self
            .catalog
            .read(|tx| Ok::<_, FlowError>((tx.copies(id)?, tx.stored_key(id)?)))
            .map_err(|_| later())?;
        let copy =
            copies.into_iter().find(|copy| copy.kind == SealedKind::Media).ok_or_else(later)?;
        let vault = vault_of(&self.vault, Some(&opened), copy.vault).ok_or_else(later)?;
        let source = vault.open_uncached(&copy.path).map_err(|_| later())?;
        let unproved = |error: &dyn std::error::Error| {
            tracing::error!(recording = %id, error = %chain(error), "sealed copy is not equal; original kept");
            later()
        };
        match stored.ok_or_else(later)? {
            StoredDataKey::Wrapped(wrapped) => {
                let key = self.keys.unwrap(id.0, &wrapped).map_err(|_| later())?;
                let reader = SealedReader::open(&key, source).map_err(|_| later())?;
                seal::prove_equal(&reader, &file, 1).map_err(|error| unproved(&error))
            }
            StoredDataKey::Sealed(_) => {
                self.prove_by_digest(id, &copy, &source).map_err(|error| unproved(&error))
            }
        }
    }

    /// Removes the original of one sidecar whose seal was just proved, or finishes doing so.
    pub(super) fn remove_sidecar(
        &self,
        opened: &Opened,
        sidecar: &Sidecar,
        proof: Option<VerifiedSeal>,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let policy = RemovePolicy {
            overwrite: self.slot_of(sidecar.store).is_none_or(|slot| slot.spec().overwrite),
        };
        let end = match proof {
            Some(proof) => {
                let removal =
                    Removal { path: sidecar.path.clone(), expected: sidecar.fingerprint, proof };
                end_of(original::remove(opened.store.root(), removal, policy))
            }
            None => {
                let unfinished = Unfinished {
                    path: sidecar.path.clone(),
                    expected: sidecar.fingerprint,
                    recording: sidecar.recording,
                };
                match original::resume_many(opened.store.root(), vec![unfinished], policy).pop() {
                    Some(Ok(Resumed::Finished(evidence))) => End::Gone(evidence, "resumed"),
                    Some(Ok(Resumed::NothingLeft)) => End::Gone(untouched(opened), "already-gone"),
                    // Without a proof it is not what was sealed: found as a new one, then.
                    Some(Ok(Resumed::Untouched)) => {
                        End::Gone(untouched(opened), "changed-after-sealing")
                    }
                    None => End::Later(SOON),
                    Some(Err(error)) => end_of(Err(error)),
                }
            }
        };
        crash_point("sidecar.removed");
        self.catalog.write(|tx| match end {
            End::Later(span) => tx.postpone_sidecar(sidecar.id, now.plus(span)).map(drop),
            End::Gone(evidence, why) => {
                let entry = AuditEntry::new(now, Actor::DAEMON, Activity::SidecarRemoved)
                    .on_recording(sidecar.recording)
                    .on_object(sidecar.id.0)
                    .because(why);
                tx.sidecar_removed(sidecar.id, &evidence, &entry)
            }
        })?;
        Ok(())
    }
}

fn end_of(outcome: Result<DestructionEvidence, RemoveError>) -> End {
    let error = match outcome {
        Ok(evidence) => return End::Gone(evidence, ""),
        Err(error) => error,
    };
    match error {
        // Not ours any more: what lies there now is found as a new recording.
        RemoveError::Changed { .. } => End::Gone(nothing_done(), "changed-after-sealing"),
        RemoveError::Missing { .. } => End::Gone(nothing_done(), "already-gone"),
        RemoveError::Busy { .. } => End::Later(SOON),
        RemoveError::HardLinked { .. }
        | RemoveError::Protected { .. }
        | RemoveError::Overwrite { .. }
        | RemoveError::Io { .. } => {
            tracing::warn!(error = %chain(&error), "an original stays for now");
            End::Later(SLOW)
        }
    }
}

/// Evidence of an original that we did not destroy.
fn untouched(opened: &Opened) -> DestructionEvidence {
    DestructionEvidence {
        file_system: opened.storage.file_system.clone(),
        media: opened.storage.media.to_owned(),
        ..nothing_done()
    }
}

fn nothing_done() -> DestructionEvidence {
    DestructionEvidence {
        overwrite: Overwrite::Skipped,
        file_system: "unknown".to_owned(),
        media: "unknown".to_owned(),
        overwritten_bytes: 0,
    }
}

/// Somebody has it open.
const SOON: Duration = Duration::from_secs(10);
/// A person has to mend something.
const SLOW: Duration = Duration::from_secs(60);
