//! The act: one batch of erasures, from the mark to the empty folder.
//!
//! ```text
//!   planned        protections read, key row destroyed: one transaction   ◀ point of no return
//!   key_destroyed  every file overwritten, read back ─▶ evidence recorded
//!   overwritten    files unlinked, journal wiped ─▶ places and names forgotten
//!   unlinked       certify: see there
//! ```
//!
//! A batch takes up what the rows say, in whatever step a crash left it. If the power goes here:
//! before the transaction everything is as it was; behind it nothing can be opened any more, and
//! the next start overwrites, unlinks and certifies what is left. Files that were overwritten
//! before their evidence was recorded are overwritten again.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use keymanager::StoredDataKey;
use uuid::Uuid;

use crate::catalog::{CatalogTx, SidecarState};
use crate::clock::{self, Clock, Timestamp};
use crate::compliance::audit::{Activity, Actor, AuditEntry};
use crate::compliance::erasure::{DestroyedKey, ErasureItem, ItemStep};
use crate::compliance::hold;
use crate::compliance::retention::RetentionRule;
use crate::domain::doomed::{DoomedFile, DoomedKind, DoomedStep};
use crate::domain::lifecycle::RecordingState;
use crate::domain::{DataKeyId, Recording, SidecarId, Sighting, VaultName};
use crate::flow::crash::crash_point;
use crate::flow::{Engine, FlowError};
use crate::vault::pace::IdlePriority;

use super::order::{queue_is_paused, refusal};
use super::{ActiveErasure, object};

/// What one batch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EraseStep {
    /// Recordings whose key was destroyed.
    pub begun: usize,
    /// Recordings whose files are gone.
    pub unlinked: usize,
    /// Recordings that were certified.
    pub certified: usize,
    /// Something is left that can be done at once.
    pub more: bool,
    /// When something that was put off falls due.
    pub due_at: Option<Timestamp>,
}

/// What a planned item came to in its transaction.
enum Begun {
    /// Its key is gone; this was its stored form.
    Gone(Vec<u8>),
    /// Something protects it, or it is not at rest yet.
    Waits,
}

impl Engine {
    /// One batch of whatever is owed and may be done now. Blocks for as long as a few hundred
    /// mebibytes take to be overwritten and read back; ends early when it is stopped.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`], [`FlowError::Keys`]. Failures of single files are no errors: those
    /// are recorded, put off and tried again.
    pub fn erase_batch(&self, clock: &Clock) -> Result<EraseStep, FlowError> {
        let now = clock.now();
        // In this order: a stop that comes after the look ends the batch.
        self.erase.throttle.go_on();
        if self.is_stopping() || self.is_queue_paused()? || !self.is_in_window(now) {
            return Ok(EraseStep::default());
        }
        self.recheck_blocked(now)?;
        self.adopt_buried(now)?;
        let due = self.catalog.read(|tx| tx.erasures_due(now, ITEMS_PER_BATCH))?;
        let batch = within_bytes(due);
        let is_empty = batch.is_empty();
        let (planned, begun): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|item| item.step == ItemStep::Planned);
        let cleared = self.begin_erasures(planned, now)?;
        let mut step = EraseStep { begun: cleared.len(), ..EraseStep::default() };
        let work: Vec<ErasureItem> = begun.into_iter().chain(cleared).collect();
        self.note_active(&work);
        let gone = {
            let _idle = IdlePriority::take();
            self.overwrite(&work, clock)?;
            self.unlink(&work, clock)?
        };
        self.note_active(&[]);
        step.unlinked = gone.len();
        let bytes = gone.iter().map(|item| item.bytes).sum();
        if !gone.is_empty() {
            let ended = clock.now();
            self.erase.inner().rate.note(now, ended, gone.len() as u64, bytes);
        }
        step.certified = self.certify_due(is_empty, clock)?;
        step.more = !is_empty || step.certified > 0;
        if !step.more {
            self.finish_jobs(clock.now())?;
            step.due_at = self.catalog.read(|tx| tx.next_erasure_due())?;
        }
        Ok(step)
    }

    /// True if the wall clock says that the eraser may work.
    pub(super) fn is_in_window(&self, now: Timestamp) -> bool {
        let window = self.erase.policy.window;
        window.is_none_or(|window| window.is_open(clock::minute_of_local_day(now)))
    }

    /// Destroys the keys of what nothing protects: the point of no return, in one transaction
    /// that reads the protections itself.
    fn begin_erasures(
        &self,
        planned: Vec<ErasureItem>,
        now: Timestamp,
    ) -> Result<Vec<ErasureItem>, FlowError> {
        if planned.is_empty() {
            return Ok(Vec::new());
        }
        self.clear_attempts(&planned)?;
        crash_point("erase.due");
        let cleared = self.catalog.write(|tx| {
            self.expire_protections(tx, now)?;
            let rules = tx.retention_rules()?;
            let mut cleared = Vec::new();
            if queue_is_paused(tx)? {
                return Ok(cleared);
            }
            for item in planned {
                // Since the look it may have been paused, taken back or blocked: whoever did that
                // was told that it is not begun.
                if !tx.may_begin_erasure(item.recording, now)? {
                    continue;
                }
                if let Begun::Gone(bytes) = self.begin_one(tx, &item, &rules, now)? {
                    cleared.push((ErasureItem { step: ItemStep::KeyDestroyed, ..item }, bytes));
                }
            }
            Ok::<_, FlowError>(cleared)
        })?;
        crash_point("erase.key_destroyed");
        let mut gone = self.erase.gone.write().unwrap_or_else(PoisonError::into_inner);
        gone.extend(cleared.iter().map(|(item, _)| item.recording));
        drop(gone);
        let mut inner = self.erase.inner();
        let mut items = Vec::new();
        for (item, bytes) in cleared {
            inner.needles.insert(item.recording, bytes);
            items.push(item);
        }
        Ok(items)
    }

    /// Destroys what abandoned attempts left of recordings that never were sealed: noise without a
    /// key, which no certificate needs to speak of.
    fn clear_attempts(&self, planned: &[ErasureItem]) -> Result<(), FlowError> {
        for item in planned {
            let id = item.recording;
            let (recording, stored, copies) = self.catalog.read(|tx| {
                Ok::<_, FlowError>((tx.recording(id)?, tx.stored_key(id)?, tx.copies(id)?))
            })?;
            let Some(recording) = recording else { continue };
            if recording.state != RecordingState::Quarantined || stored.is_some() {
                continue;
            }
            let opened = self.slot_of(recording.store).and_then(|slot| slot.opened());
            if let Some(opened) = opened {
                self.clear_copies(id, &copies, Some(&opened))?;
            }
        }
        Ok(())
    }

    fn begin_one(
        &self,
        tx: &CatalogTx<'_>,
        item: &ErasureItem,
        rules: &[RetentionRule],
        now: Timestamp,
    ) -> Result<Begun, FlowError> {
        let id = item.recording;
        let Some(recording) = tx.recording(id)? else { return Err(FlowError::NotFound(id)) };
        let sidecars = tx.sidecars(id)?;
        let is_at_rest = match recording.state {
            RecordingState::Stored => {
                sidecars.iter().all(|sidecar| sidecar.state == SidecarState::Stored)
            }
            RecordingState::Quarantined => true,
            _ => false,
        };
        let is_at_rest = is_at_rest && (tx.stored_key(id)?.is_some() || tx.copies(id)?.is_empty());
        if !is_at_rest {
            tx.defer_erasure(id, now.plus(NOT_AT_REST))?;
            return Ok(Begun::Waits);
        }
        let protections = self.protections_of(tx, &recording, rules)?;
        let clearance = match hold::clear(id, protections, now) {
            Ok(clearance) => clearance,
            Err(protected) => {
                let kind = protected.reasons[0].kind();
                tx.block_erasure(id, Some(kind))?;
                tx.append_audit(&refusal(&Actor::DAEMON, id, kind, now))?;
                return Ok(Begun::Waits);
            }
        };
        let stored = tx.stored_key(id)?;
        let key = stored.as_ref().map(destroyed);
        let entry = AuditEntry::new(now, Actor::DAEMON, Activity::ErasureStarted)
            .on_recording(id)
            .on_object(object(item.job));
        tx.begin_erasure(&clearance, key.as_ref(), &entry)?;
        self.doom_files(tx, &recording, key.as_ref(), now)?;
        tx.destroy_key(id)?;
        tx.put_tombstone(&self.handle_of(&recording), id, now)?;
        Ok(Begun::Gone(stored.map(|stored| bytes_of(&stored)).unwrap_or_default()))
    }

    /// Turns what is known of a recording's files into files that are to go.
    pub(super) fn doom_files(
        &self,
        tx: &CatalogTx<'_>,
        recording: &Recording,
        key: Option<&DestroyedKey>,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let id = recording.id;
        let own_keys: HashMap<SidecarId, DataKeyId> =
            tx.sidecar_data_keys(id)?.into_iter().collect();
        for copy in tx.copies(id)? {
            let own = copy.sidecar.and_then(|sidecar| own_keys.get(&sidecar).copied());
            tx.doom_file(&DoomedFile {
                token: Uuid::now_v7(),
                recording: id,
                kind: DoomedKind::Sealed(copy.kind),
                sidecar: copy.sidecar,
                place: Some((copy.vault, copy.path.clone())),
                data_key: own.or(key.and_then(|key| key.id)),
                bytes: copy.sealed_bytes,
                expected: None,
                step: DoomedStep::Doomed,
                evidence: None,
            })?;
            tx.forget_copy(id, &copy)?;
        }
        let mut plaintext = Vec::new();
        if recording.state == RecordingState::Quarantined {
            let original = (recording.path.clone(), recording.fingerprint);
            plaintext.push((DoomedKind::Original, None, original));
            // Sidecars are sealed after their recording: these never were either.
            for beside in tx.sidecars(id)? {
                let original = (beside.path, beside.fingerprint);
                plaintext.push((DoomedKind::Original, Some(beside.id), original));
            }
        }
        for left in self.leftovers_of(recording, now) {
            plaintext.push((DoomedKind::Leftover, None, (left.path, left.fingerprint)));
        }
        for (kind, sidecar, (path, expected)) in plaintext {
            tx.doom_file(&DoomedFile {
                token: Uuid::now_v7(),
                recording: id,
                kind,
                sidecar,
                place: Some((VaultName::Beside(recording.store), path)),
                data_key: None,
                bytes: expected.size_bytes,
                expected: Some(expected),
                step: DoomedStep::Doomed,
                evidence: None,
            })?;
        }
        Ok(())
    }

    /// Working files that its recorder left of it. What cannot be looked at is not there: doctor
    /// lists the places.
    fn leftovers_of(&self, recording: &Recording, now: Timestamp) -> Vec<Sighting> {
        let opened = self.slot_of(recording.store).and_then(|slot| slot.opened());
        let quiet_since = Timestamp::from_millis(now.as_millis() - QUIET_MS);
        let found = opened.map(|one| one.store.leftovers_of(&recording.path, quiet_since));
        match found {
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                tracing::warn!(recording = %recording.id, %error, "leftovers were not looked for");
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// By what an erased file is known again, without its name.
    pub(in crate::flow) fn handle_of(&self, recording: &Recording) -> [u8; 32] {
        let fingerprint = &recording.fingerprint;
        self.keys.handle(
            HANDLE_CONTEXT,
            &[
                recording.store.0.as_bytes(),
                recording.path.expose_bytes(),
                &fingerprint.size_bytes.to_be_bytes(),
                &fingerprint.modified_ns.to_be_bytes(),
            ],
        )
    }

    fn note_active(&self, work: &[ErasureItem]) {
        let active = work.iter().map(|item| ActiveErasure {
            recording: item.recording,
            job: item.job,
            bytes: item.bytes,
        });
        self.erase.inner().active = active.collect();
    }
}

fn destroyed(stored: &StoredDataKey) -> DestroyedKey {
    match stored {
        StoredDataKey::Wrapped(wrapped) => DestroyedKey {
            id: Some(DataKeyId(wrapped.data_key_id())),
            version: wrapped.version(),
            seal_key: None,
        },
        StoredDataKey::Sealed(sealed) => DestroyedKey {
            id: Some(DataKeyId(sealed.data_key_id())),
            version: 0,
            seal_key: Some(*sealed.seal_key().as_bytes()),
        },
    }
}

fn bytes_of(stored: &StoredDataKey) -> Vec<u8> {
    match stored {
        StoredDataKey::Wrapped(wrapped) => wrapped.as_bytes().to_vec(),
        StoredDataKey::Sealed(sealed) => sealed.as_bytes().to_vec(),
    }
}

/// As many from the front as fit, and at least one.
fn within_bytes(mut due: Vec<ErasureItem>) -> Vec<ErasureItem> {
    let mut bytes = 0_u64;
    let fitting = due.iter().take_while(|item| {
        let is_first = bytes == 0;
        bytes = bytes.saturating_add(item.bytes);
        is_first || bytes <= BYTES_PER_BATCH
    });
    due.truncate(fitting.count());
    due
}

const HANDLE_CONTEXT: &str = "recseal-erased-file";
const ITEMS_PER_BATCH: usize = 256;
const BYTES_PER_BATCH: u64 = 256 << 20;
/// It is being sealed, or a file beside it is.
const NOT_AT_REST: Duration = Duration::from_secs(5);
/// A working file that lay for so long is nobody's any more.
const QUIET_MS: i64 = 3_600_000;
