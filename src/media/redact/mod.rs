//! Redaction: the same recording without what was said or shown in some stretches of it.
//!
//! ```text
//!                     ┌─ exact    PCM and G.711 in WAV, RF64 or raw: sample by sample, here
//! Redaction ─▶ Plan ──┼─ decoded  other sound that is decoded here: written as 16-bit WAV
//!                     └─ ffmpeg   the rest, encoded anew by a confined child process
//! ```
//!
//! Start reading at [`plan`], then `wave` for the exact way and `recipe` for the other one.
//!
//! # Invariants
//!
//! - Plaintext goes through pipes, memory and the caller's writer, never through a file.
//! - Only samples come out: chunks, tags, pictures, subtitles and attachments are left behind,
//!   because any of them may repeat what was said.
//! - Outside of its stretches an exact redaction changes no bit of a sample. The others encode
//!   anew, and take [`GUARD_MS`] more on either side: their clocks are not exact to the sample.
//! - What cannot be redacted as asked for is refused before anything is written.

mod child;
pub mod ffmpeg;
mod listen;
mod recipe;
mod stretch;
mod tone;
mod wave;

#[cfg(test)]
mod testing;

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::{DecodedWav, Hint, SampleCodec, Source};
use crate::domain::{Damage, MediaInfo};

use ffmpeg::Ffmpeg;
pub use stretch::{Fill, Parts, Redaction, STRETCHES_MAX, Stretch};

/// Opens the recording anew, at its beginning.
pub type Opener<'a> = &'a dyn Fn() -> io::Result<Box<dyn Source>>;

/// Hears of how much is done, out of how much.
pub type Watch<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// How a recording will be redacted: checked, and nothing done yet.
#[derive(Debug)]
pub struct Plan {
    /// What will be redacted, clipped to the length of the recording.
    pub redaction: Redaction,
    /// What the recording is.
    pub info: MediaInfo,
    /// The suffix of the result's name, without its dot; `None` keeps that of the original.
    pub extension: Option<&'static str>,
    /// About how long the result will be; exact unless it is encoded anew.
    pub expected_bytes: u64,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Exact(Box<wave::Exact>),
    Decoded(Box<wave::Exact>),
    Encoded(Box<recipe::Recipe>),
}

impl Plan {
    /// True if every sample outside of the stretches stays what it is, bit by bit.
    pub fn is_exact(&self) -> bool {
        matches!(self.way, Way::Exact(_))
    }

    fn is_encoded(&self) -> bool {
        matches!(self.way, Way::Encoded(_))
    }

    /// The word for how it is done: `exact`, `decoded` or `encoded`.
    pub fn way(&self) -> &'static str {
        match self.way {
            Way::Exact(_) => "exact",
            Way::Decoded(_) => "decoded",
            Way::Encoded(_) => "encoded",
        }
    }

    /// Writes the redacted recording to `out`, from its first byte to its last. Blocks.
    ///
    /// # Errors
    ///
    /// [`RedactError`]; what was written then is of no use and may hold unredacted sound: throw
    /// it away.
    pub fn run(
        &self,
        open: Opener<'_>,
        hint: Hint<'_>,
        ffmpeg: Option<&Ffmpeg>,
        out: &mut dyn Write,
        watch: Watch<'_>,
    ) -> Result<(), RedactError> {
        let mut source = open().map_err(RedactError::Read)?;
        match &self.way {
            Way::Exact(exact) => exact.run(&self.redaction, &mut *source, out, watch),
            Way::Decoded(exact) => {
                let mut decoded = Decoded::open(source, hint).ok_or_else(|| self.unsupported())?;
                exact.run(&self.redaction, &mut decoded, out, watch)
            }
            Way::Encoded(recipe) => {
                let ffmpeg = ffmpeg.ok_or(RedactError::NoFfmpeg)?;
                recipe.run(ffmpeg, &mut *source, out, watch)
            }
        }
    }

    /// Says whether the result, probed again, is what was to be made: a whole recording of the
    /// planned kind and of the same length. Returns what it is.
    ///
    /// # Errors
    ///
    /// [`RedactError::BadResult`].
    pub fn check(&self, mut result: MediaInfo) -> Result<MediaInfo, RedactError> {
        let bad = |why| Err(RedactError::BadResult { why });
        if let Way::Encoded(recipe) = &self.way {
            if recipe.container() != result.container {
                return bad("it is not of the kind that was asked for");
            }
            // As every file of this kind that was written to a pipe. That this one came to its end
            // says the program's exit, and the length below.
            let is_streamed = matches!(result.container.as_str(), "mkv" | "webm");
            result.damage = result.damage.filter(|d| !is_streamed || *d != Damage::Unfinished);
        }
        if result.damage.is_some() {
            return bad("it is damaged");
        }
        if result.width.is_some() != self.info.width.is_some() {
            return bad("it has lost its picture or its sound");
        }
        match (self.info.duration_ms, result.duration_ms) {
            // Encoders pad the ends; more than that is a recording that broke off.
            (Some(before), Some(after))
                if before.abs_diff(after) <= DRIFT_MS + before / DRIFT_PARTS =>
            {
                Ok(result)
            }
            (None, Some(_)) => Ok(result),
            (Some(_) | None, _) => bad("its length is not that of the original"),
        }
    }

    fn unsupported(&self) -> RedactError {
        unsupported(&self.info)
    }
}

/// Finds out how `redaction` of a recording can be done.
///
/// Reads headers; where sound has to be decoded by a demuxer, all of it. With `ffmpeg` it may be
/// asked what it sees, which takes some hundredths of a second.
///
/// # Errors
///
/// [`RedactError`] that says what is not possible and why. Nothing was written.
pub fn plan(
    open: Opener<'_>,
    hint: Hint<'_>,
    redaction: &Redaction,
    ffmpeg: Option<&Ffmpeg>,
) -> Result<Plan, RedactError> {
    let mut source = open().map_err(RedactError::Read)?;
    let info = super::probe(&mut *source, hint);
    if info.damage == Some(Damage::Empty) || info.damage == Some(Damage::Corrupt) {
        return Err(unsupported(&info));
    }
    if let Some(exact) = wave::Exact::of(&mut *source, hint, &info) {
        let redaction = exact.clip(redaction)?;
        let expected_bytes = exact.len_bytes();
        let extension = (info.container == "w64").then_some("wav");
        let way = Way::Exact(Box::new(exact));
        return Ok(Plan { redaction, info, extension, expected_bytes, way });
    }
    let is_for_us =
        matches!(info.container.as_str(), "wav" | "rf64" | "w64" | "raw" | "aiff" | "au" | "caf");
    if is_for_us && let Some(mut decoded) = Decoded::open(source, hint) {
        let wav = super::probe(&mut decoded, WAV);
        if let Some(exact) = wave::Exact::of(&mut decoded, WAV, &wav) {
            let redaction = exact.clip(redaction)?;
            let expected_bytes = exact.len_bytes();
            let way = Way::Decoded(Box::new(exact));
            return Ok(Plan { redaction, info, extension: Some("wav"), expected_bytes, way });
        }
    }
    let ffmpeg = ffmpeg.ok_or(RedactError::NoFfmpeg)?;
    let mut source = open().map_err(RedactError::Read)?;
    let expected_bytes = source.seek(SeekFrom::End(0)).map_err(RedactError::Read)?;
    let duration_ms = info.duration_ms.ok_or(RedactError::NoLength)?;
    let redaction = redaction.clipped_to(duration_ms)?;
    let recipe = recipe::Recipe::of(&mut *source, &info, &redaction, ffmpeg)?;
    let extension = recipe.extension(&info);
    Ok(Plan { redaction, info, extension, expected_bytes, way: Way::Encoded(Box::new(recipe)) })
}

/// Why a recording was not redacted. No text here says anything about its content.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// No stretch at all.
    #[error("no stretch of time is named")]
    NoStretch,
    /// A stretch without a length, or backwards.
    #[error("the stretch from {from_ms} ms to {to_ms} ms is empty")]
    EmptyStretch {
        /// Its beginning.
        from_ms: u64,
        /// Its end.
        to_ms: u64,
    },
    /// A stretch that begins where the recording has ended.
    #[error("the stretch from {from_ms} ms begins behind the end, at {duration_ms} ms")]
    BeyondEnd {
        /// Its beginning.
        from_ms: u64,
        /// Where the recording ends.
        duration_ms: u64,
    },
    /// More stretches than anybody names by hand.
    #[error("more than {max} stretches")]
    TooManyStretches {
        /// The limit.
        max: usize,
    },
    /// A channel that the recording does not have.
    #[error("there is no channel {channel}: the recording has {channels}")]
    NoSuchChannel {
        /// Which one, counted from 1.
        channel: u16,
        /// How many there are.
        channels: u16,
    },
    /// Channels cannot be told apart where there are several sound tracks.
    #[error("the recording has {tracks} sound tracks, so no single channel can be chosen")]
    SeveralTracks {
        /// How many.
        tracks: usize,
    },
    /// There is no picture to blank, or no sound to mute.
    #[error("the recording has no {what}")]
    NoSuchPart {
        /// `picture` or `sound`.
        what: &'static str,
    },
    /// Nobody knows how long it is, so a stretch cannot be checked.
    #[error("the length of the recording is not known")]
    NoLength,
    /// Nothing here can write such a recording.
    #[error("recordings of kind {container}/{codec} cannot be redacted")]
    Unsupported {
        /// The container.
        container: String,
        /// The codec.
        codec: String,
    },
    /// It takes ffmpeg, and there is none.
    #[error("redacting this kind of recording takes ffmpeg, and this host has none")]
    NoFfmpeg,
    /// It has to be held in memory, and is too long for that.
    #[error("the recording has {bytes} bytes, and at most {max_bytes} are held in memory")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// ffmpeg was not started, did not end well, or was ended.
    #[error("ffmpeg {why}")]
    Ffmpeg {
        /// What happened. Its own words are never repeated: they may be about a person.
        why: String,
    },
    /// It ended well and wrote something else than was asked for.
    #[error("the redacted recording is not good: {why}")]
    BadResult {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The recording could not be read.
    #[error("reading the recording")]
    Read(#[source] io::Error),
    /// The result could not be written.
    #[error("writing the redacted recording")]
    Write(#[source] io::Error),
}

impl RedactError {
    /// True if another request, or another configuration, is what it takes; false if something
    /// went wrong that may go well the next time.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NoStretch
            | Self::EmptyStretch { .. }
            | Self::BeyondEnd { .. }
            | Self::TooManyStretches { .. }
            | Self::NoSuchChannel { .. }
            | Self::SeveralTracks { .. }
            | Self::NoSuchPart { .. }
            | Self::NoLength
            | Self::Unsupported { .. }
            | Self::NoFfmpeg
            | Self::TooLarge { .. } => true,
            Self::Ffmpeg { .. } | Self::BadResult { .. } | Self::Read(_) | Self::Write(_) => false,
        }
    }
}

fn unsupported(info: &MediaInfo) -> RedactError {
    let codec = info.codec.clone().unwrap_or_else(|| "unknown".to_owned());
    RedactError::Unsupported { container: info.container.clone(), codec }
}

/// A decoded WAV with a position.
struct Decoded {
    wav: DecodedWav,
    position: u64,
}

impl Decoded {
    fn open(source: Box<dyn Source>, hint: Hint<'_>) -> Option<Self> {
        Some(Self { wav: DecodedWav::open(source, hint)?, position: 0 })
    }
}

impl Read for Decoded {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.wav.read_at(buf, self.position)?;
        self.position += len as u64;
        Ok(len)
    }
}

impl Seek for Decoded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(delta) => self.wav.len_bytes().checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// What an encoding anew takes more on either side of a stretch.
pub const GUARD_MS: u64 = 50;

const WAV: Hint<'_> = Hint { extension: "wav" };
/// What encoders add at the ends, and a picture's last frame.
const DRIFT_MS: u64 = 500;
/// And one part in so many, for clocks that drift.
const DRIFT_PARTS: u64 = 100;
