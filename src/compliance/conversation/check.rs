//! What of an input is accepted: limits, ids that are ids, each key once.

use std::collections::HashSet;

use crate::compliance::consent::Purpose;
use crate::domain::conversation::{ConversationInput, ParticipantInput, Personal, SegmentInput};

/// Something in an input that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}")]
pub struct InputFault {
    /// Where, as `segments[2].messages[0].text`. Never what stands there.
    pub at: String,
    /// What is wrong.
    pub what: &'static str,
}

/// Checks `input`.
///
/// # Errors
///
/// Every fault, at most [`FAULTS_MAX`]; nothing of the conversation is to be stored then.
pub fn check(input: &ConversationInput) -> Result<(), Vec<InputFault>> {
    let mut faults = Faults(Vec::new());
    faults.id("id", &input.external_id);
    faults.count("participants", input.participants.len(), PARTICIPANTS_MAX);
    faults.count("segments", input.segments.len(), SEGMENTS_MAX);
    faults.count("tags", input.tags.len(), TAGS_MAX);
    faults.count("consents", input.consents.len(), CONSENTS_MAX);
    for (place, participant) in input.participants.iter().enumerate() {
        faults.participant(&format!("participants[{place}]"), participant);
    }
    let mut ids = HashSet::new();
    for (place, segment) in input.segments.iter().enumerate() {
        let at = format!("segments[{place}]");
        faults.that(ids.insert(&segment.external_id), &at, "id", "is the id of another segment");
        faults.segment(&at, segment);
    }
    for (place, tag) in input.tags.iter().enumerate() {
        faults.id(&format!("tags[{place}]"), tag);
    }
    for (place, consent) in input.consents.iter().enumerate() {
        let at = format!("consents[{place}]");
        faults.that(!consent.person.is_empty(), &at, "person", "is empty");
        faults.length(&at, "person", &consent.person, FIELD_BYTES_MAX);
        let is_purpose = Purpose::from_name(&consent.purpose).is_some();
        faults.that(is_purpose, &at, "purpose", "is empty, too long or has control characters");
    }
    if faults.0.is_empty() { Ok(()) } else { Err(faults.0) }
}

struct Faults(Vec<InputFault>);

impl Faults {
    fn participant(&mut self, at: &str, participant: &ParticipantInput) {
        let is_role = participant.role.len() <= ID_BYTES_MAX && !has_controls(&participant.role);
        self.that(is_role, at, "role", "is longer than 200 bytes or has control characters");
        for (name, value) in [
            ("name", &participant.name),
            ("phone", &participant.phone),
            ("email", &participant.email),
            ("ip", &participant.ip),
            ("chat_address", &participant.chat_address),
        ] {
            value.iter().for_each(|value| self.length(at, name, value, FIELD_BYTES_MAX));
        }
    }

    fn segment(&mut self, at: &str, segment: &SegmentInput) {
        self.id(&format!("{at}.id"), &segment.external_id);
        let is_forward =
            segment.started_at.zip(segment.ended_at).is_none_or(|(from, to)| from <= to);
        self.that(is_forward, at, "ended_at", "is before it began");
        self.count(&format!("{at}.messages"), segment.messages.len(), MESSAGES_MAX);
        self.count(&format!("{at}.metadata"), segment.metadata.len(), METADATA_MAX);
        self.count(&format!("{at}.recordings"), segment.recordings.len(), RECORDINGS_MAX);
        for (name, value) in
            [("subject", &segment.subject), ("body", &segment.body), ("room", &segment.room)]
        {
            value.iter().for_each(|value| self.length(at, name, value, TEXT_BYTES_MAX));
        }
        for (place, message) in segment.messages.iter().enumerate() {
            let at = format!("{at}.messages[{place}]");
            self.length(&at, "from", &message.from, FIELD_BYTES_MAX);
            self.length(&at, "text", &message.text, TEXT_BYTES_MAX);
        }
        let mut keys = HashSet::new();
        for (place, (key, value)) in segment.metadata.iter().enumerate() {
            let at = format!("{at}.metadata[{place}]");
            self.id(&format!("{at}.key"), key);
            self.that(keys.insert(key), &at, "key", "stands there twice");
            self.length(&at, "value", value, TEXT_BYTES_MAX);
        }
    }

    fn id(&mut self, at: &str, id: &str) {
        if id.trim().is_empty() {
            self.add(at.to_owned(), "is empty");
        } else if id.len() > ID_BYTES_MAX {
            self.add(at.to_owned(), "is longer than 200 bytes");
        } else if has_controls(id) {
            self.add(at.to_owned(), "has control characters");
        }
    }

    fn count(&mut self, at: &str, count: usize, max: usize) {
        if count > max {
            self.add(at.to_owned(), "is a list of too many");
        }
    }

    fn length(&mut self, at: &str, name: &str, value: &Personal, bytes_max: usize) {
        self.that(value.len_bytes() <= bytes_max, at, name, "is too long");
        let has_zero = value.expose_personal().contains('\0');
        self.that(!has_zero, at, name, "has a zero character");
    }

    fn that(&mut self, is_fine: bool, at: &str, name: &str, what: &'static str) {
        if !is_fine {
            self.add(format!("{at}.{name}"), what);
        }
    }

    fn add(&mut self, at: String, what: &'static str) {
        if self.0.len() < FAULTS_MAX {
            self.0.push(InputFault { at, what });
        }
    }
}

fn has_controls(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Most faults that are told of one input.
pub const FAULTS_MAX: usize = 20;
const ID_BYTES_MAX: usize = 200;
const FIELD_BYTES_MAX: usize = 1_000;
const TEXT_BYTES_MAX: usize = 1 << 20;
const PARTICIPANTS_MAX: usize = 1_000;
const SEGMENTS_MAX: usize = 1_000;
const MESSAGES_MAX: usize = 10_000;
const METADATA_MAX: usize = 500;
const RECORDINGS_MAX: usize = 100;
const TAGS_MAX: usize = 100;
const CONSENTS_MAX: usize = 1_000;
