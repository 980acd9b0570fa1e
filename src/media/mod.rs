//! Media by its content: which container and codec, how long, how many channels, what is broken.
//!
//! ```text
//! Source ── Bytes (bounded) ── READERS: riff · isobmff · matroska · … · raw ── MediaInfo
//! ```
//!
//! Every reader is ours, walks headers only and answers `None` for what is not its own, so the
//! first one that answers wins. Probing runs no decoder and no one else's parser: all that a
//! stranger's file can reach by lying in a watched folder is these readers.
//!
//! Start reading at [`probe`], then any reader; `riff` is the most thorough one.
//!
//! # Invariants
//!
//! - Probing informs and never blocks: it cannot fail and does not panic, and a file that
//!   nobody recognises is sealed all the same.
//! - Bounded work: `Bytes` reads at most 32 MiB from one source, and no allocation is sized by a
//!   number from the file.
//! - No paths: whoever probes opens the source; all that is known of its name is [`Hint`].
//! - `duration_ms` is what the bytes really there allow: counted, but for a cut plain MP4 or AVI
//!   estimated from the share of the bytes that is left.

mod aiff;
mod bytes;
mod decode;
mod flac;
mod flv_avi;
mod gsm;
mod isobmff;
mod matroska;
mod mpeg;
mod mpegts;
mod ogg;
mod packets;
mod pcm;
mod peaks;
mod raw;
pub mod redact;
mod riff;
mod samples;
#[cfg(test)]
mod testing;

pub use decode::DecodedWav;
pub use peaks::peaks;

use std::io::{Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::domain::Damage;
use crate::domain::MediaInfo;

use bytes::Bytes;

/// What the parsers read from: a file or a decrypting reader.
pub trait Source: Read + Seek + Send + Sync {}

impl<T: Read + Seek + Send + Sync> Source for T {}

/// What the file name says, for the few formats whose content says nothing.
#[derive(Clone, Copy, Debug)]
pub struct Hint<'a> {
    /// Extension in lower case without its dot; empty if there is none.
    pub extension: &'a str,
}

/// Where samples lie that need no demuxer: the WAV family and raw formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Samples {
    /// How a sample is written.
    pub codec: SampleCodec,
    /// Interleaved channels, at least 1.
    pub channels: u16,
    /// Frames per second, at least 1.
    pub sample_rate_hz: u32,
    /// Bytes of one block of all channels, at least 1: a PCM frame, 33 for GSM, 65 for wav49.
    pub block_bytes: u32,
    /// Frames in one block, at least 1: 1 for PCM, 160 for GSM, 320 for wav49.
    pub frames_per_block: u32,
    /// Where the first block begins.
    pub data_at: u64,
    /// Bytes of blocks, as far as they are really there; the last block may be cut.
    pub data_bytes: u64,
}

/// Sample codings that can be found by arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleCodec {
    /// Unsigned 8 bit.
    PcmU8,
    /// Signed 16 bit, little endian.
    PcmS16Le,
    /// Signed 16 bit, big endian.
    PcmS16Be,
    /// Signed 24 bit, little endian.
    PcmS24Le,
    /// Signed 32 bit, little endian.
    PcmS32Le,
    /// 32-bit float, little endian.
    PcmF32Le,
    /// 64-bit float, little endian.
    PcmF64Le,
    /// G.711 mu-law.
    MuLaw,
    /// G.711 A-law.
    ALaw,
    /// GSM 06.10 full rate in 33-byte frames.
    Gsm,
    /// The same in Microsoft's blocks of two frames, 65 bytes ("wav49").
    GsmMs,
}

/// Recognises `source` by its content and measures it from its headers.
///
/// Blocks for at most 32 MiB of reading, usually for a few kilobytes. An
/// unreadable source counts as one that ends early. `container` is `unknown` if no reader takes
/// it; it is then called corrupt if its name promised a format that has a signature.
pub fn probe(source: &mut dyn Source, hint: Hint<'_>) -> MediaInfo {
    // A panic would come back with every retry and keep the recording from being sealed.
    catch_unwind(AssertUnwindSafe(|| read(source, hint)))
        .unwrap_or_else(|_| found("unknown", Some(Damage::Corrupt)))
}

/// Where the samples lie, if they can be found without a demuxer. Costs what [`probe`] costs.
pub fn samples(source: &mut dyn Source, hint: Hint<'_>) -> Option<Samples> {
    let bytes = &mut Bytes::new(source)?;
    match READERS.iter().find_map(|reader| reader(bytes, hint))?.container.as_str() {
        "wav" | "rf64" | "w64" => riff::samples(bytes),
        "raw" => raw::samples(bytes, hint),
        _ => None,
    }
}

/// The media type to serve the original bytes as.
pub fn content_type(info: &MediaInfo) -> &'static str {
    let has_picture = info.width.is_some();
    match info.container.as_str() {
        "wav" | "rf64" => "audio/wav",
        "mp3" => "audio/mpeg",
        "aac" => "audio/aac",
        "ogg" if has_picture => "video/ogg",
        "ogg" => "audio/ogg",
        "flac" => "audio/flac",
        "aiff" => "audio/aiff",
        "au" => "audio/basic",
        "caf" => "audio/x-caf",
        "w64" => "audio/x-w64",
        "mp4" | "3gp" if !has_picture && info.codec.is_some() => "audio/mp4",
        "mp4" => "video/mp4",
        "3gp" => "video/3gpp",
        "mov" => "video/quicktime",
        "webm" if !has_picture && info.codec.is_some() => "audio/webm",
        "webm" => "video/webm",
        "mkv" if !has_picture && info.codec.is_some() => "audio/x-matroska",
        "mkv" => "video/x-matroska",
        "flv" => "video/x-flv",
        "avi" => "video/x-msvideo",
        "mpegts" => "video/mp2t",
        _ => "application/octet-stream",
    }
}

/// True if a common browser plays the original bytes; anything else is decoded or downloaded.
/// Tried with Chromium, container by container and codec by codec.
pub fn browser_plays(info: &MediaInfo) -> bool {
    let codec = info.codec.as_deref().unwrap_or("");
    let has_web_codec = matches!(
        codec,
        "aac" | "mp3" | "opus" | "vorbis" | "flac" | "h264" | "vp8" | "vp9" | "av1"
    );
    match info.container.as_str() {
        "wav" | "rf64" => codec.starts_with("pcm_") && codec != "pcm_s16be" || codec == "mp3",
        "mp3" | "aac" | "flac" => true,
        "ogg" => matches!(codec, "vorbis" | "opus" | "flac"),
        "mp4" | "mov" | "3gp" | "webm" => has_web_codec,
        "mkv" => has_web_codec || codec.starts_with("pcm_"),
        _ => false,
    }
}

/// One family of containers: measures what is its own, `None` for everything else.
type Reader = fn(&mut Bytes<'_>, Hint<'_>) -> Option<MediaInfo>;

/// Every family, in the order they are asked: signatures first, then the weak sync words of
/// MPEG, at last the name. To add one: a file here, a line below, fixtures in `media-fixtures/`.
const READERS: &[Reader] = &[
    riff::read,
    isobmff::read,
    matroska::read,
    ogg::read,
    flac::read,
    aiff::read,
    flv_avi::read,
    mpegts::read,
    mpeg::read,
    raw::read,
];

fn read(source: &mut dyn Source, hint: Hint<'_>) -> MediaInfo {
    let Some(mut bytes) = Bytes::new(source) else {
        return found("unknown", None);
    };
    if bytes.len() == 0 {
        return found("unknown", Some(Damage::Empty));
    }
    let Some(mut info) = READERS.iter().find_map(|reader| reader(&mut bytes, hint)) else {
        let broke_its_promise = SIGNED_EXTENSIONS.contains(&hint.extension);
        return found("unknown", broke_its_promise.then_some(Damage::Corrupt));
    };
    // A zero in a header means that its writer did not know.
    info.channels = info.channels.filter(|n| *n > 0);
    info.sample_rate_hz = info.sample_rate_hz.filter(|n| *n > 0);
    info.width = info.width.filter(|n| *n > 0);
    info.height = info.height.filter(|n| *n > 0);
    info
}

/// The beginning of an answer: the container and what is wrong with it.
fn found(container: &str, damage: Option<Damage>) -> MediaInfo {
    MediaInfo { container: container.into(), damage, ..MediaInfo::default() }
}

/// `units` of which there are `per_second`, in whole milliseconds.
fn to_ms(units: u64, per_second: u64) -> Option<u64> {
    let ms = (u128::from(units) * 1_000).checked_div(u128::from(per_second))?;
    u64::try_from(ms).ok().filter(|ms| *ms < DURATION_MS_MAX)
}

/// Ten years. A longer recording is a broken number.
const DURATION_MS_MAX: u64 = 10 * 366 * 86_400_000;

/// Names of formats that begin with a signature: without it the content is not what it says.
const SIGNED_EXTENSIONS: &[&str] = &[
    "wav", "wave", "wav49", "rf64", "w64", "mp3", "mp4", "m4a", "m4v", "mov", "3gp", "mkv", "mka",
    "webm", "ogg", "oga", "ogv", "opus", "spx", "flac", "aif", "aiff", "aifc", "caf", "au", "avi",
    "flv", "ts", "aac", "gsm",
];

#[cfg(test)]
mod tests;
