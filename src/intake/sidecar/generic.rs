//! Any JSON: one object, a list of them, or one a line. What has a common name is understood, all
//! else becomes metadata under its path.
//!
//! Names are compared by their letters and digits alone, so that `call_id`, `callId` and `Call-ID`
//! are one. What bears a known name but cannot be that stays metadata: nothing is lost by a guess.

use crate::domain::conversation::{ConversationInput, ParticipantInput, SegmentKind};

use super::address::{self, Party};
use super::facts::{KEY_BYTES_MAX, Part, conversation, external_id, participant};
use super::fault::{FaultKind, Page, SidecarFault};
use super::json::{self, Json, Object};
use super::moment;
use super::reader::Given;

/// Reads objects, one conversation each.
///
/// # Errors
///
/// [`SidecarFault`].
pub(super) fn read(
    bytes: &[u8],
    given: &Given<'_>,
) -> Result<Vec<ConversationInput>, SidecarFault> {
    let page = Page::new(bytes, given.bytes_max)?;
    let rows = json::parse_rows(&page)?;
    let count = rows.len();
    let mut inputs = Vec::with_capacity(count);
    for (number, row) in rows.iter().enumerate() {
        let object = row.object().ok_or_else(|| page.fault(FaultKind::Unrecognized, 0))?;
        let at = object.members.first().map_or(0, |member| member.at);
        // A digest of the whole file would give all rows one id.
        let mut content = if count == 1 { page.text().to_owned() } else { number.to_string() };
        if count > 1 {
            flatten("", row, &mut |key, value| content.extend(["\n", key, "=", value]));
        }
        let input = told(object, &content, given);
        inputs.push(input.map_err(|kind| page.fault(kind, at))?);
    }
    Ok(inputs)
}

/// What a name most often means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Meaning {
    Id,
    Start,
    End,
    Lasted,
    Caller,
    CallerName,
    Callee,
    CalleeName,
    Agent,
    Customer,
    Email,
    Ip,
    Room,
    File,
    People,
}

/// The meaning of `name`, if it is a common one.
pub(super) fn meaning(name: &str) -> Option<Meaning> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let name: String = name
        .bytes()
        .filter(u8::is_ascii_alphanumeric)
        .map(|b| char::from(b.to_ascii_lowercase()))
        .collect();
    NAMES.iter().find(|(_, names)| names.contains(&name.as_str())).map(|(meaning, _)| *meaning)
}

/// Every scalar in `value` with its path: members behind a point, a list of scalars as one text,
/// of objects by number. What a secret's name stands above is left out whole.
pub(super) fn flatten(key: &str, value: &Json, note: &mut impl FnMut(&str, &str)) {
    if super::secrets::is_telling(key, "") {
        return;
    }
    match value {
        // Refused for its length; a path is not copied for all that is below it.
        _ if key.len() > KEY_BYTES_MAX => note(key, "-"),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => {
            note(key, value.scalar().unwrap_or_default());
        }
        Json::List(values) => {
            let scalars: Vec<&str> = values.iter().filter_map(Json::scalar).collect();
            note(key, &scalars.join(", "));
            for (number, value) in values.iter().enumerate() {
                if value.scalar().is_none() {
                    flatten(&format!("{key}.{number}"), value, note);
                }
            }
        }
        Json::Object(object) => {
            for member in &object.members {
                flatten(&format!("{key}.{}", member.key), &member.value, note);
            }
        }
    }
}

fn told(object: &Object, content: &str, given: &Given<'_>) -> Result<ConversationInput, FaultKind> {
    let first = |wanted| {
        let mut members =
            object.members.iter().filter(|member| meaning(&member.key) == Some(wanted));
        members.find_map(|member| member.value.scalar())
    };
    let id = external_id(first(Meaning::Id), content);
    let mut part = Part::new(given, SegmentKind::Call, id.clone());
    let time = |wanted| first(wanted).and_then(|text| moment::any(text, given.zone).ok().flatten());
    let lasted = match first(Meaning::Lasted).map(moment::seconds) {
        Some(Err(FaultKind::Negative)) => return Err(FaultKind::Negative),
        Some(lasted) => lasted.ok().flatten(),
        None => None,
    };
    let (start, end) = (time(Meaning::Start), time(Meaning::End));
    part.lasted(start, end, lasted)?;
    let mut people = Vec::new();
    let named = |wanted| Party { name: first(wanted).and_then(address::name), ..Party::default() };
    for (role, number, name) in [
        ("caller", Meaning::Caller, Some(Meaning::CallerName)),
        ("callee", Meaning::Callee, Some(Meaning::CalleeName)),
        ("agent", Meaning::Agent, None),
        ("customer", Meaning::Customer, None),
    ] {
        let party = name.map(named).unwrap_or_default();
        let party = party.or(first(number).map(party_of).unwrap_or_default());
        if !party.is_nobody() {
            people.push(participant(role, party));
        }
    }
    let unnamed = Party {
        email: first(Meaning::Email).filter(|text| text.contains('@')).map(str::to_owned),
        ip: first(Meaning::Ip).and_then(address::ip),
        ..Party::default()
    };
    if !unnamed.is_nobody() {
        people.push(participant("participant", unnamed));
    }
    part.room(first(Meaning::Room).unwrap_or_default());
    for member in &object.members {
        match meaning(&member.key) {
            Some(Meaning::Start) if start.is_some() => {}
            Some(Meaning::End) if end.is_some() => {}
            Some(Meaning::File) => files(&member.value, &mut part),
            Some(Meaning::People) => listed(&member.value, &mut people)?,
            Some(
                Meaning::Caller
                | Meaning::CallerName
                | Meaning::Callee
                | Meaning::CalleeName
                | Meaning::Agent
                | Meaning::Customer
                | Meaning::Email
                | Meaning::Ip
                | Meaning::Room,
            ) if member.value.scalar().is_some() => {}
            _ => flatten(&member.key, &member.value, &mut |key, value| part.note(key, value)),
        }
    }
    Ok(conversation(id, people, vec![part.done()?]))
}

/// Outside of telephony, what looks like an address of an email is one.
fn party_of(text: &str) -> Party {
    let party = address::party(text);
    let is_email = !text.contains("sip:") && !text.contains("sips:");
    match party.chat_address.as_deref() {
        Some(address) if is_email && address.contains('@') => {
            Party { email: party.chat_address, chat_address: None, ..party }
        }
        Some(_) | None => party,
    }
}

/// One name, several, or objects with one.
fn files(value: &Json, part: &mut Part<'_>) {
    let named = |value: &Json| {
        let object = value.object()?;
        let member = object.members.iter().find(|m| meaning(&m.key) == Some(Meaning::File))?;
        member.value.scalar().map(str::to_owned)
    };
    for value in std::iter::once(value).chain(value.list()) {
        let name = value.scalar().map(str::to_owned).or_else(|| named(value));
        part.recording(&name.unwrap_or_default());
    }
}

/// A list of addresses, or of objects that tell of somebody each.
fn listed(value: &Json, people: &mut Vec<ParticipantInput>) -> Result<(), FaultKind> {
    for value in value.list() {
        if people.len() >= PARTICIPANTS_MAX {
            return Err(FaultKind::TooMany);
        }
        let (role, party) = match (value.scalar(), value.object()) {
            (Some(text), _) => ("participant", party_of(text)),
            (None, Some(object)) => {
                let address =
                    object.first(&["phone", "number", "uri", "address", "phone_number", "id"]);
                let told = Party {
                    name: object
                        .first(&["name", "display_name", "displayName"])
                        .and_then(address::name),
                    email: object.first(&["email", "mail"]).map(str::to_owned),
                    ip: object.first(&["ip", "ip_address"]).and_then(address::ip),
                    ..Party::default()
                };
                let role = object.first(&["role", "type"]).unwrap_or("participant");
                (role, told.or(address.map(party_of).unwrap_or_default()))
            }
            (None, None) => continue,
        };
        if !party.is_nobody() {
            people.push(participant(role.get(..ROLE_BYTES_MAX).unwrap_or(role), party));
        }
    }
    Ok(())
}

/// Letters and digits only, the surest first.
const NAMES: &[(Meaning, &[&str])] = &[
    (
        Meaning::Id,
        &[
            "callid",
            "uniqueid",
            "conversationid",
            "interactionid",
            "contactid",
            "sessionid",
            "recordingid",
            "calluuid",
            "uuid",
            "id",
            "ucid",
        ],
    ),
    (
        Meaning::Start,
        &[
            "start",
            "startedat",
            "starttime",
            "startdate",
            "starttimestamp",
            "callstart",
            "callstarttime",
            "begin",
            "begunat",
            "recordedat",
            "datetime",
            "timestamp",
        ],
    ),
    (
        Meaning::End,
        &[
            "end",
            "endedat",
            "endtime",
            "enddate",
            "endtimestamp",
            "callend",
            "callendtime",
            "stoppedat",
            "stoptime",
            "finishedat",
        ],
    ),
    (Meaning::Lasted, &["duration", "durationseconds", "durationsec", "calllength"]),
    (
        Meaning::Caller,
        &[
            "caller",
            "callernumber",
            "callerid",
            "calleridnumber",
            "callingnumber",
            "callingparty",
            "from",
            "fromnumber",
            "fromuri",
            "src",
            "source",
            "ani",
            "cli",
        ],
    ),
    (Meaning::CallerName, &["callername", "calleridname", "fromname", "callingname"]),
    (
        Meaning::Callee,
        &[
            "callee",
            "calleenumber",
            "calleeid",
            "callednumber",
            "calledparty",
            "to",
            "tonumber",
            "touri",
            "dst",
            "destination",
            "destinationnumber",
            "dnis",
            "dialednumber",
        ],
    ),
    (Meaning::CalleeName, &["calleename", "calleeidname", "toname", "calledname"]),
    (Meaning::Agent, &["agent", "agentid", "agentname", "agentextension", "operator", "extension"]),
    (Meaning::Customer, &["customer", "customername", "customernumber", "customerphone"]),
    (Meaning::Email, &["email", "emailaddress", "mail"]),
    (Meaning::Ip, &["ip", "ipaddress", "remoteip", "clientip"]),
    (Meaning::Room, &["room", "roomname", "meeting", "meetingname", "conference"]),
    (
        Meaning::File,
        &[
            "file",
            "files",
            "filename",
            "filepath",
            "recording",
            "recordings",
            "recordingfile",
            "recordingpath",
            "audiofile",
            "mediafile",
            "wav",
        ],
    ),
    (Meaning::People, &["participants", "parties", "attendees"]),
];

const NAME_BYTES_MAX: usize = 64;
const PARTICIPANTS_MAX: usize = 10_000;
const ROLE_BYTES_MAX: usize = 64;
