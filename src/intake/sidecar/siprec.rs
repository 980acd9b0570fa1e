//! SIPREC: the metadata of a recording session, RFC 7865, as any recording server keeps it.
//!
//! Sessions of one communication session group are one conversation, one segment each. Who took
//! part in which is told by associations; a participant without any took part in all. The older
//! drafts called ids `id` and `session`, and some clients still do. Elements of other namespaces
//! are a vendor's and are passed over.

use std::collections::HashSet;

use crate::clock::Timestamp;
use crate::domain::conversation::{ConversationInput, ParticipantInput, SegmentInput, SegmentKind};

use super::address::{self, Party};
use super::facts::{Part, conversation, external_id, participant};
use super::fault::{FaultKind, Page, SidecarFault};
use super::moment;
use super::reader::Given;
use super::xml::{self, Element};

/// What the root must be bound to.
pub(super) const NAMESPACE: &str = "urn:ietf:params:xml:ns:recording:1";

/// Reads one metadata document, complete or partial.
///
/// # Errors
///
/// [`SidecarFault`].
pub(super) fn read(
    bytes: &[u8],
    given: &Given<'_>,
) -> Result<Vec<ConversationInput>, SidecarFault> {
    let page = Page::new(bytes, given.bytes_max)?;
    let mut told = Told::default();
    let root = xml::each_child(&page, |_, child| {
        if &*child.space == NAMESPACE {
            told.take(child);
        }
        match told.count() > PARTS_MAX {
            true => Err(page.fault(FaultKind::TooMany, 0)),
            false => Ok(()),
        }
    })?;
    if root.name != "recording" || &*root.space != NAMESPACE {
        return Err(page.fault(FaultKind::Unrecognized, root.at));
    }
    if let Some(id) = root.attribute("session")
        && told.sessions.is_empty()
    {
        // The one session of some clients is an attribute.
        told.sessions.push(Element {
            name: "session".to_owned(),
            space: NAMESPACE.into(),
            attributes: vec![("session_id".to_owned(), id.to_owned())],
            ..Element::default()
        });
    }
    if told.sessions.is_empty() {
        return Err(page.fault(FaultKind::Unrecognized, root.at));
    }
    told.conversations(&page, given)
}

/// The parts of one document.
#[derive(Default)]
struct Told {
    sessions: Vec<Element>,
    participants: Vec<Element>,
    streams: Vec<Element>,
    /// Of a participant with a session.
    presences: Vec<Element>,
}

impl Told {
    fn take(&mut self, child: Element) {
        match child.name.as_str() {
            "session" => self.sessions.push(child),
            "participant" => self.participants.push(child),
            "stream" => self.streams.push(child),
            "participantsessionassoc" => self.presences.push(child),
            _ => {}
        }
    }

    fn count(&self) -> usize {
        self.sessions.len() + self.participants.len() + self.streams.len() + self.presences.len()
    }

    fn conversations(
        &self,
        page: &Page<'_>,
        given: &Given<'_>,
    ) -> Result<Vec<ConversationInput>, SidecarFault> {
        let mut groups: Vec<(String, Vec<&Element>)> = Vec::new();
        let mut seen = HashSet::new();
        for session in &self.sessions {
            let id = session_id(session)
                .ok_or_else(|| page.fault(FaultKind::Unrecognized, session.at))?;
            if !seen.insert(id) {
                return Err(page.fault(FaultKind::DuplicateKey, session.at));
            }
            let whole = external_id(session.words_of("group-ref").or(Some(id)), page.text());
            match groups.iter_mut().find(|(known, _)| *known == whole) {
                Some((_, sessions)) => sessions.push(session),
                None => groups.push((whole, vec![session])),
            }
        }
        let mut conversations = Vec::new();
        for (id, sessions) in groups {
            let mut segments = Vec::new();
            for session in &sessions {
                segments.push(self.segment(session, page, given)?);
            }
            conversations.push(conversation(id, self.people(&sessions), segments));
        }
        Ok(conversations)
    }

    fn segment(
        &self,
        session: &Element,
        page: &Page<'_>,
        given: &Given<'_>,
    ) -> Result<SegmentInput, SidecarFault> {
        let id = session_id(session).unwrap_or_default();
        let mut part = Part::new(given, SegmentKind::Call, external_id(Some(id), page.text()));
        let times = |name: &str, of: &[&Element]| -> Result<Vec<Timestamp>, SidecarFault> {
            let found = of.iter().filter_map(|element| element.child(name));
            let read = |element: &Element| {
                moment::dated(element.text.trim(), given.zone)
                    .map_err(|kind| page.fault(kind, element.at))
            };
            found.map(read).filter_map(Result::transpose).collect()
        };
        let own: Vec<&Element> = self.presences_of(id).collect();
        let start = times("start-time", &[session])?.pop();
        let end = times("stop-time", &[session])?.pop();
        let start = start.or(times("associate-time", &own)?.into_iter().min());
        // Whoever has not left yet is still there: then nobody knows the end.
        let left = times("disassociate-time", &own)?;
        let end = end.or(left.iter().max().copied().filter(|_| left.len() == own.len()));
        part.lasted(start, end, None).map_err(|kind| page.fault(kind, session.at))?;
        part.note("session_id", id);
        for name in ["group-ref", "sipSessionID", "reason"] {
            part.note(name, session.words_of(name).unwrap_or_default());
        }
        let is_own = |stream: &&Element| stream.attribute("session_id").is_none_or(|of| of == id);
        let labels = self.streams.iter().filter(is_own);
        let labels =
            labels.filter_map(|stream| stream.words_of("label").or(stream.attribute("label")));
        part.note("label", &labels.collect::<Vec<_>>().join(", "));
        part.done().map_err(|kind| page.fault(kind, session.at))
    }

    fn presences_of<'s>(&'s self, session: &'s str) -> impl Iterator<Item = &'s Element> {
        self.presences
            .iter()
            .filter(move |presence| presence.attribute("session_id") == Some(session))
    }

    /// Those who are associated with one of `sessions`, or with none at all.
    fn people(&self, sessions: &[&Element]) -> Vec<ParticipantInput> {
        let of = |presence: &&Element| presence.attribute("participant_id").map(str::to_owned);
        let anywhere: HashSet<String> = self.presences.iter().filter_map(|p| of(&p)).collect();
        let here: HashSet<String> = sessions
            .iter()
            .filter_map(|session| session_id(session))
            .flat_map(|id| self.presences_of(id).filter_map(|presence| of(&presence)))
            .collect();
        let ids = sessions.iter().filter_map(|session| session_id(session));
        let ids: HashSet<&str> = ids.collect();
        let took_part = |somebody: &&Element| {
            let id = somebody.attribute("participant_id").or(somebody.attribute("id"));
            let named = id.is_some_and(|id| here.contains(id));
            let is_free = !id.is_some_and(|id| anywhere.contains(id));
            let of = somebody.attribute("session_id").or(somebody.attribute("session"));
            named || (is_free && of.is_none_or(|of| ids.contains(of)))
        };
        self.participants.iter().filter(took_part).map(somebody).collect()
    }
}

fn session_id(session: &Element) -> Option<&str> {
    ["session_id", "session", "id"].iter().find_map(|name| session.attribute(name))
}

/// The first name that says anything, and every address.
fn somebody(element: &Element) -> ParticipantInput {
    let mut party = Party::default();
    for identity in element.children.iter().filter(|child| child.name == "nameID") {
        let shown = identity.words_of("name").and_then(address::name);
        let told = identity.attribute("aor").or(identity.words_of("aor")).map(address::party);
        party = party.or(Party { name: shown, ..Party::default() }).or(told.unwrap_or_default());
    }
    let shown = element.attribute("name").or(element.words_of("name")).and_then(address::name);
    let told = element.words_of("aor").map(address::party).unwrap_or_default();
    participant("participant", party.or(Party { name: shown, ..Party::default() }).or(told))
}

const PARTS_MAX: usize = 1_000;
