//! MP3 and raw AAC (ADTS): frames one after another, each with its own header.
//!
//! ```text
//! ID3 tags │ frame: sync(11) version layer bitrate rate mode … │ frame │ … │ TAG
//! ```
//!
//! There is no container, so the file is walked frame by frame, an hour of it at most; a longer
//! one is extrapolated. An MP3 may begin with a frame that holds an index (Xing, Info or VBRI)
//! saying how many frames and bytes there ought to be: that is how a cut is noticed.

use super::Hint;
use super::bytes::Bytes;
use super::{found, to_ms};
use crate::domain::Damage;
use crate::domain::MediaInfo;

/// Measures an MP3 or ADTS file, tags before it or not.
pub(super) fn read(bytes: &mut Bytes<'_>, hint: Hint<'_>) -> Option<MediaInfo> {
    let begin = after_tags(bytes);
    let first = Frame::at(bytes, begin)?;
    // Eleven bits of sync are weak evidence: frames that follow one another, or tags, are strong.
    let mut at = begin;
    for _ in 0..FRAMES_IN_A_ROW {
        match Frame::at(bytes, at).filter(|frame| frame.is_like(&first)) {
            Some(frame) => at += frame.bytes,
            None if at >= bytes.len() => break,
            None => return None,
        }
    }
    let end = before_tags(bytes).max(begin);
    let is_name_right = matches!(hint.extension, "mp3" | "mp2" | "mpga" | "aac" | "adts");
    if at >= bytes.len() && begin + 2 * first.bytes > end && begin == 0 && !is_name_right {
        return None;
    }
    let mut info = found(if first.is_aac { "aac" } else { "mp3" }, None);
    info.codec = Some(if first.is_aac { "aac" } else { first.layer_name() }.into());
    info.channels = Some(first.channels);
    info.sample_rate_hz = Some(first.sample_rate_hz);
    let index = if first.is_aac { None } else { Index::read(bytes, begin, &first) };
    let rate = u64::from(first.sample_rate_hz);
    if let Some(index) = &index
        && index.bytes.is_none_or(|declared| begin + u64::from(declared) <= bytes.len())
    {
        let frames = u64::from(index.frames) * first.samples;
        info.duration_ms = to_ms(frames.saturating_sub(index.padding), rate);
        return Some(info);
    }
    let from = if index.is_some() { begin + first.bytes } else { begin };
    let walk = Walk::through(bytes, from, end);
    if index.is_some() || walk.ends_cut {
        info.damage = Some(Damage::Truncated);
    }
    let padding = index.map_or(0, |index| index.delay);
    info.duration_ms = to_ms(walk.samples.saturating_sub(padding), rate);
    Some(info)
}

/// Sample rates by their index in ADTS headers and AAC configurations.
pub(super) const AAC_RATES_HZ: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// Channels and sample rate of the ADTS header at the start of `plaintext`, if it is one.
pub(super) fn adts(plaintext: [u8; 7]) -> Option<(u16, u32)> {
    let frame = Frame::of_aac(plaintext)?;
    Some((frame.channels, frame.sample_rate_hz))
}

struct Frame {
    is_aac: bool,
    version: u8,
    layer: u8,
    sample_rate_hz: u32,
    channels: u16,
    bytes: u64,
    samples: u64,
}

impl Frame {
    fn at(bytes: &mut Bytes<'_>, at: u64) -> Option<Self> {
        if let Some(head) = bytes.array(at)
            && let Some(frame) = Self::of_aac(head)
        {
            return Some(frame);
        }
        let [0xff, b1, b2, b3] = bytes.array(at)? else { return None };
        if b1 & 0xe0 != 0xe0 {
            return None;
        }
        let version = b1 >> 3 & 3; // 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
        let layer = 4 - (b1 >> 1 & 3); // 4 does not exist
        if version == 1 || layer == 4 || layer == 1 {
            return None;
        }
        let kbps = match (version, layer) {
            (3, 2) => LAYER_2_KBPS,
            (3, _) => LAYER_3_KBPS,
            (_, _) => LOW_RATE_KBPS,
        };
        let bits_per_second = 1_000 * kbps.get(usize::from(b2 >> 4)).filter(|n| **n > 0)?;
        let rate = [44_100u32, 48_000, 32_000].get(usize::from(b2 >> 2 & 3))?;
        let sample_rate_hz = rate >> [2, 0, 1, 0][usize::from(version)];
        let samples = if layer == 3 && version != 3 { 576 } else { 1_152 };
        let bytes = samples / 8 * u64::from(bits_per_second) / u64::from(sample_rate_hz)
            + u64::from(b2 >> 1 & 1);
        let channels = if b3 >> 6 == 3 { 1 } else { 2 };
        Some(Self { is_aac: false, version, layer, sample_rate_hz, channels, bytes, samples })
    }

    fn of_aac([b0, b1, b2, b3, b4, b5, b6]: [u8; 7]) -> Option<Self> {
        if b0 != 0xff || b1 & 0xf6 != 0xf0 {
            return None;
        }
        let sample_rate_hz = *AAC_RATES_HZ.get(usize::from(b2 >> 2 & 0xf))?;
        let channels = u16::from(b2 & 1) << 2 | u16::from(b3 >> 6);
        let bytes = u64::from(b3 & 3) << 11 | u64::from(b4) << 3 | u64::from(b5 >> 5);
        let samples = 1_024 * (u64::from(b6 & 3) + 1);
        let frame =
            Self { is_aac: true, version: 0, layer: 0, sample_rate_hz, channels, bytes, samples };
        (frame.bytes > 7).then_some(frame)
    }

    fn is_like(&self, other: &Self) -> bool {
        (self.is_aac, self.version, self.layer, self.sample_rate_hz)
            == (other.is_aac, other.version, other.layer, other.sample_rate_hz)
    }

    fn layer_name(&self) -> &'static str {
        if self.layer == 3 { "mp3" } else { "mp2" }
    }
}

/// What the first frame of an MP3 says about the rest.
struct Index {
    frames: u32,
    /// Bytes from the first frame on.
    bytes: Option<u32>,
    /// Samples that the encoder put before the sound, and before and after it together.
    delay: u64,
    padding: u64,
}

impl Index {
    fn read(bytes: &mut Bytes<'_>, at: u64, frame: &Frame) -> Option<Self> {
        let side_info = match (frame.version == 3, frame.channels) {
            (true, 1) | (false, 2) => 17,
            (true, _) => 32,
            (false, _) => 9,
        };
        if bytes.array(at + 36)? == *b"VBRI" {
            let (bytes_total, frames) = (bytes.u32_be(at + 46)?, bytes.u32_be(at + 50)?);
            return Some(Self { frames, bytes: Some(bytes_total), delay: 0, padding: 0 });
        }
        let mut at = at + 4 + side_info;
        if !matches!(&bytes.array(at)?, b"Xing" | b"Info") {
            return None;
        }
        let flags = bytes.u32_be(at + 4)?;
        let frames = (flags & 1 != 0).then(|| bytes.u32_be(at + 8)).flatten()?;
        let declared = (flags & 2 != 0).then(|| bytes.u32_be(at + 12)).flatten();
        // After the optional fields (4, 4, 100 and 4 bytes) LAME's own, with the two paddings.
        at += 8 + u64::from(flags & 1) * 4 + u64::from(flags >> 1 & 1) * 4;
        at += u64::from(flags >> 2 & 1) * 100 + u64::from(flags >> 3 & 1) * 4;
        let mut index = Self { frames, bytes: declared, delay: 0, padding: 0 };
        if matches!(bytes.array(at).as_ref(), Some(b"LAME" | b"Lavf" | b"Lavc")) {
            let [a, b, c] = bytes.array(at + 21)?;
            index.delay = u64::from(a) << 4 | u64::from(b >> 4);
            index.padding = index.delay + (u64::from(b & 0xf) << 8 | u64::from(c));
        }
        Some(index)
    }
}

struct Walk {
    samples: u64,
    ends_cut: bool,
}

impl Walk {
    /// Counts frames from `from` to `end`. Stops at what is no frame, or when the purse is
    /// empty: then what was seen stands for the rest.
    fn through(bytes: &mut Bytes<'_>, from: u64, end: u64) -> Self {
        let (mut at, mut samples) = (from, 0);
        let mut ends_cut = false;
        while at < end {
            let Some(frame) = Frame::at(bytes, at) else {
                ends_cut = at + 7 > end;
                break;
            };
            ends_cut = at + frame.bytes > end;
            if ends_cut {
                break;
            }
            samples += frame.samples;
            at += frame.bytes;
        }
        if bytes.is_exhausted() && at > from {
            let whole = u128::from(samples) * u128::from(end - from) / u128::from(at - from);
            (samples, ends_cut) = (u64::try_from(whole).unwrap_or(samples), false);
        }
        Self { samples, ends_cut }
    }
}

/// Where the frames begin: behind any ID3v2 tags, whose sizes have 7 bits a byte.
fn after_tags(bytes: &mut Bytes<'_>) -> u64 {
    let mut at = 0;
    while let Some([b'I', b'D', b'3', _, _, flags, s3, s2, s1, s0]) = bytes.array(at) {
        let size = [s3, s2, s1, s0].iter().fold(0, |n, byte| n << 7 | u64::from(byte & 0x7f));
        at += 10 + size + if flags & 0x10 != 0 { 10 } else { 0 };
    }
    at
}

/// Where they end: before an ID3v1 tag.
fn before_tags(bytes: &mut Bytes<'_>) -> u64 {
    let end = bytes.len();
    match end.checked_sub(128) {
        Some(at) if bytes.array(at) == Some(*b"TAG") => at,
        _ => end,
    }
}

const FRAMES_IN_A_ROW: usize = 3;

const LAYER_2_KBPS: [u32; 15] = [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
const LAYER_3_KBPS: [u32; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const LOW_RATE_KBPS: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
