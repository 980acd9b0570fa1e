//! JSON as a tree, read strictly: no member twice, nothing deep, long or out of range.
//!
//! Offsets come from the keys, which the parser hands out as parts of the text they stand in.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use super::fault::{FaultKind, Page, SidecarFault};

/// One value. A number is kept as text: nobody calculates with it here.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Object),
}

/// Members in the order of the text, each key once.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Object {
    pub(super) members: Vec<Member>,
}

/// One member, and where its key stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) key: String,
    pub(super) at: usize,
    pub(super) value: Json,
}

impl Json {
    /// A text, a number or a truth value as text; `None` if it is empty, null, a list or an object.
    pub(super) fn scalar(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text.trim()).filter(|t| !t.is_empty()),
            Self::Bool(true) => Some("true"),
            Self::Bool(false) => Some("false"),
            Self::Null | Self::List(_) | Self::Object(_) => None,
        }
    }

    pub(super) fn object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// The values of a list; nothing if it is none.
    pub(super) fn list(&self) -> &[Json] {
        match self {
            Self::List(values) => values,
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::Object(_) => &[],
        }
    }
}

impl Object {
    pub(super) fn get(&self, key: &str) -> Option<&Json> {
        self.members.iter().find(|member| member.key == key).map(|member| &member.value)
    }

    /// The scalar member `key`, and where it stands.
    pub(super) fn scalar(&self, key: &str) -> Option<(&str, usize)> {
        let member = self.members.iter().find(|member| member.key == key)?;
        Some((member.value.scalar()?, member.at))
    }

    /// The text of the first of `keys` that has one.
    pub(super) fn first(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.scalar(key)).map(|(text, _)| text)
    }
}

/// The one value of `page`.
///
/// # Errors
///
/// `Syntax`, `DuplicateKey`, `TooDeep`, `TooMany`, `TooLong`, `Number` or `Character`.
pub(super) fn parse(page: &Page<'_>) -> Result<Json, SidecarFault> {
    let mut values = parse_lines(page)?;
    match (values.pop(), values.is_empty()) {
        (Some(value), true) => Ok(value),
        (Some(_), false) | (None, _) => Err(page.fault(FaultKind::Syntax, page.text().len())),
    }
}

/// Every value of `page`, one after the other; where there is one list alone, what is in it.
///
/// # Errors
///
/// As [`parse`].
pub(super) fn parse_rows(page: &Page<'_>) -> Result<Vec<Json>, SidecarFault> {
    let mut values = parse_lines(page)?;
    if values.len() == 1
        && let Some(Json::List(rows)) = values.pop_if(|value| matches!(value, Json::List(_)))
    {
        return Ok(rows);
    }
    Ok(values)
}

fn parse_lines(page: &Page<'_>) -> Result<Vec<Json>, SidecarFault> {
    let reading = Reading::new(page.text());
    let mut deserializer = serde_json::Deserializer::from_str(page.text());
    let mut values = Vec::new();
    while deserializer.end().is_err() {
        let value = Seed { reading: &reading, depth: 0 }
            .deserialize(&mut deserializer)
            .map_err(|error| reading.fault(page, &error))?;
        values.push(value);
    }
    Ok(values)
}

/// What is known while one text is read.
struct Reading<'t> {
    text: &'t str,
    values: Cell<usize>,
    /// Where the last key began.
    key_at: Cell<usize>,
    refused: Cell<Option<FaultKind>>,
}

impl<'t> Reading<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, values: Cell::new(0), key_at: Cell::new(0), refused: Cell::new(None) }
    }

    /// Ends the reading with a code of ours; the parser's own error only carries it out.
    fn refuse<E: Error>(&self, kind: FaultKind) -> E {
        self.refused.set(Some(kind));
        E::custom(kind.as_str())
    }

    fn count<E: Error>(&self) -> Result<(), E> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > VALUES_MAX {
            return Err(self.refuse(FaultKind::TooMany));
        }
        Ok(())
    }

    fn check<E: Error>(&self, text: &str) -> Result<(), E> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(self.refuse(FaultKind::TooLong));
        }
        if text.contains('\0') {
            return Err(self.refuse(FaultKind::Character));
        }
        Ok(())
    }

    fn fault(&self, page: &Page<'_>, error: &serde_json::Error) -> SidecarFault {
        if let Some(kind) = self.refused.get() {
            return page.fault(kind, self.key_at.get());
        }
        let out_of_range = error.to_string().starts_with("number out of range");
        let kind = if out_of_range { FaultKind::Number } else { FaultKind::Syntax };
        let lines = self.text.split_inclusive('\n').take(error.line().saturating_sub(1));
        let at = lines.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
        page.fault(kind, at)
    }
}

#[derive(Clone, Copy)]
struct Seed<'r> {
    reading: &'r Reading<'r>,
    depth: usize,
}

impl Seed<'_> {
    fn below<E: Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            return Err(self.reading.refuse(FaultKind::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        self.reading.count()?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    /// A fraction keeps its shortest form. What no 64 bits hold has lost digits already.
    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        if value.abs() >= FLOAT_MAX {
            return Err(self.reading.refuse(FaultKind::Number));
        }
        Ok(Json::Number(value.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        self.reading.check(value)?;
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let below = self.below()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(below)? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let below = self.below()?;
        let mut object = Object::default();
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key_seed(KeySeed { reading: self.reading })? {
            let at = self.reading.key_at.get();
            if !seen.insert(key.clone()) {
                return Err(self.reading.refuse(FaultKind::DuplicateKey));
            }
            object.members.push(Member { key, at, value: map.next_value_seed(below)? });
        }
        Ok(Json::Object(object))
    }
}

struct KeySeed<'r> {
    reading: &'r Reading<'r>,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = String;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<String, E> {
        let start = self.reading.text.as_ptr() as usize;
        self.reading.key_at.set((key.as_ptr() as usize).saturating_sub(start));
        self.visit_str(key)
    }

    /// A key with escapes was put together elsewhere; the place of the key before must do.
    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        self.reading.check(key)?;
        Ok(key.to_owned())
    }
}

/// Nothing a recorder writes is nested more than about ten times.
const DEPTH_MAX: usize = 64;
const VALUES_MAX: usize = 200_000;
pub(super) const TEXT_BYTES_MAX: usize = 64 << 10;
/// 2^64: the first float that no integer of 64 bits was.
const FLOAT_MAX: f64 = 18_446_744_073_709_551_616.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (FaultKind, u32, usize) {
        let page = Page::new(text.as_bytes(), usize::MAX).unwrap();
        let fault = parse(&page).unwrap_err();
        (fault.kind, fault.line, fault.offset)
    }

    #[test]
    fn what_is_not_strict_is_refused_with_its_place() {
        use FaultKind as F;
        let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
        let deep_open = "[".repeat(1_000_000);
        let long = format!("{{\"a\":\n\"{}\"}}", "x".repeat(TEXT_BYTES_MAX + 1));
        let many = format!("[{}0]", "0,".repeat(VALUES_MAX));
        for (text, kind, line, offset) in [
            ("{\"a\":1,\n\"b\":2,\"a\":3}", F::DuplicateKey, 2, 15),
            ("{\"a\":{\"x\":1,\"\\u0078\":2}}", F::DuplicateKey, 1, 7),
            (&deep, F::TooDeep, 1, 0),
            (&deep_open, F::TooDeep, 1, 0),
            (&long, F::TooLong, 1, 2),
            (&many, F::TooMany, 1, 0),
            ("{\"a\":\n1e999}", F::Number, 2, 10),
            ("{\"a\":18446744073709551616}", F::Number, 1, 2),
            ("{\"a\":-18446744073709551617}", F::Number, 1, 2),
            ("{\"a\":\"\\u0000\"}", F::Character, 1, 2),
            ("{\"a\":\"\\ud800\"}", F::Syntax, 1, 12),
            ("{\"a\":NaN}", F::Syntax, 1, 5),
            ("{\"a\":1,}", F::Syntax, 1, 7),
            ("{'a':1}", F::Syntax, 1, 1),
            ("{\"a\":01}", F::Syntax, 1, 6),
            ("{\"a\":1", F::Syntax, 1, 5),
            ("{} {}", F::Syntax, 1, 5),
        ] {
            // Planted faults: the second of two members kept as well; the depth counted from 1.
            assert_eq!(fault(text), (kind, line, offset), "{:.40}", text);
        }
    }

    #[test]
    fn numbers_keep_their_digits_and_depth_64_is_read() {
        let page = Page::new(b"[18446744073709551615,-9223372036854775808,1.5,7]", 99).unwrap();
        let Json::List(values) = parse(&page).unwrap() else { panic!("a list") };
        let digits: Vec<_> = values.iter().filter_map(Json::scalar).collect();
        assert_eq!(digits, ["18446744073709551615", "-9223372036854775808", "1.5", "7"]);
        let deep = format!("{}1{}", "[".repeat(64), "]".repeat(64));
        assert!(parse(&Page::new(deep.as_bytes(), 999).unwrap()).is_ok());
    }

    #[test]
    fn rows_come_as_a_list_or_one_after_the_other() {
        for text in ["[{\"a\":1},{\"a\":2}]", "{\"a\":1}\n{\"a\":2}\n"] {
            let page = Page::new(text.as_bytes(), 99).unwrap();
            assert_eq!(parse_rows(&page).unwrap().len(), 2, "{text}");
        }
    }
}
