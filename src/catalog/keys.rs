//! The wrapped data keys: one row per recording, and the row is the recording.
//!
//! Where that row goes, every sealed copy of the recording becomes noise, in each backup of the
//! files as well. So it is written once, deleted by one method, and a trigger keeps it while the
//! life cycle still needs it.

use keymanager::WrappedKey;
use rusqlite::OptionalExtension;
use rusqlite::named_params;

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use super::values::unsigned;
use crate::clock::Timestamp;
use crate::domain::RecordingId;
use crate::domain::lifecycle::RecordingState;

impl ReadTx<'_> {
    /// The wrapped key of `recording`; `None` before its first attempt and after its erasure, and
    /// if it is not wrapped but sealed to a public key, see [`Self::stored_key`].
    pub fn wrapped_key(&self, recording: RecordingId) -> Result<Option<WrappedKey>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_KEY)?;
        let bytes: Option<Vec<u8>> =
            statement.query_row([recording], |row| row.get(0)).optional()?;
        bytes
            .map(|bytes| {
                WrappedKey::from_bytes(&bytes).map_err(|_| CatalogError::DamagedKey { recording })
            })
            .transpose()
    }

    /// How many data keys each version of the key-encryption key wraps.
    pub fn keys_by_version(&self) -> Result<Vec<(u32, u64)>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_KEY_COUNTS)?;
        let rows = statement
            .query_map([], |row| Ok((row.get("version")?, unsigned(row, "data_keys")?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl CatalogTx<'_> {
    /// Records the key of a new sealing attempt. Nothing may be sealed with it before this
    /// transaction is durable; `KeyRecorded` belongs into the same one.
    ///
    /// # Errors
    ///
    /// [`CatalogError::KeyExists`] if an earlier attempt left one: destroy it first, so that a
    /// key is never overwritten by accident. [`CatalogError::WrongState`] unless settled.
    pub fn record_key(
        &self,
        recording: RecordingId,
        key: &WrappedKey,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        let state = self.state(recording)?;
        if state != RecordingState::Settled {
            return Err(CatalogError::WrongState { recording, state });
        }
        let added = self.conn.prepare_cached(INSERT_KEY)?.execute(named_params! {
            ":recording": recording,
            ":data_key": key.data_key_id().as_bytes(),
            ":version": key.version(),
            ":bytes": key.as_bytes(),
            ":now": now,
        })?;
        if added == 1 { Ok(()) } else { Err(CatalogError::KeyExists { recording }) }
    }

    /// Destroys the key of `recording`; false if there was none. The only way a key goes.
    ///
    /// For an attempt that was abandoned (the recording is settled again), and for an erasure
    /// that was started: there it is the point of no return. The bytes are zeroed in the file
    /// with the next checkpoint; [`super::Catalog::scrub`] takes them out of the log.
    ///
    /// # Errors
    ///
    /// [`CatalogError::WrongState`] in every other state. The database refuses as well.
    pub fn destroy_key(&self, recording: RecordingId) -> Result<bool, CatalogError> {
        let state = self.state(recording)?;
        if !matches!(state, RecordingState::Settled | RecordingState::Erasing) {
            return Err(CatalogError::WrongState { recording, state });
        }
        Ok(self.conn.prepare_cached(DELETE_KEY)?.execute([recording])? == 1)
    }
}

const SELECT_KEY: &str = "SELECT bytes FROM wrapped_key WHERE recording = ?1 AND version > 0";
const SELECT_KEY_COUNTS: &str = "
    SELECT version, count(*) AS data_keys FROM wrapped_key WHERE version > 0
    GROUP BY version ORDER BY version";
const INSERT_KEY: &str = "
    INSERT INTO wrapped_key (recording, data_key, version, bytes, created_at)
    VALUES (:recording, :data_key, :version, :bytes, :now)
    ON CONFLICT (recording) DO NOTHING";
const DELETE_KEY: &str = "DELETE FROM wrapped_key WHERE recording = ?1";
