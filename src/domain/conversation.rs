//! Conversations: who spoke or wrote with whom, in which segments, and what is known about it.
//!
//! ```text
//! Conversation ─┬─ Participant  (role, name, phone, email, ip, chat address)
//!               ├─ Segment ─┬─ Message
//!               │           ├─ metadata: key ─▶ value
//!               │           └─ recordings, by the path at which they were found
//!               ├─ tags
//!               └─ consents
//! ```
//!
//! What came from outside is a [`ConversationInput`]: its ids are the caller's, and nothing of it
//! is trusted but its shape. What we keep of it is a [`StoredConversation`]: every cell that may
//! be anonymized has an id. Every text about a person is [`Personal`], which prints as nothing.

mod stored;

use std::fmt;

pub use stored::{
    MediaStatus, StoredConversation, StoredMessage, StoredParticipant, StoredRecording,
    StoredSegment,
};

use crate::clock::Timestamp;

use super::StorePath;

/// A text about a person: a name, a number, an address, what was said. Printing it shows nothing.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Personal(String);

impl Personal {
    /// Keeps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text. Keep it out of logs, errors, metrics and audit.
    pub fn expose_personal(&self) -> &str {
        &self.0
    }

    /// True if there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its length in bytes, for limits.
    pub fn len_bytes(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Personal(..)")
    }
}

impl From<&str> for Personal {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Personal {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// What kind of exchange a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SegmentKind {
    /// Somebody spoke.
    Call,
    /// Somebody typed.
    Chat,
    /// Somebody wrote.
    Email,
}

impl SegmentKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Call, Self::Chat, Self::Email];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Chat => "chat",
            Self::Email => "email",
        }
    }

    /// The kind of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A conversation as somebody else tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversationInput {
    /// The caller's id, at most 200 bytes.
    pub external_id: String,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// Who took part.
    pub participants: Vec<ParticipantInput>,
    /// Its parts, in order.
    pub segments: Vec<SegmentInput>,
    /// Names of tags to be put on it.
    pub tags: Vec<String>,
    /// What people agreed to or withdrew.
    pub consents: Vec<ConsentInput>,
}

/// Somebody who took part. What is empty is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParticipantInput {
    /// `customer`, `agent` or whatever the caller says.
    pub role: String,
    /// Name.
    pub name: Option<Personal>,
    /// Phone number as written.
    pub phone: Option<Personal>,
    /// Email address.
    pub email: Option<Personal>,
    /// IPv4 or IPv6 address as written.
    pub ip: Option<Personal>,
    /// Address in a chat system.
    pub chat_address: Option<Personal>,
}

/// One part of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInput {
    /// The caller's id, unique within the conversation, at most 200 bytes.
    pub external_id: String,
    /// What it is.
    pub kind: SegmentKind,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Subject of an email.
    pub subject: Option<Personal>,
    /// Body of an email.
    pub body: Option<Personal>,
    /// Name of a chat room.
    pub room: Option<Personal>,
    /// Messages of a chat, in order.
    pub messages: Vec<MessageInput>,
    /// Keys and values; each key once, in the caller's order.
    pub metadata: Vec<(String, Personal)>,
    /// Where its recordings were found, relative to a store.
    pub recordings: Vec<StorePath>,
}

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageInput {
    /// When.
    pub at: Option<Timestamp>,
    /// By whom.
    pub from: Personal,
    /// What.
    pub text: Personal,
}

/// What somebody agreed to, or withdrew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentInput {
    /// A number, an address or an id of the person.
    pub person: Personal,
    /// What for: `recording`, `processing`, `sale`, `third_party`, or the caller's own word.
    pub purpose: String,
    /// Given, or withdrawn.
    pub given: bool,
    /// When.
    pub at: Timestamp,
    /// Where that can be seen: a reference, not the document.
    pub evidence: Option<String>,
}
