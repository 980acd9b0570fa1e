//! The two old video containers: Flash video (FLV) and AVI.
//!
//! ```text
//! FLV  "FLV" 1 flags 9 │ size(4) tag ( kind size(3) time(3+1) stream(3) body ) size(4) tag …
//! AVI  RIFF size "AVI " │ LIST hdrl ( avih, LIST strl ( strh, strf )… ) │ LIST movi │ idx1
//! ```

use super::Hint;
use super::bytes::Bytes;
use super::riff::WaveFormat;
use super::{found, to_ms};
use crate::domain::Damage;
use crate::domain::MediaInfo;

/// Measures an FLV or AVI file.
pub(super) fn read(bytes: &mut Bytes<'_>, _: Hint<'_>) -> Option<MediaInfo> {
    match &bytes.array(0)? {
        b"FLV\x01" => Some(flv(bytes)),
        b"RIFF" if bytes.array(8)? == *b"AVI " => Some(avi(bytes)),
        _ => None,
    }
}

/// The script says how long it is, else the last tag, which can be found from behind; only a cut
/// file has no such tag and is walked.
fn flv(bytes: &mut Bytes<'_>) -> MediaInfo {
    let mut info = found("flv", None);
    let mut script = Script::default();
    let mut picture_codec = None;
    let mut last_ms = 0;
    let mut at = u64::from(bytes.u32_be(5).unwrap_or(9)) + 4;
    for _ in 0..FLV_HEADER_TAGS {
        let Some(tag) = FlvTag::at(bytes, at) else { break };
        match tag.kind {
            8 if info.codec.is_none() => read_flv_sound(bytes, at + 11, &mut info),
            9 if picture_codec.is_none() => picture_codec = flv_picture(bytes, at + 11),
            18 => script.read(bytes, at + 11, tag.end),
            _ => {}
        }
        at = tag.end + 4;
    }
    let mut is_whole = at == bytes.len();
    let last = bytes.len().checked_sub(4).and_then(|tail| {
        let size = u64::from(bytes.u32_be(tail)?);
        FlvTag::at(bytes, tail.checked_sub(size)?).filter(|tag| tag.end == tail)
    });
    if let Some(last) = last {
        (is_whole, last_ms) = (true, last.ms);
    } else {
        at = u64::from(bytes.u32_be(5).unwrap_or(9)) + 4;
        while let Some(tag) = FlvTag::at(bytes, at).filter(|tag| tag.end <= bytes.len()) {
            last_ms = last_ms.max(tag.ms);
            at = tag.end + 4;
        }
    }
    info.codec = info.codec.or(picture_codec.map(Into::into));
    (info.width, info.height) = (script.width, script.height);
    info.damage = match () {
        () if !is_whole => Some(Damage::Truncated),
        () if script.duration_ms == Some(0) => Some(Damage::Unfinished),
        () => None,
    };
    info.duration_ms = match script.duration_ms {
        Some(ms) if ms > 0 && is_whole => Some(ms),
        _ => Some(last_ms).filter(|ms| *ms > 0),
    };
    info
}

struct FlvTag {
    kind: u8,
    ms: u64,
    end: u64,
}

impl FlvTag {
    fn at(bytes: &mut Bytes<'_>, at: u64) -> Option<Self> {
        let [kind, s2, s1, s0, t2, t1, t0, t3, _, _, _] = bytes.array(at)?;
        let size = u32::from_be_bytes([0, s2, s1, s0]);
        let ms = u32::from_be_bytes([t3, t2, t1, t0]).into();
        matches!(kind, 8 | 9 | 18).then_some(Self { kind, ms, end: at + 11 + u64::from(size) })
    }
}

/// What `onMetaData` says. It is a list of named numbers, found by their names.
#[derive(Default)]
struct Script {
    duration_ms: Option<u64>,
    width: Option<u32>,
    height: Option<u32>,
}

impl Script {
    fn read(&mut self, bytes: &mut Bytes<'_>, at: u64, end: u64) {
        let Some(plaintext) = bytes.plaintext_from(at, SCRIPT_BYTES) else { return };
        let len = usize::try_from(end.saturating_sub(at)).unwrap_or(0).min(plaintext.len());
        let number = |name: &[u8]| {
            let found = plaintext[..len].windows(name.len()).position(|window| window == name)?;
            let &[0, ref value @ ..] = plaintext[..len].get(found + name.len()..)? else {
                return None;
            };
            let value = f64::from_be_bytes(value.get(..8)?.try_into().ok()?);
            (0.0..1e9).contains(&value).then_some(value)
        };
        self.duration_ms = number(b"\x00\x08duration").map(|seconds| (seconds * 1e3) as u64);
        self.width = number(b"\x00\x05width").map(|pixels| pixels as u32);
        self.height = number(b"\x00\x06height").map(|pixels| pixels as u32);
    }
}

fn read_flv_sound(bytes: &mut Bytes<'_>, at: u64, info: &mut MediaInfo) {
    let Some(flags) = bytes.u8(at) else { return };
    let rate = [5_512, 11_025, 22_050, 44_100][usize::from(flags >> 2 & 3)];
    let channels = u16::from(flags & 1) + 1;
    let (codec, rate, channels) = match flags >> 4 {
        2 => ("mp3", rate, channels),
        3 => ("pcm_s16le", rate, channels),
        7 => ("pcm_alaw", 8_000, 1),
        8 => ("pcm_mulaw", 8_000, 1),
        10 => match bytes.u16_be(at + 2) {
            // The first AAC tag is the decoder's configuration: 5 bits type, 4 rate, 4 channels.
            Some(config) => {
                let rates = super::mpeg::AAC_RATES_HZ;
                let rate = rates.get(usize::from(config >> 7 & 0xf)).copied().unwrap_or(0);
                ("aac", rate, config >> 3 & 0xf)
            }
            None => ("aac", 0, 0),
        },
        11 => ("speex", 16_000, 1),
        14 => ("mp3", 8_000, channels),
        _ => ("flv_unknown", rate, channels),
    };
    info.codec = Some(codec.into());
    info.channels = Some(channels);
    info.sample_rate_hz = Some(rate);
}

fn flv_picture(bytes: &mut Bytes<'_>, at: u64) -> Option<&'static str> {
    Some(match bytes.u8(at)? & 0xf {
        2 => "flv1",
        4 | 5 => "vp6",
        7 => "h264",
        12 => "hevc",
        _ => "flv_unknown",
    })
}

fn avi(bytes: &mut Bytes<'_>) -> MediaInfo {
    let mut info = found("avi", None);
    let riff_bytes = u64::from(bytes.u32_le(4).unwrap_or(0));
    let mut avi = Avi::default();
    let mut media = None;
    let mut at = 12;
    while let Some(id) = bytes.array::<4>(at) {
        let Some(size) = bytes.u32_le(at + 4).map(u64::from) else { break };
        if id == *b"LIST" && bytes.array(at + 8) == Some(*b"hdrl") {
            avi.read_headers(bytes, at + 12, at + 8 + size, 0);
        }
        if id == *b"LIST" && bytes.array(at + 8) == Some(*b"movi") {
            media = media.or(Some((at + 8, size)));
        }
        at += 8 + size.next_multiple_of(2);
    }
    let is_open = riff_bytes == 0 || media.is_none() && bytes.len() > 12;
    info.damage = match () {
        () if is_open => Some(Damage::Unfinished),
        () if riff_bytes + 8 > bytes.len() || at > bytes.len() => Some(Damage::Truncated),
        () if avi.frames == 0 => Some(Damage::Unfinished),
        () => None,
    };
    info.codec = avi.sound.map(|format| format.codec().into());
    info.channels = avi.sound.map(|format| format.channels);
    info.sample_rate_hz = avi.sound.map(|format| format.sample_rate_hz);
    info.codec = info.codec.or(avi.picture_codec.map(Into::into));
    (info.width, info.height) = (avi.width, avi.height);
    let whole_ms = to_ms(avi.frames * avi.frame_us, 1_000_000).filter(|ms| *ms > 0);
    info.duration_ms = match whole_ms {
        // Sound and pictures alternate, so the share of bytes is the share of time.
        Some(ms) if info.damage == Some(Damage::Truncated) => {
            let (from, size) = media.unwrap_or_default();
            let there = (bytes.len() - from).min(size);
            let share = (u128::from(ms) * u128::from(there)).checked_div(size.into());
            share.and_then(|ms| u64::try_from(ms).ok())
        }
        ms => ms,
    };
    info
}

#[derive(Default)]
struct Avi {
    frame_us: u64,
    frames: u64,
    sound: Option<WaveFormat>,
    picture_codec: Option<&'static str>,
    width: Option<u32>,
    height: Option<u32>,
}

impl Avi {
    /// Reads `avih` and, one level below, the `strh` and `strf` of each stream.
    fn read_headers(&mut self, bytes: &mut Bytes<'_>, from: u64, end: u64, depth: u8) {
        let mut at = from;
        let mut kind = [0; 4];
        while at < end
            && let Some(id) = bytes.array::<4>(at)
            && let Some(size) = bytes.u32_le(at + 4).map(u64::from)
        {
            match &id {
                b"LIST" if depth == 0 => self.read_headers(bytes, at + 12, at + 8 + size, 1),
                b"avih" => {
                    self.frame_us = bytes.u32_le(at + 8).unwrap_or(0).into();
                    self.frames = bytes.u32_le(at + 24).unwrap_or(0).into();
                    self.width = bytes.u32_le(at + 40);
                    self.height = bytes.u32_le(at + 44);
                }
                b"strh" => kind = bytes.array(at + 8).unwrap_or([0; 4]),
                b"strf" if kind == *b"auds" && self.sound.is_none() => {
                    self.sound = WaveFormat::at(bytes, at + 8, size);
                }
                b"strf" if kind == *b"vids" => {
                    self.picture_codec = bytes.array(at + 24).map(|id| avi_picture(&id));
                }
                _ => {}
            }
            at += 8 + size.next_multiple_of(2);
        }
    }
}

fn avi_picture(id: &[u8; 4]) -> &'static str {
    match &id.map(|byte| byte.to_ascii_uppercase()) {
        b"H264" | b"AVC1" | b"X264" => "h264",
        b"MJPG" => "mjpeg",
        b"FMP4" | b"XVID" | b"DIVX" | b"DX50" => "mpeg4",
        _ => "avi_unknown",
    }
}

/// Both codecs and the script have come by then.
const FLV_HEADER_TAGS: usize = 40;

/// `onMetaData` may hold a long index, but the numbers stand before it.
const SCRIPT_BYTES: usize = 4_096;
