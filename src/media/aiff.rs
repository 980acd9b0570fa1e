//! AIFF and AIFF-C, Core Audio (CAF), and Sun's AU: the lesser relatives of WAV.
//!
//! All three are a format chunk and a data chunk with declared sizes, so the same three
//! questions are asked: how many frames are declared, how many are there, was it finished.

use super::Hint;
use super::bytes::Bytes;
use super::{found, to_ms};
use crate::domain::Damage;
use crate::domain::MediaInfo;

/// Measures an AIFF, CAF or AU file.
pub(super) fn read(bytes: &mut Bytes<'_>, _: Hint<'_>) -> Option<MediaInfo> {
    let (name, measure): (_, fn(&mut Bytes<'_>, &mut MediaInfo) -> Option<()>) =
        match &bytes.array(0)? {
            b"FORM" if matches!(bytes.array(8).as_ref(), Some(b"AIFF" | b"AIFC")) => ("aiff", aiff),
            b"caff" if bytes.u16_be(4)? == 1 => ("caf", caf),
            b".snd" => ("au", au),
            _ => return None,
        };
    let mut info = found(name, None);
    if measure(bytes, &mut info).is_none() {
        info.damage = Some(info.damage.unwrap_or(Damage::Corrupt));
    }
    Some(info)
}

fn aiff(bytes: &mut Bytes<'_>, info: &mut MediaInfo) -> Option<()> {
    let form_bytes = u64::from(bytes.u32_be(4)?);
    if form_bytes == 0 {
        info.damage = Some(Damage::Unfinished);
    } else if form_bytes + 8 > bytes.len() {
        info.damage = Some(Damage::Truncated);
    }
    let (mut common, mut sound) = (None, None);
    let mut at = 12;
    while (common.is_none() || sound.is_none())
        && let Some(id) = bytes.array(at)
    {
        let size = u64::from(bytes.u32_be(at + 4)?);
        match &id {
            b"COMM" => common = Some(at + 8),
            b"SSND" => sound = Some((at + 16, size.saturating_sub(8))),
            _ => {}
        }
        at += 8 + size.next_multiple_of(2);
    }
    let common = common?;
    let channels = bytes.u16_be(common)?;
    let bits = bytes.u16_be(common + 6)?;
    let rate = extended(bytes.array(common + 8)?)?;
    let is_compressed = bytes.array(8)? == *b"AIFC";
    let kind = if is_compressed { bytes.array(common + 18)? } else { *b"NONE" };
    let (codec, frame_bytes) = match (&kind, bits) {
        (b"NONE" | b"twos", 8) => ("pcm_s8", 1),
        (b"NONE" | b"twos", 16) => ("pcm_s16be", 2),
        (b"NONE" | b"twos", 24) => ("pcm_s24be", 3),
        (b"NONE" | b"twos", 32) => ("pcm_s32be", 4),
        (b"sowt", _) => ("pcm_s16le", 2),
        (b"ulaw" | b"ULAW", _) => ("pcm_mulaw", 1),
        (b"alaw" | b"ALAW", _) => ("pcm_alaw", 1),
        _ => ("aiff_unknown", 0),
    };
    info.codec = Some(codec.into());
    info.channels = Some(channels);
    info.sample_rate_hz = Some(rate);
    let declared = u64::from(bytes.u32_be(common + 2)?);
    let (data_at, data_bytes) = sound?;
    let rest = bytes.len().saturating_sub(data_at);
    let is_unfinished = data_bytes == 0 && rest > 0;
    if is_unfinished {
        info.damage = Some(Damage::Unfinished);
    } else if data_bytes > rest {
        info.damage = Some(Damage::Truncated);
    }
    let there = if is_unfinished { rest } else { rest.min(data_bytes) };
    let frames = match there.checked_div(u64::from(channels) * frame_bytes) {
        Some(frames) if declared == 0 => frames,
        Some(frames) => frames.min(declared),
        None => declared,
    };
    info.duration_ms = to_ms(frames, rate.into());
    Some(())
}

/// An 80-bit float as a whole number; rates are whole and below 2^32.
fn extended(plaintext: [u8; 10]) -> Option<u32> {
    let exponent = u32::from(u16::from_be_bytes([plaintext[0], plaintext[1]]));
    let mantissa = u64::from_be_bytes(plaintext[2..].try_into().ok()?);
    let shift = (16_383u32 + 63).checked_sub(exponent)?;
    u32::try_from(mantissa.checked_shr(shift)?).ok().filter(|rate| *rate > 0)
}

fn caf(bytes: &mut Bytes<'_>, info: &mut MediaInfo) -> Option<()> {
    let (mut packet_bytes, mut packet_frames, mut valid_frames) = (0, 0, None);
    let mut data = None;
    let mut at = 8;
    while at < bytes.len() {
        let (Some(id), Some(size)) = (bytes.array(at), bytes.u64_be(at + 4)) else { break };
        let body = at + 12;
        match &id {
            b"desc" => {
                let rate = f64::from_be_bytes(bytes.array(body)?) as u32;
                let flags = bytes.u32_be(body + 12)?;
                info.codec = Some(caf_codec(&bytes.array(body + 8)?, flags).into());
                info.sample_rate_hz = Some(rate);
                info.channels = u16::try_from(bytes.u32_be(body + 24)?).ok();
                packet_bytes = u64::from(bytes.u32_be(body + 16)?);
                packet_frames = u64::from(bytes.u32_be(body + 20)?);
            }
            b"pakt" => valid_frames = bytes.u64_be(body + 8),
            b"data" => data = Some((body + 4, size)),
            _ => {}
        }
        at = body.saturating_add(size);
    }
    let is_whole = at == bytes.len();
    let Some((data_at, size)) = data else {
        info.damage = (!is_whole).then_some(Damage::Truncated);
        return None;
    };
    let rest = bytes.len().saturating_sub(data_at);
    let (there, damage) = match size {
        u64::MAX => (rest, Some(Damage::Unfinished)),
        size if size - size.min(4) > rest => (rest, Some(Damage::Truncated)),
        size => (size - size.min(4), (!is_whole).then_some(Damage::Truncated)),
    };
    info.damage = damage;
    let by_bytes = there.checked_div(packet_bytes).and_then(|n| n.checked_mul(packet_frames));
    let frames = match (by_bytes, valid_frames) {
        (Some(frames), _) => frames,
        (None, Some(frames)) if damage.is_none() => frames,
        (None, _) => return Some(()),
    };
    info.duration_ms = to_ms(frames, info.sample_rate_hz?.into());
    Some(())
}

fn caf_codec(kind: &[u8; 4], flags: u32) -> &'static str {
    match (kind, flags & 2) {
        (b"lpcm", 2) => "pcm_s16le",
        (b"lpcm", _) => "pcm_s16be",
        (b"ulaw", _) => "pcm_mulaw",
        (b"alaw", _) => "pcm_alaw",
        (b"aac ", _) => "aac",
        (b"alac", _) => "alac",
        (b"opus", _) => "opus",
        (b".mp3", _) => "mp3",
        (b"agsm", _) => "gsm",
        _ => "caf_unknown",
    }
}

fn au(bytes: &mut Bytes<'_>, info: &mut MediaInfo) -> Option<()> {
    let data_at = u64::from(bytes.u32_be(4)?);
    let declared = bytes.u32_be(8)?;
    let (codec, sample_bytes) = match bytes.u32_be(12)? {
        1 => ("pcm_mulaw", 1),
        2 => ("pcm_s8", 1),
        3 => ("pcm_s16be", 2),
        5 => ("pcm_s32be", 4),
        27 => ("pcm_alaw", 1),
        _ => ("au_unknown", 0),
    };
    let rate = bytes.u32_be(16)?;
    let channels = u16::try_from(bytes.u32_be(20)?).ok().filter(|n| *n > 0)?;
    info.codec = Some(codec.into());
    info.channels = Some(channels);
    info.sample_rate_hz = Some(rate);
    let rest = bytes.len().checked_sub(data_at)?;
    let there = match declared {
        0 | u32::MAX => {
            info.damage = Some(Damage::Unfinished);
            rest
        }
        declared if u64::from(declared) > rest => {
            info.damage = Some(Damage::Truncated);
            rest
        }
        declared => declared.into(),
    };
    info.duration_ms = to_ms(there.checked_div(u64::from(channels) * sample_bytes)?, rate.into());
    Some(())
}
