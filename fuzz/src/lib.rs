//! The modules that are fuzzed, out of the program's own sources.
//!
//! Taken by path and not as a dependency: neither ciphers nor the database are built, and coverage
//! counts only what is fuzzed.

#![allow(dead_code, reason = "the program uses what is not used here")]

#[path = "../../src"]
mod product {
    pub mod clock;
    pub mod domain;
    pub mod intake {
        mod naming;
        pub mod profile;
        pub mod sidecar;
    }
}

pub use product::{clock, domain, intake};

use std::path::Path;

use domain::StorePath;
use intake::sidecar::{Given, Reader, reader_for, secrets_in};
use jiff::tz::TimeZone;

/// Whatever `bytes` are, `reader` answers, twice the same, within the limits of the contract, and
/// says nothing of them in a fault.
pub fn sidecar(reader: Reader, bytes: &[u8]) {
    let name = "metadata/rtpengine-meta-a%40b-0123456789abcdef.txt";
    let path = StorePath::new(name).expect("a sound path");
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a sound zone");
    let given = Given { root: Some(Path::new("/var/spool")), ..Given::new(&path, &zone) };
    let told = reader.read(bytes, &given);
    assert_eq!(told, reader.read(bytes, &given), "one sidecar, two stories");
    match told {
        Err(fault) => assert!(fault.offset <= bytes.len() && fault.line >= 1),
        Ok(inputs) => inputs.iter().for_each(|input| {
            let ids = input.segments.iter().map(|segment| &segment.external_id);
            for id in ids.chain([&input.external_id]) {
                assert!((1..=200).contains(&id.len()) && !id.contains(char::is_control));
            }
            for segment in &input.segments {
                assert!(segment.started_at.zip(segment.ended_at).is_none_or(|(a, b)| a <= b));
                let keys: std::collections::BTreeSet<_> =
                    segment.metadata.iter().map(|(key, _)| key).collect();
                assert_eq!(keys.len(), segment.metadata.len());
            }
        }),
    }
    for profile in intake::profile::PROFILES {
        let _ = reader_for(profile, &path, &bytes[..bytes.len().min(4096)]);
    }
    let _ = secrets_in(bytes);
}
