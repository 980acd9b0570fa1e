//! How the facts of `domain` lie in columns: ids as 16 bytes, names as text, times as numbers.

use rusqlite::Result as SqlResult;
use rusqlite::Row;
use rusqlite::ToSql;
use rusqlite::types::FromSql;
use rusqlite::types::FromSqlError;
use rusqlite::types::FromSqlResult;
use rusqlite::types::ToSqlOutput;
use rusqlite::types::ValueRef;
use uuid::Uuid;

use super::SidecarState;
use super::StoreLayout;
use crate::clock::Timestamp;
use crate::compliance::audit::Activity;
use crate::compliance::audit::AuthenticatedBy;
use crate::compliance::audit::Outcome;
use crate::compliance::erasure::ErasureReason;
use crate::compliance::erasure::ItemStep;
use crate::compliance::erasure::JobState;
use crate::compliance::erasure::SelectedBy;
use crate::compliance::retention::MediaKind;
use crate::domain::ConversationId;
use crate::domain::Damage;
use crate::domain::DestructionEvidence;
use crate::domain::FileAttributes;
use crate::domain::Fingerprint;
use crate::domain::HoldId;
use crate::domain::JobId;
use crate::domain::JournalFate;
use crate::domain::MediaInfo;
use crate::domain::Overwrite;
use crate::domain::RecordingId;
use crate::domain::RuleId;
use crate::domain::SidecarId;
use crate::domain::StoreId;
use crate::domain::StorePath;
use crate::domain::doomed::DoomedKind;
use crate::domain::doomed::DoomedStep;
use crate::domain::lifecycle::RecordingState;

macro_rules! ids_are_blobs {
    ($($id:ident),*) => {$(
        impl ToSql for $id {
            fn to_sql(&self) -> SqlResult<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.0.as_bytes())))
            }
        }

        impl FromSql for $id {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                uuid(value).map(Self)
            }
        }
    )*};
}

ids_are_blobs!(RecordingId, SidecarId, StoreId, ConversationId, JobId, HoldId, RuleId);

macro_rules! names_are_text {
    ($($name:ident),*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> SqlResult<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.as_str()))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                Self::from_name(value.as_str()?).ok_or_else(|| unreadable("unknown name"))
            }
        }
    )*};
}

names_are_text!(RecordingState, SidecarState, StoreLayout, Damage, Overwrite);
names_are_text!(Activity, Outcome, AuthenticatedBy);
names_are_text!(SelectedBy, ErasureReason, JobState, ItemStep, MediaKind);
names_are_text!(DoomedKind, DoomedStep, JournalFate);

impl ToSql for Timestamp {
    fn to_sql(&self) -> SqlResult<ToSqlOutput<'_>> {
        Ok(self.as_millis().into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self::from_millis)
    }
}

/// An id of no particular kind.
pub(super) fn uuid(value: ValueRef<'_>) -> FromSqlResult<Uuid> {
    Uuid::from_slice(value.as_blob()?).map_err(|_| unreadable("not an id"))
}

/// Columns `folder` and `name`.
pub(super) fn path_of(row: &Row<'_>) -> SqlResult<StorePath> {
    let folder = folder_of(row)?;
    StorePath::join(folder.as_ref(), row.get_ref("name")?.as_blob()?)
        .ok_or_else(|| unreadable("not a path").into())
}

/// Column `folder`; `None` is the root of the store.
pub(super) fn folder_of(row: &Row<'_>) -> SqlResult<Option<StorePath>> {
    match row.get_ref("folder")?.as_blob()? {
        b"" => Ok(None),
        folder => StorePath::new(folder).map(Some).ok_or_else(|| unreadable("not a folder").into()),
    }
}

/// The column of a folder.
pub(super) fn folder_bytes(folder: Option<&StorePath>) -> &[u8] {
    folder.map_or(b"", StorePath::expose_bytes)
}

pub(super) fn fingerprint_of(row: &Row<'_>) -> SqlResult<Fingerprint> {
    Ok(Fingerprint {
        device: unsigned(row, "device")?,
        inode: unsigned(row, "inode")?,
        size_bytes: unsigned(row, "size_bytes")?,
        modified_ns: row.get("modified_ns")?,
        changed_ns: row.get("changed_ns")?,
    })
}

/// The time of the last write is in the fingerprint as well, from the same look: stored once.
pub(super) fn attributes_of(row: &Row<'_>) -> SqlResult<FileAttributes> {
    Ok(FileAttributes {
        mode: row.get("mode")?,
        uid: row.get("uid")?,
        gid: row.get("gid")?,
        accessed_ns: row.get("accessed_ns")?,
        modified_ns: row.get("modified_ns")?,
    })
}

/// `None` before probing.
pub(super) fn media_of(row: &Row<'_>) -> SqlResult<Option<MediaInfo>> {
    let Some(container) = row.get("container")? else { return Ok(None) };
    let duration_ms: Option<i64> = row.get("duration_ms")?;
    Ok(Some(MediaInfo {
        container,
        codec: row.get("codec")?,
        duration_ms: duration_ms.map(i64::cast_unsigned),
        channels: row.get("channels")?,
        sample_rate_hz: row.get("sample_rate_hz")?,
        width: row.get("width")?,
        height: row.get("height")?,
        damage: row.get("damage")?,
    }))
}

/// `None` while the original is there.
pub(super) fn evidence_of(row: &Row<'_>) -> SqlResult<Option<DestructionEvidence>> {
    let Some(overwrite) = row.get("overwrite")? else { return Ok(None) };
    Ok(Some(DestructionEvidence {
        overwrite,
        file_system: row.get("file_system")?,
        media: row.get("medium")?,
        overwritten_bytes: unsigned(row, "overwritten_bytes")?,
    }))
}

/// SQLite's integers are signed: the same 64 bits, both ways.
pub(super) fn unsigned(row: &Row<'_>, column: &str) -> SqlResult<u64> {
    row.get(column).map(i64::cast_unsigned)
}

/// What is in the file is not what this program writes. Names no value.
pub(super) fn unreadable(what: &'static str) -> FromSqlError {
    FromSqlError::Other(what.into())
}
