//! What a file name says: when, who with whom, which call.
//!
//! A naming is a template such as `{kind}-{to}-{from}-{at}-{call}`, data in a profile. The first
//! field is the wide one and takes as much as it can; every later text field ends at the first
//! occurrence of the literal behind it. So a name is matched in linear time for each border of
//! the first field, and a hostile name of 255 bytes costs microseconds.

use std::fmt;

use jiff::civil::{Date, DateTime, Time};
use uuid::Uuid;

use crate::clock::Timestamp;

/// What was read out of one file name. Numbers and rooms are personal data, so `Debug` shows
/// only which facts are there.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct NameFacts {
    /// Start by the recorder's wall clock; the zone is the host's.
    pub started_local: Option<DateTime>,
    /// Start in universal time, where the name holds seconds since 1970.
    pub started_at: Option<Timestamp>,
    call: Option<String>,
    from: Option<String>,
    to: Option<String>,
    room: Option<String>,
}

impl NameFacts {
    /// The recorder's id of the call.
    pub fn expose_call(&self) -> Option<&str> {
        self.call.as_deref()
    }

    /// Who called: a number or a name.
    pub fn expose_from(&self) -> Option<&str> {
        self.from.as_deref()
    }

    /// Who was called.
    pub fn expose_to(&self) -> Option<&str> {
        self.to.as_deref()
    }

    /// The meeting room.
    pub fn expose_room(&self) -> Option<&str> {
        self.room.as_deref()
    }
}

impl fmt::Debug for NameFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |fact: &Option<String>| fact.is_some();
        f.debug_struct("NameFacts")
            .field("started", &(self.started_local.is_some() || self.started_at.is_some()))
            .field("call", &has(&self.call))
            .field("from", &has(&self.from))
            .field("to", &has(&self.to))
            .field("room", &has(&self.room))
            .finish()
    }
}

/// Reads `stem`, a file name without its suffix, by the first of `templates` that fits it whole.
///
/// Fields: `{at}` a date and a time in digits; `{uuid}`, `{unique}` (Asterisk's `seconds.number`)
/// and `{meeting}` (BigBlueButton's `digest-milliseconds`) ids of a strict shape; `{call}`, `{from}`, `{to}`, `{room}` any text;
/// any other name is text that says nothing.
pub fn read(templates: &[&str], stem: &[u8]) -> Option<NameFacts> {
    let stem = std::str::from_utf8(stem).ok()?;
    if stem.len() > NAME_BYTES_MAX {
        return None;
    }
    templates.iter().find_map(|template| {
        let mut facts = NameFacts::default();
        fits(template, stem, true, &mut facts).then_some(facts)
    })
}

/// Matches `template` against all of `text`; `is_first` while no field has been filled yet.
fn fits(template: &str, text: &str, is_first: bool, facts: &mut NameFacts) -> bool {
    let Some(open) = template.find('{') else { return template == text };
    let Some(text) = text.strip_prefix(&template[..open]) else { return false };
    let Some((field, rest)) = template[open + 1..].split_once('}') else { return false };
    if field == "at" {
        let Some((moment, text)) = split_moment(text) else { return false };
        facts.started_local = Some(moment);
        return fits(rest, text, false, facts);
    }
    let literal = &rest[..rest.find('{').unwrap_or(rest.len())];
    let fill = |end: usize, facts: &mut NameFacts| {
        put(field, &text[..end], facts) && fits(rest, &text[end..], false, facts)
    };
    if literal.is_empty() {
        // The last field, or a mistake in a template: two fields need a literal between them.
        return rest.is_empty() && fill(text.len(), facts);
    }
    if is_first {
        text.rmatch_indices(literal).any(|(end, _)| fill(end, facts))
    } else {
        text.find(literal).is_some_and(|end| fill(end, facts))
    }
}

/// Stores a field's text; false if its strict shape is broken or it is empty.
fn put(field: &str, text: &str, facts: &mut NameFacts) -> bool {
    let slot = match field {
        "uuid" if Uuid::try_parse(text).is_err() => return false,
        "unique" => {
            let Some(seconds) = unique_seconds(text) else { return false };
            facts.started_at = Some(Timestamp::from_millis(seconds.saturating_mul(1000)));
            &mut facts.call
        }
        "meeting" => {
            let Some(millis) = meeting_millis(text) else { return false };
            facts.started_at = Some(Timestamp::from_millis(millis));
            &mut facts.call
        }
        "uuid" | "call" => &mut facts.call,
        "from" => &mut facts.from,
        "to" => &mut facts.to,
        "room" => &mut facts.room,
        _ => return !text.is_empty(),
    };
    *slot = Some(text.to_owned());
    !text.is_empty()
}

/// The seconds of Asterisk's `UNIQUEID`, `[system-]seconds.number`.
fn unique_seconds(text: &str) -> Option<i64> {
    let (seconds, number) = text.rsplit_once('-').map_or(text, |(_, id)| id).split_once('.')?;
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    ((9..=11).contains(&seconds.len()) && is_digits(seconds) && is_digits(number))
        .then(|| seconds.parse().ok())?
}

/// The time in BigBlueButton's id of a meeting, 40 hexadecimal digits and milliseconds.
fn meeting_millis(text: &str) -> Option<i64> {
    let (digest, millis) = text.split_once('-')?;
    let is_sound = digest.len() == 40
        && digest.bytes().all(|b| b.is_ascii_hexdigit())
        && millis.len() == 13
        && millis.bytes().all(|b| b.is_ascii_digit());
    is_sound.then(|| millis.parse().ok())?
}

/// Takes `YYYY MM DD hh mm ss` from the front of `text`, with at most one separator in each gap.
fn split_moment(text: &str) -> Option<(DateTime, &str)> {
    let mut rest = text;
    let mut numbers = [0_i16; 6];
    for (place, number) in numbers.iter_mut().enumerate() {
        if place > 0 {
            rest = rest.strip_prefix(['-', '_', ' ', 'T', ':', '.']).unwrap_or(rest);
        }
        let digits = rest.get(..if place == 0 { 4 } else { 2 })?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *number = digits.parse().ok()?;
        rest = &rest[digits.len()..];
    }
    let [year, month, day, hour, minute, second] = numbers;
    let small = |number: i16| i8::try_from(number).ok();
    let date = Date::new(year, small(month)?, small(day)?).ok()?;
    let time = Time::new(small(hour)?, small(minute)?, small(second)?, 0).ok()?;
    Some((date.to_datetime(time), rest))
}

/// Longest name read; Linux allows no longer one.
const NAME_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FREEPBX: &[&str] = &["{kind}-{to}-{from}-{at}-{call}"];

    #[test]
    fn a_freepbx_name_tells_who_and_when() {
        let facts =
            read(FREEPBX, b"external-200-+12025550143-20240115-093012-1705311012.7").unwrap();
        assert_eq!(facts.expose_from(), Some("+12025550143"));
        assert_eq!(facts.expose_to(), Some("200"));
        assert_eq!(facts.expose_call(), Some("1705311012.7"));
        assert_eq!(facts.started_local.unwrap().to_string(), "2024-01-15T09:30:12");
        // Planted fault: `derive(Debug)` prints the number.
        assert!(!format!("{facts:?}").contains("0143"));
    }

    #[test]
    fn impossible_moments_and_half_names_say_nothing() {
        for name in
            ["out-1-2-20241315-093012-9", "out-1-2-20240115-0930", "", "-", "out-1-2", "{kind}"]
        {
            assert_eq!(read(FREEPBX, name.as_bytes()), None, "{name}");
        }
        assert_eq!(read(&["{uuid}"], b"not-a-uuid"), None);
        assert_eq!(read(&["{unique}"], b"1705311012."), None);
        assert_eq!(read(FREEPBX, b"\xff\xfe"), None);
    }

    /// The call id of SIP holds dashes, so the first field must take the last border, not the
    /// first. Planted fault: `match_indices` for `rmatch_indices`.
    #[test]
    fn a_call_id_with_dashes_stays_whole() {
        let facts = read(&["{call}-{tag}-{leg}"], b"a84b-4c76@198.51.100.1-0123456789abcdef-mix");
        assert_eq!(facts.unwrap().expose_call(), Some("a84b-4c76@198.51.100.1"));
    }

    #[test]
    fn an_asterisk_unique_id_is_a_moment() {
        let facts = read(&["{unique}"], b"pbx1-1705311012.7").unwrap();
        assert_eq!(facts.started_at.unwrap().to_string(), "2024-01-15T09:30:12.000Z");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_name_panics_or_stalls(name in prop::collection::vec(any::<u8>(), 0..300), dashes in 0..260_usize) {
            let _ = read(FREEPBX, &name);
            let _ = read(FREEPBX, &[vec![b'-'; dashes], name].concat());
        }
    }
}
