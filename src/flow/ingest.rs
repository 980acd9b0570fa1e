//! A finished recording becomes a sealed one: the straight line that everything stands on.
//!
//! ```text
//! open, check, probe            Settled    good copy: the original
//! key and copies recorded       Sealing    the original
//! part → synced → named         Sealing    the original
//! read back, compared           Sealing    the original, and the sealed copy
//! recorded as sealed            Sealed     both
//! original removed              Stored     the sealed copy
//! ```
//!
//! A batch goes through each step together, so that a hundred small calls cost three commits. A
//! recording that fails falls out of its batch with its attempt's key destroyed, and is due again
//! later under a new one; the others go on.

use std::collections::HashSet;
use std::fs::File;
use std::time::Duration;

use keymanager::{DataKey, SealedDataKey};
use zeroize::Zeroizing;

use crate::catalog::CatalogError;
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, Actor, AuditEntry};
use crate::domain::lifecycle::RecordingEvent;
use crate::domain::{
    Damage, MediaInfo, Recording, SealedCopy, SealedKind, Sighting, StorePath, VaultName,
};
use crate::flow::crash::crash_point;
use crate::flow::desk::extension_of;
use crate::flow::discover::forget_found;
use crate::flow::looks::{self, Original};
use crate::flow::pieces::{Piece, PieceError, Proved, Source};
use crate::flow::removal::Removable;
use crate::flow::stores::vault_of;
use crate::flow::{Engine, FlowError, parallel};
use crate::media::{self, Hint};
use crate::seal;
use crate::vault::{self, Vault, own_path};

/// What one call came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Recordings taken up.
    pub taken: usize,
    /// Of those, sealed.
    pub sealed: usize,
    /// Of those, with their original removed.
    pub stored: usize,
}

/// A recording that can be sealed now.
struct Ready {
    recording: Recording,
    file: File,
    info: MediaInfo,
    peaks: Option<Zeroizing<Vec<u8>>>,
}

/// The original, what it is, and its peaks.
type LookedInto = (File, MediaInfo, Option<Zeroizing<Vec<u8>>>);

/// One attempt, with its own key, and the copies it is to make: media first.
struct Attempt {
    ready: Ready,
    key: DataKey,
    /// How its row keeps the key of a store that seals to a public key; else it is wrapped.
    sealed: Option<SealedDataKey>,
    copies: Vec<SealedCopy>,
}

/// Why a recording is not sealed now.
enum Setback {
    /// Due again after this time.
    Later(Duration),
    /// Due again then.
    At(Timestamp),
    /// Its recorder went on.
    Changed(Sighting),
    /// It is gone.
    Vanished,
    /// A person has to decide.
    Quarantine(&'static str),
}

impl Engine {
    /// Seals what is due, newest first, a few batches at most, and removes the originals of one
    /// batch while the next is being sealed: both mostly wait for the disk.
    ///
    /// # Errors
    ///
    /// [`FlowError`] if keys or catalog fail; every recording is then in the state the catalog
    /// says, and the next call, or [`Engine::recover`] after a crash, goes on from there.
    pub fn ingest(&self, now: Timestamp) -> Result<Ingested, FlowError> {
        let mut sum = Ingested::default();
        let mut removables = self.seal_batch(now, &mut sum)?;
        if sum.taken == 0 {
            return Ok(sum);
        }
        for batch in 1..=BATCHES_MAX {
            let taken_before = sum.taken;
            let (stored, sealed) = std::thread::scope(|scope| {
                let removal = scope.spawn(|| self.remove_originals(removables, now));
                let sealed = match batch {
                    BATCHES_MAX => Ok(Vec::new()),
                    _ => self.seal_batch(now, &mut sum),
                };
                let stored = removal.join();
                (stored.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), sealed)
            });
            crash_point("ingest.stored_recorded");
            sum.stored += stored?;
            removables = sealed?;
            if sum.taken == taken_before {
                break;
            }
        }
        Ok(sum)
    }

    /// One batch up to `Sealed`; what may be removed is returned.
    fn seal_batch(&self, now: Timestamp, sum: &mut Ingested) -> Result<Vec<Removable>, FlowError> {
        let due = self.catalog.read(|tx| tx.due_for_sealing(now, self.batch, BATCH_BYTES_MAX))?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        sum.taken += due.len();
        let due = self.put_off_without_seal_key(due, now)?;
        let looked = parallel::map(self.workers, due, |recording| {
            let outcome = self.make_ready(&recording, now);
            (recording, outcome)
        });
        crash_point("ingest.opened");
        let mut ready = Vec::with_capacity(looked.len());
        for (recording, outcome) in looked {
            match outcome {
                Ok((file, info, peaks)) => ready.push(Ready { recording, file, info, peaks }),
                Err(setback) => self.set_back(&recording, setback, now)?,
            }
        }
        let attempts = self.record_keys(ready, now)?;
        crash_point("ingest.key_recorded");
        // The attempts end here: an original that we ourselves have open is not removed.
        let removables = self.seal_attempts(&attempts, now)?;
        crash_point("ingest.sealed_recorded");
        sum.sealed += removables.len();
        Ok(removables)
    }

    /// The last look before a key is made: the file, what it is, its peaks.
    fn make_ready(&self, recording: &Recording, now: Timestamp) -> Result<LookedInto, Setback> {
        let slot = self.slot_of(recording.store).ok_or(Setback::Later(SLOW))?;
        let opened = slot.open().map_err(|_| Setback::Later(SLOW))?;
        self.clear_abandoned(recording, &opened).map_err(|_| Setback::Later(SLOW))?;
        let original = looks::open_original(&opened, &recording.path, &recording.fingerprint);
        let unreadable = |error: std::io::Error| {
            let (recording, error) = (recording.id, error.kind());
            tracing::warn!(%recording, %error, "an original cannot be read; trying again later");
            Setback::Later(SLOW)
        };
        let file = match original.map_err(unreadable)? {
            Original::Same(file) => file,
            Original::Changed(sighting) => return Err(Setback::Changed(sighting)),
            Original::Vanished => return Err(Setback::Vanished),
            Original::Busy => return Err(Setback::Later(SOON)),
            Original::HardLinked => return Err(Setback::Quarantine("hard-linked")),
        };
        let extension = extension_of(recording);
        let hint = Hint { extension: &extension };
        let info = media::probe(&mut &file, hint);
        if info.damage == Some(Damage::Unfinished)
            && !self.was_told_done(recording.store, &recording.path)
        {
            let quiet_from = Timestamp::from_nanos(i128::from(recording.fingerprint.changed_ns));
            let until = quiet_from.plus(opened.store.settings().unfinished_wait);
            if now < until && quiet_from <= now {
                return Err(Setback::At(until));
            }
        }
        let peaks = self.make_peaks(&file, hint);
        Ok((file, info, peaks))
    }

    /// Peaks are a convenience: whatever goes wrong with them, the recording is sealed.
    fn make_peaks(&self, file: &File, hint: Hint<'_>) -> Option<Zeroizing<Vec<u8>>> {
        let blocks = std::cell::Cell::new(0_u64);
        let keep_going = || {
            blocks.set(blocks.get() + 1);
            blocks.get() < PEAK_BLOCKS_MAX
        };
        media::peaks(Box::new(file.try_clone().ok()?), hint, &keep_going)
    }

    /// Makes the keys of a batch and records them with the copies they are for, durably, before
    /// the first sealed byte exists.
    fn record_keys(&self, ready: Vec<Ready>, now: Timestamp) -> Result<Vec<Attempt>, FlowError> {
        let mut attempts = Vec::with_capacity(ready.len());
        let mut taken = HashSet::new();
        for ready in ready {
            // Disabled since the last look: the files wait, they are not sealed otherwise.
            let Ok((key, sealed)) = self.new_data_key(&ready.recording) else {
                self.set_back(&ready.recording, Setback::Later(SLOW), now)?;
                continue;
            };
            let copies = self.copies_to_make(&ready, &mut taken)?;
            attempts.push(Attempt { ready, key, sealed, copies });
        }
        let recorded = self.catalog.write(|tx| {
            let mut recorded = Vec::with_capacity(attempts.len());
            for attempt in attempts {
                let id = attempt.ready.recording.id;
                let entry = AuditEntry::new(now, Actor::DAEMON, Activity::RecordingKeyCreated)
                    .on_recording(id);
                let key_recorded = match &attempt.sealed {
                    // Under the lock under which key versions are destroyed: wrapped before, the
                    // key could come under one that is gone by now.
                    None => tx.record_key(id, &self.keys.wrap(id.0, &attempt.key), now),
                    Some(sealed) => tx.record_sealed_key(id, sealed, now),
                };
                let outcome = key_recorded
                    .and_then(|()| {
                        attempt.copies.iter().try_for_each(|copy| tx.add_copy(id, copy, now))
                    })
                    .and_then(|()| tx.set_media(id, &attempt.ready.info))
                    .and_then(|()| tx.keep_xattrs(id, &vault::read_xattrs(&attempt.ready.file)))
                    .and_then(|()| tx.advance(id, RecordingEvent::KeyRecorded, &entry));
                match outcome {
                    Ok(_) => {
                        self.note_if_returned(tx, &attempt.ready.recording, now)?;
                        recorded.push(attempt);
                    }
                    // A look found it changed meanwhile: it is not ours to seal now.
                    Err(
                        CatalogError::WrongState { .. } | CatalogError::UnknownRecording { .. },
                    ) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok::<_, FlowError>(recorded)
        })?;
        Ok(recorded)
    }

    /// Where the sealed files of one recording go. `taken` holds the places of its batch: beside
    /// originals, the peaks of `x` and a recording called `x.peaks` want the same one.
    fn copies_to_make(
        &self,
        ready: &Ready,
        taken: &mut HashSet<(VaultName, StorePath)>,
    ) -> Result<Vec<SealedCopy>, FlowError> {
        let recording = &ready.recording;
        let opened = self.slot_of(recording.store).and_then(|slot| slot.opened());
        let size = recording.fingerprint.size_bytes;
        let mut wanted = vec![(SealedKind::Media, size)];
        if let Some(peaks) = &ready.peaks {
            wanted.push((SealedKind::Peaks, peaks.len() as u64));
        }
        wanted
            .into_iter()
            .map(|(kind, plain_bytes)| {
                let id = recording.id.0;
                let mut place = self.copy_place(opened.as_deref(), id, &recording.path, kind)?;
                if !taken.insert(place.clone()) {
                    place = (VaultName::Own, own_path(id, kind));
                }
                let (vault, path) = place;
                let sealed_bytes = seal::sealed_len(plain_bytes);
                Ok(SealedCopy { vault, path, kind, sidecar: None, sealed_bytes, plain_bytes })
            })
            .collect()
    }

    /// Seals and proves what was recorded; what failed is abandoned, the rest is `Sealed`.
    fn seal_attempts(
        &self,
        attempts: &[Attempt],
        now: Timestamp,
    ) -> Result<Vec<Removable>, FlowError> {
        let opened: Vec<_> = attempts
            .iter()
            .map(|attempt| {
                self.slot_of(attempt.ready.recording.store).and_then(|slot| slot.opened())
            })
            .collect();
        let mut pieces = Vec::new();
        let mut owners = Vec::new();
        for (index, attempt) in attempts.iter().enumerate() {
            for copy in &attempt.copies {
                let vault = vault_of(&self.vault, opened[index].as_deref(), copy.vault);
                let source = source_of(&attempt.ready, copy.kind);
                if let (Some(vault), Some(source)) = (vault, source) {
                    owners.push(index);
                    pieces.push(Piece {
                        recording: attempt.ready.recording.id,
                        key: &attempt.key,
                        source,
                        vault,
                        attributes: Some(attempt.ready.recording.attributes),
                        is_write_only: attempt.sealed.is_some(),
                        copy: copy.clone(),
                    });
                }
            }
        }
        let mut media: Vec<Option<Proved>> = attempts.iter().map(|_| None).collect();
        let mut failures: Vec<Option<PieceError>> = attempts.iter().map(|_| None).collect();
        let mut lost_peaks = Vec::new();
        for (index, (copy, outcome)) in owners.into_iter().zip(self.seal_pieces(pieces)) {
            match (copy.kind, outcome) {
                (SealedKind::Media, Ok(proved)) => media[index] = Some(proved),
                (SealedKind::Media, Err(error)) => failures[index] = Some(error),
                (SealedKind::Peaks | SealedKind::Sidecar, Ok(_)) => {}
                (SealedKind::Peaks | SealedKind::Sidecar, Err(_)) => lost_peaks.push((index, copy)),
            }
        }
        for (index, copy) in lost_peaks {
            let id = attempts[index].ready.recording.id;
            let vault = vault_of(&self.vault, opened[index].as_deref(), copy.vault);
            if vault.is_some_and(|vault| vault.destroy(&copy.path).is_ok()) {
                self.catalog.write(|tx| tx.forget_copy(id, &copy))?;
            }
        }
        let mut removables = Vec::new();
        for ((attempt, proved), failure) in attempts.iter().zip(media).zip(failures) {
            let proved = proved.filter(|_| is_unchanged(&attempt.ready));
            let digest = proved.as_ref().and_then(|proved| proved.digest);
            match proved.and_then(|proved| proved.proof) {
                Some(proof) => removables.push(Removable {
                    recording: attempt.ready.recording.clone(),
                    proof,
                    digest: attempt.copies.first().cloned().zip(digest),
                }),
                None => self.abandon(&attempt.ready.recording, failure, now)?,
            }
        }
        self.record_sealed(&removables, now)?;
        Ok(removables)
    }

    fn record_sealed(&self, sealed: &[Removable], now: Timestamp) -> Result<(), FlowError> {
        self.catalog.write(|tx| {
            sealed.iter().try_for_each(|one| {
                let id = one.recording.id;
                let entry =
                    AuditEntry::new(now, Actor::DAEMON, Activity::RecordingSealed).on_recording(id);
                if let Some((copy, digest)) = &one.digest {
                    tx.set_copy_digest(copy, digest)?;
                }
                tx.advance(id, RecordingEvent::SealVerified, &entry).map(drop)
            })
        })?;
        let bytes = sealed.iter().map(|one| one.recording.fingerprint.size_bytes).sum();
        self.totals.count_sealed(sealed.len() as u64, bytes);
        for one in sealed {
            self.forget_told_done(one.recording.store, &one.recording.path);
            tracing::debug!(recording = %one.recording.id, "sealed");
        }
        Ok(())
    }

    fn set_back(
        &self,
        recording: &Recording,
        setback: Setback,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let id = recording.id;
        let outcome = self.catalog.write(|tx| match setback {
            Setback::Later(span) => tx.postpone(id, now.plus(span)).map(drop),
            Setback::At(at) => tx.postpone(id, at).map(drop),
            Setback::Changed(sighting) => tx.note_changed(id, &sighting, now),
            Setback::Vanished => forget_found(tx, id, now).map(drop),
            Setback::Quarantine(reason) => {
                let entry = AuditEntry::new(now, Actor::DAEMON, Activity::RecordingQuarantined)
                    .on_recording(id)
                    .because(reason);
                tx.quarantine(id, reason, &entry)
            }
        });
        match outcome {
            Err(CatalogError::WrongState { .. } | CatalogError::UnknownRecording { .. }) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Throws an attempt away: key first, then its files. The recording is due again later.
    fn abandon(
        &self,
        recording: &Recording,
        failure: Option<PieceError>,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let id = recording.id;
        self.totals.count_failure();
        if let Some(error) = &failure {
            tracing::warn!(recording = %id, error = %chain(error), "sealing failed; trying again later");
        }
        let is_hopeless = failure.as_ref().is_some_and(|error| !error.is_transient());
        self.abandon_attempt(id, now)?;
        let slot = self.slot_of(recording.store);
        if let Some(opened) = slot.and_then(|slot| slot.opened()) {
            // What stays behind is noise without its key, and cleared before the next attempt.
            let _ = self.clear_abandoned(recording, &opened);
        }
        let tries = self.catalog.write(|tx| tx.postpone(id, now.plus(SOON)))?;
        if is_hopeless && tries >= TRIES_MAX {
            self.set_back(recording, Setback::Quarantine("sealing-failed"), now)?;
        }
        Ok(())
    }
}

/// Where the plaintext of a copy comes from.
fn source_of(ready: &Ready, kind: SealedKind) -> Option<Source> {
    match kind {
        SealedKind::Media => ready.file.try_clone().ok().map(Source::File),
        SealedKind::Peaks => ready.peaks.clone().map(Source::Plaintext),
        SealedKind::Sidecar => None,
    }
}

/// The original is still the content that was sealed.
fn is_unchanged(ready: &Ready) -> bool {
    looks::sight(&ready.file, &ready.recording.path)
        .is_ok_and(|now| now.fingerprint.has_same_content(&ready.recording.fingerprint))
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

/// Batches of one call, so that a long backlog lets other work come in between.
const BATCHES_MAX: usize = 8;
/// Bytes of one batch, unless one recording alone has more.
const BATCH_BYTES_MAX: u64 = 1 << 30;
/// Something of a moment is in the way.
const SOON: Duration = Duration::from_secs(10);
/// Something that a person or a mount has to mend.
const SLOW: Duration = Duration::from_secs(60);
/// After this many failures that waiting does not mend, a person is asked.
const TRIES_MAX: u32 = 5;
/// Bounds the work on the peaks of one recording: some days of audio.
pub(super) const PEAK_BLOCKS_MAX: u64 = 4_000_000;
