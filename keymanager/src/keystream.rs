//! Random bytes that can be made again: what files are overwritten with.

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use crate::secret::Secret;

/// The AES-256-CTR keystream of a fresh key that is never stored.
///
/// An eraser needs two things at once: bytes that no storage layer can shrink, share or turn into
/// a hole, and the same bytes again for the read-back, without keeping a copy of the file in
/// memory. The key dies with this value, so nobody can make the bytes a third time.
pub struct Keystream {
    key: EncryptingKey,
}

impl Keystream {
    /// A stream nobody else has.
    pub fn generate() -> Self {
        let key = UnboundCipherKey::new(&AES_256, Secret::generate().expose_bytes())
            .and_then(EncryptingKey::ctr)
            .expect("32 bytes are an AES-256 key");
        Self { key }
    }

    /// Fills `buffer` with the bytes of the stream at `offset_bytes`, the same on every call.
    ///
    /// # Panics
    ///
    /// If `offset_bytes` is not a multiple of [`Self::ALIGN_BYTES`].
    pub fn fill_at(&self, offset_bytes: u64, buffer: &mut [u8]) {
        assert_eq!(offset_bytes % Self::ALIGN_BYTES, 0, "the counter counts whole AES blocks");
        let counter = u128::from(offset_bytes / Self::ALIGN_BYTES).to_be_bytes();
        buffer.fill(0);
        self.key
            .less_safe_encrypt(buffer, EncryptionContext::Iv128(FixedLength::from(counter)))
            .expect("counter mode takes any length");
    }

    /// Offsets are multiples of one AES block.
    pub const ALIGN_BYTES: u64 = 16;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted faults: the counter left at zero (pieces repeat), and counted in bytes (a piece
    /// at 16 is not the continuation of the piece at 0).
    #[test]
    fn pieces_are_parts_of_one_stream() {
        let stream = Keystream::generate();
        let mut whole = [0; 100];
        stream.fill_at(0, &mut whole);
        for (from, to) in [(0, 1), (16, 32), (16, 100), (48, 77), (96, 100)] {
            let mut piece = vec![0xFF; to - from];
            stream.fill_at(from as u64, &mut piece);
            assert_eq!(piece, whole[from..to], "{from}..{to}");
        }
        assert_ne!(whole[..16], whole[16..32]);
        let mut other = [0; 100];
        Keystream::generate().fill_at(0, &mut other);
        assert_ne!(whole, other);
    }

    #[test]
    fn the_end_of_the_offsets_is_no_special_place() {
        let mut far = [0; 64];
        Keystream::generate().fill_at(u64::MAX - 15, &mut far);
        assert_ne!(far, [0; 64]);
    }
}
