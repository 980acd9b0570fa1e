//! rtpengine: what its two ways of recording write beside the media.
//!
//! The `.meta` file of the spool, while a call lasts, is a row of sections: a name, the length of
//! the content, the content. The text beside a pcap file, which comes when the call has ended, has
//! the path of the capture first, then a block for each session description, then times and the
//! caller's own metadata. That text is in the host's local time except for milliseconds since
//! 1970, which are taken where they are there. Source: sipwise/rtpengine:daemon/recording.c,
//! recording-daemon/metafile.c, and the output of 10.5.3.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::domain::StorePath;
use crate::domain::conversation::{ConversationInput, ParticipantInput, SegmentKind};

use super::address::{self, Party};
use super::facts::{Part, conversation, external_id, participant};
use super::fault::{FaultKind, Page, SidecarFault};
use super::generic::{Meaning, meaning};
use super::moment::{self, Unit};
use super::reader::Given;

/// Reads the metadata of one call.
///
/// # Errors
///
/// [`SidecarFault`].
pub(super) fn read(
    bytes: &[u8],
    given: &Given<'_>,
) -> Result<Vec<ConversationInput>, SidecarFault> {
    let page = Page::new(bytes, given.bytes_max)?;
    let input = if page.text().lines().any(|line| line.starts_with("SDP mode: ")) {
        capture(&page, given)
    } else {
        spooled(&page, given)
    };
    input.map(|input| vec![input])
}

/// One section of a `.meta` file.
struct Section<'t> {
    name: &'t str,
    content: &'t str,
    at: usize,
}

/// The sections of `page`; the last must be whole.
fn sections<'t>(page: &Page<'t>) -> Result<Vec<Section<'t>>, SidecarFault> {
    let text = page.text();
    let (mut at, mut sections) = (0, Vec::new());
    while at < text.len() {
        let cut = || page.fault(FaultKind::Syntax, at);
        let (name, rest) = text[at..].split_once('\n').ok_or_else(cut)?;
        let (length, rest) = rest.split_once(":\n").ok_or_else(cut)?;
        if name.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
            return Err(cut());
        }
        let length: usize = length.parse().map_err(|_| page.fault(FaultKind::Number, at))?;
        let content = rest.get(..length).ok_or_else(cut)?;
        let after = rest[length..].strip_prefix("\n\n").ok_or_else(cut)?;
        if sections.len() == SECTIONS_MAX {
            return Err(page.fault(FaultKind::TooMany, at));
        }
        sections.push(Section { name, content, at });
        at = text.len() - after.len();
    }
    Ok(sections)
}

/// What is known of one side of a call.
#[derive(Default)]
struct Side {
    label: String,
    /// True if it sent the offer.
    is_caller: bool,
    party: Party,
}

fn spooled(page: &Page<'_>, given: &Given<'_>) -> Result<ConversationInput, SidecarFault> {
    let sections = sections(page)?;
    // What is written again replaces what was there.
    let last = |name: &str| sections.iter().rfind(|section| section.name == name);
    let call = last("CALL-ID").ok_or_else(|| page.fault(FaultKind::Unrecognized, 0))?;
    let id = external_id(Some(call.content), page.text());
    let mut part = Part::new(given, SegmentKind::Call, id.clone());
    for name in ["CALL-ID", "PARENT", "RANDOM_TAG", "RECORDING_FILE", "RECORDING_PATH"] {
        part.note(name, last(name).map_or("", |section| section.content));
    }
    let mut sides: BTreeMap<u32, Side> = BTreeMap::new();
    for section in &sections {
        let words: Vec<&str> = section.name.split(' ').collect();
        match words[..] {
            ["TAG", number] => {
                part.note(section.name, section.content);
                side(&mut sides, number, page, section)?;
            }
            ["LABEL", number] => {
                section
                    .content
                    .trim()
                    .clone_into(&mut side(&mut sides, number, page, section)?.label);
            }
            // As the side wrote it: after, the addresses are those of the relay.
            ["SDP", "from", number, "before", mode] => {
                let side = side(&mut sides, number, page, section)?;
                side.is_caller |= mode == "offer";
                side.party.ip = connection(section.content).or(side.party.ip.take());
            }
            _ => {}
        }
    }
    let mut people = People::of(sides);
    for section in sections.iter().filter(|section| section.name.starts_with("METADATA")) {
        metadata(section.content, &mut part, &mut people);
    }
    let segment = part.done().map_err(|kind| page.fault(kind, 0))?;
    Ok(conversation(id, people.all, vec![segment]))
}

fn side<'s>(
    sides: &'s mut BTreeMap<u32, Side>,
    number: &str,
    page: &Page<'_>,
    section: &Section<'_>,
) -> Result<&'s mut Side, SidecarFault> {
    let number = number.parse().map_err(|_| page.fault(FaultKind::Number, section.at))?;
    if sides.len() == SIDES_MAX && !sides.contains_key(&number) {
        return Err(page.fault(FaultKind::TooMany, section.at));
    }
    Ok(sides.entry(number).or_default())
}

/// The sides of a call as participants. What the call is about names them `from` and `to`, so it
/// is kept which is which, whatever their roles are called.
#[derive(Default)]
struct People {
    all: Vec<ParticipantInput>,
    caller: Option<usize>,
    callee: Option<usize>,
}

impl People {
    fn of(sides: BTreeMap<u32, Side>) -> Self {
        let caller = sides.values().position(|side| side.is_caller);
        let callee = caller.filter(|_| sides.len() == 2).map(|caller| 1 - caller);
        let role = |(place, side): (usize, &Side)| match side.label.to_ascii_lowercase().as_str() {
            label @ ("caller" | "callee" | "agent" | "customer" | "supervisor") => label.to_owned(),
            _ if caller == Some(place) => "caller".to_owned(),
            _ if callee == Some(place) => "callee".to_owned(),
            _ => "participant".to_owned(),
        };
        let roles: Vec<String> = sides.values().enumerate().map(role).collect();
        let all = roles.iter().zip(sides.into_values());
        let all = all.map(|(role, side)| participant(role, side.party)).collect();
        Self { all, caller, callee }
    }

    /// Adds what `told` knows to the participant at `place`, or else to the one of its role.
    fn learn(&mut self, place: Option<usize>, told: ParticipantInput) {
        let place = place.or(self.all.iter().position(|somebody| somebody.role == told.role));
        if let Some(known) = place.and_then(|place| self.all.get_mut(place)) {
            known.name = told.name.or(known.name.take());
            known.phone = told.phone.or(known.phone.take());
            known.chat_address = told.chat_address.or(known.chat_address.take());
        } else if self.all.len() < SIDES_MAX {
            self.all.push(told);
        }
    }
}

/// The address of the first `c=IN IP4 …` line.
fn connection(sdp: &str) -> Option<String> {
    sdp.lines().find_map(|line| {
        let rest = line.strip_prefix("c=IN IP4 ").or(line.strip_prefix("c=IN IP6 "))?;
        address::ip(rest.split('/').next().unwrap_or(rest))
    })
}

/// `key:value|key:value` as the recording daemon takes it apart, or any text.
fn metadata(text: &str, part: &mut Part<'_>, people: &mut People) {
    let text = text.trim();
    if !text.contains(':') {
        return part.note("METADATA", text);
    }
    for pair in text.split('|') {
        let Some((key, value)) = pair.split_once(':') else { continue };
        let (place, role) = match meaning(key) {
            Some(Meaning::Caller) => (people.caller, "caller"),
            Some(Meaning::Callee) => (people.callee, "callee"),
            Some(Meaning::Agent) => (None, "agent"),
            _ => {
                part.note(key, value);
                continue;
            }
        };
        people.learn(place, participant(role, address::party(value)));
    }
}

fn capture(page: &Page<'_>, given: &Given<'_>) -> Result<ConversationInput, SidecarFault> {
    let text = page.text();
    let call = call_of(given.path);
    let id = external_id(call.as_deref(), text);
    let mut part = Part::new(given, SegmentKind::Call, id.clone());
    part.note("call-id", call.as_deref().unwrap_or_default());
    if let Some(path) = text.lines().next().filter(|first| first.starts_with('/')) {
        part.recording_at(beside_pcaps(given, path));
    }
    let mut told = Capture::default();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        told.line(line, given).map_err(|kind| page.fault(kind, at))?;
        at += line.len();
        if told.local_end.is_some() && told.tail == 0 {
            told.tail = at;
        }
    }
    if told.local_start.is_none() || told.tail == 0 {
        // It is renamed into place when all is written; without its end it was cut.
        return Err(page.fault(FaultKind::Syntax, text.len()));
    }
    let whole = |kind| page.fault(kind, 0);
    let (start, end) = (told.start.or(told.local_start), told.end.or(told.local_end));
    part.lasted(start, end, None).map_err(whole)?;
    let mut people = People::of(told.sides);
    metadata(&text[told.tail..], &mut part, &mut people);
    let segment = part.done().map_err(whole)?;
    Ok(conversation(id, people.all, vec![segment]))
}

/// The text beside a capture while it is read.
#[derive(Default)]
struct Capture {
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    local_start: Option<Timestamp>,
    local_end: Option<Timestamp>,
    /// The one that offered first, then the one that answered; a later offer may come from either.
    sides: BTreeMap<u32, Side>,
    label: String,
    /// The side whose session description is being read.
    now: Option<u32>,
    /// Where the caller's own metadata begins.
    tail: usize,
}

impl Capture {
    fn line(&mut self, line: &str, given: &Given<'_>) -> Result<(), FaultKind> {
        let value = |prefix: &str| line.strip_prefix(prefix).map(str::trim);
        if self.tail > 0 {
            // What follows is not rtpengine's.
        } else if let Some(text) = value("Label: ") {
            self.label = text.to_owned();
        } else if let Some(text) = value("Timestamp started ms: ") {
            let time = moment::since_1970(text, Unit::Millis)?;
            self.start = [self.start, time].into_iter().flatten().min();
        } else if let Some(mode) = value("SDP mode: ") {
            let number = u32::from(mode != "offer");
            self.now = (!self.sides.contains_key(&number)).then_some(number);
            let label = std::mem::take(&mut self.label);
            if self.now.is_some() {
                let party = Party::default();
                self.sides.insert(number, Side { label, is_caller: number == 0, party });
            }
        } else if let Some(text) = line.strip_prefix("o=") {
            // The connection lines are the relay's by now; who offered still stands here.
            let address = text.split_whitespace().nth(5).and_then(address::ip);
            if let Some(side) = self.now.and_then(|now| self.sides.get_mut(&now)) {
                side.party.ip = address.filter(|ip| !UNTELLING.contains(&ip.as_str()));
            }
        } else if let Some(text) = value("Timestamp terminated ms(first monologue): ") {
            self.end = moment::since_1970(text, Unit::Millis)?;
        } else if let Some(text) = value("call start time: ") {
            self.local_start = moment::dated(text, given.zone)?;
        } else if let Some(text) = value("call end time: ") {
            self.local_end = moment::dated(text, given.zone)?;
        }
        Ok(())
    }
}

/// The call id in `[rtpengine-meta-]CALL-ID-TAG.txt`, which is written as in a URI.
fn call_of(path: &StorePath) -> Option<String> {
    let name = std::str::from_utf8(path.expose_name()).ok()?;
    let name = name.strip_prefix("rtpengine-meta-").unwrap_or(name);
    let (stem, _) = name.rsplit_once('.')?;
    let (call, tag) = stem.rsplit_once('-')?;
    let is_tag = tag.len() == 16 && tag.bytes().all(|b| b.is_ascii_hexdigit());
    is_tag.then(|| address::decoded(call).into_owned())
}

/// The capture lies in `pcaps` beside the `metadata` of the sidecar, whatever the spool is called.
fn beside_pcaps(given: &Given<'_>, capture: &str) -> Option<StorePath> {
    let name = capture.trim().rsplit('/').next()?;
    let folder = given.path.folder();
    match &folder {
        Some(own) if own.expose_name() == b"metadata" => {
            let pcaps = StorePath::join(own.folder().as_ref(), b"pcaps")?;
            StorePath::join(Some(&pcaps), name.as_bytes())
        }
        Some(_) | None => StorePath::join(folder.as_ref(), name.as_bytes()),
    }
}

const SECTIONS_MAX: usize = 50_000;
const SIDES_MAX: usize = 100;
/// What browsers write instead of their address.
const UNTELLING: &[&str] = &["127.0.0.1", "0.0.0.0", "::1", "::"];
