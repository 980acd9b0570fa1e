//! What a recorder left of a recording beside it: working files that nobody else takes.
//!
//! A temporary file is never sealed, because its recorder may still need it. When the recording is
//! erased, one that carries its whole name and has lain quiet is part of what has to go.

use std::ops::ControlFlow;

use crate::clock::Timestamp;
use crate::domain::{Sighting, StorePath};

use super::profile::{NameKind, split_suffix};
use super::{IntakeError, Store};

impl Store {
    /// Working files in the folder of `original` that carry its name and were not changed since
    /// `quiet_since`.
    ///
    /// # Errors
    ///
    /// [`IntakeError::Folder`] if the folder cannot be read.
    pub fn leftovers_of(
        &self,
        original: &StorePath,
        quiet_since: Timestamp,
    ) -> Result<Vec<Sighting>, IntakeError> {
        let (stem, _) = split_suffix(original.expose_name());
        let mut found = Vec::new();
        if stem.len() < STEM_BYTES_MIN {
            return Ok(found);
        }
        self.list(original.folder().as_ref(), &mut |listing| {
            found.extend(listing.sightings.into_iter().filter(|sighting| {
                let changed = Timestamp::from_nanos(sighting.fingerprint.changed_ns.into());
                self.profile().name_kind(&sighting.path) == NameKind::Temporary
                    && carries(sighting.path.expose_name(), stem)
                    && changed <= quiet_since
                    && sighting.path != *original
            }));
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }
}

/// True if `stem` stands in `name` as a word of its own: `call-1` is not in `call-12.tmp`.
fn carries(name: &[u8], stem: &[u8]) -> bool {
    let is_border = |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric());
    name.windows(stem.len()).enumerate().any(|(at, part)| {
        let before = at.checked_sub(1).and_then(|at| name.get(at));
        part == stem && is_border(before) && is_border(name.get(at + stem.len()))
    })
}

/// A shorter name says too little about whose file it is.
const STEM_BYTES_MIN: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted fault: `contains` alone, which takes the working file of the next call.
    #[test]
    fn only_the_whole_name_counts() {
        let rows = [
            ("call-1.tmp", "call-1", true),
            (".call-1.wav.part", "call-1", true),
            ("call-12.tmp", "call-1", false),
            ("recall-1.tmp", "call-1", false),
            ("x-call-1~", "call-1", true),
            ("other.tmp", "call-1", false),
        ];
        for (name, stem, is_carried) in rows {
            assert_eq!(carries(name.as_bytes(), stem.as_bytes()), is_carried, "{name}");
        }
    }
}
