//! Credentials that recorders leave in the files beside media.
//!
//! One line scanner for JSON, XML, `key=value` and URLs alike: it looks for telling names followed
//! by a value and for values of a telling shape. It reports what kind of secret stands on which
//! line, never the secret. A warning to people, not a gate: the sidecar is sealed either way.

use std::ops::Range;

/// What kind of secret was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretKind {
    /// A password or passphrase.
    Password,
    /// A bearer, access or session token.
    Token,
    /// An API key or the secret half of one.
    ApiKey,
    /// The key of a live stream, which lets anybody send in the owner's name.
    StreamKey,
    /// A private key.
    PrivateKey,
    /// User and password inside a URL.
    UrlCredentials,
    /// A URL that is itself the permission (signed upload links).
    SignedUrl,
}

impl SecretKind {
    /// The stored and displayed name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Token => "token",
            Self::ApiKey => "api_key",
            Self::StreamKey => "stream_key",
            Self::PrivateKey => "private_key",
            Self::UrlCredentials => "url_credentials",
            Self::SignedUrl => "signed_url",
        }
    }
}

/// One secret: its kind and its line, counted from 1. Never its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretFinding {
    /// What it is.
    pub kind: SecretKind,
    /// Where it stands.
    pub line: u32,
}

/// The secrets in the first MiB of a sidecar, at most 100, each kind once per line. Time grows
/// with the length; no input panics.
pub fn secrets_in(plaintext: &[u8]) -> Vec<SecretFinding> {
    let plaintext = &plaintext[..plaintext.len().min(SEARCHED_BYTES_MAX)];
    let mut findings = Vec::new();
    for (line, text) in (1..).zip(plaintext.split(|b| *b == b'\n')) {
        let mut kinds: Vec<SecretKind> = named_values(text).chain(telling_shapes(text)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        findings.extend(kinds.into_iter().map(|kind| SecretFinding { kind, line }));
        if findings.len() >= FINDINGS_MAX {
            findings.truncate(FINDINGS_MAX);
            break;
        }
    }
    findings
}

/// True if `key` names a secret or `value` has the shape of one: such a member is reported, and
/// goes nowhere else.
pub(super) fn is_telling(key: &str, value: &str) -> bool {
    let tail = key.len().saturating_sub(NAME_BYTES_MAX);
    let named = kind_of_name(&key.as_bytes()[tail..]).is_some();
    named || telling_shapes(value.as_bytes()).next().is_some()
}

/// Values behind a telling name: `"accessToken": "x"`, `<password>x</password>`, `api_key=x`.
fn named_values(line: &[u8]) -> impl Iterator<Item = SecretKind> {
    words(line).filter_map(move |word| {
        let kind = kind_of_name(&line[word.clone()])?;
        has_value(&line[word.end..]).then_some(kind)
    })
}

/// Runs of letters, digits, `_` and `-`: what a key looks like in every notation.
fn words(line: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + line[at..].iter().position(is_word)?;
        let len = line[start..].iter().position(|b| !is_word(b)).unwrap_or(line.len() - start);
        at = start + len;
        Some(start..at)
    })
}

fn kind_of_name(word: &[u8]) -> Option<SecretKind> {
    if word.len() > NAME_BYTES_MAX {
        return None;
    }
    let name: String = word
        .iter()
        .filter(|b| b.is_ascii_alphanumeric())
        .map(|b| char::from(b.to_ascii_lowercase()))
        .collect();
    NAMES.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, kind)| *kind)
}

/// True if what follows a name is a sign of assignment and something that is not empty.
fn has_value(rest: &[u8]) -> bool {
    let rest = rest.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"").or(rest.strip_prefix(b"'")).unwrap_or(rest);
    let Some((b':' | b'=' | b'>', rest)) = rest.trim_ascii_start().split_first() else {
        return false;
    };
    let rest = rest.trim_ascii_start();
    match rest.split_first() {
        Some((quote @ (b'"' | b'\''), value)) => value.first().is_some_and(|b| b != quote),
        Some((b'<' | b'{' | b'[' | b',' | b'}' | b'&', _)) | None => false,
        Some(_) => ![&b"null"[..], b"true", b"false"].iter().any(|word| rest.starts_with(word)),
    }
}

/// Values that tell by their shape, whatever they are called.
fn telling_shapes(line: &[u8]) -> impl Iterator<Item = SecretKind> {
    SHAPES.iter().filter_map(move |(mark, kind)| {
        let is_mark =
            |at: &usize| line[*at..*at + mark.len()].eq_ignore_ascii_case(mark.as_bytes());
        let places = (0..(line.len() + 1).saturating_sub(mark.len())).filter(is_mark);
        let mut values = places.map(|at| value_from(&line[at + mark.len()..]));
        values.any(|value| is_secret(*kind, value)).then_some(*kind)
    })
}

fn is_secret(kind: SecretKind, value: &[u8]) -> bool {
    let mut parts = value.split(|b| *b == b'/');
    match kind {
        // rtmp://host/application/KEY
        SecretKind::StreamKey => parts.nth(2).is_some_and(|key| !key.is_empty()),
        // https://user:password@host/
        SecretKind::UrlCredentials => {
            let authority = parts.next().unwrap_or_default();
            let user = authority.iter().rposition(|b| *b == b'@').map(|end| &authority[..end]);
            user.is_some_and(|user| user.contains(&b':'))
        }
        SecretKind::PrivateKey => true,
        SecretKind::Password | SecretKind::Token | SecretKind::ApiKey | SecretKind::SignedUrl => {
            value.len() >= VALUE_BYTES_MIN
        }
    }
}

/// Up to the first byte that ends a value in any notation. Only so far, as marks may stand close.
fn value_from(text: &[u8]) -> &[u8] {
    let text = &text[..text.len().min(VALUE_BYTES_MAX)];
    let end = text.iter().position(|b| {
        b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'<' | b'>' | b',' | b'}')
    });
    &text[..end.unwrap_or(text.len())]
}

/// Endings of names, letters and digits only, most special first.
const NAMES: &[(&str, SecretKind)] = &[
    ("streamkey", SecretKind::StreamKey),
    ("streamname", SecretKind::StreamKey),
    ("privatekey", SecretKind::PrivateKey),
    ("password", SecretKind::Password),
    ("passwd", SecretKind::Password),
    ("passphrase", SecretKind::Password),
    ("pwd", SecretKind::Password),
    ("apikey", SecretKind::ApiKey),
    ("accesskey", SecretKind::ApiKey),
    ("accesskeyid", SecretKind::ApiKey),
    ("secretkey", SecretKind::ApiKey),
    ("secret", SecretKind::ApiKey),
    ("token", SecretKind::Token),
    ("authorization", SecretKind::Token),
    ("jwt", SecretKind::Token),
    ("credential", SecretKind::ApiKey),
    ("credentials", SecretKind::ApiKey),
];

const SHAPES: &[(&str, SecretKind)] = &[
    ("rtmp://", SecretKind::StreamKey),
    ("rtmps://", SecretKind::StreamKey),
    ("://", SecretKind::UrlCredentials),
    ("X-Amz-Signature=", SecretKind::SignedUrl),
    ("X-Goog-Signature=", SecretKind::SignedUrl),
    ("bearer ", SecretKind::Token),
    ("eyJhbGciOi", SecretKind::Token),
    ("AKIA", SecretKind::ApiKey),
    ("PRIVATE KEY-----", SecretKind::PrivateKey),
];

/// Shorter than this, a word behind a mark is chance.
const VALUE_BYTES_MIN: usize = 12;
const VALUE_BYTES_MAX: usize = 512;
const NAME_BYTES_MAX: usize = 64;
const SEARCHED_BYTES_MAX: usize = 1 << 20;
const FINDINGS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_found_in_every_notation() {
        use SecretKind as K;
        for (text, expected) in [
            (r#"{"upload_credentials": {"access_key": "AK", "secretKey":"s"}}"#, vec![K::ApiKey]),
            (r#"{"sip": {"password" : "hunter2"}}"#, vec![K::Password]),
            (r#""youTubeStreamKey": "abcd-efgh""#, vec![K::StreamKey]),
            (r#""url": "rtmp://a.example/live2/abcd-efgh""#, vec![K::StreamKey]),
            ("<sip_auth_password>x</sip_auth_password>", vec![K::Password]),
            ("<user password='x'/>", vec![K::Password]),
            ("api-key=abc", vec![K::ApiKey]),
            ("Authorization: Bearer abcdefghijklmnop", vec![K::Token]),
            ("https://bob:pw@files.example/", vec![K::UrlCredentials]),
            ("https://s3/x?X-Amz-Signature=0123456789abcdef", vec![K::SignedUrl]),
            ("-----BEGIN EC PRIVATE KEY-----", vec![K::PrivateKey]),
            (r#""jwt":"x""#, vec![K::Token]),
        ] {
            let kinds: Vec<_> =
                secrets_in(text.as_bytes()).iter().map(|found| found.kind).collect();
            assert_eq!(kinds, expected, "{text}");
        }
    }

    #[test]
    fn ordinary_metadata_is_quiet() {
        for text in [
            r#"{"meeting_url":"https://meet.example/room","participants":[{"name":"A","id":"7"}]}"#,
            r#"{"password": null, "token": "", "secret": {}, "apikey":false}"#,
            "<password></password>",
            "a secretary called; the token was discussed",
            "rtmp://a.example/live2",
            "sip:bob@example.org",
        ] {
            assert_eq!(secrets_in(text.as_bytes()), [], "{text}");
        }
    }

    #[test]
    fn a_finding_says_the_line_and_not_the_value() {
        let found = secrets_in(b"{\n \"a\": 1,\n \"token\": \"hunter2\"\n}");
        assert_eq!(found, [SecretFinding { kind: SecretKind::Token, line: 3 }]);
        assert!(!format!("{found:?}").contains("hunter2"));
        assert_eq!(secrets_in(&b"token=x\n".repeat(1000)).len(), FINDINGS_MAX);
        // Planted fault: searching all of a file of any size.
        let mut long = vec![b' '; SEARCHED_BYTES_MAX];
        long.extend(b"token=x");
        assert_eq!(secrets_in(&long), []);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), mark in 0..SHAPES.len()) {
            let _ = secrets_in(&bytes);
            let _ = secrets_in(&[SHAPES[mark].0.as_bytes(), &bytes].concat());
        }
    }
}
