//! Keys and certificates with the real program: real TLS, real tools, real crashes.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

#[path = "../common/mod.rs"]
mod common;

mod backup;
mod catalogue;
mod certs;
mod door;
mod keks;
mod mtls;
mod renewal;
mod seal_to;
mod slots;
mod swap;
mod turns;
