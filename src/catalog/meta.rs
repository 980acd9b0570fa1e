//! Facts of which there is one.

use rusqlite::OptionalExtension;
use rusqlite::params;

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;

impl ReadTx<'_> {
    /// The fact called `name`.
    pub fn meta(&self, name: &'static str) -> Result<Option<Vec<u8>>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_META)?;
        Ok(statement.query_row([name], |row| row.get(0)).optional()?)
    }
}

impl CatalogTx<'_> {
    /// Sets the fact called `name`.
    pub fn set_meta(&self, name: &'static str, value: &[u8]) -> Result<(), CatalogError> {
        self.conn.prepare_cached(UPSERT_META)?.execute(params![name, value])?;
        Ok(())
    }
}

const SELECT_META: &str = "SELECT value FROM meta WHERE name = ?1";
const UPSERT_META: &str = "
    INSERT INTO meta (name, value) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";
