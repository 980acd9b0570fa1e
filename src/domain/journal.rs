//! What became of the copies that a file system's journal kept.

/// The journal's part of an erasure. The words are those of the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JournalFate {
    /// Written home and overwritten with zeros: nothing of the file is left in it.
    FlushedZeroed,
    /// Written home and discarded: what a read gives now is the device's affair.
    FlushedDiscarded,
    /// The file system has no journal that could be wiped (copy-on-write, memory, none at all).
    NotApplicable,
    /// It holds names and attributes until it wraps, but no content.
    NotFlushed,
    /// It may hold content, too (`data=journal`).
    CopyPossible,
}

impl JournalFate {
    /// Every fate, worst last, for tests and for reading names back.
    pub const ALL: [Self; 5] = [
        Self::FlushedZeroed,
        Self::FlushedDiscarded,
        Self::NotApplicable,
        Self::NotFlushed,
        Self::CopyPossible,
    ];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FlushedZeroed => "flushed_zeroed",
            Self::FlushedDiscarded => "flushed_discarded",
            Self::NotApplicable => "not_applicable",
            Self::NotFlushed => "not_flushed",
            Self::CopyPossible => "copy_possible",
        }
    }

    /// The fate of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fate| fate.as_str() == name)
    }

    /// True if the journal was written home and wiped.
    pub fn is_flushed(self) -> bool {
        match self {
            Self::FlushedZeroed | Self::FlushedDiscarded => true,
            Self::NotApplicable | Self::NotFlushed | Self::CopyPossible => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_names_read_back() {
        for fate in JournalFate::ALL {
            assert_eq!(JournalFate::from_name(fate.as_str()), Some(fate));
        }
        assert_eq!(JournalFate::from_name("flushed"), None);
    }
}
