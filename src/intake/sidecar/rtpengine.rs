//! rtpengine: what its two ways of recording write beside the media.
//!
//! The `.meta` file of the spool, while a call lasts, is a row of sections: a name, the length of
//! the content, the content. The text beside a pcap file, which comes when the call has ended, has
//! the path of the capture first, then a block for each session description, then times and the
//! caller's own metadata. That text is in the host's local time except for milliseconds since
//! 1970, which are taken where they are there. Source: sipwise/rtpengine:daemon/recording.c,
//! recording-daemon/metafile.c.

use std::collections::BTreeMap;

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
    let mut people = people_of(sides);
    for section in sections.iter().filter(|section| section.name.starts_with("METADATA")) {
        metadata(section.content, &mut part, &mut people);
    }
    let segment = part.done().map_err(|kind| page.fault(kind, 0))?;
    Ok(conversation(id, people, vec![segment]))
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

fn people_of(sides: BTreeMap<u32, Side>) -> Vec<ParticipantInput> {
    let knows_caller = sides.values().any(|side| side.is_caller);
    let role = |side: &Side| match side.label.to_ascii_lowercase().as_str() {
        label @ ("caller" | "callee" | "agent" | "customer" | "supervisor") => label.to_owned(),
        _ if side.is_caller => "caller".to_owned(),
        _ if knows_caller && sides.len() == 2 => "callee".to_owned(),
        _ => "participant".to_owned(),
    };
    let roles: Vec<String> = sides.values().map(role).collect();
    roles
        .iter()
        .zip(sides.into_values())
        .map(|(role, side)| participant(role, side.party))
        .collect()
}

/// The address of the first `c=IN IP4 …` line.
fn connection(sdp: &str) -> Option<String> {
    sdp.lines().find_map(|line| {
        let rest = line.strip_prefix("c=IN IP4 ").or(line.strip_prefix("c=IN IP6 "))?;
        address::ip(rest.split('/').next().unwrap_or(rest))
    })
}

/// `key:value|key:value` as the recording daemon takes it apart, or any text.
fn metadata(text: &str, part: &mut Part<'_>, people: &mut Vec<ParticipantInput>) {
    let text = text.trim();
    if !text.contains(':') {
        return part.note("METADATA", text);
    }
    for pair in text.split('|') {
        let Some((key, value)) = pair.split_once(':') else { continue };
        let role = match meaning(key) {
            Some(Meaning::Caller) => "caller",
            Some(Meaning::Callee) => "callee",
            Some(Meaning::Agent) => "agent",
            _ => {
                part.note(key, value);
                continue;
            }
        };
        let told = participant(role, address::party(value));
        match people.iter().position(|somebody| somebody.role == role) {
            Some(place) => {
                let known = &mut people[place];
                known.name = told.name.or(known.name.take());
                known.phone = told.phone.or(known.phone.take());
                known.chat_address = told.chat_address.or(known.chat_address.take());
            }
            None if people.len() < SIDES_MAX => people.push(told),
            None => {}
        }
    }
}

fn capture(page: &Page<'_>, given: &Given<'_>) -> Result<ConversationInput, SidecarFault> {
    let text = page.text();
    let first = text.lines().next().unwrap_or_default();
    let call = call_of(given.path);
    let id = external_id(call.as_deref(), text);
    let mut part = Part::new(given, SegmentKind::Call, id.clone());
    part.note("call-id", call.as_deref().unwrap_or_default());
    if first.starts_with('/') {
        part.recording_at(beside_pcaps(given, first));
    }
    let (mut start, mut end) = (None, None);
    let (mut local_start, mut local_end) = (None, None);
    let (mut at, mut tail) = (0, text.len());
    let mut labels: Vec<&str> = Vec::new();
    for line in text.split_inclusive('\n') {
        let fault = |kind| page.fault(kind, at);
        let value = |prefix: &str| line.strip_prefix(prefix).map(str::trim);
        if let Some(text) = value("Timestamp started ms: ") {
            let time = moment::since_1970(text, Unit::Millis).map_err(fault)?;
            start = [start, time].into_iter().flatten().min();
        } else if let Some(text) = value("Timestamp terminated ms(first monologue): ") {
            end = moment::since_1970(text, Unit::Millis).map_err(fault)?;
        } else if let Some(text) = value("call start time: ") {
            local_start = moment::dated(text, given.zone).map_err(fault)?;
        } else if let Some(text) = value("call end time: ") {
            local_end = moment::dated(text, given.zone).map_err(fault)?;
            tail = at + line.len();
        } else if let Some(text) = value("Label: ") {
            labels.push(text);
        }
        at += line.len();
    }
    if local_start.is_none() {
        // It is renamed into place when all is written; without its end it was cut.
        return Err(page.fault(FaultKind::Syntax, text.len()));
    }
    let whole = |kind| page.fault(kind, 0);
    part.lasted(start.or(local_start), end.or(local_end), None).map_err(whole)?;
    labels.dedup();
    part.note("Label", &labels.join(", "));
    let mut people = Vec::new();
    metadata(&text[tail..], &mut part, &mut people);
    let segment = part.done().map_err(whole)?;
    Ok(conversation(id, people, vec![segment]))
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
