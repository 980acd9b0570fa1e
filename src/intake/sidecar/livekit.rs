//! LiveKit egress: the manifest `EGRESS_ID.json` beside what was recorded.
//!
//! Times are nanoseconds since 1970. A signed link is a permission, so none is kept. Source:
//! livekit/egress:pkg/config/manifest.go.

use crate::domain::conversation::{ConversationInput, ParticipantInput, SegmentKind};

use super::address::{self, Party};
use super::facts::{Part, conversation, external_id, participant};
use super::fault::{FaultKind, Page, SidecarFault};
use super::json::{self, Json, Object};
use super::moment::{self, Unit};
use super::reader::Given;

/// Reads one manifest.
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
    let whole = json.object().filter(|whole| whole.first(&["egress_id"]).is_some());
    let whole = whole.ok_or_else(|| page.fault(FaultKind::Unrecognized, 0))?;
    let id = external_id(whole.first(&["egress_id"]), page.text());
    let mut part = Part::new(given, SegmentKind::Call, id.clone());
    let time = |key| match whole.scalar(key) {
        Some((text, at)) => {
            moment::since_1970(text, Unit::Nanos).map_err(|kind| page.fault(kind, at))
        }
        None => Ok(None),
    };
    let (start, end) = (time("started_at")?, time("ended_at")?);
    part.lasted(start, end, None).map_err(|kind| page.fault(kind, 0))?;
    part.room(whole.first(&["room_name"]).unwrap_or_default());
    for member in whole.members.iter().filter(|member| !TAKEN.contains(&member.key.as_str())) {
        part.note(&member.key, member.value.scalar().unwrap_or_default());
    }
    let lists = |key| whole.get(key).map_or(&[][..], Json::list).iter().filter_map(Json::object);
    let segments = lists("playlists").flat_map(|playlist| {
        let segments = playlist.get("segments").map_or(&[][..], Json::list);
        segments.iter().filter_map(Json::object)
    });
    for file in lists("files").chain(segments).chain(lists("images")) {
        part.recording(place(file));
    }
    for playlist in lists("playlists") {
        part.recording(place(playlist));
    }
    let people = whole.first(&["publisher_identity"]).map(publisher);
    let segment = part.done().map_err(|kind| page.fault(kind, 0))?;
    Ok(vec![conversation(id, people.into_iter().collect(), vec![segment])])
}

/// The name in the output; where only a local location is there, that.
fn place(file: &Object) -> &str {
    file.first(&["filename", "location"]).unwrap_or_default()
}

/// An identity is what the application calls somebody; of a caller by telephone the number, behind
/// `sip_`.
fn publisher(identity: &str) -> ParticipantInput {
    let caller = identity.strip_prefix("sip_").unwrap_or(identity);
    let party = match address::is_number(caller) && caller.len() < identity.len() {
        true => Party { phone: Some(caller.to_owned()), ..Party::default() },
        false => Party { chat_address: Some(identity.to_owned()), ..Party::default() },
    };
    participant("publisher", party)
}

const TAKEN: &[&str] =
    &["room_name", "started_at", "ended_at", "publisher_identity", "files", "playlists", "images"];
