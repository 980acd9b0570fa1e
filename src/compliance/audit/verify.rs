//! Proof that a trail is whole, or the first place where it is not.

use super::AuditHead;
use super::ChainedEntry;
use super::Checkpoint;
use super::CheckpointSignature;

/// One row of a stored trail.
#[derive(Clone, Debug)]
pub enum StoredEntry {
    /// It can be read.
    Entry(ChainedEntry),
    /// It cannot: somebody wrote what this program never writes.
    Unreadable {
        /// Its number.
        seq: u64,
    },
}

/// What verification found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditVerdict {
    /// The last entry up to which everything is in order.
    pub head: AuditHead,
    /// Checkpoints found good.
    pub checkpoints: u64,
    /// The last entry that a good checkpoint covers. What follows could be cut off unnoticed.
    pub signed_to: u64,
    /// The first thing that is not in order.
    pub fault: Option<AuditFault>,
}

/// What is wrong with a trail. Only the first fault is told: after it nothing can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    /// An entry is gone.
    #[error("entry {seq} is missing")]
    Missing {
        /// The number that should have come.
        seq: u64,
    },
    /// An entry comes again or too late.
    #[error("entry {seq} is out of order")]
    OutOfOrder {
        /// Its number.
        seq: u64,
    },
    /// An entry, or its hash, was changed.
    #[error("entry {seq} was changed")]
    Altered {
        /// Its number.
        seq: u64,
    },
    /// The chain is consistent but not the one that was signed.
    #[error("the trail up to entry {seq} is not the one that was signed")]
    Rewritten {
        /// The entry of the checkpoint.
        seq: u64,
    },
    /// A checkpoint was not signed by a known key.
    #[error("the signature at entry {seq} is not ours")]
    BadSignature {
        /// The entry of the checkpoint.
        seq: u64,
    },
    /// The end was cut off.
    #[error("the trail ends at entry {last} but was signed up to entry {signed}")]
    Truncated {
        /// The last entry there is.
        last: u64,
        /// The entry of a checkpoint behind it.
        signed: u64,
    },
}

/// Walks a trail once, in constant memory, entries and checkpoints in the order of their numbers.
///
/// `is_signed` says whether a signature over a message is by a key that is trusted. To find a
/// cut-off end behind the last stored checkpoint, add one that was kept elsewhere.
///
/// # Errors
///
/// Only those of reading; what is wrong with the trail is in the verdict.
pub fn verify<E>(
    entries: impl IntoIterator<Item = Result<StoredEntry, E>>,
    checkpoints: impl IntoIterator<Item = Result<Checkpoint, E>>,
    is_signed: &dyn Fn(&[u8], &CheckpointSignature) -> bool,
) -> Result<AuditVerdict, E> {
    let mut verdict =
        AuditVerdict { head: AuditHead::EMPTY, checkpoints: 0, signed_to: 0, fault: None };
    let mut checkpoints = checkpoints.into_iter();
    let mut waiting = checkpoints.next().transpose()?;

    for stored in entries {
        match follow(verdict.head, &stored?) {
            Ok(head) => verdict.head = head,
            Err(fault) => return Ok(AuditVerdict { fault: Some(fault), ..verdict }),
        }
        while let Some(checkpoint) = waiting.filter(|c| c.head.seq <= verdict.head.seq) {
            if let Err(fault) = confirm(verdict.head, &checkpoint, is_signed) {
                return Ok(AuditVerdict { fault: Some(fault), ..verdict });
            }
            verdict.checkpoints += 1;
            verdict.signed_to = verdict.head.seq;
            waiting = checkpoints.next().transpose()?;
        }
    }
    if let Some(checkpoint) = waiting {
        verdict.fault = Some(if is_genuine(&checkpoint, is_signed) {
            AuditFault::Truncated { last: verdict.head.seq, signed: checkpoint.head.seq }
        } else {
            AuditFault::BadSignature { seq: checkpoint.head.seq }
        });
    }
    Ok(verdict)
}

/// The head after `stored`, if it is what must come next.
fn follow(head: AuditHead, stored: &StoredEntry) -> Result<AuditHead, AuditFault> {
    let (StoredEntry::Entry(ChainedEntry { seq, .. }) | StoredEntry::Unreadable { seq }) = *stored;
    let expected = head.seq + 1;
    if seq > expected {
        return Err(AuditFault::Missing { seq: expected });
    }
    if seq < expected {
        return Err(AuditFault::OutOfOrder { seq });
    }
    match stored {
        StoredEntry::Entry(chained) => {
            let next = head.after(&chained.entry);
            if next.hash == chained.hash { Ok(next) } else { Err(AuditFault::Altered { seq }) }
        }
        StoredEntry::Unreadable { .. } => Err(AuditFault::Altered { seq }),
    }
}

fn confirm(
    head: AuditHead,
    checkpoint: &Checkpoint,
    is_signed: &dyn Fn(&[u8], &CheckpointSignature) -> bool,
) -> Result<(), AuditFault> {
    let seq = checkpoint.head.seq;
    if !is_genuine(checkpoint, is_signed) {
        return Err(AuditFault::BadSignature { seq });
    }
    if checkpoint.head == head { Ok(()) } else { Err(AuditFault::Rewritten { seq }) }
}

fn is_genuine(
    checkpoint: &Checkpoint,
    is_signed: &dyn Fn(&[u8], &CheckpointSignature) -> bool,
) -> bool {
    is_signed(&checkpoint.head.checkpoint_message(checkpoint.at), &checkpoint.signature)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;
    use proptest::sample::Index;
    use sha2::{Digest, Sha256};
    use uuid::Uuid;

    use super::super::{Activity, Actor, AuditEntry, AuthenticatedBy, Outcome};
    use super::*;
    use crate::clock::Timestamp;
    use crate::domain::ConversationId;
    use crate::domain::RecordingId;

    /// A keyed hash stands for the signature: what matters here is that a forger lacks the key.
    fn sign(message: &[u8]) -> CheckpointSignature {
        let tag: [u8; 32] =
            Sha256::new().chain_update(b"key").chain_update(message).finalize().into();
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&tag);
        CheckpointSignature { key_id: *b"testkey1", bytes }
    }

    fn checkpoint(head: AuditHead) -> Checkpoint {
        let at = Timestamp::from_millis(7);
        Checkpoint { head, at, signature: sign(&head.checkpoint_message(at)) }
    }

    fn entry(n: i64) -> AuditEntry {
        AuditEntry::new(Timestamp::from_millis(n), Actor::DAEMON, Activity::MediaPlayed)
            .on_recording(RecordingId(Uuid::from_u128(n as u128)))
            .because("code")
    }

    /// A trail of `len` entries, signed at its end and in the middle.
    fn trail(len: usize) -> (Vec<ChainedEntry>, Vec<Checkpoint>) {
        let mut head = AuditHead::EMPTY;
        let mut chained = Vec::new();
        for n in 0..len {
            let entry = entry(n as i64);
            head = head.after(&entry);
            chained.push(ChainedEntry { seq: head.seq, entry, hash: head.hash });
        }
        let at = |n: usize| AuditHead { seq: chained[n].seq, hash: chained[n].hash };
        let mut signed = vec![checkpoint(at(len - 1))];
        if len > 1 {
            signed.insert(0, checkpoint(at(len / 2 - 1)));
        }
        (chained, signed)
    }

    fn fault(entries: &[ChainedEntry], checkpoints: &[Checkpoint]) -> Option<AuditFault> {
        let entries = entries.iter().cloned().map(|e| Ok::<_, Infallible>(StoredEntry::Entry(e)));
        verify(entries, checkpoints.iter().map(|c| Ok(*c)), &|message, signature| {
            sign(message) == *signature
        })
        .unwrap()
        .fault
    }

    /// `entry` with its `field`-th fact changed.
    fn edited(entry: &AuditEntry, field: usize) -> AuditEntry {
        let entry = entry.clone();
        let id = Uuid::from_u128(u128::MAX);
        match field {
            0 => AuditEntry { at: Timestamp::from_millis(-1), ..entry },
            1 => {
                let actor = Actor::new("recsea", "lrecseal", AuthenticatedBy::Itself);
                AuditEntry { actor, ..entry }
            }
            2 => {
                let actor = Actor::new("recseal", "recseal", AuthenticatedBy::Token);
                AuditEntry { actor, ..entry }
            }
            3 => AuditEntry { activity: Activity::AuditViewed, ..entry },
            4 => entry.with_outcome(Outcome::Failed),
            5 => entry.because("edoc"),
            6 => AuditEntry { recording: None, ..entry },
            7 => entry.on_conversation(ConversationId(id)),
            8 => entry.on_object(id),
            _ => {
                // The same bytes, moved into the next field.
                let conversation = entry.recording.map(|id| ConversationId(id.0));
                AuditEntry { recording: None, conversation, ..entry }
            }
        }
    }

    #[test]
    fn a_whole_trail_is_whole() {
        for len in [1, 2, 3, 50] {
            let (entries, checkpoints) = trail(len);
            assert_eq!(fault(&entries, &checkpoints), None, "{len} entries");
        }
        assert_eq!(fault(&[], &[]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Every entry of a trail, every fact of it, removal, repetition and exchange, and every
        /// place to cut. Planted faults, each found here: a field left out of the encoding, the
        /// length prefix left out, the number left out together with the gap check, the leftover
        /// checkpoint not looked at.
        #[test]
        fn any_single_change_is_found(len in 2..20_usize, other in any::<Index>()) {
            let (entries, checkpoints) = trail(len);
            for at in 0..len {
                let seq = entries[at].seq;
                for field in 0..10 {
                    let mut changed = entries.clone();
                    changed[at].entry = edited(&changed[at].entry, field);
                    prop_assert_eq!(
                        fault(&changed, &checkpoints), Some(AuditFault::Altered { seq }), "{}", field
                    );
                }
                let mut removed = entries.clone();
                removed.remove(at);
                prop_assert!(fault(&removed, &checkpoints).is_some(), "{} removed", seq);
                let mut renumbered = removed;
                (1..).zip(&mut renumbered).for_each(|(seq, entry)| entry.seq = seq);
                prop_assert!(fault(&renumbered, &checkpoints).is_some(), "{} closed up", seq);

                let mut twice = entries.clone();
                twice.insert(at, entries[at].clone());
                prop_assert_eq!(fault(&twice, &checkpoints), Some(AuditFault::OutOfOrder { seq }));

                let mut swapped = entries.clone();
                let with = other.index(len);
                if with != at {
                    swapped.swap(at, with);
                    prop_assert!(fault(&swapped, &checkpoints).is_some(), "{} swapped", seq);
                }
                let cut = AuditFault::Truncated {
                    last: at as u64,
                    signed: if at < len / 2 { len / 2 } else { len } as u64,
                };
                prop_assert_eq!(fault(&entries[..at], &checkpoints), Some(cut));
            }
        }

        /// Whoever recomputes the chain after an edit is stopped by a checkpoint, and whoever
        /// also moves the checkpoint is stopped by its signature. Planted faults: the head not
        /// compared with the checkpoint's, the signature not asked.
        #[test]
        fn a_rewritten_trail_is_found(len in 2..20_usize, at in any::<Index>()) {
            let (mut entries, mut checkpoints) = trail(len);
            let at = at.index(len);
            entries[at].entry = edited(&entries[at].entry, 5);
            let mut head = AuditHead::EMPTY;
            for chained in &mut entries {
                head = head.after(&chained.entry);
                chained.hash = head.hash;
            }
            let seq = if at < len / 2 { len / 2 } else { len } as u64;
            prop_assert_eq!(fault(&entries, &checkpoints), Some(AuditFault::Rewritten { seq }));
            for checkpoint in &mut checkpoints {
                checkpoint.head.hash = entries[checkpoint.head.seq as usize - 1].hash;
            }
            prop_assert_eq!(fault(&entries, &checkpoints), Some(AuditFault::BadSignature { seq }));
        }
    }

    #[test]
    fn what_cannot_be_read_was_changed() {
        let rows = [Ok::<_, Infallible>(StoredEntry::Unreadable { seq: 1 })];
        let verdict = verify(rows, [], &|_, _| true).unwrap();
        assert_eq!(verdict.fault, Some(AuditFault::Altered { seq: 1 }));
    }
}
