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
use std::os::fd::BorrowedFd;
use std::sync::PoisonError;
use std::time::Duration;

use keymanager::StoredDataKey;
use uuid::Uuid;

use crate::catalog::{CatalogTx, SidecarState};
use crate::clock::{self, Clock, Timestamp};
use crate::compliance::audit::{Activity, Actor, AuditEntry, Outcome};
use crate::compliance::erasure::plan::Plan;
use crate::compliance::erasure::{
    DestroyedKey, ErasureItem, ErasureReason, ItemStep, JobState, SelectedBy,
};
use crate::compliance::hold;
use crate::compliance::retention::RetentionRule;
use crate::domain::doomed::{DoomedFile, DoomedKind, DoomedStep, FileEvidence};
use crate::domain::lifecycle::RecordingState;
use crate::domain::{
    DataKeyId, JournalFate, Recording, RecordingId, SidecarId, Sighting, VaultName,
};
use crate::flow::crash::crash_point;
use crate::flow::{Engine, FlowError};
use crate::vault::original::{self, DoomedOriginal};
use crate::vault::pace::IdlePriority;
use crate::vault::{CopyEvidence, Doomed, Overwritten, SealedIdentity, Vault, VaultError};

use super::order::refusal;
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
            for item in planned {
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
                self.clear_copies(id, &copies, &opened)?;
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
            tx.postpone_erasure(id, now.plus(NOT_AT_REST), "not_at_rest")?;
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
    fn doom_files(
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
            plaintext.push((DoomedKind::Original, original));
        }
        for left in self.leftovers_of(recording, now) {
            plaintext.push((DoomedKind::Leftover, (left.path, left.fingerprint)));
        }
        for (kind, (path, expected)) in plaintext {
            tx.doom_file(&DoomedFile {
                token: Uuid::now_v7(),
                recording: id,
                kind,
                sidecar: None,
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

    /// Overwrites every file that is left of `work` and records what was seen.
    fn overwrite(&self, work: &[ErasureItem], clock: &Clock) -> Result<(), FlowError> {
        let begun = work.iter().filter(|item| item.step == ItemStep::KeyDestroyed);
        let mut files = Vec::new();
        for item in begun.clone() {
            files.extend(self.catalog.read(|tx| tx.doomed_files(item.recording))?);
        }
        files.retain(|file| file.step == DoomedStep::Doomed);
        let outcomes = self.each_place(&files, |place, files| match place {
            Place::Vault(vault) => vault.overwrite_many(&sealed(files), &self.erase.throttle),
            Place::Store(root) => {
                original::overwrite_originals(root, &originals(files), &self.erase.throttle)
            }
        });
        crash_point("erase.overwritten");
        let now = clock.now();
        let mut failed: HashMap<RecordingId, &'static str> = HashMap::new();
        self.catalog.write(|tx| {
            for (file, outcome) in files.iter().zip(&outcomes) {
                match outcome {
                    Ok(Overwritten::Done(seen)) => {
                        tx.note_overwritten(file.token, &evidence(seen, now))?;
                    }
                    Ok(Overwritten::Missing) => tx.note_missing(file.token)?,
                    Err(Failure { code, .. }) => {
                        failed.entry(file.recording).or_insert(*code);
                    }
                }
            }
            for item in begun {
                match failed.get(&item.recording) {
                    None => tx.move_erasure_item(item.recording, ItemStep::Overwritten, now)?,
                    Some(code) => self.put_erasure_off(tx, item, code, now)?,
                }
            }
            Ok::<_, FlowError>(())
        })?;
        crash_point("erase.overwrite_recorded");
        Ok(())
    }

    /// Unlinks what was overwritten, and forgets places and names. Returns whose files are gone.
    fn unlink(&self, work: &[ErasureItem], clock: &Clock) -> Result<Vec<ErasureItem>, FlowError> {
        let (mut items, mut files) = (Vec::new(), Vec::new());
        for item in work {
            let (now, of_item) = self.catalog.read(|tx| {
                let now = tx.erasure_item(item.recording)?;
                Ok::<_, FlowError>((now, tx.doomed_files(item.recording)?))
            })?;
            if let Some(now) = now.filter(|now| now.step == ItemStep::Overwritten) {
                items.push(now);
                files.extend(of_item.into_iter().filter(|one| one.step == DoomedStep::Overwritten));
            }
        }
        if items.is_empty() {
            return Ok(items);
        }
        let outcomes = self.each_place(&files, |place, files| match place {
            Place::Vault(vault) => vault.unlink_many(&sealed(files)),
            Place::Store(root) => original::unlink_originals(root, &originals(files)),
        });
        crash_point("erase.unlinked");
        let now = clock.now();
        let mut failed: HashMap<RecordingId, &'static str> = HashMap::new();
        self.catalog.write(|tx| {
            for (file, outcome) in files.iter().zip(&outcomes) {
                match outcome {
                    Ok(journal) => tx.note_unlinked(file.token, worst(file, *journal))?,
                    Err(Failure { code, .. }) => {
                        failed.entry(file.recording).or_insert(*code);
                    }
                }
            }
            for item in &items {
                match failed.get(&item.recording) {
                    None => {
                        tx.move_erasure_item(item.recording, ItemStep::Unlinked, now)?;
                        tx.scrub_names(item.recording)?;
                    }
                    Some(code) => self.put_erasure_off(tx, item, code, now)?,
                }
            }
            Ok::<_, FlowError>(())
        })?;
        crash_point("erase.unlink_recorded");
        items.retain(|item| !failed.contains_key(&item.recording));
        Ok(items)
    }

    /// Puts an item off, longer with each failure; the first one is an audit entry.
    fn put_erasure_off(
        &self,
        tx: &CatalogTx<'_>,
        item: &ErasureItem,
        code: &'static str,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        if code == STOPPED {
            return Ok(());
        }
        let wait = BACK_OFF.saturating_mul(1 << item.failures.min(9)).min(BACK_OFF_MOST);
        let failures = tx.postpone_erasure(item.recording, now.plus(wait), code)?;
        if failures == 1 {
            let entry = AuditEntry::new(now, Actor::DAEMON, Activity::ErasureFailed)
                .with_outcome(Outcome::Failed)
                .because(code)
                .on_recording(item.recording)
                .on_object(object(item.job));
            tx.append_audit(&entry)?;
        }
        tracing::warn!(recording = %item.recording, code, failures, "an erasure is put off");
        Ok(())
    }

    /// Does `work` to files together that lie in one place; one result for each, in order.
    fn each_place<R>(
        &self,
        files: &[DoomedFile],
        work: impl Fn(Place<'_>, &[&DoomedFile]) -> Vec<Result<R, VaultError>>,
    ) -> Vec<Result<R, Failure>> {
        let mut results: Vec<Option<Result<R, Failure>>> = files.iter().map(|_| None).collect();
        while let Some(first) = results.iter().position(Option::is_none) {
            let key = place_of(&files[first]);
            let ours: Vec<usize> = (first..files.len())
                .filter(|at| results[*at].is_none() && place_of(&files[*at]) == key)
                .collect();
            let group: Vec<&DoomedFile> = ours.iter().map(|at| &files[*at]).collect();
            let found = match key {
                (VaultName::Own, _) => Some(work(Place::Vault(&self.vault), &group)),
                (VaultName::Beside(store), is_plaintext) => {
                    let opened = self.slot_of(store).and_then(|slot| slot.opened());
                    let place = match (&opened, is_plaintext) {
                        (Some(opened), true) => Some(Place::Store(opened.store.root())),
                        (Some(opened), false) => {
                            opened.beside.as_ref().map(|vault| Place::Vault(vault))
                        }
                        (None, _) => None,
                    };
                    place.map(|place| work(place, &group))
                }
            };
            match found {
                Some(outcomes) => {
                    for (at, outcome) in ours.into_iter().zip(outcomes) {
                        results[at] = Some(outcome.map_err(|error| Failure::of(&error)));
                    }
                }
                None => {
                    for at in ours {
                        results[at] = Some(Err(Failure { code: "store_missing" }));
                    }
                }
            }
        }
        results.into_iter().map(|one| one.expect("every place was visited")).collect()
    }

    /// Looks at blocked items again: after something changed, and once a minute.
    fn recheck_blocked(&self, now: Timestamp) -> Result<(), FlowError> {
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
    fn adopt_buried(&self, now: Timestamp) -> Result<(), FlowError> {
        let buried = self.catalog.read(|tx| tx.erasing_unowed(PAGE))?;
        if buried.is_empty() {
            return Ok(());
        }
        let plan = Plan::default();
        let (selection, reason) = (SelectedBy::Tombstone, ErasureReason::ErasedBefore);
        self.catalog.write(|tx| {
            let job = self.new_job(tx, &plan, selection, reason, JobState::Running, now)?;
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
        let job = self.new_job(tx, &Plan::default(), selection, reason, JobState::Running, now)?;
        tx.add_erasure_item(recording.id, job, recording.fingerprint.size_bytes, None, now)?;
        let entry = AuditEntry::new(now, Actor::DAEMON, Activity::ErasedFileReturned)
            .on_recording(recording.id)
            .on_object(object(job));
        tx.append_audit(&entry)?;
        Ok(())
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

/// Where files of one group lie.
enum Place<'p> {
    Vault(&'p dyn Vault),
    Store(BorrowedFd<'p>),
}

/// Why one file was not destroyed now, as a code.
struct Failure {
    code: &'static str,
}

impl Failure {
    fn of(error: &VaultError) -> Self {
        let code = match error {
            VaultError::Stopped => STOPPED,
            VaultError::Busy => "busy",
            VaultError::Changed => "changed",
            VaultError::Protected => "protected",
            VaultError::HardLinked { .. } => "hard_linked",
            VaultError::NotPlain => "not_plain",
            VaultError::Exists => "name_taken",
            VaultError::Missing => "missing",
            VaultError::NoSpace { .. } => "no_space",
            VaultError::Overwrite(_) => "overwrite_failed",
            VaultError::Io { .. } => "io",
        };
        Self { code }
    }
}

fn place_of(file: &DoomedFile) -> (VaultName, bool) {
    let vault = file.place.as_ref().map_or(VaultName::Own, |(vault, _)| *vault);
    (vault, file.expected.is_some())
}

fn sealed(files: &[&DoomedFile]) -> Vec<Doomed> {
    let one = |file: &&DoomedFile| {
        let (_, path) = file.place.clone()?;
        let expected = match (file.kind, file.data_key) {
            (DoomedKind::Sealed(kind), Some(data_key)) => Some(SealedIdentity {
                recording: file.recording,
                data_key,
                kind,
                sealed_bytes: file.bytes,
            }),
            (DoomedKind::Sealed(_) | DoomedKind::Original | DoomedKind::Leftover, _) => None,
        };
        Some(Doomed { path, token: file.token, expected })
    };
    files.iter().filter_map(one).collect()
}

fn originals(files: &[&DoomedFile]) -> Vec<DoomedOriginal> {
    let one = |file: &&DoomedFile| {
        let (_, path) = file.place.clone()?;
        let order = original::ErasureOrder::after_no_return(file.recording);
        Some(DoomedOriginal { path, token: file.token, expected: file.expected?, order })
    };
    files.iter().filter_map(one).collect()
}

fn evidence(seen: &CopyEvidence, at: Timestamp) -> FileEvidence {
    FileEvidence {
        destruction: seen.destruction.clone(),
        journal: seen.journal,
        moved: seen.moved,
        inode: seen.inode,
        extents: seen.extents_after,
        at,
    }
}

/// What the content's own look at the journal said stands if it was worse: a copy of content that
/// was possible then was not taken back by a wipe that failed.
fn worst(file: &DoomedFile, names: JournalFate) -> JournalFate {
    match file.evidence.as_ref().map(|seen| seen.journal) {
        Some(JournalFate::CopyPossible) if !names.is_flushed() => JournalFate::CopyPossible,
        _ => names,
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
const STOPPED: &str = "stopped";
const ITEMS_PER_BATCH: usize = 256;
const BYTES_PER_BATCH: u64 = 256 << 20;
const PAGE: usize = 500;
/// It is being sealed, or a file beside it is.
const NOT_AT_REST: Duration = Duration::from_secs(5);
const BACK_OFF: Duration = Duration::from_secs(10);
const BACK_OFF_MOST: Duration = Duration::from_secs(3_600);
/// A working file that lay for so long is nobody's any more.
const QUIET_MS: i64 = 3_600_000;
const RECHECK_EVERY: Duration = Duration::from_secs(60);
