//! Media: what a recording is, how it sounds and how it looks as a waveform.

use std::io::{Read, Seek, SeekFrom};

mod decode;
mod gsm;
mod packets;
mod pcm;
mod peaks;
mod samples;
#[cfg(test)]
mod testing;

pub use decode::DecodedWav;
pub use peaks::peaks;

/// What the parsers read from: a file or a decrypting reader.
pub trait Source: Read + Seek + Send + Sync {}

impl<T: Read + Seek + Send + Sync> Source for T {}

/// What is known besides the bytes; it decides only for raw formats, which have no signature.
#[derive(Clone, Copy, Debug)]
pub struct Hint<'a> {
    /// Lower case, without the dot; empty if there is none.
    pub extension: &'a str,
}

/// Where samples lie that need no demuxer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Samples {
    /// How they are coded.
    pub codec: SampleCodec,
    /// Channels, interleaved.
    pub channels: u16,
    /// Frames a second.
    pub sample_rate_hz: u32,
    /// Bytes of the smallest piece that can be decoded: a PCM frame, 33 of GSM, 65 of wav49.
    pub block_bytes: u32,
    /// Frames (one sample of each channel) in a block.
    pub frames_per_block: u32,
    /// Where the first block begins.
    pub data_at: u64,
    /// As far as bytes are really there.
    pub data_bytes: u64,
}

/// The sample codings we decode ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleCodec {
    /// Unsigned 8 bit.
    PcmU8,
    /// Signed 16 bit, little end first.
    PcmS16Le,
    /// Signed 16 bit, big end first.
    PcmS16Be,
    /// Signed 24 bit in three bytes.
    PcmS24Le,
    /// Signed 32 bit.
    PcmS32Le,
    /// Float, ±1.
    PcmF32Le,
    /// Double, ±1.
    PcmF64Le,
    /// G.711 µ-law.
    MuLaw,
    /// G.711 A-law.
    ALaw,
    /// GSM 06.10 in frames of 33 bytes.
    Gsm,
    /// GSM 06.10 in blocks of 65 bytes, as WAV has it.
    GsmMs,
}

/// Where the samples lie, if they need no demuxer: plain WAV and raw formats.
pub fn samples(source: &mut dyn Source, hint: Hint<'_>) -> Option<Samples> {
    let len_bytes = source.seek(SeekFrom::End(0)).ok()?;
    let mut head = [0; 44];
    source.rewind().ok()?;
    let codec = match hint.extension {
        "gsm" => SampleCodec::Gsm,
        "ulaw" => SampleCodec::MuLaw,
        "sln" => SampleCodec::PcmS16Le,
        _ => {
            source.read_exact(&mut head).ok()?;
            let is_plain = head.starts_with(b"RIFF") && &head[36..40] == b"data" && head[20] == 1;
            let channels = u16::from_le_bytes([head[22], head[23]]);
            return is_plain.then(|| Samples {
                codec: SampleCodec::PcmS16Le,
                channels,
                sample_rate_hz: u32::from_le_bytes([head[24], head[25], head[26], head[27]]),
                block_bytes: u32::from(channels) * 2,
                frames_per_block: 1,
                data_at: 44,
                data_bytes: len_bytes - 44,
            });
        }
    };
    let (block_bytes, frames_per_block) = codec.block(1);
    let (data_at, data_bytes) = (0, len_bytes);
    let sample_rate_hz = 8_000;
    Some(Samples {
        codec,
        channels: 1,
        sample_rate_hz,
        block_bytes,
        frames_per_block,
        data_at,
        data_bytes,
    })
}
