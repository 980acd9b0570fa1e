//! Tombstones: what is left of a destroyed key version, signed, for ever.
//!
//! ```text
//! recseal certificate of key destruction 1
//! key version: 3
//! fingerprint: 64 hexadecimal digits
//! created ms: 1795000000000
//! retired ms: 1795000000000            or "-"
//! destroyed ms: 1797592000000
//! recordings at scheduling: 0
//! reason: routine
//! asked by: uid:0
//! signing key: 16 hexadecimal digits
//! signature: 128 hexadecimal digits    over all lines before this one
//! ```
//!
//! The fingerprint is the SHA-256 of a key-check value derived from the key, never of the key
//! itself. It is how a restored older store recognises a key that was destroyed meanwhile.

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::error::KeyError;
use crate::hex;
use crate::signing::{PublicKey, Signature, SigningKey, verify_signature};

/// The certificate that one key version was destroyed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    /// Its number, never used again.
    pub version: u32,
    /// SHA-256 of its key-check value.
    #[serde(with = "as_hex")]
    pub fingerprint: [u8; 32],
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// When another version took over.
    pub retired_ms: Option<i64>,
    /// When the last generation of the store that held it was destroyed.
    pub destroyed_ms: i64,
    /// Recordings whose data keys it wrapped when the date was set.
    pub recordings_at_scheduling: u64,
    /// Why, in the words of who asked.
    pub reason: String,
    /// Who asked: a user name.
    pub by: String,
    #[serde(with = "as_hex")]
    key_id: [u8; 8],
    #[serde(with = "as_hex")]
    signature: [u8; 64],
}

impl Tombstone {
    /// Signs these facts; `key_id` and `signature` are filled in here.
    pub(crate) fn signed(facts: Facts, key: &SigningKey) -> Self {
        let mut tombstone = Self {
            version: facts.version,
            fingerprint: facts.fingerprint,
            created_ms: facts.created_ms,
            retired_ms: facts.retired_ms,
            destroyed_ms: facts.destroyed_ms,
            recordings_at_scheduling: facts.recordings,
            reason: one_line(&facts.reason),
            by: one_line(&facts.by),
            key_id: key.public().id(),
            signature: [0; 64],
        };
        tombstone.signature = key.sign(TOMBSTONE_CONTEXT, tombstone.statement().as_bytes()).bytes;
        tombstone
    }

    /// The certificate as a text file.
    pub fn to_text(&self) -> String {
        format!("{}{SIGNATURE}{}\n", self.statement(), *hex::encode(&self.signature))
    }

    /// Reads the text of [`Self::to_text`]. Says nothing about who made it: see [`Self::verify`].
    ///
    /// # Errors
    ///
    /// [`KeyError::TombstoneDamaged`] for anything else, be it one blank.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let read = || {
            let mut lines = text.get(..text.len().min(TEXT_BYTES_MAX))?.lines();
            (lines.next()? == TITLE).then_some(())?;
            let mut field = |label: &str| lines.next()?.strip_prefix(label);
            let tombstone = Self {
                version: field(VERSION)?.parse().ok()?,
                fingerprint: bytes(field(FINGERPRINT)?)?,
                created_ms: field(CREATED)?.parse().ok()?,
                retired_ms: match field(RETIRED)? {
                    NEVER => None,
                    moment => Some(moment.parse().ok()?),
                },
                destroyed_ms: field(DESTROYED)?.parse().ok()?,
                recordings_at_scheduling: field(RECORDINGS)?.parse().ok()?,
                reason: field(REASON)?.to_owned(),
                by: field(BY)?.to_owned(),
                key_id: bytes(field(KEY_ID)?)?,
                signature: bytes(field(SIGNATURE)?)?,
            };
            (tombstone.to_text() == text).then_some(tombstone)
        };
        read().ok_or(KeyError::TombstoneDamaged)
    }

    /// Checks that one of `keys` signed this. Needs no key store.
    ///
    /// # Errors
    ///
    /// [`KeyError::UnknownSigner`], [`KeyError::BadSignature`].
    pub fn verify(&self, keys: &[PublicKey]) -> Result<(), KeyError> {
        let signature = Signature { key_id: self.key_id, bytes: self.signature };
        verify_signature(keys, TOMBSTONE_CONTEXT, self.statement().as_bytes(), &signature)
    }

    /// Everything that is signed.
    fn statement(&self) -> String {
        let retired = self.retired_ms.map_or_else(|| NEVER.to_owned(), |ms| ms.to_string());
        format!(
            "{TITLE}\n{VERSION}{}\n{FINGERPRINT}{}\n{CREATED}{}\n{RETIRED}{retired}\n\
             {DESTROYED}{}\n{RECORDINGS}{}\n{REASON}{}\n{BY}{}\n{KEY_ID}{}\n",
            self.version,
            *hex::encode(&self.fingerprint),
            self.created_ms,
            self.destroyed_ms,
            self.recordings_at_scheduling,
            self.reason,
            self.by,
            *hex::encode(&self.key_id),
        )
    }
}

/// What a tombstone says, before it is signed.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) version: u32,
    pub(crate) fingerprint: [u8; 32],
    pub(crate) created_ms: i64,
    pub(crate) retired_ms: Option<i64>,
    pub(crate) destroyed_ms: i64,
    pub(crate) recordings: u64,
    pub(crate) reason: String,
    pub(crate) by: String,
}

/// Text that keeps to its line: control characters become blanks, and it is cut at 200 bytes.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if line.len() + c.len_utf8() > LINE_BYTES_MAX {
            break;
        }
        line.push(c);
    }
    line
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// Arrays as hexadecimal text.
pub(crate) mod as_hex {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use crate::hex::HexBytes;

    pub(crate) fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        HexBytes::new(bytes.as_slice()).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<[u8; N], D::Error> {
        let bytes = HexBytes::deserialize(from)?;
        let wrong = |_| de::Error::custom("hexadecimal text of another length");
        bytes.as_bytes().try_into().map_err(wrong)
    }
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    hex::decode(text)?.as_slice().try_into().ok()
}

/// What tombstones are signed as.
pub const TOMBSTONE_CONTEXT: &str = "recseal-key-destruction";
const TITLE: &str = "recseal certificate of key destruction 1";
const VERSION: &str = "key version: ";
const FINGERPRINT: &str = "fingerprint: ";
const CREATED: &str = "created ms: ";
const RETIRED: &str = "retired ms: ";
const DESTROYED: &str = "destroyed ms: ";
const RECORDINGS: &str = "recordings at scheduling: ";
const REASON: &str = "reason: ";
const BY: &str = "asked by: ";
const KEY_ID: &str = "signing key: ";
const SIGNATURE: &str = "signature: ";
const NEVER: &str = "-";
const LINE_BYTES_MAX: usize = 200;
const TEXT_BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts() -> Facts {
        Facts {
            version: 3,
            fingerprint: [7; 32],
            created_ms: -5,
            retired_ms: Some(6),
            destroyed_ms: 9,
            recordings: 0,
            reason: "two\nlines".into(),
            by: "uid:0".into(),
        }
    }

    /// Every byte of the text.
    #[test]
    fn a_certificate_reads_back_and_no_byte_can_be_changed() {
        let key = SigningKey::generate(0);
        let tombstone = Tombstone::signed(facts(), &key);
        assert_eq!(tombstone.reason, "two lines");
        let text = tombstone.to_text();
        assert_eq!(Tombstone::parse(&text).unwrap(), tombstone);
        tombstone.verify(&[key.public()]).unwrap();
        let other = SigningKey::generate(0).public();
        assert!(matches!(tombstone.verify(&[other]), Err(KeyError::UnknownSigner { .. })));
        for at in 0..text.len() {
            for with in ["", "+", "0", "x"] {
                let mut changed = text.clone();
                changed.replace_range(at..=at, with);
                if changed == text {
                    continue;
                }
                let judged = Tombstone::parse(&changed).and_then(|t| t.verify(&[key.public()]));
                assert!(judged.is_err(), "byte {at} as {with:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The text comes from strangers: it is refused or read, and never a panic.
        #[test]
        fn strange_text_is_no_surprise(at in 0..400_usize, junk in "\\PC{0,8}", len in 0..500_usize) {
            let key = SigningKey::generate(0);
            let whole = Tombstone::signed(facts(), &key).to_text();
            let mut text = whole.clone();
            let at = at.min(text.len());
            text.replace_range(at..(at + 4).min(text.len()), &junk);
            let judged = Tombstone::parse(&text).and_then(|t| t.verify(&[key.public()]));
            prop_assert!(judged.is_err() || text == whole);
            let _ = Tombstone::parse(&junk.repeat(len));
        }
    }
}
