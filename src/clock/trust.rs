//! Whether the wall clock is to be believed: it is held against the steady clock, against what
//! was believed before, and against the age of this program.

use std::time::Duration;

use super::Timestamp;

/// Compares the clocks at every tick. Pure: the readings come in.
#[derive(Clone, Debug)]
pub struct ClockWatch {
    /// Wall time at which the steady clock began, as last believed.
    origin_ms: Option<i64>,
    /// The latest moment that was ever believed.
    high_ms: i64,
    /// When it became suspect, by the steady clock.
    suspect_since: Option<Duration>,
}

/// What a look at the clocks found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The wall clock is believed.
    Trusted,
    /// It jumped, or stands where it cannot be: nothing irrevocable may follow its word.
    Suspect,
    /// It was suspect for an hour and did not change its mind: it is believed from now on.
    Accepted,
}

impl ClockWatch {
    /// A watch that knows the latest moment ever believed, also by earlier runs.
    pub fn new(high: Timestamp) -> Self {
        Self { origin_ms: None, high_ms: high.as_millis(), suspect_since: None }
    }

    /// Looks at both clocks.
    pub fn observe(&mut self, wall: Timestamp, steady: Duration) -> Trust {
        let wall_ms = wall.as_millis();
        let steady_ms = i64::try_from(steady.as_millis()).unwrap_or(i64::MAX);
        let origin_ms = wall_ms.saturating_sub(steady_ms);
        let jumped = self.origin_ms.is_some_and(|known| known.abs_diff(origin_ms) > JUMP_MS);
        let is_behind = wall_ms < self.high_ms.saturating_sub(BEHIND_MS);
        // Older than the program itself: no waiting makes that right.
        let is_impossible = wall_ms < BUILT_MS;
        if !(jumped || is_behind || is_impossible) {
            self.believe(origin_ms, self.high_ms.max(wall_ms));
            return Trust::Trusted;
        }
        let since = *self.suspect_since.get_or_insert(steady);
        if is_impossible || steady.saturating_sub(since) < SUSPECT_FOR {
            return Trust::Suspect;
        }
        self.believe(origin_ms, wall_ms);
        Trust::Accepted
    }

    fn believe(&mut self, origin_ms: i64, high_ms: i64) {
        (self.origin_ms, self.high_ms, self.suspect_since) = (Some(origin_ms), high_ms, None);
    }
}

/// A larger difference between the clocks is no correction any more.
const JUMP_MS: u64 = 2 * 60_000;
/// So far the wall clock may stand before a moment that was believed.
const BEHIND_MS: i64 = 5 * 60_000;
const SUSPECT_FOR: Duration = Duration::from_secs(3_600);
/// 2026-11-01: no moment in which this program runs lies before.
const BUILT_MS: i64 = 1_793_491_200_000;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_800_000_000_000;
    const MINUTE_MS: i64 = 60_000;
    const DAY_MS: i64 = 1_440 * MINUTE_MS;

    /// Looks at minute `steady_min` with the wall clock `off_ms` away from where it should be.
    fn look(watch: &mut ClockWatch, steady_min: i64, off_ms: i64) -> Trust {
        let steady_ms = steady_min * MINUTE_MS;
        let wall = Timestamp::from_millis(NOW_MS + steady_ms + off_ms);
        watch.observe(wall, Duration::from_millis(steady_ms.unsigned_abs()))
    }

    /// Meant to catch: comparing with the previous look only forgets the jump at the second tick.
    #[test]
    fn a_jump_is_suspect_until_it_is_taken_back_or_for_an_hour() {
        for jump_ms in [40 * DAY_MS, 3 * MINUTE_MS, -3 * MINUTE_MS, -DAY_MS] {
            let mut watch = ClockWatch::new(Timestamp::from_millis(0));
            assert_eq!(look(&mut watch, 1, 0), Trust::Trusted);
            assert_eq!(look(&mut watch, 2, MINUTE_MS), Trust::Trusted, "a correction");
            assert_eq!(look(&mut watch, 3, 0), Trust::Trusted);
            assert_eq!(look(&mut watch, 4, jump_ms), Trust::Suspect, "{jump_ms}");
            assert_eq!(look(&mut watch, 5, jump_ms), Trust::Suspect, "{jump_ms}");
            assert_eq!(look(&mut watch, 6, 0), Trust::Trusted, "taken back");
            assert_eq!(look(&mut watch, 7, jump_ms), Trust::Suspect);
            assert_eq!(look(&mut watch, 66, jump_ms), Trust::Suspect);
            assert_eq!(look(&mut watch, 67, jump_ms), Trust::Accepted, "{jump_ms}");
            assert_eq!(look(&mut watch, 68, jump_ms), Trust::Trusted);
            assert_eq!(look(&mut watch, 69, 0), Trust::Suspect, "now the old one is the jump");
        }
    }

    #[test]
    fn a_start_before_what_was_believed_is_suspect() {
        let high = Timestamp::from_millis(NOW_MS + DAY_MS);
        let mut watch = ClockWatch::new(high);
        assert_eq!(look(&mut watch, 0, 0), Trust::Suspect);
        assert_eq!(look(&mut watch, 1, DAY_MS), Trust::Trusted, "set right by NTP");
        let mut watch = ClockWatch::new(high);
        assert_eq!(look(&mut watch, 0, 0), Trust::Suspect);
        assert_eq!(look(&mut watch, 60, 0), Trust::Accepted, "the earlier one was wrong");
        assert_eq!(look(&mut watch, 61, 0), Trust::Trusted);
        let mut watch = ClockWatch::new(Timestamp::from_millis(NOW_MS));
        assert_eq!(look(&mut watch, 0, -4 * MINUTE_MS), Trust::Trusted);
    }

    /// A machine without a battery begins in 1970, and an hour later it is no wiser.
    #[test]
    fn a_clock_older_than_the_program_is_never_believed() {
        let mut watch = ClockWatch::new(Timestamp::from_millis(0));
        for minute in [0, 30, 60, 600] {
            assert_eq!(look(&mut watch, minute, -NOW_MS), Trust::Suspect, "{minute}");
        }
        assert_eq!(look(&mut watch, 601, 0), Trust::Trusted);
    }
}
