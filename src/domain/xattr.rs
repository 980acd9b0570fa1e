//! The extended attributes of an original (S6): names and values that somebody tied to the file.
//!
//! A value may be a caller's name or a note, so neither names nor values are ever printed;
//! whoever needs the bytes says `expose_…`.

use std::fmt;

/// One extended attribute. Personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct ExtendedAttribute {
    name: Vec<u8>,
    value: Vec<u8>,
}

impl ExtendedAttribute {
    /// Takes a name such as `user.comment` and its value; `None` if Linux has no such name.
    pub fn new(name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Option<Self> {
        let (name, value) = (name.into(), value.into());
        let is_sound = !name.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && !name.contains(&0)
            && value.len() <= ExtendedAttributes::BYTES_MAX;
        is_sound.then_some(Self { name, value })
    }

    /// The name with its namespace.
    pub fn expose_name(&self) -> &[u8] {
        &self.name
    }

    /// The value.
    pub fn expose_value(&self) -> &[u8] {
        &self.value
    }
}

impl fmt::Debug for ExtendedAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExtendedAttribute(..)")
    }
}

/// Those of one file: at most [`Self::COUNT_MAX`], together at most [`Self::BYTES_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtendedAttributes {
    kept: Vec<ExtendedAttribute>,
    left_out: usize,
}

impl ExtendedAttributes {
    /// How many of one file are kept.
    pub const COUNT_MAX: usize = 64;
    /// Bytes of names and values together; also what Linux allows for one value.
    pub const BYTES_MAX: usize = 64 << 10;

    /// Adds one, or counts it as left out if that would be too much.
    pub fn keep(&mut self, attribute: ExtendedAttribute) {
        let bytes = |one: &ExtendedAttribute| one.name.len() + one.value.len();
        let sum: usize = self.kept.iter().map(bytes).sum();
        if self.kept.len() < Self::COUNT_MAX && sum + bytes(&attribute) <= Self::BYTES_MAX {
            self.kept.push(attribute);
        } else {
            self.left_out += 1;
        }
    }

    /// Counts one that could not be read.
    pub fn leave_out(&mut self) {
        self.left_out += 1;
    }

    /// The kept ones.
    pub fn iter(&self) -> impl Iterator<Item = &ExtendedAttribute> {
        self.kept.iter()
    }

    /// True if nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many the file had beyond the kept ones.
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

/// `XATTR_NAME_MAX`.
const NAME_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, len: usize) -> ExtendedAttribute {
        ExtendedAttribute::new(name, vec![b'x'; len]).unwrap()
    }

    #[test]
    fn names_that_linux_does_not_have_are_refused() {
        for bad in [&b""[..], b"user.\0", &[b'n'; 256]] {
            assert_eq!(ExtendedAttribute::new(bad, b""), None);
        }
        assert_eq!(ExtendedAttribute::new("user.x", vec![0; (64 << 10) + 1]), None);
    }

    #[test]
    fn what_is_too_much_is_counted_and_not_kept() {
        let mut many = ExtendedAttributes::default();
        for number in 0..70 {
            many.keep(one(&format!("user.{number}"), 1));
        }
        assert_eq!((many.iter().count(), many.left_out()), (64, 6));
        let mut large = ExtendedAttributes::default();
        large.keep(one("user.a", 60_000));
        large.keep(one("user.b", 6_000));
        large.keep(one("user.c", 10));
        assert_eq!((large.iter().count(), large.left_out()), (2, 1));
    }

    /// Planted fault: `derive(Debug)`.
    #[test]
    fn nothing_of_them_is_printed() {
        let mut kept = ExtendedAttributes::default();
        kept.keep(ExtendedAttribute::new("user.caller", "+12025550143").unwrap());
        let printed = format!("{kept:?}");
        assert!(!printed.contains("caller") && !printed.contains("49, 50"), "{printed}");
    }
}
