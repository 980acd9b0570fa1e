//! Disclosures: what was given to whom, kept so that the person can be told.

use crate::clock::Timestamp;
use crate::compliance::person::{Category, PersonHandle};
use crate::domain::conversation::Personal;
use crate::domain::{ConversationId, DisclosureId};

/// To whom data was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recipient {
    /// The person themself.
    Subject,
    /// Somebody in the house, for their work.
    Staff,
    /// Somebody who works on it for the house.
    Processor,
    /// A court or an authority.
    Authority,
    /// Anybody else.
    ThirdParty,
}

impl Recipient {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Subject, Self::Staff, Self::Processor, Self::Authority, Self::ThirdParty];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Staff => "staff",
            Self::Processor => "processor",
            Self::Authority => "authority",
            Self::ThirdParty => "third_party",
        }
    }

    /// The recipient of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|recipient| recipient.as_str() == name)
    }
}

/// One time that data left the house. Written with every export, in its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disclosure {
    /// Its id.
    pub id: DisclosureId,
    /// When.
    pub at: Timestamp,
    /// To whom, by kind.
    pub recipient: Recipient,
    /// To whom, in words: `District court`.
    pub recipient_name: Personal,
    /// User name of who exported.
    pub by: String,
    /// Of which conversations.
    pub conversations: Vec<ConversationId>,
    /// About whom, by keyed handles.
    pub persons: Vec<PersonHandle>,
    /// What kinds of data.
    pub categories: Vec<Category>,
    /// With media.
    pub with_media: bool,
}
