//! Ogg with Opus, Vorbis, Speex or FLAC inside.
//!
//! ```text
//! page: "OggS" 0 flags granule(8) serial(4) number(4) crc(4) n lengths(n) │ body
//! ```
//!
//! The first page of each stream names its codec, the last one carries the position of the last
//! sample and an end flag. So the head and the tail of the file are all that is read.

use super::Hint;
use super::bytes::Bytes;
use super::{found, to_ms};
use crate::domain::Damage;
use crate::domain::MediaInfo;

/// Measures an Ogg file.
pub(super) fn read(bytes: &mut Bytes<'_>, _: Hint<'_>) -> Option<MediaInfo> {
    if bytes.array(0)? != *b"OggS" {
        return None;
    }
    let mut info = found("ogg", Some(Damage::Corrupt));
    let mut sound = None;
    let mut at = 0;
    while let Some(page) = Page::at(bytes, at)
        && page.flags & FLAG_FIRST != 0
    {
        if let Some(stream) = Stream::read(bytes, &page) {
            sound = sound.or(Some(stream));
        } else {
            read_picture(bytes, &page, &mut info);
        }
        at = page.end;
    }
    let Some(sound) = sound else { return Some(info) };
    info.codec = Some(sound.codec.into());
    info.channels = Some(sound.channels);
    info.sample_rate_hz = Some(sound.sample_rate_hz);
    let last = last_page(bytes, sound.serial);
    info.damage = match &last {
        Some(Tail { is_cut: true, .. }) | None => Some(Damage::Truncated),
        Some(Tail { has_end: false, .. }) => Some(Damage::Unfinished),
        Some(_) => None,
    };
    if let Some(tail) = last {
        let frames = tail.granule.saturating_sub(sound.lead_in_frames);
        info.duration_ms = to_ms(frames, sound.granules_per_second);
    }
    Some(info)
}

struct Page {
    flags: u8,
    granule: u64,
    serial: u32,
    body: u64,
    end: u64,
}

impl Page {
    fn at(bytes: &mut Bytes<'_>, at: u64) -> Option<Self> {
        let head: [u8; 27] = bytes.array(at)?;
        let [b'O', b'g', b'g', b'S', 0, flags, ..] = head else { return None };
        let body = at + 27 + u64::from(head[26]);
        let mut end = body;
        for lacing in 0..u64::from(head[26]) {
            end += u64::from(bytes.u8(at + 27 + lacing)?);
        }
        let granule = u64::from_le_bytes(head[6..14].try_into().ok()?);
        let serial = u32::from_le_bytes(head[14..18].try_into().ok()?);
        Some(Self { flags, granule, serial, body, end })
    }
}

struct Stream {
    codec: &'static str,
    serial: u32,
    channels: u16,
    sample_rate_hz: u32,
    granules_per_second: u64,
    lead_in_frames: u64,
}

impl Stream {
    fn read(bytes: &mut Bytes<'_>, page: &Page) -> Option<Self> {
        let at = page.body;
        let magic: [u8; 8] = bytes.array(at)?;
        let (codec, channels, rate) = match &magic {
            b"OpusHead" => ("opus", bytes.u8(at + 9)?.into(), bytes.u32_le(at + 12)?),
            b"Speex   " => ("speex", bytes.u32_le(at + 48)? as u16, bytes.u32_le(at + 36)?),
            [1, b'v', b'o', b'r', b'b', b'i', b's', _] => {
                ("vorbis", bytes.u8(at + 11)?.into(), bytes.u32_le(at + 12)?)
            }
            [0x7f, b'F', b'L', b'A', b'C', ..] => {
                let packed = bytes.u32_be(at + 27)?;
                ("flac", (packed >> 9 & 7) as u16 + 1, packed >> 12)
            }
            _ => return None,
        };
        let mut stream = Self {
            codec,
            serial: page.serial,
            channels,
            sample_rate_hz: rate,
            granules_per_second: rate.into(),
            lead_in_frames: 0,
        };
        if codec == "opus" {
            // Positions count at 48 kHz and begin with what the decoder throws away.
            stream.granules_per_second = 48_000;
            stream.sample_rate_hz = 48_000;
            stream.lead_in_frames = bytes.u16_le(at + 10)?.into();
        }
        (channels > 0 && rate > 0 || codec == "opus").then_some(stream)
    }
}

fn read_picture(bytes: &mut Bytes<'_>, page: &Page, info: &mut MediaInfo) -> Option<()> {
    if bytes.array(page.body)? == *b"\x80theora" {
        info.width = Some(u32::from(bytes.u16_be(page.body + 10)?) * 16);
        info.height = Some(u32::from(bytes.u16_be(page.body + 12)?) * 16);
    }
    Some(())
}

struct Tail {
    granule: u64,
    has_end: bool,
    is_cut: bool,
}

/// What the last whole page of stream `serial` says, and whether something cut follows it.
fn last_page(bytes: &mut Bytes<'_>, serial: u32) -> Option<Tail> {
    let (tail_at, plaintext) = bytes.plaintext_tail(TAIL_BYTES)?;
    let mut tail = Tail { granule: 0, has_end: false, is_cut: true };
    let (mut has_any, mut chain_end) = (false, 0);
    for (offset, _) in plaintext.windows(4).enumerate().filter(|(_, window)| *window == b"OggS") {
        let at = tail_at + offset as u64;
        // The word may stand inside a body; pages follow one another without gaps.
        let is_inside = has_any && at < chain_end;
        let Some(page) = Page::at(bytes, at).filter(|page| page.end <= bytes.len() && !is_inside)
        else {
            continue;
        };
        (has_any, chain_end) = (true, page.end);
        if page.serial == serial {
            tail.has_end = page.flags & FLAG_LAST != 0;
            if page.granule != GRANULE_NONE {
                tail.granule = page.granule;
            }
        }
    }
    tail.is_cut = chain_end != bytes.len();
    has_any.then_some(tail)
}

const FLAG_FIRST: u8 = 2;
const FLAG_LAST: u8 = 4;

/// "No packet ends on this page."
const GRANULE_NONE: u64 = u64::MAX;

/// Two pages of the greatest size and some.
const TAIL_BYTES: usize = 256 << 10;
