//! BigBlueButton: `events.xml`, everything that happened in a meeting, whiteboard strokes included.
//!
//! Taken are who joined, what was written to all, when it began and ended, and which files were
//! recorded. The events are read one at a time. An event has a clock of its own that starts
//! anywhere; since 2.2 it also has `timestampUTC`, and before that the meeting's id ends with the
//! time it began. Source: bigbluebutton/bigbluebutton:docs/docs/development/recording.md,
//! record-and-playback/core/lib/recordandplayback/generators/events.rb,
//! record-and-playback/core/scripts/archive/archive.rb.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::domain::StorePath;
use crate::domain::conversation::{
    ConversationInput, MessageInput, ParticipantInput, Personal, SegmentKind,
};

use super::address::{self, Party};
use super::facts::{Part, conversation, external_id, participant};
use super::fault::{FaultKind, Page, SidecarFault};
use super::moment::{self, Unit};
use super::reader::Given;
use super::xml::{self, Element};

/// Reads the events of one meeting: one segment for what was said, and one for what was written,
/// if anything was.
///
/// # Errors
///
/// [`SidecarFault`].
pub(super) fn read(
    bytes: &[u8],
    given: &Given<'_>,
) -> Result<Vec<ConversationInput>, SidecarFault> {
    let page = Page::new(bytes, given.bytes_max)?;
    let mut meeting = Meeting::default();
    let root = xml::each_child(&page, |root, child| {
        meeting.begin(root);
        meeting.see(&child, given).map_err(|kind| page.fault(kind, child.at))
    })?;
    if root.name != "recording" || meeting.id.is_none() {
        return Err(page.fault(FaultKind::Unrecognized, root.at));
    }
    let input = meeting.told(&page, given).map_err(|kind| page.fault(kind, root.at))?;
    Ok(vec![input])
}

/// A meeting while its events are read.
#[derive(Default)]
struct Meeting {
    id: Option<String>,
    name: Option<String>,
    notes: Vec<(String, String)>,
    people: Vec<ParticipantInput>,
    /// Where somebody stands in `people`, by user id.
    places: HashMap<String, usize>,
    messages: Vec<MessageInput>,
    files: Vec<StorePath>,
    /// The first event by its own clock.
    first: Option<i64>,
    start: Option<Timestamp>,
    last: Option<Timestamp>,
    end: Option<Timestamp>,
}

impl Meeting {
    fn begin(&mut self, root: &Element) {
        if self.id.is_none() {
            self.id = root.attribute("meeting_id").map(str::to_owned);
        }
    }

    fn see(&mut self, child: &Element, given: &Given<'_>) -> Result<(), FaultKind> {
        match child.name.as_str() {
            "meeting" => {
                self.id = child.attribute("id").map(str::to_owned).or(self.id.take());
                self.name = child.attribute("name").map(str::to_owned).or(self.name.take());
                for key in ["externalId", "breakout"] {
                    let value = child.attribute(key).unwrap_or_default();
                    self.notes.push((key.to_owned(), value.to_owned()));
                }
            }
            "metadata" => {
                let name = child.attribute("meetingName").map(str::to_owned);
                self.name = self.name.take().or(name);
                let notes = child.attributes.iter().filter(|(key, _)| key != "meetingName");
                self.notes.extend(notes.cloned());
            }
            "event" => self.event(child, given)?,
            _ => {}
        }
        Ok(())
    }

    fn event(&mut self, event: &Element, given: &Given<'_>) -> Result<(), FaultKind> {
        let at = self.time(event)?;
        self.start = [self.start, at].into_iter().flatten().min();
        self.last = [self.last, at].into_iter().flatten().max();
        match event.attribute("eventname").unwrap_or_default() {
            "ParticipantJoinEvent" => self.join(event),
            "PublicChatEvent" if self.messages.len() == MESSAGES_MAX => Err(FaultKind::TooMany),
            "PublicChatEvent" => {
                let text = |name| Personal::from(event.words_of(name).unwrap_or_default());
                self.messages.push(MessageInput {
                    at,
                    from: text("sender"),
                    text: text("message"),
                });
                Ok(())
            }
            "EndAndKickAllEvent" => {
                self.end = at;
                Ok(())
            }
            "StartRecordingEvent" => self.file(event, "audio", given),
            "StartWebcamShareEvent" | "StartWebRTCShareEvent" => self.file(event, "video", given),
            "StartWebRTCDesktopShareEvent" | "DeskshareStartedEvent" => {
                self.file(event, "deskshare", given)
            }
            _ => Ok(()),
        }
    }

    fn time(&mut self, event: &Element) -> Result<Option<Timestamp>, FaultKind> {
        if let Some(text) = event.words_of("timestampUTC") {
            return moment::since_1970(text, Unit::Millis);
        }
        let Some(text) = event.attribute("timestamp") else { return Ok(None) };
        let clock: i64 = text.parse().map_err(|_| FaultKind::Number)?;
        let first = *self.first.get_or_insert(clock);
        let begun = self.id.as_deref().and_then(|id| id.rsplit('-').next()).unwrap_or_default();
        if begun.len() != 13 {
            return Ok(None);
        }
        let Some(begun) = moment::since_1970(begun, Unit::Millis)? else { return Ok(None) };
        let after = clock.checked_sub(first).and_then(|after| begun.as_millis().checked_add(after));
        after.map(|millis| Some(Timestamp::from_millis(millis))).ok_or(FaultKind::Number)
    }

    fn join(&mut self, event: &Element) -> Result<(), FaultKind> {
        let user = event.words_of("userId").unwrap_or_default().to_owned();
        if self.places.contains_key(&user) {
            return Ok(());
        }
        if self.people.len() == PARTICIPANTS_MAX {
            return Err(FaultKind::TooMany);
        }
        let role = match event.words_of("role") {
            Some("MODERATOR") => "moderator",
            Some("VIEWER") => "viewer",
            Some(_) | None => "participant",
        };
        let account = event.words_of("externalUserId").filter(|account| **account != user);
        let email = account.filter(|account| account.contains('@')).map(str::to_owned);
        let party = Party {
            name: event.words_of("name").and_then(address::name),
            chat_address: account.filter(|_| email.is_none()).map(str::to_owned),
            email,
            ..Party::default()
        };
        self.places.insert(user, self.people.len());
        self.people.push(participant(role, party));
        Ok(())
    }

    /// A file as the archive keeps it: in the folder of its kind, under the last part of its name;
    /// video also in one called after the meeting, where its recorder had one.
    fn file(&mut self, event: &Element, kind: &str, given: &Given<'_>) -> Result<(), FaultKind> {
        let Some(path) = event.words_of("filename") else { return Ok(()) };
        let mut parts = path.rsplit('/');
        let name = parts.next().unwrap_or(path);
        let parent = parts.next().filter(|parent| self.id.as_deref() == Some(parent));
        let place = match parent.filter(|_| kind == "video") {
            Some(meeting) => format!("{kind}/{meeting}/{name}"),
            None => format!("{kind}/{name}"),
        };
        if self.files.len() == FILES_MAX {
            return Err(FaultKind::TooMany);
        }
        self.files.extend(StorePath::join(given.path.folder().as_ref(), place.as_bytes()));
        Ok(())
    }

    fn told(self, page: &Page<'_>, given: &Given<'_>) -> Result<ConversationInput, FaultKind> {
        let id = external_id(self.id.as_deref(), page.text());
        let room = self.name.as_deref().unwrap_or_default();
        let end = self.end.or(self.last);
        let mut call = Part::new(given, SegmentKind::Call, id.clone());
        call.lasted(self.start, end, None)?;
        call.room(room);
        call.note("meeting_id", self.id.as_deref().unwrap_or_default());
        self.notes.iter().for_each(|(key, value)| call.note(key, value));
        self.files.into_iter().for_each(|file| call.recording_at(Some(file)));
        let mut segments = vec![call.done()?];
        if !self.messages.is_empty() {
            let chat_id = external_id(Some(&format!("{id}/chat")), page.text());
            let mut chat = Part::new(given, SegmentKind::Chat, chat_id);
            chat.lasted(self.start, end, None)?;
            chat.room(room);
            let mut chat = chat.done()?;
            chat.messages = self.messages;
            segments.push(chat);
        }
        Ok(conversation(id, self.people, segments))
    }
}

const MESSAGES_MAX: usize = 50_000;
const PARTICIPANTS_MAX: usize = 10_000;
const FILES_MAX: usize = 10_000;
