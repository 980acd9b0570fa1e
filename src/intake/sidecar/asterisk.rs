//! Asterisk: call records as `cdr_csv`, `cdr_custom` and JSON write them, and `msgNNNN.txt`, which
//! stands beside a voice mail.
//!
//! Rows with the same `linkedid` (where it is logged, else `uniqueid`) are the legs of one
//! conversation, one segment each. Times are in the zone of the host unless `usegmtime` is set, so
//! the caller says which. Source: asterisk/asterisk:cdr/cdr_csv.c,
//! configs/samples/cdr_custom.conf.sample, apps/app_voicemail.c; FreePBX/cdr.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::domain::conversation::{ConversationInput, ParticipantInput, SegmentInput, SegmentKind};

use super::address::{self, Party};
use super::facts::{Part, conversation, external_id, participant};
use super::fault::{FaultKind, Page, SidecarFault};
use super::moment::{self, Unit};
use super::reader::Given;
use super::{json, table};

/// Reads records or the text beside a voice mail.
///
/// # Errors
///
/// [`SidecarFault`].
pub(super) fn read(
    bytes: &[u8],
    given: &Given<'_>,
) -> Result<Vec<ConversationInput>, SidecarFault> {
    let page = Page::new(bytes, given.bytes_max)?;
    if page.text().lines().any(|line| line.trim() == "[message]") {
        return voicemail(&page, given).map(|input| vec![input]);
    }
    let mut legs = Legs::default();
    let mut add =
        |record: Record| legs.add(&record, given).map_err(|kind| page.fault(kind, record.at));
    match page.text().trim_start().starts_with(['{', '[']) {
        true => json_records(&page, &mut add)?,
        false => table_records(&page, &mut add)?,
    }
    Ok(legs.conversations())
}

/// One call record: its fields by Asterisk's names, and where it stands.
struct Record {
    fields: HashMap<String, String>,
    at: usize,
}

impl Record {
    fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn time(&self, name: &str, given: &Given<'_>) -> Result<Option<Timestamp>, FaultKind> {
        self.get(name).map_or(Ok(None), |text| moment::any(text, given.zone))
    }
}

/// What takes each record as it is read.
type Add<'a> = &'a mut dyn FnMut(Record) -> Result<(), SidecarFault>;

fn json_records(page: &Page<'_>, add: Add<'_>) -> Result<(), SidecarFault> {
    for row in json::parse_rows(page)? {
        let object = row.object().ok_or_else(|| page.fault(FaultKind::Unrecognized, 0))?;
        let at = object.members.first().map_or(0, |member| member.at);
        let members = object.members.iter();
        let fields: HashMap<_, _> = members
            .filter_map(|member| Some((field_name(&member.key), member.value.scalar()?.to_owned())))
            .collect();
        if !fields.contains_key("src") && !fields.contains_key("uniqueid") {
            return Err(page.fault(FaultKind::Unrecognized, at));
        }
        add(Record { fields, at })?;
    }
    Ok(())
}

fn table_records(page: &Page<'_>, add: Add<'_>) -> Result<(), SidecarFault> {
    let mut rows = table::rows(page)?;
    let header = rows.first().and_then(header);
    if header.is_some() {
        rows.remove(0);
    }
    for row in rows {
        let columns = match &header {
            Some(header) => header.clone(),
            None => {
                columns(&row.fields).ok_or_else(|| page.fault(FaultKind::Unrecognized, row.at))?
            }
        };
        if row.fields.len() > columns.len() {
            return Err(page.fault(FaultKind::Unrecognized, row.at));
        }
        let mut fields = HashMap::new();
        for (name, value) in columns.into_iter().zip(row.fields) {
            if fields.insert(name, value).is_some() {
                return Err(page.fault(FaultKind::DuplicateKey, row.at));
            }
        }
        add(Record { fields, at: row.at })?;
    }
    Ok(())
}

/// The names in `row` if it holds nothing but names.
fn header(row: &table::Row) -> Option<Vec<String>> {
    let names: Vec<String> = row.fields.iter().map(|name| field_name(name)).collect();
    names.iter().any(|name| name == "src").then_some(())?;
    names.iter().all(|name| KNOWN.contains(&name.as_str())).then_some(names)
}

/// The columns of a row without a header, told by where its start time stands.
fn columns(fields: &[String]) -> Option<Vec<String>> {
    let is_date = |at: usize| {
        fields.get(at).is_some_and(|text| text.len() >= 19 && text.as_bytes()[4] == b'-')
    };
    let mut columns: Vec<&str> = Vec::new();
    if is_date(8) && !is_date(11) {
        columns.extend(CUSTOM);
    } else if is_date(9) {
        columns.extend(CSV);
        let mut extra = fields.len().checked_sub(CSV.len())?;
        let is_new = extra >= 3 && fields.last().is_some_and(|text| is_digits(text));
        extra -= if is_new { 3 } else { 0 };
        match (extra, fields.get(CSV.len())) {
            (0, _) => {}
            (1, Some(text)) if !is_unique(text) => columns.push("userfield"),
            (1, _) => columns.push("uniqueid"),
            _ => columns.extend(["uniqueid", "userfield"]),
        }
        columns.extend(if is_new { &["peeraccount", "linkedid", "sequence"][..] } else { &[] });
    }
    (!columns.is_empty()).then(|| columns.into_iter().map(str::to_owned).collect())
}

/// One name for what the back-ends call differently.
fn field_name(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase();
    match name.as_str() {
        "calldate" | "start time" | "starttime" => "start".to_owned(),
        "answer time" | "answertime" => "answer".to_owned(),
        "end time" | "endtime" => "end".to_owned(),
        _ => name,
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `[system-]seconds.number`.
fn is_unique(text: &str) -> bool {
    let id = text.rsplit_once('-').map_or(text, |(_, id)| id);
    id.split_once('.').is_some_and(|(seconds, number)| is_digits(seconds) && is_digits(number))
}

/// The conversations of a file while its records are read.
#[derive(Default)]
struct Legs {
    order: Vec<(String, Vec<ParticipantInput>, Vec<SegmentInput>)>,
    places: HashMap<String, usize>,
    /// How many segments an id was given to.
    named: HashMap<String, usize>,
}

impl Legs {
    fn add(&mut self, record: &Record, given: &Given<'_>) -> Result<(), FaultKind> {
        let start = record.time("start", given)?;
        let unique = match record.get("uniqueid") {
            Some(unique) => external_id(Some(unique), ""),
            // Not logged by default. The number counts within the same second, so that it stays
            // when older rows are rotated away.
            None => start.map_or("undated".to_owned(), |start| start.to_string()),
        };
        let count = self.named.entry(unique.clone()).or_default();
        *count += 1;
        let id = if *count > 1 { format!("{unique}#{count}") } else { unique };
        let whole = match record.get("linkedid").or(record.get("uniqueid")) {
            Some(linked) => external_id(Some(linked), ""),
            None => id.clone(),
        };
        let segment = segment(record, id, start, given)?;
        let place = *self.places.entry(whole.clone()).or_insert(self.order.len());
        if place == self.order.len() {
            self.order.push((whole, Vec::new(), Vec::new()));
        }
        let (_, participants, segments) = &mut self.order[place];
        for somebody in people(record) {
            if participants.len() < PARTICIPANTS_MAX && !participants.contains(&somebody) {
                participants.push(somebody);
            }
        }
        segments.push(segment);
        Ok(())
    }

    fn conversations(self) -> Vec<ConversationInput> {
        let each = self.order.into_iter();
        each.map(|(id, participants, segments)| conversation(id, participants, segments)).collect()
    }
}

fn segment(
    record: &Record,
    id: String,
    start: Option<Timestamp>,
    given: &Given<'_>,
) -> Result<SegmentInput, FaultKind> {
    let mut part = Part::new(given, SegmentKind::Call, id);
    record.time("answer", given)?;
    record.get("billsec").map_or(Ok(None), moment::seconds)?;
    let lasted = record.get("duration").map_or(Ok(None), moment::seconds)?;
    part.lasted(start, record.time("end", given)?, lasted)?;
    let mut own: Vec<_> =
        record.fields.iter().filter(|(name, _)| !KNOWN.contains(&name.as_str())).collect();
    own.sort_unstable();
    let by_application = matches!(record.get("lastapp"), Some("MixMonitor" | "Monitor" | "Record"));
    let argument = record.get("lastdata").filter(|_| by_application);
    let argument = argument.map(|data| data.split(',').next().unwrap_or(data));
    // Before FreePBX had a column for it, the user field was where people put it.
    let in_user_field = record.get("userfield").map(|text| text.trim_start_matches("audio:"));
    let in_user_field = in_user_field.filter(|text| has_media_suffix(text));
    for name in NOTED {
        // A file's name is no remark.
        if *name != "userfield" || in_user_field.is_none() {
            part.note(name, record.get(name).unwrap_or_default());
        }
    }
    own.into_iter().for_each(|(name, value)| part.note(name, value));
    for name in [record.get("recordingfile"), argument, in_user_field].into_iter().flatten() {
        part.recording(name);
    }
    part.done()
}

/// Who took part: the caller, who was called, and the agent to whom a queue gave the call.
fn people(record: &Record) -> Vec<ParticipantInput> {
    let text = |name| record.get(name).unwrap_or_default();
    let number = |name| Party { name: None, ..address::party(text(name)) };
    let shown = address::party(text("clid"));
    let named = Party { name: address::name(text("cnam")), ..Party::default() };
    let caller = named.or(number("cnum")).or(number("src")).or(shown);
    let named = Party { name: address::name(text("dst_cnam")), ..Party::default() };
    let mut people =
        vec![participant("caller", caller), participant("callee", named.or(number("dst")))];
    if record.get("lastapp") == Some("Queue")
        && let Some(device) = record.get("dstchannel").and_then(device)
    {
        people.push(participant("agent", address::party(device)));
    }
    people
}

/// `alice` of `PJSIP/alice-0000001a`, `1001` of `Local/1001@from-queue-00000002;1`.
fn device(channel: &str) -> Option<&str> {
    let (_, rest) = channel.split_once('/')?;
    let device = rest.rsplit_once('-').map_or(rest, |(device, _)| device);
    device.split(['@', ';']).next().filter(|device| !device.is_empty())
}

fn has_media_suffix(text: &str) -> bool {
    let suffix = text.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    ["wav", "wav49", "gsm", "mp3", "ulaw", "alaw", "sln", "g722", "ogg"]
        .iter()
        .any(|known| suffix.eq_ignore_ascii_case(known))
}

/// `key=value` lines under `[message]`.
fn voicemail(page: &Page<'_>, given: &Given<'_>) -> Result<ConversationInput, SidecarFault> {
    let mut fields = HashMap::new();
    let mut at = 0;
    for line in page.text().split_inclusive('\n') {
        let text = line.trim();
        if !text.is_empty() && !text.starts_with([';', '[']) {
            let pair = text.split_once('=');
            let (key, value) = pair.ok_or_else(|| page.fault(FaultKind::Syntax, at))?;
            if fields.insert(key.trim().to_owned(), value.trim().to_owned()).is_some() {
                return Err(page.fault(FaultKind::DuplicateKey, at));
            }
        }
        at += line.len();
    }
    let record = Record { fields, at: 0 };
    let fault = |kind| page.fault(kind, 0);
    let id = external_id(record.get("msg_id"), page.text());
    let mut part = Part::new(given, SegmentKind::Call, id.clone());
    let start =
        record.get("origtime").map_or(Ok(None), |text| moment::since_1970(text, Unit::Seconds));
    let lasted = record.get("duration").map_or(Ok(None), moment::seconds);
    part.lasted(start.map_err(fault)?, None, lasted.map_err(fault)?).map_err(fault)?;
    for name in ["msg_id", "origmailbox", "context", "exten", "callerchan", "category", "flag"] {
        part.note(name, record.get(name).unwrap_or_default());
    }
    let text = |name| record.get(name).unwrap_or_default();
    let people = vec![
        participant("caller", address::party(text("callerid"))),
        participant("callee", address::party(text("origmailbox"))),
    ];
    Ok(conversation(id, people, vec![part.done().map_err(fault)?]))
}

/// `cdr_csv`, before what `loguniqueid`, `loguserfield` and `newcdrcolumns` append.
const CSV: [&str; 16] = [
    "accountcode",
    "src",
    "dst",
    "dcontext",
    "clid",
    "channel",
    "dstchannel",
    "lastapp",
    "lastdata",
    "start",
    "answer",
    "end",
    "duration",
    "billsec",
    "disposition",
    "amaflags",
];

/// `cdr_custom`, as its sample has it.
const CUSTOM: [&str; 19] = [
    "clid",
    "src",
    "dst",
    "dcontext",
    "channel",
    "dstchannel",
    "lastapp",
    "lastdata",
    "start",
    "answer",
    "end",
    "duration",
    "billsec",
    "disposition",
    "amaflags",
    "accountcode",
    "uniqueid",
    "userfield",
    "sequence",
];

/// What becomes metadata.
const NOTED: &[&str] = &[
    "uniqueid",
    "linkedid",
    "sequence",
    "accountcode",
    "peeraccount",
    "userfield",
    "did",
    "dcontext",
    "channel",
    "dstchannel",
    "lastapp",
    "answer",
    "duration",
    "billsec",
    "disposition",
    "amaflags",
];

/// Every name that Asterisk and FreePBX have; any other is somebody's own and becomes metadata.
const KNOWN: &[&str] = &[
    "accountcode",
    "src",
    "dst",
    "dcontext",
    "clid",
    "channel",
    "dstchannel",
    "lastapp",
    "lastdata",
    "start",
    "answer",
    "end",
    "duration",
    "billsec",
    "disposition",
    "amaflags",
    "uniqueid",
    "userfield",
    "peeraccount",
    "linkedid",
    "sequence",
    "did",
    "recordingfile",
    "cnum",
    "cnam",
    "outbound_cnum",
    "outbound_cnam",
    "dst_cnam",
];

const PARTICIPANTS_MAX: usize = 100;
