//! Where the sealed copies lie.

use rusqlite::Row;
use rusqlite::named_params;
use rusqlite::params;
use uuid::Uuid;

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use super::values::unreadable;
use super::values::unsigned;
use crate::clock::Timestamp;
use crate::domain::RecordingId;
use crate::domain::SealedCopy;
use crate::domain::SealedKind;
use crate::domain::StoreId;
use crate::domain::StorePath;
use crate::domain::VaultName;

impl ReadTx<'_> {
    /// Every sealed copy of `recording` and of what belongs to it, oldest first.
    pub fn copies(&self, recording: RecordingId) -> Result<Vec<SealedCopy>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_COPIES)?;
        Ok(statement.query_map([recording], copy_of)?.collect::<Result<_, _>>()?)
    }

    /// True if a sealed file is expected at `path`, whosesoever.
    pub fn is_copy_known(&self, vault: &VaultName, path: &StorePath) -> Result<bool, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_COPY)?;
        Ok(statement.exists(params![vault_bytes(vault), path.expose_bytes()])?)
    }
}

impl CatalogTx<'_> {
    /// Notes a sealed file. May come before the file is made, so that a crash leaves none unknown.
    pub fn add_copy(
        &self,
        recording: RecordingId,
        copy: &SealedCopy,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        self.conn.prepare_cached(INSERT_COPY)?.execute(named_params! {
            ":vault": vault_bytes(&copy.vault),
            ":path": copy.path.expose_bytes(),
            ":recording": recording,
            ":sidecar": copy.sidecar,
            ":kind": copy.kind.as_str(),
            ":sealed_bytes": copy.sealed_bytes.cast_signed(),
            ":plain_bytes": copy.plain_bytes.cast_signed(),
            ":now": now,
        })?;
        Ok(())
    }

    /// Forgets a sealed file that was destroyed; false if it was not known.
    pub fn forget_copy(
        &self,
        recording: RecordingId,
        copy: &SealedCopy,
    ) -> Result<bool, CatalogError> {
        let mut statement = self.conn.prepare_cached(DELETE_COPY)?;
        let path = copy.path.expose_bytes();
        Ok(statement.execute(params![vault_bytes(&copy.vault), path, recording])? == 1)
    }
}

/// Our own vault has no id: empty.
pub(super) fn vault_bytes(vault: &VaultName) -> &[u8] {
    match vault {
        VaultName::Own => &[],
        VaultName::Beside(store) => store.0.as_bytes(),
    }
}

/// The vault of such a column.
pub(super) fn vault_of(column: &[u8]) -> rusqlite::Result<VaultName> {
    match column {
        b"" => Ok(VaultName::Own),
        id => match Uuid::from_slice(id) {
            Ok(id) => Ok(VaultName::Beside(StoreId(id))),
            Err(_) => Err(unreadable("not a store id").into()),
        },
    }
}

fn copy_of(row: &Row<'_>) -> rusqlite::Result<SealedCopy> {
    let path = row.get_ref("path")?.as_blob()?;
    let kind = row.get_ref("kind")?.as_str()?;
    Ok(SealedCopy {
        vault: vault_of(row.get_ref("vault")?.as_blob()?)?,
        path: StorePath::new(path).ok_or_else(|| unreadable("not a path"))?,
        kind: [SealedKind::Media, SealedKind::Peaks, SealedKind::Sidecar]
            .into_iter()
            .find(|known| known.as_str() == kind)
            .ok_or_else(|| unreadable("unknown kind"))?,
        sidecar: row.get("sidecar")?,
        sealed_bytes: unsigned(row, "sealed_bytes")?,
        plain_bytes: unsigned(row, "plain_bytes")?,
    })
}

const SELECT_COPIES: &str =
    "SELECT * FROM sealed_copy WHERE recording = ?1 ORDER BY created_at, kind, vault, path";
const SELECT_COPY: &str = "SELECT 1 FROM sealed_copy WHERE vault = ?1 AND path = ?2";
const INSERT_COPY: &str = "
    INSERT INTO sealed_copy (vault, path, recording, sidecar, kind, sealed_bytes, plain_bytes,
        created_at)
    VALUES (:vault, :path, :recording, :sidecar, :kind, :sealed_bytes, :plain_bytes, :now)";
const DELETE_COPY: &str =
    "DELETE FROM sealed_copy WHERE vault = ?1 AND path = ?2 AND recording = ?3";
