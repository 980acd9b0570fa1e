//! FreeSWITCH: the record of one leg, as `mod_json_cdr` and `mod_xml_cdr` write it, and rows of
//! `mod_cdr_csv` in its `example` template.
//!
//! Both legs of a call carry the same `call_uuid`: one conversation, one segment for each leg. The
//! variables repeat every number a dozen times, so what only repeats who took part, and what only
//! measures the media, is left out of the metadata. A dialplan's own variables are kept. Source:
//! signalwire/freeswitch:src/switch_ivr.c (both generators), src/mod/event_handlers/mod_cdr_csv;
//! fusionpbx/fusionpbx:app/xml_cdr.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::domain::conversation::{ConversationInput, ParticipantInput, SegmentInput, SegmentKind};

use super::address::{self, Party};
use super::facts::{Part, conversation, external_id, participant};
use super::fault::{FaultKind, Page, SidecarFault};
use super::json::{self, Json, Object};
use super::moment::{self, Unit};
use super::reader::Given;
use super::table;
use super::xml::{self, Element};

/// Reads one leg, or rows of legs.
///
/// # Errors
///
/// [`SidecarFault`].
pub(super) fn read(
    bytes: &[u8],
    given: &Given<'_>,
) -> Result<Vec<ConversationInput>, SidecarFault> {
    let page = Page::new(bytes, given.bytes_max)?;
    let legs = match page.text().trim_start().as_bytes().first() {
        Some(b'<') => vec![xml_leg(&page)?],
        Some(b'{') => vec![json_leg(&page)?],
        _ => table_legs(&page)?,
    };
    legs.iter()
        .map(|leg| told(leg, &page, given).map_err(|(kind, at)| page.fault(kind, at)))
        .collect()
}

/// What one leg's record says, with all values decoded.
#[derive(Default)]
struct Leg {
    at: usize,
    /// Channel variables, and where each stands.
    variables: BTreeMap<String, (String, usize)>,
    /// Of the latest caller profile.
    profile: BTreeMap<String, String>,
    times: BTreeMap<String, String>,
    /// Applications that ran, with their arguments.
    applications: Vec<(String, String)>,
    core: Option<String>,
}

impl Leg {
    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|(value, _)| value.trim()).filter(|value| !value.is_empty())
    }

    /// The first of `variables`, else of the caller profile.
    fn first(&self, variables: &[&str], profile: &str) -> Option<&str> {
        let in_profile = self.profile.get(profile).map(|value| value.trim());
        variables
            .iter()
            .find_map(|name| self.variable(name))
            .or(in_profile.filter(|value| !value.is_empty()))
    }

    fn time(
        &self,
        micros: &str,
        seconds: &str,
        stamp: &str,
        given: &Given<'_>,
    ) -> Result<Option<Timestamp>, (FaultKind, usize)> {
        for (name, unit) in
            [(micros, Some(Unit::Micros)), (seconds, Some(Unit::Seconds)), (stamp, None)]
        {
            let Some((text, at)) = self.variables.get(name) else { continue };
            let time = match unit {
                Some(unit) => moment::since_1970(text, unit),
                None => moment::dated(text, given.zone),
            };
            if let Some(time) = time.map_err(|kind| (kind, *at))? {
                return Ok(Some(time));
            }
        }
        Ok(None)
    }

    /// Of the caller profile, in microseconds.
    fn flow_time(&self, name: &str) -> Result<Option<Timestamp>, (FaultKind, usize)> {
        let text = self.times.get(name).map_or("", String::as_str);
        moment::since_1970(text, Unit::Micros).map_err(|kind| (kind, self.at))
    }

    /// Values are written URL-encoded unless `encode-values` is off. A date tells: it has a blank.
    fn decode(&mut self) {
        let is_encoded = self
            .variables
            .iter()
            .any(|(name, (value, _))| name.ends_with("_stamp") && value.contains("%20"));
        if !is_encoded {
            return;
        }
        let values = self.variables.values_mut().map(|(value, _)| value);
        let values = values.chain(self.profile.values_mut()).chain(self.times.values_mut());
        for value in values.chain(self.applications.iter_mut().map(|(_, data)| data)) {
            *value = address::decoded(value).into_owned();
        }
    }
}

fn json_leg(page: &Page<'_>) -> Result<Leg, SidecarFault> {
    let json = json::parse(page)?;
    let whole = json.object();
    let variables = whole.and_then(|whole| whole.get("variables")).and_then(Json::object);
    let (Some(whole), Some(variables)) = (whole, variables) else {
        return Err(page.fault(FaultKind::Unrecognized, 0));
    };
    let mut leg = Leg { core: whole.first(&["core-uuid"]).map(str::to_owned), ..Leg::default() };
    for member in &variables.members {
        if let Some(value) = member.value.scalar() {
            leg.variables.insert(member.key.clone(), (value.to_owned(), member.at));
        }
    }
    // One profile, or the latest first.
    let flow = match whole.get("callflow") {
        Some(Json::List(flows)) => flows.first(),
        flow => flow,
    };
    let part = |name| flow.and_then(Json::object)?.get(name)?.object();
    leg.profile = part("caller_profile").map(scalars).unwrap_or_default();
    leg.times = part("times").map(scalars).unwrap_or_default();
    let log = whole.get("app_log").and_then(Json::object);
    for entry in log.and_then(|log| log.get("applications")).map_or(&[][..], Json::list) {
        let Some(entry) = entry.object() else { continue };
        if let Some(name) = entry.first(&["app_name"]) {
            let data = entry.first(&["app_data"]).unwrap_or_default();
            leg.applications.push((name.to_owned(), data.to_owned()));
        }
    }
    leg.decode();
    Ok(leg)
}

fn scalars(object: &Object) -> BTreeMap<String, String> {
    let members = object.members.iter();
    members
        .filter_map(|member| Some((member.key.clone(), member.value.scalar()?.to_owned())))
        .collect()
}

fn xml_leg(page: &Page<'_>) -> Result<Leg, SidecarFault> {
    let mut leg = Leg::default();
    let mut has_flow = false;
    let root = xml::each_child(page, |_, child| {
        match child.name.as_str() {
            "variables" => {
                for variable in child.children {
                    let value = (variable.text.trim().to_owned(), variable.at);
                    leg.variables.entry(variable.name).or_insert(value);
                }
            }
            // The latest profile comes first.
            "callflow" if !has_flow => {
                has_flow = true;
                leg.profile = child.child("caller_profile").map(texts).unwrap_or_default();
                leg.times = child.child("times").map(texts).unwrap_or_default();
            }
            "app_log" => {
                let ran = child.children.iter().filter_map(|entry| {
                    let data = entry.attribute("app_data").unwrap_or_default();
                    Some((entry.attribute("app_name")?.to_owned(), data.to_owned()))
                });
                leg.applications.extend(ran);
            }
            _ => {}
        }
        Ok(())
    })?;
    if root.name != "cdr" || leg.variables.is_empty() {
        return Err(page.fault(FaultKind::Unrecognized, root.at));
    }
    leg.core = root.attribute("core-uuid").map(str::to_owned);
    leg.decode();
    Ok(leg)
}

fn texts(element: &Element) -> BTreeMap<String, String> {
    let children = element.children.iter();
    children.map(|child| (child.name.clone(), child.text.trim().to_owned())).collect()
}

fn table_legs(page: &Page<'_>) -> Result<Vec<Leg>, SidecarFault> {
    let mut legs = Vec::new();
    for row in table::rows(page)? {
        if row.fields.len() != EXAMPLE.len() {
            return Err(page.fault(FaultKind::Unrecognized, row.at));
        }
        let at = row.at;
        let fields = EXAMPLE.iter().zip(row.fields);
        let variables = fields.map(|(name, value)| ((*name).to_owned(), (value, at))).collect();
        legs.push(Leg { at, variables, ..Leg::default() });
    }
    Ok(legs)
}

fn told(
    leg: &Leg,
    page: &Page<'_>,
    given: &Given<'_>,
) -> Result<ConversationInput, (FaultKind, usize)> {
    let uuid = leg.first(&["uuid"], "uuid");
    let id = external_id(uuid, page.text());
    let whole = external_id(leg.variable("call_uuid").or(uuid), page.text());
    let people = people(leg);
    let segment = segment(leg, id, &people, given)?;
    Ok(conversation(whole, people, vec![segment]))
}

fn segment(
    leg: &Leg,
    id: String,
    people: &[ParticipantInput],
    given: &Given<'_>,
) -> Result<SegmentInput, (FaultKind, usize)> {
    let at = |kind| (kind, leg.at);
    let mut part = Part::new(given, SegmentKind::Call, id);
    let start = leg.time("start_uepoch", "start_epoch", "start_stamp", given)?;
    let end = leg.time("end_uepoch", "end_epoch", "end_stamp", given)?;
    let start = start.map_or_else(|| leg.flow_time("created_time"), |start| Ok(Some(start)))?;
    let end = end.map_or_else(|| leg.flow_time("hangup_time"), |end| Ok(Some(end)))?;
    let lasted = match leg.variables.get("duration") {
        Some((text, at)) => moment::seconds(text).map_err(|kind| (kind, *at))?,
        None => None,
    };
    part.lasted(start, end, lasted).map_err(at)?;
    part.note("core-uuid", leg.core.as_deref().unwrap_or_default());
    for (name, (value, _)) in &leg.variables {
        let is_own =
            !NOISE.iter().any(|prefix| name.starts_with(prefix)) && !repeats(value, people);
        if NOTED.contains(&name.as_str()) || name.starts_with("sip_h_X-") || is_own {
            part.note(name, value);
        }
    }
    let folder = leg.variable("record_path");
    if let (Some(folder), Some(name)) = (folder, leg.variable("record_name")) {
        part.recording(&format!("{}/{name}", folder.trim_end_matches('/')));
    }
    for name in ["cc_record_filename", "sofia_record_file"] {
        part.recording(leg.variable(name).unwrap_or_default());
    }
    for (application, data) in &leg.applications {
        if matches!(application.as_str(), "record_session" | "record") {
            part.recording(data.split_whitespace().next().unwrap_or_default());
        }
    }
    part.done().map_err(at)
}

/// Caller, callee, and the agent of a call centre. Names and numbers of the profile are the ones
/// that the switch settled on; the URIs of the first message come next.
fn people(leg: &Leg) -> Vec<ParticipantInput> {
    let party = |text: Option<&str>| text.map(address::party).unwrap_or_default();
    let named =
        |text: Option<&str>| Party { name: text.and_then(address::name), ..Party::default() };
    let is_inbound = leg.variable("direction").is_none_or(|direction| direction == "inbound");
    let network = leg.first(&["sip_network_ip", "network_addr"], "network_addr");
    let network = Party { ip: network.and_then(address::ip), ..Party::default() };
    let caller = party(leg.first(&["caller_id_number"], "caller_id_number"))
        .or(named(leg.first(&["caller_id_name"], "caller_id_name")))
        .or(party(leg.variable("caller_id")))
        .or(party(leg.first(&["sip_full_from", "sip_from_uri", "sip_from_user"], "ani")));
    let caller = if is_inbound { caller.or(network) } else { caller };
    let called = &["caller_destination", "destination_number", "dialed_user", "sip_to_user"];
    let callee = party(leg.first(&[], "destination_number").or(leg.first(called, "")))
        .or(named(leg.first(&["callee_id_name"], "callee_id_name")));
    let mut people =
        vec![participant("caller", whole(caller)), participant("callee", whole(callee))];
    if let Some(agent) = leg.variable("cc_agent") {
        people.push(participant("agent", party(Some(agent))));
    }
    people
}

/// Without a name that only repeats the number.
fn whole(party: Party) -> Party {
    let name = party.name.filter(|name| party.phone.as_deref() != Some(name));
    Party { name, ..party }
}

/// True if `value` holds a number, a name or an address of somebody who took part.
fn repeats(value: &str, people: &[ParticipantInput]) -> bool {
    people.iter().any(|somebody| {
        let known = [&somebody.phone, &somebody.name, &somebody.ip, &somebody.chat_address];
        let known = known.into_iter().flatten().map(|text| text.expose_personal());
        known.filter(|text| text.len() >= TELLING_BYTES_MIN).any(|text| value.contains(text))
    })
}

/// The template that an installation begins with.
const EXAMPLE: [&str; 15] = [
    "caller_id_name",
    "caller_id_number",
    "destination_number",
    "context",
    "start_stamp",
    "answer_stamp",
    "end_stamp",
    "duration",
    "billsec",
    "hangup_cause",
    "uuid",
    "bleg_uuid",
    "accountcode",
    "read_codec",
    "write_codec",
];

/// Ids and classes of a leg, whatever else their names begin with.
const NOTED: &[&str] = &[
    "uuid",
    "call_uuid",
    "bleg_uuid",
    "bridge_uuid",
    "originating_leg_uuid",
    "signal_bond",
    "sip_call_id",
    "session_id",
    "direction",
    "call_direction",
    "accountcode",
    "domain_name",
    "domain_uuid",
    "extension_uuid",
    "hangup_cause",
    "hangup_cause_q850",
    "duration",
    "billsec",
    "cc_queue",
    "cc_side",
    "cc_cause",
    "cc_member_uuid",
    "cc_member_session_uuid",
    "conference_name",
    "conference_uuid",
];

/// What the switch itself sets: how the leg was set up, measured and carried.
const NOISE: &[&str] = &[
    "DIALSTATUS",
    "ani",
    "answer",
    "bill",
    "bridge_",
    "call_timeout",
    "caller_",
    "callee_",
    "cc_",
    "channel_name",
    "codec_",
    "continue_on_fail",
    "core-",
    "current_application",
    "dest",
    "dialed_",
    "digits_",
    "dtmf_",
    "effective_",
    "end_",
    "endpoint_",
    "ep_codec",
    "export_",
    "flow_",
    "hangup_",
    "hold_",
    "last_",
    "local_media",
    "max_forwards",
    "mduration",
    "network_addr",
    "orig",
    "outbound_caller",
    "playback_",
    "presence_",
    "profile_",
    "progress",
    "proto_",
    "rdnis",
    "read_",
    "record",
    "recovery_",
    "remote_",
    "resurrect_",
    "ringback",
    "rtp_",
    "sip_",
    "sofia_",
    "start_",
    "switch_",
    "toll_allow",
    "transfer_",
    "uduration",
    "user_",
    "verto_",
    "video_",
    "voice_",
    "wait",
    "write_",
];

/// Shorter than this, a number is found in anything.
const TELLING_BYTES_MIN: usize = 3;
