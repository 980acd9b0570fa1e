//! Matroska and WebM.
//!
//! ```text
//! EBML ( DocType ) │ Segment ( Info ( scale, duration ), Tracks ( entry… ), Cluster… )
//! ```
//!
//! Elements nest; each is an id, a length and a body, both numbers of variable width, and a
//! length may be "unknown" while the file is being written. Browsers never write a duration:
//! then, and when a file is cut, the last block's time is how long it is.

use super::Hint;
use super::bytes::Bytes;
use super::found;
use super::riff::WaveFormat;
use crate::domain::Damage;
use crate::domain::MediaInfo;

/// Measures a Matroska or WebM file; walks the clusters only if the header has no duration.
pub(super) fn read(bytes: &mut Bytes<'_>, _: Hint<'_>) -> Option<MediaInfo> {
    let ebml = element(bytes, 0).filter(|element| element.id == ID_EBML)?;
    let mut info = found(doc_type(bytes, ebml), Some(Damage::Corrupt));
    let Some(segment) = ebml.end.and_then(|end| element(bytes, end)) else {
        info.damage = Some(Damage::Truncated);
        return Some(info);
    };
    if segment.id != ID_SEGMENT {
        return Some(info);
    }
    let mut walk = Walk { scale_ns: 1_000_000, ..Walk::default() };
    let segment_end = segment.end.unwrap_or(u64::MAX).min(bytes.len());
    let is_cut = segment.end.is_some_and(|end| end > bytes.len());
    let first_cluster = walk.headers(bytes, segment.body, segment_end);
    if is_cut || walk.duration_ticks.is_none() {
        let from = last_cluster(bytes).or(first_cluster);
        let _ = from.and_then(|from| walk.blocks(bytes, from, segment_end));
    }
    info.damage = match () {
        () if is_cut => Some(Damage::Truncated),
        () if segment.end.is_none() => Some(Damage::Unfinished),
        () if walk.tracks.is_empty() => Some(Damage::Corrupt),
        () => None,
    };
    info.duration_ms = walk.duration_ms(info.damage);
    if let Some(sound) = walk.tracks.iter().find(|track| track.kind == KIND_SOUND) {
        info.codec = Some(sound.codec.into());
        info.channels = Some(sound.channels);
        info.sample_rate_hz = Some(sound.sample_rate_hz);
    }
    if let Some(picture) = walk.tracks.iter().find(|track| track.kind == KIND_PICTURE) {
        info.codec.get_or_insert_with(|| picture.codec.into());
        info.width = Some(picture.width);
        info.height = Some(picture.height);
    }
    Some(info)
}

#[derive(Clone, Copy)]
struct Element {
    id: u32,
    body: u64,
    /// `None` while it is being written.
    end: Option<u64>,
}

#[derive(Default)]
struct Walk {
    scale_ns: u64,
    duration_ticks: Option<f64>,
    tracks: Vec<Track>,
    cluster_ticks: u64,
    /// Time of the last whole block and of the latest one before it, in ticks.
    last_ticks: u64,
    before_last_ticks: u64,
}

#[derive(Default)]
struct Track {
    kind: u64,
    codec: &'static str,
    channels: u16,
    sample_rate_hz: u32,
    width: u32,
    height: u32,
}

impl Walk {
    /// Reads Info and Tracks, which may come after the clusters; says where the first of those is.
    fn headers(&mut self, bytes: &mut Bytes<'_>, from: u64, limit: u64) -> Option<u64> {
        let (mut at, mut first_cluster) = (from, None);
        while at < limit
            && let Some(item) = element(bytes, at)
        {
            match item.id {
                ID_INFO => self.read_info(bytes, item),
                ID_TRACKS => self.read_tracks(bytes, item),
                ID_CLUSTER => first_cluster = first_cluster.or(Some(at)),
                _ => {}
            }
            let has_all = first_cluster.is_some() && !self.tracks.is_empty();
            match item.end {
                Some(end) if !has_all => at = end,
                _ => break,
            }
        }
        first_cluster
    }

    /// Notes the time of every block that is whole, from the cluster at `from` on. Clusters and
    /// groups are opened, everything else is stepped over.
    fn blocks(&mut self, bytes: &mut Bytes<'_>, from: u64, limit: u64) -> Option<()> {
        let mut at = from;
        while at < limit {
            let item = element(bytes, at)?;
            at = match item.id {
                ID_CLUSTER | ID_BLOCK_GROUP => item.body,
                _ => item.end?,
            };
            match item.id {
                ID_TIMECODE => self.cluster_ticks = unsigned(bytes, item)?,
                ID_SIMPLE_BLOCK | ID_BLOCK if at <= limit => self.add_block(bytes, item)?,
                _ => {}
            }
        }
        Some(())
    }

    fn add_block(&mut self, bytes: &mut Bytes<'_>, block: Element) -> Option<()> {
        let (_, width) = number(bytes, block.body)?;
        let relative = i16::from_be_bytes(bytes.array(block.body + width)?);
        let ticks = self.cluster_ticks.saturating_add_signed(relative.into());
        if ticks > self.last_ticks {
            (self.before_last_ticks, self.last_ticks) = (self.last_ticks, ticks);
        } else if ticks < self.last_ticks {
            // Pictures are stored in the order of decoding.
            self.before_last_ticks = self.before_last_ticks.max(ticks);
        }
        Some(())
    }

    /// The header's word if nothing speaks against it. Else the last block's time plus the step
    /// that led to it, because a block says when it begins and not how long it is; without the
    /// step where blocks are missing.
    fn duration_ms(&self, damage: Option<Damage>) -> Option<u64> {
        let step = match self.before_last_ticks {
            0 => 0,
            _ if damage == Some(Damage::Truncated) => 0,
            before => self.last_ticks - before,
        };
        let by_blocks = (self.last_ticks > 0).then(|| self.last_ticks.saturating_add(step) as f64);
        let by_header = self.duration_ticks.filter(|ticks| ticks.is_finite() && *ticks > 0.0);
        let ticks = match (by_header, by_blocks) {
            (Some(header), _) if damage.is_none() => header,
            (Some(header), Some(blocks)) => header.min(blocks),
            (_, blocks) => blocks?,
        };
        let ms = ticks * self.scale_ns as f64 / 1e6;
        (ms < super::DURATION_MS_MAX as f64).then_some(ms as u64)
    }

    fn read_info(&mut self, bytes: &mut Bytes<'_>, info: Element) {
        each(bytes, info, |bytes, item| match item.id {
            ID_TIMECODE_SCALE => self.scale_ns = unsigned(bytes, item).unwrap_or(1_000_000),
            ID_DURATION => self.duration_ticks = float(bytes, item),
            _ => {}
        });
    }

    fn read_tracks(&mut self, bytes: &mut Bytes<'_>, tracks: Element) {
        each(bytes, tracks, |bytes, item| {
            if item.id == ID_TRACK_ENTRY && self.tracks.len() < TRACKS_MAX {
                self.tracks.push(Track::read(bytes, item));
            }
        });
    }
}

impl Track {
    fn read(bytes: &mut Bytes<'_>, entry: Element) -> Self {
        let mut track = Self { codec: "mkv_unknown", ..Self::default() };
        let mut acm = None;
        each(bytes, entry, |bytes, item| match item.id {
            ID_TRACK_TYPE => track.kind = unsigned(bytes, item).unwrap_or(0),
            ID_CODEC => track.codec = codec(bytes, item),
            ID_CODEC_PRIVATE => acm = WaveFormat::at(bytes, item.body, 0),
            ID_SOUND => track.read_sound(bytes, item),
            ID_PICTURE => track.read_picture(bytes, item),
            _ => {}
        });
        if track.codec == CODEC_ACM
            && let Some(format) = acm
        {
            track.codec = format.codec();
            track.channels = format.channels;
            track.sample_rate_hz = format.sample_rate_hz;
        }
        if track.codec == "opus" {
            track.sample_rate_hz = 48_000; // the one it decodes to; writers put the input's here
        }
        track
    }

    fn read_sound(&mut self, bytes: &mut Bytes<'_>, sound: Element) {
        (self.channels, self.sample_rate_hz) = (1, 8_000); // what the format says if it is silent
        each(bytes, sound, |bytes, item| match item.id {
            ID_RATE => self.sample_rate_hz = float(bytes, item).unwrap_or(0.0) as u32,
            ID_CHANNELS => self.channels = unsigned(bytes, item).unwrap_or(0) as u16,
            _ => {}
        });
    }

    fn read_picture(&mut self, bytes: &mut Bytes<'_>, picture: Element) {
        each(bytes, picture, |bytes, item| match item.id {
            ID_WIDTH => self.width = unsigned(bytes, item).unwrap_or(0) as u32,
            ID_HEIGHT => self.height = unsigned(bytes, item).unwrap_or(0) as u32,
            _ => {}
        });
    }
}

fn each(bytes: &mut Bytes<'_>, parent: Element, mut visit: impl FnMut(&mut Bytes<'_>, Element)) {
    let mut at = parent.body;
    while let Some(end) = parent.end
        && at < end
        && let Some(item) = element(bytes, at)
    {
        visit(bytes, item);
        let Some(next) = item.end else { return };
        at = next;
    }
}

fn element(bytes: &mut Bytes<'_>, at: u64) -> Option<Element> {
    let id_width = u64::from(bytes.u8(at)?.leading_zeros()) + 1;
    let mut id = 0;
    for offset in 0..id_width {
        id = id << 8 | u32::from(bytes.u8(at + offset)?);
    }
    let (size, size_width) = number(bytes, at + id_width).filter(|_| id_width <= 4)?;
    let body = at + id_width + size_width;
    let end = match size {
        None => None,
        Some(size) => Some(body.checked_add(size)?),
    };
    Some(Element { id, body, end })
}

/// A number of variable width, and that width; all ones mean unknown.
fn number(bytes: &mut Bytes<'_>, at: u64) -> Option<(Option<u64>, u64)> {
    let first = bytes.u8(at)?;
    let width = u64::from(first.leading_zeros()) + 1;
    if width > 8 {
        return None;
    }
    let mut value = u64::from(first) & (0x7f >> (width - 1));
    for offset in 1..width {
        value = value << 8 | u64::from(bytes.u8(at + offset)?);
    }
    let unknown = (1 << (7 * width)) - 1;
    Some(((value != unknown).then_some(value), width))
}

fn unsigned(bytes: &mut Bytes<'_>, item: Element) -> Option<u64> {
    let size = item.end?.checked_sub(item.body).filter(|size| *size <= 8)?;
    let mut value = 0;
    for offset in 0..size {
        value = value << 8 | u64::from(bytes.u8(item.body + offset)?);
    }
    Some(value)
}

fn float(bytes: &mut Bytes<'_>, item: Element) -> Option<f64> {
    match item.end?.checked_sub(item.body)? {
        4 => Some(f32::from_be_bytes(bytes.array(item.body)?).into()),
        8 => Some(f64::from_be_bytes(bytes.array(item.body)?)),
        _ => None,
    }
}

/// Where the last cluster begins, if it lies in the tail: finding it there instead of walking to
/// it keeps an hour of browser recording within a few megabytes of reading.
fn last_cluster(bytes: &mut Bytes<'_>) -> Option<u64> {
    let (tail_at, plaintext) = bytes.plaintext_tail(TAIL_BYTES)?;
    let id = ID_CLUSTER.to_be_bytes();
    let candidates = plaintext.windows(4).enumerate().rev().filter(|(_, window)| **window == id);
    let mut starts = candidates.map(|(offset, _)| tail_at + offset as u64);
    starts.find(|at| {
        let first = element(bytes, *at).and_then(|cluster| element(bytes, cluster.body));
        first.is_some_and(|first| first.id == ID_TIMECODE)
    })
}

fn doc_type(bytes: &mut Bytes<'_>, ebml: Element) -> &'static str {
    let mut name = "mkv";
    each(bytes, ebml, |bytes, item| {
        if item.id == ID_DOC_TYPE && bytes.array(item.body) == Some(*b"webm") {
            name = "webm";
        }
    });
    name
}

fn codec(bytes: &mut Bytes<'_>, item: Element) -> &'static str {
    let mut name = [0; 16];
    let len = item.end.map_or(0, |end| end.saturating_sub(item.body)).min(16);
    for offset in 0..len {
        name[offset as usize] = bytes.u8(item.body + offset).unwrap_or(0);
    }
    let known = |(prefix, _): &&(&[u8], &str)| name.starts_with(prefix);
    CODECS.iter().find(known).map_or("mkv_unknown", |(_, name)| name)
}

/// By the beginning of the codec id.
const CODECS: &[(&[u8], &str)] = &[
    (b"A_OPUS", "opus"),
    (b"A_VORBIS", "vorbis"),
    (b"A_AAC", "aac"),
    (b"A_MPEG/L3", "mp3"),
    (b"A_FLAC", "flac"),
    (b"A_ALAC", "alac"),
    (b"A_AC3", "ac3"),
    (b"A_PCM/INT/LIT", "pcm_s16le"),
    (b"A_PCM/INT/BIG", "pcm_s16be"),
    (b"A_PCM/FLOAT", "pcm_f32le"),
    (b"A_MS/ACM", CODEC_ACM),
    (b"V_MPEG4/ISO/AVC", "h264"),
    (b"V_MPEGH/ISO/HEVC", "hevc"),
    (b"V_VP8", "vp8"),
    (b"V_VP9", "vp9"),
    (b"V_AV1", "av1"),
    (b"V_MPEG4", "mpeg4"),
    (b"V_MJPEG", "mjpeg"),
];

/// The private data of such a track is a `WAVEFORMATEX` that says what it really is.
const CODEC_ACM: &str = "acm";

const KIND_PICTURE: u64 = 1;
const KIND_SOUND: u64 = 2;
const TRACKS_MAX: usize = 32;

/// Some seconds of high-quality video: a cluster is five seconds at most.
const TAIL_BYTES: usize = 4 << 20;

const ID_EBML: u32 = 0x1a45_dfa3;
const ID_DOC_TYPE: u32 = 0x4282;
const ID_SEGMENT: u32 = 0x1853_8067;
const ID_INFO: u32 = 0x1549_a966;
const ID_TIMECODE_SCALE: u32 = 0x2a_d7b1;
const ID_DURATION: u32 = 0x4489;
const ID_TRACKS: u32 = 0x1654_ae6b;
const ID_TRACK_ENTRY: u32 = 0xae;
const ID_TRACK_TYPE: u32 = 0x83;
const ID_CODEC: u32 = 0x86;
const ID_CODEC_PRIVATE: u32 = 0x63a2;
const ID_SOUND: u32 = 0xe1;
const ID_RATE: u32 = 0xb5;
const ID_CHANNELS: u32 = 0x9f;
const ID_PICTURE: u32 = 0xe0;
const ID_WIDTH: u32 = 0xb0;
const ID_HEIGHT: u32 = 0xba;
const ID_CLUSTER: u32 = 0x1f43_b675;
const ID_TIMECODE: u32 = 0xe7;
const ID_SIMPLE_BLOCK: u32 = 0xa3;
const ID_BLOCK_GROUP: u32 = 0xa0;
const ID_BLOCK: u32 = 0xa1;
