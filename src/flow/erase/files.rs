//! The files of recordings that are being erased: overwritten, and later unlinked, each where it
//! lies.
//!
//! If the power goes here: see [`super::act`]. What was seen of an overwrite is recorded before
//! anything is unlinked.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::catalog::CatalogTx;
use crate::clock::{Clock, Timestamp};
use crate::compliance::audit::{Activity, Actor, AuditEntry, Outcome};
use crate::compliance::erasure::{ErasureItem, ItemStep};
use crate::domain::doomed::{DoomedFile, DoomedKind, DoomedStep, FileEvidence};
use crate::domain::{JournalFate, RecordingId, VaultName};
use crate::flow::crash::crash_point;
use crate::flow::{Engine, FlowError};
use crate::vault::original::{self, DoomedOriginal};
use crate::vault::{CopyEvidence, Doomed, Overwritten, SealedIdentity, Vault, VaultError};

use super::object;

impl Engine {
    /// Overwrites every file that is left of `work` and records what was seen.
    pub(super) fn overwrite(&self, work: &[ErasureItem], clock: &Clock) -> Result<(), FlowError> {
        let begun = work.iter().filter(|item| item.step == ItemStep::KeyDestroyed);
        let mut files = Vec::new();
        for item in begun.clone() {
            files.extend(self.catalog.read(|tx| tx.doomed_files(item.recording))?);
        }
        files.retain(|file| file.step == DoomedStep::Doomed);
        self.identify(&mut files)?;
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
    pub(super) fn unlink(
        &self,
        work: &[ErasureItem],
        clock: &Clock,
    ) -> Result<Vec<ErasureItem>, FlowError> {
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

const STOPPED: &str = "stopped";
const BACK_OFF: Duration = Duration::from_secs(10);
const BACK_OFF_MOST: Duration = Duration::from_secs(3_600);
