//! Bytes written as hexadecimal text, in the store, in the slot table and in the key file.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

/// Bytes that stand as text in JSON. Wiped on drop, because some of them are secret.
#[derive(Clone)]
pub(crate) struct HexBytes(Zeroizing<Vec<u8>>);

impl HexBytes {
    /// Takes the bytes.
    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// Takes the bytes without a copy.
    pub(crate) fn wiped(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for HexBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HexBytes({} bytes)", self.0.len())
    }
}

impl Serialize for HexBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = HexBytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("hexadecimal text")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<HexBytes, E> {
                // The text may be a key: it must not appear in the error.
                decode(text).map(HexBytes).ok_or_else(|| E::custom("not hexadecimal text"))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// Lower-case digits, two for each byte.
pub(crate) fn encode(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// The bytes of lower-case digits; `None` for anything else.
pub(crate) fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut bytes = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for [high, low] in pairs {
        bytes.push(value(*high)? << 4 | value(*low)?);
    }
    Some(bytes)
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_agree() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(&**decode(&encode(&all)).unwrap(), &all);
        for bad in ["0", "0g", "0G", "AB", " 00", "é"] {
            assert!(decode(bad).is_none(), "{bad:?}");
        }
        // Planted fault: `derive(Debug)` prints the bytes.
        assert_eq!(format!("{:?}", HexBytes::new([7, 8])), "HexBytes(2 bytes)");
    }

    #[test]
    fn a_bad_text_is_not_repeated_in_the_error() {
        let error = serde_json::from_str::<HexBytes>("\"secret!\"").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
