//! The key of one recording, and the text file it is exported as.
//!
//! ```text
//! recseal data key, version 1
//! recording 018f6d2e-…          the recording it opens
//! key-id 018f6d2e-…             as in the prefix of its sealed files
//! key 64 hexadecimal digits
//! check 16 hexadecimal digits   the first 8 bytes of SHA-256 of the four lines above
//! ```
//!
//! The check finds a typing mistake, not an attack: whoever holds the file holds the key.

use aws_lc_rs::digest;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::floe::{FloeOpener, FloeSealer, HEADER_BYTES, OpenError, Parameters};
use crate::secret::{SECRET_BYTES, Secret};

/// The key of exactly one recording and one sealing attempt. Its bytes never leave this crate.
#[derive(Debug)]
pub struct DataKey {
    id: Uuid,
    secret: Secret,
}

impl DataKey {
    /// A fresh key under a fresh id.
    pub fn generate() -> Self {
        Self { id: Uuid::now_v7(), secret: Secret::generate() }
    }

    /// Puts together what was unwrapped.
    pub(crate) fn from_parts(id: Uuid, secret: Secret) -> Self {
        Self { id, secret }
    }

    /// The id that stands in the prefix of every sealed file of this key.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The bytes, for wrapping and for the chunk cipher.
    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Begins a new message under a random IV; `aad` is bound to all of it.
    pub fn sealer(&self, aad: &[u8]) -> FloeSealer {
        FloeSealer::new(&self.secret, aad, Parameters::SEALED_FILE)
    }

    /// Begins to open a message sealed with the same `aad`.
    ///
    /// # Errors
    ///
    /// [`OpenError::UnsupportedParameters`], or [`OpenError::WrongKey`] if key, header and `aad`
    /// do not belong together.
    pub fn opener(&self, aad: &[u8], header: &[u8; HEADER_BYTES]) -> Result<FloeOpener, OpenError> {
        FloeOpener::new(&self.secret, aad, header, Parameters::SEALED_FILE)
    }

    /// The text of a key file: it opens `recording` without recseal, so an export is audited and
    /// the file is nobody else's to read.
    pub fn expose_export(&self, recording: Uuid) -> Zeroizing<String> {
        // Reserved at once: a string that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_BYTES_MAX));
        text.push_str(&format!(
            "{TITLE}{VERSION}\nrecording {recording}\nkey-id {}\nkey ",
            self.id
        ));
        push_hex(&mut text, self.secret.expose_bytes());
        text.push('\n');
        let check = digest::digest(&digest::SHA256, text.as_bytes());
        text.push_str("check ");
        push_hex(&mut text, &check.as_ref()[..CHECK_BYTES]);
        text.push('\n');
        text
    }

    /// Reads a key file back: the recording it belongs to, and the key.
    ///
    /// Line ends, upper case and space around a line do not matter; order and number of lines do.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`], which never repeats the text.
    pub fn import(text: &str) -> Result<(Uuid, Self), KeyFileError> {
        let version = text.trim_start().strip_prefix(TITLE).ok_or(KeyFileError::NotAKeyFile)?;
        let version = version.lines().next().unwrap_or_default().trim();
        if version != VERSION {
            return Err(KeyFileError::UnsupportedVersion);
        }
        if text.len() > KEY_FILE_BYTES_MAX {
            return Err(KeyFileError::Malformed { line: 0 });
        }
        let mut lines = text.trim().lines().skip(1);
        let recording = Uuid::try_parse(value(&mut lines, "recording", 2)?)
            .map_err(|_| KeyFileError::Malformed { line: 2 })?;
        let id = Uuid::try_parse(value(&mut lines, "key-id", 3)?)
            .map_err(|_| KeyFileError::Malformed { line: 3 })?;
        let secret = Zeroizing::new(
            parse_hex::<SECRET_BYTES>(value(&mut lines, "key", 4)?)
                .ok_or(KeyFileError::Malformed { line: 4 })?,
        );
        let check = value(&mut lines, "check", 5)?;
        if lines.next().is_some() {
            return Err(KeyFileError::Malformed { line: 6 });
        }
        let key = Self { id, secret: Secret::from_bytes(&secret) };
        let expected = key.expose_export(recording);
        let expected_check = expected.trim_end().rsplit(' ').next().unwrap_or_default();
        if !expected_check.eq_ignore_ascii_case(check) {
            return Err(KeyFileError::WrongCheck);
        }
        Ok((recording, key))
    }
}

/// Why a key file was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// Something else.
    #[error("not a recseal key file")]
    NotAKeyFile,
    /// A version that this program does not know.
    #[error("key file of an unsupported version")]
    UnsupportedVersion,
    /// A line is missing, too much, or not what it should be.
    #[error("line {line} of the key file is wrong")]
    Malformed {
        /// Counted from 1; 0 if the file as a whole is too long.
        line: u8,
    },
    /// The lines do not fit their check digits.
    #[error("the check digits of the key file do not fit: a character was changed")]
    WrongCheck,
}

fn value<'t>(
    lines: &mut impl Iterator<Item = &'t str>,
    name: &str,
    line: u8,
) -> Result<&'t str, KeyFileError> {
    lines
        .next()
        .and_then(|text| text.trim().strip_prefix(name)?.strip_prefix(' '))
        .map(str::trim)
        .ok_or(KeyFileError::Malformed { line })
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).expect("four bits are one digit"));
        }
    }
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? * 16 + digit(1)?) as u8;
    }
    Some(bytes)
}

const TITLE: &str = "recseal data key, version ";
const VERSION: &str = "1";
const CHECK_BYTES: usize = 8;
/// Twice what is written, for line ends and indentation of mail programs.
const KEY_FILE_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    /// Also frozen as an example in `src/manual/format.md`.
    const FILE: &str = "recseal data key, version 1
recording 01020304-0506-0708-090a-0b0c0d0e0f10
key-id 11121314-1516-1718-191a-1b1c1d1e1f20
key 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
check 3f589f994343dbc5
";

    #[test]
    fn a_key_file_reads_back() {
        let key = DataKey::generate();
        let recording = Uuid::now_v7();
        let text = key.expose_export(recording);
        for text in [text.to_string(), text.replace('\n', "\r\n"), format!("\n  {}\n\n", *text)] {
            let (same_recording, same_key) = DataKey::import(&text).unwrap();
            assert_eq!(same_recording, recording);
            assert_eq!(same_key.id(), key.id());
            assert_eq!(same_key.secret.expose_bytes(), key.secret.expose_bytes());
        }
        assert!(text.len() <= KEY_FILE_BYTES_MAX / 2 + 16, "{}", text.len());
    }

    #[test]
    fn the_text_form_is_frozen() {
        let (recording, key) = DataKey::import(FILE).unwrap();
        assert_eq!(key.expose_export(recording).as_str(), FILE);
        assert_eq!(key.secret.expose_bytes()[31], 31);
        assert_eq!(key.id(), Uuid::from_u128(0x1112_1314_1516_1718_191a_1b1c_1d1e_1f20));
    }

    /// Planted fault: an import that skips the check opens nothing later, with a wrong reason.
    #[test]
    fn every_changed_character_is_refused() {
        for (at, was) in FILE.char_indices().filter(|(_, c)| c.is_ascii_hexdigit()) {
            let mut text = FILE.to_owned();
            text.replace_range(at..=at, if was == '7' { "8" } else { "7" });
            assert!(DataKey::import(&text).is_err(), "byte {at}");
        }
        for cut in 0..FILE.len() - 1 {
            assert!(DataKey::import(&FILE[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        let upper = FILE.to_uppercase().replacen("RECSEAL DATA KEY, VERSION", TITLE.trim(), 1);
        for (text, error) in [
            (String::new(), KeyFileError::NotAKeyFile),
            ("age-encryption.org/v1".into(), KeyFileError::NotAKeyFile),
            (FILE.replacen("version 1", "version 2", 1), KeyFileError::UnsupportedVersion),
            (FILE.replacen("0506", "05x6", 1), KeyFileError::Malformed { line: 2 }),
            (upper, KeyFileError::Malformed { line: 2 }),
            (FILE.replacen("key-id ", "key-id", 1), KeyFileError::Malformed { line: 3 }),
            (FILE.replacen("1e1f\n", "1e1\u{e9}\n", 1), KeyFileError::Malformed { line: 4 }),
            (FILE.replacen("0a0b0c", "0a0b0d", 2), KeyFileError::WrongCheck),
            (format!("{FILE}more\n"), KeyFileError::Malformed { line: 6 }),
            (format!("{FILE}{}", " ".repeat(512)), KeyFileError::Malformed { line: 0 }),
        ] {
            assert_eq!(DataKey::import(&text).map(|_| ()), Err(error), "{text}");
        }
    }
}
