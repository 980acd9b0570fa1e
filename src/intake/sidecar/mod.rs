//! Files beside media that tell about people: whom they belong to, and what they tell.
//!
//! ```text
//! name ─▶ owner: which recordings ─▶ reader_for(name, head) ─▶ Reader::read(bytes)
//!                                                             ├─▶ conversations
//!                                                             └─▶ SidecarFault: code, line, byte
//! bytes ─▶ secrets_in: a warning to people
//! ```
//!
//! A sidecar is known by its name alone, from the rules of its profile; its content is never
//! needed to find its recording. What it tells is read by a [`Reader`]; what may hold credentials
//! is searched by [`secrets_in`].
//!
//! # Invariants
//!
//! - A reader is a function of bytes: it opens nothing, and no bytes make it panic.
//! - Size, depth, parts and lengths are limited; nothing is expanded, fetched or executed.
//! - A sidecar is read whole or not at all, and a fault never shows what stands there.
//! - What names or looks like a secret is in no conversation.

mod address;
mod asterisk;
mod bigbluebutton;
mod facts;
mod fault;
mod freeswitch;
mod generic;
mod jibri;
mod json;
mod livekit;
mod moment;
mod reader;
mod rtpengine;
mod secrets;
mod siprec;
mod table;
mod xml;

pub use fault::{FaultKind, SidecarFault};
pub use reader::{Given, Reader, reader_for};
pub use secrets::{SecretFinding, SecretKind, secrets_in};

use crate::domain::StorePath;

use super::profile::{Profile, SidecarRule, split_suffix};

/// Which recordings a sidecar belongs to. Holds paths: personal data, printed as nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The recording at this path, whatever its suffix.
    Stem(StorePath),
    /// Every recording in this folder; `None` is the store's root.
    Folder(Option<StorePath>),
    /// Every recording in this folder and below; `None` is the store's root.
    Tree(Option<StorePath>),
}

impl Owner {
    /// Where to look for it: the folder, and how its name begins.
    pub fn place(&self) -> (Option<StorePath>, &[u8]) {
        match self {
            Self::Stem(stem) => (stem.folder(), stem.expose_name()),
            Self::Folder(folder) | Self::Tree(folder) => (folder.clone(), &[]),
        }
    }

    /// True if it may lie deeper than [`Self::place`].
    pub fn is_tree(&self) -> bool {
        matches!(self, Self::Tree(_))
    }

    /// True if `recording` is one of them.
    pub fn owns(&self, recording: &StorePath) -> bool {
        match self {
            Self::Folder(folder) => recording.folder() == *folder,
            Self::Tree(None) => true,
            Self::Tree(Some(folder)) => {
                let rest = recording.expose_bytes().strip_prefix(folder.expose_bytes());
                rest.is_some_and(|rest| rest.starts_with(b"/"))
            }
            Self::Stem(stem) => {
                let name = recording.expose_name();
                recording.folder() == stem.folder()
                    && (split_suffix(name).0 == stem.expose_name() || name == stem.expose_name())
            }
        }
    }
}

/// Whom `path` belongs to; `None` if its name is not that of a sidecar.
pub fn owner(profile: &Profile, path: &StorePath) -> Option<Owner> {
    let folder = path.folder();
    profile.sidecars.iter().find_map(|rule| match *rule {
        SidecarRule::Folder(name) => {
            (path.expose_name() == name.as_bytes()).then(|| Owner::Folder(folder.clone()))
        }
        SidecarRule::Tree(name) => {
            (path.expose_name() == name.as_bytes()).then(|| Owner::Tree(folder.clone()))
        }
        SidecarRule::Stem(suffixes) => {
            let stem =
                suffixes.iter().find_map(|suffix| strip_suffix(path.expose_name(), suffix))?;
            StorePath::join(folder.as_ref(), stem).map(Owner::Stem)
        }
        SidecarRule::Sibling { from, to, prefix, suffix } => {
            let folder =
                folder.as_ref().filter(|folder| folder.expose_name() == from.as_bytes())?;
            let stem = strip_suffix(path.expose_name(), suffix)?;
            let stem = stem.strip_prefix(prefix.as_bytes()).unwrap_or(stem);
            let sibling = StorePath::join(folder.folder().as_ref(), to.as_bytes())?;
            StorePath::join(Some(&sibling), stem).map(Owner::Stem)
        }
    })
}

/// The path that a marker's `place` means for the recording at `path`; `None` if it would lie
/// outside the store.
pub(super) fn beside(path: &StorePath, place: &str) -> Option<StorePath> {
    let stem = split_suffix(path.expose_name()).0;
    let call = stem.iter().rposition(|b| *b == b'-').map_or(stem, |dash| &stem[..dash]);
    let mut folder = path.folder();
    let mut name = place;
    if let Some(rest) = name.strip_prefix('/') {
        folder = None;
        name = rest;
    }
    while let Some(rest) = name.strip_prefix("../") {
        folder = folder?.folder();
        name = rest;
    }
    let filled = match name
        .split_once('{')
        .and_then(|(head, rest)| rest.split_once('}').map(|(field, tail)| (head, field, tail)))
    {
        Some((head, "meeting", tail)) => {
            let meeting = path.folder()?;
            let meeting = meeting.expose_bytes().split(|b| *b == b'/').nth(1)?;
            [head.as_bytes(), meeting, tail.as_bytes()].concat()
        }
        Some((head, "call", tail)) => [head.as_bytes(), call, tail.as_bytes()].concat(),
        Some((head, _, tail)) => [head.as_bytes(), stem, tail.as_bytes()].concat(),
        None => name.as_bytes().to_vec(),
    };
    StorePath::join(folder.as_ref(), &filled)
}

/// `name` without `.suffix`, in any letter case; `None` if nothing would be left.
fn strip_suffix<'a>(name: &'a [u8], suffix: &str) -> Option<&'a [u8]> {
    let cut = name.len().checked_sub(suffix.len() + 1).filter(|cut| *cut > 0)?;
    (name[cut] == b'.' && name[cut + 1..].eq_ignore_ascii_case(suffix.as_bytes()))
        .then_some(&name[..cut])
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod pairing {
    use super::*;

    fn path(text: &str) -> StorePath {
        StorePath::new(text).unwrap()
    }

    /// Sidecar, profile, a recording of its own, and one of somebody else.
    #[test]
    fn a_sidecar_finds_its_recording() {
        for (profile, sidecar, own, other) in [
            ("generic", "a/call.json", "a/call.wav", "b/call.wav"),
            ("generic", "call.JSON", "call.wav", "call.b.wav"),
            ("generic", "a/call.wav.json", "a/call.wav", "a/call2.wav"),
            ("asterisk", "msg0000.txt", "msg0000.gsm", "msg0001.gsm"),
            ("freeswitch", "x/u-1.cdr.xml", "x/u-1.mp3", "x/u-2.mp3"),
            ("jibri", "s1/metadata.json", "s1/room_1.mp4", "s2/room_1.mp4"),
            ("jibri", "metadata.json", "room.mp4", "s1/room.mp4"),
            ("rtpengine", "r/metadata/c-1.txt", "r/pcaps/c-1.pcap", "r/metadata/c-1.pcap"),
            // As 10.5.3 names it. Planted fault: the prefix left on.
            ("rtpengine", "metadata/rtpengine-meta-c-1.txt", "pcaps/c-1.pcap", "pcaps/c-2.pcap"),
            ("rtpengine", "c-1.txt", "c-1.wav", "pcaps/c-1.pcap"),
            (
                "bigbluebutton",
                "raw/m-1/events.xml",
                "raw/m-1/audio/a.opus",
                "raw/m-10/audio/a.opus",
            ),
            ("bigbluebutton", "raw/m-1/events.xml", "raw/m-1/video/m-1/w.webm", "raw/w.webm"),
        ] {
            let profile = Profile::named(profile).unwrap();
            let owner = owner(profile, &path(sidecar)).expect(sidecar);
            assert!(owner.owns(&path(own)), "{sidecar} {own}");
            // Planted fault: comparing names and not folders.
            assert!(!owner.owns(&path(other)), "{sidecar} {other}");
        }
    }

    #[test]
    fn a_recording_is_not_a_sidecar() {
        for profile in super::super::profile::PROFILES {
            for name in ["call.wav", "call", "json", ".json", "a/xjson", "call.json.wav"] {
                assert_eq!(owner(profile, &path(name)), None, "{} {name}", profile.name);
            }
        }
    }

    #[test]
    fn a_marker_never_leads_out_of_the_store() {
        assert_eq!(beside(&path("a/c-1-x.wav"), "{call}.meta"), Some(path("a/c-1.meta")));
        assert_eq!(beside(&path("p/c.pcap"), "../m/{stem}.txt"), Some(path("m/c.txt")));
        assert_eq!(beside(&path("p/c.pcap"), "metadata.json"), Some(path("p/metadata.json")));
        assert_eq!(beside(&path("c.pcap"), "../m/{stem}.txt"), None);
        let flag = "/status/archived/{meeting}.done";
        let deep = path("raw/m-1/video/m-1/w.webm");
        assert_eq!(beside(&deep, flag), Some(path("status/archived/m-1.done")));
        assert_eq!(beside(&path("m-1/a.opus"), flag), None, "no second folder");
    }
}
