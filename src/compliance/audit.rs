//! The audit trail: what one entry says, and the hash chain that makes it provable.
//!
//! ```text
//! hash 0 = 32 zero bytes
//! hash n = SHA-256( "recseal-audit-1" ‖ hash n-1 ‖ encoded entry n )     n = 1, 2, 3, …
//!                                       │
//!        checkpoint: signature over ( "recseal-checkpoint-1" ‖ n ‖ hash n ‖ time )
//! ```
//!
//! An entry names people by user name and everything else by id: its text is a code from this
//! program's source, so no phone number, path or caller can get into it. The encoding is
//! specified in `src/manual/audit.md`, well enough to verify a trail without this program.
//!
//! # Invariants
//!
//! - Every field is length-prefixed, so no two entries have the same encoding.
//! - The chain alone finds edits, gaps and reordering. Cutting off the end, or rewriting it all,
//!   is found by a signed checkpoint, so entries after the last one are only as safe as the disk.

mod names;
mod verify;

use std::borrow::Cow;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::domain::ConversationId;
use crate::domain::RecordingId;

pub use names::{Activity, AuthenticatedBy, Outcome};
pub use verify::{AuditFault, AuditVerdict, StoredEntry, verify};

/// Who did it. Both texts are cut at 200 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    name: Cow<'static, str>,
    user: Cow<'static, str>,
    how: AuthenticatedBy,
}

impl Actor {
    /// The daemon, acting by itself.
    pub const DAEMON: Self = Self {
        name: Cow::Borrowed("recseal"),
        user: Cow::Borrowed("recseal"),
        how: AuthenticatedBy::Itself,
    };

    /// A user of this program: `name` is shown, `user` is what they log in as.
    pub fn new(name: impl Into<String>, user: impl Into<String>, how: AuthenticatedBy) -> Self {
        Self { name: bounded(name.into()).into(), user: bounded(user.into()).into(), how }
    }

    /// The actor of a stored entry: nothing is cut, or an edit behind byte 200 would go unseen.
    /// For the catalog, which reads entries back.
    pub fn from_stored(name: String, user: String, how: AuthenticatedBy) -> Self {
        Self { name: name.into(), user: user.into(), how }
    }

    /// The shown name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The login name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// How they were authenticated.
    pub fn how(&self) -> AuthenticatedBy {
        self.how
    }
}

/// One act, to be recorded in the transaction that does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    at: Timestamp,
    actor: Actor,
    activity: Activity,
    outcome: Outcome,
    detail: Cow<'static, str>,
    recording: Option<RecordingId>,
    conversation: Option<ConversationId>,
    object: Option<Uuid>,
}

impl AuditEntry {
    /// An act that went well and concerns nothing in particular; the methods below add to it.
    pub fn new(at: Timestamp, actor: Actor, activity: Activity) -> Self {
        Self {
            at,
            actor,
            activity,
            outcome: Outcome::Ok,
            detail: Cow::Borrowed(""),
            recording: None,
            conversation: None,
            object: None,
        }
    }

    /// How it went, if not well.
    #[must_use]
    pub fn with_outcome(self, outcome: Outcome) -> Self {
        Self { outcome, ..self }
    }

    /// Why, as a code. Only text of this program: what came from outside may be about a person.
    #[must_use]
    pub fn because(self, code: &'static str) -> Self {
        Self { detail: Cow::Borrowed(code), ..self }
    }

    /// Numbers about it, as `version=2 data_keys=1000`, behind the code if there is one.
    #[must_use]
    pub fn with_numbers(self, numbers: &[(&'static str, u64)]) -> Self {
        let words = numbers.iter().map(|(name, number)| format!("{name}={number}"));
        let code = Some(self.detail.into_owned()).filter(|code| !code.is_empty());
        let words: Vec<String> = code.into_iter().chain(words).collect();
        Self { detail: Cow::Owned(words.join(" ")), ..self }
    }

    /// The recording it was done to.
    #[must_use]
    pub fn on_recording(self, recording: RecordingId) -> Self {
        Self { recording: Some(recording), ..self }
    }

    /// The conversation it was done to.
    #[must_use]
    pub fn on_conversation(self, conversation: ConversationId) -> Self {
        Self { conversation: Some(conversation), ..self }
    }

    /// Anything else it was done to, by its id: a token, a store, a sidecar, a key slot.
    #[must_use]
    pub fn on_object(self, object: Uuid) -> Self {
        Self { object: Some(object), ..self }
    }

    /// The same with a reason that was stored before. For the catalog, which reads entries back.
    #[must_use]
    pub fn with_stored_detail(self, detail: String) -> Self {
        Self { detail: Cow::Owned(detail), ..self }
    }

    /// When.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Who.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// What.
    pub fn activity(&self) -> Activity {
        self.activity
    }

    /// With which result.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Why; empty if there is nothing to say.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// To which recording.
    pub fn recording(&self) -> Option<RecordingId> {
        self.recording
    }

    /// To which conversation.
    pub fn conversation(&self) -> Option<ConversationId> {
        self.conversation
    }

    /// To which other thing.
    pub fn object(&self) -> Option<Uuid> {
        self.object
    }

    /// The bytes that are hashed: every field as a 4-byte big-endian length and its content.
    fn encode(&self, seq: u64) -> Vec<u8> {
        let recording = self.recording.map(|id| id.0);
        let conversation = self.conversation.map(|id| id.0);
        let id = |id: &Option<Uuid>| id.map_or_else(Vec::new, |id| id.as_bytes().to_vec());
        let fields: [&[u8]; 11] = [
            &seq.to_be_bytes(),
            &self.at.as_millis().to_be_bytes(),
            self.actor.name.as_bytes(),
            self.actor.user.as_bytes(),
            self.actor.how.as_str().as_bytes(),
            self.activity.as_str().as_bytes(),
            self.outcome.as_str().as_bytes(),
            self.detail.as_bytes(),
            &id(&recording),
            &id(&conversation),
            &id(&self.object),
        ];
        let mut encoded = Vec::with_capacity(256);
        for field in fields {
            let len = u32::try_from(field.len()).expect("every field is far below 4 GiB");
            encoded.extend_from_slice(&len.to_be_bytes());
            encoded.extend_from_slice(field);
        }
        encoded
    }
}

/// Hash of one entry and, through it, of all before.
pub type ChainHash = [u8; 32];

/// The end of a chain: how many entries it has, and the hash of the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// Number of the last entry; 0 for an empty trail.
    pub seq: u64,
    /// Its hash.
    pub hash: ChainHash,
}

impl AuditHead {
    /// The head of an empty trail.
    pub const EMPTY: Self = Self { seq: 0, hash: [0; 32] };

    /// The head after `entry`.
    #[must_use]
    pub fn after(self, entry: &AuditEntry) -> Self {
        let seq = self.seq + 1;
        let hash = Sha256::new()
            .chain_update(ENTRY_DOMAIN)
            .chain_update(self.hash)
            .chain_update(entry.encode(seq))
            .finalize();
        Self { seq, hash: hash.into() }
    }

    /// What a checkpoint signature of this head, made at `at`, is made over.
    pub fn checkpoint_message(self, at: Timestamp) -> Vec<u8> {
        [CHECKPOINT_DOMAIN, &self.seq.to_be_bytes(), &self.hash, &at.as_millis().to_be_bytes()]
            .concat()
    }
}

/// A signature and the id of the key that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointSignature {
    /// Which signing key.
    pub key_id: [u8; 8],
    /// Ed25519 signature.
    pub bytes: [u8; 64],
}

/// A head that was signed: from then on nobody without the key can rewrite what came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The head.
    pub head: AuditHead,
    /// When it was signed.
    pub at: Timestamp,
    /// The signature over [`AuditHead::checkpoint_message`].
    pub signature: CheckpointSignature,
}

/// An entry in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainedEntry {
    /// Its number, from 1.
    pub seq: u64,
    /// What it says.
    pub entry: AuditEntry,
    /// The hash stored with it.
    pub hash: ChainHash,
}

fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

const ENTRY_DOMAIN: &[u8] = b"recseal-audit-1";
const CHECKPOINT_DOMAIN: &[u8] = b"recseal-checkpoint-1";
const TEXT_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with another SHA-256 from `src/manual/audit.md` alone: a change of the encoding
    /// would make every trail in the field unverifiable. Planted faults: the outcome left out, a
    /// little-endian length.
    #[test]
    fn the_chain_is_the_documented_one() {
        let id = Uuid::from_bytes(*b"0123456789abcdef");
        let entry = AuditEntry::new(
            Timestamp::from_millis(1_795_000_000_123),
            Actor::new("Ann Auditor", "ann", AuthenticatedBy::Token),
            Activity::MediaVerified,
        )
        .with_outcome(Outcome::Refused)
        .because("no_right")
        .on_recording(RecordingId(id));
        let head = AuditHead::EMPTY.after(&entry);
        assert_eq!((head.seq, hex(&head.hash)), (1, FROZEN.to_owned()));
    }

    /// Planted fault: cutting at byte 200 panics inside the two-byte letter.
    #[test]
    fn long_names_are_cut_between_letters() {
        let actor = Actor::new("ü".repeat(300), "a", AuthenticatedBy::Token);
        assert_eq!(actor.name().len(), 200);
        let actor = Actor::new(format!("a{}", "ü".repeat(300)), "a", AuthenticatedBy::Token);
        assert_eq!(actor.name().len(), 199);
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    const FROZEN: &str = "40d5980c02929c62a9f0acd78f8a3f3277ebce558dc2cc45b732a850c469bc3d";
}
