//! The files of recordings that are being erased: what they were, and what was seen of their end.
//!
//! Their rows are made in the transaction that destroys the key, from those of the sealed copies.
//! Each keeps its place until the file is gone from there, and not a moment longer.

use rusqlite::Row;
use rusqlite::named_params;
use rusqlite::params;
use uuid::Uuid;

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use super::copies::vault_bytes;
use super::copies::vault_of;
use super::values::evidence_of;
use super::values::unreadable;
use super::values::unsigned;
use super::values::uuid;
use crate::domain::DataKeyId;
use crate::domain::Fingerprint;
use crate::domain::JournalFate;
use crate::domain::RecordingId;
use crate::domain::SidecarId;
use crate::domain::StorePath;
use crate::domain::doomed::DoomedFile;
use crate::domain::doomed::FileEvidence;

impl ReadTx<'_> {
    /// Every file of `recording` that is being erased or was.
    pub fn doomed_files(&self, recording: RecordingId) -> Result<Vec<DoomedFile>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_FILES)?;
        Ok(statement.query_map([recording], file_of)?.collect::<Result<_, _>>()?)
    }
}

impl ReadTx<'_> {
    /// The data keys of sidecars of `recording` that have one of their own.
    pub fn sidecar_data_keys(
        &self,
        recording: RecordingId,
    ) -> Result<Vec<(SidecarId, DataKeyId)>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_SIDECAR_DATA_KEYS)?;
        let rows = statement.query_map([recording], |row| {
            Ok((row.get("sidecar")?, DataKeyId(uuid(row.get_ref("data_key")?)?)))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl CatalogTx<'_> {
    /// Notes a file that is to go, in the transaction that destroys the key.
    pub fn doom_file(&self, file: &DoomedFile) -> Result<(), CatalogError> {
        let (vault, path) = match &file.place {
            Some((vault, path)) => (Some(vault_bytes(vault)), Some(path.expose_bytes())),
            None => (None, None),
        };
        self.conn.prepare_cached(INSERT_FILE)?.execute(named_params! {
            ":token": file.token.as_bytes(),
            ":recording": file.recording,
            ":kind": file.kind.as_str(),
            ":sidecar": file.sidecar,
            ":vault": vault,
            ":path": path,
            ":data_key": file.data_key.as_ref().map(|id| id.0.as_bytes().as_slice()),
            ":bytes": file.bytes.cast_signed(),
            ":expected_inode": file.expected.map(|seen| seen.inode.cast_signed()),
            ":expected_modified_ns": file.expected.map(|seen| seen.modified_ns),
            ":step": file.step.as_str(),
        })?;
        Ok(())
    }

    /// Notes which data key the prefix of the file `token` names.
    pub fn note_data_key(&self, token: Uuid, data_key: DataKeyId) -> Result<(), CatalogError> {
        let key = params![token.as_bytes(), data_key.0.as_bytes()];
        self.conn.prepare_cached(UPDATE_DATA_KEY)?.execute(key)?;
        Ok(())
    }

    /// Notes what was seen of the overwrite of the file `token`.
    pub fn note_overwritten(
        &self,
        token: Uuid,
        evidence: &FileEvidence,
    ) -> Result<(), CatalogError> {
        let FileEvidence { destruction, journal, moved, inode, extents, at } = evidence;
        self.conn.prepare_cached(UPDATE_OVERWRITTEN)?.execute(named_params! {
            ":token": token.as_bytes(),
            ":overwrite": destruction.overwrite,
            ":journal": journal,
            ":file_system": destruction.file_system,
            ":medium": destruction.media,
            ":overwritten_bytes": destruction.overwritten_bytes.cast_signed(),
            ":moved": moved,
            ":inode": inode.cast_signed(),
            ":extents": extents,
            ":at": at,
        })?;
        Ok(())
    }

    /// Notes that the file `token` is gone from its folder, and what became of the journal. Its
    /// place is forgotten.
    pub fn note_unlinked(&self, token: Uuid, journal: JournalFate) -> Result<(), CatalogError> {
        let key = params![token.as_bytes(), journal];
        self.conn.prepare_cached(UPDATE_UNLINKED)?.execute(key)?;
        Ok(())
    }

    /// Notes that the file `token` was not there any more. Its place is forgotten.
    pub fn note_missing(&self, token: Uuid) -> Result<(), CatalogError> {
        self.conn.prepare_cached(UPDATE_MISSING)?.execute([token.as_bytes()])?;
        Ok(())
    }

    /// Forgets the names of an erased recording, of the files beside it, and their attributes.
    pub fn scrub_names(&self, recording: RecordingId) -> Result<(), CatalogError> {
        self.conn.prepare_cached(SCRUB_RECORDING)?.execute([recording])?;
        self.forget_xattrs(recording)?;
        // Those are expected in their folders by name: nobody is any more.
        self.conn.prepare_cached(DELETE_UNSEALED_SIDECARS)?.execute([recording])?;
        self.conn.prepare_cached(SCRUB_SIDECARS)?.execute([recording])?;
        Ok(())
    }
}

fn file_of(row: &Row<'_>) -> rusqlite::Result<DoomedFile> {
    let place = match row.get_ref("path")?.as_blob_or_null()? {
        None => None,
        Some(path) => Some((
            vault_of(row.get_ref("vault")?.as_blob()?)?,
            StorePath::new(path).ok_or_else(|| unreadable("not a path"))?,
        )),
    };
    let data_key = match row.get_ref("data_key")? {
        rusqlite::types::ValueRef::Null => None,
        id => Some(DataKeyId(uuid(id)?)),
    };
    let bytes = unsigned(row, "bytes")?;
    let inode: Option<i64> = row.get("expected_inode")?;
    let expected = inode.zip(row.get("expected_modified_ns")?).map(|(inode, modified_ns)| {
        let inode = inode.cast_unsigned();
        Fingerprint { device: 0, inode, size_bytes: bytes, modified_ns, changed_ns: 0 }
    });
    let evidence = match evidence_of(row)? {
        None => None,
        Some(destruction) => Some(FileEvidence {
            destruction,
            journal: row.get("journal")?,
            moved: row.get("moved")?,
            inode: unsigned(row, "inode")?,
            extents: row.get("extents")?,
            at: row.get("overwritten_at")?,
        }),
    };
    Ok(DoomedFile {
        token: uuid(row.get_ref("token")?)?,
        recording: row.get("recording")?,
        kind: row.get("kind")?,
        sidecar: row.get("sidecar")?,
        place,
        data_key,
        bytes,
        expected,
        step: row.get("step")?,
        evidence,
    })
}

const SELECT_SIDECAR_DATA_KEYS: &str =
    "SELECT sidecar, data_key FROM sidecar_key WHERE recording = ?1";
const SELECT_FILES: &str = "SELECT * FROM doomed_file WHERE recording = ?1 ORDER BY kind, token";
const INSERT_FILE: &str = "
    INSERT INTO doomed_file (token, recording, kind, sidecar, vault, path, data_key, bytes,
        expected_inode, expected_modified_ns, step)
    VALUES (:token, :recording, :kind, :sidecar, :vault, :path, :data_key, :bytes,
        :expected_inode, :expected_modified_ns, :step)";
const UPDATE_DATA_KEY: &str =
    "UPDATE doomed_file SET data_key = ?2 WHERE token = ?1 AND step = 'doomed'";
const UPDATE_OVERWRITTEN: &str = "
    UPDATE doomed_file SET step = 'overwritten', overwrite = :overwrite, journal = :journal,
        file_system = :file_system, medium = :medium, overwritten_bytes = :overwritten_bytes,
        moved = :moved, inode = :inode, extents = :extents, overwritten_at = :at
    WHERE token = :token AND step IN ('doomed', 'overwritten')";
const UPDATE_UNLINKED: &str = "
    UPDATE doomed_file SET step = 'unlinked', vault = NULL, path = NULL, journal = ?2
    WHERE token = ?1 AND step = 'overwritten'";
const UPDATE_MISSING: &str = "
    UPDATE doomed_file SET step = 'missing', vault = NULL, path = NULL
    WHERE token = ?1 AND step = 'doomed'";
const SCRUB_RECORDING: &str = "
    UPDATE recording SET folder = x'', name = CAST('[anonymized]' AS BLOB) WHERE id = ?1";
const DELETE_UNSEALED_SIDECARS: &str =
    "DELETE FROM sidecar WHERE recording = ?1 AND state != 'stored'";
const SCRUB_SIDECARS: &str = "
    UPDATE sidecar SET folder = x'', name = CAST('[anonymized]' AS BLOB) WHERE recording = ?1";
