//! Bearer tokens: how one looks, and what of it is kept.
//!
//! ```text
//! rst_ │ 64 hexadecimal digits: 256 random bits │ 8 digits: the first 32 bits of SHA-256 over
//!                                                 everything before them
//! ```
//!
//! The checksum lets a typing error be told from a revoked token, and a secret scanner be sure.
//! Only the SHA-256 digest of the whole text is stored: 256 random bits need no slow hash.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What is stored of a token.
pub type TokenDigest = [u8; 32];

/// The text of a token made of `random`. Show it once, keep only its [`digest`].
pub fn expose_text(random: &Zeroizing<[u8; RANDOM_BYTES]>) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(TEXT_CHARS));
    text.push_str(PREFIX);
    push_hex(&mut text, &**random);
    let check = checksum(&text);
    push_hex(&mut text, &check);
    text
}

/// The digest to look `text` up by.
///
/// # Errors
///
/// [`NotAToken`] if it cannot be one: no lookup needed, and nothing was learnt about any token.
pub fn digest(text: &str) -> Result<TokenDigest, NotAToken> {
    let is_shaped = text.len() == TEXT_CHARS
        && text.strip_prefix(PREFIX).is_some_and(|rest| {
            rest.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
        });
    if !is_shaped {
        return Err(NotAToken);
    }
    let (body, check) = text.split_at(TEXT_CHARS - CHECK_CHARS);
    let mut expected = String::with_capacity(CHECK_CHARS);
    push_hex(&mut expected, &checksum(body));
    if expected != check {
        return Err(NotAToken);
    }
    Ok(Sha256::digest(text.as_bytes()).into())
}

/// The text does not have the form of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a token: wrong form or checksum")]
pub struct NotAToken;

fn checksum(body: &str) -> [u8; CHECK_CHARS / 2] {
    let digest = Sha256::digest(body.as_bytes());
    [digest[0], digest[1], digest[2], digest[3]]
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
    }
}

/// Random bytes in a token.
pub const RANDOM_BYTES: usize = 32;
const PREFIX: &str = "rst_";
const CHECK_CHARS: usize = 8;
const TEXT_CHARS: usize = PREFIX.len() + 2 * RANDOM_BYTES + CHECK_CHARS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_frozen() {
        let text = expose_text(&Zeroizing::new([0xab; RANDOM_BYTES]));
        assert_eq!(text.len(), 76);
        assert_eq!(text.as_str(), format!("rst_{}e30c0732", "ab".repeat(32)));
        assert_ne!(digest(&text), digest(&expose_text(&Zeroizing::new([0xac; RANDOM_BYTES]))));
    }

    /// Every character matters. Planted fault: without the checksum comparison, a changed digit
    /// goes on to the catalog as an unknown token.
    #[test]
    fn one_wrong_character_is_no_token() {
        let good = expose_text(&Zeroizing::new(std::array::from_fn(|i| i as u8)));
        assert!(digest(&good).is_ok());
        for at in 0..good.len() {
            let mut bad = good.as_bytes().to_vec();
            bad[at] = if bad[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(digest(std::str::from_utf8(&bad).unwrap()), Err(NotAToken), "at {at}");
        }
        for bad in ["", "rst_", "é", &good[1..], &format!("{}0", &*good), &good.to_uppercase()] {
            assert_eq!(digest(bad), Err(NotAToken));
        }
        let multibyte = format!("rst_{}", "é".repeat(36));
        assert_eq!(multibyte.len(), TEXT_CHARS);
        assert_eq!(digest(&multibyte), Err(NotAToken));
    }
}
