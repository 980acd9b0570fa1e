//! FLAC.
//!
//! ```text
//! "fLaC" │ STREAMINFO (rate, channels, total samples) │ other metadata │ frame…
//! ```
//!
//! The header says how many samples there ought to be; the last frame, found from the end by its
//! sync word and checksum, says how many there are.

use super::Hint;
use super::bytes::Bytes;
use super::{found, to_ms};
use crate::domain::Damage;
use crate::domain::MediaInfo;

/// Measures a FLAC file.
pub(super) fn read(bytes: &mut Bytes<'_>, _: Hint<'_>) -> Option<MediaInfo> {
    if bytes.array(0)? != *b"fLaC" {
        return None;
    }
    let mut info = found("flac", Some(Damage::Corrupt));
    info.codec = Some("flac".into());
    let Some(packed) = bytes.u64_be(18) else { return Some(info) };
    let rate = packed >> 44;
    let total = packed & 0xf_ffff_ffff;
    if rate == 0 || bytes.u8(4)? & 0x7f != 0 {
        return Some(info);
    }
    info.channels = Some((packed >> 41 & 7) as u16 + 1);
    info.sample_rate_hz = Some(rate as u32);
    let (there, ends_whole) = samples_there(bytes, total).unwrap_or((0, false));
    info.damage = match () {
        () if total > 0 && (there < total || !ends_whole) => Some(Damage::Truncated),
        () if total == 0 => Some(Damage::Unfinished),
        () => None,
    };
    info.duration_ms = to_ms(there, rate);
    Some(info)
}

/// Samples up to the end of the last whole frame, and whether the file ends with it.
fn samples_there(bytes: &mut Bytes<'_>, total: u64) -> Option<(u64, bool)> {
    let fixed_block = u64::from(bytes.u16_be(10)?);
    let (_, plaintext) = bytes.plaintext_tail(TAIL_BYTES)?;
    let mut frames = Vec::new();
    for at in (0..plaintext.len().saturating_sub(6)).rev() {
        if frames.len() == CANDIDATES_MAX {
            break;
        }
        let header = frame_header(&plaintext[at..], fixed_block);
        let until = header.map(|(first, count)| first.saturating_add(count));
        frames.extend(until.filter(|until| total == 0 || *until <= total).map(|until| (at, until)));
    }
    // A whole file ends with a whole frame. A sync word by chance may follow the real one.
    if let Some((_, until)) = frames.iter().find(|(at, _)| crc16(&plaintext[*at..]) == 0) {
        return Some((*until, true));
    }
    // A cut one ends in a frame that is none: the last that is whole reaches up to another.
    let mut pairs = frames.windows(2);
    let whole = pairs.find(|pair| crc16(&plaintext[pair[1].0..pair[0].0]) == 0)?;
    Some((whole[1].1, false))
}

/// First sample and number of samples of the frame at the start of `plaintext`, if its own
/// checksum says that it is one.
fn frame_header(plaintext: &[u8], fixed_block: u64) -> Option<(u64, u64)> {
    let &[0xff, sync @ (0xf8 | 0xf9), sizes, _, lead, ..] = plaintext else { return None };
    let more = match lead.leading_ones() {
        0 => 0,
        n @ 2..=7 => n as usize - 1,
        _ => return None,
    };
    let mut number = u64::from(lead) & (0x7f >> lead.leading_ones());
    for byte in plaintext.get(5..5 + more)? {
        number = number << 6 | u64::from(byte & 0x3f);
    }
    let mut at = 5 + more;
    let count = match sizes >> 4 {
        0 => return None,
        1 => 192,
        n @ 2..=5 => 576 << (n - 2),
        6 => u64::from(*plaintext.get(at)?) + 1,
        7 => u64::from(u16::from_be_bytes([*plaintext.get(at)?, *plaintext.get(at + 1)?])) + 1,
        n => 256 << (n - 8),
    };
    at += match sizes >> 4 {
        6 => 1,
        7 => 2,
        _ => 0,
    };
    at += match sizes & 0xf {
        12 => 1,
        13 | 14 => 2,
        _ => 0,
    };
    if crc8(plaintext.get(..=at)?) != 0 {
        return None;
    }
    // Blocks of a fixed size are numbered; otherwise the number is the first sample's.
    let first = if sync == 0xf8 { number * fixed_block } else { number };
    Some((first, count))
}

fn crc8(plaintext: &[u8]) -> u8 {
    plaintext.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 != 0 { crc << 1 ^ 7 } else { crc << 1 })
    })
}

fn crc16(plaintext: &[u8]) -> u16 {
    plaintext.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            if crc & 0x8000 != 0 { crc << 1 ^ 0x8005 } else { crc << 1 }
        })
    })
}

/// More than one frame of eight channels at 24 bits.
const TAIL_BYTES: usize = 256 << 10;

/// Sync words that pass their checksum; a file with more near its end was made to cost time.
const CANDIDATES_MAX: usize = 16;
