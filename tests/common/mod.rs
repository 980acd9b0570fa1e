//! What several test programs need: skipping with a reason, markers to look for, file systems of
//! our own, the real daemon.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    unused_macros,
    reason = "each test program uses its own part of this"
)]

pub mod caller;
pub mod daemon;
pub mod loop_fs;
pub mod marker;

use std::process::Command;

/// Takes the value out of `Result<T, String>`, or prints the reason, skips the test and returns.
/// With `RECSEAL_TEST_ALL=1` a skip is a panic, so that CI cannot skip by accident.
macro_rules! or_skip {
    ($needed:expr) => {
        match $needed {
            Ok(value) => value,
            Err(reason) => return crate::common::skipped(&reason),
        }
    };
}
pub(crate) use or_skip;

/// Says why a test does not run here.
#[expect(clippy::disallowed_methods, reason = "the one switch of the test suite")]
pub fn skipped(reason: &str) {
    assert!(std::env::var_os("RECSEAL_TEST_ALL").is_none_or(|all| all != "1"), "{reason}");
    println!("SKIP: {reason}");
}

/// Loop devices, mounts and other people's files take root.
pub fn root() -> Result<(), String> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err("not root".into()) }
}

/// The tools a test calls.
pub fn tools(names: &[&str]) -> Result<(), String> {
    let is_missing = |name: &&&str| {
        let found = Command::new("sh").args(["-c", "command -v \"$0\"", name]).output();
        !found.is_ok_and(|found| found.status.success())
    };
    let missing: Vec<&&str> = names.iter().filter(is_missing).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("not installed: {missing:?}")) }
}

/// Runs a command to its end; its standard output, or everything it said.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(said(&output.stdout));
    }
    Err(format!("{command:?}: {} {} {}", output.status, said(&output.stdout), said(&output.stderr)))
}
