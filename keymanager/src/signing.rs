//! Signatures that anyone can check later with public keys alone: certificates of erasure, audit
//! checkpoints.
//!
//! ```text
//! signed message = "recseal/sign/1" ‖ 0x00 ‖ length of context (1 byte) ‖ context ‖ message
//! key id         = the first 8 bytes of SHA-256 over the 32 bytes of the public key
//! ```
//!
//! Ed25519 (RFC 8032). The context says what kind of thing is signed, so a signature under one
//! kind can never be passed off as another. Public keys travel as PEM `PUBLIC KEY` blocks,
//! which `openssl` reads too.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::error::KeyError;
use crate::hex;
use crate::secret::{Secret, StoredSecret};

/// A signature and which key made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Id of the public key that checks it.
    pub key_id: [u8; 8],
    /// The Ed25519 signature.
    pub bytes: [u8; 64],
}

/// The public half of a signing key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; PUBLIC_BYTES]);

impl PublicKey {
    /// Its short name, which every signature carries.
    pub fn id(&self) -> [u8; 8] {
        let hash = digest::digest(&digest::SHA256, &self.0);
        *hash.as_ref().first_chunk().expect("SHA-256 gives 32 bytes")
    }

    /// The 32 bytes of RFC 8032.
    pub fn as_bytes(&self) -> &[u8; PUBLIC_BYTES] {
        &self.0
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", *hex::encode(&self.id()))
    }
}

/// Public keys as text, one PEM block each, to be handed to auditors.
pub fn public_keys_to_pem(keys: &[PublicKey]) -> String {
    let block = |key: &PublicKey| pem::Pem::new(PEM_TAG, [SPKI_PREFIX, key.0.as_slice()].concat());
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_many_config(&keys.iter().map(block).collect::<Vec<_>>(), config)
}

/// Reads the text of [`public_keys_to_pem`]; text outside the blocks is skipped.
///
/// # Errors
///
/// [`KeyError::PublicKeysDamaged`] if there is no block, another kind of block, or too much text.
pub fn public_keys_from_pem(text: &str) -> Result<Vec<PublicKey>, KeyError> {
    if text.len() > PEM_BYTES_MAX {
        return Err(KeyError::PublicKeysDamaged);
    }
    let blocks = pem::parse_many(text).map_err(|_| KeyError::PublicKeysDamaged)?;
    let key = |block: &pem::Pem| {
        let bytes = block.contents().strip_prefix(SPKI_PREFIX)?;
        (block.tag() == PEM_TAG).then_some(PublicKey(bytes.try_into().ok()?))
    };
    let keys: Option<Vec<_>> = blocks.iter().map(key).collect();
    keys.filter(|keys| !keys.is_empty()).ok_or(KeyError::PublicKeysDamaged)
}

/// Checks that one of `keys` signed `message` as a `context`. Needs no key store.
///
/// # Errors
///
/// [`KeyError::UnknownSigner`] if the signing key is not among `keys`; [`KeyError::BadSignature`]
/// if anything was changed.
pub fn verify_signature(
    keys: &[PublicKey],
    context: &str,
    message: &[u8],
    signature: &Signature,
) -> Result<(), KeyError> {
    let unknown = || KeyError::UnknownSigner { key_id: hex::encode(&signature.key_id).to_string() };
    let key = keys.iter().find(|key| key.id() == signature.key_id).ok_or_else(unknown)?;
    UnparsedPublicKey::new(&signature::ED25519, key.0)
        .verify(&signed_message(context, message), &signature.bytes)
        .map_err(|_| KeyError::BadSignature)
}

/// One signing key of the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SigningKey {
    created_ms: i64,
    seed: StoredSecret,
}

impl SigningKey {
    /// A fresh one.
    pub(crate) fn generate(now_ms: i64) -> Self {
        Self { created_ms: now_ms, seed: StoredSecret::generate() }
    }

    /// Its public half.
    pub(crate) fn public(&self) -> PublicKey {
        let public = self.pair().public_key().as_ref().try_into();
        PublicKey(public.expect("an Ed25519 public key has 32 bytes"))
    }

    /// Signs; about 50 µs.
    pub(crate) fn sign(&self, context: &str, message: &[u8]) -> Signature {
        let signed = self.pair().sign(&signed_message(context, message));
        let bytes = signed.as_ref().try_into().expect("an Ed25519 signature has 64 bytes");
        Signature { key_id: self.public().id(), bytes }
    }

    /// For what is derived from it.
    pub(crate) fn seed(&self) -> &Secret {
        &self.seed
    }

    fn pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(self.seed.expose_bytes())
            .expect("any 32 bytes are an Ed25519 seed")
    }

    #[cfg(test)]
    pub(crate) fn expose_seed(&self) -> &[u8; crate::secret::SECRET_BYTES] {
        self.seed.expose_bytes()
    }
}

fn signed_message(context: &str, message: &[u8]) -> Vec<u8> {
    let context_len = u8::try_from(context.len()).expect("a context is a short constant of ours");
    [DOMAIN, &[context_len], context.as_bytes(), message].concat()
}

const DOMAIN: &[u8] = b"recseal/sign/1\0";
const PUBLIC_BYTES: usize = 32;
const PEM_TAG: &str = "PUBLIC KEY";
const PEM_BYTES_MAX: usize = 1 << 20;
/// DER of `SubjectPublicKeyInfo` for Ed25519 (RFC 8410) up to the key itself.
const SPKI_PREFIX: &[u8] = &[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted faults: the context left out of the message; its length left out, which lets bytes
    /// move from message to context.
    #[test]
    fn a_signature_fits_its_message_and_context_only() {
        let (key, other) = (SigningKey::generate(0), SigningKey::generate(0));
        let keys = [other.public(), key.public()];
        let signature = key.sign("audit", b"message");
        verify_signature(&keys, "audit", b"message", &signature).unwrap();
        for (context, message) in
            [("erasure", "message"), ("audit", "massage"), ("auditm", "essage"), ("audit", "")]
        {
            let result = verify_signature(&keys, context, message.as_bytes(), &signature);
            assert!(matches!(result, Err(KeyError::BadSignature)), "{context} {message}");
        }
        let mut changed = signature;
        changed.bytes[9] ^= 1;
        assert!(verify_signature(&keys, "audit", b"message", &changed).is_err());
        let result = verify_signature(&keys[..1], "audit", b"message", &signature);
        assert!(matches!(result, Err(KeyError::UnknownSigner { .. })));
    }

    #[test]
    fn public_keys_travel_as_text() {
        let keys = [SigningKey::generate(0).public(), SigningKey::generate(0).public()];
        let text = public_keys_to_pem(&keys);
        assert_eq!(public_keys_from_pem(&format!("a note\n{text}")).unwrap(), keys);
        let cut = &text[..text.len() / 3];
        let relabelled = text.replace("PUBLIC KEY", "PRIVATE KEY");
        for bad in ["", "no key here", cut, &relabelled, &"x".repeat(PEM_BYTES_MAX + 1)] {
            assert!(public_keys_from_pem(bad).is_err());
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

        /// The text comes from strangers: it is refused or read, and never a panic.
        #[test]
        fn damaged_text_is_no_surprise(at in 0..200_usize, junk in "\\PC{0,8}") {
            let key = SigningKey::generate(0).public();
            let mut text = public_keys_to_pem(&[key]);
            let at = at.min(text.len());
            text.replace_range(at..(at + 4).min(text.len()), &junk);
            if let Ok(keys) = public_keys_from_pem(&text) {
                proptest::prop_assert_eq!(keys.len(), 1);
            }
        }
    }
}
