//! PEM blocks in a text. Whatever stands between blocks is no concern of ours; half a block is.

use zeroize::Zeroizing;

use super::{FILE_BYTES_MAX, Found, key, too_large};
use crate::gate::{Finding, GateCode, Refusal};

/// All certificates and keys of a text.
pub(super) fn read(bytes: &[u8], password: Option<&Zeroizing<String>>) -> Result<Found, Refusal> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(too_large(bytes.len()));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut found = Found::default();
    let mut open: Option<Block<'_>> = None;
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        match (&mut open, marker(line)?) {
            (None, Marker::None) => {}
            (None, Marker::Begin(label)) => open = Some(Block::new(label, bytes.len())),
            (None, Marker::End(_)) => return Err(truncated("a block ends that never began")),
            (Some(_), Marker::Begin(_)) => {
                return Err(truncated("a block begins inside another one"));
            }
            (Some(block), Marker::None) => block.line(line),
            (Some(block), Marker::End(label)) => {
                if label != block.label {
                    return Err(truncated("a block ends under another name than it began"));
                }
                take(block, &mut found, password)?;
                open = None;
            }
        }
    }
    match open {
        None => Ok(found),
        Some(_) => Err(truncated("the last block does not end")),
    }
}

struct Block<'a> {
    label: &'a [u8],
    /// Base64 without line ends.
    text: Zeroizing<Vec<u8>>,
    is_encrypted: bool,
}

impl<'a> Block<'a> {
    fn new(label: &'a [u8], file_bytes: usize) -> Self {
        // Never grows, so no half of a key is left behind in freed memory.
        let text = Zeroizing::new(Vec::with_capacity(file_bytes));
        Self { label, text, is_encrypted: false }
    }

    fn line(&mut self, line: &[u8]) {
        // `Proc-Type: 4,ENCRYPTED` and `DEK-Info: …` of OpenSSL's own key format.
        if line.contains(&b':') {
            self.is_encrypted |= line.starts_with(b"Proc-Type") && line.ends_with(b"ENCRYPTED");
        } else {
            self.text.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
        }
    }
}

enum Marker<'a> {
    None,
    Begin(&'a [u8]),
    End(&'a [u8]),
}

fn marker(line: &[u8]) -> Result<Marker<'_>, Refusal> {
    let is_whole = |rest: &[u8]| rest.len() > 5 && rest.ends_with(b"-----");
    for (prefix, is_begin) in [(&b"-----BEGIN "[..], true), (b"-----END ", false)] {
        if let Some(rest) = line.strip_prefix(prefix) {
            if !is_whole(rest) {
                return Err(truncated("a block's first or last line is cut"));
            }
            let label = &rest[..rest.len() - 5];
            return Ok(if is_begin { Marker::Begin(label) } else { Marker::End(label) });
        }
        // The file was cut within the line.
        if !line.is_empty() && prefix.starts_with(line) {
            return Err(truncated("a block's first or last line is cut"));
        }
    }
    // The file was cut within the line, on the other side.
    let is_tail = |label: &&str| {
        [format!("-----BEGIN {label}-----"), format!("-----END {label}-----")]
            .iter()
            .any(|whole| whole.as_bytes().ends_with(line))
    };
    if line.iter().any(u8::is_ascii_uppercase) && LABELS.iter().any(is_tail) {
        return Err(truncated("a block's first or last line is cut"));
    }
    Ok(Marker::None)
}

fn take(
    block: &Block<'_>,
    found: &mut Found,
    password: Option<&Zeroizing<String>>,
) -> Result<(), Refusal> {
    if block.is_encrypted {
        return Err(key::legacy("OpenSSL's own key encryption"));
    }
    match block.label {
        b"CERTIFICATE" | b"X509 CERTIFICATE" => {
            found.certificates.push(decode(block)?.as_bytes().to_vec());
        }
        b"PRIVATE KEY" => found.keys.push(key::from_pkcs8(decode(block)?)?),
        b"RSA PRIVATE KEY" => found.keys.push(key::from_pkcs1(decode(block)?.as_bytes())?),
        b"EC PRIVATE KEY" => found.keys.push(key::from_sec1(decode(block)?.as_bytes())?),
        b"ENCRYPTED PRIVATE KEY" => {
            found.keys.push(key::from_encrypted(decode(block)?.as_bytes(), password)?);
        }
        b"TRUSTED CERTIFICATE" => {
            return Err(Finding::new(
                GateCode::Malformed,
                "a certificate is in OpenSSL's own TRUSTED format",
                "convert it: openssl x509 -in FILE -out cert.pem",
            ));
        }
        b"PKCS7" | b"CMS" => {
            return Err(Finding::new(
                GateCode::Malformed,
                "the certificates are packed as PKCS#7",
                "convert it: openssl pkcs7 -in FILE -print_certs -out chain.pem",
            ));
        }
        b"DSA PRIVATE KEY" | b"OPENSSH PRIVATE KEY" => {
            return Err(Finding::new(
                GateCode::KeyWeak,
                "the key is of a kind that TLS does not use (DSA or OpenSSH)",
                "give an RSA, P-256, P-384, P-521 or Ed25519 key in PKCS#8",
            ));
        }
        // `openssl ecparam` writes this before every key.
        b"EC PARAMETERS" => {}
        _ => found.notices.push(Finding::new(
            GateCode::Unrelated,
            "the file has a block that is neither certificate nor key",
            "nothing to do: it was left out",
        )),
    }
    Ok(())
}

/// The bytes of a block; wiped on drop, because they may be a key.
fn decode(block: &Block<'_>) -> Result<crate::hex::HexBytes, Refusal> {
    base64(&block.text)
        .map(crate::hex::HexBytes::wiped)
        .ok_or_else(|| truncated("a block is not base64 from its first to its last line"))
}

/// Strict base64 with padding; `None` for anything else. In one buffer that never grows.
fn base64(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (groups, []) = text.as_chunks::<4>() else { return None };
    let mut bytes = Zeroizing::new(Vec::with_capacity(groups.len() * 3));
    for (at, group) in groups.iter().enumerate() {
        let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
        if padding > 2 || (padding > 0 && at + 1 != groups.len()) {
            return None;
        }
        let mut bits = 0;
        for byte in &group[..4 - padding] {
            bits = bits << 6 | u32::from(value(*byte)?);
        }
        bits <<= 6 * padding;
        bytes.extend(&bits.to_be_bytes()[1..4 - padding]);
    }
    (!bytes.is_empty()).then_some(bytes)
}

fn value(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

fn truncated(message: &str) -> Refusal {
    Finding::new(
        GateCode::PemTruncated,
        message,
        "the file is not whole: copy it once more, from the first BEGIN to the last END line",
    )
}

/// What blocks of interest are called.
const LABELS: [&str; 5] =
    ["CERTIFICATE", "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_what_everyone_writes() {
        for (text, bytes) in [
            ("TQ==", &b"M"[..]),
            ("TWE=", b"Ma"),
            ("TWFu", b"Man"),
            ("//79+w==", b"\xff\xfe\xfd\xfb"),
        ] {
            assert_eq!(base64(text.as_bytes()).unwrap().as_slice(), bytes, "{text}");
        }
        for bad in ["", "T", "TQ=", "TQ==TQ==", "T===", "====", "TW u", "TWF-"] {
            assert!(base64(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
