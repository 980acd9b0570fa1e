//! What is wrong with a sidecar, and where: a code and a place, never a word of what stands there.

use std::fmt;

/// Why a sidecar was not read. Nothing was taken from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sidecar {kind} (line {line}, byte {offset})")]
pub struct SidecarFault {
    /// What is wrong.
    pub kind: FaultKind,
    /// The line, counted from 1.
    pub line: u32,
    /// The byte, counted from 0: for a member that is there twice, where its second key begins.
    pub offset: usize,
}

/// What can be wrong with a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// Nothing in it but blanks.
    Empty,
    /// Larger than the caller allows.
    TooBig,
    /// Not UTF-8, or it says so itself.
    Encoding,
    /// Not the notation it should be in, or cut.
    Syntax,
    /// A member, a column or an attribute that is there twice: two readers would differ.
    DuplicateKey,
    /// A document type, which could define entities and fetch files.
    Doctype,
    /// An entity that XML does not know of itself.
    Entity,
    /// A prefix without a namespace, or a namespace in the wrong place.
    Namespace,
    /// Nested deeper than anything a recorder writes.
    TooDeep,
    /// More members, elements, attributes or rows than anything a recorder writes.
    TooMany,
    /// A text longer than anything a recorder writes.
    TooLong,
    /// A number that does not fit.
    Number,
    /// A time that is none, or lies outside the calendar.
    Time,
    /// It ends before it begins.
    Negative,
    /// A character that may not be in a text.
    Character,
    /// Sound, but not what this reader reads.
    Unrecognized,
}

impl FaultKind {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Empty => ("empty", "is empty"),
            Self::TooBig => ("too_big", "is too big"),
            Self::Encoding => ("encoding", "is not in UTF-8"),
            Self::Syntax => ("syntax", "is malformed or cut"),
            Self::DuplicateKey => ("duplicate_key", "has one key twice"),
            Self::Doctype => ("doctype", "has a document type"),
            Self::Entity => ("entity", "uses an entity of its own"),
            Self::Namespace => ("namespace", "has a namespace that is not bound or is misused"),
            Self::TooDeep => ("too_deep", "is nested too deeply"),
            Self::TooMany => ("too_many", "has too many parts"),
            Self::TooLong => ("too_long", "has a text that is too long"),
            Self::Number => ("number", "has a number that does not fit"),
            Self::Time => ("time", "has a time that is none"),
            Self::Negative => ("negative", "ends before it begins"),
            Self::Character => ("character", "has a character that no text may have"),
            Self::Unrecognized => ("unrecognized", "is not what its recorder writes"),
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().1)
    }
}

/// The text of a sidecar: of a bearable size, UTF-8, without the mark that may stand before it.
pub(super) struct Page<'a> {
    bytes: &'a [u8],
    text: &'a str,
}

impl<'a> Page<'a> {
    /// Takes `bytes` if they are text.
    ///
    /// # Errors
    ///
    /// `TooBig`, `Encoding`, `Character` or `Empty`.
    pub(super) fn new(bytes: &'a [u8], bytes_max: usize) -> Result<Self, SidecarFault> {
        let fault = |kind, offset| place(bytes, kind, offset);
        if bytes.len() > bytes_max {
            return Err(SidecarFault { kind: FaultKind::TooBig, line: 1, offset: bytes_max });
        }
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return Err(fault(FaultKind::Encoding, 0));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| fault(FaultKind::Encoding, error.valid_up_to()))?;
        // UTF-16 and UTF-32 without a mark look like this.
        if let Some(at) = text.find('\0') {
            return Err(fault(FaultKind::Character, at));
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim().is_empty() {
            return Err(fault(FaultKind::Empty, 0));
        }
        Ok(Self { bytes, text })
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// `kind` at byte `at` of [`Self::text`].
    pub(super) fn fault(&self, kind: FaultKind, at: usize) -> SidecarFault {
        place(self.bytes, kind, at + (self.bytes.len() - self.text.len()))
    }
}

fn place(bytes: &[u8], kind: FaultKind, offset: usize) -> SidecarFault {
    let offset = offset.min(bytes.len());
    let breaks = bytes[..offset].iter().filter(|b| **b == b'\n').count();
    SidecarFault { kind, line: u32::try_from(breaks + 1).unwrap_or(u32::MAX), offset }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_utf_8_of_a_bearable_size_is_text() {
        let utf16: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let bare16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (bytes, kind, line, offset) in [
            (&b""[..], FaultKind::Empty, 1, 0),
            (b" \n\t", FaultKind::Empty, 1, 0),
            (b"\xef\xbb\xbf", FaultKind::Empty, 1, 0),
            (b"{\n\"a\": \"M\xfcller\"}", FaultKind::Encoding, 2, 9),
            (&utf16, FaultKind::Encoding, 1, 0),
            (&bare16, FaultKind::Character, 1, 0),
            (b"01234567890123456789x", FaultKind::TooBig, 1, 20),
        ] {
            // Planted fault: lossy decoding.
            let fault = Page::new(bytes, 20).map(|_| ()).unwrap_err();
            assert_eq!(fault, SidecarFault { kind, line, offset }, "{bytes:?}");
        }
    }

    #[test]
    fn a_fault_counts_the_mark_before_the_text() {
        let page = Page::new(b"\xef\xbb\xbfa\nb", 20).unwrap();
        assert_eq!(page.text(), "a\nb");
        let fault = page.fault(FaultKind::Syntax, 2);
        // Planted fault: the offset without the three bytes of the mark.
        assert_eq!((fault.line, fault.offset), (2, 5));
        assert_eq!(fault.to_string(), "the sidecar is malformed or cut (line 2, byte 5)");
    }
}
