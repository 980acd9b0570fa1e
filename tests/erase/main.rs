//! Erasure from the order to the certificate, with the real engine on real files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;
mod ground;
mod journey;
mod raw;
