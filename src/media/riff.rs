//! The WAV family: RIFF, its big-endian twin RIFX, and the two that outgrow 4 GiB, RF64 and W64.
//!
//! ```text
//! RIFF size WAVE │ fmt  size … │ fact size frames │ data size samples…
//! ```
//!
//! The header is written first with sizes of zero and again at the end, so a recorder that died
//! leaves zeros (or all ones, when it wrote to a pipe): then the rest of the file is the data.

use super::Hint;
use super::SampleCodec;
use super::Samples;
use super::bytes::Bytes;
use super::{found, to_ms};
use crate::domain::Damage;
use crate::domain::MediaInfo;

/// Measures a WAV file of any flavour.
pub(super) fn read(bytes: &mut Bytes<'_>, _: Hint<'_>) -> Option<MediaInfo> {
    let flavour = Flavour::of(bytes)?;
    let wave = walk(bytes, flavour);
    let mut info = found(flavour.name(), wave.damage);
    if let Some(format) = wave.format {
        info.codec = Some(format.codec().into());
        info.channels = Some(format.channels);
        info.sample_rate_hz = Some(format.sample_rate_hz);
        info.duration_ms = wave.duration_ms(format);
    }
    Some(info)
}

/// Where the samples of a WAV file lie, for codecs that need no decoder with a memory of its own
/// beyond a block.
pub(super) fn samples(bytes: &mut Bytes<'_>) -> Option<Samples> {
    let flavour = Flavour::of(bytes)?;
    let wave = walk(bytes, flavour);
    let format = wave.format?;
    let codec = match format.codec() {
        "pcm_u8" => SampleCodec::PcmU8,
        "pcm_s16le" => SampleCodec::PcmS16Le,
        "pcm_s16be" => SampleCodec::PcmS16Be,
        "pcm_s24le" => SampleCodec::PcmS24Le,
        "pcm_s32le" => SampleCodec::PcmS32Le,
        "pcm_f32le" => SampleCodec::PcmF32Le,
        "pcm_f64le" => SampleCodec::PcmF64Le,
        "pcm_mulaw" => SampleCodec::MuLaw,
        "pcm_alaw" => SampleCodec::ALaw,
        "gsm_ms" if format.channels == 1 => SampleCodec::GsmMs,
        _ => return None,
    };
    let (block_bytes, frames_per_block) =
        if codec == SampleCodec::GsmMs { (65, 320) } else { (format.frame_bytes()?, 1) };
    Some(Samples {
        codec,
        channels: format.channels,
        sample_rate_hz: format.sample_rate_hz,
        block_bytes,
        frames_per_block,
        data_at: wave.data_at,
        data_bytes: wave.data_bytes,
    })
}

/// The valid bits of a sample and the places of the channels, where an extended header says so.
pub(super) fn speakers(bytes: &mut Bytes<'_>) -> Option<(u16, u32)> {
    let flavour = Flavour::of(bytes)?;
    let at = walk(bytes, flavour).extended_at?;
    Some((bytes.u16_le(at + 18)?, bytes.u32_le(at + 20)?))
}

/// A `WAVEFORMATEX`, which AVI and Matroska carry too.
#[derive(Clone, Copy)]
pub(super) struct WaveFormat {
    tag: u16,
    pub(super) channels: u16,
    pub(super) sample_rate_hz: u32,
    bytes_per_second: u32,
    block_bytes: u16,
    bits: u16,
    frames_per_block: u16,
    is_big_endian: bool,
}

impl WaveFormat {
    /// The one at `at`; `None` if it is cut or says no channels or no rate.
    pub(super) fn at(bytes: &mut Bytes<'_>, at: u64, size: u64) -> Option<Self> {
        Self::parse(bytes, at, size, false)
    }

    fn parse(bytes: &mut Bytes<'_>, at: u64, size: u64, is_big_endian: bool) -> Option<Self> {
        let fixed: [u8; 16] = bytes.array(at)?;
        let u16_at = |i: usize| {
            let pair = [fixed[i], fixed[i + 1]];
            if is_big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
        };
        let u32_at = |i: usize| {
            let (a, b) = (u32::from(u16_at(i)), u32::from(u16_at(i + 2)));
            if is_big_endian { a << 16 | b } else { b << 16 | a }
        };
        let mut format = Self {
            tag: u16_at(0),
            channels: u16_at(2),
            sample_rate_hz: u32_at(4),
            bytes_per_second: u32_at(8),
            block_bytes: u16_at(12),
            bits: u16_at(14),
            frames_per_block: 0,
            is_big_endian,
        };
        if format.tag == TAG_EXTENSIBLE && size >= 26 {
            format.tag = bytes.u16_le(at + 24)?;
        } else if matches!(format.tag, TAG_MS_ADPCM | TAG_IMA_ADPCM | TAG_GSM) && size >= 20 {
            format.frames_per_block = bytes.u16_le(at + 18)?;
        }
        (format.channels > 0 && format.sample_rate_hz > 0).then_some(format)
    }

    /// Stable codec name; `wav_unknown` for a tag that nobody uses for speech.
    pub(super) fn codec(&self) -> &'static str {
        match (self.tag, self.bits) {
            (1, 8) => "pcm_u8",
            (1, 16) if self.is_big_endian => "pcm_s16be",
            (1, 16) => "pcm_s16le",
            (1, 24) if !self.is_big_endian => "pcm_s24le",
            (1, 32) if !self.is_big_endian => "pcm_s32le",
            (3, 32) if !self.is_big_endian => "pcm_f32le",
            (3, 64) if !self.is_big_endian => "pcm_f64le",
            (1 | 3, _) => "pcm_other",
            (TAG_MS_ADPCM, _) => "adpcm_ms",
            (6, _) => "pcm_alaw",
            (7, _) => "pcm_mulaw",
            (TAG_IMA_ADPCM, _) => "adpcm_ima",
            (TAG_GSM, _) => "gsm_ms",
            (0x40 | 0x45 | 0x64, _) => "g726",
            (0x50, _) => "mp2",
            (0x55, _) => "mp3",
            (0x65 | 0x28f, _) => "g722",
            (0x83, _) => "g729",
            (0xff | 0x1600, _) => "aac",
            (0x704f, _) => "opus",
            (0xa109, _) => "speex",
            _ => "wav_unknown",
        }
    }

    /// Bytes of one sample of all channels, where that is a whole number.
    fn frame_bytes(&self) -> Option<u32> {
        let sample_bits = match self.tag {
            1 | 3 if self.bits > 0 => u32::from(self.bits),
            6 | 7 => 8,
            _ => return None,
        };
        Some(u32::from(self.channels) * sample_bits.div_ceil(8))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flavour {
    Riff,
    Rifx,
    Rf64,
    W64,
}

impl Flavour {
    fn of(bytes: &mut Bytes<'_>) -> Option<Self> {
        let head: [u8; 4] = bytes.array(0)?;
        let form_at = if head == *b"riff" { 24 } else { 8 };
        // A header cut before its form still shows what it was going to be.
        let form: [u8; 4] = bytes.array(form_at).unwrap_or(*b"WAVE");
        match (&head, &form) {
            (b"RIFF", b"WAVE") => Some(Self::Riff),
            (b"RIFX", b"WAVE") => Some(Self::Rifx),
            (b"RF64" | b"BW64", b"WAVE") => Some(Self::Rf64),
            (b"riff", b"wave") => Some(Self::W64),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Riff | Self::Rifx => "wav",
            Self::Rf64 => "rf64",
            Self::W64 => "w64",
        }
    }

    /// Name, start and declared size of the body of the chunk at `at`.
    fn chunk(self, bytes: &mut Bytes<'_>, at: u64) -> Option<([u8; 4], u64, u64)> {
        let id = bytes.array(at)?;
        Some(match self {
            Self::Riff | Self::Rf64 => (id, at + 8, bytes.u32_le(at + 4)?.into()),
            Self::Rifx => (id, at + 8, bytes.u32_be(at + 4)?.into()),
            Self::W64 => (id, at + 24, bytes.u64_le(at + 16)?.saturating_sub(24)),
        })
    }
}

#[derive(Default)]
struct Wave {
    format: Option<WaveFormat>,
    extended_at: Option<u64>,
    fact_frames: u64,
    data_at: u64,
    data_bytes: u64,
    damage: Option<Damage>,
}

impl Wave {
    /// By blocks where blocks have a length, else by the mean rate. Of blocks, `fact` knows how
    /// much of the last one is padding; elsewhere writers disagree on what it counts.
    fn duration_ms(&self, format: WaveFormat) -> Option<u64> {
        if let Some(frame_bytes) = format.frame_bytes() {
            let frames = self.data_bytes / u64::from(frame_bytes);
            return to_ms(frames, format.sample_rate_hz.into());
        }
        if format.frames_per_block == 0 || format.block_bytes == 0 {
            let bytes_per_second = match format.codec() {
                // Fixed: two samples a byte. Writers count as if it were one.
                "g722" => u64::from(format.sample_rate_hz / 2) * u64::from(format.channels),
                _ => format.bytes_per_second.into(),
            };
            return to_ms(self.data_bytes, bytes_per_second);
        }
        let blocks = self.data_bytes / u64::from(format.block_bytes);
        let by_blocks = blocks.checked_mul(format.frames_per_block.into())?;
        let frames = if self.fact_frames > 0 { by_blocks.min(self.fact_frames) } else { by_blocks };
        to_ms(frames, format.sample_rate_hz.into())
    }
}

/// Walks the chunks up to the data. One function, because each chunk decides how to read the next.
fn walk(bytes: &mut Bytes<'_>, flavour: Flavour) -> Wave {
    let mut wave = Wave::default();
    let mut long_data_bytes = None;
    let (_, _, mut riff_bytes) = flavour.chunk(bytes, 0).unwrap_or_default();
    let mut at = if flavour == Flavour::W64 { 40 } else { 12 };
    while let Some((id, body, size)) = flavour.chunk(bytes, at) {
        match &id {
            b"fmt " => {
                wave.format = WaveFormat::parse(bytes, body, size, flavour == Flavour::Rifx);
                let is_extended = size >= 40 && bytes.u16_le(body) == Some(TAG_EXTENSIBLE);
                wave.extended_at = is_extended.then_some(body);
            }
            b"fact" if flavour == Flavour::Rifx => {
                wave.fact_frames = bytes.u32_be(body).unwrap_or(0).into();
            }
            b"fact" => wave.fact_frames = bytes.u32_le(body).unwrap_or(0).into(),
            b"ds64" => {
                riff_bytes = bytes.u64_le(body).unwrap_or(0);
                long_data_bytes = bytes.u64_le(body + 8);
            }
            b"data" => {
                let declared = match (size, long_data_bytes) {
                    (SIZE_UNKNOWN, Some(long)) => long,
                    (size, _) => size,
                };
                let rest = bytes.len() - body;
                wave.data_at = body;
                (wave.data_bytes, wave.damage) = data_bytes(declared, rest, riff_bytes);
                break;
            }
            _ => {}
        }
        let padded = size.checked_next_multiple_of(if flavour == Flavour::W64 { 8 } else { 2 });
        let Some(next) = padded.and_then(|size| body.checked_add(size)) else { break };
        at = next;
    }
    if wave.data_at == 0 {
        wave.damage =
            Some(if riff_bytes > bytes.len() { Damage::Truncated } else { Damage::Corrupt });
    } else if wave.format.is_none() {
        wave.damage = Some(Damage::Corrupt);
    }
    wave
}

/// How much of the `declared` data is there, given the `rest` of the file, and what that means.
fn data_bytes(declared: u64, rest: u64, riff_bytes: u64) -> (u64, Option<Damage>) {
    let is_open = matches!(riff_bytes, 0 | SIZE_UNKNOWN) || riff_bytes < 36;
    match declared {
        0 if rest == 0 && !is_open => (0, Some(Damage::Empty)),
        0 if is_open || rest > RIFF_TRAILER_BYTES_MAX => (rest, Some(Damage::Unfinished)),
        0 => (0, Some(Damage::Empty)),
        SIZE_UNKNOWN => (rest, Some(Damage::Unfinished)),
        declared if declared > rest => (rest, Some(Damage::Truncated)),
        declared => (declared, None),
    }
}

const TAG_MS_ADPCM: u16 = 2;
const TAG_IMA_ADPCM: u16 = 0x11;
const TAG_GSM: u16 = 0x31;
const TAG_EXTENSIBLE: u16 = 0xfffe;

/// What a writer that cannot seek puts where a size belongs.
const SIZE_UNKNOWN: u64 = 0xffff_ffff;

/// After no data at all: what a finished but silent-by-accident file may still carry as tags.
const RIFF_TRAILER_BYTES_MAX: u64 = 4_096;
