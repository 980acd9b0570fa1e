//! One value that stands for a person: a number in any spelling, or a name, address or id.
//!
//! ```text
//! +49 30 1234567   0049301234567   +49 (0)30 123-4567   sip:+49301234567@pbx      international
//! 030 1234567                                                         national, with its zero
//! 49301234567   301234567   1234567                                    bare: nobody can tell
//! ```
//!
//! Numbers are the same if their digits are, or if one is the end of the other with 7 digits or
//! more, with two limits: of two international numbers neither is a part of the other, and what
//! stands before a national number can only be a country code of 1 to 3 digits. Short numbers,
//! extensions for example, are the same only digit for digit. So a bare local number also finds
//! the same number in another town: the plan shows how many recordings that are.

use std::fmt;

/// A number, name, address or id to look for. Personal: `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct PersonValue(Value);

#[derive(Clone, PartialEq, Eq)]
enum Value {
    Number(Number),
    /// Anything else, as it is.
    Text(String),
}

#[derive(Clone, PartialEq, Eq)]
struct Number {
    /// Without `+` and `00`.
    digits: String,
    is_international: bool,
}

/// What the name of a file says about people.
#[derive(Clone, Copy, Default)]
pub struct NameFacts<'a> {
    /// Who called.
    pub from: Option<&'a str>,
    /// Who was called.
    pub to: Option<&'a str>,
    /// The meeting room.
    pub room: Option<&'a str>,
}

impl fmt::Debug for NameFacts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NameFacts(..)")
    }
}

impl fmt::Debug for PersonValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersonValue(..)")
    }
}

impl PersonValue {
    /// Reads a value; `None` if there is nothing in it, or more than 320 bytes.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || text.len() > VALUE_BYTES_MAX {
            return None;
        }
        let number = Number::read(text).map(Value::Number);
        Some(Self(number.unwrap_or_else(|| Value::Text(text.to_owned()))))
    }

    /// True if any of `facts` is this person.
    pub fn matches(&self, facts: &NameFacts<'_>) -> bool {
        [facts.from, facts.to, facts.room].into_iter().flatten().any(|said| self.is(said))
    }

    /// True if `said` is this person, in whatever spelling. Names and ids count as they are;
    /// addresses with an `@` without regard to case.
    pub fn is(&self, said: &str) -> bool {
        let said = said.trim();
        match &self.0 {
            Value::Number(number) => Number::read(said).is_some_and(|other| number.is(&other)),
            Value::Text(text) if text.contains('@') => text.eq_ignore_ascii_case(said),
            Value::Text(text) => text == said,
        }
    }
}

impl Number {
    /// `None` if this is no telephone number.
    fn read(text: &str) -> Option<Self> {
        let text = user_of(text);
        if is_ip_address(text) {
            return None;
        }
        let plus = text.strip_prefix('+');
        let without_zero = plus.unwrap_or(text).replacen("(0)", "", usize::from(plus.is_some()));
        let mut digits = String::new();
        for c in without_zero.chars() {
            match c {
                '0'..='9' => digits.push(c),
                ' ' | '-' | '.' | '/' | '(' | ')' | '\u{a0}' | '\u{2010}'..='\u{2015}' => {}
                _ => return None,
            }
        }
        let is_international = plus.is_some() || digits.starts_with("00");
        if plus.is_none() && is_international {
            digits.drain(..2);
        }
        let is_sound = (1..=DIGITS_MAX).contains(&digits.len());
        is_sound.then_some(Self { digits, is_international })
    }

    fn is(&self, other: &Self) -> bool {
        if self.digits == other.digits {
            return true;
        }
        match (self.is_international, other.is_international) {
            (true, true) => false,
            (true, false) => other.is_end_of(self),
            (false, true) => self.is_end_of(other),
            (false, false) => self.is_end_of(other) || other.is_end_of(self),
        }
    }

    /// True if this, which is not international, can be `whole` with less before it.
    fn is_end_of(&self, whole: &Self) -> bool {
        let before = |end: &str| {
            let before = whole.digits.strip_suffix(end)?;
            (end.len() >= DIGITS_MIN && !before.is_empty()).then_some(before)
        };
        match self.digits.strip_prefix('0') {
            None => before(&self.digits).is_some(),
            // Most countries leave the zero out behind their code; Italy does not.
            Some(bare) => [bare, &self.digits]
                .into_iter()
                .filter_map(before)
                .any(|code| code.len() <= COUNTRY_DIGITS_MAX && !code.starts_with('0')),
        }
    }
}

/// What names the person in an address of telephony.
fn user_of(text: &str) -> &str {
    let scheme = ["tel:", "sip:", "sips:"].into_iter().find(|scheme| {
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    match scheme {
        None => text,
        Some(scheme) => text[scheme.len()..].split(['@', ';']).next().unwrap_or_default(),
    }
}

/// Four small numbers with dots between them: an address, and no number with dots in it.
fn is_ip_address(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 4 && parts.iter().all(|part| part.parse::<u8>().is_ok())
}

/// Fewer than this are the same only as a whole.
const DIGITS_MIN: usize = 7;
/// Fifteen (E.164), and some for the habits of exchanges.
const DIGITS_MAX: usize = 18;
const COUNTRY_DIGITS_MAX: usize = 3;
/// The longest email address there is.
const VALUE_BYTES_MAX: usize = 320;
