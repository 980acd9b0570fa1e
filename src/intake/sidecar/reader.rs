//! Which reader takes which sidecar, and what every one of them is told.

use std::path::Path;

use jiff::tz::TimeZone;

use crate::domain::StorePath;
use crate::domain::conversation::ConversationInput;
use crate::intake::profile::Profile;

use super::fault::SidecarFault;
use super::{asterisk, bigbluebutton, freeswitch, generic, jibri, livekit, rtpengine, siprec};

/// What a reader knows besides the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Where the sidecar lies in its store.
    pub path: &'a StorePath,
    /// The root of the store as its recorder names it, to find recordings that it names from
    /// the root of its host.
    pub root: Option<&'a Path>,
    /// The zone of times that are written without one.
    pub zone: &'a TimeZone,
    /// The largest sidecar that is read, in bytes. A reader may need 25 times as much memory.
    pub bytes_max: usize,
}

impl<'a> Given<'a> {
    /// A sidecar at `path`, with times of `zone`: at most 8 MiB, its recorder's root unknown.
    pub fn new(path: &'a StorePath, zone: &'a TimeZone) -> Self {
        Self { path, root: None, zone, bytes_max: BYTES_MAX }
    }
}

/// Who reads a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reader {
    /// Asterisk: call records as CSV and JSON, and what stands beside a voice mail.
    Asterisk,
    /// FreeSWITCH: call records as JSON, XML and CSV.
    Freeswitch,
    /// rtpengine: the metadata of both ways of recording.
    Rtpengine,
    /// Jibri: `metadata.json`.
    Jibri,
    /// BigBlueButton: `events.xml`.
    Bigbluebutton,
    /// LiveKit egress: the manifest.
    Livekit,
    /// RFC 7865, from any session recording server.
    Siprec,
    /// Any JSON.
    Generic,
}

impl Reader {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Asterisk,
        Self::Freeswitch,
        Self::Rtpengine,
        Self::Jibri,
        Self::Bigbluebutton,
        Self::Livekit,
        Self::Siprec,
        Self::Generic,
    ];

    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asterisk => "asterisk",
            Self::Freeswitch => "freeswitch",
            Self::Rtpengine => "rtpengine",
            Self::Jibri => "jibri",
            Self::Bigbluebutton => "bigbluebutton",
            Self::Livekit => "livekit",
            Self::Siprec => "siprec",
            Self::Generic => "generic",
        }
    }

    /// The conversations that `bytes` tell of, in their order. Touches nothing, never panics, and
    /// takes time and memory in proportion to the length, which `given` limits.
    ///
    /// # Errors
    ///
    /// [`SidecarFault`]: all is refused then, never a part.
    pub fn read(
        self,
        bytes: &[u8],
        given: &Given<'_>,
    ) -> Result<Vec<ConversationInput>, SidecarFault> {
        match self {
            Self::Asterisk => asterisk::read(bytes, given),
            Self::Freeswitch => freeswitch::read(bytes, given),
            Self::Rtpengine => rtpengine::read(bytes, given),
            Self::Jibri => jibri::read(bytes, given),
            Self::Bigbluebutton => bigbluebutton::read(bytes, given),
            Self::Livekit => livekit::read(bytes, given),
            Self::Siprec => siprec::read(bytes, given),
            Self::Generic => generic::read(bytes, given),
        }
    }
}

/// The reader for a sidecar at `path` of a store with `profile` that begins with `head` (some KiB
/// are enough); `None` for transcripts and other texts that are no records.
///
/// A guess: the reader itself says `Unrecognized` where it was wrong.
pub fn reader_for(profile: &Profile, path: &StorePath, head: &[u8]) -> Option<Reader> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let name = path.expose_name();
    let has = |mark: &str| head.windows(mark.len()).any(|part| part == mark.as_bytes());
    let is = |suffix: &str| ends_with(name, suffix);
    if head.starts_with(b"<") {
        return match profile.name {
            _ if has(siprec::NAMESPACE) => Some(Reader::Siprec),
            _ if name == b"events.xml" && has("<recording") => Some(Reader::Bigbluebutton),
            _ if has("<cdr") => Some(Reader::Freeswitch),
            _ => None,
        };
    }
    let is_json = head.starts_with(b"{") || head.starts_with(b"[");
    match profile.name {
        "asterisk" | "freepbx" if is(".csv") || has("[message]") => Some(Reader::Asterisk),
        "asterisk" | "freepbx" if is_json && has("uniqueid") => Some(Reader::Asterisk),
        "freeswitch" if is(".csv") => Some(Reader::Freeswitch),
        "freeswitch" if is_json && has("\"variables\"") => Some(Reader::Freeswitch),
        "rtpengine" if is(".meta") || has("SDP mode:") => Some(Reader::Rtpengine),
        "jibri" if is_json && name == b"metadata.json" => Some(Reader::Jibri),
        "livekit" if is_json && has("egress_id") => Some(Reader::Livekit),
        _ if is_json => Some(Reader::Generic),
        _ => None,
    }
}

fn ends_with(name: &[u8], suffix: &str) -> bool {
    let cut = name.len().saturating_sub(suffix.len());
    name[cut..].eq_ignore_ascii_case(suffix.as_bytes())
}

const BYTES_MAX: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_and_the_name_pick_the_reader() {
        for (profile, path, head, reader) in [
            ("asterisk", "Master.csv", "\"\",\"100\"", Some(Reader::Asterisk)),
            ("asterisk", "INBOX/msg0000.txt", ";\n[message]\n", Some(Reader::Asterisk)),
            ("freepbx", "a.json", "{\"uniqueid\":\"1.2\"}", Some(Reader::Asterisk)),
            ("asterisk", "a.json", "{\"id\":7}", Some(Reader::Generic)),
            (
                "freeswitch",
                "u.cdr.json",
                "{\"core-uuid\":\"\",\"variables\":{",
                Some(Reader::Freeswitch),
            ),
            (
                "freeswitch",
                "u.cdr.xml",
                "<?xml version=\"1.0\"?>\n<cdr core-uuid=",
                Some(Reader::Freeswitch),
            ),
            ("rtpengine", "a.meta", "CALL-ID\n", Some(Reader::Rtpengine)),
            (
                "rtpengine",
                "metadata/a.txt",
                "/x.pcap\n\n\nSDP mode: offer",
                Some(Reader::Rtpengine),
            ),
            ("jibri", "s/metadata.json", "{\"meeting_url\":", Some(Reader::Jibri)),
            (
                "bigbluebutton",
                "raw/m/events.xml",
                "<?xml?><recording>",
                Some(Reader::Bigbluebutton),
            ),
            ("livekit", "EG_1.json", "\u{feff}{\"egress_id\":", Some(Reader::Livekit)),
            (
                "generic",
                "a.xml",
                "<recording xmlns='urn:ietf:params:xml:ns:recording:1'>",
                Some(Reader::Siprec),
            ),
            ("generic", "a.JSON", " [", Some(Reader::Generic)),
            ("generic", "a.srt", "1\n00:00:01,000 --> 00:00:02,000\n", None),
            ("generic", "a.xml", "<transcript>", None),
            ("generic", "a.txt", "", None),
        ] {
            let path = StorePath::new(path).unwrap();
            let found = reader_for(Profile::named(profile).unwrap(), &path, head.as_bytes());
            // Planted fault: the namespace not asked.
            assert_eq!(found, reader, "{profile} {head}");
        }
    }
}
