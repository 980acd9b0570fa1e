//! The life of a recording, one durable step at a time.

use rusqlite::OptionalExtension;
use rusqlite::named_params;
use rusqlite::params;

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use crate::clock::Timestamp;
use crate::compliance::audit::AuditEntry;
use crate::domain::ConversationId;
use crate::domain::DestructionEvidence;
use crate::domain::MediaInfo;
use crate::domain::RecordingId;
use crate::domain::lifecycle::RecordingEvent;
use crate::domain::lifecycle::RecordingState;

impl ReadTx<'_> {
    /// Where `recording` is in its life.
    pub fn state(&self, recording: RecordingId) -> Result<RecordingState, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_STATE)?;
        statement
            .query_row([recording], |row| row.get(0))
            .optional()?
            .ok_or(CatalogError::UnknownRecording { recording })
    }
}

impl CatalogTx<'_> {
    /// Notes that the recorder is done; the recording is due for sealing from `due_at` on.
    ///
    /// The one step without an audit entry, with [`CatalogTx::note_changed`]: until there is a
    /// key, nothing was done to the recording.
    pub fn settle(&self, recording: RecordingId, due_at: Timestamp) -> Result<(), CatalogError> {
        let from = self.state(recording)?;
        self.step(recording, from, RecordingEvent::Finished)?;
        self.conn.prepare_cached(UPDATE_DUE)?.execute(params![recording, due_at])?;
        Ok(())
    }

    /// Applies `event` to `recording` and records `entry`. For `SealVerified` and
    /// `RedactionVerified`, the time of the entry becomes the time of sealing, and the files beside
    /// the recording become due.
    ///
    /// Before `KeyRecorded` comes [`CatalogTx::record_key`], before `SealVerified`
    /// [`CatalogTx::add_copy`]: the database refuses a state that lacks what it claims.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Illegal`] if the life cycle has no such step.
    ///
    /// # Panics
    ///
    /// If `entry` is about another recording, or for `GaveUp`, which needs a reason: see
    /// [`CatalogTx::quarantine`].
    pub fn advance(
        &self,
        recording: RecordingId,
        event: RecordingEvent,
        entry: &AuditEntry,
    ) -> Result<RecordingState, CatalogError> {
        assert_eq!(entry.recording(), Some(recording), "the entry tells of another recording");
        assert_ne!(event, RecordingEvent::GaveUp, "giving up needs a reason");
        let from = self.state(recording)?;
        let to = self.step(recording, from, event)?;
        if matches!(event, RecordingEvent::SealVerified | RecordingEvent::RedactionVerified) {
            self.conn.prepare_cached(UPDATE_SEALED_AT)?.execute(params![recording, entry.at()])?;
            self.conn.prepare_cached(UPDATE_SIDECARS_DUE)?.execute([recording])?;
        }
        self.append_audit(entry)?;
        Ok(to)
    }

    /// Sets `recording` aside until a person decides. `reason` is a code, not a path.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Illegal`] if the life cycle has no way from here.
    pub fn quarantine(
        &self,
        recording: RecordingId,
        reason: &'static str,
        entry: &AuditEntry,
    ) -> Result<(), CatalogError> {
        assert_eq!(entry.recording(), Some(recording), "the entry tells of another recording");
        let from = self.state(recording)?;
        self.step_because(recording, from, RecordingEvent::GaveUp, Some(reason))?;
        self.append_audit(entry)?;
        Ok(())
    }

    /// Puts the next try of this step off until `due_at`. Returns how often that was done since
    /// the recording came into this state, so that the caller can wait longer or give up.
    pub fn postpone(&self, recording: RecordingId, due_at: Timestamp) -> Result<u32, CatalogError> {
        self.conn
            .prepare_cached(POSTPONE)?
            .query_row(params![recording, due_at], |row| row.get(0))
            .optional()?
            .ok_or(CatalogError::UnknownRecording { recording })
    }

    /// Notes what probing found.
    pub fn set_media(&self, recording: RecordingId, media: &MediaInfo) -> Result<(), CatalogError> {
        let changed = self.conn.prepare_cached(UPDATE_MEDIA)?.execute(named_params! {
            ":id": recording,
            ":container": media.container,
            ":codec": media.codec,
            ":duration_ms": media.duration_ms.map(u64::cast_signed),
            ":channels": media.channels,
            ":sample_rate_hz": media.sample_rate_hz,
            ":width": media.width,
            ":height": media.height,
            ":damage": media.damage,
        })?;
        found(changed, recording)
    }

    /// Notes what became of the original.
    pub fn set_original(
        &self,
        recording: RecordingId,
        evidence: &DestructionEvidence,
    ) -> Result<(), CatalogError> {
        let changed = self.conn.prepare_cached(UPDATE_ORIGINAL)?.execute(named_params! {
            ":id": recording,
            ":overwrite": evidence.overwrite,
            ":file_system": evidence.file_system,
            ":medium": evidence.media,
            ":overwritten_bytes": evidence.overwritten_bytes.cast_signed(),
        })?;
        found(changed, recording)
    }

    /// Notes the conversation it belongs to.
    pub fn set_conversation(
        &self,
        recording: RecordingId,
        conversation: ConversationId,
    ) -> Result<(), CatalogError> {
        let mut statement = self.conn.prepare_cached(UPDATE_CONVERSATION)?;
        found(statement.execute(params![recording, conversation])?, recording)
    }

    /// One step of the life cycle, the only statement that changes a state.
    pub(super) fn step(
        &self,
        recording: RecordingId,
        from: RecordingState,
        event: RecordingEvent,
    ) -> Result<RecordingState, CatalogError> {
        self.step_because(recording, from, event, None)
    }

    /// The same with the reason for which a recording is set aside.
    pub(super) fn step_because(
        &self,
        recording: RecordingId,
        from: RecordingState,
        event: RecordingEvent,
        quarantine: Option<&'static str>,
    ) -> Result<RecordingState, CatalogError> {
        let to = from.next(event).map_err(|source| CatalogError::Illegal { recording, source })?;
        let changed = self.conn.prepare_cached(UPDATE_STATE)?.execute(named_params! {
            ":id": recording,
            ":from": from,
            ":to": to,
            ":quarantine": quarantine,
            ":is_retry": event == RecordingEvent::AttemptAbandoned,
        })?;
        assert_eq!(changed, 1, "we hold the write lock, so nobody moved {recording} meanwhile");
        Ok(to)
    }
}

fn found(changed: usize, recording: RecordingId) -> Result<(), CatalogError> {
    if changed == 1 { Ok(()) } else { Err(CatalogError::UnknownRecording { recording }) }
}

const SELECT_STATE: &str = "SELECT state FROM recording WHERE id = ?1";
const UPDATE_STATE: &str = "
    UPDATE recording SET state = :to, quarantine = :quarantine,
        failures = CASE WHEN :is_retry THEN failures ELSE 0 END
    WHERE id = :id AND state = :from";
const UPDATE_DUE: &str = "UPDATE recording SET due_at = ?2 WHERE id = ?1";
const UPDATE_SEALED_AT: &str = "UPDATE recording SET sealed_at = ?2 WHERE id = ?1";
const UPDATE_SIDECARS_DUE: &str =
    "UPDATE sidecar SET due_at = 0 WHERE recording = ?1 AND state = 'found' AND due_at IS NULL";
const POSTPONE: &str = "
    UPDATE recording SET due_at = ?2, failures = failures + 1 WHERE id = ?1
    RETURNING failures";
const UPDATE_MEDIA: &str = "
    UPDATE recording SET container = :container, codec = :codec, duration_ms = :duration_ms,
        channels = :channels, sample_rate_hz = :sample_rate_hz, width = :width,
        height = :height, damage = :damage
    WHERE id = :id";
const UPDATE_ORIGINAL: &str = "
    UPDATE recording SET overwrite = :overwrite, file_system = :file_system, medium = :medium,
        overwritten_bytes = :overwritten_bytes
    WHERE id = :id";
const UPDATE_CONVERSATION: &str = "UPDATE recording SET conversation = ?2 WHERE id = ?1";
