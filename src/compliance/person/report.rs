//! The right to know: what is held about one person, since when, and who was given it.

use jiff::ToSpan;
use jiff::tz::TimeZone;

use crate::clock::Timestamp;
use crate::compliance::export::Disclosure;
use crate::domain::conversation::{Personal, StoredConversation, StoredSegment};
use crate::domain::{ConversationId, ParticipantId};

/// A category of personal data, in the words of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Names.
    Names,
    /// Telephone numbers.
    Numbers,
    /// Email and chat addresses.
    Addresses,
    /// IP addresses.
    IpAddresses,
    /// Recorded calls and screens.
    Recordings,
    /// What was written in emails and chats.
    Texts,
    /// Keys and values that came with a conversation.
    Metadata,
    /// Consents, withdrawals and opt-outs.
    Consents,
}

impl Category {
    /// All of them, as reported.
    pub const ALL: [Self; 8] = [
        Self::Names,
        Self::Numbers,
        Self::Addresses,
        Self::IpAddresses,
        Self::Recordings,
        Self::Texts,
        Self::Metadata,
        Self::Consents,
    ];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Names => "names",
            Self::Numbers => "phone_numbers",
            Self::Addresses => "email_and_chat_addresses",
            Self::IpAddresses => "ip_addresses",
            Self::Recordings => "recordings",
            Self::Texts => "texts",
            Self::Metadata => "metadata",
            Self::Consents => "consents",
        }
    }

    /// The category of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.as_str() == name)
    }

    /// What people read.
    pub fn label(self) -> &'static str {
        match self {
            Self::Names => "Names",
            Self::Numbers => "Telephone numbers",
            Self::Addresses => "Email and chat addresses",
            Self::IpAddresses => "IP addresses",
            Self::Recordings => "Recorded calls and screens",
            Self::Texts => "Emails and chat messages",
            Self::Metadata => "Data about conversations",
            Self::Consents => "Consents, withdrawals and opt-outs",
        }
    }
}

/// Which time a report covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// The twelve months before it is made.
    Last12Months,
    /// Everything that is held.
    All,
}

impl Window {
    /// Where it begins, reckoned in UTC; `None` for everything.
    pub fn from(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::All => None,
            Self::Last12Months => {
                let moment = jiff::Timestamp::from_millisecond(now.as_millis()).ok()?;
                let then = TimeZone::UTC.to_datetime(moment).checked_sub(12.months()).ok()?;
                let then = TimeZone::UTC.to_timestamp(then).ok()?;
                Some(Timestamp::from_millis(then.as_millisecond()))
            }
        }
    }
}

/// What one conversation holds about the person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationFacts {
    /// Which.
    pub conversation: ConversationId,
    /// When it began; when it was imported, if nobody knows.
    pub at: Timestamp,
    /// Of the person: see [`categories_of`]. [`Category::Consents`] is the caller's to add.
    pub categories: Vec<Category>,
}

/// How many conversations hold a category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CategoryCount {
    /// Which.
    pub category: Category,
    /// In how many conversations of the window.
    pub conversations: u64,
}

/// The answer to "what do you hold about me?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonReport {
    /// When it was made.
    pub made_at: Timestamp,
    /// What time it covers.
    pub window: Window,
    /// Anything is held, in the window or outside it.
    pub is_held: bool,
    /// The oldest conversation that still holds anything, in the window or outside it.
    pub since: Option<Timestamp>,
    /// Conversations of the window, oldest first.
    pub conversations: Vec<ConversationId>,
    /// What they hold, in the order of [`Category::ALL`]; what none holds is not listed.
    pub categories: Vec<CategoryCount>,
    /// To whom data of the person was given in the window, oldest first.
    pub disclosures: Vec<Disclosure>,
}

/// Which categories `conversation` holds about the participant `person`.
///
/// What was said and written belongs to everybody who took part in it; what is anonymized belongs
/// to nobody. Recordings count until they are deleted.
pub fn categories_of(conversation: &StoredConversation, person: ParticipantId) -> Vec<Category> {
    let Some(participant) = conversation.participants.iter().find(|one| one.id == person) else {
        return Vec::new();
    };
    let segments = &conversation.segments;
    let holds = |category: &Category| match category {
        Category::Names => is_there(&participant.name),
        Category::Numbers => is_there(&participant.phone),
        Category::Addresses => is_there(&participant.email) || is_there(&participant.chat_address),
        Category::IpAddresses => is_there(&participant.ip),
        Category::Recordings => {
            let mut recordings = segments.iter().flat_map(|segment| &segment.recordings);
            recordings.any(|recording| recording.media.is_playable())
        }
        Category::Texts => segments.iter().any(has_text),
        Category::Metadata => {
            let mut values = segments.iter().flat_map(|segment| &segment.metadata);
            values.any(|(_, value)| is_text(value))
        }
        Category::Consents => false,
    };
    Category::ALL.into_iter().filter(holds).collect()
}

/// Makes the report of everything in `facts`, in any order, and `disclosures`.
pub fn report(
    facts: &[ConversationFacts],
    disclosures: &[Disclosure],
    window: Window,
    now: Timestamp,
) -> PersonReport {
    let from = window.from(now);
    let is_inside = |at: Timestamp| from.is_none_or(|from| from <= at);
    let mut held: Vec<_> = facts.iter().filter(|one| !one.categories.is_empty()).collect();
    held.sort_by_key(|one| (one.at, one.conversation));
    let inside: Vec<_> = held.iter().filter(|one| is_inside(one.at)).collect();
    let count = |category: Category| {
        let having = inside.iter().filter(|one| one.categories.contains(&category)).count();
        CategoryCount { category, conversations: having as u64 }
    };
    let mut disclosures: Vec<_> =
        disclosures.iter().filter(|one| is_inside(one.at)).cloned().collect();
    disclosures.sort_by_key(|one| (one.at, one.id));
    PersonReport {
        made_at: now,
        window,
        is_held: !held.is_empty(),
        since: held.first().map(|one| one.at),
        conversations: inside.iter().map(|one| one.conversation).collect(),
        categories: Category::ALL
            .into_iter()
            .map(count)
            .filter(|count| count.conversations > 0)
            .collect(),
        disclosures,
    }
}

fn has_text(segment: &StoredSegment) -> bool {
    let single = [&segment.subject, &segment.body, &segment.room].into_iter().flatten();
    let mut texts = single.chain(segment.messages.iter().map(|message| &message.text));
    texts.any(is_text)
}

fn is_there(value: &Option<Personal>) -> bool {
    value.as_ref().is_some_and(is_text)
}

/// There is something, and it is no placeholder.
fn is_text(value: &Personal) -> bool {
    let is_placeholder =
        crate::compliance::anonymize::Placeholder::ALL.into_iter().any(|one| one.stands_in(value));
    !is_placeholder && !value.expose_personal().trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compliance::export::Recipient;
    use crate::domain::DisclosureId;
    use crate::domain::conversation::{
        MediaStatus, SegmentKind, StoredParticipant, StoredRecording,
    };
    use crate::domain::{RecordingId, SegmentId};

    fn at(text: &str) -> Timestamp {
        Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn disclosure(at: Timestamp) -> Disclosure {
        Disclosure {
            id: DisclosureId::new(),
            at,
            recipient: Recipient::Authority,
            recipient_name: "court".into(),
            by: "analyst".to_owned(),
            conversations: Vec::new(),
            persons: Vec::new(),
            categories: vec![Category::Recordings],
            with_media: true,
        }
    }

    /// Planted faults: since when from the window alone; disclosures of all time in a report of
    /// twelve months; the conversation on the border left out; an emptied conversation counted.
    #[test]
    fn a_report_covers_its_window_and_tells_since_when() {
        let now = at("2026-03-31T12:00:00Z");
        assert_eq!(Window::Last12Months.from(now), Some(at("2025-03-31T12:00:00Z")));
        let leap = Window::Last12Months.from(at("2024-02-29T00:00:00Z"));
        assert_eq!(leap, Some(at("2023-02-28T00:00:00Z")));
        let facts = |time: &str, categories: &[Category]| ConversationFacts {
            conversation: ConversationId::new(),
            at: at(time),
            categories: categories.to_vec(),
        };
        let empty = facts("2020-01-01T00:00:00Z", &[]);
        let old = facts("2024-06-01T00:00:00Z", &[Category::Names]);
        let border = facts("2025-03-31T12:00:00Z", &[Category::Texts, Category::Names]);
        let new = facts("2026-01-01T00:00:00Z", &[Category::Names]);
        let all = [new.clone(), empty, border.clone(), old.clone()];
        let given =
            [disclosure(at("2026-01-02T00:00:00Z")), disclosure(at("2024-01-01T00:00:00Z"))];

        let count = |category, conversations| CategoryCount { category, conversations };
        let found = report(&all, &given, Window::Last12Months, now);
        assert_eq!((found.is_held, found.since), (true, Some(old.at)));
        assert_eq!(found.conversations, [border.conversation, new.conversation]);
        assert_eq!(found.categories, [count(Category::Names, 2), count(Category::Texts, 1)]);
        assert_eq!(found.disclosures, [given[0].clone()]);

        let found = report(&all, &given, Window::All, now);
        assert_eq!(found.categories, [count(Category::Names, 3), count(Category::Texts, 1)]);
        assert_eq!(found.disclosures, [given[1].clone(), given[0].clone()]);

        let found = report(&[], &[], Window::All, now);
        assert_eq!((found.is_held, found.since), (false, None));
    }

    /// Planted faults: placeholders counted; deleted media counted; another participant's number.
    #[test]
    fn categories_are_those_of_the_person_and_what_is_left() {
        let participant = |phone: &str| StoredParticipant {
            id: ParticipantId::new(),
            role: String::new(),
            name: None,
            phone: Some(phone.into()),
            email: None,
            ip: Some("0.0.0.0".into()),
            chat_address: Some("".into()),
        };
        let (ann, bob) = (participant("+12025550143"), participant("[anonphonenumber]"));
        let segment = StoredSegment {
            id: SegmentId::new(),
            external_id: String::new(),
            kind: SegmentKind::Call,
            started_at: None,
            ended_at: None,
            subject: Some("[anonconversationcontent]".into()),
            body: None,
            room: None,
            messages: Vec::new(),
            metadata: vec![("ANI".to_owned(), "[anonymized]".into())],
            recordings: vec![StoredRecording {
                id: RecordingId::new(),
                media: MediaStatus::Deleted,
            }],
        };
        let mut conversation = StoredConversation {
            id: ConversationId::new(),
            external_id: String::new(),
            started_at: None,
            participants: vec![ann.clone(), bob.clone()],
            segments: vec![segment],
        };
        assert_eq!(categories_of(&conversation, ann.id), [Category::Numbers]);
        assert_eq!(categories_of(&conversation, bob.id), []);
        assert_eq!(categories_of(&conversation, ParticipantId::new()), []);
        conversation.segments[0].recordings[0].media = MediaStatus::PlannedForDeletion;
        conversation.segments[0].body = Some("Dear Ann".into());
        assert_eq!(categories_of(&conversation, bob.id), [Category::Recordings, Category::Texts]);
    }
}
