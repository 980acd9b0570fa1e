//! What failed tries leave behind: how often, how it failed, and when the next one may be.

use serde::{Deserialize, Serialize};

/// The tries since the last success. Kept in the store, so a restart does not try sooner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Attempts {
    /// Failures in a row.
    pub failures: u32,
    /// When the first of them was, in milliseconds since 1970.
    pub first_failure_ms: i64,
    /// When the last of them was.
    pub last_failure_ms: i64,
    /// Before this no further try is made.
    pub retry_at_ms: i64,
    /// What the last failure was called.
    pub last_code: String,
    /// The last success, 0 if there was none.
    pub last_success_ms: i64,
    /// The names that were asked for. Other ones are another matter, which did not fail yet.
    pub names: Vec<String>,
}

/// How a failure bears on the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// May be over in a minute: network, a busy server, validation.
    Passing,
    /// Stays until a person changes something: a forbidden name, a missing account binding.
    Lasting,
}

impl Attempts {
    /// Notes a failure. `retry_after_ms` is how long the server wants to be left alone; `random`
    /// spreads the tries of many hosts by a tenth to either side.
    pub fn note_failure(
        &mut self,
        now_ms: i64,
        code: &str,
        class: FailureClass,
        retry_after_ms: Option<i64>,
        names: &[String],
        random: u64,
    ) {
        if self.failures == 0 || self.names != names {
            (self.failures, self.first_failure_ms) = (0, now_ms);
        }
        self.failures = self.failures.saturating_add(1);
        let rung = usize::try_from(self.failures - 1).unwrap_or(usize::MAX);
        let step_ms = match class {
            FailureClass::Passing => *LADDER_MS.get(rung).unwrap_or(&LAST_RUNG_MS),
            FailureClass::Lasting => LAST_RUNG_MS,
        };
        let tenth_ms = step_ms / 10;
        let spread_ms = i64::try_from(random % (2 * tenth_ms).unsigned_abs()).unwrap_or(0);
        let wanted_ms = retry_after_ms.unwrap_or(0).clamp(0, RETRY_AFTER_MAX_MS);
        let wait_ms = (step_ms - tenth_ms + spread_ms).max(wanted_ms);
        self.last_failure_ms = now_ms;
        self.retry_at_ms = now_ms.saturating_add(wait_ms);
        self.last_code = code.chars().take(CODE_CHARS_MAX).collect();
        self.names = names.to_vec();
    }

    /// Notes a success: the ladder begins anew.
    pub fn note_success(&mut self, now_ms: i64) {
        *self = Self { last_success_ms: now_ms, ..Self::default() };
    }

    /// Forgets the failures, because a person wants another try now.
    pub fn reset(&mut self) {
        *self = Self { last_success_ms: self.last_success_ms, ..Self::default() };
    }

    /// Until when the next try waits; `None` if it need not. A clock that stands before the last
    /// failure says nothing about how long that was ago, so it holds nobody back.
    pub(super) fn held_until_ms(
        &self,
        now_ms: i64,
        names: &[String],
        is_emergency: bool,
    ) -> Option<i64> {
        if self.failures == 0 || self.names != names || now_ms < self.last_failure_ms {
            return None;
        }
        // What a server asks for may be longer than the certificate has left.
        let longest_ms = self.last_failure_ms.saturating_add(LAST_RUNG_MS + LAST_RUNG_MS / 10);
        let until_ms =
            if is_emergency { self.retry_at_ms.min(longest_ms) } else { self.retry_at_ms };
        (now_ms < until_ms).then_some(until_ms)
    }
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// 1, 2, 5, 10, 20, 30 minutes, 1, 2, 3, 6 hours; then 6 hours for ever.
pub(super) const LADDER_MS: [i64; 10] = [
    MINUTE_MS,
    2 * MINUTE_MS,
    5 * MINUTE_MS,
    10 * MINUTE_MS,
    20 * MINUTE_MS,
    30 * MINUTE_MS,
    HOUR_MS,
    2 * HOUR_MS,
    3 * HOUR_MS,
    LAST_RUNG_MS,
];
pub(super) const LAST_RUNG_MS: i64 = 6 * HOUR_MS;
pub(super) const RETRY_AFTER_MAX_MS: i64 = 7 * 24 * HOUR_MS;
const CODE_CHARS_MAX: usize = 64;
