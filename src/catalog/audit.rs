//! The audit trail in the catalog: appended to, signed, searched, proved.

use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::named_params;
use rusqlite::types::ValueRef;
use uuid::Uuid;

use super::CatalogError;
use super::CatalogTx;
use super::ReadTx;
use super::recordings::rows_max;
use super::values::unreadable;
use super::values::unsigned;
use super::values::uuid;
use crate::clock::Timestamp;
use crate::compliance::audit;
use crate::compliance::audit::Activity;
use crate::compliance::audit::Actor;
use crate::compliance::audit::AuditEntry;
use crate::compliance::audit::AuditHead;
use crate::compliance::audit::AuditVerdict;
use crate::compliance::audit::ChainedEntry;
use crate::compliance::audit::Checkpoint;
use crate::compliance::audit::CheckpointSignature;
use crate::compliance::audit::Outcome;
use crate::compliance::audit::StoredEntry;

/// Which entries to list; what is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// At this time or later.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
    /// This was done.
    pub activity: Option<Activity>,
    /// By the user with this login name.
    pub user: Option<String>,
    /// With this result.
    pub outcome: Option<Outcome>,
}

impl ReadTx<'_> {
    /// At most `limit` entries behind number `after`, in order.
    pub fn audit(
        &self,
        filter: &AuditFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<ChainedEntry>, CatalogError> {
        let from = filter.from.map_or(i64::MIN, Timestamp::as_millis);
        let to = filter.to.map_or(i64::MAX, Timestamp::as_millis);
        let Some((first, last)) = entries_between(self.conn, from, to)? else {
            return Ok(Vec::new());
        };
        let mut statement = self.conn.prepare_cached(SELECT_ENTRIES)?;
        let rows = statement.query_map(
            named_params! {
                ":after": after.cast_signed().max(first - 1),
                ":last": last,
                ":from": from,
                ":to": to,
                ":activity": filter.activity,
                ":user_name": filter.user,
                ":outcome": filter.outcome,
                ":limit": rows_max(limit),
            },
            entry_of,
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The end of the trail.
    pub fn audit_head(&self) -> Result<AuditHead, CatalogError> {
        let mut statement = self.conn.prepare_cached(SELECT_HEAD)?;
        let mut rows = statement.query([])?;
        match rows.next()? {
            Some(row) => Ok(head_of(row)?),
            None => Ok(AuditHead::EMPTY),
        }
    }

    /// Proves the whole trail or finds its first fault. Walks it once, in constant memory.
    ///
    /// # Errors
    ///
    /// Only those of reading; what is wrong with the trail is in the verdict.
    pub fn verify_audit(
        &self,
        is_signed: &dyn Fn(&[u8], &CheckpointSignature) -> bool,
    ) -> Result<AuditVerdict, CatalogError> {
        let mut entries = self.conn.prepare(SELECT_TRAIL)?;
        let mut checkpoints = self.conn.prepare(SELECT_CHECKPOINTS)?;
        let entries = entries.query_map([], |row| {
            let seq = unsigned(row, "seq")?;
            Ok(entry_of(row).map_or(StoredEntry::Unreadable { seq }, StoredEntry::Entry))
        })?;
        let checkpoints = checkpoints.query_map([], checkpoint_of)?;
        Ok(audit::verify(entries, checkpoints, is_signed)?)
    }
}

impl CatalogTx<'_> {
    /// Records `entry` at the end of the trail.
    pub fn append_audit(&self, entry: &AuditEntry) -> Result<AuditHead, CatalogError> {
        let head = self.audit_head()?.after(entry);
        self.conn.prepare_cached(INSERT_ENTRY)?.execute(named_params! {
            ":seq": head.seq.cast_signed(),
            ":at": entry.at(),
            ":actor": entry.actor().name(),
            ":user_name": entry.actor().user(),
            ":authenticated_by": entry.actor().how(),
            ":activity": entry.activity(),
            ":outcome": entry.outcome(),
            ":detail": entry.detail(),
            ":recording": entry.recording(),
            ":conversation": entry.conversation(),
            ":object": entry.object().as_ref().map(Uuid::as_bytes),
            ":hash": head.hash,
        })?;
        Ok(head)
    }

    /// Has the end of the trail signed by `sign`. `None` if it was signed already or is empty.
    pub fn checkpoint(
        &self,
        now: Timestamp,
        sign: impl FnOnce(&[u8]) -> CheckpointSignature,
    ) -> Result<Option<Checkpoint>, CatalogError> {
        let head = self.audit_head()?;
        let signed_to: i64 =
            self.conn.prepare_cached(SELECT_SIGNED_TO)?.query_row([], |row| row.get(0))?;
        if head.seq.cast_signed() <= signed_to {
            return Ok(None);
        }
        let signature = sign(&head.checkpoint_message(now));
        self.conn.prepare_cached(INSERT_CHECKPOINT)?.execute(named_params! {
            ":seq": head.seq.cast_signed(),
            ":hash": head.hash,
            ":at": now,
            ":key_id": signature.key_id,
            ":signature": signature.bytes,
        })?;
        Ok(Some(Checkpoint { head, at: now, signature }))
    }
}

/// First and last number of the entries of a time. A clock that was set back makes times go back
/// while numbers go on, so this only narrows the search; an index answers it.
fn entries_between(
    conn: &Connection,
    from: i64,
    to: i64,
) -> Result<Option<(i64, i64)>, CatalogError> {
    if (from, to) == (i64::MIN, i64::MAX) {
        return Ok(Some((1, i64::MAX)));
    }
    let mut statement = conn.prepare_cached(SELECT_BETWEEN)?;
    let (first, last): (Option<i64>, Option<i64>) =
        statement.query_row([from, to], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(first.zip(last))
}

fn entry_of(row: &Row<'_>) -> rusqlite::Result<ChainedEntry> {
    let actor =
        Actor::from_stored(row.get("actor")?, row.get("user_name")?, row.get("authenticated_by")?);
    let mut entry = AuditEntry::new(row.get("at")?, actor, row.get("activity")?)
        .with_outcome(row.get("outcome")?)
        .with_stored_detail(row.get("detail")?);
    if let Some(recording) = row.get("recording")? {
        entry = entry.on_recording(recording);
    }
    if let Some(conversation) = row.get("conversation")? {
        entry = entry.on_conversation(conversation);
    }
    match row.get_ref("object")? {
        ValueRef::Null => {}
        object => entry = entry.on_object(uuid(object)?),
    }
    let AuditHead { seq, hash } = head_of(row)?;
    Ok(ChainedEntry { seq, entry, hash })
}

fn checkpoint_of(row: &Row<'_>) -> rusqlite::Result<Checkpoint> {
    let signature =
        CheckpointSignature { key_id: array(row, "key_id")?, bytes: array(row, "signature")? };
    Ok(Checkpoint { head: head_of(row)?, at: row.get("at")?, signature })
}

fn head_of(row: &Row<'_>) -> rusqlite::Result<AuditHead> {
    Ok(AuditHead { seq: unsigned(row, "seq")?, hash: array(row, "hash")? })
}

fn array<const N: usize>(row: &Row<'_>, column: &str) -> rusqlite::Result<[u8; N]> {
    let bytes = row.get_ref(column)?.as_blob()?;
    bytes.try_into().map_err(|_| unreadable("wrong length").into())
}

const SELECT_ENTRIES: &str = "
    SELECT * FROM audit
    WHERE seq > :after AND seq <= :last AND at >= :from AND at < :to
        AND (:activity IS NULL OR activity = :activity)
        AND (:user_name IS NULL OR user_name = :user_name)
        AND (:outcome IS NULL OR outcome = :outcome)
    ORDER BY seq LIMIT :limit";
const SELECT_BETWEEN: &str =
    "SELECT min(seq), max(seq) FROM audit INDEXED BY audit_at WHERE at >= ?1 AND at < ?2";
const SELECT_HEAD: &str = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1";
const SELECT_TRAIL: &str = "SELECT * FROM audit ORDER BY seq";
const SELECT_CHECKPOINTS: &str = "SELECT * FROM audit_checkpoint ORDER BY seq";
const SELECT_SIGNED_TO: &str = "SELECT coalesce(max(seq), 0) FROM audit_checkpoint";
const INSERT_ENTRY: &str = "
    INSERT INTO audit (seq, at, actor, user_name, authenticated_by, activity, outcome, detail,
        recording, conversation, object, hash)
    VALUES (:seq, :at, :actor, :user_name, :authenticated_by, :activity, :outcome, :detail,
        :recording, :conversation, :object, :hash)";
const INSERT_CHECKPOINT: &str = "
    INSERT INTO audit_checkpoint (seq, hash, at, key_id, signature)
    VALUES (:seq, :hash, :at, :key_id, :signature)";
