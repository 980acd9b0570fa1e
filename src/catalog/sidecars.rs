//! The files beside recordings.
//!
//! A sidecar is sealed with the key of its recording, so it waits until that is sealed, and its
//! life is shorter: `found → sealed → stored`.

use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::named_params;
use rusqlite::params;

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use super::discovery::name_conflict;
use super::recordings::rows_max;
use super::values::attributes_of;
use super::values::evidence_of;
use super::values::fingerprint_of;
use super::values::folder_bytes;
use super::values::path_of;
use crate::clock::Timestamp;
use crate::compliance::audit::AuditEntry;
use crate::domain::DestructionEvidence;
use crate::domain::FileAttributes;
use crate::domain::Fingerprint;
use crate::domain::RecordingId;
use crate::domain::SidecarId;
use crate::domain::Sighting;
use crate::domain::StoreId;
use crate::domain::StorePath;

/// Where a sidecar is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SidecarState {
    /// Seen; to be sealed when its recording is.
    Found,
    /// Its sealed copy was read back and is equal; the original is still there.
    Sealed,
    /// The sealed copy is the only one.
    Stored,
}

impl SidecarState {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Sealed => "sealed",
            Self::Stored => "stored",
        }
    }

    /// The state of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Found, Self::Sealed, Self::Stored].into_iter().find(|state| state.as_str() == name)
    }
}

/// One file beside a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    /// Its id.
    pub id: SidecarId,
    /// The recording it belongs to, whose key seals it.
    pub recording: RecordingId,
    /// The store it was found in.
    pub store: StoreId,
    /// Where it is in its life.
    pub state: SidecarState,
    /// Where it was found. Personal data.
    pub path: StorePath,
    /// Its identity when it was last looked at.
    pub fingerprint: Fingerprint,
    /// Its mode, owner and times.
    pub attributes: FileAttributes,
    /// What happened to it, once it is gone.
    pub original: Option<DestructionEvidence>,
}

/// A sidecar seen for the first time.
#[derive(Clone, Debug)]
pub struct NewSidecar<'s> {
    /// Its new id.
    pub id: SidecarId,
    /// The recording it belongs to.
    pub recording: RecordingId,
    /// The store it lies in.
    pub store: StoreId,
    /// What was seen.
    pub sighting: &'s Sighting,
    /// The time of the look.
    pub now: Timestamp,
}

impl ReadTx<'_> {
    /// The sidecars of `recording`.
    pub fn sidecars(&self, recording: RecordingId) -> Result<Vec<Sidecar>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_SIDECARS)?;
        Ok(statement.query_map([recording], sidecar_of)?.collect::<Result<_, _>>()?)
    }

    /// Sidecars with something to do now, found or sealed, longest due first. Those whose
    /// recording is not sealed yet are not among them.
    pub fn sidecars_due(&self, now: Timestamp, limit: usize) -> Result<Vec<Sidecar>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_SIDECARS_DUE)?;
        let rows = statement.query_map(params![now, rows_max(limit)], sidecar_of)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl CatalogTx<'_> {
    /// Adds a sidecar seen for the first time. Due at once if its recording is sealed already.
    ///
    /// # Errors
    ///
    /// [`CatalogError::AlreadyKnown`] if another sidecar is expected under this name.
    pub fn add_sidecar(&self, new: &NewSidecar<'_>) -> Result<(), CatalogError> {
        let is_sealed = self.state(new.recording)?.is_open_to_readers();
        let Sighting { path, fingerprint, attributes, links: _ } = new.sighting;
        let folder = path.folder();
        let added = self.conn.prepare_cached(INSERT_SIDECAR)?.execute(named_params! {
            ":id": new.id,
            ":recording": new.recording,
            ":store": new.store,
            ":folder": folder_bytes(folder.as_ref()),
            ":name": path.expose_name(),
            ":device": fingerprint.device.cast_signed(),
            ":inode": fingerprint.inode.cast_signed(),
            ":size_bytes": fingerprint.size_bytes.cast_signed(),
            ":modified_ns": fingerprint.modified_ns,
            ":changed_ns": fingerprint.changed_ns,
            ":accessed_ns": attributes.accessed_ns,
            ":mode": attributes.mode,
            ":uid": attributes.uid,
            ":gid": attributes.gid,
            ":now": new.now,
            ":due_at": is_sealed.then_some(new.now),
        });
        added.map(drop).map_err(|error| name_conflict(error, new.store))
    }

    /// Notes that a look found the sidecar as it was.
    pub fn note_sidecar_unchanged(&self, sidecar: SidecarId) -> Result<(), CatalogError> {
        let changed = self.conn.prepare_cached(COUNT_LOOK)?.execute([sidecar])?;
        if changed == 1 { Ok(()) } else { Err(CatalogError::UnknownSidecar { sidecar }) }
    }

    /// Notes that the sidecar was written to, before it was sealed.
    pub fn note_sidecar_changed(
        &self,
        sidecar: SidecarId,
        sighting: &Sighting,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        let Sighting { path: _, fingerprint, attributes, links: _ } = sighting;
        let changed = self.conn.prepare_cached(UPDATE_SIGHTING)?.execute(named_params! {
            ":id": sidecar,
            ":device": fingerprint.device.cast_signed(),
            ":inode": fingerprint.inode.cast_signed(),
            ":size_bytes": fingerprint.size_bytes.cast_signed(),
            ":modified_ns": fingerprint.modified_ns,
            ":changed_ns": fingerprint.changed_ns,
            ":accessed_ns": attributes.accessed_ns,
            ":mode": attributes.mode,
            ":uid": attributes.uid,
            ":gid": attributes.gid,
            ":now": now,
        })?;
        moved(changed, sidecar)
    }

    /// Forgets a sidecar that vanished before it was sealed.
    pub fn forget_sidecar(&self, sidecar: SidecarId) -> Result<(), CatalogError> {
        moved(self.conn.prepare_cached(DELETE_FOUND)?.execute([sidecar])?, sidecar)
    }

    /// Notes that its sealed copy, added before, was read back and is equal.
    pub fn sidecar_sealed(
        &self,
        sidecar: SidecarId,
        entry: &AuditEntry,
    ) -> Result<(), CatalogError> {
        moved(self.conn.prepare_cached(UPDATE_SEALED)?.execute([sidecar])?, sidecar)?;
        self.append_audit(entry)?;
        Ok(())
    }

    /// Notes that the original is gone.
    pub fn sidecar_removed(
        &self,
        sidecar: SidecarId,
        evidence: &DestructionEvidence,
        entry: &AuditEntry,
    ) -> Result<(), CatalogError> {
        let changed = self.conn.prepare_cached(UPDATE_REMOVED)?.execute(named_params! {
            ":id": sidecar,
            ":overwrite": evidence.overwrite,
            ":file_system": evidence.file_system,
            ":medium": evidence.media,
            ":overwritten_bytes": evidence.overwritten_bytes.cast_signed(),
        })?;
        moved(changed, sidecar)?;
        self.append_audit(entry)?;
        Ok(())
    }

    /// Puts its next step off until `due_at`. Returns how often that was done in this state.
    pub fn postpone_sidecar(
        &self,
        sidecar: SidecarId,
        due_at: Timestamp,
    ) -> Result<u32, CatalogError> {
        let mut statement = self.conn.prepare_cached(POSTPONE)?;
        let failures = statement.query_row(params![sidecar, due_at], |row| row.get(0));
        failures.optional()?.ok_or(CatalogError::UnknownSidecar { sidecar })
    }
}

fn moved(changed: usize, sidecar: SidecarId) -> Result<(), CatalogError> {
    if changed == 1 { Ok(()) } else { Err(CatalogError::WrongSidecarState { sidecar }) }
}

fn sidecar_of(row: &Row<'_>) -> rusqlite::Result<Sidecar> {
    Ok(Sidecar {
        id: row.get("id")?,
        recording: row.get("recording")?,
        store: row.get("store")?,
        state: row.get("state")?,
        path: path_of(row)?,
        fingerprint: fingerprint_of(row)?,
        attributes: attributes_of(row)?,
        original: evidence_of(row)?,
    })
}

const SELECT_SIDECARS: &str = "SELECT * FROM sidecar WHERE recording = ?1 ORDER BY id";
const SELECT_SIDECARS_DUE: &str = "
    SELECT * FROM sidecar WHERE due_at IS NOT NULL AND due_at <= ?1 ORDER BY due_at LIMIT ?2";
const INSERT_SIDECAR: &str = "
    INSERT INTO sidecar (id, recording, store, state, folder, name, device, inode, size_bytes,
        modified_ns, changed_ns, accessed_ns, mode, uid, gid, unchanged_since, due_at)
    VALUES (:id, :recording, :store, 'found', :folder, :name, :device, :inode, :size_bytes,
        :modified_ns, :changed_ns, :accessed_ns, :mode, :uid, :gid, :now, :due_at)";
const COUNT_LOOK: &str = "UPDATE sidecar SET polls_unchanged = polls_unchanged + 1 WHERE id = ?1";
const UPDATE_SIGHTING: &str = "
    UPDATE sidecar SET device = :device, inode = :inode, size_bytes = :size_bytes,
        modified_ns = :modified_ns, changed_ns = :changed_ns, accessed_ns = :accessed_ns,
        mode = :mode, uid = :uid, gid = :gid, unchanged_since = :now, polls_unchanged = 0
    WHERE id = :id AND state = 'found'";
const DELETE_FOUND: &str = "DELETE FROM sidecar WHERE id = ?1 AND state = 'found'";
const UPDATE_SEALED: &str = "
    UPDATE sidecar SET state = 'sealed', failures = 0 WHERE id = ?1 AND state = 'found'
        AND EXISTS (SELECT 1 FROM sealed_copy WHERE sidecar = ?1)";
const UPDATE_REMOVED: &str = "
    UPDATE sidecar SET state = 'stored', due_at = NULL, overwrite = :overwrite,
        file_system = :file_system, medium = :medium, overwritten_bytes = :overwritten_bytes
    WHERE id = :id AND state = 'sealed'";
const POSTPONE: &str = "
    UPDATE sidecar SET due_at = ?2, failures = failures + 1 WHERE id = ?1 AND state != 'stored'
    RETURNING failures";
