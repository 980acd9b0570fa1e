//! MPEG transport streams.
//!
//! ```text
//! packet (188 bytes): 0x47 flags pid(13) │ adaptation field │ payload
//! PAT (pid 0) → PMT → streams (kind, pid) → PES packets with presentation times (90 kHz)
//! ```
//!
//! Asked before MP3 and AAC, whose sync words stand inside. The times at the head and at the
//! tail are the length; nothing between is read.

use super::Hint;
use super::bytes::Bytes;
use super::{found, to_ms};
use crate::domain::Damage;
use crate::domain::MediaInfo;

/// Measures a transport stream.
pub(super) fn read(bytes: &mut Bytes<'_>, _: Hint<'_>) -> Option<MediaInfo> {
    for packet in 0..PACKETS_IN_A_ROW.min(bytes.len() / PACKET_BYTES).max(2) {
        if bytes.u8(packet * PACKET_BYTES)? != SYNC {
            return None;
        }
    }
    let mut info = found("mpegts", None);
    let mut streams = Vec::new();
    let mut pmt_pid = None;
    let packets = bytes.len() / PACKET_BYTES;
    let head = packets.min(PACKETS_LOOKED_AT);
    for packet in 0..head {
        let Some(packet) = Packet::at(bytes, packet * PACKET_BYTES) else { continue };
        if packet.pid == 0 && packet.begins {
            pmt_pid = read_pat(bytes, &packet).or(pmt_pid);
        } else if Some(packet.pid) == pmt_pid && packet.begins && streams.is_empty() {
            streams = read_pmt(bytes, &packet).unwrap_or_default();
        }
        add_time(bytes, &packet, &mut streams);
    }
    for packet in packets.saturating_sub(PACKETS_LOOKED_AT).max(head)..packets {
        if let Some(packet) = Packet::at(bytes, packet * PACKET_BYTES) {
            add_time(bytes, &packet, &mut streams);
        }
    }
    if let Some(sound) = streams.iter().find(|stream| stream.is_sound) {
        info.codec = Some(sound.codec.into());
        info.channels = sound.adts.map(|(channels, _)| channels);
        info.sample_rate_hz = sound.adts.map(|(_, rate)| rate);
    } else {
        info.codec = streams.first().map(|stream| stream.codec.into());
    }
    info.damage = match () {
        () if !bytes.len().is_multiple_of(PACKET_BYTES) => Some(Damage::Truncated),
        () if streams.is_empty() => Some(Damage::Corrupt),
        () => None,
    };
    let first = streams.iter().filter_map(|stream| stream.first).min();
    let until = streams.iter().filter_map(|stream| stream.until(info.damage)).max();
    if let (Some(first), Some(until)) = (first, until) {
        info.duration_ms = to_ms(until.saturating_sub(first), CLOCK_HZ);
    }
    Some(info)
}

struct Packet {
    pid: u16,
    begins: bool,
    payload: u64,
    end: u64,
}

impl Packet {
    fn at(bytes: &mut Bytes<'_>, at: u64) -> Option<Self> {
        let [SYNC, b1, b2, b3] = bytes.array(at)? else { return None };
        let mut payload = at + 4;
        if b3 & 0x20 != 0 {
            payload += 1 + u64::from(bytes.u8(at + 4)?);
        }
        let pid = u16::from_be_bytes([b1 & 0x1f, b2]);
        let packet = Self { pid, begins: b1 & 0x40 != 0, payload, end: at + PACKET_BYTES };
        (b3 & 0x10 != 0 && payload < packet.end).then_some(packet)
    }
}

struct Stream {
    pid: u16,
    codec: &'static str,
    is_sound: bool,
    first: Option<u64>,
    last: Unit,
    before_last: Unit,
    adts: Option<(u16, u32)>,
}

/// One PES packet: a picture, or a run of sound frames.
#[derive(Clone, Copy, Default)]
struct Unit {
    time: u64,
    /// 0 where the writer does not say, as for pictures.
    len_bytes: u64,
}

impl Stream {
    /// The last time plus the step that led to it, shortened as the last unit is shorter: a time
    /// says when a unit begins, and the last run of sound frames may hold fewer of them. Without
    /// that step where units are missing.
    fn until(&self, damage: Option<Damage>) -> Option<u64> {
        if damage.is_some() {
            return Some(self.last.time);
        }
        let begin = self.before_last.time.max(self.first?);
        let step = self.last.time.saturating_sub(begin);
        let share = step.checked_mul(self.last.len_bytes)?;
        let step = share.checked_div(self.before_last.len_bytes).unwrap_or(step).min(step);
        Some(self.last.time + step)
    }
}

/// The first program's PMT.
fn read_pat(bytes: &mut Bytes<'_>, packet: &Packet) -> Option<u16> {
    let section = packet.payload + 1 + u64::from(bytes.u8(packet.payload)?);
    for program in 0..8 {
        let entry = section + 8 + 4 * program;
        let number = bytes.u16_be(entry).filter(|_| entry + 4 <= packet.end)?;
        if number != 0 {
            return Some(bytes.u16_be(entry + 2)? & 0x1fff);
        }
    }
    None
}

fn read_pmt(bytes: &mut Bytes<'_>, packet: &Packet) -> Option<Vec<Stream>> {
    let section = packet.payload + 1 + u64::from(bytes.u8(packet.payload)?);
    let section_bytes = u64::from(bytes.u16_be(section + 1)? & 0xfff);
    let end = (section + 3 + section_bytes).saturating_sub(4).min(packet.end);
    let mut at = section + 12 + u64::from(bytes.u16_be(section + 10)? & 0xfff);
    let mut streams = Vec::new();
    while at + 5 <= end {
        let (codec, is_sound) = match bytes.u8(at)? {
            3 | 4 => ("mp3", true),
            0x0f | 0x11 => ("aac", true),
            0x81 => ("ac3", true),
            0x06 => ("private", true),
            1 | 2 => ("mpeg2video", false),
            0x10 => ("mpeg4", false),
            0x1b => ("h264", false),
            0x24 => ("hevc", false),
            _ => ("ts_unknown", false),
        };
        let pid = bytes.u16_be(at + 1)? & 0x1fff;
        let (last, before_last) = Default::default();
        streams.push(Stream { pid, codec, is_sound, first: None, last, before_last, adts: None });
        at += 5 + u64::from(bytes.u16_be(at + 3)? & 0xfff);
    }
    Some(streams)
}

/// Notes the presentation time of a PES packet that begins here.
fn add_time(bytes: &mut Bytes<'_>, packet: &Packet, streams: &mut [Stream]) -> Option<()> {
    let stream = streams.iter_mut().find(|stream| stream.pid == packet.pid)?;
    let at = packet.payload;
    let [0, 0, 1, _, len1, len0, _, flags, header] = bytes.array(at)? else { return None };
    if !packet.begins || flags & 0x80 == 0 {
        return None;
    }
    let [p0, p1, p2, p3, p4] = bytes.array(at + 9)?.map(u64::from);
    let time = (p0 >> 1 & 7) << 30 | p1 << 22 | (p2 >> 1) << 15 | p3 << 7 | p4 >> 1;
    stream.first = Some(stream.first.map_or(time, |first| first.min(time)));
    let unit = Unit { time, len_bytes: u16::from_be_bytes([len1, len0]).into() };
    if time > stream.last.time {
        (stream.before_last, stream.last) = (stream.last, unit);
    } else if time < stream.last.time && time > stream.before_last.time {
        stream.before_last = unit; // pictures come in the order of decoding
    }
    if stream.codec == "aac" && stream.adts.is_none() {
        stream.adts = super::mpeg::adts(bytes.array(at + 9 + u64::from(header))?);
    }
    Some(())
}

const SYNC: u8 = 0x47;
const PACKET_BYTES: u64 = 188;
const PACKETS_IN_A_ROW: u64 = 5;
const CLOCK_HZ: u64 = 90_000;

/// At the head and again at the tail: 3 MB together, some seconds of screen video.
const PACKETS_LOOKED_AT: u64 = 8_000;
