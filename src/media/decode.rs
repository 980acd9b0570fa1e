//! A recording as a WAV that every browser plays, decoded while it is read.
//!
//! ```text
//! header (44 bytes; 68 with more than two channels) │ 16-bit samples, interleaved
//! ```
//!
//! The length is exact before the first byte is read, and any offset can be read, so that HTTP
//! ranges work. PCM, G.711 and GSM are decoded piece by piece when asked for; what needs a demuxer
//! is decoded once, whole, into memory that is wiped when dropped.

use std::io;
use std::sync::{Mutex, PoisonError};

use hound::{SampleFormat, WavSpec};
use zeroize::Zeroizing;

use super::packets::Packets;
use super::samples::{Direct, SampleSource, append};
use super::{Hint, Source};

/// A WAV that exists only as it is read.
pub struct DecodedWav {
    header: Vec<u8>,
    body_bytes: u64,
    body: Body,
}

enum Body {
    Pieces(Box<Mutex<Pieces>>),
    Whole { plaintext: Zeroizing<Vec<i16>> },
}

impl DecodedWav {
    /// Prepares `source` for reading: at once for PCM, G.711 and GSM; after decoding all of it
    /// for the rest, which takes about a second for an hour of MP3 and 2 bytes of memory for
    /// every sample, so call it on the work pool.
    ///
    /// `None` without a decoder, or when the sound would need more than 256 MiB (more than four
    /// hours of one channel at 8 kHz, 25 minutes of stereo at 44.1 kHz).
    pub fn open(mut source: Box<dyn Source>, hint: Hint<'_>) -> Option<Self> {
        match super::samples(&mut source, hint) {
            Some(layout) => Direct::new(source, layout).map(Self::from_pieces),
            None => Self::from_packets(Packets::open(source)?),
        }
    }

    /// Length of the WAV.
    pub fn len_bytes(&self) -> u64 {
        self.header.len() as u64 + self.body_bytes
    }

    /// Fills `buf` from `offset` on and says how far; less than all of it only at the end.
    ///
    /// One reader at a time; others wait. With GSM a jump forward decodes what lies between (an
    /// hour in about a second), once.
    ///
    /// # Errors
    ///
    /// Those of the source. `buf` may then hold sound; the call may be tried again.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let header_bytes = self.header.len() as u64;
        let mut filled = 0;
        while filled < buf.len() {
            let at = offset.saturating_add(filled as u64);
            let rest = &mut buf[filled..];
            let read = match (at.checked_sub(header_bytes), &self.body) {
                (None, _) => copy(&self.header, at, rest),
                (Some(at), _) if at >= self.body_bytes => 0,
                (Some(at), Body::Whole { plaintext }) => copy_samples(plaintext, at, rest),
                (Some(at), Body::Pieces(pieces)) => {
                    pieces.lock().unwrap_or_else(PoisonError::into_inner).read_at(rest, at)?
                }
            };
            if read == 0 {
                break;
            }
            filled += read;
        }
        Ok(filled)
    }

    fn from_pieces(direct: Direct) -> Self {
        let frame_bytes = 2 * u64::from(direct.channels());
        let body_bytes = direct.frames() * frame_bytes;
        Self {
            header: header(direct.channels(), direct.sample_rate_hz(), body_bytes),
            body_bytes,
            body: Body::Pieces(Box::new(Mutex::new(Pieces {
                piece_bytes: direct.frames_per_piece() * frame_bytes,
                direct,
                held: None,
                plaintext: Zeroizing::default(),
            }))),
        }
    }

    fn from_packets(mut packets: Packets) -> Option<Self> {
        let mut plaintext = Zeroizing::default();
        let mut piece_plaintext = Zeroizing::default();
        while packets.next_piece(&mut piece_plaintext) {
            append(&mut plaintext, &piece_plaintext);
            if 2 * plaintext.len() > WHOLE_BYTES_MAX {
                return None;
            }
        }
        let body_bytes = 2 * plaintext.len() as u64;
        let header = header(packets.channels(), packets.sample_rate_hz(), body_bytes);
        Some(Self { header, body_bytes, body: Body::Whole { plaintext } })
    }
}

/// Samples by arithmetic, with the piece read last: readers ask for one stretch after another.
struct Pieces {
    direct: Direct,
    piece_bytes: u64,
    held: Option<u64>,
    plaintext: Zeroizing<Vec<i16>>,
}

impl Pieces {
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let index = offset / self.piece_bytes;
        if self.held != Some(index) {
            self.held = None;
            self.direct.read_piece(index, &mut self.plaintext)?;
            self.held = Some(index);
        }
        Ok(copy_samples(&self.plaintext, offset % self.piece_bytes, buf))
    }
}

/// Copies what `bytes` has from `at` on and says how much.
fn copy(bytes: &[u8], at: u64, buf: &mut [u8]) -> usize {
    let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    let len = rest.len().min(buf.len());
    buf[..len].copy_from_slice(&rest[..len]);
    len
}

/// The same with samples, little end first; `at` counts bytes and may point into one.
fn copy_samples(plaintext: &[i16], at: u64, buf: &mut [u8]) -> usize {
    let Ok(skip) = usize::try_from(at) else { return 0 };
    let rest = plaintext.get(skip / 2..).unwrap_or_default();
    let bytes = rest.iter().flat_map(|sample| sample.to_le_bytes()).skip(skip % 2);
    buf.iter_mut().zip(bytes).map(|(slot, byte)| *slot = byte).count()
}

/// Above 4 GiB the header says "until the end of the file", which players understand.
fn header(channels: u16, sample_rate: u32, body_bytes: u64) -> Vec<u8> {
    let spec =
        WavSpec { channels, sample_rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut header = spec.into_header_for_infinite_file();
    let len = header.len();
    if let Ok(riff_bytes) = u32::try_from(len as u64 - 8 + body_bytes) {
        header[4..8].copy_from_slice(&riff_bytes.to_le_bytes());
        let data_bytes = riff_bytes - u32::try_from(len - 8).expect("a header is 44 or 68 bytes");
        header[len - 4..].copy_from_slice(&data_bytes.to_le_bytes());
    }
    header
}

const WHOLE_BYTES_MAX: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::super::testing::{aiff_8khz, tone, wav};
    use super::*;

    /// A 16-bit WAV decodes to itself, and an AIFF to the WAV of the same samples: header,
    /// length and every byte. Planted fault: the header's length without the header's own rest.
    #[test]
    fn decoding_gives_back_the_samples() {
        for channels in [1, 2] {
            let samples = tone(20_000, 12_345);
            let expected = wav(channels, 8_000, &samples);
            for file in [expected.clone(), aiff_8khz(channels, &samples)] {
                let decoded = open(file, "").unwrap();
                assert_eq!(decoded.len_bytes(), expected.len() as u64);
                assert_eq!(all(&decoded), expected);
            }
        }
    }

    #[test]
    fn another_reader_understands_the_header() {
        for channels in [1, 2, 4] {
            let samples = tone(4_000, 99);
            let decoded = open(aiff_8khz(channels, &samples), "").unwrap();
            let mut reader = hound::WavReader::new(Cursor::new(all(&decoded))).unwrap();
            assert_eq!((reader.spec().channels, reader.spec().sample_rate), (channels, 8_000));
            assert_eq!(reader.samples().collect::<Result<Vec<i16>, _>>().unwrap(), samples);
        }
    }

    /// Planted fault: `u32` arithmetic that wraps and tells players a few seconds.
    #[test]
    fn beyond_four_gibibytes_the_header_leaves_the_length_open() {
        assert_eq!(header(1, 8_000, u64::from(u32::MAX) - 36)[4..8], [0xFF; 4]);
        assert_eq!(header(1, 8_000, u64::from(u32::MAX) - 35)[40..], [0xFF; 4]);
        assert_eq!(header(1, 8_000, 1 << 32)[40..], [0xFF; 4]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Any stretch is a slice of the whole. Planted faults: an odd offset rounded to a
        /// sample; the piece held last taken for another.
        #[test]
        fn any_range_is_a_slice_of_the_whole(
            which in 0..3_usize,
            ranges in prop::collection::vec((any::<Index>(), 0..70_000_usize), 1..4),
        ) {
            let file = match which {
                0 => wav(2, 8_000, &tone(40_000, 30_000)),
                1 => aiff_8khz(1, &tone(40_000, 30_000)),
                _ => include_bytes!("vectors/plain.gsm").repeat(20),
            };
            let decoded = open(file, if which == 2 { "gsm" } else { "" }).unwrap();
            let whole = all(&decoded);
            for (start, len) in ranges {
                let start = start.index(whole.len() + 9);
                let mut buf = vec![0; len];
                let read = decoded.read_at(&mut buf, start as u64)?;
                let expected = whole.get(start..).unwrap_or_default();
                prop_assert_eq!(&buf[..read], &expected[..len.min(expected.len())]);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Cut, flipped or made up: what opens can be read to the length it promised.
        #[test]
        fn damage_never_breaks_the_promise(
            which in 0..4_usize,
            noise in prop::collection::vec(any::<u8>(), 0..2_000),
            cut in any::<Index>(),
            flips in prop::collection::vec((any::<Index>(), 0..8_u8), 0..6),
            extension in prop::sample::select(vec!["", "gsm", "ulaw", "sln"]),
        ) {
            let mut file = match which {
                0 => noise,
                1 => wav(1, 8_000, &tone(900, 30_000)),
                2 => aiff_8khz(2, &tone(900, 30_000)),
                _ => include_bytes!("vectors/plain.gsm").to_vec(),
            };
            file.truncate(cut.index(file.len() + 1));
            for (at, bit) in flips {
                let len = file.len().max(1);
                if let Some(byte) = file.get_mut(at.index(len)) {
                    *byte ^= 1 << bit;
                }
            }
            if let Some(decoded) = open(file, extension) {
                prop_assert_eq!(all(&decoded).len() as u64, decoded.len_bytes());
            }
        }
    }

    fn open(file: Vec<u8>, extension: &str) -> Option<DecodedWav> {
        DecodedWav::open(Box::new(Cursor::new(file)), Hint { extension })
    }

    fn all(decoded: &DecodedWav) -> Vec<u8> {
        let mut buf = vec![0; usize::try_from(decoded.len_bytes()).unwrap()];
        let read = decoded.read_at(&mut buf, 0).unwrap();
        buf.truncate(read);
        buf
    }
}
