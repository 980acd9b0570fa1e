//! The watched trees.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rusqlite::Row;
use rusqlite::named_params;

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use super::values::unsigned;
use crate::clock::Timestamp;
use crate::domain::StoreId;

/// Where the sealed copies of a store go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreLayout {
    /// Into the daemon's own tree.
    Vault,
    /// Beside the originals.
    Beside,
}

impl StoreLayout {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Beside => "beside",
        }
    }

    /// The layout of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Vault, Self::Beside].into_iter().find(|layout| layout.as_str() == name)
    }
}

/// One watched tree, as last configured.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreRow {
    /// Its id, from the file at its root.
    pub id: StoreId,
    /// Where it was last found. Kept out of `Debug`.
    pub root: PathBuf,
    /// Name of the recorder profile.
    pub profile: String,
    /// Where sealed copies go.
    pub layout: StoreLayout,
    /// Device number of the file system.
    pub device: u64,
    /// When it was first watched.
    pub created_at: Timestamp,
}

impl fmt::Debug for StoreRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreRow").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ReadTx<'_> {
    /// All stores, oldest first.
    pub fn stores(&self) -> Result<Vec<StoreRow>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_STORES)?;
        Ok(statement.query_map([], store_of)?.collect::<Result<_, _>>()?)
    }
}

impl CatalogTx<'_> {
    /// Adds a store, or notes how it is configured now. When it was first watched stays.
    pub fn put_store(&self, store: &StoreRow) -> Result<(), CatalogError> {
        self.conn.prepare_cached(UPSERT_STORE)?.execute(named_params! {
            ":id": store.id,
            ":root": store.root.as_os_str().as_bytes(),
            ":profile": store.profile,
            ":layout": store.layout,
            ":device": store.device.cast_signed(),
            ":created_at": store.created_at,
        })?;
        Ok(())
    }
}

fn store_of(row: &Row<'_>) -> rusqlite::Result<StoreRow> {
    Ok(StoreRow {
        id: row.get("id")?,
        root: OsStr::from_bytes(row.get_ref("root")?.as_blob()?).into(),
        profile: row.get("profile")?,
        layout: row.get("layout")?,
        device: unsigned(row, "device")?,
        created_at: row.get("created_at")?,
    })
}

const SELECT_STORES: &str = "SELECT * FROM store ORDER BY created_at, id";
const UPSERT_STORE: &str = "
    INSERT INTO store (id, root, profile, layout, device, created_at)
    VALUES (:id, :root, :profile, :layout, :device, :created_at)
    ON CONFLICT (id) DO UPDATE SET root = excluded.root, profile = excluded.profile,
        layout = excluded.layout, device = excluded.device";
