//! Named places where a test kills the program, to see that a restart puts everything right.
//!
//! In a debug build, `RECSEAL_CRASH_AT=name:n` in the environment makes the `n`-th passage of
//! that place end the process as `kill -9` would. A release build holds none of this.

/// Every crash point, in the order in which one recording and its sidecar meet them.
pub const CRASH_POINTS: &[&str] = &[
    "discover.noted",
    "ingest.opened",
    "ingest.key_recorded",
    "ingest.part_written",
    "ingest.published",
    "ingest.proved",
    "ingest.sealed_recorded",
    "removal.begun",
    "removal.done",
    "ingest.stored_recorded",
    "sidecar.sealed_recorded",
    "sidecar.removed",
];

/// Crash points of the work on keys, which no recording passes.
pub const KEY_CRASH_POINTS: &[&str] = &["keks.batch_moved", "keks.scrubbed"];

/// Crash points of an erasure, in the order in which one meets them.
pub const ERASE_CRASH_POINTS: &[&str] = &[
    "erase.due",
    "erase.key_destroyed",
    "erase.overwritten",
    "erase.overwrite_recorded",
    "erase.unlinked",
    "erase.unlink_recorded",
    "erase.scrubbed",
    "erase.certified",
];

/// Crash points of a redaction, in the order in which it meets them.
pub const REDACTION_CRASH_POINTS: &[&str] = &[
    "redact.key_recorded",
    "redact.part_written",
    "redact.published",
    "redact.proved",
    "redact.peaks_sealed",
    "redact.recorded",
];

/// Passes the place called `name`; see the module's page.
#[cfg(debug_assertions)]
pub(crate) fn crash_point(name: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    let lists = [CRASH_POINTS, KEY_CRASH_POINTS, ERASE_CRASH_POINTS, REDACTION_CRASH_POINTS];
    let is_listed = lists.iter().any(|list| list.contains(&name));
    debug_assert!(is_listed, "{name} is not listed");
    #[expect(clippy::disallowed_methods, reason = "a debug build's switch, not configuration")]
    let wanted = WANTED.get_or_init(|| {
        let value = std::env::var("RECSEAL_CRASH_AT").ok()?;
        let (name, nth) = value.split_once(':')?;
        Some((name.to_owned(), nth.parse().ok()?))
    });
    let Some((wanted, nth)) = wanted else { return };
    if wanted == name && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *nth {
        let me = rustix::process::getpid();
        let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
    }
}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
pub(crate) fn crash_point(_name: &'static str) {}
