//! The manifest of `media-fixtures/sidecars/`, walked; what recorders never write, refused; and
//! damage of every kind done to every fixture.

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde::Deserialize;

use super::fault::FaultKind as F;
use super::*;
use crate::clock::Timestamp;
use crate::domain::conversation::{ConversationInput, ParticipantInput, Personal, SegmentInput};

#[derive(Deserialize)]
struct Manifest {
    case: Vec<Case>,
}

/// One row of the manifest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    file: String,
    profile: String,
    path: String,
    #[serde(default)]
    zone: Option<String>,
    #[serde(default)]
    root: Option<PathBuf>,
    reader: String,
    told: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("media-fixtures/sidecars")
}

fn manifest() -> Vec<Case> {
    let text = std::fs::read_to_string(folder().join("manifest.toml")).unwrap();
    toml::from_str::<Manifest>(&text).unwrap().case
}

/// Planted faults: the zone not asked (`custom.csv`), the first leg alone kept (`Master.csv`),
/// `group-ref` not followed (`complete.xml`).
#[test]
fn every_fixture_tells_what_the_manifest_says() {
    let mut wrong = Vec::new();
    for case in manifest() {
        let bytes = std::fs::read(folder().join(&case.file)).unwrap();
        let path = StorePath::new(case.path.as_str()).unwrap();
        let zone =
            case.zone.as_deref().map_or(TimeZone::UTC, |zone| TimeZone::posix(zone).unwrap());
        let given = Given { root: case.root.as_deref(), ..Given::new(&path, &zone) };
        let profile = Profile::named(&case.profile).unwrap();
        let head = &bytes[..bytes.len().min(4096)];
        let reader = reader_for(profile, &path, head).unwrap_or_else(|| panic!("{}", case.file));
        assert_eq!(reader.as_str(), case.reader, "{}", case.file);
        let told =
            outline(&reader.read(&bytes, &given).unwrap_or_else(|f| panic!("{}: {f}", case.file)));
        if told != case.told {
            wrong.push(format!("== {}\n{}", case.file, told.join("\n")));
        }
        // The same bytes again are the same conversations: an import may be repeated.
        assert_eq!(outline(&reader.read(&bytes, &given).unwrap()), told);
        // A mark in front and blanks behind change nothing but a digest of all that is there.
        let marked = [&b"\xef\xbb\xbf"[..], &bytes, b"\n"].concat();
        let ids = told.iter().any(|line| line.contains("sha256-"));
        if !ids && case.reader != "rtpengine" {
            assert_eq!(outline(&reader.read(&marked, &given).unwrap()), told, "{}", case.file);
        }
    }
    assert!(wrong.is_empty(), "these tell something else:\n{}", wrong.join("\n"));
}

/// A conversation as lines of text.
fn outline(inputs: &[ConversationInput]) -> Vec<String> {
    let mut lines = Vec::new();
    for input in inputs {
        lines.push(format!("conversation {}{}", input.external_id, at(" from", input.started_at)));
        lines.extend(input.participants.iter().map(somebody));
        for segment in &input.segments {
            lines.extend(part(segment));
        }
    }
    lines
}

fn somebody(person: &ParticipantInput) -> String {
    let known = [
        ("name", &person.name),
        ("phone", &person.phone),
        ("email", &person.email),
        ("ip", &person.ip),
        ("chat", &person.chat_address),
    ];
    let known = known
        .into_iter()
        .filter_map(|(name, text)| Some(format!(" {name}={}", text.as_ref()?.expose_personal())));
    format!("  {}:{}", person.role, known.collect::<String>())
}

fn part(segment: &SegmentInput) -> Vec<String> {
    let text = |personal: &Option<Personal>| {
        personal.as_ref().map_or(String::new(), |text| format!(" in {}", text.expose_personal()))
    };
    let mut lines = vec![format!(
        "  {} {}{}{}{}",
        segment.kind.as_str(),
        segment.external_id,
        at(" from", segment.started_at),
        at(" to", segment.ended_at),
        text(&segment.room),
    )];
    for message in &segment.messages {
        let (from, said) = (message.from.expose_personal(), message.text.expose_personal());
        lines.push(format!("    {from}{}: {said}", at(" at", message.at)));
    }
    let metadata = segment.metadata.iter();
    lines.extend(metadata.map(|(key, value)| format!("    {key} = {}", value.expose_personal())));
    let recordings = segment.recordings.iter();
    lines.extend(
        recordings.map(|path| format!("    > {}", String::from_utf8_lossy(path.expose_bytes()))),
    );
    lines
}

fn at(word: &str, moment: Option<Timestamp>) -> String {
    moment.map_or(String::new(), |moment| format!("{word} {moment}"))
}

/// Each of the readers of XML, whatever the root.
const XML: [Reader; 3] = [Reader::Siprec, Reader::Freeswitch, Reader::Bigbluebutton];

fn refused(reader: Reader, bytes: &[u8]) -> SidecarFault {
    let path = StorePath::new("folder/sidecar").unwrap();
    let fault = reader.read(bytes, &Given::new(&path, &TimeZone::UTC));
    fault.err().unwrap_or_else(|| {
        panic!("{} reads {:.60}", reader.as_str(), String::from_utf8_lossy(bytes))
    })
}

/// Planted faults: a document type passed over; an unknown entity taken for a blank; depth not
/// counted.
#[test]
fn no_document_grows_or_fetches_or_hides() {
    let laughs = (1..10).fold("<!ENTITY a0 \"ha\">".to_owned(), |all, n| {
        all + &format!("<!ENTITY a{n} \"{}\">", format!("&a{};", n - 1).repeat(10))
    });
    let laughs = format!("<!DOCTYPE r [{laughs}]><r>&a9;</r>");
    let deep = format!("{}{}", "<a>".repeat(65), "</a>".repeat(65));
    let deep_open = "<a>".repeat(300_000);
    let bushy = format!("<r><a>{}</a></r>", "<a/>".repeat(20_001));
    let space = format!("<r xmlns='{}'/>", "x".repeat(1_025));
    let attributes: String = (0..65).map(|n| format!(" a{n}=''")).collect();
    let attributes = format!("<r{attributes}/>");
    let bindings: String = (0..65).map(|n| format!(" xmlns:a{n}='u:{n}'")).collect();
    let bindings = format!("<r{bindings}/>");
    let long = format!("<r><a>{}</a></r>", "x".repeat(65_537));
    let long_parts = format!("<r><a>{}</a></r>", "<![CDATA[xxxxxxxx]]>".repeat(8_193));
    for (text, kind) in [
        (laughs.as_str(), F::Doctype),
        ("<!DOCTYPE r SYSTEM 'file:///etc/passwd'><r/>", F::Doctype),
        ("<!DOCTYPE r [<!ENTITY x SYSTEM 'http://192.0.2.1/'>]><r>&x;</r>", F::Doctype),
        ("<?xml version='1.0'?><!DOCTYPE r><r/>", F::Doctype),
        ("<r><a>&x;</a></r>", F::Entity),
        ("<r a='&x;'/>", F::Entity),
        ("<r>&#x110000;</r>", F::Entity),
        ("<r>&#0;</r>", F::Entity),
        ("<r>&#1;</r>", F::Character),
        ("<r>\u{1}</r>", F::Character),
        ("<r a='&#8;'/>", F::Character),
        ("<x:r/>", F::Namespace),
        ("<r x:a='1'/>", F::Namespace),
        ("<r xmlns:xmlns='u:1'/>", F::Namespace),
        ("<r xmlns:xml='u:1'/>", F::Namespace),
        ("<r xmlns:a='http://www.w3.org/XML/1998/namespace'/>", F::Namespace),
        ("<r a='1' a='2'/>", F::DuplicateKey),
        (&deep, F::TooDeep),
        (&deep_open, F::TooDeep),
        (&bushy, F::TooMany),
        (&space, F::TooLong),
        (&attributes, F::TooMany),
        (&bindings, F::TooMany),
        (&long, F::TooLong),
        (&long_parts, F::TooLong),
        ("<?xml version='1.0' encoding='ISO-8859-1'?><r/>", F::Encoding),
        ("<?xml version='1.0' encoding='UTF-16'?><r/>", F::Encoding),
        ("<r><a></b></r>", F::Syntax),
        ("<r><a></r>", F::Syntax),
        ("<r>", F::Syntax),
        ("<r/><r/>", F::Syntax),
        ("<r/>x", F::Syntax),
        ("x<r/>", F::Syntax),
        ("<r a=1/>", F::Syntax),
        ("<r><![CDATA[x</r>", F::Syntax),
        ("<r><!-- x</r>", F::Syntax),
        ("<r>a & b</r>", F::Syntax),
        ("<?xml version='1.0'", F::Syntax),
        ("<r/>", F::Unrecognized),
        // The right names in no namespace, and in one that only looks right.
        ("<recording><session session_id='1'/></recording>", F::Unrecognized),
        (
            "<recording xmlns='urn:ietf:params:xml:ns:recording:1 '><session session_id='1'/></recording>",
            F::Unrecognized,
        ),
    ] {
        for reader in XML {
            // Freeswitch goes by the first byte, and takes text before a root for a table.
            if reader != Reader::Freeswitch || text.starts_with('<') {
                assert_eq!(refused(reader, text.as_bytes()).kind, kind, "{:.80} {reader:?}", text);
            }
        }
    }
}

/// Each element is shallow and small; only their number is wrong.
#[test]
fn no_document_is_wider_than_a_million_elements() {
    let wide = format!("<r>{}</r>", "<a/>".repeat(1_000_001));
    assert_eq!(refused(Reader::Siprec, wide.as_bytes()).kind, F::TooMany);
}

/// What a reader says of bytes it refuses, and in which line.
fn refuses(reader: Reader, text: &[u8], kind: F, line: u32) {
    let fault = refused(reader, text);
    assert_eq!(
        (fault.kind, fault.line),
        (kind, line),
        "{reader:?} {}",
        String::from_utf8_lossy(text)
    );
}

#[test]
fn what_no_recorder_writes_is_refused_with_a_code_and_a_line() {
    use Reader as R;
    let latin1 = "\"\",\"M\u{fc}ller\"".chars().map(|c| c as u8).collect::<Vec<u8>>();
    let utf16: Vec<u8> = "\u{feff}{\"a\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let row = |start: &str, duration: &str| {
        format!(
            "\"\",\"1\",\"2\",\"\",\"\",\"\",\"\",\"\",\"\",\"{start}\",\"\",\"\",{duration},0,\"\",\"\"\n"
        )
    };
    let sound = row("2024-01-15 09:30:12", "1");
    for (reader, text, kind, line) in [
        (R::Asterisk, latin1, F::Encoding, 1),
        (R::Generic, utf16, F::Encoding, 1),
        (R::Asterisk, (sound.clone() + &row("2024-13-15 09:30:12", "1")).into(), F::Time, 2),
        // Planted fault: the sign dropped, and a call of five seconds made up.
        (R::Asterisk, (sound.clone() + &row("2024-01-15 09:30:12", "-5")).into(), F::Negative, 2),
        (R::Asterisk, (sound.clone() + &row("2024-01-15 09:30:12", "1e3")).into(), F::Number, 2),
        (R::Asterisk, (sound.clone() + "\"\",\"cut").into(), F::Syntax, 2),
        (R::Asterisk, (sound + "1,2,3\n").into(), F::Unrecognized, 2),
        (R::Asterisk, "src,dst,src\n1,2,3\n".into(), F::DuplicateKey, 2),
        (R::Asterisk, "[message]\norigtime=1\norigtime=2\n".into(), F::DuplicateKey, 3),
        (R::Asterisk, "[message]\nno pair\n".into(), F::Syntax, 2),
        (R::Asterisk, "{\"id\":1}".into(), F::Unrecognized, 1),
        (R::Asterisk, "{\"src\":\"1\",\n\"src\":\"2\"}".into(), F::DuplicateKey, 2),
        (R::Freeswitch, "{\"variables\":[]}".into(), F::Unrecognized, 1),
        (R::Freeswitch, "{\"variables\":\n{\"start_uepoch\":\"x\"}}".into(), F::Number, 2),
        (R::Freeswitch, "{\"variables\":{\"duration\":\"-1\"}}".into(), F::Negative, 1),
        (
            R::Freeswitch,
            "{\"variables\":{\"start_epoch\":\"1705311012\",\"end_epoch\":\"1705311011\"}}".into(),
            F::Negative,
            1,
        ),
        (R::Freeswitch, "a,b\n".into(), F::Unrecognized, 1),
        (R::Rtpengine, "CALL-ID\n3:\nabc".into(), F::Syntax, 1),
        (R::Rtpengine, "CALL-ID\n3:\nabc\n\nTAG 1\n99:\nab\n\n".into(), F::Syntax, 5),
        (R::Rtpengine, "CALL-ID\n-3:\nabc\n\n".into(), F::Syntax, 1),
        (R::Rtpengine, "CALL-ID\n99999999999999999999:\nabc\n\n".into(), F::Number, 1),
        (R::Rtpengine, "TAG 1\n3:\nabc\n\n".into(), F::Unrecognized, 1),
        (R::Rtpengine, "CALL-ID\n1:\na\n\nTAG x\n0:\n\n\n".into(), F::Number, 5),
        // Planted fault: a length that ends inside a letter cuts the text.
        (R::Rtpengine, "CALL-ID\n1:\n\u{fc}\n\n".into(), F::Syntax, 1),
        (R::Rtpengine, "/x.pcap\n\nSDP mode: offer\n".into(), F::Syntax, 4),
    ] {
        refuses(reader, &text, kind, line);
    }
}

#[test]
fn what_no_conference_writes_is_refused_with_a_code_and_a_line() {
    use Reader as R;
    for (reader, text, kind, line) in [
        (R::Jibri, "{\"id\":1}", F::Unrecognized, 1),
        (R::Jibri, "[]", F::Unrecognized, 1),
        (R::Livekit, "{\"room_name\":\"x\"}", F::Unrecognized, 1),
        (R::Livekit, "{\"egress_id\":\"x\",\n\"started_at\":-1}", F::Number, 2),
        (
            R::Livekit,
            "{\"egress_id\":\"x\",\"started_at\":1705311012000000000,\"ended_at\":1705311011000000000}",
            F::Negative,
            1,
        ),
        (R::Generic, "{\"a\":1}{\"a\":1,\"a\":2}", F::DuplicateKey, 1),
        (R::Generic, "{\"duration\":-1}", F::Negative, 1),
        (R::Generic, "7", F::Unrecognized, 1),
        (R::Generic, "[[1]]", F::Unrecognized, 1),
        (
            R::Siprec,
            "<recording xmlns='urn:ietf:params:xml:ns:recording:1'>\n<session session_id='1'/>\n<session session_id='1'/></recording>",
            F::DuplicateKey,
            3,
        ),
        (
            R::Siprec,
            "<recording xmlns='urn:ietf:params:xml:ns:recording:1'><session session_id='1'>\n<start-time>noon</start-time></session></recording>",
            F::Time,
            2,
        ),
        (
            R::Bigbluebutton,
            "<recording meeting_id='m-1700000000000'><event timestamp='9223372036854775807'/>\n<event timestamp='-9223372036854775808'/></recording>",
            F::Number,
            2,
        ),
    ] {
        refuses(reader, text.as_bytes(), kind, line);
    }
    for reader in Reader::ALL {
        assert_eq!(refused(reader, b" \n").kind, F::Empty);
        assert_eq!(refused(reader, &vec![b' '; (8 << 20) + 1]).kind, F::TooBig);
    }
}

/// Whatever stands in a sidecar, no fault repeats it.
#[test]
fn a_fault_shows_nothing_of_the_content() {
    for text in ["{\"+12025550101\":1,\"+12025550101\":2}", "<a>+12025550101</b>", "+12025550101"] {
        for reader in Reader::ALL {
            let fault = refused(reader, text.as_bytes());
            assert!(!format!("{fault} {fault:?}").contains("0101"), "{reader:?}");
        }
    }
}

fn fixtures() -> Vec<Vec<u8>> {
    manifest().iter().map(|case| std::fs::read(folder().join(&case.file)).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Bits turned, parts cut out, repeated and swapped with parts of other fixtures, for every
    /// reader: an answer each time.
    #[test]
    fn no_damage_panics(
        which in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        wounds in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8, 0..64_usize), 0..6),
    ) {
        let fixtures = fixtures();
        let mut bytes = which.get(&fixtures).clone();
        let other = other.get(&fixtures);
        for (place, byte, kind, len) in wounds {
            if bytes.is_empty() {
                break;
            }
            let from = place.index(bytes.len());
            let to = (from + len).min(bytes.len());
            match kind {
                0 => bytes[from] ^= byte,
                1 => drop(bytes.drain(from..to)),
                2 => bytes.truncate(from),
                _ => {
                    let start = place.index(other.len());
                    let part = other[start..(start + len).min(other.len())].to_vec();
                    drop(bytes.splice(from..from, part));
                }
            }
        }
        let path = StorePath::new("folder/sidecar-0123456789abcdef.txt").unwrap();
        for reader in Reader::ALL {
            if let Err(fault) = reader.read(&bytes, &Given::new(&path, &TimeZone::UTC)) {
                prop_assert!(fault.offset <= bytes.len() && fault.line >= 1);
            }
        }
    }
}
