//! The recorders' habits, as data.
//!
//! A profile says which names are not recordings, how a recorder tells that it is done, what
//! stands beside a recording, what a name says, and where the recorder leaves plaintext behind.
//! To add a recorder: a row here and a case in the tests of `finish`. Nothing else knows a
//! recorder by name. A file that no rule speaks of is a recording, because what is not sealed
//! stays in clear.

use std::time::Duration;

use crate::domain::StorePath;

use super::naming::{self, NameFacts};

/// What one kind of recorder does with its files.
#[derive(Debug, PartialEq, Eq)]
pub struct Profile {
    /// The name in `--store PATH:PROFILE`.
    pub name: &'static str,
    /// How long a file must lie unchanged, where nothing better tells that it is done.
    pub settle: Duration,
    /// What besides lying still says "done".
    pub marker: Option<Marker>,
    /// Working files of the recorder, besides [`TEMPORARY`]: patterns with at most one `*`.
    pub temporary: &'static [&'static str],
    /// What stands beside a recording and tells about people.
    pub sidecars: &'static [SidecarRule],
    /// Templates of file names, without suffix, most telling first; see [`naming::read`].
    pub naming: &'static [&'static str],
    /// Where else the recorder leaves plaintext, for `recseal doctor`.
    pub leftovers: &'static [Leftover],
}

/// A place outside the store where a recorder leaves plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The folder as the recorder comes; empty where only its configuration knows.
    pub folder: &'static str,
    /// Which files in it: a pattern with at most one `*`.
    pub files: &'static str,
    /// What they are, for a person.
    pub what: &'static str,
}

/// A file whose coming or going says that a recording is done.
///
/// A place is relative to the recording's folder and may begin with `../`; with a `/` in front it
/// is relative to the store's root. It holds one of `{stem}` (the name without suffix), `{call}`
/// (the stem without its last dash-separated part) or `{meeting}` (the second folder of the path).
/// A place outside the store is never there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// Done once it exists.
    Present(&'static str),
    /// Done once it is gone.
    Absent(&'static str),
    /// Done once one of `done` exists and nothing of `working` does any more.
    Stage {
        /// What says that the last step was taken.
        done: &'static [&'static str],
        /// What exists while a step is being taken.
        working: &'static [&'static str],
    },
}

/// How a sidecar finds its recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SidecarRule {
    /// A file with one of these suffixes belongs to the recording with the same stem. The suffix
    /// may have two parts (`cdr.json`).
    Stem(&'static [&'static str]),
    /// A file of this name belongs to every recording in its folder.
    Folder(&'static str),
    /// A file of this name belongs to every recording in its folder and in the folders below.
    Tree(&'static str),
    /// A file with this suffix in the sibling folder `from` belongs to the recording with the
    /// same stem in the sibling folder `to`.
    Sibling {
        /// Folder of the sidecar.
        from: &'static str,
        /// Folder of the recording.
        to: &'static str,
        /// What the sidecar's name has in front; it need not be there.
        prefix: &'static str,
        /// Suffix of the sidecar.
        suffix: &'static str,
    },
}

/// Whether a name is worth a look at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// A recording or a sidecar.
    Content,
    /// A working file of the recorder. It may hold plaintext: `doctor` lists old ones.
    Temporary,
    /// One of our own files.
    Ours,
}

impl Profile {
    /// The profile called `name`.
    ///
    /// # Errors
    ///
    /// [`UnknownProfile`], which lists those there are.
    pub fn named(name: &str) -> Result<&'static Self, UnknownProfile> {
        PROFILES.iter().find(|profile| profile.name == name).ok_or(UnknownProfile)
    }

    /// Sorts out by name alone; every component counts, so what lies in a hidden folder is hidden.
    pub fn name_kind(&self, path: &StorePath) -> NameKind {
        let mut kind = NameKind::Content;
        for name in path.expose_bytes().split(|b| *b == b'/') {
            if OURS.iter().any(|pattern| name_fits(pattern, name)) {
                return NameKind::Ours;
            }
            if TEMPORARY.iter().chain(self.temporary).any(|pattern| name_fits(pattern, name)) {
                kind = NameKind::Temporary;
            }
        }
        kind
    }

    /// What the name of `path` says.
    pub fn name_facts(&self, path: &StorePath) -> Option<NameFacts> {
        naming::read(self.naming, split_suffix(path.expose_name()).0)
    }
}

/// `name` cut at its last dot: stem and suffix. A leading dot starts no suffix.
pub(super) fn split_suffix(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|b| *b == b'.') {
        Some(dot) if dot > 0 => (&name[..dot], &name[dot + 1..]),
        _ => (name, &[]),
    }
}

/// True if `name` is `pattern`, in which one `*` stands for any bytes.
pub fn name_fits(pattern: &str, name: &[u8]) -> bool {
    match pattern.split_once('*') {
        None => pattern.as_bytes() == name,
        Some((head, tail)) => {
            name.len() >= head.len() + tail.len()
                && name.starts_with(head.as_bytes())
                && name.ends_with(tail.as_bytes())
        }
    }
}

/// A profile that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such recorder profile; there are {}", names().join(", "))]
pub struct UnknownProfile;

fn names() -> Vec<&'static str> {
    PROFILES.iter().map(|profile| profile.name).collect()
}

/// Every profile, the default first.
pub const PROFILES: &[Profile] =
    &[GENERIC, ASTERISK, FREEPBX, FREESWITCH, RTPENGINE, OREKA, JIBRI, BIGBLUEBUTTON, LIVEKIT, OBS];

/// Any recorder: lying still is all there is to see. Also right for those that write `.part` and
/// rename (thevoiceguy/siphon-ai:docs/RECORDING.md).
const GENERIC: Profile = Profile {
    name: "generic",
    settle: SETTLE,
    marker: None,
    temporary: &[],
    sidecars: &[SidecarRule::Stem(TEXT_SUFFIXES)],
    naming: &["{at}_{call}", "{at}-{call}", "{at}"],
    leftovers: &[],
};

/// MixMonitor writes under the final name and patches the header at close; with
/// `cache_record_files` an empty placeholder comes first and the audio is moved over it at the
/// end; `a()` opens a finished file again. Source: asterisk/asterisk:apps/app_mixmonitor.c,
/// main/file.c, formats/format_wav.c.
const ASTERISK: Profile = Profile {
    name: "asterisk",
    settle: SETTLE,
    marker: None,
    temporary: &[],
    sidecars: &[SidecarRule::Stem(TEXT_SUFFIXES)],
    naming: &["{unique}", "{text}-{unique}"],
    leftovers: ASTERISK_LEFTOVERS,
};

/// Asterisk with FreePBX's names, which hold both numbers. Source:
/// FreePBX/callrecording:functions.inc.php.
const FREEPBX: Profile = Profile {
    name: "freepbx",
    naming: &["{kind}-{to}-{from}-{at}-{call}", "{text}-{unique}", "{unique}"],
    ..ASTERISK
};

/// Names are the dialplan's, with FusionPBX the call's UUID. Records of the call come as
/// `{uuid}.cdr.json` or `.cdr.xml`. Source: signalwire/freeswitch:src/switch_ivr_async.c,
/// src/mod/event_handlers/mod_json_cdr, src/mod/xml_int/mod_xml_cdr;
/// fusionpbx/fusionpbx:app/call_recordings.
const FREESWITCH: Profile = Profile {
    name: "freeswitch",
    settle: SETTLE,
    marker: None,
    temporary: &[],
    sidecars: &[SidecarRule::Stem(&["cdr.json", "cdr.xml"]), SidecarRule::Stem(TEXT_SUFFIXES)],
    naming: &["{uuid}", "{text}_{uuid}"],
    leftovers: &[
        Leftover {
            folder: "/var/log/freeswitch/json_cdr",
            files: "*",
            what: "call records; failed posts stay here",
        },
        Leftover {
            folder: "/var/log/freeswitch/xml_cdr",
            files: "*",
            what: "call records; failed posts stay here",
        },
        Leftover {
            folder: "",
            files: "*",
            what: "recordings in the database of FusionPBX, written back for waveforms",
        },
    ],
};

/// Opened under the final name, no rename. While the call lasts its `.meta` file exists in the
/// spool; where spool and output are one folder that tells when it ends. In pcap mode
/// `metadata/rtpengine-meta-{stem}.txt` is renamed in last, and was a `.tmp` until then. Source: sipwise/rtpengine:recording-daemon/output.c,
/// inotify.c, metafile.c, docs/rtpengine-recording.md, daemon/recording.c.
const RTPENGINE: Profile = Profile {
    name: "rtpengine",
    settle: SETTLE,
    marker: Some(Marker::Absent("{call}.meta")),
    temporary: &[],
    sidecars: &[
        SidecarRule::Sibling {
            from: "metadata",
            to: "pcaps",
            prefix: "rtpengine-meta-",
            suffix: "txt",
        },
        SidecarRule::Stem(TEXT_SUFFIXES),
    ],
    naming: &["{call}-{tag}-{leg}", "{call}-{tag}"],
    leftovers: &[
        Leftover { folder: "/tmp", files: "rtpengine-meta-*", what: "session descriptions" },
        Leftover { folder: "/var/spool/rtpengine", files: "*", what: "captured calls" },
    ],
};

/// A batch step turns the native `.mcf` into the final file and deletes it. Source:
/// OrecX/Oreka:documentation/oreka-user-manual.xml, orkaudio/config-linux-template.xml.
const OREKA: Profile = Profile {
    name: "oreka",
    settle: SETTLE,
    marker: None,
    temporary: &["*.mcf"],
    sidecars: &[SidecarRule::Stem(TEXT_SUFFIXES)],
    naming: &["{at}_{call}"],
    leftovers: &[
        Leftover {
            folder: "/var/log/orkaudio/audio",
            files: "*.mcf",
            what: "captured calls that were not worked up",
        },
        Leftover { folder: "/var/log/orkaudio", files: "tapelist.log", what: "who called whom" },
    ],
};

/// One folder for each session. `metadata.json` is written after the media is complete, then the
/// finalize script runs and may upload the file, hence the longer settle. Source:
/// jitsi/jibri:src/main/kotlin/org/jitsi/jibri/service/impl/FileRecordingJibriService.kt.
const JIBRI: Profile = Profile {
    name: "jibri",
    settle: Duration::from_secs(60),
    marker: Some(Marker::Present("metadata.json")),
    temporary: &[],
    sidecars: &[SidecarRule::Folder("metadata.json"), SidecarRule::Stem(TEXT_SUFFIXES)],
    naming: &["{room}_{at}"],
    leftovers: &[Leftover {
        folder: "/tmp/recordings",
        files: "*",
        what: "recordings from before the folder was changed",
    }],
};

/// The store is the folder `recording` itself, because the flags lie in it: `raw/{meeting}` holds
/// the material, and `status/…` says how far it was worked up.
///
/// `archived/{meeting}.done` means only that the material is complete: sanity, processing and
/// publishing, which may take hours, still read it. `published/{meeting}-presentation.done` is the
/// last step of the format that every installation makes; other formats are then being made if
/// their working folder is there. Nobody pressed the button in a meeting with `.norecord`: nothing
/// is made of it, yet all of it lies there in clear. A failed meeting has neither and waits for
/// `marker_wait`, like one in a store that begins at `raw` and cannot see the flags. What is rebuilt
/// later needs the material back.
///
/// `events.xml` has the attendees and the chat. Slides and notes are taken as recordings. The
/// folders of the flags and of the work in progress belong to the recorder. Source:
/// bigbluebutton/bigbluebutton:record-and-playback/core/scripts/archive/archive.rb,
/// core/lib/recordandplayback/workers/process_worker.rb, publish_worker.rb,
/// core/scripts/bigbluebutton.yml.
const BIGBLUEBUTTON: Profile = Profile {
    name: "bigbluebutton",
    settle: Duration::from_secs(60),
    marker: Some(Marker::Stage {
        done: &[
            "/status/published/{meeting}-presentation.done",
            "/status/archived/{meeting}.norecord",
        ],
        working: &[
            "/process/presentation/{meeting}",
            "/process/video/{meeting}",
            "/process/screenshare/{meeting}",
            "/process/podcast/{meeting}",
            "/process/notes/{meeting}",
        ],
    }),
    temporary: &["status", "process", "publish"],
    sidecars: &[SidecarRule::Tree("events.xml")],
    naming: &["{meeting}-{tag}", "{meeting}"],
    leftovers: &[
        Leftover {
            folder: "/var/freeswitch/meetings",
            files: "*",
            what: "sound until it is archived",
        },
        Leftover {
            folder: "/var/lib/bbb-webrtc-recorder",
            files: "*",
            what: "video until it is archived",
        },
        Leftover { folder: "/var/kurento", files: "*", what: "video until it is archived" },
        Leftover {
            folder: "/var/bigbluebutton/published",
            files: "*",
            what: "what is played back",
        },
        Leftover {
            folder: "/var/bigbluebutton/events",
            files: "*",
            what: "what was written in meetings",
        },
        Leftover {
            folder: "",
            files: "*",
            what: "`process` and `publish` beside `raw`, after a failure",
        },
    ],
};

/// Written to a temporary folder, then uploaded or moved; the manifest comes last but is not
/// always written, so it is not waited for. Source: livekit/egress:pkg/config/manifest.go,
/// output_file.go.
const LIVEKIT: Profile = Profile {
    name: "livekit",
    settle: SETTLE,
    marker: None,
    temporary: &[],
    sidecars: &[SidecarRule::Stem(TEXT_SUFFIXES)],
    naming: &["{room}-{at}"],
    leftovers: &[Leftover {
        folder: "/home/egress/tmp",
        files: "*",
        what: "recordings before they are uploaded",
    }],
};

/// Hybrid MP4 plays while it is still written, and is rewritten in place at stop: only the closed
/// file counts. Source: obsproject.com/kb/hybrid-mp4.
const OBS: Profile = Profile {
    name: "obs",
    settle: SETTLE,
    marker: None,
    temporary: &[],
    sidecars: &[SidecarRule::Stem(TEXT_SUFFIXES)],
    naming: &["{at}", "{text} {at}"],
    leftovers: &[Leftover {
        folder: "",
        files: "*.mkv",
        what: "what stays after `Remux Recordings`",
    }],
};

/// Of Asterisk, and of what is built on it.
const ASTERISK_LEFTOVERS: &[Leftover] = &[
    Leftover { folder: "/var/spool/asterisk/tmp", files: "*", what: "calls being recorded" },
    Leftover { folder: "/var/spool/asterisk/voicemail", files: "*", what: "copies by option m()" },
    Leftover { folder: "", files: "*", what: "`record_cache_dir` of asterisk.conf, often /tmp" },
];

/// Suffixes of texts that recorders and transcribers put beside media.
const TEXT_SUFFIXES: &[&str] = &["json", "xml", "txt", "csv", "meta", "srt", "vtt"];

/// Names every profile takes for working files.
pub const TEMPORARY: &[&str] = &[".*", "*~", "*.part", "*.tmp", "*.temp"];

/// Names of our own: the id file, sealed files beside originals and their unfinished forms.
pub const OURS: &[&str] = &[".recseal*", "*.sealed", "*.sealed.part"];

const SETTLE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn path(bytes: &[u8]) -> StorePath {
        StorePath::new(bytes).unwrap()
    }

    #[test]
    fn profiles_are_found_by_name_and_named_when_not() {
        for profile in PROFILES {
            assert_eq!(Profile::named(profile.name), Ok(profile));
        }
        let error = Profile::named("asterix").unwrap_err().to_string();
        assert!(error.contains("asterisk, freepbx, freeswitch"), "{error}");
    }

    #[test]
    fn names_are_sorted_out_by_every_component() {
        use NameKind::{Content, Ours, Temporary};
        for (name, kind) in [
            (&b"call.wav"[..], Content),
            (b"2026/call", Content),
            (b"call.part", Temporary),
            (b".call.wav.aX3", Temporary),
            (b".rsync/call.wav", Temporary),
            (b"call.wav~", Temporary),
            (b"\xff\xfe.wav", Content),
            (b".recseal-store", Ours),
            (b".recseal/call.wav", Ours),
            (b"call.wav.sealed", Ours),
            (b"call.wav.sealed.part", Ours),
            (b"x.mcf", Content),
        ] {
            assert_eq!(GENERIC.name_kind(&path(name)), kind, "{name:?}");
        }
        assert_eq!(OREKA.name_kind(&path(b"x.mcf")), Temporary);
        // Planted fault: the prefix alone taken for unfinished, so the finished text stays clear.
        let meta = |name: &[u8]| RTPENGINE.name_kind(&path(name));
        assert_eq!(meta(b"tmp/rtpengine-meta-c-1.tmp"), Temporary);
        assert_eq!(meta(b"metadata/rtpengine-meta-c-1.txt"), Content);
        // Planted fault: without the length check, `a*a` fits `a`.
        assert!(!name_fits("ab*bc", b"abc"));
    }

    /// One name of each recorder, as its sources print it.
    #[test]
    fn every_recorders_names_are_read() {
        let read = |profile: &Profile, name: &str| {
            let Some(facts) = profile.name_facts(&path(name.as_bytes())) else {
                return Default::default();
            };
            let local = facts.started_local.map(|at| at.to_string());
            let started = local.or(facts.started_at.map(|at| at.to_string()));
            (
                started.unwrap_or_default(),
                facts.expose_call().or(facts.expose_room()).unwrap_or_default().to_owned(),
            )
        };
        let at = "2026-11-23T18:24:57";
        for (profile, name, started, id) in [
            (GENERIC, "20261123-182457_77.wav", at, "77"),
            (ASTERISK, "in/1705311012.7.wav", "2024-01-15T09:30:12.000Z", "1705311012.7"),
            (FREEPBX, "2026/11/23/q-600-100-20261123-182457-1705311012.7.wav", at, "1705311012.7"),
            (
                FREESWITCH,
                "a.example/archive/2026/Nov/23/0192f4d6-1111-4222-8333-444455556666.mp3",
                "",
                "0192f4d6-1111-4222-8333-444455556666",
            ),
            (RTPENGINE, "a-b@192.0.2.1-0123456789abcdef-mix.wav", "", "a-b@192.0.2.1"),
            (OREKA, "2026/11/23/18/20261123_182457_AB.wav", at, "AB"),
            (JIBRI, "s1/team_one_2026-11-23-18-24-57.mp4", at, "team_one"),
            (BIGBLUEBUTTON, AUDIO, "2023-11-14T22:13:20.000Z", MEETING),
            (BIGBLUEBUTTON, "raw/m/presentation/p/slide-1.png", "", ""),
            (LIVEKIT, "team-one-2026-11-23T182457.mp4", at, "team-one"),
            (OBS, "2026-11-23 18-24-57.mkv", at, ""),
            (OBS, "Replay 2026-11-23 18-24-57.mkv", at, ""),
        ] {
            assert_eq!(read(&profile, name), (started.to_owned(), id.to_owned()), "{name}");
        }
    }

    const MEETING: &str = "183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1700000000000";
    const AUDIO: &str =
        "raw/m/audio/183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1700000000000-1700000012345.opus";
}
