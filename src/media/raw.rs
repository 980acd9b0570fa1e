//! Raw speech without any header, as Asterisk and FreeSWITCH write it: the name is all there is.
//!
//! Length follows from size, because every such codec has a fixed rate. A GSM file can at least
//! be checked: each of its frames begins with the nibble `0xD`.

use super::Hint;
use super::SampleCodec;
use super::Samples;
use super::bytes::Bytes;
use super::{found, to_ms};
use crate::domain::Damage;
use crate::domain::MediaInfo;

/// Measures a raw file by its extension.
pub(super) fn read(bytes: &mut Bytes<'_>, hint: Hint<'_>) -> Option<MediaInfo> {
    let raw = raw(hint)?;
    if raw.codec == "gsm" && !looks_like_gsm(bytes) {
        return None;
    }
    let blocks = bytes.len() / raw.block_bytes;
    let is_cut = !bytes.len().is_multiple_of(raw.block_bytes);
    let mut info = found("raw", is_cut.then_some(Damage::Truncated));
    info.codec = Some(raw.codec.into());
    info.channels = Some(1);
    info.sample_rate_hz = Some(raw.sample_rate_hz);
    info.duration_ms = to_ms(blocks * raw.block_frames, raw.sample_rate_hz.into());
    Some(info)
}

/// The whole file, for codecs that [`Samples`] knows.
pub(super) fn samples(bytes: &mut Bytes<'_>, hint: Hint<'_>) -> Option<Samples> {
    let raw = raw(hint)?;
    let codec = match raw.codec {
        "gsm" => SampleCodec::Gsm,
        "pcm_mulaw" => SampleCodec::MuLaw,
        "pcm_alaw" => SampleCodec::ALaw,
        "pcm_s16le" => SampleCodec::PcmS16Le,
        _ => return None,
    };
    Some(Samples {
        codec,
        channels: 1,
        sample_rate_hz: raw.sample_rate_hz,
        block_bytes: raw.block_bytes as u32,
        frames_per_block: raw.block_frames as u32,
        data_at: 0,
        data_bytes: bytes.len(),
    })
}

struct Raw {
    codec: &'static str,
    sample_rate_hz: u32,
    block_bytes: u64,
    block_frames: u64,
}

fn raw(hint: Hint<'_>) -> Option<Raw> {
    let (codec, sample_rate_hz, block_bytes, block_frames) = match hint.extension {
        "gsm" => ("gsm", 8_000, 33, 160),
        "ulaw" | "ul" | "mulaw" | "pcmu" | "pcm" => ("pcm_mulaw", 8_000, 1, 1),
        "alaw" | "al" | "pcma" => ("pcm_alaw", 8_000, 1, 1),
        "g722" => ("g722", 16_000, 1, 2),
        "g729" => ("g729", 8_000, 10, 80),
        "sln" | "slin" => ("pcm_s16le", 8_000, 2, 1),
        "sln12" => ("pcm_s16le", 12_000, 2, 1),
        "sln16" => ("pcm_s16le", 16_000, 2, 1),
        "sln24" => ("pcm_s16le", 24_000, 2, 1),
        "sln32" => ("pcm_s16le", 32_000, 2, 1),
        "sln44" => ("pcm_s16le", 44_100, 2, 1),
        "sln48" => ("pcm_s16le", 48_000, 2, 1),
        "sln96" => ("pcm_s16le", 96_000, 2, 1),
        "sln192" => ("pcm_s16le", 192_000, 2, 1),
        _ => return None,
    };
    Some(Raw { codec, sample_rate_hz, block_bytes, block_frames })
}

fn looks_like_gsm(bytes: &mut Bytes<'_>) -> bool {
    let frames = (bytes.len() / 33).min(GSM_FRAMES_CHECKED);
    (0..frames.max(1)).all(|frame| bytes.u8(frame * 33).is_some_and(|byte| byte >> 4 == 0xd))
}

const GSM_FRAMES_CHECKED: u64 = 50;
