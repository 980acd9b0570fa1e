//! Retention rules.

use rusqlite::ErrorCode;
use rusqlite::Row;
use rusqlite::named_params;

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use crate::compliance::audit::AuditEntry;
use crate::compliance::retention::RetentionRule;
use crate::domain::RuleId;

impl ReadTx<'_> {
    /// Every rule, by name.
    pub fn retention_rules(&self) -> Result<Vec<RetentionRule>, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_RULES)?;
        Ok(statement.query_map([], rule_of)?.collect::<Result<_, _>>()?)
    }
}

impl CatalogTx<'_> {
    /// Adds a rule. False, and nothing recorded, if the name is taken.
    pub fn add_retention_rule(
        &self,
        rule: &RetentionRule,
        entry: &AuditEntry,
    ) -> Result<bool, CatalogError> {
        let (key, value) = match &rule.metadata {
            Some((key, value)) => (Some(key), value.as_ref()),
            None => (None, None),
        };
        let added = self.conn.prepare_cached(INSERT_RULE)?.execute(named_params! {
            ":id": rule.id,
            ":name": rule.name,
            ":store": rule.store,
            ":kind": rule.kind,
            ":tag": rule.tag,
            ":key": key,
            ":value": value,
            ":keep_days": rule.keep_days,
            ":erase_days": rule.erase_days,
            ":mifid": rule.mifid,
            ":created_by": rule.created_by,
            ":created_at": rule.created_at,
        });
        match added {
            Ok(_) => {
                self.append_audit(entry)?;
                Ok(true)
            }
            Err(rusqlite::Error::SqliteFailure(failure, _))
                if failure.code == ErrorCode::ConstraintViolation =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a rule away. False, and nothing recorded, if there is none.
    pub fn remove_retention_rule(
        &self,
        id: RuleId,
        entry: &AuditEntry,
    ) -> Result<bool, CatalogError> {
        let gone = self.conn.prepare_cached(DELETE_RULE)?.execute([id])?;
        if gone == 1 {
            self.append_audit(entry)?;
        }
        Ok(gone == 1)
    }
}

fn rule_of(row: &Row<'_>) -> rusqlite::Result<RetentionRule> {
    let key: Option<String> = row.get("metadata_key")?;
    let value = row.get("metadata_value")?;
    Ok(RetentionRule {
        id: row.get("id")?,
        name: row.get("name")?,
        store: row.get("store")?,
        kind: row.get("kind")?,
        tag: row.get("tag")?,
        metadata: key.map(|key| (key, value)),
        keep_days: row.get("keep_days")?,
        erase_days: row.get("erase_days")?,
        mifid: row.get("mifid")?,
        created_by: row.get("created_by")?,
        created_at: row.get("created_at")?,
    })
}

const SELECT_RULES: &str = "SELECT * FROM retention_rule ORDER BY name";
const INSERT_RULE: &str = "
    INSERT INTO retention_rule (id, name, store, kind, tag, metadata_key, metadata_value,
        keep_days, erase_days, mifid, created_by, created_at)
    VALUES (:id, :name, :store, :kind, :tag, :key, :value,
        :keep_days, :erase_days, :mifid, :created_by, :created_at)";
const DELETE_RULE: &str = "DELETE FROM retention_rule WHERE id = ?1";
