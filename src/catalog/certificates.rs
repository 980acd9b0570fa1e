//! Certificates of erasure and tombstones: what is left of a recording, for good.

use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::named_params;
use rusqlite::params;

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use super::recordings::rows_max;
use super::values::unsigned;
use crate::clock::Timestamp;
use crate::domain::RecordingId;

/// One certificate as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRow {
    /// Its number, from 1 without gaps.
    pub number: u64,
    /// Whose end it tells of.
    pub recording: RecordingId,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// The signed text.
    pub text: String,
    /// SHA-256 of the text, which the next certificate holds.
    pub sha256: [u8; 32],
    /// Newest key version that may have wrapped its key; 0 if it was sealed to a public key,
    /// `None` if it never had one.
    pub key_version: Option<u32>,
    /// The signed statement that no old backup can bring it back, once that is so.
    pub finality: Option<(Timestamp, String)>,
}

impl ReadTx<'_> {
    /// The certificate of `recording`.
    pub fn erasure_certificate(
        &self,
        recording: RecordingId,
    ) -> Result<Option<CertificateRow>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_CERTIFICATE)?;
        Ok(statement.query_row([recording], certificate_of).optional()?)
    }

    /// At most `limit` certificates behind number `after`, in order.
    pub fn erasure_certificates(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<CertificateRow>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_CERTIFICATES)?;
        let key = params![after.cast_signed(), rows_max(limit)];
        Ok(statement.query_map(key, certificate_of)?.collect::<Result<_, _>>()?)
    }

    /// Number and hash of the newest certificate; (0, zeros) if there is none.
    pub fn last_certificate(&self) -> Result<(u64, [u8; 32]), CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_LAST)?;
        let last = statement
            .query_row([], |row| Ok((unsigned(row, "number")?, row.get("sha256")?)))
            .optional()?;
        Ok(last.unwrap_or((0, [0; 32])))
    }

    /// Certificates that are not final although no key version above `version` wrapped their key:
    /// what the destruction of all versions up to it makes final. In order, at most `limit`.
    pub fn certificates_not_final(
        &self,
        version: u32,
        limit: usize,
    ) -> Result<Vec<CertificateRow>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_NOT_FINAL)?;
        let rows = statement.query_map(params![version, rows_max(limit)], certificate_of)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The newest key version that wrapped the key of a recording whose certificate is not final.
    pub fn newest_version_not_final(&self) -> Result<Option<u32>, CatalogError> {
        Ok(self.conn.prepare_cached(SELECT_NEWEST_OPEN)?.query_row([], |row| row.get(0))?)
    }

    /// When the oldest certificate was issued that cannot become final before key version
    /// `version`, or a newer one, is destroyed.
    pub fn oldest_not_final_under(&self, version: u32) -> Result<Option<Timestamp>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_OLDEST_OPEN)?;
        Ok(statement.query_row([version], |row| row.get(0))?)
    }

    /// How many certificates there are, and how many of them are not final. Those of recordings
    /// that were sealed to a public key are not counted: this host has no part in that.
    pub fn count_certificates(&self) -> Result<(u64, u64), CatalogError> {
        let mut statement = self.conn.prepare_cached(COUNT_CERTIFICATES)?;
        Ok(statement.query_row([], |row| Ok((unsigned(row, "issued")?, unsigned(row, "open")?)))?)
    }

    /// The recording that was erased under this handle.
    pub fn tombstone(&self, handle: &[u8; 32]) -> Result<Option<RecordingId>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_TOMBSTONE)?;
        Ok(statement.query_row([handle.as_slice()], |row| row.get(0)).optional()?)
    }
}

impl CatalogTx<'_> {
    /// Keeps a certificate; numbers have no gaps, the database sees to it.
    pub fn put_certificate(&self, certificate: &CertificateRow) -> Result<(), CatalogError> {
        self.conn.prepare_cached(INSERT_CERTIFICATE)?.execute(named_params! {
            ":number": certificate.number.cast_signed(),
            ":recording": certificate.recording,
            ":issued_at": certificate.issued_at,
            ":text": certificate.text,
            ":sha256": certificate.sha256,
            ":key_version": certificate.key_version,
        })?;
        Ok(())
    }

    /// Adds the statement that makes a certificate final.
    pub fn put_finality(
        &self,
        recording: RecordingId,
        text: &str,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        self.conn.prepare_cached(UPDATE_FINALITY)?.execute(params![recording, now, text])?;
        Ok(())
    }

    /// Remembers what was erased by a keyed handle.
    pub fn put_tombstone(
        &self,
        handle: &[u8; 32],
        recording: RecordingId,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        let key = params![handle.as_slice(), recording, now];
        self.conn.prepare_cached(INSERT_TOMBSTONE)?.execute(key)?;
        Ok(())
    }
}

fn certificate_of(row: &Row<'_>) -> rusqlite::Result<CertificateRow> {
    let final_at: Option<Timestamp> = row.get("final_at")?;
    Ok(CertificateRow {
        number: unsigned(row, "number")?,
        recording: row.get("recording")?,
        issued_at: row.get("issued_at")?,
        text: row.get("text")?,
        sha256: row.get("sha256")?,
        key_version: row.get("key_version")?,
        finality: final_at.zip(row.get("finality")?),
    })
}

const SELECT_CERTIFICATE: &str = "SELECT * FROM erasure_certificate WHERE recording = ?1";
const SELECT_CERTIFICATES: &str =
    "SELECT * FROM erasure_certificate WHERE number > ?1 ORDER BY number LIMIT ?2";
const SELECT_LAST: &str =
    "SELECT number, sha256 FROM erasure_certificate ORDER BY number DESC LIMIT 1";
const SELECT_NOT_FINAL: &str = "
    SELECT * FROM erasure_certificate
    WHERE final_at IS NULL AND key_version > 0 AND key_version <= ?1
    ORDER BY key_version, number LIMIT ?2";
const SELECT_NEWEST_OPEN: &str = "
    SELECT max(key_version) FROM erasure_certificate WHERE final_at IS NULL AND key_version > 0";
const SELECT_OLDEST_OPEN: &str = "
    SELECT min(issued_at) FROM erasure_certificate
    WHERE final_at IS NULL AND key_version > 0 AND key_version >= ?1";
const COUNT_CERTIFICATES: &str = "
    SELECT (SELECT count(*) FROM erasure_certificate) AS issued,
        (SELECT count(*) FROM erasure_certificate WHERE final_at IS NULL AND key_version > 0)
            AS open";
const SELECT_TOMBSTONE: &str = "SELECT recording FROM tombstone WHERE handle = ?1";
const INSERT_CERTIFICATE: &str = "
    INSERT INTO erasure_certificate (number, recording, issued_at, text, sha256, key_version)
    VALUES (:number, :recording, :issued_at, :text, :sha256, :key_version)";
const UPDATE_FINALITY: &str =
    "UPDATE erasure_certificate SET final_at = ?2, finality = ?3 WHERE recording = ?1";
const INSERT_TOMBSTONE: &str = "
    INSERT INTO tombstone (handle, recording, erased_at) VALUES (?1, ?2, ?3)
    ON CONFLICT (handle) DO UPDATE SET recording = excluded.recording,
        erased_at = excluded.erased_at";
