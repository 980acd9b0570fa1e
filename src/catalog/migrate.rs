//! Schema versions: numbered files, each applied once, in one transaction with its number.
//!
//! If the power goes here: SQLite's own version number is part of the transaction, so the file is
//! either wholly at the old version or wholly at the new one.

use rusqlite::Connection;
use rusqlite::TransactionBehavior;

use super::CatalogError;

/// Brings the schema to the version of this program.
pub(super) fn migrate(writer: &mut Connection) -> Result<(), CatalogError> {
    for (version, statements) in (1..).zip(MIGRATIONS) {
        let tx = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Asked again under the lock: another process may have migrated meanwhile.
        let found = schema_version(&tx)?;
        if found > version {
            continue;
        }
        if found < version {
            tx.execute_batch(statements)?;
            tx.pragma_update(None, "user_version", version)?;
            tx.pragma_update(None, "application_id", APPLICATION_ID)?;
            tx.commit()?;
        }
    }
    require_current(writer)
}

/// Refuses every file that is not exactly at the version of this program.
pub(super) fn require_current(connection: &Connection) -> Result<(), CatalogError> {
    let (found, known) = (schema_version(connection)?, known_version());
    match found.cmp(&known) {
        std::cmp::Ordering::Less => Err(CatalogError::OlderSchema { found, known }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(CatalogError::NewerSchema { found, known }),
    }
}

/// The version of the file; 0 for an empty one.
fn schema_version(connection: &Connection) -> Result<u32, CatalogError> {
    let read = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (version, application) = (read("user_version")?, read("application_id")?);
    let is_empty = || {
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
    };
    if application != APPLICATION_ID && is_empty()? != 0 {
        return Err(CatalogError::NotOurs);
    }
    Ok(u32::try_from(version).unwrap_or(u32::MAX))
}

fn known_version() -> u32 {
    u32::try_from(MIGRATIONS.len()).expect("there are few migrations")
}

/// Every schema change since the first release, oldest first. Append; never edit.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/001_start.sql"),
    include_str!("migrations/002_seal_keys.sql"),
    include_str!("migrations/003_backups.sql"),
    include_str!("migrations/005_attributes.sql"),
    include_str!("migrations/006_erasure.sql"),
    include_str!("migrations/007_answers.sql"),
    include_str!("migrations/008_redacted.sql"),
];

/// "RSEA", so that `file` and we can tell a catalog from any other SQLite database.
const APPLICATION_ID: i64 = 0x5253_4541;

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::catalog::Catalog;

    /// A released migration that changes makes two kinds of files with one version number.
    /// Planted fault: a column renamed in place.
    #[test]
    fn released_migrations_are_frozen() {
        for (text, frozen) in MIGRATIONS.iter().zip(FROZEN) {
            let digest: String =
                Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digest, *frozen);
        }
        assert_eq!(MIGRATIONS.len(), FROZEN.len(), "freeze each migration when it is released");
    }

    /// Planted fault: `continue` for a newer version taken as "nothing to do" and no check after.
    #[test]
    fn a_newer_or_foreign_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let newer = dir.path().join("newer.db");
        Catalog::open(&newer).unwrap().close().unwrap();
        let raw = Connection::open(&newer).unwrap();
        raw.pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(
            Catalog::open(&newer),
            Err(CatalogError::NewerSchema { found: 99, known }) if known == known_version()
        ));

        let foreign = dir.path().join("foreign.db");
        let raw = Connection::open(&foreign).unwrap();
        raw.execute_batch("CREATE TABLE cookies (id INTEGER)").unwrap();
        assert!(matches!(Catalog::open(&foreign), Err(CatalogError::NotOurs)));
        let tables: i64 =
            raw.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 1);
    }

    /// The file as version `found` wrote it, for every version there was.
    #[test]
    fn every_earlier_version_opens() {
        let dir = tempfile::tempdir().unwrap();
        for found in 0..=MIGRATIONS.len() {
            let path = dir.path().join(format!("v{found}.db"));
            let raw = Connection::open(&path).unwrap();
            for statements in &MIGRATIONS[..found] {
                raw.execute_batch(statements).unwrap();
            }
            raw.pragma_update(None, "user_version", found as i64).unwrap();
            if found > 0 {
                raw.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
                assert!(
                    found == MIGRATIONS.len() || Catalog::open_read_only(&path).is_err(),
                    "looking does not migrate"
                );
            }
            drop(raw);
            let catalog = Catalog::open(&path).unwrap();
            catalog.read(|tx| tx.counts().map(drop)).unwrap();
        }
    }

    /// Planted fault: the statements run outside the transaction; the first tables then stay.
    #[test]
    fn a_failing_migration_leaves_the_old_version() {
        let mut raw = Connection::open_in_memory().unwrap();
        raw.execute_batch("CREATE TABLE token (id INTEGER)").unwrap();
        raw.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        assert!(migrate(&mut raw).is_err());
        let tables: i64 =
            raw.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!((schema_version(&raw).unwrap(), tables), (0, 1));
    }

    const FROZEN: &[&str] = &[
        "eed924d202b9d4802e4d493d8db18f39424c8d570a498037b6a8a3776c58823e",
        "d4b768a80c96c7a2976a112c7d5e52e077be825e3863e9e70aad58c2bc64a2f8",
        "be0dca23ffb6870540782b7b1ae9fd99af6fe0ab54c7df47c2f698b0d339b98c",
        "7c5bdc58910a74670fcc341ea2ecfe9cd84af22f34cb5891c641c06547b7e700",
        "7c44df4da4f2eb1266e87e8b330478de5617b858201dd793618fa6d9824bbf67",
        "337443bfab90656900b95c8b686f26ce9284666dffdadd6d1d2b8ff434ad10ce",
        "b3a6a76b332c60c08c5a71b155852dc4264b148b2a512eb004c876176e0d409b",
    ];
}
