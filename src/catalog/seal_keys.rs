//! Data keys that were sealed to a public key: kept like the others, and opened by nobody here.
//!
//! A recording has one row in the same table as all data keys. A sidecar that was sealed later has
//! one of its own, because nobody here has the recording's key any more; it goes when the row of
//! the recording goes, by a trigger.

use keymanager::SealKeyId;
use keymanager::SealedDataKey;
use keymanager::StoredDataKey;
use keymanager::WrappedKey;
use rusqlite::OptionalExtension;
use rusqlite::named_params;
use rusqlite::params;

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use super::copies::vault_bytes;
use super::values::unreadable;
use super::values::unsigned;
use crate::clock::Timestamp;
use crate::domain::RecordingId;
use crate::domain::SealedCopy;
use crate::domain::SidecarId;
use crate::domain::StoreId;
use crate::domain::lifecycle::RecordingState;

impl ReadTx<'_> {
    /// The data key of `recording` in whichever form it is kept; `None` before its first attempt
    /// and after its erasure.
    pub fn stored_key(
        &self,
        recording: RecordingId,
    ) -> Result<Option<StoredDataKey>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_KEY)?;
        let row: Option<(u32, Vec<u8>)> = statement
            .query_row([recording], |row| Ok((row.get("version")?, row.get("bytes")?)))
            .optional()?;
        let damaged = CatalogError::DamagedKey { recording };
        Ok(match row {
            None => None,
            Some((0, bytes)) => {
                Some(StoredDataKey::Sealed(SealedDataKey::from_bytes(&bytes).map_err(|_| damaged)?))
            }
            Some((_, bytes)) => {
                Some(StoredDataKey::Wrapped(WrappedKey::from_bytes(&bytes).map_err(|_| damaged)?))
            }
        })
    }

    /// The keys of sidecars of `recording` that have one of their own.
    pub fn sidecar_keys(&self, recording: RecordingId) -> Result<Vec<SealedDataKey>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_SIDECAR_KEYS)?;
        let rows: Vec<Vec<u8>> =
            statement.query_map([recording], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let read = |bytes: &Vec<u8>| SealedDataKey::from_bytes(bytes);
        rows.iter()
            .map(|bytes| read(bytes).map_err(|_| CatalogError::DamagedKey { recording }))
            .collect()
    }

    /// How many recordings and sidecars need each seal key.
    pub fn keys_by_seal_key(&self) -> Result<Vec<(SealKeyId, u64)>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_SEAL_KEY_COUNTS)?;
        let rows = statement.query_map([], |row| {
            let id = SealKeyId::from_bytes(row.get_ref("seal_key")?.as_blob()?);
            Ok((id.ok_or_else(|| unreadable("not a seal key id"))?, unsigned(row, "data_keys")?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// SHA-256 of a sealed file when it was proved, where that was noted.
    pub fn copy_digest(&self, copy: &SealedCopy) -> Result<Option<[u8; 32]>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_DIGEST)?;
        let key = params![vault_bytes(&copy.vault), copy.path.expose_bytes()];
        Ok(statement.query_row(key, |row| row.get(0)).optional()?.flatten())
    }
}

impl CatalogTx<'_> {
    /// Records the key of a new sealing attempt, as [`Self::record_key`] does, for one that this
    /// host cannot open.
    ///
    /// # Errors
    ///
    /// As [`Self::record_key`].
    pub fn record_sealed_key(
        &self,
        recording: RecordingId,
        key: &SealedDataKey,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        let state = self.state(recording)?;
        if state != RecordingState::Settled {
            return Err(CatalogError::WrongState { recording, state });
        }
        let added = self.conn.prepare_cached(INSERT_KEY)?.execute(named_params! {
            ":recording": recording,
            ":data_key": key.data_key_id().as_bytes(),
            ":seal_key": key.seal_key().as_bytes(),
            ":bytes": key.as_bytes(),
            ":now": now,
        })?;
        if added == 1 { Ok(()) } else { Err(CatalogError::KeyExists { recording }) }
    }

    /// Records the own key of a sidecar of `recording`, before anything is sealed with it.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Statement`] if an earlier attempt left one: destroy it first; or if the
    /// recording is not itself sealed to a public key.
    pub fn record_sidecar_key(
        &self,
        recording: RecordingId,
        sidecar: SidecarId,
        key: &SealedDataKey,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        self.conn.prepare_cached(INSERT_SIDECAR_KEY)?.execute(named_params! {
            ":sidecar": sidecar,
            ":recording": recording,
            ":data_key": key.data_key_id().as_bytes(),
            ":seal_key": key.seal_key().as_bytes(),
            ":bytes": key.as_bytes(),
            ":now": now,
        })?;
        Ok(())
    }

    /// Destroys the own key of a sidecar whose attempt was abandoned; false if there was none.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Statement`] if the sidecar is sealed: the database refuses.
    pub fn destroy_sidecar_key(&self, sidecar: SidecarId) -> Result<bool, CatalogError> {
        Ok(self.conn.prepare_cached(DELETE_SIDECAR_KEY)?.execute([sidecar])? == 1)
    }

    /// Makes everything of `store` that waits to be sealed due now.
    pub fn hasten_sealing(&self, store: StoreId, now: Timestamp) -> Result<(), CatalogError> {
        self.conn.prepare_cached(UPDATE_DUE)?.execute(params![store, now])?;
        Ok(())
    }

    /// Notes SHA-256 of a sealed file that was just proved equal to its original.
    pub fn set_copy_digest(
        &self,
        copy: &SealedCopy,
        digest: &[u8; 32],
    ) -> Result<(), CatalogError> {
        let key = params![vault_bytes(&copy.vault), copy.path.expose_bytes(), digest];
        self.conn.prepare_cached(UPDATE_DIGEST)?.execute(key)?;
        Ok(())
    }
}

const SELECT_KEY: &str = "SELECT version, bytes FROM wrapped_key WHERE recording = ?1";
const SELECT_SIDECAR_KEYS: &str =
    "SELECT bytes FROM sidecar_key WHERE recording = ?1 ORDER BY created_at, sidecar";
const SELECT_SEAL_KEY_COUNTS: &str = "
    SELECT seal_key, sum(data_keys) AS data_keys FROM (
        SELECT seal_key, count(*) AS data_keys FROM wrapped_key WHERE seal_key IS NOT NULL
            GROUP BY seal_key
        UNION ALL
        SELECT seal_key, count(*) AS data_keys FROM sidecar_key GROUP BY seal_key)
    GROUP BY seal_key ORDER BY seal_key";
const SELECT_DIGEST: &str = "SELECT sha256 FROM sealed_copy WHERE vault = ?1 AND path = ?2";
const INSERT_KEY: &str = "
    INSERT INTO wrapped_key (recording, data_key, version, bytes, created_at, seal_key)
    VALUES (:recording, :data_key, 0, :bytes, :now, :seal_key)
    ON CONFLICT (recording) DO NOTHING";
const INSERT_SIDECAR_KEY: &str = "
    INSERT INTO sidecar_key (sidecar, recording, data_key, seal_key, bytes, created_at)
    VALUES (:sidecar, :recording, :data_key, :seal_key, :bytes, :now)";
const DELETE_SIDECAR_KEY: &str = "DELETE FROM sidecar_key WHERE sidecar = ?1";
const UPDATE_DUE: &str = "
    UPDATE recording SET due_at = ?2
    WHERE store = ?1 AND state = 'settled' AND due_at > ?2 AND redacted_from IS NULL";
const UPDATE_DIGEST: &str = "UPDATE sealed_copy SET sha256 = ?3 WHERE vault = ?1 AND path = ?2";
