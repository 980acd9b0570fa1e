//! Jibri: `metadata.json`, written when a meeting's recording stops.
//!
//! It names neither the recording nor a time: the recording lies in the same folder, which is
//! called after the session. Besides the meeting's URL and who was there it may hold anything that
//! whoever ordered the recording passed on, upload credentials among it. Source:
//! jitsi/jibri:src/main/kotlin/org/jitsi/jibri/service/impl/FileRecordingJibriService.kt,
//! selenium/JibriSelenium.kt.

use crate::domain::conversation::{ConversationInput, ParticipantInput, SegmentKind};

use super::address::{self, Party};
use super::facts::{Part, conversation, external_id, participant};
use super::fault::{FaultKind, Page, SidecarFault};
use super::generic::flatten;
use super::json::{self, Json};
use super::reader::Given;

/// Reads the metadata of one session.
///
/// # Errors
///
/// [`SidecarFault`].
pub(super) fn read(
    bytes: &[u8],
    given: &Given<'_>,
) -> Result<Vec<ConversationInput>, SidecarFault> {
    let page = Page::new(bytes, given.bytes_max)?;
    let json = json::parse(&page)?;
    let Some(whole) = json.object() else {
        return Err(page.fault(FaultKind::Unrecognized, 0));
    };
    let url = whole.first(&["meeting_url", "meetingUrl"]);
    let people = whole.get("participants");
    if url.is_none() && people.is_none() {
        return Err(page.fault(FaultKind::Unrecognized, 0));
    }
    let folder = given.path.folder();
    let folder = folder.as_ref().and_then(|path| std::str::from_utf8(path.expose_name()).ok());
    let session = whole.first(&["session_id", "sessionId"]).or(folder.filter(|name| is_id(name)));
    let id = external_id(session, page.text());
    let mut part = Part::new(given, SegmentKind::Call, id.clone());
    part.note("session_id", session.unwrap_or_default());
    if let Some(url) = url {
        // A token may stand behind the question mark.
        let url = url.split(['?', '#']).next().unwrap_or(url);
        part.note("meeting_url", url);
        let room = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        part.room(&address::decoded(room));
    }
    for member in &whole.members {
        if !TAKEN.contains(&member.key.as_str()) {
            flatten(&member.key, &member.value, &mut |key, value| part.note(key, value));
        }
    }
    let people = people.map_or(&[][..], Json::list);
    if people.len() > PARTICIPANTS_MAX {
        return Err(page.fault(FaultKind::TooMany, 0));
    }
    let people = people.iter().filter_map(somebody).collect();
    let segment = part.done().map_err(|kind| page.fault(kind, 0))?;
    Ok(vec![conversation(id, people, vec![segment])])
}

/// `{"user": {"id": …, "name": …}}` as it comes from the room's presence, or the user alone.
fn somebody(entry: &Json) -> Option<ParticipantInput> {
    let entry = entry.object()?;
    let user = entry.get("user").and_then(Json::object).unwrap_or(entry);
    let email = user.first(&["email"]).map(str::to_owned);
    let id = user.first(&["id", "identity"]).map(address::party).unwrap_or_default();
    let party = Party {
        name: user.first(&["name", "displayName", "display_name"]).and_then(address::name),
        email,
        chat_address: id.chat_address.or(id.phone),
        ..Party::default()
    };
    (!party.is_nobody()).then(|| participant("participant", party))
}

/// Jibri's session ids are short and plain. A folder of years and months is none.
fn is_id(name: &str) -> bool {
    (8..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && name.bytes().any(|b| b.is_ascii_alphabetic())
}

const TAKEN: &[&str] = &["meeting_url", "meetingUrl", "participants", "session_id", "sessionId"];
const PARTICIPANTS_MAX: usize = 10_000;
