//! The extended attributes of originals.
//!
//! In a table of their own, because they may be 64 KiB for each file and lists do not show them.
//! Whoever erases a recording takes them along: [`CatalogTx::forget_xattrs`].

use rusqlite::Row;
use rusqlite::params;
use uuid::Uuid;

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use super::values::unreadable;
use crate::domain::RecordingId;
use crate::domain::SidecarId;
use crate::domain::xattr::ExtendedAttribute;
use crate::domain::xattr::ExtendedAttributes;

impl ReadTx<'_> {
    /// The extended attributes that the original of `recording` had when it was sealed.
    pub fn xattrs(&self, recording: RecordingId) -> Result<ExtendedAttributes, CatalogError> {
        self.xattrs_of(recording.0)
    }

    /// The same of a file beside it.
    pub fn sidecar_xattrs(&self, sidecar: SidecarId) -> Result<ExtendedAttributes, CatalogError> {
        self.xattrs_of(sidecar.0)
    }

    fn xattrs_of(&self, file: Uuid) -> Result<ExtendedAttributes, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_XATTRS)?;
        let mut found = ExtendedAttributes::default();
        for attribute in statement.query_map([file.as_bytes()], xattr_of)? {
            found.keep(attribute?);
        }
        Ok(found)
    }
}

impl CatalogTx<'_> {
    /// Notes the extended attributes of an original, in place of those noted before.
    pub fn keep_xattrs(
        &self,
        recording: RecordingId,
        attributes: &ExtendedAttributes,
    ) -> Result<(), CatalogError> {
        self.keep_xattrs_of(recording.0, recording, attributes)
    }

    /// The same of a file beside it.
    pub fn keep_sidecar_xattrs(
        &self,
        recording: RecordingId,
        sidecar: SidecarId,
        attributes: &ExtendedAttributes,
    ) -> Result<(), CatalogError> {
        self.keep_xattrs_of(sidecar.0, recording, attributes)
    }

    /// Deletes those of a recording and of the files beside it.
    pub fn forget_xattrs(&self, recording: RecordingId) -> Result<(), CatalogError> {
        self.conn.prepare_cached(DELETE_XATTRS)?.execute([recording])?;
        Ok(())
    }

    fn keep_xattrs_of(
        &self,
        file: Uuid,
        recording: RecordingId,
        attributes: &ExtendedAttributes,
    ) -> Result<(), CatalogError> {
        self.conn.prepare_cached(DELETE_XATTRS_OF_FILE)?.execute([file.as_bytes()])?;
        let mut insert = self.conn.prepare_cached(INSERT_XATTR)?;
        for one in attributes.iter() {
            let (name, value) = (one.expose_name(), one.expose_value());
            insert.execute(params![file.as_bytes(), recording, name, value])?;
        }
        Ok(())
    }
}

fn xattr_of(row: &Row<'_>) -> rusqlite::Result<ExtendedAttribute> {
    let (name, value) = (row.get_ref("name")?.as_blob()?, row.get_ref("value")?.as_blob()?);
    ExtendedAttribute::new(name, value).ok_or_else(|| unreadable("not an attribute").into())
}

const SELECT_XATTRS: &str = "SELECT * FROM extended_attribute WHERE file = ?1 ORDER BY name";
const DELETE_XATTRS: &str = "DELETE FROM extended_attribute WHERE recording = ?1";
const DELETE_XATTRS_OF_FILE: &str = "DELETE FROM extended_attribute WHERE file = ?1";
const INSERT_XATTR: &str = "
    INSERT INTO extended_attribute (file, recording, name, value) VALUES (?1, ?2, ?3, ?4)";
