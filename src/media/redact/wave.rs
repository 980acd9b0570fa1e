//! The exact way: samples that can be found by arithmetic are overwritten, all others are copied.
//!
//! ```text
//! header made anew │ frames … │ stretch: silence or a tone, chosen channels only │ frames …
//! ```
//!
//! The header holds `fmt `, `fact` where the format wants one, and `data`, with the sizes of what
//! is really there; every other chunk is left behind. Memory is one piece of frames.

use std::io::{SeekFrom, Write};

use zeroize::Zeroizing;

use super::super::bytes::Bytes;
use super::super::riff;
use super::super::{Hint, Samples, Source};
use super::{Parts, RedactError, Redaction, SampleCodec, Watch, tone};
use crate::domain::MediaInfo;

/// A recording whose samples can be overwritten one by one.
#[derive(Debug)]
pub(super) struct Exact {
    samples: Samples,
    /// Valid bits of a sample and the places of the channels, where the header said so.
    speakers: Option<(u16, u32)>,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// No header at all.
    Raw,
    Riff,
    /// The one with 64-bit sizes.
    Rf64,
}

impl Exact {
    /// `None` if its samples do not lie there one by one, or not in an order we can write.
    pub(super) fn of(source: &mut dyn Source, hint: Hint<'_>, info: &MediaInfo) -> Option<Self> {
        let samples = super::super::samples(source, hint)?;
        let is_raw = info.container == "raw";
        let is_writable = match samples.codec {
            SampleCodec::PcmU8
            | SampleCodec::PcmS16Le
            | SampleCodec::PcmS24Le
            | SampleCodec::PcmS32Le
            | SampleCodec::PcmF32Le
            | SampleCodec::PcmF64Le
            | SampleCodec::MuLaw
            | SampleCodec::ALaw => true,
            SampleCodec::PcmS16Be => is_raw,
            SampleCodec::Gsm | SampleCodec::GsmMs => false,
        };
        let (block_bytes, _) = samples.codec.block(samples.channels);
        if !is_writable || block_bytes != samples.block_bytes {
            return None;
        }
        let speakers = Bytes::new(source).and_then(|mut bytes| riff::speakers(&mut bytes));
        let mut exact = Self { samples, speakers: speakers.filter(|_| !is_raw), form: Form::Raw };
        if !is_raw {
            let is_long = exact.data_bytes() > RIFF_DATA_BYTES_MAX;
            exact.form = if is_long || info.container == "rf64" { Form::Rf64 } else { Form::Riff };
        }
        Some(exact)
    }

    /// The redaction as this recording allows it.
    pub(super) fn clip(&self, redaction: &Redaction) -> Result<Redaction, RedactError> {
        if redaction.parts() == Parts::Picture {
            return Err(RedactError::NoSuchPart { what: "picture" });
        }
        redaction.within_channels(self.samples.channels)?;
        let ms = u128::from(self.frames()) * 1_000;
        let duration_ms = ms.div_ceil(u128::from(self.samples.sample_rate_hz));
        redaction.clipped_to(u64::try_from(duration_ms).unwrap_or(u64::MAX))
    }

    /// Length of what [`Self::run`] writes.
    pub(super) fn len_bytes(&self) -> u64 {
        let pad = if self.form == Form::Raw { 0 } else { self.data_bytes() % 2 };
        self.header().len() as u64 + self.data_bytes() + pad
    }

    /// Writes the recording with its stretches overwritten.
    pub(super) fn run(
        &self,
        redaction: &Redaction,
        source: &mut dyn Source,
        out: &mut dyn Write,
        watch: Watch<'_>,
    ) -> Result<(), RedactError> {
        let frame_bytes = u64::from(self.samples.block_bytes);
        let frames_per_piece = (PIECE_BYTES / frame_bytes).max(1);
        let mut plaintext = Zeroizing::new(vec![0; (frames_per_piece * frame_bytes) as usize]);
        out.write_all(&self.header()).map_err(RedactError::Write)?;
        source.seek(SeekFrom::Start(self.samples.data_at)).map_err(RedactError::Read)?;
        let mut at = 0;
        while at < self.frames() {
            let frames = frames_per_piece.min(self.frames() - at);
            let piece_plaintext = &mut plaintext[..(frames * frame_bytes) as usize];
            source.read_exact(piece_plaintext).map_err(RedactError::Read)?;
            self.overwrite(redaction, at, piece_plaintext);
            out.write_all(piece_plaintext).map_err(RedactError::Write)?;
            at += frames;
            watch(at * frame_bytes, self.data_bytes());
        }
        if self.form != Form::Raw && !self.data_bytes().is_multiple_of(2) {
            out.write_all(&[0]).map_err(RedactError::Write)?;
        }
        Ok(())
    }

    /// Overwrites what of `plaintext`, whose first frame is number `first`, lies in a stretch.
    fn overwrite(&self, redaction: &Redaction, first: u64, plaintext: &mut [u8]) {
        let Samples { codec, channels, sample_rate_hz, block_bytes, .. } = self.samples;
        let frame_bytes = block_bytes as usize;
        let sample_bytes = frame_bytes / usize::from(channels);
        let behind = first + (plaintext.len() / frame_bytes) as u64;
        for stretch in redaction.stretches() {
            // Down and up: a sample of which a part lies in the stretch belongs to it.
            let begins = frame_at(stretch.from_ms, sample_rate_hz, false);
            let ends = frame_at(stretch.to_ms, sample_rate_hz, true).min(behind);
            for frame in begins.max(first)..ends {
                let at = (frame - first) as usize * frame_bytes;
                let samples = plaintext[at..at + frame_bytes].chunks_exact_mut(sample_bytes);
                for (_, sample) in (0..channels)
                    .zip(samples)
                    .filter(|(channel, _)| redaction.takes_channel(*channel))
                {
                    tone::write(codec, redaction.fill(), frame - begins, sample_rate_hz, sample);
                }
            }
        }
    }

    fn frames(&self) -> u64 {
        self.samples.data_bytes / u64::from(self.samples.block_bytes)
    }

    /// Of whole frames: what is left of the last one is no sample.
    fn data_bytes(&self) -> u64 {
        self.frames() * u64::from(self.samples.block_bytes)
    }

    fn header(&self) -> Vec<u8> {
        let format = self.format();
        let fact = (format.len() > FORMAT_PCM_BYTES).then(|| self.frames());
        let padded = self.data_bytes() + self.data_bytes() % 2;
        let mut header = Vec::with_capacity(128);
        let chunks_bytes = 8 + format.len() as u64 + fact.map_or(0, |_| 12) + 8 + padded;
        match self.form {
            Form::Raw => return header,
            Form::Riff => {
                header.extend(b"RIFF");
                header.extend(short(4 + chunks_bytes));
                header.extend(b"WAVE");
            }
            Form::Rf64 => {
                header.extend(b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0");
                header.extend((4 + 36 + chunks_bytes).to_le_bytes());
                header.extend(self.data_bytes().to_le_bytes());
                header.extend(self.frames().to_le_bytes());
                header.extend([0; 4]);
            }
        }
        header.extend(b"fmt ");
        header.extend(short(format.len() as u64));
        header.extend(format);
        if let Some(frames) = fact {
            header.extend(b"fact\x04\0\0\0");
            header.extend(short(frames));
        }
        header.extend(b"data");
        let is_short = self.form == Form::Riff;
        header.extend(if is_short { short(self.data_bytes()) } else { [0xff; 4] });
        header
    }

    /// The body of `fmt `, made anew from what was understood of it.
    fn format(&self) -> Vec<u8> {
        let Samples { codec, channels, sample_rate_hz, block_bytes, .. } = self.samples;
        let tag: u16 = match codec {
            SampleCodec::PcmF32Le | SampleCodec::PcmF64Le => 3,
            SampleCodec::ALaw => 6,
            SampleCodec::MuLaw => 7,
            SampleCodec::PcmU8
            | SampleCodec::PcmS16Le
            | SampleCodec::PcmS16Be
            | SampleCodec::PcmS24Le
            | SampleCodec::PcmS32Le
            | SampleCodec::Gsm
            | SampleCodec::GsmMs => 1,
        };
        let bits = 8 * block_bytes / u32::from(channels);
        let outer_tag = if self.speakers.is_some() { TAG_EXTENSIBLE } else { tag };
        let mut format = Vec::with_capacity(40);
        format.extend(outer_tag.to_le_bytes());
        format.extend(channels.to_le_bytes());
        format.extend(sample_rate_hz.to_le_bytes());
        format.extend(sample_rate_hz.saturating_mul(block_bytes).to_le_bytes());
        format.extend(u16::try_from(block_bytes).unwrap_or(u16::MAX).to_le_bytes());
        format.extend(u16::try_from(bits).unwrap_or(u16::MAX).to_le_bytes());
        match self.speakers {
            Some((valid_bits, places)) => {
                format.extend(22_u16.to_le_bytes());
                format.extend(valid_bits.to_le_bytes());
                format.extend(places.to_le_bytes());
                format.extend(tag.to_le_bytes());
                format.extend(SUBFORMAT_TAIL);
            }
            None if tag != 1 => format.extend([0; 2]),
            None => {}
        }
        format
    }
}

/// The number of the frame at `ms`; a part of one counts as one if `is_end`.
fn frame_at(ms: u64, rate_hz: u32, is_end: bool) -> u64 {
    let scaled = u128::from(ms) * u128::from(rate_hz);
    let frame = if is_end { scaled.div_ceil(1_000) } else { scaled / 1_000 };
    u64::try_from(frame).unwrap_or(u64::MAX)
}

/// A size as these headers keep it.
fn short(size: u64) -> [u8; 4] {
    u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes()
}

const PIECE_BYTES: u64 = 64 << 10;
const FORMAT_PCM_BYTES: usize = 16;
const TAG_EXTENSIBLE: u16 = 0xfffe;
/// What follows the tag in the GUID of every plain wave format.
const SUBFORMAT_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
/// Room for the header is left below what 32 bits hold.
const RIFF_DATA_BYTES_MAX: u64 = 0xffff_ff00;

#[cfg(test)]
mod tests;
