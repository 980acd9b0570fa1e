//! Who is behind a number, a SIP URI or a caller id.
//!
//! Read generously, because nothing depends on it but where a text goes: what is not understood is
//! kept as an address of a chat system, what has blanks as a name, what says that it says nothing is dropped.

use std::borrow::Cow;
use std::net::IpAddr;

/// What one address tells. Empty is unknown.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Party {
    pub(super) name: Option<String>,
    pub(super) phone: Option<String>,
    pub(super) email: Option<String>,
    pub(super) ip: Option<String>,
    pub(super) chat_address: Option<String>,
}

impl Party {
    /// True if nobody is known by it.
    pub(super) fn is_nobody(&self) -> bool {
        *self == Self::default()
    }

    /// With what `other` knows besides.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            name: self.name.or(other.name),
            phone: self.phone.or(other.phone),
            email: self.email.or(other.email),
            ip: self.ip.or(other.ip),
            chat_address: self.chat_address.or(other.chat_address),
        }
    }
}

/// Reads `text`: `"Name" <sip:user@host;tag=1>`, `Name <number>`, a URI, a number, an address.
/// Where there are several, the first.
pub(super) fn party(text: &str) -> Party {
    let text = text.trim();
    let (name, address) = match text.rfind('<') {
        Some(open) => (display_name(&text[..open]), text[open + 1..].split('>').next()),
        None => (None, Some(text)),
    };
    let party = address.map(bare).unwrap_or_default();
    let name = name.filter(|name| party.phone.as_deref() != Some(name));
    Party { name: name.or(party.name), ..party }
}

/// A name as people have them: not empty, not a word that hides one, not the number again.
pub(super) fn name(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && !is_hidden(text)).then(|| text.to_owned())
}

/// `text` if it is an IP address, with the brackets and port that may be around it taken off.
pub(super) fn ip(text: &str) -> Option<String> {
    let text = text.trim();
    let bare = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, _)) => inside,
        None if text.matches(':').count() == 1 => text.split(':').next().unwrap_or(text),
        None => text,
    };
    bare.parse::<IpAddr>().ok().map(|_| bare.to_owned())
}

/// An address without a name: a URI or what one would be without its scheme.
fn bare(text: &str) -> Party {
    let text = text.trim().trim_matches(['<', '>', '"']);
    let (scheme, rest) = scheme(text);
    // Parameters and headers say how to reach somebody, not whom.
    let rest = rest.split(['?', ';', ',']).next().unwrap_or_default().trim();
    if rest.is_empty() || is_hidden(rest) {
        return Party::default();
    }
    if let Some(ip) = ip(rest) {
        return Party { ip: Some(ip), ..Party::default() };
    }
    let (user, host) = rest.rsplit_once('@').unwrap_or((rest, ""));
    // `user:password@host`: the password is nobody's business.
    let user = decoded(user.split(':').next().unwrap_or(user));
    if is_hidden(&user) {
        return Party::default();
    }
    if scheme == Scheme::Mail {
        return Party { email: Some(rest.to_owned()), ..Party::default() };
    }
    if is_number(&user) {
        return Party { phone: Some(user.into_owned()), ..Party::default() };
    }
    if host.is_empty() && user.contains(' ') {
        return Party { name: Some(user.into_owned()), ..Party::default() };
    }
    let address = if host.is_empty() { user.into_owned() } else { format!("{user}@{host}") };
    Party { chat_address: Some(address), ..Party::default() }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Phone,
    Mail,
    None,
}

fn scheme(text: &str) -> (Scheme, &str) {
    for (prefix, scheme) in [
        ("sip:", Scheme::Phone),
        ("sips:", Scheme::Phone),
        ("tel:", Scheme::Phone),
        ("im:", Scheme::Phone),
        ("xmpp:", Scheme::Phone),
        ("mailto:", Scheme::Mail),
    ] {
        if text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix)) {
            return (scheme, &text[prefix.len()..]);
        }
    }
    (Scheme::None, text)
}

/// Without quotes, their escapes, and what says nothing.
fn display_name(text: &str) -> Option<String> {
    let text = text.trim();
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => name(&unescaped(quoted)),
        None => name(text),
    }
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

/// `%40` and its like; as it was if that would not be text.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    match String::from_utf8(bytes) {
        Ok(plain) if !plain.contains('\0') => Cow::Owned(plain),
        Ok(_) | Err(_) => Cow::Borrowed(text),
    }
}

/// RFC 3966: digits with visual separators, perhaps a plus; `*` and `#` for services.
pub(super) fn is_number(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    (1..=NUMBER_DIGITS_MAX).contains(&digits)
        && text.len() <= 2 * NUMBER_DIGITS_MAX
        && text.strip_prefix('+').unwrap_or(text).bytes().all(|b| {
            b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'(' | b')' | b' ' | b'*' | b'#')
        })
}

/// What stands where a number or a name is withheld (RFC 3323 and habit).
fn is_hidden(text: &str) -> bool {
    HIDDEN.iter().any(|word| text.eq_ignore_ascii_case(word))
}

const HIDDEN: &[&str] = &[
    "anonymous",
    "anonymous@anonymous.invalid",
    "asserted",
    "blocked",
    "none",
    "null",
    "private",
    "restricted",
    "s",
    "unavailable",
    "unknown",
    "withheld",
];

const NUMBER_DIGITS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text, then name, phone, email, ip, chat address.
    #[test]
    fn every_notation_of_somebody_is_read() {
        for (text, expected) in [
            (
                "\"Ann \\\"A\\\" Example\" <sip:ann@example.org;tag=1>",
                ["Ann \"A\" Example", "", "", "", "ann@example.org"],
            ),
            ("Ann Example <2025550101>", ["Ann Example", "2025550101", "", "", ""]),
            ("\"2025550101\" <2025550101>", ["", "2025550101", "", "", ""]),
            (
                "\"\" <sip:+12025550101@192.0.2.1:5060;user=phone>;tag=x",
                ["", "+12025550101", "", "", ""],
            ),
            ("<sips:%2B12025550101@example.org?Subject=x>", ["", "+12025550101", "", "", ""]),
            ("tel:+1-202-555-0101;phone-context=example.org", ["", "+1-202-555-0101", "", "", ""]),
            ("TEL:911", ["", "911", "", "", ""]),
            // Planted fault: the password kept.
            ("sip:bob:hunter2@example.org", ["", "", "", "", "bob@example.org"]),
            ("sip:bob@[2001:db8::7]:5060", ["", "", "", "", "bob@[2001:db8::7]:5060"]),
            ("sip:192.0.2.7:5060", ["", "", "", "192.0.2.7", ""]),
            ("sip:[2001:db8::7]", ["", "", "", "2001:db8::7", ""]),
            ("192.0.2.7", ["", "", "", "192.0.2.7", ""]),
            ("mailto:ann@example.org?subject=x", ["", "", "ann@example.org", "", ""]),
            ("ann@example.org", ["", "", "", "", "ann@example.org"]),
            ("ann", ["", "", "", "", "ann"]),
            ("Ann Example", ["Ann Example", "", "", "", ""]),
            // Planted fault: somebody called Anonymous.
            ("\"Anonymous\" <sip:anonymous@anonymous.invalid>", ["", "", "", "", ""]),
            ("\"Unknown\" <unknown>", ["", "", "", "", ""]),
            ("<sip:Restricted@192.0.2.1>", ["", "", "", "", ""]),
            ("*97", ["", "*97", "", "", ""]),
            ("", ["", "", "", "", ""]),
            ("<>", ["", "", "", "", ""]),
        ] {
            let party = party(text);
            let found = [&party.name, &party.phone, &party.email, &party.ip, &party.chat_address]
                .map(|part| part.as_deref().unwrap_or_default());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_decoded_stays() {
        for (text, plain) in [
            ("a%20b%2Bc", "a b+c"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%ff", "%ff"),
            ("%00", "%00"),
            ("M%C3%BCller", "Müller"),
        ] {
            assert_eq!(decoded(text), plain);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[\"<>@:;%\\[\\]\\\\a9\u{e4} ]{0,24}") {
            let _ = party(&text);
            let _ = ip(&text);
        }
    }
}
