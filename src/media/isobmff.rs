//! MP4 and its kin (MOV, 3GP, M4A), plain and fragmented.
//!
//! ```text
//! plain       ftyp │ mdat samples… │ moov ( mvhd, trak ( mdia ( mdhd, minf ( stbl ( stsd )))))
//! fragmented  ftyp │ moov ( …, mvex ) │ moof ( traf ( tfhd, tfdt, trun ) ) mdat │ moof … │ …
//! ```
//!
//! Boxes nest; each is 4 bytes of size, 4 of type and a body. A plain file without `moov` was
//! never finished. In a fragmented one the last `moof` tells how long it is.

use super::Hint;
use super::bytes::Bytes;
use super::{found, to_ms};
use crate::domain::Damage;
use crate::domain::MediaInfo;

/// Measures an MP4 file. Costs a few bytes per top-level box and the headers of each `moof`.
pub(super) fn read(bytes: &mut Bytes<'_>, _: Hint<'_>) -> Option<MediaInfo> {
    let first: [u8; 4] = bytes.array(4)?;
    let size = bytes.u32_be(0)?;
    if !FIRST_BOXES.contains(&&first) || !matches!(size, 0 | 1 | 8..) {
        return None;
    }
    let mut movie = Movie::default();
    let mut info = found("mp4", None);
    let mut at = 0;
    while let Some(item) = next_box(bytes, at, u64::MAX) {
        match &item.kind {
            b"ftyp" => info.container = brand(bytes, item).into(),
            b"moov" => movie.read_header(bytes, item),
            b"moof" => movie.add_fragment(bytes, item),
            b"mdat" => {
                movie.media_bytes += item.end - item.body;
                let there = bytes.len().min(item.end).saturating_sub(item.body);
                movie.media_bytes_there += there;
                if item.end <= bytes.len() {
                    movie.keep_fragment();
                }
            }
            _ => {}
        }
        movie.is_cut |= item.end > bytes.len();
        at = item.end;
    }
    // A few bytes that are no whole box: the next one was just being written.
    movie.is_cut |= at < bytes.len();
    info.damage = movie.damage();
    info.duration_ms = movie.duration_ms();
    if let Some(sound) = movie.tracks.iter().find(|track| track.handler == *b"soun") {
        info.codec = Some(sound.codec.into());
        info.channels = sound.channels;
        info.sample_rate_hz = sound.sample_rate_hz;
    }
    if let Some(picture) = movie.tracks.iter().find(|track| track.handler == *b"vide") {
        info.codec.get_or_insert_with(|| picture.codec.into());
        info.width = picture.width;
        info.height = picture.height;
    }
    Some(info)
}

/// One box: its type and where its body lies.
#[derive(Clone, Copy)]
struct Item {
    kind: [u8; 4],
    body: u64,
    end: u64,
}

#[derive(Default)]
struct Movie {
    has_header: bool,
    is_fragmented: bool,
    is_cut: bool,
    duration_ms: Option<u64>,
    tracks: Vec<Track>,
    media_bytes: u64,
    media_bytes_there: u64,
}

#[derive(Default)]
struct Track {
    id: u32,
    handler: [u8; 4],
    timescale: u64,
    /// In timescale units: of the header, then as far as the fragments reach.
    duration: u64,
    /// The same with the last `moof`, whose samples come behind it and may be cut.
    fragment_until: u64,
    default_sample_duration: u64,
    codec: &'static str,
    channels: Option<u16>,
    sample_rate_hz: Option<u32>,
    width: Option<u32>,
    height: Option<u32>,
}

impl Movie {
    fn damage(&self) -> Option<Damage> {
        match () {
            () if !self.has_header => Some(Damage::Unfinished),
            () if self.is_cut => Some(Damage::Truncated),
            () if self.tracks.is_empty() => Some(Damage::Corrupt),
            () => None,
        }
    }

    /// What the header says, or how far the fragments reach; of a cut plain file the share of
    /// its samples that is there, because interleaving keeps the two in step.
    fn duration_ms(&self) -> Option<u64> {
        let by_track =
            || self.tracks.iter().filter_map(|track| to_ms(track.duration, track.timescale)).max();
        let whole = match self.duration_ms {
            Some(ms) if ms > 0 && !self.is_fragmented => ms,
            _ => by_track().filter(|ms| *ms > 0)?,
        };
        if !self.is_cut || self.is_fragmented {
            return Some(whole);
        }
        let share = u128::from(whole) * u128::from(self.media_bytes_there);
        u64::try_from(share.checked_div(u128::from(self.media_bytes))?).ok()
    }

    fn read_header(&mut self, bytes: &mut Bytes<'_>, moov: Item) {
        let mut at = moov.body;
        while let Some(item) = next_box(bytes, at, moov.end) {
            match &item.kind {
                b"mvhd" => {
                    self.has_header = true;
                    self.duration_ms = times(bytes, item).and_then(|(n, scale)| to_ms(n, scale));
                }
                b"trak" if self.tracks.len() < TRACKS_MAX => {
                    self.tracks.extend(Track::read(bytes, item));
                }
                b"mvex" => {
                    self.is_fragmented = true;
                    self.read_defaults(bytes, item);
                }
                _ => {}
            }
            at = item.end;
        }
    }

    /// `trex`: how long a sample of a track is unless its fragment says otherwise.
    fn read_defaults(&mut self, bytes: &mut Bytes<'_>, mvex: Item) {
        let mut at = mvex.body;
        while let Some(item) = next_box(bytes, at, mvex.end) {
            if item.kind == *b"trex"
                && let Some(id) = bytes.u32_be(item.body + 4)
                && let Some(track) = self.tracks.iter_mut().find(|track| track.id == id)
            {
                track.default_sample_duration = bytes.u32_be(item.body + 12).unwrap_or(0).into();
            }
            at = item.end;
        }
    }

    fn add_fragment(&mut self, bytes: &mut Bytes<'_>, moof: Item) {
        let mut at = moof.body;
        while let Some(traf) = next_box(bytes, at, moof.end) {
            if traf.kind == *b"traf" {
                self.add_track_fragment(bytes, traf);
            }
            at = traf.end;
        }
    }

    fn keep_fragment(&mut self) {
        for track in &mut self.tracks {
            track.duration = track.duration.max(track.fragment_until);
        }
    }

    fn add_track_fragment(&mut self, bytes: &mut Bytes<'_>, traf: Item) -> Option<()> {
        let tfhd = find(bytes, traf, b"tfhd")?;
        let flags = bytes.u32_be(tfhd.body)?;
        let id = bytes.u32_be(tfhd.body + 4)?;
        let track = self.tracks.iter_mut().find(|track| track.id == id)?;
        let mut sample_duration = track.default_sample_duration;
        if flags & TFHD_HAS_DURATION != 0 {
            let before = 8 * u64::from(flags & 1) + 4 * u64::from(flags >> 1 & 1);
            sample_duration = bytes.u32_be(tfhd.body + 8 + before)?.into();
        }
        let mut until = track.duration;
        if let Some(tfdt) = find(bytes, traf, b"tfdt") {
            until = match bytes.u8(tfdt.body)? {
                0 => bytes.u32_be(tfdt.body + 4)?.into(),
                _ => bytes.u64_be(tfdt.body + 4)?,
            };
        }
        let mut at = traf.body;
        while let Some(item) = next_box(bytes, at, traf.end) {
            if item.kind == *b"trun" {
                until = until.saturating_add(run_duration(bytes, item, sample_duration)?);
            }
            at = item.end;
        }
        track.fragment_until = until;
        Some(())
    }
}

/// The summed durations of one `trun`'s samples.
fn run_duration(bytes: &mut Bytes<'_>, trun: Item, sample_duration: u64) -> Option<u64> {
    let flags = bytes.u32_be(trun.body)?;
    let count = bytes.u32_be(trun.body + 4)?;
    if flags & TRUN_HAS_DURATION == 0 {
        return Some(u64::from(count) * sample_duration);
    }
    let first = trun.body + 8 + 4 * u64::from(flags & 1) + 4 * u64::from(flags >> 2 & 1);
    let stride = 4 * u64::from((flags >> 8 & 0xf).count_ones());
    let fitting = trun.end.checked_sub(first)? / stride;
    let mut sum = 0;
    for sample in 0..u64::from(count).min(fitting) {
        sum += u64::from(bytes.u32_be(first + sample * stride)?);
    }
    Some(sum)
}

impl Track {
    fn read(bytes: &mut Bytes<'_>, trak: Item) -> Option<Self> {
        let tkhd = find(bytes, trak, b"tkhd")?;
        let id_at = if bytes.u8(tkhd.body)? == 0 { 12 } else { 20 };
        let mdia = find(bytes, trak, b"mdia")?;
        let mdhd = find(bytes, mdia, b"mdhd")?;
        let hdlr = find(bytes, mdia, b"hdlr")?;
        let (duration, timescale) = times(bytes, mdhd)?;
        let id = bytes.u32_be(tkhd.body + id_at)?;
        let handler = bytes.array(hdlr.body + 8)?;
        let mut track =
            Self { id, handler, duration, timescale, codec: "mp4_unknown", ..Self::default() };
        track.read_sample_description(bytes, mdia);
        Some(track)
    }

    fn read_sample_description(&mut self, bytes: &mut Bytes<'_>, mdia: Item) -> Option<()> {
        let minf = find(bytes, mdia, b"minf")?;
        let stbl = find(bytes, minf, b"stbl")?;
        let stsd = find(bytes, stbl, b"stsd")?;
        let entry = next_box(bytes, stsd.body + 8, stsd.end)?;
        self.codec = codec(&entry.kind);
        match &self.handler {
            b"soun" => {
                self.channels = Some(bytes.u16_be(entry.body + 16)?);
                let rate = bytes.u32_be(entry.body + 24)? >> 16;
                self.sample_rate_hz = Some(rate);
                if entry.kind == *b"mp4a" {
                    self.read_decoder_config(bytes, entry);
                }
            }
            b"vide" => {
                self.width = Some(bytes.u16_be(entry.body + 24)?.into());
                self.height = Some(bytes.u16_be(entry.body + 26)?.into());
            }
            _ => {}
        }
        Some(())
    }

    /// `mp4a` means AAC unless its `esds` says MPEG-1 or MPEG-2 audio; and the number of channels
    /// beside it is 2 whatever the truth is, which stands in the decoder's configuration.
    fn read_decoder_config(&mut self, bytes: &mut Bytes<'_>, entry: Item) -> Option<()> {
        let esds = find(bytes, Item { body: entry.body + 28, ..entry }, b"esds")?;
        let stream = descriptor(bytes, esds.body + 4, 3)?;
        let decoder = descriptor(bytes, stream + 3, 4)?;
        if matches!(bytes.u8(decoder)?, 0x69 | 0x6b) {
            self.codec = "mp3";
            return Some(());
        }
        let config = descriptor(bytes, decoder + 13, 5)?;
        let channels = bytes.u16_be(config)? >> 3 & 0xf;
        self.channels = Some(channels).filter(|n| *n > 0).or(self.channels);
        Some(())
    }
}

/// Where the contents of the MPEG-4 descriptor `tag` at `at` begin. Its length has 7 bits a byte.
fn descriptor(bytes: &mut Bytes<'_>, at: u64, tag: u8) -> Option<u64> {
    if bytes.u8(at)? != tag {
        return None;
    }
    let mut at = at + 1;
    while bytes.u8(at)? & 0x80 != 0 {
        at += 1;
    }
    Some(at + 1)
}

/// Duration and timescale of an `mvhd` or `mdhd`. All ones mean unknown.
fn times(bytes: &mut Bytes<'_>, item: Item) -> Option<(u64, u64)> {
    if bytes.u8(item.body)? == 0 {
        let duration = bytes.u32_be(item.body + 16)?;
        let known = if duration == u32::MAX { 0 } else { duration };
        Some((known.into(), bytes.u32_be(item.body + 12)?.into()))
    } else {
        let duration = bytes.u64_be(item.body + 24)?;
        let known = if duration == u64::MAX { 0 } else { duration };
        Some((known, bytes.u32_be(item.body + 20)?.into()))
    }
}

/// The box at `at` inside a parent that ends at `end`; one that reaches over its parent is none.
/// At the top, where `end` is `u64::MAX`, a box may reach over the end of the file.
fn next_box(bytes: &mut Bytes<'_>, at: u64, end: u64) -> Option<Item> {
    let kind = bytes.array(at.checked_add(4)?)?;
    let (head, size) = match bytes.u32_be(at)? {
        0 => (8, bytes.len().checked_sub(at)?),
        1 => (16, bytes.u64_be(at.checked_add(8)?)?),
        size => (8, size.into()),
    };
    let item = Item { kind, body: at + head, end: at.checked_add(size)? };
    (size >= head && item.end <= end).then_some(item)
}

fn find(bytes: &mut Bytes<'_>, parent: Item, kind: &[u8; 4]) -> Option<Item> {
    let mut at = parent.body;
    loop {
        let item = next_box(bytes, at, parent.end)?;
        if item.kind == *kind {
            return Some(item);
        }
        at = item.end;
    }
}

fn brand(bytes: &mut Bytes<'_>, ftyp: Item) -> &'static str {
    match bytes.array::<4>(ftyp.body).as_ref() {
        Some(b"qt  ") => "mov",
        Some([b'3', b'g', ..]) => "3gp",
        _ => "mp4",
    }
}

fn codec(kind: &[u8; 4]) -> &'static str {
    match kind {
        b"mp4a" => "aac",
        b"Opus" => "opus",
        b"alac" => "alac",
        b"fLaC" => "flac",
        b".mp3" => "mp3",
        b"ac-3" => "ac3",
        b"samr" => "amr_nb",
        b"sawb" => "amr_wb",
        b"ulaw" => "pcm_mulaw",
        b"alaw" => "pcm_alaw",
        b"sowt" => "pcm_s16le",
        b"twos" => "pcm_s16be",
        b"avc1" | b"avc3" => "h264",
        b"hvc1" | b"hev1" => "hevc",
        b"av01" => "av1",
        b"vp08" => "vp8",
        b"vp09" => "vp9",
        b"mp4v" => "mpeg4",
        b"jpeg" | b"mjpa" => "mjpeg",
        _ => "mp4_unknown",
    }
}

/// What a file of this family may begin with.
const FIRST_BOXES: &[&[u8; 4]] =
    &[b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"moof", b"pnot"];

const TFHD_HAS_DURATION: u32 = 8;
const TRUN_HAS_DURATION: u32 = 0x100;
const TRACKS_MAX: usize = 32;
