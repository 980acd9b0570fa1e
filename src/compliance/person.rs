//! A person: by which words they are known, and what is held about them.
//!
//! ```text
//! "+1 (202) 555-0143" ─▶ Identifier { Phone, "12025550143" } ─┬─ equal? the same person
//!                                                             └─ handle_parts ─▶ keyed handle
//! ```
//!
//! An [`Identifier`] compares equal however it was written. Its handle is a pseudonym that the key
//! manager makes: it is kept when the words are gone, so that an opt-out or an erasure still
//! reaches what comes later.
//!
//! # Invariants
//!
//! - A normalized form is stored by its handle: changing how one is made loses everybody.
//! - Names are compared but have no handle: many people have the same.

mod report;
pub mod value;

use crate::domain::ParticipantId;
use crate::domain::conversation::{Personal, StoredConversation, StoredParticipant};

pub use report::{
    Category, CategoryCount, ConversationFacts, PersonReport, Window, categories_of, report,
};

use super::fold::fold;
use value::{ValueKind, phone_digits, recognise, split_scheme};

/// What kind of word a person is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentifierKind {
    /// A telephone number.
    Phone,
    /// An email address.
    Email,
    /// An address in a chat system.
    ChatAddress,
    /// The id of the person in somebody else's system.
    ExternalId,
    /// A name.
    Name,
}

impl IdentifierKind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Phone, Self::Email, Self::ChatAddress, Self::ExternalId, Self::Name];

    /// The stored name, part of every handle: never change one.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Email => "email",
            Self::ChatAddress => "chat_address",
            Self::ExternalId => "external_id",
            Self::Name => "name",
        }
    }

    /// The kind of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// How numbers are written where the recorders stand. Without a plan `0711 123456` and
/// `+49 711 123456` are different people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberPlan {
    /// Country code, digits alone: `1`, `49`.
    pub country: Option<String>,
    /// What is dialled before a number of the same country: `0`, or `1` in North America.
    pub trunk_prefix: Option<String>,
    /// What is dialled before a country code: `00`, or `011` in North America. `00` if not given.
    pub international_prefix: Option<String>,
}

/// One word a person is known by, in its one form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier {
    kind: IdentifierKind,
    normalized: Personal,
}

impl Identifier {
    /// Brings `value` into its one form; `None` if nothing is left of it, or it is a placeholder.
    pub fn new(kind: IdentifierKind, value: &str, plan: &NumberPlan) -> Option<Self> {
        let value = value.trim();
        let is_placeholder =
            super::anonymize::Placeholder::ALL.iter().any(|one| one.as_str() == value);
        if value.is_empty() || is_placeholder {
            return None;
        }
        let normalized = match kind {
            IdentifierKind::Phone => phone(value, plan)?,
            IdentifierKind::Email => email(value)?,
            IdentifierKind::ChatAddress => chat_address(value),
            IdentifierKind::ExternalId => value.to_owned(),
            IdentifierKind::Name => name(value),
        };
        (!normalized.is_empty()).then(|| Self { kind, normalized: normalized.into() })
    }

    /// Everything that `value`, typed to name somebody, can mean: a number or an address if it looks
    /// like one; else an extension, a chat address, an id of another system, or a name.
    pub fn readings(value: &str, plan: &NumberPlan) -> Vec<Self> {
        use IdentifierKind as K;
        let kinds: &[K] = match recognise(value) {
            ValueKind::Phone => &[K::Phone],
            ValueKind::Email => &[K::Email],
            ValueKind::Chat => &[K::ChatAddress],
            ValueKind::Ipv4 | ValueKind::Ipv6 => &[],
            ValueKind::Plain => &[K::Phone, K::ChatAddress, K::ExternalId, K::Name],
        };
        kinds.iter().filter_map(|kind| Self::new(*kind, value, plan)).collect()
    }

    /// What kind of word.
    pub fn kind(&self) -> IdentifierKind {
        self.kind
    }

    /// Its one form. Personal data.
    pub fn normalized(&self) -> &Personal {
        &self.normalized
    }

    /// What goes into `KeyManager::handle` under [`HANDLE_CONTEXT`]: kind and normalized form.
    /// `None` for a name, which would catch strangers.
    pub fn handle_parts(&self) -> Option<[&[u8]; 2]> {
        match self.kind {
            IdentifierKind::Phone
            | IdentifierKind::Email
            | IdentifierKind::ChatAddress
            | IdentifierKind::ExternalId => {
                Some([self.kind.as_str().as_bytes(), self.normalized.expose_personal().as_bytes()])
            }
            IdentifierKind::Name => None,
        }
    }
}

/// A keyed handle of one identifier: what is kept of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonHandle(pub [u8; 32]);

/// Every word by which `participant` is known, each once. A value counts as what it is: a number
/// in a chat address is a number, and stays a chat address too.
pub fn identifiers_of(participant: &StoredParticipant, plan: &NumberPlan) -> Vec<Identifier> {
    use IdentifierKind as K;
    let mut found = Vec::new();
    let fields = [
        (K::Phone, &participant.phone),
        (K::Email, &participant.email),
        (K::ChatAddress, &participant.chat_address),
        (K::Name, &participant.name),
    ];
    for (kind, value) in fields {
        let Some(value) = value.as_ref().map(Personal::expose_personal) else { continue };
        let by_value = match recognise(value) {
            ValueKind::Phone => Some(K::Phone),
            ValueKind::Email => Some(K::Email),
            ValueKind::Chat => Some(K::ChatAddress),
            ValueKind::Plain => None,
            // A host is nobody, whatever field it stands in.
            ValueKind::Ipv4 | ValueKind::Ipv6 => continue,
        };
        found.extend(by_value.and_then(|kind| Identifier::new(kind, value, plan)));
        found.extend(Identifier::new(kind, value, plan));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Who is meant by a word that came with `conversation`, a consent's `person` say: everything the
/// participants of that number, address or name are known by; if there are none, the word itself as
/// a number, an address, or else an id of another system.
pub fn meant(conversation: &StoredConversation, word: &str, plan: &NumberPlan) -> Vec<Identifier> {
    let readings = Identifier::readings(word, plan);
    let mut found: Vec<_> = conversation
        .participants
        .iter()
        .map(|participant| identifiers_of(participant, plan))
        .filter(|known| known.iter().any(|one| readings.contains(one)))
        .flatten()
        .collect();
    if found.is_empty() {
        let is_plain = readings.iter().any(|one| one.kind == IdentifierKind::Name);
        let stands = |one: &Identifier| !is_plain || one.kind == IdentifierKind::ExternalId;
        found.extend(readings.into_iter().filter(stands));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The participants of `conversation` who are known by one of `identifiers`. A name counts
/// unless a number or an email address was asked for with it.
pub fn found_in(
    conversation: &StoredConversation,
    identifiers: &[Identifier],
    plan: &NumberPlan,
) -> Vec<ParticipantId> {
    let has_better = identifiers
        .iter()
        .any(|one| matches!(one.kind, IdentifierKind::Phone | IdentifierKind::Email));
    let is_asked = |one: &Identifier| {
        identifiers.contains(one) && !(has_better && one.kind == IdentifierKind::Name)
    };
    let is_found =
        |participant: &&StoredParticipant| identifiers_of(participant, plan).iter().any(is_asked);
    conversation.participants.iter().filter(is_found).map(|one| one.id).collect()
}

fn phone(value: &str, plan: &NumberPlan) -> Option<String> {
    let phone = phone_digits(value)?;
    let digits = phone.digits.as_str();
    let country = plan.country.as_deref().unwrap_or("");
    let international = plan.international_prefix.as_deref().unwrap_or("00");
    let of_country = |rest: &str| format!("{country}{rest}");
    let trunk = plan.trunk_prefix.as_deref().filter(|prefix| !prefix.is_empty());
    let number = if phone.is_international {
        digits.to_owned()
    } else if let Some(rest) =
        digits.strip_prefix(international).filter(|_| !international.is_empty())
    {
        rest.to_owned()
    } else if let Some(rest) = trunk.and_then(|trunk| digits.strip_prefix(trunk)) {
        of_country(rest)
    } else if digits.len() < SHORT_NUMBER_DIGITS || is_with_country(digits, country) {
        digits.to_owned()
    } else {
        of_country(digits)
    };
    if number.is_empty() {
        return None;
    }
    Some(match phone.extension.is_empty() {
        true => number,
        false => format!("{number}x{}", phone.extension),
    })
}

/// Eleven digits and more that begin with the country code were written with it.
fn is_with_country(digits: &str, country: &str) -> bool {
    digits.len() >= WITH_COUNTRY_DIGITS && digits.starts_with(country)
}

fn email(value: &str) -> Option<String> {
    let (_, value) = split_scheme(value);
    let inside = value.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>'));
    let address = inside.map_or(value, |(inside, _)| inside).trim();
    let address = address.split(['?', ';']).next().unwrap_or(address).trim_end_matches('.');
    let (user, host) = address.rsplit_once('@')?;
    (!user.is_empty() && !host.is_empty()).then(|| address.to_lowercase())
}

fn chat_address(value: &str) -> String {
    let (_, value) = split_scheme(value);
    let without_resource = match value.split_once('/') {
        Some((address, _)) if address.contains('@') => address,
        Some(_) | None => value,
    };
    without_resource.trim().to_lowercase()
}

fn name(value: &str) -> String {
    fold(value).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The context of persons' handles, for `KeyManager::handle`.
pub const HANDLE_CONTEXT: &str = "person";
/// Below that it is an extension or a service, the same in every country's plan.
const SHORT_NUMBER_DIGITS: usize = 7;
const WITH_COUNTRY_DIGITS: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(country: &str, trunk: &str, international: &str) -> NumberPlan {
        let some = |text: &str| Some(text.to_owned());
        NumberPlan {
            country: some(country),
            trunk_prefix: some(trunk),
            international_prefix: some(international),
        }
    }

    /// Planted faults: the trunk prefix kept; `00` kept; the extension dropped;
    /// upper case kept; the resource kept; the case of an external id dropped.
    #[test]
    fn however_it_is_written_it_is_one_form() {
        use IdentifierKind::{ChatAddress, Email, ExternalId, Name, Phone};
        let none = NumberPlan::default();
        let (us, de) = (plan("1", "1", "011"), plan("49", "0", "00"));
        let rows = [
            (Phone, &none, "+1 (202) 555-0143", Some("12025550143")),
            (Phone, &none, "1-202-555-0143", Some("12025550143")),
            (Phone, &none, "0012025550143", Some("12025550143")),
            (Phone, &none, "tel:+1-202-555-0143", Some("12025550143")),
            (Phone, &none, "sip:+12025550143@example.org;user=phone", Some("12025550143")),
            (Phone, &none, "+1 202 555 0143 ext. 12", Some("12025550143x12")),
            (Phone, &us, "(202) 555-0143", Some("12025550143")),
            (Phone, &us, "1 202 555 0143", Some("12025550143")),
            (Phone, &us, "011 49 711 123456", Some("49711123456")),
            (Phone, &us, "1001", Some("1001")),
            (Phone, &de, "0711 123456", Some("49711123456")),
            (Phone, &de, "+49 711 123456", Some("49711123456")),
            (Phone, &de, "0049711123456", Some("49711123456")),
            (Phone, &de, "49711123456", Some("49711123456")),
            (Phone, &none, "anonymous", None),
            (Phone, &none, "[anonphonenumber]", None),
            (Email, &none, " Ann@Example.ORG ", Some("ann@example.org")),
            (Email, &none, "Ann Example <Ann@example.org>", Some("ann@example.org")),
            (Email, &none, "mailto:ann@example.org?subject=x", Some("ann@example.org")),
            (Email, &none, "ann", None),
            (ChatAddress, &none, "xmpp:Ann@example.org/desk", Some("ann@example.org")),
            (ChatAddress, &none, "@Ann:example.org", Some("@ann:example.org")),
            (ChatAddress, &none, "a/b", Some("a/b")),
            (ExternalId, &none, " Ab-7 ", Some("Ab-7")),
            (Name, &none, "  Zo\u{eb}  EXAMPLE ", Some("zoe example")),
            (Name, &none, "   ", None),
        ];
        for (kind, plan, value, expected) in rows {
            let found = Identifier::new(kind, value, plan);
            let found = found.as_ref().map(|one| one.normalized().expose_personal());
            assert_eq!(found, expected, "{kind:?} {value:?}");
        }
    }

    /// Frozen: handles of everybody ever erased hang on it. Planted fault: the kind left out, so
    /// that an external id could be somebody's number.
    #[test]
    fn what_goes_into_a_handle_is_frozen() {
        let none = NumberPlan::default();
        let of = |kind, value| Identifier::new(kind, value, &none).unwrap();
        let phone = of(IdentifierKind::Phone, "+1 202 555 0143");
        assert_eq!(phone.handle_parts(), Some([&b"phone"[..], &b"12025550143"[..]]));
        let id = of(IdentifierKind::ExternalId, "12025550143");
        assert_eq!(id.handle_parts(), Some([&b"external_id"[..], &b"12025550143"[..]]));
        assert_eq!(of(IdentifierKind::Name, "Ann").handle_parts(), None);
        assert!(!format!("{phone:?}").contains("0143"));
        for kind in IdentifierKind::ALL {
            assert_eq!(IdentifierKind::from_name(kind.as_str()), Some(kind));
        }
    }

    /// Planted faults: the field alone asked; a name that finds people although a number was
    /// given with it; a plain word read as a name alone.
    #[test]
    fn a_person_is_found_under_every_word() {
        let none = NumberPlan::default();
        let participant = |phone: &str, chat: &str, name: &str| StoredParticipant {
            id: ParticipantId::new(),
            role: String::new(),
            name: Some(name.into()),
            phone: Some(phone.into()),
            email: None,
            ip: Some("192.0.2.7".into()),
            chat_address: Some(chat.into()),
        };
        let (ann, bob) = (
            participant("1001", "+1 202 555 0143", "Ann Example"),
            participant("+12025550199", "bob", "ann  example"),
        );
        let conversation = StoredConversation {
            id: crate::domain::ConversationId::new(),
            external_id: String::new(),
            started_at: None,
            participants: vec![ann.clone(), bob.clone()],
            segments: Vec::new(),
        };
        for (words, expected) in [
            (&["12025550143"][..], vec![ann.id]),
            (&["+1 202 555 0199"], vec![bob.id]),
            (&["Ann Example"], vec![ann.id, bob.id]),
            (&["BOB"], vec![bob.id]),
            (&["1001"], vec![ann.id]),
            (&["12025550143", "Ann Example"], vec![ann.id]),
            (&["ann@example.org"], vec![]),
            (&["192.0.2.7"], vec![]),
        ] {
            let asked: Vec<_> =
                words.iter().flat_map(|word| Identifier::readings(word, &none)).collect();
            assert_eq!(found_in(&conversation, &asked, &none), expected, "{words:?}");
        }
        for (word, expected) in [
            ("12025550199", vec!["12025550199", "bob", "ann example"]),
            ("+49 711 1234567", vec!["497111234567"]),
            ("Kd-77", vec!["Kd-77"]),
            ("bob", vec!["12025550199", "bob", "ann example"]),
            ("192.0.2.7", vec![]),
        ] {
            let found = meant(&conversation, word, &none);
            let found: Vec<_> =
                found.iter().map(|one| one.normalized().expose_personal()).collect();
            assert_eq!(found, expected, "{word}");
        }
    }
}
