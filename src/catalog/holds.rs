//! Legal holds and other protections: what may not be erased.
//!
//! The rules are `compliance::hold`; here are the facts, and triggers that refuse to erase what an
//! active row covers. A hold that ends by its date is lifted by name before that is asked, in the
//! same transaction, so no trigger needs a clock.

use std::collections::HashSet;

use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::named_params;
use rusqlite::params;
use uuid::Uuid;

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use super::recordings::rows_max;
use super::values::unreadable;
use super::values::uuid;
use crate::clock::Timestamp;
use crate::compliance::audit::AuditEntry;
use crate::compliance::hold::HoldTarget;
use crate::compliance::hold::LegalHold;
use crate::compliance::hold::Protection;
use crate::domain::ConversationId;
use crate::domain::HoldId;
use crate::domain::RecordingId;

impl ReadTx<'_> {
    /// One hold, lifted or not.
    pub fn hold(&self, id: HoldId) -> Result<Option<LegalHold>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_HOLD)?;
        let found = statement.query_row([id], hold_of).optional()?;
        found.map(|hold| self.with_targets(hold)).transpose()
    }

    /// At most `limit` holds behind `after`, oldest first; lifted ones too if `all`.
    pub fn holds(
        &self,
        all: bool,
        after: Option<HoldId>,
        limit: usize,
    ) -> Result<Vec<LegalHold>, CatalogError> {
        let after = after.as_ref().map_or(&[][..], |id| id.0.as_bytes().as_slice());
        let mut statement = self.conn.prepare_cached(SELECT_HOLDS)?;
        let found: Vec<LegalHold> = statement
            .query_map(params![after, all, rows_max(limit)], hold_of)?
            .collect::<Result<_, _>>()?;
        found.into_iter().map(|hold| self.with_targets(hold)).collect()
    }

    /// Holds, tags and dates over a recording of `conversation`, holds first. Rules of retention
    /// are not among them.
    pub fn protections(
        &self,
        recording: RecordingId,
        conversation: Option<ConversationId>,
    ) -> Result<Vec<Protection>, CatalogError> {
        let mut found = Vec::new();
        let key = params![recording, conversation];
        let mut statement = self.conn.prepare_cached(SELECT_HOLDS_OVER)?;
        let holds = statement.query_map(key, |row| {
            Ok(Protection::Hold { hold: row.get("id")?, until: row.get("until")? })
        })?;
        for hold in holds {
            found.push(hold?);
        }
        let mut statement = self.conn.prepare_cached(SELECT_PROTECTIONS_OVER)?;
        for protection in statement.query_map(key, protection_of)? {
            found.push(protection?);
        }
        Ok(found)
    }

    fn with_targets(&self, mut hold: LegalHold) -> Result<LegalHold, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_TARGETS)?;
        let targets = statement.query_map([hold.id], |row| {
            let id = uuid(row.get_ref("target")?)?;
            let is_recording: bool = row.get("is_recording")?;
            Ok(match is_recording {
                true => HoldTarget::Recording(RecordingId(id)),
                false => HoldTarget::Conversation(ConversationId(id)),
            })
        })?;
        hold.targets = targets.collect::<Result<_, _>>()?;
        Ok(hold)
    }
}

impl CatalogTx<'_> {
    /// Places a hold and records who did.
    pub fn place_hold(&self, hold: &LegalHold, entry: &AuditEntry) -> Result<(), CatalogError> {
        self.conn.prepare_cached(INSERT_HOLD)?.execute(named_params! {
            ":id": hold.id,
            ":reason": hold.reason,
            ":placed_by": hold.placed_by,
            ":placed_at": hold.placed_at,
            ":until": hold.until,
        })?;
        for target in hold.targets.iter().collect::<HashSet<_>>() {
            self.conn
                .prepare_cached(INSERT_TARGET)?
                .execute(params![target_id(*target).as_bytes(), hold.id])?;
        }
        self.append_audit(entry)?;
        Ok(())
    }

    /// Lifts a hold at the time of `entry`. False, and nothing recorded, if it is not in force.
    pub fn lift_hold(
        &self,
        id: HoldId,
        by: &str,
        entry: &AuditEntry,
    ) -> Result<bool, CatalogError> {
        let lifted = self.conn.prepare_cached(LIFT_HOLD)?.execute(params![id, by, entry.at()])?;
        if lifted == 1 {
            self.append_audit(entry)?;
        }
        Ok(lifted == 1)
    }

    /// Takes away what has run out by `now`: holds are lifted, dated protections go. Returns the
    /// holds, for their audit entries.
    pub fn expire_protections(&self, now: Timestamp) -> Result<Vec<HoldId>, CatalogError> {
        self.conn.prepare_cached(DELETE_EXPIRED)?.execute([now])?;
        let mut statement = self.conn.prepare_cached(LIFT_EXPIRED)?;
        Ok(statement.query_map([now], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    /// Protects `target` by a tag or a MiFID date, in place of the same protection before.
    ///
    /// # Panics
    ///
    /// For a hold or for retention: those have ways of their own.
    pub fn protect(
        &self,
        target: HoldTarget,
        protection: &Protection,
        by: &str,
        entry: &AuditEntry,
    ) -> Result<(), CatalogError> {
        let (kind, code, until) = stored(protection);
        self.conn.prepare_cached(UPSERT_PROTECTION)?.execute(named_params! {
            ":target": target_id(target).as_bytes(),
            ":kind": kind,
            ":code": code,
            ":until": until,
            ":by": by,
            ":at": entry.at(),
        })?;
        self.append_audit(entry)?;
        Ok(())
    }

    /// Takes a protection away again. False, and nothing recorded, if there was none.
    ///
    /// # Panics
    ///
    /// As [`Self::protect`].
    pub fn unprotect(
        &self,
        target: HoldTarget,
        protection: &Protection,
        entry: &AuditEntry,
    ) -> Result<bool, CatalogError> {
        let (kind, code, _) = stored(protection);
        let target = target_id(target);
        let mut statement = self.conn.prepare_cached(DELETE_PROTECTION)?;
        let gone = statement.execute(params![target.as_bytes(), kind, code])?;
        if gone == 1 {
            self.append_audit(entry)?;
        }
        Ok(gone == 1)
    }
}

fn target_id(target: HoldTarget) -> Uuid {
    match target {
        HoldTarget::Recording(id) => id.0,
        HoldTarget::Conversation(id) => id.0,
    }
}

fn stored(protection: &Protection) -> (&'static str, &str, Option<Timestamp>) {
    match protection {
        Protection::Tag { code } => ("tag", code, None),
        Protection::Mifid { until } => ("mifid", "", *until),
        Protection::Hold { .. } | Protection::Retention { .. } => {
            panic!("a {} is not stored as a protection", protection.kind())
        }
    }
}

fn protection_of(row: &Row<'_>) -> rusqlite::Result<Protection> {
    match row.get_ref("kind")?.as_str()? {
        "tag" => Ok(Protection::Tag { code: row.get("code")? }),
        "mifid" => Ok(Protection::Mifid { until: row.get("until")? }),
        _ => Err(unreadable("unknown protection").into()),
    }
}

fn hold_of(row: &Row<'_>) -> rusqlite::Result<LegalHold> {
    let lifted_by: Option<String> = row.get("lifted_by")?;
    Ok(LegalHold {
        id: row.get("id")?,
        reason: row.get("reason")?,
        placed_by: row.get("placed_by")?,
        placed_at: row.get("placed_at")?,
        until: row.get("until")?,
        lifted: lifted_by.zip(row.get("lifted_at")?),
        targets: Vec::new(),
    })
}

const SELECT_HOLD: &str = "SELECT * FROM hold WHERE id = ?1";
const SELECT_HOLDS: &str = "
    SELECT * FROM hold WHERE id > ?1 AND (?2 OR lifted_at IS NULL) ORDER BY id LIMIT ?3";
const SELECT_TARGETS: &str = "
    SELECT target, EXISTS (SELECT 1 FROM recording WHERE id = target) AS is_recording
    FROM hold_on WHERE hold = ?1 ORDER BY target";
const SELECT_HOLDS_OVER: &str = "
    SELECT DISTINCT hold.id AS id, hold.until AS until FROM hold_on
    JOIN hold ON hold.id = hold_on.hold
    WHERE hold_on.target IN (?1, ?2) AND hold.lifted_at IS NULL ORDER BY hold.id";
const SELECT_PROTECTIONS_OVER: &str = "
    SELECT kind, code, until FROM protection WHERE target IN (?1, ?2) ORDER BY kind DESC, code";
const INSERT_HOLD: &str = "
    INSERT INTO hold (id, reason, placed_by, placed_at, until)
    VALUES (:id, :reason, :placed_by, :placed_at, :until)";
const INSERT_TARGET: &str = "INSERT INTO hold_on (target, hold) VALUES (?1, ?2)";
const LIFT_HOLD: &str = "
    UPDATE hold SET lifted_by = ?2, lifted_at = ?3 WHERE id = ?1 AND lifted_at IS NULL";
const LIFT_EXPIRED: &str = "
    UPDATE hold SET lifted_by = 'until', lifted_at = ?1
    WHERE until <= ?1 AND lifted_at IS NULL RETURNING id";
const DELETE_EXPIRED: &str = "DELETE FROM protection WHERE until <= ?1";
const UPSERT_PROTECTION: &str = "
    INSERT INTO protection (target, kind, code, until, placed_by, placed_at)
    VALUES (:target, :kind, :code, :until, :by, :at)
    ON CONFLICT (target, kind, code) DO UPDATE SET
        until = excluded.until, placed_by = excluded.placed_by, placed_at = excluded.placed_at";
const DELETE_PROTECTION: &str =
    "DELETE FROM protection WHERE target = ?1 AND kind = ?2 AND code = ?3";
