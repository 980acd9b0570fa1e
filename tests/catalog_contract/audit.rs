//! The trail in the file: it only grows, it can be searched, and whoever changes it is found.

use recseal::catalog::AuditFilter;
use recseal::compliance::audit::AuditFault;
use recseal::compliance::audit::AuditHead;
use recseal::compliance::audit::AuthenticatedBy;
use recseal::compliance::audit::CheckpointSignature;
use recseal::compliance::audit::Outcome;
use recseal::domain::ConversationId;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::*;

/// A keyed hash stands for the signature of the key manager.
fn sign(message: &[u8]) -> CheckpointSignature {
    let tag = Sha256::new().chain_update(b"key").chain_update(message).finalize();
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&tag);
    CheckpointSignature { key_id: *b"testkey1", bytes }
}

fn is_signed(message: &[u8], signature: &CheckpointSignature) -> bool {
    sign(message) == *signature
}

/// Ten entries a second apart, by two users, signed after the fifth and the tenth.
fn trail(f: &Fixture) -> Vec<AuditEntry> {
    let entries: Vec<_> = (0..10_i64)
        .map(|n| {
            let user = if n % 2 == 0 { "ann" } else { "bob" };
            let actor = Actor::new("x".repeat(200), user, AuthenticatedBy::Token);
            let activity = [Activity::MediaVerified, Activity::AccessRefused][n as usize / 5];
            let outcome = [Outcome::Ok, Outcome::Refused][n as usize / 5];
            AuditEntry::new(at(n * 1_000), actor, activity)
                .with_outcome(outcome)
                .because("code")
                .on_recording(RecordingId(Uuid::from_u128(n as u128)))
                .on_conversation(ConversationId(Uuid::from_u128(1)))
                .on_object(Uuid::from_u128(2))
        })
        .collect();
    for (n, entry) in entries.iter().enumerate() {
        f.write(|tx| tx.append_audit(entry));
        if n % 5 == 4 {
            let signed = f.write(|tx| tx.checkpoint(at(77), sign)).unwrap();
            assert_eq!(signed.head.seq, n as u64 + 1);
            assert!(f.write(|tx| tx.checkpoint(at(78), sign)).is_none(), "signed already");
        }
    }
    entries
}

#[test]
fn the_trail_reads_back_by_every_filter() {
    let f = Fixture::new();
    assert!(f.write(|tx| tx.checkpoint(at(0), sign)).is_none(), "nothing to sign");
    let entries = trail(&f);
    let listed = |filter: AuditFilter, after, limit| {
        let page = f.catalog.read(|tx| tx.audit(&filter, after, limit)).unwrap();
        page.into_iter().map(|chained| chained.seq).collect::<Vec<_>>()
    };
    let all = f.catalog.read(|tx| tx.audit(&AuditFilter::default(), 0, 100)).unwrap();
    assert!(all.iter().map(|chained| &chained.entry).eq(&entries));
    let head = f.catalog.read(|tx| tx.audit_head()).unwrap();
    assert_eq!(head, AuditHead { seq: 10, hash: all[9].hash });

    let any = AuditFilter::default;
    assert_eq!(listed(any(), 3, 2), [4, 5]);
    let time = AuditFilter { from: Some(at(2_000)), to: Some(at(4_000)), ..any() };
    assert_eq!(listed(time.clone(), 0, 100), [3, 4]);
    assert_eq!(listed(time, 3, 100), [4]);
    assert!(listed(AuditFilter { from: Some(at(99_000)), ..any() }, 0, 9).is_empty());
    assert_eq!(listed(AuditFilter { user: Some("bob".into()), ..any() }, 4, 2), [6, 8]);
    let refused = AuditFilter { outcome: Some(Outcome::Refused), ..any() };
    assert_eq!(listed(refused, 0, 100), [6, 7, 8, 9, 10]);
    let opened = AuditFilter { activity: Some(Activity::MediaVerified), ..any() };
    assert_eq!(listed(opened, 0, 100), [1, 2, 3, 4, 5]);

    let verdict = f.catalog.read(|tx| tx.verify_audit(&is_signed)).unwrap();
    assert_eq!((verdict.head, verdict.fault), (head, None));
    assert_eq!((verdict.checkpoints, verdict.signed_to), (2, 10));
}

/// A clock set back puts an older time behind a newer one; a filter must still find both.
/// Planted fault: the search ended at the first entry past `to`.
#[test]
fn a_clock_set_back_hides_nothing() {
    let f = Fixture::new();
    for time in [5_000, 1_000, 5_001, 1_001] {
        f.write(|tx| {
            tx.append_audit(&AuditEntry::new(at(time), Actor::DAEMON, Activity::MediaPlayed))
        });
    }
    let filter = AuditFilter { to: Some(at(2_000)), ..AuditFilter::default() };
    let page = f.catalog.read(|tx| tx.audit(&filter, 0, 10)).unwrap();
    assert_eq!(page.iter().map(|chained| chained.seq).collect::<Vec<_>>(), [2, 4]);
}

/// Planted fault for each: its trigger left out.
#[test]
fn the_database_lets_the_trail_only_grow() {
    let f = Fixture::new();
    trail(&f);
    let raw = f.raw();
    for statement in [
        "UPDATE audit SET detail = '' WHERE seq = 1",
        "DELETE FROM audit WHERE seq = 10",
        "INSERT INTO audit SELECT 12, at, actor, user_name, authenticated_by, activity, outcome,
            detail, recording, conversation, object, hash FROM audit WHERE seq = 1",
        "REPLACE INTO audit SELECT 1, at, actor, user_name, authenticated_by, activity, outcome,
            detail, recording, conversation, object, hash FROM audit WHERE seq = 2",
        "UPDATE audit_checkpoint SET at = 0",
        "DELETE FROM audit_checkpoint",
        "INSERT INTO audit_checkpoint SELECT 1, hash, at, key_id, signature FROM audit_checkpoint",
    ] {
        assert!(raw.execute(statement, []).is_err(), "{statement}");
    }
}

/// Somebody who owns the file drops the triggers first. Planted faults: names cut at 200 bytes
/// when read back (an appended letter goes unseen); an unreadable row reported as an I/O error.
#[test]
fn whoever_changes_the_file_is_found() {
    let altered = |statement: &str, fault: AuditFault| {
        let f = Fixture::new();
        trail(&f);
        let raw = f.raw();
        raw.execute_batch(
            "DROP TRIGGER audit_unchanged; DROP TRIGGER audit_undeleted;
            DROP TRIGGER audit_only_grows; DROP TRIGGER audit_checkpoint_unchanged;",
        )
        .unwrap();
        assert!(raw.execute(statement, []).unwrap() > 0, "{statement}");
        let verdict = f.catalog.read(|tx| tx.verify_audit(&is_signed)).unwrap();
        assert_eq!(verdict.fault, Some(fault), "{statement}");
    };
    for change in [
        "at = at + 1",
        "actor = actor || 'x'",
        "user_name = 'eve'",
        "authenticated_by = 'itself'",
        "authenticated_by = 'magic'",
        "activity = 'AUDIT_VIEWED'",
        "activity = 'NO_SUCH_THING'",
        "outcome = 'failed'",
        "detail = ''",
        "recording = NULL",
        "recording = x'00'",
        "conversation = object, object = conversation",
        "object = NULL",
        "hash = zeroblob(32)",
    ] {
        let statement = format!("UPDATE audit SET {change} WHERE seq = 4");
        altered(&statement, AuditFault::Altered { seq: 4 });
    }
    altered("DELETE FROM audit WHERE seq = 4", AuditFault::Missing { seq: 4 });
    altered("UPDATE audit SET seq = -seq WHERE seq = 4", AuditFault::Missing { seq: 1 });
    let cut = AuditFault::Truncated { last: 7, signed: 10 };
    altered("DELETE FROM audit WHERE seq > 7", cut);
    let statement = "UPDATE audit_checkpoint SET hash = zeroblob(32) WHERE seq = 5";
    altered(statement, AuditFault::BadSignature { seq: 5 });
}
