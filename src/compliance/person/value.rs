//! What a text that stands for a person is: a number, an address, or neither.
//!
//! Recorders write what they have into the field they have: a number into a chat address, an
//! address into a caller. So the value is asked, not the field. Nothing here is certain: what is
//! not recognised is [`ValueKind::Plain`], and then the field decides.

// The types alone: `core` has no sockets.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a text looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// A telephone number, bare or as a URI.
    Phone,
    /// An email address, or a SIP or chat address of the same form.
    Email,
    /// An address that only a chat system can have, such as `@ann:example.org`.
    Chat,
    /// An IPv4 address, with a port or mask or without.
    Ipv4,
    /// An IPv6 address, with a port, zone or mask or without.
    Ipv6,
    /// None of these.
    Plain,
}

/// Says what `text` looks like. An IP address is asked for first: `10.20.30.40` could be dialled.
pub fn recognise(text: &str) -> ValueKind {
    let text = text.trim();
    let (scheme, rest) = split_scheme(text);
    match scheme {
        Some("tel" | "callto") => return ValueKind::Phone,
        Some("mailto") => return ValueKind::Email,
        Some("xmpp" | "im" | "matrix") => return ValueKind::Chat,
        Some("sip" | "sips") if is_phone(user_of(rest)) => return ValueKind::Phone,
        Some("sip" | "sips") => return ValueKind::Email,
        Some(_) | None => {}
    }
    if let Some(ip) = ip(text) {
        return match ip {
            IpAddr::V4(_) => ValueKind::Ipv4,
            IpAddr::V6(_) => ValueKind::Ipv6,
        };
    }
    match text.split_once('@') {
        Some(("", rest)) if !rest.is_empty() => ValueKind::Chat,
        Some((user, host)) if is_phone(user) && !host.is_empty() => ValueKind::Phone,
        Some((_, host)) if host.starts_with(char::is_alphanumeric) => ValueKind::Email,
        Some(_) | None if is_phone(text) => ValueKind::Phone,
        Some(_) | None => ValueKind::Plain,
    }
}

/// True if a number of at least seven digits stands somewhere in `text` as a word of its own, as
/// in the names that networks give to unknown callers.
pub fn holds_number(text: &str) -> bool {
    let is_border = |c: char| !c.is_alphanumeric() && c != '+' && !is_phone_mark(c);
    text.split(is_border).any(|run| {
        let mut digits = 0;
        run.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).any(|word| {
            let is_number = word.chars().all(|c| digit(c).is_some());
            digits = if is_number { digits + word.chars().count() } else { 0 };
            digits >= PHONE_DIGITS_MIN
        })
    })
}

/// The digits of a telephone number and its extension, if `text` is one. No plus, no prefix.
pub(super) fn phone_digits(text: &str) -> Option<PhoneDigits> {
    let text = text.trim();
    let (_, text) = split_scheme(text);
    let text = user_of(text);
    let (number, extension) = split_extension(text);
    let is_international = number.trim_start().starts_with(['+', '\u{ff0b}']);
    let mut digits = String::new();
    for c in number.trim_start().trim_start_matches(['+', '\u{ff0b}']).chars() {
        match digit(c) {
            Some(value) => digits.push(value),
            None if is_phone_mark(c) => {}
            None => return None,
        }
    }
    let extension: String = extension.chars().filter_map(digit).collect();
    (!digits.is_empty()).then_some(PhoneDigits { digits, extension, is_international })
}

/// A telephone number taken apart.
pub(super) struct PhoneDigits {
    pub(super) digits: String,
    pub(super) extension: String,
    /// It began with a plus.
    pub(super) is_international: bool,
}

/// The scheme of a URI, in lower case, and what stands behind its colon.
pub(super) fn split_scheme(text: &str) -> (Option<&'static str>, &str) {
    for scheme in SCHEMES {
        let has = text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
        if has && text[scheme.len()..].starts_with(':') {
            return (Some(scheme), &text[scheme.len() + 1..]);
        }
    }
    (None, text)
}

/// What stands before an `@` or a parameter.
fn user_of(text: &str) -> &str {
    text.split(['@', '?']).next().unwrap_or(text)
}

fn is_phone(text: &str) -> bool {
    phone_digits(text)
        .is_some_and(|phone| (PHONE_DIGITS_MIN..=PHONE_DIGITS_MAX).contains(&phone.digits.len()))
}

fn split_extension(text: &str) -> (&str, &str) {
    let lower = text.to_ascii_lowercase();
    let found = EXTENSIONS.iter().filter_map(|mark| Some((lower.find(mark)?, mark.len()))).min();
    match found {
        Some((at, len)) => (&text[..at], text[at + len..].split(';').next().unwrap_or("")),
        None => (text.split(';').next().unwrap_or(text), ""),
    }
}

fn is_phone_mark(c: char) -> bool {
    matches!(c, ' ' | '-' | '.' | '/' | '(' | ')' | '\u{a0}' | '\u{2010}'..='\u{2013}')
}

/// A decimal digit of the scripts in which numbers are written by hand, as ASCII.
fn digit(c: char) -> Option<char> {
    let zeros = ['0', '\u{660}', '\u{6f0}', '\u{966}', '\u{ff10}'];
    zeros.into_iter().find_map(|zero| {
        let value = u32::from(c).checked_sub(u32::from(zero)).filter(|value| *value < 10)?;
        char::from_digit(value, 10)
    })
}

fn ip(text: &str) -> Option<IpAddr> {
    let bare = |text: &str| -> Option<IpAddr> {
        let text = text.split(['%', '/']).next()?;
        text.parse().ok()
    };
    if let Some(ip) = bare(text) {
        return Some(ip);
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, port) = rest.split_once(']')?;
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_number);
        return bare(inside).filter(|ip| is_port && is_v6(*ip));
    }
    let (host, port) = text.rsplit_once(':')?;
    let host: Ipv4Addr = host.parse().ok()?;
    is_number(port).then_some(IpAddr::V4(host))
}

fn is_v6(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(Ipv6Addr { .. }) => true,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

const SCHEMES: &[&str] = &["tel", "callto", "mailto", "sips", "sip", "xmpp", "im", "matrix"];
const EXTENSIONS: &[&str] = &[";ext=", "extension", "ext.", "ext", "x"];
/// The shortest subscriber numbers that stand for one person, and E.164's longest.
const PHONE_DIGITS_MIN: usize = 7;
const PHONE_DIGITS_MAX: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted faults: numbers asked for before IP addresses; a port that makes an address plain;
    /// a SIP number taken for an email address; short numbers taken for people.
    #[test]
    fn the_value_says_what_it_is() {
        use ValueKind::{Chat, Email, Ipv4, Ipv6, Phone, Plain};
        for (text, kind) in [
            ("+1 202 555 0143", Phone),
            ("(202) 555-0143", Phone),
            ("0711/123456-7", Phone),
            ("12025550143", Phone),
            ("tel:+1-202-555-0143;ext=5", Phone),
            ("+1 202 555 0143 ext. 12", Phone),
            ("sip:+12025550143@example.org;user=phone", Phone),
            ("12025550143@s.example.net", Phone),
            ("\u{ff0b}\u{ff11}\u{ff12}\u{ff10}\u{ff12}\u{ff15}\u{ff15}\u{ff15}", Phone),
            ("\u{660}\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}", Phone),
            ("1001", Plain),
            ("1234567890123456", Plain),
            ("ann@example.org", Email),
            ("Ann Example <ann@example.org>", Email),
            ("mailto:ann@example.org", Email),
            ("sip:1001@192.0.2.7", Email),
            ("@ann:example.org", Chat),
            ("xmpp:ann@example.org/desk", Chat),
            ("192.0.2.7", Ipv4),
            ("10.20.30.40", Ipv4),
            (" 192.0.2.7:5060 ", Ipv4),
            ("192.0.2.0/24", Ipv4),
            ("2001:db8::7", Ipv6),
            ("[2001:db8::7]:5060", Ipv6),
            ("fe80::1%eth0", Ipv6),
            ("::ffff:192.0.2.7", Ipv6),
            ("::", Ipv6),
            ("[192.0.2.7]", Plain),
            ("192.0.2.7:sip", Plain),
            ("Ann Example", Plain),
            ("@", Plain),
            ("ann@", Plain),
            ("", Plain),
        ] {
            assert_eq!(recognise(text), kind, "{text:?}");
        }
    }

    /// Planted faults: digits counted on through words; and across a comma.
    #[test]
    fn a_number_inside_a_name_is_seen() {
        for (text, holds) in [
            ("Wireless caller +1 202 555 0143", true),
            ("2025550143 (mobile)", true),
            ("Ann, 2025550143, mobile", true),
            ("Ann Example", false),
            ("Ann 2", false),
            ("agent20255501432", false),
            ("R2D2 and 007", false),
            ("Flat 12 of 34567", false),
            ("Ann, 2025, 550143", false),
        ] {
            assert_eq!(holds_number(text), holds, "{text:?}");
        }
    }
}
