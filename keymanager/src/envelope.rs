//! One sealed message under one key of ours: the store, a root key in its slot, a data key.
//!
//! ```text
//! nonce (12 bytes, random) │ ciphertext │ tag (16 bytes)
//! ```
//!
//! AES-256-GCM of crate `aes-gcm`, on purpose not the implementation that seals media. Each
//! caller derives a key of its own for each purpose, so no key comes near the limit of 2³²
//! random nonces.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Seals `plaintext`, bound to `aad`. Two equal messages look different.
pub(crate) fn seal(key: &Secret, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE_BYTES];
    aws_lc_rs::rand::fill(&mut nonce).expect("the random generator of this machine works");
    let mut sealed = Vec::with_capacity(ENVELOPE_BYTES + plaintext.len());
    sealed.extend_from_slice(&nonce);
    sealed.resize(NONCE_BYTES + plaintext.len(), 0);
    // Encrypts from one buffer into the other, so no plaintext is ever copied.
    let buffers = InOutBuf::new(plaintext, &mut sealed[NONCE_BYTES..])
        .expect("the output was made as long as the input");
    let tag = Aes256Gcm::new(key.expose_bytes().into())
        .encrypt_inout_detached(&nonce.into(), aad, buffers)
        .expect("our messages are far below the GCM limit of 64 GiB");
    sealed.extend_from_slice(&tag);
    sealed
}

/// What was sealed; `None` if the key, `aad` or any byte is another.
pub(crate) fn open(key: &Secret, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
    let mut plaintext = Zeroizing::new(vec![0; ciphertext.len()]);
    let buffers = InOutBuf::new(ciphertext, &mut plaintext).ok()?;
    Aes256Gcm::new(key.expose_bytes().into())
        .decrypt_inout_detached(nonce.into(), aad, buffers, tag.into())
        .ok()?;
    Some(plaintext)
}

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// By how much a sealed message is longer.
pub(crate) const ENVELOPE_BYTES: usize = NONCE_BYTES + TAG_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted faults: the associated data left out, a fixed nonce.
    #[test]
    fn any_change_is_refused() {
        let key = Secret::generate();
        let sealed = seal(&key, b"aad", b"plain");
        assert_eq!(sealed.len(), 5 + ENVELOPE_BYTES);
        assert_eq!(&**open(&key, b"aad", &sealed).unwrap(), b"plain");
        assert_ne!(sealed, seal(&key, b"aad", b"plain"), "one nonce for two messages");
        assert!(open(&Secret::generate(), b"aad", &sealed).is_none());
        assert!(open(&key, b"aae", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&key, b"aad", &changed).is_none(), "byte {at}");
            assert!(open(&key, b"aad", &sealed[..at]).is_none(), "cut at {at}");
        }
    }
}
