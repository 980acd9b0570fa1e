//! What is known of files that are still where their recorder put them.

use rusqlite::ErrorCode;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::ffi;
use rusqlite::named_params;
use rusqlite::params;

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use super::SidecarState;
use super::values::fingerprint_of;
use super::values::folder_bytes;
use super::values::folder_of;
use super::values::path_of;
use crate::clock::Timestamp;
use crate::domain::Fingerprint;
use crate::domain::RecordingId;
use crate::domain::SidecarId;
use crate::domain::Sighting;
use crate::domain::StoreId;
use crate::domain::StorePath;
use crate::domain::lifecycle::RecordingEvent;
use crate::domain::lifecycle::RecordingState;

/// A file that is expected in its folder: an original, or a file beside one.
#[derive(Clone, Debug)]
pub struct Known {
    /// The recording it is, or belongs to.
    pub recording: RecordingId,
    /// Where that recording is in its life.
    pub state: RecordingState,
    /// The sidecar, if the file is one.
    pub sidecar: Option<KnownSidecar>,
    /// Where. Personal data.
    pub path: StorePath,
    /// What it was when it was last looked at.
    pub fingerprint: Fingerprint,
    /// When it was first seen like that.
    pub unchanged_since: Timestamp,
    /// How many later looks found it like that.
    pub polls_unchanged: u32,
}

/// Which sidecar a [`Known`] file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownSidecar {
    /// Its id.
    pub id: SidecarId,
    /// Where it is in its own life.
    pub state: SidecarState,
}

/// A file seen for the first time.
#[derive(Clone, Debug)]
pub struct NewRecording<'s> {
    /// Its new id.
    pub id: RecordingId,
    /// The store it lies in.
    pub store: StoreId,
    /// What was seen.
    pub sighting: &'s Sighting,
    /// True if its recorder is done with it already: it starts as settled, due at once.
    pub is_finished: bool,
    /// The time of the look.
    pub now: Timestamp,
}

impl ReadTx<'_> {
    /// Every file still expected in `folder` (`None` is the store's root), its subfolders aside.
    /// Originals that are being erased come first: another file may have their name by now.
    pub fn known_in_folder(
        &self,
        store: StoreId,
        folder: Option<&StorePath>,
    ) -> Result<Vec<Known>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_KNOWN_IN_FOLDER)?;
        let rows = statement.query_map(params![store, folder_bytes(folder)], known_of)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The file expected at `path`.
    pub fn known_at(
        &self,
        store: StoreId,
        path: &StorePath,
    ) -> Result<Option<Known>, CatalogError> {
        let folder = path.folder();
        let mut statement = self.conn.prepare_cached(SELECT_KNOWN_AT)?;
        let key = params![store, folder_bytes(folder.as_ref()), path.expose_name()];
        Ok(statement.query_row(key, known_of).optional()?)
    }

    /// Recordings in `folder` whose name begins with `stem`, the newest first, at most 64. Their
    /// originals may be gone: a sidecar can come after them.
    pub fn recordings_named(
        &self,
        store: StoreId,
        folder: Option<&StorePath>,
        stem: &[u8],
    ) -> Result<Vec<(RecordingId, StorePath, RecordingState)>, CatalogError> {
        // Every name that begins with `stem` lies between it and itself with 0xFF behind: names
        // with more of those are not found, and are no text in any encoding.
        let behind = [stem, &[0xff; 4]].concat();
        let mut statement = self.conn.prepare_cached(SELECT_NAMED)?;
        let rows = statement
            .query_map(params![store, folder_bytes(folder), stem, behind], |row| {
                Ok((row.get("id")?, path_of(row)?, row.get("state")?))
            })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Recordings in the folders below `folder`, in the order of their folders, at most 64.
    pub fn recordings_below(
        &self,
        store: StoreId,
        folder: Option<&StorePath>,
    ) -> Result<Vec<(RecordingId, StorePath, RecordingState)>, CatalogError> {
        // Every path below `a` lies between `a/` and `a0`, and `0` is the byte after `/`.
        let (first, behind) = match folder {
            None => (vec![0], vec![0xff; 4]),
            Some(folder) => {
                let folder = folder.expose_bytes();
                ([folder, b"/"].concat(), [folder, b"0"].concat())
            }
        };
        let mut statement = self.conn.prepare_cached(SELECT_BELOW)?;
        let rows = statement.query_map(params![store, first, behind], |row| {
            Ok((row.get("id")?, path_of(row)?, row.get("state")?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Every folder of `store` in which a file is expected, in order. A scan that does not meet
    /// one of them knows that its files vanished with it. Costs one index step per folder.
    pub fn known_folders(&self, store: StoreId) -> Result<Vec<Option<StorePath>>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_NEXT_FOLDER)?;
        let mut folders: Vec<Option<StorePath>> = Vec::new();
        loop {
            // SQLite sorts every text before every blob, so `''` is before the root's empty blob.
            let next = match folders.last() {
                None => statement.query_row(params![store, ""], next_folder_of)?,
                Some(last) => {
                    let last = folder_bytes(last.as_ref());
                    statement.query_row(params![store, last], next_folder_of)?
                }
            };
            match next {
                Some(folder) => folders.push(folder),
                None => return Ok(folders),
            }
        }
    }
}

impl CatalogTx<'_> {
    /// Adds a file seen for the first time.
    ///
    /// # Errors
    ///
    /// [`CatalogError::AlreadyKnown`] if another recording's original is expected there;
    /// [`CatalogError::UnknownStore`]. The transaction can go on after both.
    pub fn add_found(&self, new: &NewRecording<'_>) -> Result<(), CatalogError> {
        let Sighting { path, fingerprint, attributes, links: _ } = new.sighting;
        let folder = path.folder();
        let state = if new.is_finished { RecordingState::Settled } else { RecordingState::Found };
        let added = self.conn.prepare_cached(INSERT_RECORDING)?.execute(named_params! {
            ":id": new.id,
            ":store": new.store,
            ":state": state,
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
        });
        added.map(drop).map_err(|error| name_conflict(error, new.store))
    }

    /// Notes that a look found the file as it was.
    pub fn note_unchanged(&self, recording: RecordingId) -> Result<(), CatalogError> {
        let changed = self.conn.prepare_cached(COUNT_LOOK)?.execute([recording])?;
        if changed == 1 { Ok(()) } else { Err(CatalogError::UnknownRecording { recording }) }
    }

    /// Notes that the file at the same place is another one, or was written to. A settled
    /// recording is only found again.
    ///
    /// # Errors
    ///
    /// [`CatalogError::WrongState`] once a key was made for it: abandon that attempt first.
    pub fn note_changed(
        &self,
        recording: RecordingId,
        sighting: &Sighting,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        let state = self.state(recording)?;
        if state == RecordingState::Settled {
            self.step(recording, state, RecordingEvent::Changed)?;
        } else if state != RecordingState::Found {
            return Err(CatalogError::WrongState { recording, state });
        }
        let Sighting { path: _, fingerprint, attributes, links: _ } = sighting;
        self.conn.prepare_cached(UPDATE_SIGHTING)?.execute(named_params! {
            ":id": recording,
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
        Ok(())
    }

    /// Forgets a file that vanished before a key was made for it, and the unsealed files beside
    /// it: those are found again as what they are then.
    ///
    /// # Errors
    ///
    /// [`CatalogError::WrongState`] in any other state; a left-over key of an abandoned attempt
    /// makes the database refuse.
    pub fn forget_found(&self, recording: RecordingId) -> Result<(), CatalogError> {
        let state = self.state(recording)?;
        if !matches!(state, RecordingState::Found | RecordingState::Settled) {
            return Err(CatalogError::WrongState { recording, state });
        }
        self.conn.prepare_cached(DELETE_FOUND_SIDECARS)?.execute([recording])?;
        self.conn.prepare_cached(DELETE_RECORDING)?.execute([recording])?;
        Ok(())
    }
}

fn known_of(row: &Row<'_>) -> rusqlite::Result<Known> {
    let sidecar: Option<SidecarId> = row.get("sidecar")?;
    let sidecar_state: Option<SidecarState> = row.get("sidecar_state")?;
    Ok(Known {
        recording: row.get("recording")?,
        state: row.get("recording_state")?,
        sidecar: sidecar.zip(sidecar_state).map(|(id, state)| KnownSidecar { id, state }),
        path: path_of(row)?,
        fingerprint: fingerprint_of(row)?,
        unchanged_since: row.get("unchanged_since")?,
        polls_unchanged: row.get("polls_unchanged")?,
    })
}

/// `None` behind the last one; `Some(None)` is the root.
fn next_folder_of(row: &Row<'_>) -> rusqlite::Result<Option<Option<StorePath>>> {
    match row.get_ref("folder")? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => folder_of(row).map(Some),
    }
}

/// What the domain calls the violation of a unique name or of a reference to a store.
pub(super) fn name_conflict(error: rusqlite::Error, store: StoreId) -> CatalogError {
    match &error {
        rusqlite::Error::SqliteFailure(failure, _)
            if failure.code == ErrorCode::ConstraintViolation =>
        {
            match failure.extended_code {
                ffi::SQLITE_CONSTRAINT_UNIQUE => CatalogError::AlreadyKnown { store },
                ffi::SQLITE_CONSTRAINT_FOREIGNKEY => CatalogError::UnknownStore { store },
                _ => error.into(),
            }
        }
        _ => error.into(),
    }
}

macro_rules! select_known {
    ($and:literal) => {
        concat!(
            "SELECT r.id AS recording, r.state AS recording_state, NULL AS sidecar,
                NULL AS sidecar_state, folder, name, device, r.inode AS inode, size_bytes,
                modified_ns, changed_ns, unchanged_since, polls_unchanged
            FROM doomed_file d INDEXED BY doomed_file_plain
            CROSS JOIN recording r ON r.id = d.recording
            WHERE d.kind = 'original' AND d.path IS NOT NULL AND d.sidecar IS NULL
                AND r.state = 'erasing' AND store = ?1 AND folder = ?2",
            $and,
            " UNION ALL
            SELECT id, state, NULL, NULL, folder, name, device, inode, size_bytes, modified_ns,
                changed_ns, unchanged_since, polls_unchanged
            FROM recording
            WHERE store = ?1 AND folder = ?2 AND state NOT IN ('stored', 'erasing', 'erased')
                AND redacted_from IS NULL",
            $and,
            " UNION ALL
            SELECT recording, (SELECT state FROM recording r WHERE r.id = s.recording), id, state,
                folder, name, device, inode, size_bytes, modified_ns, changed_ns,
                unchanged_since, polls_unchanged
            FROM sidecar s WHERE store = ?1 AND folder = ?2 AND state != 'stored'",
            $and
        )
    };
}

const SELECT_NAMED: &str = "
    SELECT id, folder, name, state FROM recording INDEXED BY recording_named
    WHERE store = ?1 AND folder = ?2 AND name >= ?3 AND name < ?4 ORDER BY id DESC LIMIT 64";
const SELECT_BELOW: &str = "
    SELECT id, folder, name, state FROM recording INDEXED BY recording_named
    WHERE store = ?1 AND folder >= ?2 AND folder < ?3 ORDER BY folder, name LIMIT 64";
const SELECT_KNOWN_IN_FOLDER: &str = select_known!("");
const SELECT_KNOWN_AT: &str = select_known!(" AND name = ?3");
const SELECT_NEXT_FOLDER: &str = "
    SELECT min(folder) AS folder FROM (
        SELECT (SELECT folder FROM recording
            WHERE store = ?1 AND state NOT IN ('stored', 'erasing', 'erased')
                AND redacted_from IS NULL AND folder > ?2
            ORDER BY folder LIMIT 1) AS folder
        UNION ALL
        SELECT (SELECT folder FROM sidecar
            WHERE store = ?1 AND state != 'stored' AND folder > ?2 ORDER BY folder LIMIT 1))";
const INSERT_RECORDING: &str = "
    INSERT INTO recording (id, store, state, folder, name, device, inode, size_bytes,
        modified_ns, changed_ns, accessed_ns, mode, uid, gid, found_at, unchanged_since, due_at)
    VALUES (:id, :store, :state, :folder, :name, :device, :inode, :size_bytes,
        :modified_ns, :changed_ns, :accessed_ns, :mode, :uid, :gid, :now, :now, :now)";
const COUNT_LOOK: &str = "UPDATE recording SET polls_unchanged = polls_unchanged + 1 WHERE id = ?1";
const UPDATE_SIGHTING: &str = "
    UPDATE recording SET device = :device, inode = :inode, size_bytes = :size_bytes,
        modified_ns = :modified_ns, changed_ns = :changed_ns, accessed_ns = :accessed_ns,
        mode = :mode, uid = :uid, gid = :gid, unchanged_since = :now, polls_unchanged = 0
    WHERE id = :id";
const DELETE_FOUND_SIDECARS: &str = "DELETE FROM sidecar WHERE recording = ?1 AND state = 'found'";
const DELETE_RECORDING: &str = "DELETE FROM recording WHERE id = ?1";
