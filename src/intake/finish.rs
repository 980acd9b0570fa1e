//! Whether a recorder is done with a file, as one pure rule.
//!
//! ```text
//! name says no ─▶ Ignore        sidecar ─▶ quiet, and its recording taken ─▶ Sidecar
//! recording ─▶ told done ─────────────────────────────┐   (alone for pair_within ─▶ Finished)
//!           ─▶ empty: wait empty_wait ────────────────┤
//!           ─▶ marker says open: wait marker_wait ────┼─▶ Finished, then the caller's lease check
//!           ─▶ quiet for settle ─▶ content whole ─────┤
//!                                └▶ unfinished_wait ──┘
//! ```
//!
//! Quiet is measured from the change time, which no program can set back: after a restart nothing
//! need be remembered. Where that time cannot be trusted (another host's clock, a clock that
//! jumped) it is measured from when we first saw this content.
//!
//! Every wait ends: what stays unsealed stays in clear. Only a file that keeps changing waits for
//! ever, and raises an alarm instead.

use std::io;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::domain::{Sighting, StorePath};

use super::profile::{Marker, NameKind, Profile};
use super::{StoreSettings, WatchMode, sidecar};

/// What is known about one file when the question is asked.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The file as it is now.
    pub sighting: &'a Sighting,
    /// When a file was first seen at this path.
    pub first_seen: Timestamp,
    /// When this fingerprint was first seen.
    pub unchanged_since: Timestamp,
    /// How many looks in a row found this fingerprint.
    pub polls_unchanged: u32,
    /// Somebody said that it is done (`recseal done PATH`).
    pub told_done: bool,
    /// The media probe says that the content was never finalized.
    pub unfinished: bool,
    /// For a sidecar: a recording that it belongs to is settled or further.
    pub paired: bool,
}

/// What to do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not a recording.
    Ignore,
    /// A finished file that belongs to a recording.
    Sidecar,
    /// Ask again, at `until` if that is known; a bell or a poll may come first.
    NotYet {
        /// When the wait ends if nothing changes.
        until: Option<Timestamp>,
    },
    /// Take it, if no process of this host has it open for writing.
    Finished,
    /// As `NotYet`, and a person should know why.
    Alarm(&'static str),
}

/// Decides about one file. Pure but for `exists`, which tells whether something lies at a path of
/// the store; it is asked once for each place of a marker, and an error counts as "not done".
pub fn decide(
    profile: &Profile,
    settings: &StoreSettings,
    mode: WatchMode,
    look: &Look<'_>,
    exists: &dyn Fn(&StorePath) -> io::Result<bool>,
    now: Timestamp,
) -> Verdict {
    if profile.name_kind(&look.sighting.path) != NameKind::Content {
        return Verdict::Ignore;
    }
    let quiet = Quiet::of(look, mode, now);
    let settled = quiet.wait(profile_settle(profile, settings, mode));
    if sidecar::owner(profile, &look.sighting.path).is_some() {
        let marker = match profile.marker {
            // What works on a recording reads its sidecars, too.
            Some(Marker::Stage { .. }) if !look.paired => {
                marker_wait(profile, settings, look, exists, quiet)
            }
            _ => Wait::Over,
        };
        return decide_sidecar(settings, look, quiet, settled.max(marker));
    }
    if look.told_done {
        return Verdict::Finished;
    }
    let waits = [
        settled,
        match look.sighting.fingerprint.size_bytes {
            0 => quiet.wait(settings.empty_wait),
            _ => Wait::Over,
        },
        if look.unfinished { quiet.wait(settings.unfinished_wait) } else { Wait::Over },
        marker_wait(profile, settings, look, exists, quiet),
    ];
    match waits.into_iter().max().unwrap_or(Wait::Over) {
        Wait::Over => Verdict::Finished,
        Wait::Until(until) => {
            let is_restless = settled != Wait::Over
                && now.since(look.first_seen) >= settings.alarm_after
                && look.unchanged_since > look.first_seen;
            if is_restless { Verdict::Alarm(STILL_WRITTEN) } else { Verdict::NotYet { until } }
        }
    }
}

/// A sidecar may be its recording's marker, so it stays until the recording is taken; one that
/// nobody claims is a recording of its own.
fn decide_sidecar(
    settings: &StoreSettings,
    look: &Look<'_>,
    quiet: Quiet,
    settled: Wait,
) -> Verdict {
    // Counted from the first look, too: what lay there before that is seen in one look with its
    // recording, or even before it.
    let seen = Quiet { since: Some(look.first_seen), now: quiet.now };
    let alone = quiet.wait(settings.pair_within).max(seen.wait(settings.pair_within));
    match (settled, look.paired) {
        (Wait::Over, true) => Verdict::Sidecar,
        (Wait::Until(until), true) => Verdict::NotYet { until },
        (settled, false) => match settled.max(alone) {
            Wait::Over => Verdict::Finished,
            Wait::Until(until) => Verdict::NotYet { until },
        },
    }
}

/// The time a file must lie still: the store's, else the recorder's; longer where we only poll.
fn profile_settle(profile: &Profile, settings: &StoreSettings, mode: WatchMode) -> Duration {
    let settle = settings.settle.unwrap_or(profile.settle);
    match mode {
        WatchMode::Events => settle,
        WatchMode::Poll { .. } => settle.max(settings.poll_settle),
    }
}

fn marker_wait(
    profile: &Profile,
    settings: &StoreSettings,
    look: &Look<'_>,
    exists: &dyn Fn(&StorePath) -> io::Result<bool>,
    quiet: Quiet,
) -> Wait {
    if marker_says_open(profile, &look.sighting.path, exists) {
        quiet.wait(settings.marker_wait)
    } else {
        Wait::Over
    }
}

/// True while the recorder, or what works up its files, is not done with the file at `path`.
fn marker_says_open(
    profile: &Profile,
    path: &StorePath,
    exists: &dyn Fn(&StorePath) -> io::Result<bool>,
) -> bool {
    // `None` if it cannot be told; a place that cannot be in the store is not.
    let look = |place: &str| match sidecar::beside(path, place) {
        None => Some(false),
        Some(place) => exists(&place).ok(),
    };
    match profile.marker {
        None => false,
        Some(Marker::Present(place)) => look(place) != Some(true),
        Some(Marker::Absent(place)) => look(place) != Some(false),
        Some(Marker::Stage { done, working }) => {
            !done.iter().any(|place| look(place) == Some(true))
                || working.iter().any(|place| look(place) != Some(false))
        }
    }
}

/// Since when a file lies still; `None` where two equal looks are still missing.
#[derive(Clone, Copy)]
struct Quiet {
    since: Option<Timestamp>,
    now: Timestamp,
}

impl Quiet {
    fn of(look: &Look<'_>, mode: WatchMode, now: Timestamp) -> Self {
        let print = &look.sighting.fingerprint;
        let changed = Timestamp::from_nanos(print.changed_ns.max(print.modified_ns).into());
        let since = match mode {
            WatchMode::Events if changed <= now => Some(changed),
            WatchMode::Events => Some(look.unchanged_since),
            WatchMode::Poll { .. } if look.polls_unchanged < POLLS_MIN => None,
            WatchMode::Poll { .. } => Some(look.unchanged_since),
        };
        Self { since, now }
    }

    fn wait(self, span: Duration) -> Wait {
        match self.since {
            None => Wait::Until(None),
            Some(since) if self.now.since(since) >= span => Wait::Over,
            Some(since) => Wait::Until(Some(since.plus(span))),
        }
    }
}

/// Ordered so that the longest wait wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wait {
    Over,
    Until(Option<Timestamp>),
}

/// Looks in a row that must agree where events do not come.
const POLLS_MIN: u32 = 2;

const STILL_WRITTEN: &str = "still being written long after it was first seen";

#[cfg(test)]
mod tests;
