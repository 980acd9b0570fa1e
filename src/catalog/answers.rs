//! Answers that were given to requests with an idempotency key: kept for a day, and not many.

use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::named_params;
use rusqlite::params;

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use crate::clock::Timestamp;

/// One answer as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerRow {
    /// Keyed handle of the request it answered.
    pub body: [u8; 32],
    /// When it was given.
    pub at: Timestamp,
    /// Its HTTP status.
    pub status: u16,
    /// Its document.
    pub text: String,
}

impl ReadTx<'_> {
    /// The answer given under `handle`, however old.
    pub fn answer(&self, handle: &[u8; 32]) -> Result<Option<AnswerRow>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_ANSWER)?;
        Ok(statement.query_row([handle.as_slice()], answer_of).optional()?)
    }
}

impl CatalogTx<'_> {
    /// Keeps an answer, and forgets those given before `oldest` and all but the newest `most`.
    pub fn put_answer(
        &self,
        handle: &[u8; 32],
        row: &AnswerRow,
        oldest: Timestamp,
        most: u32,
    ) -> Result<(), CatalogError> {
        self.conn.prepare_cached(UPSERT_ANSWER)?.execute(named_params! {
            ":handle": handle.as_slice(),
            ":body": row.body.as_slice(),
            ":at": row.at,
            ":status": row.status,
            ":text": row.text,
        })?;
        self.conn.prepare_cached(DELETE_OLD)?.execute(params![oldest])?;
        self.conn.prepare_cached(DELETE_MANY)?.execute(params![most])?;
        Ok(())
    }
}

fn answer_of(row: &Row<'_>) -> rusqlite::Result<AnswerRow> {
    Ok(AnswerRow {
        body: row.get("body")?,
        at: row.get("at")?,
        status: row.get("status")?,
        text: row.get("text")?,
    })
}

const SELECT_ANSWER: &str = "SELECT * FROM answer WHERE handle = ?1";
const UPSERT_ANSWER: &str = "
    INSERT INTO answer (handle, body, at, status, text)
    VALUES (:handle, :body, :at, :status, :text)
    ON CONFLICT (handle) DO UPDATE SET body = excluded.body, at = excluded.at,
        status = excluded.status, text = excluded.text";
const DELETE_OLD: &str = "DELETE FROM answer WHERE at < ?1";
const DELETE_MANY: &str = "
    DELETE FROM answer WHERE handle IN
        (SELECT handle FROM answer ORDER BY at DESC LIMIT -1 OFFSET ?1)";
