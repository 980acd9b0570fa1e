//! The certificate renews itself: self-signed, from files, from an authority, under wrong clocks.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod acme;
mod clocks;
mod files;
mod own;
mod pebble;
mod suggested;

use crate::common::daemon::Daemon;

/// Runs a command that must fail; what it says.
fn fails(daemon: &Daemon, args: &[&str]) -> String {
    let output = daemon.recseal(args);
    assert!(!output.status.success(), "{args:?} succeeded\nlog:\n{}", daemon.log());
    String::from_utf8_lossy(&output.stderr).into_owned()
}
