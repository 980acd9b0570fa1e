//! The renewal clockwork: when a certificate is due, and what failures do to that.
//!
//! ```text
//! not_before        half or two thirds          ARI window      emergency      not_after
//!     │───────────────── jitter ┤ due ┠──────────[ pick ]───────────╂──────────────│────▶
//!                     Idle                 Renew, or Hold            Renew, or Hold
//!                                   (window, back-off, clock)      (back-off, clock only)
//! ```
//!
//! [`decide`] is a pure function of the wall clock. Whoever asks does so every minute, so nothing
//! ever sleeps until a date, and a clock that jumped is only another argument. All chance comes in
//! from outside or follows from the certificate, so a restart decides as before.
//!
//! # Invariants
//!
//! - `Idle` never reaches into the emergency band.
//! - Nothing is issued while the clock is suspect.
//! - Failures make the next try later, never the last one.

mod attempts;
mod state;
mod window;

use serde::{Deserialize, Serialize};

pub use attempts::{Attempts, FailureClass};
pub(crate) use state::{ACCOUNTS_MAX, RenewalState};
pub use window::Window;

/// The certificate that is served, as far as its renewal cares.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Valid from, in milliseconds since 1970.
    pub not_before_ms: i64,
    /// Valid until, in milliseconds since 1970.
    pub not_after_ms: i64,
    /// SHA-256 of the certificate, hex. The jitter follows from it.
    pub sha256: &'a str,
    /// The names it is for.
    pub names: &'a [String],
    /// The names it should be for.
    pub wanted_names: &'a [String],
    /// It comes from another source than the configured one.
    pub is_of_other_source: bool,
    /// A person asked for a new one now.
    pub is_asked_for: bool,
}

/// What the administrator decided.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Renewals that are not urgent wait for this time of day.
    pub window: Option<Window>,
    /// How often [`decide`] is asked, in milliseconds.
    pub tick_ms: i64,
}

/// What to do now. `until_ms` is when asking again can first bring another answer, unless
/// something else changes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is good.
    Idle {
        /// When it falls due.
        until_ms: i64,
    },
    /// Get a new one.
    Renew {
        /// Why.
        reason: Reason,
    },
    /// It is due, but not now.
    Hold {
        /// Why not.
        reason: HoldReason,
        /// Until when.
        until_ms: i64,
    },
}

/// Why a certificate is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A person asked.
    Asked,
    /// It is for other names than the configured ones.
    NamesDiffer,
    /// It is from another source than the configured one.
    SourceDiffers,
    /// It begins in the future: the clock was wrong then, or is now.
    NotYetValid,
    /// It is over.
    Expired,
    /// So little is left that nothing but failures may delay it.
    Emergency,
    /// The authority suggested this time.
    Suggested,
    /// Its share of the lifetime is used up.
    Due,
}

impl Reason {
    /// Stable word, for logs and interfaces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::NamesDiffer => "names-differ",
            Self::SourceDiffers => "source-differs",
            Self::NotYetValid => "not-yet-valid",
            Self::Expired => "expired",
            Self::Emergency => "emergency",
            Self::Suggested => "suggested",
            Self::Due => "due",
        }
    }

    /// True if no maintenance window may delay it.
    fn is_urgent(self) -> bool {
        match self {
            Self::Asked
            | Self::NamesDiffer
            | Self::SourceDiffers
            | Self::NotYetValid
            | Self::Expired
            | Self::Emergency => true,
            Self::Suggested | Self::Due => false,
        }
    }
}

/// Why a due certificate is not renewed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldReason {
    /// The clock is not to be trusted.
    ClockSuspect,
    /// The last try failed.
    BackOff,
    /// It is not the time of day for it.
    OutsideWindow,
}

impl HoldReason {
    /// Stable word, for logs and interfaces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClockSuspect => "clock-suspect",
            Self::BackOff => "back-off",
            Self::OutsideWindow => "outside-window",
        }
    }
}

/// When the authority would like one certificate to be renewed (RFC 9773), and the moment that
/// was picked in that window once and for all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AriPick {
    /// The certificate it is about, SHA-256, hex.
    pub sha256: String,
    /// Beginning of the window, in milliseconds since 1970.
    pub start_ms: i64,
    /// Its end.
    pub end_ms: i64,
    /// The moment picked.
    pub pick_ms: i64,
}

impl AriPick {
    /// Picks a moment in the window, uniformly by `random`. `None` if the window cannot be meant:
    /// its end is not after its start or not after the beginning of the certificate, or it starts
    /// when the certificate is all but over.
    pub fn choose(
        subject: &Subject<'_>,
        start_ms: i64,
        end_ms: i64,
        policy: &Policy,
        random: u64,
    ) -> Option<Self> {
        let pick = Self { sha256: subject.sha256.to_owned(), start_ms, end_ms, pick_ms: start_ms };
        if !pick.is_meant_for(subject, policy) {
            return None;
        }
        let last_ms = end_ms.min(emergency_from_ms(subject, policy).max(start_ms));
        let span = last_ms.abs_diff(start_ms).max(1);
        let into = i64::try_from(random % span).ok()?;
        Some(Self { pick_ms: start_ms.saturating_add(into), ..pick })
    }

    /// True if it is the window of this very certificate and makes sense.
    fn is_meant_for(&self, subject: &Subject<'_>, policy: &Policy) -> bool {
        self.sha256 == subject.sha256
            && self.start_ms < self.end_ms
            && self.end_ms > subject.not_before_ms
            && self.start_ms <= emergency_from_ms(subject, policy)
    }
}

/// What to do about the certificate `subject` at `now_ms`. Pure; costs nothing.
pub fn decide(
    now_ms: i64,
    subject: &Subject<'_>,
    policy: &Policy,
    ari: Option<&AriPick>,
    attempts: &Attempts,
    clock_suspect: bool,
) -> Decision {
    let due_ms = due_at_ms(subject, policy, ari);
    let Some(reason) = reason(now_ms, subject, policy, ari, due_ms) else {
        return Decision::Idle { until_ms: due_ms };
    };
    if clock_suspect {
        let until_ms = now_ms.saturating_add(policy.tick_ms.max(1));
        return Decision::Hold { reason: HoldReason::ClockSuspect, until_ms };
    }
    if reason == Reason::Asked {
        return Decision::Renew { reason };
    }
    let is_emergency = now_ms >= emergency_from_ms(subject, policy);
    if let Some(until_ms) = attempts.held_until_ms(now_ms, subject.wanted_names, is_emergency) {
        return Decision::Hold { reason: HoldReason::BackOff, until_ms };
    }
    match policy.window {
        Some(window) if !reason.is_urgent() && !window.contains(now_ms) => {
            let opens_ms = window.next_start_ms(now_ms);
            let until_ms = opens_ms.min(emergency_from_ms(subject, policy));
            Decision::Hold { reason: HoldReason::OutsideWindow, until_ms }
        }
        _ => Decision::Renew { reason },
    }
}

/// When the certificate falls due by date, in milliseconds since 1970; never after the beginning
/// of the emergency band.
pub fn due_at_ms(subject: &Subject<'_>, policy: &Policy, ari: Option<&AriPick>) -> i64 {
    let own_ms = match ari.filter(|pick| pick.is_meant_for(subject, policy)) {
        // Asked for again only after the next tick, so rather a tick early than one late.
        Some(pick) => pick.pick_ms.saturating_sub(policy.tick_ms),
        None => own_due_ms(subject),
    };
    own_ms.min(emergency_from_ms(subject, policy))
}

/// From here on neither the authority's wish nor a maintenance window counts: the last twentieth
/// of the lifetime or the last five ticks, whichever is longer, and never more than half.
pub fn emergency_from_ms(subject: &Subject<'_>, policy: &Policy) -> i64 {
    let lifetime_ms = lifetime_ms(subject);
    let ticks_ms = policy.tick_ms.saturating_mul(TICKS_AT_LEAST);
    let band_ms = (lifetime_ms / 20).max(ticks_ms).min(lifetime_ms / 2);
    subject.not_after_ms.saturating_sub(band_ms)
}

fn reason(
    now_ms: i64,
    subject: &Subject<'_>,
    policy: &Policy,
    ari: Option<&AriPick>,
    due_ms: i64,
) -> Option<Reason> {
    let is_suggested = || ari.is_some_and(|pick| pick.is_meant_for(subject, policy));
    if subject.is_asked_for {
        Some(Reason::Asked)
    } else if subject.is_of_other_source {
        Some(Reason::SourceDiffers)
    } else if names_differ(subject) {
        Some(Reason::NamesDiffer)
    } else if now_ms < subject.not_before_ms {
        Some(Reason::NotYetValid)
    } else if now_ms >= subject.not_after_ms {
        Some(Reason::Expired)
    } else if now_ms >= emergency_from_ms(subject, policy) {
        Some(Reason::Emergency)
    } else if now_ms < due_ms {
        None
    } else if is_suggested() {
        Some(Reason::Suggested)
    } else {
        Some(Reason::Due)
    }
}

/// Two thirds of the lifetime, half of a short one, less a twentieth at most: so that a hundred
/// hosts installed in one hour do not come back in one hour.
fn own_due_ms(subject: &Subject<'_>) -> i64 {
    let lifetime_ms = lifetime_ms(subject);
    let share_ms = if lifetime_ms <= SHORT_MS { lifetime_ms / 2 } else { lifetime_ms / 3 * 2 };
    let jitter_ms = i64::try_from(seed(subject.sha256) % (lifetime_ms / 20).max(1).unsigned_abs());
    subject.not_before_ms.saturating_add(share_ms).saturating_sub(jitter_ms.unwrap_or(0))
}

fn lifetime_ms(subject: &Subject<'_>) -> i64 {
    subject.not_after_ms.saturating_sub(subject.not_before_ms).max(0)
}

/// The first 15 hexadecimal digits of a fingerprint: as good as random, and always the same.
fn seed(sha256: &str) -> u64 {
    sha256.get(..15).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

/// Compared as sets, without regard to case: an authority may order and write them as it likes.
fn names_differ(subject: &Subject<'_>) -> bool {
    let set = |names: &[String]| -> std::collections::BTreeSet<String> {
        names.iter().map(|name| name.to_ascii_lowercase()).collect()
    };
    !subject.wanted_names.is_empty() && set(subject.names) != set(subject.wanted_names)
}

const TICKS_AT_LEAST: i64 = 5;
/// Up to here a certificate is renewed at half of its lifetime.
const SHORT_MS: i64 = 10 * 86_400_000;

#[cfg(test)]
mod tests;
