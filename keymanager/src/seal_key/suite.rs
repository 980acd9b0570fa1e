//! The HPKE calls, and nothing else that knows the crate.
//!
//! A capsule is `enc ‖ ciphertext ‖ tag` of 32 bytes of plaintext.

use hpke::aead::{AeadTag, AesGcm256};
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use super::SealAlgorithm;
use crate::secret::{SECRET_BYTES, Secret};

/// Seals `message` to `public`; `None` if that is no usable public key of the algorithm, one of
/// low order for instance. Below a millisecond.
pub(super) fn seal(
    algorithm: SealAlgorithm,
    public: &[u8],
    info: &[u8],
    aad: &[u8],
    message: &[u8; SECRET_BYTES],
) -> Option<Vec<u8>> {
    match algorithm {
        SealAlgorithm::X25519 => seal_with::<X25519HkdfSha256>(public, info, aad, message),
        SealAlgorithm::XWing => seal_with::<XWing>(public, info, aad, message),
    }
}

/// Opens what [`seal`] made; `None` if key, `info`, `aad` or any byte is another.
pub(super) fn open(
    algorithm: SealAlgorithm,
    private: &Secret,
    info: &[u8],
    aad: &[u8],
    capsule: &[u8],
) -> Option<Secret> {
    let (enc, sealed) = capsule.split_at_checked(algorithm.enc_bytes())?;
    match algorithm {
        SealAlgorithm::X25519 => open_with::<X25519HkdfSha256>(private, info, aad, enc, sealed),
        SealAlgorithm::XWing => open_with::<XWing>(private, info, aad, enc, sealed),
    }
}

/// The public half. Any 32 bytes are a private key of either algorithm.
pub(super) fn public_of(algorithm: SealAlgorithm, private: &Secret) -> Vec<u8> {
    fn of<K: Kem>(private: &Secret) -> Vec<u8> {
        K::sk_to_pk(&private_key::<K>(private)).to_bytes().to_vec()
    }
    match algorithm {
        SealAlgorithm::X25519 => of::<X25519HkdfSha256>(private),
        SealAlgorithm::XWing => of::<XWing>(private),
    }
}

fn seal_with<K: Kem>(
    public: &[u8],
    info: &[u8],
    aad: &[u8],
    message: &[u8; SECRET_BYTES],
) -> Option<Vec<u8>> {
    let public = K::PublicKey::from_bytes(public).ok()?;
    let mut ciphertext = [0; SECRET_BYTES];
    // From one buffer into the other, so no plaintext is ever copied.
    let buffers = InOutBuf::new(message, &mut ciphertext).ok()?;
    let (enc, tag) = hpke::single_shot_seal_inout_detached::<AesGcm256, HkdfSha256, K>(
        &OpModeS::Base,
        &public,
        info,
        buffers,
        aad,
    )
    .ok()?;
    Some([&enc.to_bytes()[..], &ciphertext, &tag.to_bytes()[..]].concat())
}

fn open_with<K: Kem>(
    private: &Secret,
    info: &[u8],
    aad: &[u8],
    enc: &[u8],
    sealed: &[u8],
) -> Option<Secret> {
    let (ciphertext, tag) = sealed.split_first_chunk::<SECRET_BYTES>()?;
    let enc = K::EncappedKey::from_bytes(enc).ok()?;
    let tag = AeadTag::<AesGcm256>::from_bytes(tag).ok()?;
    let mut plaintext = Zeroizing::new([0; SECRET_BYTES]);
    let buffers = InOutBuf::new(ciphertext, &mut *plaintext).ok()?;
    hpke::single_shot_open_inout_detached::<AesGcm256, HkdfSha256, K>(
        &OpModeR::Base,
        &private_key::<K>(private),
        &enc,
        info,
        buffers,
        aad,
        &tag,
    )
    .ok()?;
    Some(Secret::from_bytes(&plaintext))
}

fn private_key<K: Kem>(private: &Secret) -> K::PrivateKey {
    K::PrivateKey::from_bytes(private.expose_bytes()).expect("any 32 bytes are a private key")
}

/// The data key and the tag.
pub(super) const CIPHERTEXT_BYTES: usize = SECRET_BYTES + 16;
