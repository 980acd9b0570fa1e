//! The line-by-line text that all three kinds of files share.
//!
//! Line ends and space around a line do not matter; order and number of lines do. Digits are
//! lower-case hexadecimal.

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use super::SealKeyError;
use crate::hex;

/// The lines of one file, read from the top.
pub(super) struct Lines<'t> {
    wanted: &'static str,
    rest: std::iter::Peekable<std::str::Lines<'t>>,
    number: usize,
}

impl<'t> Lines<'t> {
    /// Checks the first line, which is `title` and the version, and the length.
    pub(super) fn open(
        text: &'t str,
        wanted: &'static str,
        title: &str,
        max_bytes: usize,
    ) -> Result<Self, SealKeyError> {
        let version = text.trim_start().strip_prefix(title);
        let version = version.ok_or(SealKeyError::NotOne { wanted })?;
        if version.lines().next().unwrap_or_default().trim() != VERSION {
            return Err(SealKeyError::UnsupportedVersion { wanted });
        }
        if text.len() > max_bytes {
            return Err(SealKeyError::Malformed { wanted, line: 0 });
        }
        let mut rest = text.trim().lines().peekable();
        rest.next();
        Ok(Self { wanted, rest, number: 1 })
    }

    /// What stands behind `name` on the next line.
    pub(super) fn value(&mut self, name: &str) -> Result<&'t str, SealKeyError> {
        self.number += 1;
        let line = self.rest.next().and_then(|line| value_of(line, name));
        line.ok_or_else(|| self.malformed())
    }

    /// The same if the next line is of that name at all.
    pub(super) fn optional(&mut self, name: &str) -> Option<&'t str> {
        let value = value_of(self.rest.peek()?, name)?;
        self.rest.next();
        self.number += 1;
        Some(value)
    }

    /// The bytes on the next line.
    pub(super) fn bytes(&mut self, name: &str) -> Result<Zeroizing<Vec<u8>>, SealKeyError> {
        let digits = self.value(name)?;
        hex::decode(digits).ok_or_else(|| self.malformed())
    }

    /// Nothing may follow.
    pub(super) fn end(mut self) -> Result<(), SealKeyError> {
        self.number += 1;
        if self.rest.next().is_some() { Err(self.malformed()) } else { Ok(()) }
    }

    /// For the line that was read last.
    pub(super) fn malformed(&self) -> SealKeyError {
        SealKeyError::Malformed { wanted: self.wanted, line: self.number }
    }
}

fn value_of<'t>(line: &'t str, name: &str) -> Option<&'t str> {
    line.trim().strip_prefix(name)?.strip_prefix(' ').map(str::trim)
}

/// The first 8 bytes of SHA-256 over the lines above, as digits.
pub(super) fn check_of(text: &str) -> Zeroizing<String> {
    hex::encode(&digest::digest(&digest::SHA256, text.as_bytes()).as_ref()[..8])
}

/// Of every kind of file.
pub(super) const VERSION: &str = "1";
