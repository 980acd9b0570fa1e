//! Each recorder's habit, acted out in a real folder against a clock that the test sets.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::domain::Fingerprint;
use crate::intake::{Lease, Store};

/// A store with a recorder at work in it. `now` is set relative to the file's own change time,
/// which the kernel stamps and no test can choose.
struct Scene {
    dir: tempfile::TempDir,
    store: Store,
    memory: HashMap<StorePath, (Fingerprint, Timestamp)>,
}

impl Scene {
    fn new(profile: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let profile = Profile::named(profile).unwrap();
        let store = Store::open(dir.path(), profile, StoreSettings::default(), &[], None).unwrap();
        Self { dir, store, memory: HashMap::new() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), bytes).unwrap();
    }

    /// The verdict `seconds` after the file last changed, lease included.
    fn ask(&mut self, name: &str, seconds: u64) -> Verdict {
        self.ask_as(name, seconds, |_| ())
    }

    fn ask_as(&mut self, name: &str, seconds: u64, edit: impl Fn(&mut Look<'_>)) -> Verdict {
        let path = StorePath::new(name).unwrap();
        let sighting = self.sighting(&path);
        let print = sighting.fingerprint;
        let changed = Timestamp::from_nanos(print.changed_ns.into());
        let now = changed.plus(Duration::from_secs(seconds));
        let known = self.memory.entry(path.clone()).or_insert((print, now));
        if known.0 != print {
            *known = (print, now);
        }
        let mut look = Look {
            sighting: &sighting,
            first_seen: changed,
            unchanged_since: known.1,
            polls_unchanged: 0,
            told_done: false,
            unfinished: false,
            paired: false,
        };
        edit(&mut look);
        let (profile, settings) = (self.store.profile(), self.store.settings());
        let exists = |path: &StorePath| self.store.exists(path);
        let verdict = decide(profile, settings, self.store.mode(), &look, &exists, now);
        let file = self.store.open_file(&path).unwrap();
        match (verdict, self.store.lease(&file)) {
            (Verdict::Finished | Verdict::Sidecar, Lease::Busy) => Verdict::NotYet { until: None },
            (verdict, _) => verdict,
        }
    }

    fn sighting(&self, path: &StorePath) -> Sighting {
        let mut found = None;
        self.store
            .list(path.folder().as_ref(), &mut |listing| {
                found = listing.sightings.into_iter().find(|sighting| sighting.path == *path);
                if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
        found.expect("the file is there")
    }
}

fn is_waiting(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::NotYet { .. })
}

/// Planted fault: without `empty_wait` the placeholder is taken after ten seconds, and `mv`
/// then puts the recording at a path that is done with.
#[test]
fn an_asterisk_placeholder_waits_for_its_audio() {
    let mut scene = Scene::new("asterisk");
    scene.write("call.wav", b"");
    assert!(is_waiting(scene.ask("call.wav", 3_600)));
    scene.write(".cache-x", b"RIFF audio");
    fs::rename(scene.at(".cache-x"), scene.at("call.wav")).unwrap();
    assert!(is_waiting(scene.ask("call.wav", 9)));
    assert_eq!(scene.ask("call.wav", 10), Verdict::Finished);
    scene.write("lost.wav", b"");
    assert_eq!(scene.ask("lost.wav", 86_400), Verdict::Finished);
}

/// `a()` opens a finished file again. Planted fault: a settle measured from the first sighting.
#[test]
fn an_append_starts_the_wait_anew() {
    let mut scene = Scene::new("asterisk");
    scene.write("call.wav", b"RIFF first");
    assert_eq!(scene.ask("call.wav", 11), Verdict::Finished);
    let mut again = File::options().append(true).open(scene.at("call.wav")).unwrap();
    again.write_all(b"second").unwrap();
    assert!(is_waiting(scene.ask("call.wav", 5)));
    assert!(is_waiting(scene.ask("call.wav", 60)), "still open, however quiet");
    drop(again);
    let known_for_an_hour = |look: &mut Look<'_>| {
        look.first_seen = Timestamp::from_millis(look.first_seen.as_millis() - 3_600_000);
    };
    assert!(is_waiting(scene.ask_as("call.wav", 9, known_for_an_hour)));
    assert_eq!(scene.ask("call.wav", 10), Verdict::Finished);
}

/// Hybrid MP4 plays all the time and is rewritten at stop. Planted fault: no lease check.
#[test]
fn obs_is_done_when_it_lets_go() {
    let mut scene = Scene::new("obs");
    let mut mp4 = File::create(scene.at("2026-11-23 18-24-57.mp4")).unwrap();
    mp4.write_all(b"moov mdat moof moof").unwrap();
    assert!(is_waiting(scene.ask("2026-11-23 18-24-57.mp4", 7_200)));
    mp4.rewind().unwrap();
    mp4.write_all(b"moov").unwrap();
    drop(mp4);
    assert!(is_waiting(scene.ask("2026-11-23 18-24-57.mp4", 9)));
    assert_eq!(scene.ask("2026-11-23 18-24-57.mp4", 10), Verdict::Finished);
}

/// Planted fault: ignoring the marker takes the file in a pause of the call.
#[test]
#[expect(clippy::disallowed_methods, reason = "the recorder removes its own file")]
fn rtpengine_is_done_when_its_meta_file_is_gone() {
    let mut scene = Scene::new("rtpengine");
    scene.write("c-1@a.example-0123456789abcdef.meta", b"sdp");
    scene.write("c-1@a.example-0123456789abcdef-mix.wav", b"RIFF");
    let call = "c-1@a.example-0123456789abcdef-mix.wav";
    assert!(is_waiting(scene.ask(call, 3_600)));
    fs::remove_file(scene.at("c-1@a.example-0123456789abcdef.meta")).unwrap();
    assert_eq!(scene.ask(call, 10), Verdict::Finished);
    // A recorder that died leaves its marker behind: it is not believed for ever.
    scene.write("c-2-9.meta", b"sdp");
    scene.write("c-2-9-mix.wav", b"RIFF");
    assert_eq!(scene.ask("c-2-9-mix.wav", 86_400), Verdict::Finished);
}

/// Planted fault: taking `metadata.json` before its media, which then never counts as done.
#[test]
fn jibri_is_done_when_its_metadata_is_there() {
    let mut scene = Scene::new("jibri");
    scene.write("s1/room_2026-11-23-18-24-57.mp4", b"ftyp");
    assert!(is_waiting(scene.ask("s1/room_2026-11-23-18-24-57.mp4", 3_600)));
    scene.write("s1/metadata.json", b"{}");
    assert!(is_waiting(scene.ask("s1/room_2026-11-23-18-24-57.mp4", 59)));
    assert_eq!(scene.ask("s1/room_2026-11-23-18-24-57.mp4", 60), Verdict::Finished);
    assert!(is_waiting(scene.ask("s1/metadata.json", 61)), "its media is not taken yet");
    let paired = scene.ask_as("s1/metadata.json", 61, |look| look.paired = true);
    assert_eq!(paired, Verdict::Sidecar);
}

/// Its own processing reads the material for hours after it was archived.
///
/// Planted faults: `archived/….done` taken for the last flag; the working folders not looked at;
/// `events.xml` of a meeting without media taken after `pair_within`, flag or not.
#[test]
fn bigbluebutton_is_done_when_nothing_is_made_of_it_any_more() {
    let mut scene = Scene::new("bigbluebutton");
    let (audio, video) = ("raw/m-1/audio/m-1-17.opus", "raw/m-1/video/m-1/w-1.webm");
    for name in [audio, video, "raw/m-1/events.xml", "status/archived/m-1.done"] {
        scene.write(name, b"content");
    }
    assert!(is_waiting(scene.ask(audio, 36_000)), "archived is not worked up");
    assert!(is_waiting(scene.ask("raw/m-1/events.xml", 36_000)), "processing reads it");
    fs::create_dir_all(scene.at("process/video/m-1")).unwrap();
    scene.write("status/published/m-1-presentation.done", b"");
    assert!(is_waiting(scene.ask(video, 36_000)), "another format is being made");
    fs::remove_dir(scene.at("process/video/m-1")).unwrap();
    for name in [audio, video, "raw/m-1/events.xml"] {
        assert_eq!(scene.ask(name, 36_000), Verdict::Finished, "{name}");
    }
    assert!(is_waiting(scene.ask(audio, 59)));
    let paired = scene.ask_as("raw/m-1/events.xml", 61, |look| look.paired = true);
    assert_eq!(paired, Verdict::Sidecar);
    // Flags and work in progress are not ours.
    scene.write("process/presentation/m-1/audio.wav", b"RIFF");
    for name in ["status/archived/m-1.done", "process/presentation/m-1/audio.wav"] {
        assert_eq!(scene.ask(name, 900_000), Verdict::Ignore, "{name}");
    }
}

/// Nobody pressed the button; it was recorded all the same. A failed meeting is not in clear for
/// ever, and a store that begins too deep to see the flags robs nobody.
#[test]
fn bigbluebutton_meetings_that_are_never_published_are_taken_too() {
    let mut scene = Scene::new("bigbluebutton");
    scene.write("raw/m-2/audio/a.opus", b"OggS");
    assert!(is_waiting(scene.ask("raw/m-2/audio/a.opus", 80_000)));
    scene.write("status/archived/m-2.norecord", b"");
    assert_eq!(scene.ask("raw/m-2/audio/a.opus", 60), Verdict::Finished);
    for name in ["raw/failed/audio/a.opus", "m-3/audio/a.opus"] {
        scene.write(name, b"OggS");
        assert!(is_waiting(scene.ask(name, 86_000)), "{name}");
        assert_eq!(scene.ask(name, 86_400), Verdict::Finished, "{name}");
    }
}

#[test]
fn a_sidecar_that_nobody_claims_is_sealed_for_itself() {
    let mut scene = Scene::new("freeswitch");
    scene.write("u-1.cdr.json", b"{}");
    assert!(is_waiting(scene.ask("u-1.cdr.json", 599)));
    assert_eq!(scene.ask("u-1.cdr.json", 600), Verdict::Finished);
    assert_eq!(scene.ask_as("u-1.cdr.json", 10, |look| look.paired = true), Verdict::Sidecar);
}

#[test]
fn working_files_are_left_alone_until_they_get_their_name() {
    let mut scene = Scene::new("generic");
    scene.write("call.wav.part", b"RIFF");
    assert_eq!(scene.ask("call.wav.part", 90_000), Verdict::Ignore);
    fs::rename(scene.at("call.wav.part"), scene.at("call.wav")).unwrap();
    assert!(is_waiting(scene.ask("call.wav", 9)), "a rename is a change");
    assert_eq!(scene.ask("call.wav", 10), Verdict::Finished);
}

#[test]
fn a_file_of_no_known_kind_is_a_recording() {
    for profile in super::super::profile::PROFILES {
        let mut scene = Scene::new(profile.name);
        scene.write("raw/m/metadata.json", b"{}"); // Jibri's marker
        scene.write("status/archived/m.norecord", b""); // BigBlueButton's
        scene.write("raw/m/strange", b"bytes");
        assert_eq!(scene.ask("raw/m/strange", 60), Verdict::Finished, "{}", profile.name);
    }
}

#[test]
fn unfinished_media_gets_ten_minutes_and_a_hook_gets_none() {
    let mut scene = Scene::new("generic");
    scene.write("call.wav", b"RIFF\0\0\0\0");
    assert!(is_waiting(scene.ask_as("call.wav", 599, |look| look.unfinished = true)));
    let at_last = scene.ask_as("call.wav", 600, |look| look.unfinished = true);
    assert_eq!(at_last, Verdict::Finished);
    assert_eq!(scene.ask_as("call.wav", 0, |look| look.told_done = true), Verdict::Finished);
    let writer = File::options().append(true).open(scene.at("call.wav")).unwrap();
    let told = scene.ask_as("call.wav", 0, |look| look.told_done = true);
    assert!(is_waiting(told), "a hook does not overrule an open file");
    drop(writer);
}

#[test]
fn a_file_that_never_rests_raises_an_alarm() {
    let mut scene = Scene::new("generic");
    scene.write("call.wav", b"RIFF");
    let verdict = scene.ask_as("call.wav", 1, |look| {
        look.first_seen = Timestamp::from_millis(look.unchanged_since.as_millis() - 90_000_000);
    });
    assert_eq!(verdict, Verdict::Alarm(STILL_WRITTEN));
}

/// One file as a property test draws it.
fn drawn(changed_s: i64, modified_s: i64) -> Sighting {
    let nanos = |seconds: i64| seconds * 1_000_000_000;
    Sighting {
        path: StorePath::new("call.wav").unwrap(),
        fingerprint: Fingerprint {
            device: 1,
            inode: 1,
            size_bytes: 9,
            modified_ns: nanos(modified_s),
            changed_ns: nanos(changed_s),
        },
        attributes: crate::domain::FileAttributes {
            mode: 0o644,
            uid: 0,
            gid: 0,
            accessed_ns: 0,
            modified_ns: nanos(modified_s),
        },
        links: 1,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the clocks say: never before `settle`, and finished stays finished. Planted fault:
    /// trusting a change time from the future (`abs_diff`) takes a file that was just written.
    #[test]
    fn no_clock_makes_it_finish_early_or_unfinish(
        changed in 0..400_i64,
        modified in 0..400_i64,
        seen in 0..200_i64,
        asked in 0..200_i64,
        polls in 0..4_u32,
        is_polled: bool,
    ) {
        let seconds = |seconds: i64| Timestamp::from_millis(seconds * 1_000);
        let sighting = drawn(changed, modified);
        let (seen, asked) = (seen.min(asked), seen.max(asked));
        let look = Look {
            sighting: &sighting,
            first_seen: seconds(seen),
            unchanged_since: seconds(seen),
            polls_unchanged: polls,
            told_done: false,
            unfinished: false,
            paired: false,
        };
        let mode = if is_polled { WatchMode::Poll { why: "nfs" } } else { WatchMode::Events };
        let settings = StoreSettings::default();
        let ask = |now: i64| {
            let profile = Profile::named("generic").unwrap();
            decide(profile, &settings, mode, &look, &|_| Ok(false), seconds(now))
        };
        let last_change = changed.max(modified);
        let quiet_s = match (is_polled, last_change <= asked) {
            (false, true) => asked - last_change,
            _ => asked - seen,
        };
        let needed_s = if is_polled { 60 } else { 10 };
        let is_due = quiet_s >= needed_s && (!is_polled || polls >= 2);
        prop_assert_eq!(ask(asked) == Verdict::Finished, is_due);
        if let Verdict::NotYet { until: Some(until) } = ask(asked) {
            prop_assert!(until > seconds(asked));
        }
        if is_due && last_change <= asked {
            prop_assert_eq!(ask(asked + 1_000), Verdict::Finished);
        }
    }
}
