//! Bearer tokens. Only their digests are kept, so the catalog cannot give one away.

use std::fmt;

use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::named_params;
use uuid::Uuid;

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use super::values::unreadable;
use super::values::uuid;
use crate::clock::Timestamp;
use crate::compliance::audit::AuditEntry;

/// One bearer token.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Its id, for lists and for revoking.
    pub id: Uuid,
    /// What it is for, in the words of who made it.
    pub name: String,
    /// Name of the role it acts in.
    pub role: String,
    /// SHA-256 of the token. Kept out of `Debug`.
    pub digest: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl TokenRow {
    /// True if it opens doors at `now`.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

impl fmt::Debug for TokenRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRow").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ReadTx<'_> {
    /// Every token ever made, oldest first.
    pub fn tokens(&self) -> Result<Vec<TokenRow>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_TOKENS)?;
        Ok(statement.query_map([], token_of)?.collect::<Result<_, _>>()?)
    }

    /// The token with this digest, valid or not: ask [`TokenRow::is_valid`].
    pub fn token_by_digest(&self, digest: &[u8; 32]) -> Result<Option<TokenRow>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_TOKEN_BY_DIGEST)?;
        Ok(statement.query_row([digest.as_slice()], token_of).optional()?)
    }
}

impl CatalogTx<'_> {
    /// Adds a token and records who made it.
    pub fn put_token(&self, token: &TokenRow, entry: &AuditEntry) -> Result<(), CatalogError> {
        self.conn.prepare_cached(INSERT_TOKEN)?.execute(named_params! {
            ":id": token.id.as_bytes(),
            ":name": token.name,
            ":role": token.role,
            ":digest": token.digest,
            ":created_at": token.created_at,
            ":expires_at": token.expires_at,
            ":revoked_at": token.revoked_at,
        })?;
        self.append_audit(entry)?;
        Ok(())
    }

    /// Revokes a token at the time of `entry`. False, and nothing recorded, if there is no such
    /// token or it was revoked before.
    pub fn revoke_token(&self, id: Uuid, entry: &AuditEntry) -> Result<bool, CatalogError> {
        let changed = self
            .conn
            .prepare_cached(REVOKE_TOKEN)?
            .execute(named_params! { ":id": id.as_bytes(), ":at": entry.at() })?;
        if changed == 1 {
            self.append_audit(entry)?;
        }
        Ok(changed == 1)
    }
}

fn token_of(row: &Row<'_>) -> rusqlite::Result<TokenRow> {
    let digest = row.get_ref("digest")?.as_blob()?;
    Ok(TokenRow {
        id: uuid(row.get_ref("id")?)?,
        name: row.get("name")?,
        role: row.get("role")?,
        digest: digest.try_into().map_err(|_| unreadable("not a digest"))?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
        revoked_at: row.get("revoked_at")?,
    })
}

const SELECT_TOKENS: &str = "SELECT * FROM token ORDER BY id";
const SELECT_TOKEN_BY_DIGEST: &str = "SELECT * FROM token WHERE digest = ?1";
const INSERT_TOKEN: &str = "
    INSERT INTO token (id, name, role, digest, created_at, expires_at, revoked_at)
    VALUES (:id, :name, :role, :digest, :created_at, :expires_at, :revoked_at)";
const REVOKE_TOKEN: &str =
    "UPDATE token SET revoked_at = :at WHERE id = :id AND revoked_at IS NULL";
