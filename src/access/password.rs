//! Passwords: which are good enough, how long they last, and when trying is over.
//!
//! ```text
//! new password ─▶ judge ─▶ weaknesses, all at once
//! log-in ─▶ LogIns::gate: open │ wait until │ locked ─▶ right or wrong ─▶ succeeded │ failed
//!        ─▶ Standing: good │ to be changed first (temporary, expired)
//! ```
//!
//! The policy is the operator's; what is not is that a password is never the user's own name and
//! that a temporary one opens nothing but the page on which it is changed.
//!
//! # Invariants
//!
//! - Nothing here sees a hash: whether a password is an earlier one is asked by who has the hashes.
//! - No text of a password gets into a weakness.
//! - A locked user stays locked until somebody unlocks them: no clock does.

mod blocklist;

use std::time::Duration;

use crate::clock::Timestamp;

/// What a password must be. [`PasswordPolicy::default`] is what holds until somebody changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// Fewest characters.
    pub chars_min: u16,
    /// Most characters, so that hashing has an end.
    pub chars_max: u16,
    /// At least one digit.
    pub needs_digit: bool,
    /// At least one lower-case letter.
    pub needs_lower: bool,
    /// At least one upper-case letter.
    pub needs_upper: bool,
    /// At least one character that is neither letter nor digit.
    pub needs_special: bool,
    /// Not the email address.
    pub not_email: bool,
    /// None of those that everybody tries first.
    pub not_common: bool,
    /// None of one's own list; case does not count.
    pub blocklist: Vec<String>,
    /// Not one of so many last ones, the present one included.
    pub history: u16,
    /// Days until it has to be changed; `None` for never.
    pub expires_days: Option<u16>,
    /// Failures in a row after which nothing but unlocking helps; `None` for never.
    pub lock_after: Option<u16>,
    /// Failures in a row after which every further try has to wait.
    pub wait_after: u16,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self {
            chars_min: 8,
            chars_max: 128,
            needs_digit: true,
            needs_lower: true,
            needs_upper: true,
            needs_special: false,
            not_email: true,
            not_common: true,
            blocklist: Vec::new(),
            history: 1,
            expires_days: Some(365),
            lock_after: Some(30),
            wait_after: 5,
        }
    }
}

/// Why a password is not good enough. Every one is told at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Weakness {
    /// Too few characters.
    #[error("it needs at least {0} characters")]
    TooShort(u16),
    /// Too many.
    #[error("it may have at most {0} characters")]
    TooLong(u16),
    /// No digit.
    #[error("it needs a digit")]
    NoDigit,
    /// No lower-case letter.
    #[error("it needs a lower-case letter")]
    NoLower,
    /// No upper-case letter.
    #[error("it needs an upper-case letter")]
    NoUpper,
    /// Letters and digits alone.
    #[error("it needs a character that is neither letter nor digit")]
    NoSpecial,
    /// Zero, line feed and their like cannot be typed again.
    #[error("it has control characters")]
    ControlCharacter,
    /// It is the user name.
    #[error("it is the user name")]
    IsUserName,
    /// It is the email address.
    #[error("it is the email address")]
    IsEmail,
    /// Everybody tries it first.
    #[error("it is one of the passwords that are tried first")]
    Common,
    /// It was used before.
    #[error("it was used before")]
    UsedBefore,
}

/// What a new password is held against.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// User name.
    pub user: &'a str,
    /// Email address, if there is one.
    pub email: Option<&'a str>,
    /// It is one of the last [`PasswordPolicy::history`] ones, by their hashes.
    pub is_used_before: bool,
}

/// Says everything that is wrong with `password`; nothing if it is good enough.
pub fn judge(policy: &PasswordPolicy, password: &str, holder: Holder<'_>) -> Vec<Weakness> {
    let has = |is: fn(char) -> bool| password.chars().any(is);
    let is_same =
        |other: &str| !other.is_empty() && password.to_lowercase() == other.to_lowercase();
    let chars = password.chars().count();
    let is_blocked = policy.blocklist.iter().any(|blocked| is_same(blocked.trim()));
    let rules = [
        (chars < usize::from(policy.chars_min), Weakness::TooShort(policy.chars_min)),
        (chars > usize::from(policy.chars_max), Weakness::TooLong(policy.chars_max)),
        (policy.needs_digit && !has(char::is_numeric), Weakness::NoDigit),
        (policy.needs_lower && !has(char::is_lowercase), Weakness::NoLower),
        (policy.needs_upper && !has(char::is_uppercase), Weakness::NoUpper),
        (policy.needs_special && !has(|c| !c.is_alphanumeric()), Weakness::NoSpecial),
        (has(char::is_control), Weakness::ControlCharacter),
        (is_same(holder.user.trim()), Weakness::IsUserName),
        (
            policy.not_email && holder.email.is_some_and(|email| is_same(email.trim())),
            Weakness::IsEmail,
        ),
        (is_blocked || policy.not_common && blocklist::is_common(password), Weakness::Common),
        (policy.history > 0 && holder.is_used_before, Weakness::UsedBefore),
    ];
    rules.into_iter().filter(|(is_broken, _)| *is_broken).map(|(_, weakness)| weakness).collect()
}

/// What is kept of a password besides its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordAge {
    /// When it was set.
    pub set_at: Timestamp,
    /// Somebody else set it.
    pub is_temporary: bool,
}

/// What a right password is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Everything.
    Good,
    /// For being changed: somebody else set it.
    Temporary,
    /// For being changed: it is too old.
    Expired,
}

impl PasswordAge {
    /// What a right password is good for at `now`.
    pub fn standing(self, policy: &PasswordPolicy, now: Timestamp) -> Standing {
        if self.is_temporary {
            return Standing::Temporary;
        }
        match self.expires_at(policy) {
            Some(end) if end <= now => Standing::Expired,
            Some(_) | None => Standing::Good,
        }
    }

    /// When it has to be changed.
    pub fn expires_at(self, policy: &PasswordPolicy) -> Option<Timestamp> {
        policy.expires_days.map(|days| self.set_at.plus(DAY * u32::from(days)))
    }
}

/// How somebody's log-ins have gone since the last one that worked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogIns {
    /// Failures in a row.
    pub failures: u16,
    /// When the last of them was.
    pub last_failure: Option<Timestamp>,
}

/// Whether a password may be tried at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// It may.
    Open,
    /// Not before then. What is tried meanwhile is neither checked nor counted.
    Wait {
        /// When it may.
        until: Timestamp,
    },
    /// Not until somebody unlocks the user.
    Locked,
}

impl LogIns {
    /// Whether a password may be tried at `now`. Waiting doubles with each failure, from one second
    /// up to a minute.
    pub fn gate(self, policy: &PasswordPolicy, now: Timestamp) -> Gate {
        if policy.lock_after.is_some_and(|lock_after| self.failures >= lock_after) {
            return Gate::Locked;
        }
        let Some(last) = self.last_failure else { return Gate::Open };
        let Some(beyond) = self.failures.checked_sub(policy.wait_after) else { return Gate::Open };
        let until = last.plus((WAIT_FIRST * (1 << beyond.min(6))).min(WAIT_MAX));
        if now < until { Gate::Wait { until } } else { Gate::Open }
    }

    /// A wrong password was tried while the gate was open.
    #[must_use]
    pub fn failed(self, now: Timestamp) -> Self {
        Self { failures: self.failures.saturating_add(1), last_failure: Some(now) }
    }

    /// The right one was; or somebody unlocked the user. All failures are forgotten.
    #[must_use]
    pub fn forgotten(self) -> Self {
        Self::default()
    }
}

const DAY: Duration = Duration::from_secs(86_400);
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted faults: a rule of the default policy off; the first weakness alone told; bytes
    /// counted for characters; names compared with case.
    #[test]
    fn the_default_policy_says_everything_at_once() {
        use Weakness as W;
        let policy = PasswordPolicy::default();
        let holder =
            Holder { user: "Ann.Example1", email: Some("Ann1@example.org"), is_used_before: false };
        let long = "aA1".repeat(43);
        let rows: [(&str, &[Weakness]); 15] = [
            ("Tr0ubadour", &[]),
            ("Gr\u{fc}n\u{e9}\u{e9}7a", &[]),
            ("Aa3456\u{e9}", &[W::TooShort(8)]),
            ("", &[W::TooShort(8), W::NoDigit, W::NoLower, W::NoUpper]),
            ("plumTrees", &[W::NoDigit]),
            ("PLUMTREE1", &[W::NoLower]),
            ("plumtree1", &[W::NoUpper]),
            (&long, &[W::TooLong(128)]),
            ("Tr0uba\0dour", &[W::ControlCharacter]),
            ("aNN.eXAMPLE1", &[W::IsUserName]),
            ("aNN1@eXAMPLE.org", &[W::IsEmail]),
            ("Password1", &[W::Common]),
            ("Password1!", &[W::Common]),
            ("P@ssw0rd", &[W::Common]),
            ("qwerty", &[W::TooShort(8), W::NoDigit, W::NoUpper, W::Common]),
        ];
        for (password, expected) in rows {
            assert_eq!(judge(&policy, password, holder), expected, "{password:?}");
        }
        let again = Holder { is_used_before: true, ..holder };
        assert_eq!(judge(&policy, "Tr0ubadour", again), [W::UsedBefore]);
    }

    /// Planted fault: a rule that does not obey its switch.
    #[test]
    fn every_rule_is_the_operators_choice() {
        let holder = Holder { user: "ann", email: Some("a1@example.org"), is_used_before: true };
        let none = PasswordPolicy {
            chars_min: 1,
            needs_digit: false,
            needs_lower: false,
            needs_upper: false,
            not_email: false,
            not_common: false,
            history: 0,
            ..PasswordPolicy::default()
        };
        for password in ["password", "a1@example.org", "x"] {
            assert_eq!(judge(&none, password, holder), [], "{password}");
        }
        assert_eq!(judge(&none, "ANN", holder), [Weakness::IsUserName], "that is not one");
        let special = PasswordPolicy { needs_special: true, ..none.clone() };
        assert_eq!(judge(&special, "x1", holder), [Weakness::NoSpecial]);
        let own = PasswordPolicy { blocklist: vec![" Acme2026 ".to_owned()], ..none };
        assert_eq!(judge(&own, "aCME2026", holder), [Weakness::Common]);
    }

    /// Planted faults: the last day still good; a temporary password that is as good as any.
    #[test]
    fn passwords_age() {
        let policy = PasswordPolicy::default();
        let at = |days: u32| Timestamp::from_millis(0).plus(DAY * days);
        let age = PasswordAge { set_at: at(10), is_temporary: false };
        let never = PasswordPolicy { expires_days: None, ..policy.clone() };
        for (age, policy, now, standing) in [
            (age, &policy, at(10), Standing::Good),
            (age, &policy, at(374), Standing::Good),
            (age, &policy, at(375), Standing::Expired),
            (age, &never, at(9_999), Standing::Good),
            (PasswordAge { is_temporary: true, ..age }, &policy, at(10), Standing::Temporary),
            (PasswordAge { is_temporary: true, ..age }, &policy, at(400), Standing::Temporary),
        ] {
            assert_eq!(age.standing(policy, now), standing, "{age:?} {now}");
        }
    }

    /// Planted faults: locked at 31; the wait counted from the first failure; a wait that
    /// overflows; a lock that a clock opens; a right password that keeps the failures.
    #[test]
    fn failures_cost_time_and_thirty_lock() {
        let policy = PasswordPolicy::default();
        let at = |secs: i64| Timestamp::from_millis(secs * 1_000);
        let mut log_ins = LogIns::default();
        let expected = |failures: u16| match failures {
            0..5 => 0,
            5 => 1,
            6 => 2,
            7 => 4,
            8 => 8,
            9 => 16,
            10 => 32,
            _ => 60,
        };
        let mut now = 100;
        for failures in 0..30 {
            let wait = expected(failures);
            if wait > 0 {
                let gate = log_ins.gate(&policy, at(now + wait - 1));
                assert_eq!(gate, Gate::Wait { until: at(now + wait) }, "{failures}");
            }
            now += wait;
            assert_eq!(log_ins.gate(&policy, at(now)), Gate::Open, "{failures}");
            log_ins = log_ins.failed(at(now));
        }
        assert_eq!(log_ins.gate(&policy, at(now)), Gate::Locked);
        assert_eq!(log_ins.gate(&policy, at(now + 999_999_999)), Gate::Locked);
        assert_eq!(log_ins.forgotten().gate(&policy, at(now)), Gate::Open);
        let never = PasswordPolicy { lock_after: None, ..policy };
        let many = LogIns { failures: u16::MAX, last_failure: Some(at(1)) };
        assert_eq!(many.gate(&never, at(2)), Gate::Wait { until: at(61) });
        assert_eq!(many.failed(at(3)).failures, u16::MAX);
    }
}
