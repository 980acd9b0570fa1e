//! One `Range` header, read as RFC 9110 §14 wants it and no further.
//!
//! Only single byte ranges are honoured. Several ranges, other units and anything that does not
//! parse are ignored, as the RFC allows: the answer is then the whole.

use std::ops::Range;

/// What was asked for, before the length is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteRange {
    /// `bytes=from-` or `bytes=from-to`, both inclusive.
    From {
        /// First byte.
        from: u64,
        /// Last byte; to the end if `None`.
        to: Option<u64>,
    },
    /// `bytes=-len`: the last `len` bytes.
    Last(u64),
}

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// 206 with these bytes, never empty.
    Satisfied(Range<u64>),
    /// 416.
    Unsatisfiable,
}

impl ByteRange {
    /// Reads a header value; `None` means: send the whole.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (unit, set) = header.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (from, to) = set.trim().split_once('-')?;
        if from.is_empty() {
            return Some(Self::Last(number(to)?));
        }
        let from = number(from)?;
        let to = if to.is_empty() { None } else { Some(number(to)?) };
        if to.is_some_and(|to| to < from) {
            return None;
        }
        Some(Self::From { from, to })
    }

    /// True if a playback begins with it.
    pub(super) fn starts_at_zero(self) -> bool {
        matches!(self, Self::From { from: 0, .. })
    }

    /// The bytes of a whole of `len_bytes`.
    pub(super) fn resolve(self, len_bytes: u64) -> Part {
        let (start, end) = match self {
            Self::From { from, to } => {
                (from, to.map_or(len_bytes, |to| to.saturating_add(1).min(len_bytes)))
            }
            Self::Last(len) => (len_bytes.saturating_sub(len), len_bytes),
        };
        if start < end { Part::Satisfied(start..end) } else { Part::Unsatisfiable }
    }
}

/// Digits only: `parse` alone would take `+5`. Too large is as far as one can go.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Header, length of the whole, what is sent: `None` is 200, an empty range is 416.
    #[test]
    fn ranges_by_hand() {
        for (header, len, sent) in [
            ("bytes=0-", 10, Some(0..10)),
            ("bytes=0-0", 10, Some(0..1)),
            ("bytes=9-9", 10, Some(9..10)),
            ("bytes=9-10", 10, Some(9..10)),
            ("bytes=10-", 10, Some(0..0)),
            ("bytes=3-5", 10, Some(3..6)),
            ("bytes=-3", 10, Some(7..10)),
            ("bytes=-30", 10, Some(0..10)),
            ("bytes=-0", 10, Some(0..0)),
            ("bytes=0-", 0, Some(0..0)),
            ("bytes=-1", 0, Some(0..0)),
            ("Bytes = 1-2", 10, Some(1..3)),
            ("bytes=5-4", 10, None),
            ("bytes=0-1,3-4", 10, None),
            ("bytes=", 10, None),
            ("bytes=-", 10, None),
            ("bytes=+1-2", 10, None),
            ("bytes=1- 2", 10, None),
            ("items=0-1", 10, None),
            ("0-1", 10, None),
            ("bytes=0-18446744073709551615", 10, Some(0..10)),
            ("bytes=99999999999999999999999-", 10, Some(0..0)),
            ("bytes=-99999999999999999999999", 10, Some(0..10)),
        ] {
            let got = ByteRange::parse(header).map(|range| match range.resolve(len) {
                Part::Satisfied(part) => part,
                Part::Unsatisfiable => 0..0,
            });
            assert_eq!(got, sent, "{header:?} of {len}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever is sent lies inside and is what a simple filter over all positions says.
        /// Planted faults: `to` taken as exclusive, and a missing `min(len)`.
        #[test]
        fn sent_bytes_are_the_asked_ones(from in 0..40_u64, more in 0..40_u64, len in 0..40_u64) {
            let to = from + more;
            let wanted: Vec<u64> = (0..len).filter(|at| (from..=to).contains(at)).collect();
            let sent = match ByteRange::parse(&format!("bytes={from}-{to}")).unwrap().resolve(len) {
                Part::Satisfied(part) => part.collect(),
                Part::Unsatisfiable => vec![],
            };
            prop_assert_eq!(sent, wanted);
        }

        #[test]
        fn no_header_panics(header in "(bytes)?=?[-0-9, a+=]{0,24}", len: u64) {
            if let Some(Part::Satisfied(part)) =
                ByteRange::parse(&header).map(|range| range.resolve(len))
            {
                prop_assert!(part.start < part.end && part.end <= len);
            }
        }
    }
}
