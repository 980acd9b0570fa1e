//! FLOE: random-access authenticated encryption of one message in chunks.
//!
//! ```text
//! header (74):  parameters (10) | IV (32) | header tag (32)
//! chunk:        length mark (4) | IV (12) | ciphertext | tag (16)
//! ```
//!
//! The construction is that of the public FLOE specification (Snowflake-Labs/floe-specification,
//! IACR ePrint 2025/2275); what it calls a segment is a chunk here. The header tag commits to the
//! key, and every chunk is bound to its index and to whether it is the last, so chunks are sealed
//! and opened in any order and on any thread. Bytes are given in `src/manual/format.md`.
//!
//! # Invariants
//!
//! - Chunks are sealed and opened in place: no second copy of plaintext is made here.
//! - No chunk is opened under a header whose tag was not checked first.
//! - AEAD keys are derived, used for 2^20 chunks at most, and wiped when dropped.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{constant_time, hkdf};
use zeroize::Zeroizing;

use crate::secret::{SECRET_BYTES, Secret};

/// Seals the chunks of one message. Shared between threads by reference.
pub struct FloeSealer {
    header: [u8; HEADER_BYTES],
    message: Message,
}

impl FloeSealer {
    pub(crate) fn new(key: &Secret, aad: &[u8], parameters: Parameters) -> Self {
        let mut iv = [0; IV_BYTES];
        aws_lc_rs::rand::fill(&mut iv).expect("the random generator of this machine works");
        let (tag, message) = Message::start(key, aad, parameters, iv);
        let mut header = [0; HEADER_BYTES];
        header[..IV_AT].copy_from_slice(&parameters.encode());
        header[IV_AT..HEADER_TAG_AT].copy_from_slice(&iv);
        header[HEADER_TAG_AT..].copy_from_slice(&tag);
        Self { header, message }
    }

    /// Goes in front of the chunks.
    pub fn header(&self) -> &[u8; HEADER_BYTES] {
        &self.header
    }

    /// Seals `chunk` in place: plaintext stands from [`CHUNK_PLAIN_AT`] to 16 bytes before the
    /// end, and the bytes around it are overwritten. Costs one pass of AES-GCM over it.
    ///
    /// The caller seals every index once, without gaps, and exactly one chunk, the highest, with
    /// `is_last`.
    ///
    /// # Panics
    ///
    /// If `chunk` is longer than [`CHUNK_BYTES`], shorter although it is not the last, or too
    /// short for its own framing; or if `index` is beyond [`CHUNKS_MAX`].
    pub fn seal_chunk(&self, index: u64, is_last: bool, chunk: &mut [u8]) {
        let parameters = self.message.parameters;
        assert!(parameters.allows(chunk.len(), is_last), "chunk {index} has a wrong length");
        assert!(index < CHUNKS_MAX, "chunk {index} is beyond the limit of one message");
        let mark = if is_last { chunk.len() as u32 } else { MARK_NOT_LAST };
        let tag_at = chunk.len() - TAG_BYTES;
        let (framing, rest) = chunk.split_at_mut(CHUNK_PLAIN_AT);
        let (text, tag_space) = rest.split_at_mut(tag_at - CHUNK_PLAIN_AT);
        let (nonce, tag) = self
            .message
            .chunk_key(index)
            .seal_in_place_separate_tag(Aad::from(chunk_aad(index, is_last)), text)
            .expect("a chunk is far below the GCM limit");
        framing[..MARK_BYTES].copy_from_slice(&mark.to_be_bytes());
        framing[MARK_BYTES..].copy_from_slice(nonce.as_ref());
        tag_space.copy_from_slice(tag.as_ref());
    }
}

/// Opens the chunks of one message. Shared between threads by reference.
pub struct FloeOpener {
    message: Message,
}

impl FloeOpener {
    pub(crate) fn new(
        key: &Secret,
        aad: &[u8],
        header: &[u8; HEADER_BYTES],
        parameters: Parameters,
    ) -> Result<Self, OpenError> {
        if header[..IV_AT] != parameters.encode() {
            return Err(OpenError::UnsupportedParameters);
        }
        let mut iv = [0; IV_BYTES];
        iv.copy_from_slice(&header[IV_AT..HEADER_TAG_AT]);
        let (expected_tag, message) = Message::start(key, aad, parameters, iv);
        constant_time::verify_slices_are_equal(&expected_tag, &header[HEADER_TAG_AT..])
            .map_err(|_| OpenError::WrongKey)?;
        Ok(Self { message })
    }

    /// Opens `chunk` in place and returns the plaintext inside it. One pass of AES-GCM.
    ///
    /// `is_last` is what the caller concluded from the length of the whole: a message is known
    /// to be complete once its final chunk was opened with `is_last`.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; `chunk` then holds nothing of use.
    pub fn open_chunk<'c>(
        &self,
        index: u64,
        is_last: bool,
        chunk: &'c mut [u8],
    ) -> Result<&'c mut [u8], OpenError> {
        let damaged = OpenError::DamagedChunk { chunk: index };
        if !self.message.parameters.allows(chunk.len(), is_last) || index >= CHUNKS_MAX {
            return Err(damaged);
        }
        self.check_mark(index, is_last, chunk)?;
        let nonce = Nonce::try_assume_unique_for_key(&chunk[MARK_BYTES..CHUNK_PLAIN_AT])
            .expect("the slice is as long as a nonce");
        self.message
            .chunk_key(index)
            .open_in_place(
                nonce,
                Aad::from(chunk_aad(index, is_last)),
                &mut chunk[CHUNK_PLAIN_AT..],
            )
            .map_err(|_| damaged)
    }

    /// The mark is not authenticated, so it only tells apart what is refused anyway.
    fn check_mark(&self, index: u64, is_last: bool, chunk: &[u8]) -> Result<(), OpenError> {
        let (mark, _) = chunk.split_first_chunk::<MARK_BYTES>().expect("its length was checked");
        let mark = u32::from_be_bytes(*mark);
        let actual = chunk.len() as u32; // at most `chunk_bytes`, which is a u32
        match (is_last, mark) {
            (false, MARK_NOT_LAST) => Ok(()),
            (false, _) => Err(OpenError::DamagedChunk { chunk: index }),
            (true, MARK_NOT_LAST) => Err(OpenError::Truncated),
            (true, mark) if mark == actual => Ok(()),
            (true, mark) if mark < actual => Err(OpenError::TooLong),
            (true, mark) if mark <= self.message.parameters.chunk_bytes => {
                Err(OpenError::Truncated)
            }
            (true, _) => Err(OpenError::DamagedChunk { chunk: index }),
        }
    }
}

/// Why a message or one of its chunks was not opened. None of these goes away by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The header names a cipher, a key derivation or a chunk length that is not ours.
    #[error("unsupported encryption parameters")]
    UnsupportedParameters,
    /// The header tag does not fit: another key, or header or associated data were changed.
    #[error("not the key of this file, or its header is damaged")]
    WrongKey,
    /// A chunk was changed, moved, or comes from elsewhere.
    #[error("chunk {chunk} is damaged")]
    DamagedChunk {
        /// Its index, from 0.
        chunk: u64,
    },
    /// The end is missing.
    #[error("the end is missing")]
    Truncated,
    /// Something follows the end.
    #[error("something follows the end")]
    TooLong,
}

/// What may vary within FLOE. Sealed files use [`Parameters::SEALED_FILE`], only; the published
/// known-answer tests need others.
#[derive(Clone, Copy)]
pub(crate) struct Parameters {
    chunk_bytes: u32,
    /// One AEAD key serves 2^this chunks.
    rotation_bits: u32,
}

impl Parameters {
    pub(crate) const SEALED_FILE: Self =
        Self { chunk_bytes: CHUNK_BYTES as u32, rotation_bits: 20 };

    /// AEAD 0 (AES-256-GCM), KDF 0 (HKDF-Expand-SHA-384), chunk length, IV length.
    fn encode(self) -> [u8; PARAMETERS_BYTES] {
        let mut encoded = [0; PARAMETERS_BYTES];
        encoded[2..6].copy_from_slice(&self.chunk_bytes.to_be_bytes());
        encoded[6..].copy_from_slice(&(IV_BYTES as u32).to_be_bytes());
        encoded
    }

    fn allows(self, len: usize, is_last: bool) -> bool {
        let full = self.chunk_bytes as usize;
        if is_last { (CHUNK_OVERHEAD_BYTES..=full).contains(&len) } else { len == full }
    }
}

/// What both directions derive from key, IV and associated data.
struct Message {
    parameters: Parameters,
    /// Encoded parameters, IV: how the input of every derivation begins.
    context: [u8; HEADER_TAG_AT],
    aad: Vec<u8>,
    key: hkdf::Prk,
    /// The AEAD key last used and the first index of its epoch. All chunks below 64 GiB share
    /// one, so threads get in each other's way at a border only.
    epoch: Mutex<(u64, Arc<RandomizedNonceKey>)>,
}

impl Message {
    /// The header tag that belongs to it, and the message.
    fn start(
        key: &Secret,
        aad: &[u8],
        parameters: Parameters,
        iv: [u8; IV_BYTES],
    ) -> ([u8; HEADER_TAG_BYTES], Self) {
        let mut context = [0; HEADER_TAG_AT];
        context[..IV_AT].copy_from_slice(&parameters.encode());
        context[IV_AT..].copy_from_slice(&iv);
        let root = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA384, key.expose_bytes());
        let mut tag = [0; HEADER_TAG_BYTES];
        expand(&root, &[&context, b"HEADER_TAG:", aad], &mut tag);
        let mut message_key = Zeroizing::new([0; MESSAGE_KEY_BYTES]);
        expand(&root, &[&context, b"MESSAGE_KEY:", aad], &mut *message_key);
        let key = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA384, &*message_key);
        let first = derive_chunk_key(&key, &context, aad, 0);
        let epoch = Mutex::new((0, Arc::new(first)));
        (tag, Self { parameters, context, aad: aad.to_vec(), key, epoch })
    }

    fn chunk_key(&self, index: u64) -> Arc<RandomizedNonceKey> {
        let wanted = index & !((1 << self.parameters.rotation_bits) - 1);
        let mut epoch = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        if epoch.0 != wanted {
            let key = derive_chunk_key(&self.key, &self.context, &self.aad, wanted);
            *epoch = (wanted, Arc::new(key));
        }
        Arc::clone(&epoch.1)
    }
}

fn derive_chunk_key(
    message_key: &hkdf::Prk,
    context: &[u8],
    aad: &[u8],
    epoch: u64,
) -> RandomizedNonceKey {
    let info = [context, b"DEK:", &epoch.to_be_bytes(), aad];
    let mut key = Zeroizing::new([0; SECRET_BYTES]);
    expand(message_key, &info, &mut *key);
    RandomizedNonceKey::new(&AES_256_GCM, &*key).expect("the key has the length of an AES-256 key")
}

/// HKDF-Expand-SHA-384 of the concatenation of `info`.
fn expand(key: &hkdf::Prk, info: &[&[u8]], derived: &mut [u8]) {
    key.expand(info, Length(derived.len()))
        .and_then(|okm| okm.fill(derived))
        .expect("48 bytes are far below the HKDF limit");
}

fn chunk_aad(index: u64, is_last: bool) -> [u8; 9] {
    let mut aad = [0; 9];
    aad[..8].copy_from_slice(&index.to_be_bytes());
    aad[8] = u8::from(is_last);
    aad
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// What goes in front of the chunks: parameters, IV, header tag.
pub const HEADER_BYTES: usize = HEADER_TAG_AT + HEADER_TAG_BYTES;
/// A full chunk as it lies in the file.
pub const CHUNK_BYTES: usize = 65_536;
/// Where the text of a chunk begins: after the length mark and the IV.
pub const CHUNK_PLAIN_AT: usize = MARK_BYTES + 12;
/// What a chunk holds besides its text: length mark, IV, tag.
pub const CHUNK_OVERHEAD_BYTES: usize = CHUNK_PLAIN_AT + TAG_BYTES;
/// Chunks of one message.
pub const CHUNKS_MAX: u64 = 1 << 40;

const PARAMETERS_BYTES: usize = 10;
const IV_AT: usize = PARAMETERS_BYTES;
const IV_BYTES: usize = 32;
const HEADER_TAG_AT: usize = IV_AT + IV_BYTES;
const HEADER_TAG_BYTES: usize = 32;
const MESSAGE_KEY_BYTES: usize = 48;
const MARK_BYTES: usize = 4;
const MARK_NOT_LAST: u32 = u32::MAX;
const TAG_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    const SMALL: Parameters = Parameters { chunk_bytes: 40, rotation_bits: 2 };

    fn seal(key: &Secret, parameters: Parameters, plain: &[u8]) -> (FloeSealer, Vec<Vec<u8>>) {
        let sealer = FloeSealer::new(key, b"aad", parameters);
        let text_bytes = parameters.chunk_bytes as usize - CHUNK_OVERHEAD_BYTES;
        let texts: Vec<_> = plain.chunks(text_bytes).collect();
        let chunks = texts.iter().enumerate().map(|(index, text)| {
            let mut chunk = [&[0; CHUNK_PLAIN_AT], *text, &[0; TAG_BYTES]].concat();
            sealer.seal_chunk(index as u64, index + 1 == texts.len(), &mut chunk);
            chunk
        });
        let chunks = chunks.collect();
        (sealer, chunks)
    }

    /// The published known-answer tests: four other implementations made them.
    #[test]
    fn known_answers_open() {
        let Some(folder) = shared_folder("floe-kats") else {
            assert!(!must_run_all(), "shared/floe-kats is missing");
            println!("SKIP: the known-answer tests of the specification are not on this machine");
            return;
        };
        let mut opened = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let Some(case) = name.strip_suffix("_ct.txt") else { continue };
            let (chunk_bytes, rotation_bits) = match case.rsplit('_').next().unwrap() {
                "64" => (64, 20),
                "4K" => (4_096, 20),
                "rotation" => (40, 2),
                "lastSegAligned" | "lastSegEmpty" => (40, 20),
                other => panic!("unknown case {other}"),
            };
            let parameters = Parameters { chunk_bytes, rotation_bits };
            let sealed = hex(&fs::read_to_string(&path).unwrap());
            let plain =
                hex(&fs::read_to_string(path.with_file_name(format!("{case}_pt.txt"))).unwrap());
            assert_eq!(open_whole(parameters, &sealed), plain, "{case}");
            opened += 1;
        }
        assert!(opened >= 17, "only {opened} cases");
    }

    fn open_whole(parameters: Parameters, sealed: &[u8]) -> Vec<u8> {
        let key = Secret::from_bytes(&[0; SECRET_BYTES]);
        let (header, body) = sealed.split_first_chunk().unwrap();
        let opener = FloeOpener::new(&key, b"This is AAD", header, parameters).unwrap();
        let chunks: Vec<_> = body.chunks(parameters.chunk_bytes as usize).collect();
        let mut plain = Vec::new();
        for (index, chunk) in chunks.iter().enumerate() {
            let is_last = index + 1 == chunks.len();
            plain.extend_from_slice(
                opener.open_chunk(index as u64, is_last, &mut chunk.to_vec()).unwrap(),
            );
        }
        plain
    }

    /// Planted faults: the index, and the last mark, left out of the AAD.
    #[test]
    fn a_chunk_opens_at_its_place_only() {
        let key = Secret::generate();
        let (sealer, chunks) = seal(&key, SMALL, &[7; 8 * 9]);
        let opener = FloeOpener::new(&key, b"aad", sealer.header(), SMALL).unwrap();
        for (index, chunk) in (0..).zip(&chunks) {
            for place in 0..12 {
                let opens = opener.open_chunk(place, index == 8, &mut chunk.clone()).is_ok();
                assert_eq!(opens, place == index, "chunk {index} at {place}");
            }
            let mut remarked = chunk.clone();
            let mark: [u8; MARK_BYTES] = if index == 8 { [255; 4] } else { 40_u32.to_be_bytes() };
            remarked[..MARK_BYTES].copy_from_slice(&mark);
            let damaged = Err(OpenError::DamagedChunk { chunk: index });
            let is_last = index != 8;
            assert_eq!(opener.open_chunk(index, is_last, &mut remarked).map(|_| ()), damaged);
        }
    }

    /// What the epochs' keys are is settled by the known answers named `rotation`.
    #[test]
    fn one_key_serves_one_epoch() {
        let (sealer, _) = seal(&Secret::generate(), SMALL, &[]);
        let [first, fourth, fifth] = [0, 3, 4].map(|index| sealer.message.chunk_key(index));
        assert!(Arc::ptr_eq(&first, &fourth) && !Arc::ptr_eq(&fourth, &fifth));
    }

    /// Planted fault: a header tag that is not compared.
    #[test]
    fn every_header_bit_and_the_aad_are_bound() {
        let key = Secret::generate();
        let sealer = FloeSealer::new(&key, b"aad", SMALL);
        let opens = |key: &Secret, aad: &[u8], header: &[u8; HEADER_BYTES]| {
            FloeOpener::new(key, aad, header, SMALL).map(|_| ())
        };
        assert_eq!(opens(&key, b"aad", sealer.header()), Ok(()));
        for bit in 0..HEADER_BYTES * 8 {
            let mut header = *sealer.header();
            header[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < IV_AT * 8 {
                OpenError::UnsupportedParameters
            } else {
                OpenError::WrongKey
            };
            assert_eq!(opens(&key, b"aad", &header), Err(expected), "bit {bit}");
        }
        assert_eq!(opens(&key, b"aae", sealer.header()), Err(OpenError::WrongKey));
        assert_eq!(opens(&Secret::generate(), b"aad", sealer.header()), Err(OpenError::WrongKey));
    }

    /// Planted fault: a fixed nonce, or a fixed IV, passes every other test here.
    #[test]
    fn equal_texts_seal_differently() {
        let key = Secret::generate();
        let (one, first) = seal(&key, SMALL, &[7; 32]);
        let (other, again) = seal(&key, SMALL, &[7; 32]);
        assert_ne!(one.header()[IV_AT..HEADER_TAG_AT], other.header()[IV_AT..HEADER_TAG_AT]);
        let mut ivs: Vec<_> =
            first.iter().chain(&again).map(|chunk| &chunk[MARK_BYTES..CHUNK_PLAIN_AT]).collect();
        ivs.sort_unstable();
        ivs.dedup();
        assert_eq!(ivs.len(), 8);
    }

    #[test]
    fn the_last_mark_tells_truncation_from_extension() {
        let key = Secret::generate();
        let (sealer, chunks) = seal(&key, SMALL, &[7; 12]);
        let opener = FloeOpener::new(&key, b"aad", sealer.header(), SMALL).unwrap();
        let open_last = |mut chunk: Vec<u8>| opener.open_chunk(1, true, &mut chunk).map(|_| ());
        assert_eq!(open_last(chunks[1].clone()), Ok(()));
        assert_eq!(open_last(chunks[1][..35].to_vec()), Err(OpenError::Truncated));
        assert_eq!(open_last([&chunks[1][..], &[0]].concat()), Err(OpenError::TooLong));
        assert_eq!(open_last(chunks[0].clone()), Err(OpenError::Truncated));
        for bad_len in [0, 31, 41] {
            let damaged = Err(OpenError::DamagedChunk { chunk: 1 });
            assert_eq!(open_last(vec![0; bad_len]), damaged, "{bad_len} bytes");
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.trim().chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn shared_folder(name: &str) -> Option<PathBuf> {
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        here.ancestors().map(|above| above.join("shared").join(name)).find(|path| path.is_dir())
    }

    #[expect(clippy::disallowed_methods, reason = "the one switch of tests that need more")]
    fn must_run_all() -> bool {
        std::env::var_os("RECSEAL_TEST_ALL").is_some()
    }
}
