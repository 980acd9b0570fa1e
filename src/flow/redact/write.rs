//! Writing a redacted recording: recorded, sealed on the way, proved, looked at, kept.

use std::io::{self, BufWriter, Write};

use keymanager::DataKey;
use zeroize::Zeroizing;

use super::{Opened, anonymized_path, store_is_gone};
use crate::catalog::NewRedacted;
use crate::clock::Timestamp;
use crate::compliance::audit::{Activity, Actor, AuditEntry};
use crate::domain::lifecycle::RecordingEvent;
use crate::domain::{FileAttributes, MediaInfo, Recording, RecordingId, SealedCopy, SealedKind};
use crate::flow::crash::crash_point;
use crate::flow::desk::extension_of;
use crate::flow::ingest::PEAK_BLOCKS_MAX;
use crate::flow::pieces::{Piece, Source};
use crate::flow::stores::vault_of;
use crate::flow::{Engine, FlowError};
use crate::media::redact::{Plan, RedactError};
use crate::media::{self, Hint};
use crate::seal::{self, Hashed, Prefix, SealWriter, VerifiedSeal, WriteAt, Written};
use crate::vault::{Draft, Vault};

/// A redacted recording on its way.
struct Twin {
    recording: Recording,
    key: DataKey,
    copy: SealedCopy,
}

/// What it was found to be, when it was there.
struct Found {
    info: MediaInfo,
    peaks: Option<Zeroizing<Vec<u8>>>,
}

impl Engine {
    /// The redacted recording, stored; and its length. On failure nothing of it is left, or what
    /// is left is noise that the next start clears away.
    pub(super) fn make_redacted(
        &self,
        opened: &Opened,
        plan: &Plan,
        who: &Actor,
        progress: &(dyn Fn(u64, u64) + Sync),
        now: Timestamp,
    ) -> Result<(RecordingId, u64), FlowError> {
        let mut twin = self.record_twin(opened, plan, who, now)?;
        crash_point("redact.key_recorded");
        let id = twin.recording.id;
        let made = self
            .write_twin(opened, plan, &mut twin, progress)
            .and_then(|(proof, found)| self.keep_twin(opened, plan, &twin, proof, found, who, now));
        if let Err(error) = made {
            if let Err(left) = self.discard_redaction(id, now) {
                tracing::error!(recording = %id, error = %left, "a failed redaction was not cleared");
            }
            return Err(error);
        }
        Ok((id, twin.copy.plain_bytes))
    }

    /// Row, key and place of the copy, durable before the first sealed byte exists.
    fn record_twin(
        &self,
        opened: &Opened,
        plan: &Plan,
        who: &Actor,
        now: Timestamp,
    ) -> Result<Twin, FlowError> {
        let (id, original) = (RecordingId::new(), &opened.recording);
        let path = anonymized_path(original, plan.extension);
        let store = self.slot_of(original.store).and_then(|slot| slot.open().ok());
        let (vault, place) = self.copy_place(store.as_deref(), id.0, &path, SealedKind::Media)?;
        let plain_bytes = plan.expected_bytes;
        let copy = SealedCopy {
            vault,
            path: place,
            kind: SealedKind::Media,
            sidecar: None,
            sealed_bytes: seal::sealed_len(plain_bytes),
            plain_bytes,
        };
        let key = DataKey::generate();
        let created = AuditEntry::new(now, who.clone(), Activity::RecordingKeyCreated)
            .because("redaction")
            .on_recording(id);
        let recording = self.catalog.write(|tx| {
            let new = NewRedacted { id, original, path: &path, size_bytes: plain_bytes };
            tx.add_redacted(&new)?;
            // Under the lock under which key versions are destroyed, as for every new key.
            tx.record_key(id, &self.keys.wrap(id.0, &key), now)?;
            tx.add_copy(id, &copy, now)?;
            tx.advance(id, RecordingEvent::KeyRecorded, &created)?;
            tx.recording(id)?.ok_or(FlowError::NotFound(id))
        })?;
        Ok(Twin { recording, key, copy })
    }

    /// Writes, publishes, reads back and compares, then looks at what is there.
    fn write_twin(
        &self,
        opened: &Opened,
        plan: &Plan,
        twin: &mut Twin,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<(VerifiedSeal, Found), FlowError> {
        let id = twin.recording.id;
        let written = self.write_part(opened, plan, twin, &|done, total| {
            progress(done, total.saturating_mul(2));
        })?;
        crash_point("redact.published");
        let reader = self.open_published(&twin.recording, &twin.copy, &twin.key)?;
        let total = twin.copy.plain_bytes;
        let proof = seal::prove_written(&reader, &written, &|done| {
            progress(total.saturating_add(done), total.saturating_mul(2));
        })
        .map_err(|source| FlowError::Damaged { id, source })?;
        crash_point("redact.proved");
        let refused = |source| FlowError::Redaction { id: opened.recording.id, source };
        let extension = extension_of(&twin.recording);
        let hint = Hint { extension: &extension };
        let mut stream = reader.into_stream();
        let info = plan.check(media::probe(&mut stream, hint)).map_err(refused)?;
        let blocks = std::cell::Cell::new(0_u64);
        let keep_going = || blocks.replace(blocks.get() + 1) < PEAK_BLOCKS_MAX;
        let peaks = media::peaks(Box::new(stream), hint, &keep_going);
        if let Some(peaks) = &peaks {
            plan.listen(peaks).map_err(refused)?;
        }
        Ok((proof, Found { info, peaks }))
    }

    fn write_part(
        &self,
        opened: &Opened,
        plan: &Plan,
        twin: &mut Twin,
        watch: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Written, FlowError> {
        let (id, original) = (twin.recording.id, opened.recording.id);
        let store = self.slot_of(twin.recording.store).and_then(|slot| slot.opened());
        let vault = vault_of(&self.vault, store.as_deref(), twin.copy.vault);
        let vault = vault.ok_or_else(store_is_gone)?;
        let in_vault = |source| FlowError::Vault { id, source };
        let sealing = |source| FlowError::Damaged { id, source };
        let draft = vault.begin(&twin.copy.path, twin.copy.sealed_bytes).map_err(in_vault)?;
        let prefix = Prefix::new(id, &twin.key, SealedKind::Media);
        let out = BufWriter::with_capacity(DRAFT_BUFFER_BYTES, DraftWriter { draft, at: 0 });
        let sealed = SealWriter::new(&twin.key, prefix, out).map_err(sealing)?;
        let mut hashed = Hashed::new(sealed);
        let extension = extension_of(&opened.recording);
        plan.run(
            &|| self.open_to_redact(opened),
            Hint { extension: &extension },
            self.ffmpeg.as_ref(),
            &mut hashed,
            watch,
        )
        .map_err(|source| FlowError::Redaction { id: original, source })?;
        let (sealed, written) = hashed.finish();
        let (out, sealed) = sealed.finish().map_err(sealing)?;
        let full = |error: io::Error| FlowError::Redaction {
            id: original,
            source: RedactError::Write(error),
        };
        let draft = out.into_inner().map_err(|error| full(error.into_error()))?.draft;
        twin.copy.sealed_bytes = sealed.sealed_bytes;
        twin.copy.plain_bytes = sealed.plain_bytes;
        draft.keep_attributes(&attributes_of(opened)).map_err(in_vault)?;
        crash_point("redact.part_written");
        let published = vault.publish(vec![draft]).pop().expect("one draft, one result");
        published.map_err(in_vault)?;
        Ok(written)
    }

    /// Peaks, and the transaction that makes it a recording like any other. The original has to
    /// be open still: an erasure may have come between.
    #[expect(clippy::too_many_arguments, reason = "each of them is what the transaction records")]
    fn keep_twin(
        &self,
        opened: &Opened,
        plan: &Plan,
        twin: &Twin,
        proof: VerifiedSeal,
        found: Found,
        who: &Actor,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let (id, original) = (twin.recording.id, opened.recording.id);
        assert_eq!(proof.recording(), id, "the proof is about another recording");
        self.seal_peaks(twin, found.peaks, now)?;
        crash_point("redact.peaks_sealed");
        let stored = AuditEntry::new(now, Actor::DAEMON, Activity::RecordingSealed)
            .because("redaction")
            .on_recording(id);
        let redaction = &plan.redaction;
        let numbers = [
            ("ranges", redaction.stretches().len() as u64),
            ("milliseconds", redaction.total_ms()),
            ("channels", redaction.channels().len() as u64),
        ];
        let mut entry = AuditEntry::new(now, who.clone(), Activity::MediaRedacted)
            .with_numbers(&numbers)
            .on_recording(original)
            .on_object(id.0);
        if let Some(conversation) = opened.recording.conversation {
            entry = entry.on_conversation(conversation);
        }
        self.catalog.write(|tx| {
            let state = tx.state(original)?;
            if !state.is_open_to_readers() {
                return Err(FlowError::NotOpen { id: original, state });
            }
            tx.redaction_written(id, &twin.copy, now)?;
            tx.set_media(id, &found.info)?;
            tx.advance(id, RecordingEvent::RedactionVerified, &stored)?;
            tx.append_audit(&entry)?;
            self.owe_redacted(tx, &opened.recording, who, now)
        })?;
        self.ring_eraser();
        crash_point("redact.recorded");
        self.totals.count_sealed(1, twin.copy.plain_bytes);
        Ok(())
    }

    /// A convenience: without them the recording is as good.
    fn seal_peaks(
        &self,
        twin: &Twin,
        peaks: Option<Zeroizing<Vec<u8>>>,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let Some(plaintext) = peaks else { return Ok(()) };
        let id = twin.recording.id;
        let store = self.slot_of(twin.recording.store).and_then(|slot| slot.opened());
        let (name, path) =
            self.copy_place(store.as_deref(), id.0, &twin.recording.path, SealedKind::Peaks)?;
        let Some(vault) = vault_of(&self.vault, store.as_deref(), name) else { return Ok(()) };
        let plain_bytes = plaintext.len() as u64;
        let sealed_bytes = seal::sealed_len(plain_bytes);
        let kind = SealedKind::Peaks;
        let copy = SealedCopy { vault: name, path, kind, sidecar: None, sealed_bytes, plain_bytes };
        self.catalog.write(|tx| tx.add_copy(id, &copy, now))?;
        let piece = Piece {
            recording: id,
            key: &twin.key,
            source: Source::Plaintext(plaintext),
            vault,
            attributes: Some(twin.recording.attributes),
            is_write_only: false,
            copy,
        };
        let (copy, outcome) = self.seal_pieces(vec![piece]).pop().expect("one piece, one result");
        if outcome.is_err() {
            self.clear_copies(id, [&copy], store.as_deref())?;
        }
        Ok(())
    }
}

fn attributes_of(opened: &Opened) -> FileAttributes {
    opened.recording.attributes
}

/// A draft that is written from its beginning to its end.
struct DraftWriter {
    draft: Draft,
    at: u64,
}

impl Write for DraftWriter {
    fn write(&mut self, sealed: &[u8]) -> io::Result<usize> {
        self.draft.write_all_at(sealed, self.at)?;
        self.draft.written(self.at, sealed.len() as u64);
        self.at += sealed.len() as u64;
        Ok(sealed.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Some chunks: sealed bytes, nothing to be wiped.
const DRAFT_BUFFER_BYTES: usize = 1 << 20;
