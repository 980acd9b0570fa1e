//! Bytes for the reader `livekit`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use recseal_fuzz::intake::sidecar::Reader;

fuzz_target!(|bytes: &[u8]| recseal_fuzz::sidecar(Reader::Livekit, bytes));
