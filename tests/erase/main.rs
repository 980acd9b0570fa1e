//! Erasure from the order to the certificate, with the real engine on real files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unreachable_pub, reason = "a test program has no public items")]

mod afterlife;
mod chance;
#[path = "../common/mod.rs"]
mod common;
mod crash;
mod cuts;
mod evidence;
mod ground;
mod journey;
mod ledger;
mod model;
mod obligations;
mod races;
mod raw;
mod swaps;
mod worker;
