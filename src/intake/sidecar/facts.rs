//! What a reader puts a conversation together from.
//!
//! Rules that hold for every recorder: a secret goes nowhere, an empty text is no text, each key
//! of the metadata is there once, an id is short and printable, nothing ends before it begins.

use std::collections::HashSet;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::domain::StorePath;
use crate::domain::conversation::{
    ConversationInput, ParticipantInput, Personal, SegmentInput, SegmentKind,
};

use super::address::Party;
use super::fault::FaultKind;
use super::reader::Given;
use super::secrets::is_telling;

/// A segment while it is put together.
pub(super) struct Part<'g> {
    given: &'g Given<'g>,
    segment: SegmentInput,
    keys: HashSet<String>,
    /// Why it will not be done.
    refused: Option<FaultKind>,
}

impl<'g> Part<'g> {
    /// An empty segment called `external_id`, which [`external_id`] made.
    pub(super) fn new(given: &'g Given<'g>, kind: SegmentKind, external_id: String) -> Self {
        let segment = SegmentInput {
            external_id,
            kind,
            started_at: None,
            ended_at: None,
            subject: None,
            body: None,
            room: None,
            messages: Vec::new(),
            metadata: Vec::new(),
            recordings: Vec::new(),
        };
        Self { given, segment, keys: HashSet::new(), refused: None }
    }

    /// When it was. Where the end is not known, the start and how long it `lasted`.
    ///
    /// # Errors
    ///
    /// `Negative`.
    pub(super) fn lasted(
        &mut self,
        start: Option<Timestamp>,
        end: Option<Timestamp>,
        lasted: Option<Duration>,
    ) -> Result<(), FaultKind> {
        let end = end.or(start.zip(lasted).map(|(start, lasted)| start.plus(lasted)));
        if start.zip(end).is_some_and(|(start, end)| end < start) {
            return Err(FaultKind::Negative);
        }
        (self.segment.started_at, self.segment.ended_at) = (start, end);
        Ok(())
    }

    /// Keeps `value` under the recorder's own name for it, unless it is empty, a secret, or was
    /// noted before.
    pub(super) fn note(&mut self, key: &str, value: &str) {
        let (key, value) = (key.trim(), value.trim());
        if key.is_empty() || value.is_empty() || self.refused.is_some() || is_telling(key, value) {
            return;
        }
        if key.len() > KEY_BYTES_MAX {
            self.refused = Some(FaultKind::TooLong);
        } else if self.keys.len() == METADATA_MAX && !self.keys.contains(key) {
            self.refused = Some(FaultKind::TooMany);
        } else if self.keys.insert(key.to_owned()) {
            self.segment.metadata.push((key.to_owned(), Personal::from(value)));
        }
    }

    /// The room it was in.
    pub(super) fn room(&mut self, room: &str) {
        self.segment.room = Some(room.trim()).filter(|room| !room.is_empty()).map(Personal::from);
    }

    /// A recording as the recorder names it, if that can lie in the store.
    pub(super) fn recording(&mut self, name: &str) {
        let place = recording(self.given, name);
        self.recording_at(place);
    }

    /// A recording at a place that was worked out.
    pub(super) fn recording_at(&mut self, place: Option<StorePath>) {
        let known = &mut self.segment.recordings;
        let Some(place) = place.filter(|_| self.refused.is_none()) else { return };
        if known.len() == RECORDINGS_MAX {
            self.refused = Some(FaultKind::TooMany);
        } else if !known.contains(&place) {
            known.push(place);
        }
    }

    /// The segment.
    ///
    /// # Errors
    ///
    /// `TooMany` or `TooLong` if more was noted than anybody writes.
    pub(super) fn done(self) -> Result<SegmentInput, FaultKind> {
        self.refused.map_or(Ok(self.segment), Err)
    }
}

/// One conversation of `segments`, begun when the first of them was.
pub(super) fn conversation(
    external_id: String,
    participants: Vec<ParticipantInput>,
    segments: Vec<SegmentInput>,
) -> ConversationInput {
    let started_at = segments.iter().filter_map(|segment| segment.started_at).min();
    ConversationInput {
        external_id,
        started_at,
        participants,
        segments,
        ..ConversationInput::default()
    }
}

/// Somebody in `role`. A participant of whom nothing else is known still took part.
pub(super) fn participant(role: &str, party: Party) -> ParticipantInput {
    let personal = |text: Option<String>| text.filter(|text| !text.is_empty()).map(Personal::new);
    ParticipantInput {
        role: role.to_owned(),
        name: personal(party.name),
        phone: personal(party.phone),
        email: personal(party.email),
        ip: personal(party.ip),
        chat_address: personal(party.chat_address),
    }
}

/// `text` as an id: itself if it is short and printable, else a digest. Where the recorder gave
/// none, a digest of all of `content`, so that the same sidecar has the same id again.
pub(super) fn external_id(text: Option<&str>, content: &str) -> String {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    match text {
        Some(text) if text.len() <= ID_BYTES_MAX && !text.contains(char::is_control) => {
            text.to_owned()
        }
        Some(text) => digest(text),
        None => digest(content),
    }
}

fn digest(text: &str) -> String {
    use std::fmt::Write;
    let digest = Sha256::digest(text.as_bytes());
    digest[..16].iter().fold("sha256-".to_owned(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

/// Where `name` lies in the store.
///
/// A path from the recorder's root is cut at the store's; where that is not known, or the store
/// was moved, the name alone is looked for beside the sidecar, as is a name without folders. Any
/// other path is one from the root of the store.
fn recording(given: &Given<'_>, name: &str) -> Option<StorePath> {
    let name = name.trim();
    let name = name.strip_prefix("file://").unwrap_or(name);
    if name.contains("://") {
        return None;
    }
    let folder = given.path.folder();
    let beside = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        StorePath::join(folder.as_ref(), name.as_bytes())
    };
    if name.starts_with('/') {
        let inside = given.root.and_then(|root| std::path::Path::new(name).strip_prefix(root).ok());
        let inside = inside.and_then(|path| path.to_str()).and_then(StorePath::new);
        return inside.or_else(|| beside(name));
    }
    if name.contains('/') { StorePath::new(name) } else { beside(name) }
}

/// As the contract of [`ConversationInput`] has it.
const ID_BYTES_MAX: usize = 200;
pub(super) const KEY_BYTES_MAX: usize = 200;
const METADATA_MAX: usize = 1_000;
const RECORDINGS_MAX: usize = 5_000;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::tz::TimeZone;

    use super::*;

    static UTC: TimeZone = TimeZone::UTC;

    fn store_path(text: &str) -> StorePath {
        StorePath::new(text).unwrap()
    }

    #[test]
    fn recordings_are_looked_for_inside_the_store_only() {
        let path = store_path("2026/11/call.json");
        let mut given = Given::new(&path, &UTC);
        given.root = Some(Path::new("/var/spool/monitor"));
        for (name, place) in [
            ("call.wav", Some("2026/11/call.wav")),
            ("/var/spool/monitor/2026/10/x.wav", Some("2026/10/x.wav")),
            ("file:///var/spool/monitor/x.wav", Some("x.wav")),
            // Another root on the recorder's host.
            ("/mnt/elsewhere/call.wav", Some("2026/11/call.wav")),
            // Planted fault: a prefix of bytes and not of folders.
            ("/var/spool/monitoring/x.wav", Some("2026/11/x.wav")),
            ("2026/12/y.wav", Some("2026/12/y.wav")),
            ("/var/spool/monitor/../../shadow", Some("2026/11/shadow")),
            ("../../etc/passwd", None),
            ("..", None),
            ("", None),
            ("s3://bucket/x.wav", None),
        ] {
            assert_eq!(recording(&given, name), place.map(store_path), "{name}");
        }
    }

    #[test]
    fn an_id_is_short_and_printable_or_a_digest() {
        assert_eq!(external_id(Some(" 1705311012.7 "), ""), "1705311012.7");
        let long = "x".repeat(201);
        for (text, content) in [(Some(long.as_str()), ""), (Some("a\nb"), ""), (None, "abc")] {
            let id = external_id(text, content);
            assert_eq!((&id[..7], id.len()), ("sha256-", 39), "{id}");
            assert_eq!(id, external_id(text, content));
        }
        // FIPS 180-2, appendix B.1.
        assert_eq!(external_id(None, "abc"), "sha256-ba7816bf8f01cfea414140de5dae2223");
    }

    #[test]
    fn notes_are_kept_once_and_never_a_secret() {
        let path = store_path("a.json");
        let given = Given::new(&path, &UTC);
        let mut part = Part::new(&given, SegmentKind::Call, "1".to_owned());
        for (key, value) in [
            ("uuid", " u-1 "),
            ("uuid", "u-2"),
            ("empty", " "),
            // Planted fault: only whole keys compared, or only keys.
            ("upload.credentials", "AKIA0123"),
            ("sip_auth_password", "hunter2"),
            ("url", "https://files.example.org/x?X-Amz-Signature=0123456789abcdef"),
        ] {
            part.note(key, value);
        }
        let segment = part.done().unwrap();
        let kept: Vec<_> =
            segment.metadata.iter().map(|(k, v)| (k.as_str(), v.expose_personal())).collect();
        assert_eq!(kept, [("uuid", "u-1")]);
        let mut part = Part::new(&given, SegmentKind::Call, "1".to_owned());
        (0..=METADATA_MAX).for_each(|n| part.note(&n.to_string(), "x"));
        assert_eq!(part.done(), Err(FaultKind::TooMany));
    }
}
