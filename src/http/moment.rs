//! Moments as people write them.

use crate::clock::Timestamp;

/// A moment as people write it: RFC 3339, or a day, which begins at midnight UTC.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_write_them() {
        let read = |text| parse_time(text).map(|t| t.to_string());
        assert_eq!(read("2026-11-23").as_deref(), Some("2026-11-23T00:00:00.000Z"));
        assert_eq!(read("2026-11-23T10:00:00+02:00").as_deref(), Some("2026-11-23T08:00:00.000Z"));
        for bad in ["", "yesterday", "2026-13-01", "10:00"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
