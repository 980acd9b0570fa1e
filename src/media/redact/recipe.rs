//! The other way: what ffmpeg is told so that stretches are gone, and nothing else of the file is
//! carried over.
//!
//! Sound is redacted sample by sample in decoded form (`aeval`), because filters that switch on
//! and off do so from one block of samples to the next, and a block can be a tenth of a second.
//! Pictures are first given a steady rate: one that stands still may have begun long before the
//! stretch that it is seen in.

use std::fmt::Write as _;
use std::io::Write;

use super::super::Source;
use super::ffmpeg::{Ffmpeg, Look, Reading, reading_arguments, words};
use super::{Fill, GUARD_MS, Parts, RedactError, Redaction, Stretch, Watch, unsupported};
use crate::domain::MediaInfo;

/// One run of ffmpeg, ready.
#[derive(Debug)]
pub(super) struct Recipe {
    reading: Reading,
    arguments: Vec<String>,
    target: &'static Target,
    duration_ms: u64,
}

/// A container that can be written to a pipe.
#[derive(Debug)]
struct Target {
    /// As probing calls it.
    container: &'static str,
    /// Suffix of a name.
    extension: &'static str,
    /// What ffmpeg is told to write it.
    writing: &'static [&'static str],
    /// Encoders that it takes; the first is taken where the codec of the original has none.
    sounds: &'static [&'static str],
    pictures: &'static [&'static str],
}

impl Recipe {
    /// Finds out what is in `source` and how it is written again.
    pub(super) fn of(
        source: &mut dyn Source,
        info: &MediaInfo,
        redaction: &Redaction,
        ffmpeg: &Ffmpeg,
    ) -> Result<Self, RedactError> {
        let (format, reading) = reading_of(info).ok_or_else(|| unsupported(info))?;
        let target = target_of(&info.container).ok_or_else(|| unsupported(info))?;
        let look = ffmpeg.look(source, format, reading)?;
        let (has_sound, has_picture) = parts_of(&look, info, redaction)?;
        let channels = info.channels.unwrap_or(1);
        let mut arguments = words(&[
            "-hide_banner",
            "-nostdin",
            "-nostats",
            "-loglevel",
            "error",
            "-progress",
            "pipe:2",
            "-stats_period",
            "0.5",
            "-filter_threads",
            "1",
        ]);
        arguments.extend(reading_arguments(format, reading));
        // No tags, no chapters, no subtitles, no data, no attachments, no cover.
        arguments.extend(words(&[
            "-map",
            "0:a?",
            "-map",
            "0:V?",
            "-map_metadata",
            "-1",
            "-map_chapters",
            "-1",
            "-sn",
            "-dn",
        ]));
        let makers = Makers { target, ffmpeg, info };
        arguments
            .extend(makers.sound(&look, has_sound.then(|| sound_filter(redaction, channels)))?);
        arguments.extend(makers.picture(&look, has_picture.then_some(redaction))?);
        arguments.extend(words(&[
            "-fflags",
            "+bitexact",
            "-flags:a",
            "+bitexact",
            "-flags:v",
            "+bitexact",
            "-threads",
            "2",
        ]));
        arguments.extend(words(target.writing));
        arguments.push("pipe:1".to_owned());
        let duration_ms = info.duration_ms.unwrap_or_default();
        Ok(Self { reading, arguments, target, duration_ms })
    }

    /// As probing will call the result.
    pub(super) fn container(&self) -> &'static str {
        self.target.container
    }

    /// The suffix of the result, if it is another kind than `info`.
    pub(super) fn extension(&self, info: &MediaInfo) -> Option<&'static str> {
        (info.container != self.target.container).then_some(self.target.extension)
    }

    /// Writes the redacted recording.
    pub(super) fn run(
        &self,
        ffmpeg: &Ffmpeg,
        source: &mut dyn Source,
        out: &mut dyn Write,
        watch: Watch<'_>,
    ) -> Result<(), RedactError> {
        let total = source.seek(std::io::SeekFrom::End(0)).map_err(RedactError::Read)?;
        let duration_us = u128::from(self.duration_ms.max(1)) * 1_000;
        let mut hear = |line: &str| {
            let micros = line.strip_prefix("out_time_us=").and_then(|text| text.parse().ok());
            if let Some::<u64>(micros) = micros {
                let done = u128::from(total) * u128::from(micros) / duration_us;
                watch(u64::try_from(done).unwrap_or(total).min(total), total);
            }
        };
        ffmpeg.encode(&self.arguments, source, self.reading, out, &mut hear)
    }
}

/// What encoders there are for one recording.
struct Makers<'a> {
    target: &'static Target,
    ffmpeg: &'a Ffmpeg,
    info: &'a MediaInfo,
}

impl Makers<'_> {
    fn sound(&self, look: &Look, filter: Option<String>) -> Result<Vec<String>, RedactError> {
        let Some(filter) = filter else { return Ok(words(&["-c:a", "copy"])) };
        let mut arguments = vec!["-filter:a".to_owned(), filter];
        for (index, codec) in look.sounds.iter().enumerate() {
            let encoder = self.choose(sound_encoder(codec), self.target.sounds)?;
            for (option, value) in sound_quality(&encoder, self.info) {
                arguments.extend([format!("{option}:a:{index}"), value]);
            }
            arguments.extend([format!("-c:a:{index}"), encoder]);
        }
        Ok(arguments)
    }

    fn picture(
        &self,
        look: &Look,
        redaction: Option<&Redaction>,
    ) -> Result<Vec<String>, RedactError> {
        let mut arguments = Vec::new();
        for (index, picture) in look.pictures.iter().enumerate() {
            let Some(redaction) = redaction else {
                arguments.extend([format!("-c:v:{index}"), "copy".to_owned()]);
                if let Some(units) = talking_units(&picture.codec) {
                    let filter = format!("filter_units=remove_types={units}");
                    arguments.extend([format!("-bsf:v:{index}"), filter]);
                }
                continue;
            };
            let encoder = self.choose(picture_encoder(&picture.codec), self.target.pictures)?;
            let filter = picture_filter(redaction, picture.rate);
            arguments.extend([format!("-filter:v:{index}"), filter]);
            for (option, value) in quality(&encoder) {
                arguments.extend([format!("{option}:v:{index}"), (*value).to_owned()]);
            }
            arguments.extend([format!("-c:v:{index}"), encoder]);
        }
        Ok(arguments)
    }

    /// The wanted encoder if container and program have it, else the container's first that the
    /// program has.
    fn choose(&self, wanted: &str, taken: &[&str]) -> Result<String, RedactError> {
        let has = |encoder: &&str| self.ffmpeg.encoders().iter().any(|known| known == encoder);
        let is_pcm = wanted.starts_with("pcm_") && taken.contains(&"pcm_*");
        if (is_pcm || taken.contains(&wanted)) && has(&wanted) {
            return Ok(wanted.to_owned());
        }
        let first = taken.iter().copied().find(has);
        first.map(str::to_owned).ok_or_else(|| unsupported(self.info))
    }
}

/// Whether sound and whether picture is redacted.
fn parts_of(
    look: &Look,
    info: &MediaInfo,
    redaction: &Redaction,
) -> Result<(bool, bool), RedactError> {
    if look.sounds.is_empty() && look.pictures.is_empty() {
        return Err(unsupported(info));
    }
    let has_sound = redaction.parts() != Parts::Picture && !look.sounds.is_empty();
    let has_picture = redaction.parts() != Parts::Sound && !look.pictures.is_empty();
    match redaction.parts() {
        Parts::Sound if !has_sound => return Err(RedactError::NoSuchPart { what: "sound" }),
        Parts::Picture if !has_picture => return Err(RedactError::NoSuchPart { what: "picture" }),
        Parts::All | Parts::Sound | Parts::Picture => {}
    }
    if !redaction.channels().is_empty() {
        if look.sounds.len() > 1 {
            return Err(RedactError::SeveralTracks { tracks: look.sounds.len() });
        }
        redaction.within_channels(info.channels.unwrap_or(1))?;
    }
    Ok((has_sound, has_picture))
}

/// How ffmpeg calls what it is to read, and whether it has to seek in it.
fn reading_of(info: &MediaInfo) -> Option<(&'static str, Reading)> {
    use Reading::{InMemory, Streamed};
    Some(match (info.container.as_str(), info.codec.as_deref()) {
        ("raw", Some("g722")) => ("g722", Streamed),
        ("wav" | "rf64", _) => ("wav", Streamed),
        ("w64", _) => ("w64", Streamed),
        ("aiff", _) => ("aiff", Streamed),
        ("au", _) => ("au", Streamed),
        ("caf", _) => ("caf", InMemory),
        ("mp3", _) => ("mp3", Streamed),
        ("aac", _) => ("aac", Streamed),
        ("ogg", _) => ("ogg", Streamed),
        ("flac", _) => ("flac", Streamed),
        ("mp4" | "mov" | "3gp", _) => ("mov", InMemory),
        ("mkv" | "webm", _) => ("matroska", Streamed),
        ("flv", _) => ("flv", Streamed),
        ("avi", _) => ("avi", InMemory),
        ("mpegts", _) => ("mpegts", Streamed),
        _ => return None,
    })
}

fn target_of(container: &str) -> Option<&'static Target> {
    let name = match container {
        // Their own containers want to be written twice; what is in them fits elsewhere.
        // A FLAC from a pipe does not know how long it is; in Ogg it does.
        "wav" | "rf64" | "w64" | "raw" | "aiff" | "au" | "caf" | "flac" => "ogg",
        "3gp" => "mp4",
        "avi" => "mkv",
        other => other,
    };
    TARGETS.iter().find(|target| target.container == name)
}

fn sound_encoder(codec: &str) -> &str {
    match codec {
        "mp3" => "libmp3lame",
        "opus" => "libopus",
        "vorbis" => "libvorbis",
        "speex" => "libspeex",
        other => other,
    }
}

fn picture_encoder(codec: &str) -> &str {
    match codec {
        "h264" => "libx264",
        "hevc" => "libx265",
        "vp8" => "libvpx",
        "vp9" => "libvpx-vp9",
        "av1" => "libsvtav1",
        "theora" => "libtheora",
        "flv1" => "flv",
        other => other,
    }
}

/// How an encoder of sound is told to lose little: left alone, some take 8 kbit/s for a call.
fn sound_quality(encoder: &str, info: &MediaInfo) -> Vec<(&'static str, String)> {
    let channels = u32::from(info.channels.unwrap_or(1).clamp(1, 8));
    let kilobits = match (encoder, info.sample_rate_hz.unwrap_or(48_000)) {
        // The most that MPEG-2.5, MPEG-2 and MPEG-1 have, or enough.
        ("libmp3lame", ..16_000) => 64,
        ("libmp3lame", 16_000..32_000) => 128,
        ("libmp3lame", 32_000..) => 192,
        ("aac" | "libopus" | "ac3" | "mp2", _) => 96 * channels,
        ("libvorbis" | "libspeex", _) => return vec![("-q", "7".to_owned())],
        _ => return Vec::new(),
    };
    vec![("-b", format!("{kilobits}k"))]
}

/// How an encoder of pictures is told to lose little in bearable time.
fn quality(encoder: &str) -> &'static [(&'static str, &'static str)] {
    match encoder {
        "libx264" | "libx265" => &[("-preset", "veryfast"), ("-crf", "20")],
        "libvpx" | "libvpx-vp9" => {
            &[("-deadline", "realtime"), ("-cpu-used", "5"), ("-crf", "24"), ("-b", "2M")]
        }
        "libsvtav1" => &[("-preset", "8"), ("-crf", "30")],
        _ => &[("-q", "4")],
    }
}

/// The units of a picture's stream that may carry words: captions and whatever an encoder notes.
fn talking_units(codec: &str) -> Option<&'static str> {
    match codec {
        "h264" => Some("6"),
        "hevc" => Some("39-40"),
        "av1" => Some("5"),
        "mpeg2video" => Some("178"),
        _ => None,
    }
}

/// Each sample of a redacted channel that lies in a stretch becomes silence or a tone.
fn sound_filter(redaction: &Redaction, channels: u16) -> String {
    let inside = inside(&redaction.guarded(GUARD_MS));
    let instead = match redaction.fill() {
        Fill::Mute => "0",
        Fill::Beep => "0.2512*sin(2*PI*1000*t)",
    };
    let redacted = format!("if({inside},{instead},val(ch))");
    // The last expression stands for all further channels, too.
    let expressions: Vec<&str> = match redaction.channels() {
        [] => vec![&redacted],
        [..] => (0..channels)
            .map(|channel| match redaction.takes_channel(channel) {
                true => redacted.as_str(),
                false => "val(ch)",
            })
            .collect(),
    };
    format!("aeval=exprs='{}':c=same", expressions.join("|"))
}

/// A steady rate, no captions, and black in each stretch.
fn picture_filter(redaction: &Redaction, rate: Option<u32>) -> String {
    let rate = rate.unwrap_or(RATE_LEAST).clamp(RATE_LEAST, RATE_MOST);
    let inside = inside(&redaction.guarded(GUARD_MS));
    format!(
        "fps={rate},sidedata=mode=delete,\
         drawbox=x=0:y=0:w=iw:h=ih:color=black:t=fill:enable='{inside}'"
    )
}

/// An expression that is not zero inside of the stretches.
fn inside(stretches: &[Stretch]) -> String {
    let mut text = String::new();
    for Stretch { from_ms, to_ms } in stretches {
        let plus = if text.is_empty() { "" } else { "+" };
        let seconds = |ms: &u64| (ms / 1_000, ms % 1_000);
        let ((from, from_rest), (to, to_rest)) = (seconds(from_ms), seconds(to_ms));
        let written = write!(text, "{plus}between(t,{from}.{from_rest:03},{to}.{to_rest:03})");
        written.expect("a string takes everything");
    }
    text
}

/// Below this, a picture lasts longer than the guard.
const RATE_LEAST: u32 = 25;
const RATE_MOST: u32 = 60;

/// The index is written with the first fragment and not before it, so that it can say how much of
/// the sound is the encoder's own beginning; else sound comes late.
const FRAGMENTS: &str = "frag_keyframe+delay_moov+default_base_moof";

const TARGETS: &[Target] = &[
    Target {
        container: "mp3",
        extension: "mp3",
        writing: &["-id3v2_version", "0", "-write_id3v1", "0", "-write_xing", "0", "-f", "mp3"],
        sounds: &["libmp3lame"],
        pictures: &[],
    },
    Target {
        container: "aac",
        extension: "aac",
        writing: &["-f", "adts"],
        sounds: &["aac"],
        pictures: &[],
    },
    Target {
        container: "ogg",
        extension: "ogg",
        writing: &["-f", "ogg"],
        sounds: &["libopus", "libvorbis", "flac", "libspeex"],
        pictures: &["libtheora"],
    },
    Target {
        container: "mp4",
        extension: "mp4",
        writing: &["-strict", "-2", "-movflags", FRAGMENTS, "-f", "mp4"],
        sounds: &["aac", "libmp3lame", "libopus", "alac", "flac", "ac3"],
        pictures: &["libx264", "libx265", "libsvtav1", "libvpx-vp9", "mpeg4"],
    },
    Target {
        container: "mov",
        extension: "mov",
        writing: &["-movflags", FRAGMENTS, "-f", "mov"],
        sounds: &["aac", "alac", "libmp3lame", "ac3", "pcm_*"],
        pictures: &["libx264", "libx265", "mpeg4", "mjpeg"],
    },
    Target {
        container: "mkv",
        extension: "mkv",
        writing: &["-f", "matroska"],
        sounds: &["libopus", "aac", "libmp3lame", "libvorbis", "flac", "ac3", "mp2", "pcm_*"],
        pictures: &[
            "libx264",
            "libx265",
            "libvpx",
            "libvpx-vp9",
            "libsvtav1",
            "mpeg4",
            "mjpeg",
            "libtheora",
        ],
    },
    Target {
        container: "webm",
        extension: "webm",
        writing: &["-f", "webm"],
        sounds: &["libopus", "libvorbis"],
        pictures: &["libvpx", "libvpx-vp9", "libsvtav1"],
    },
    Target {
        container: "flv",
        extension: "flv",
        writing: &["-flvflags", "no_duration_filesize", "-f", "flv"],
        sounds: &["aac", "libmp3lame"],
        pictures: &["libx264", "flv"],
    },
    Target {
        container: "mpegts",
        extension: "ts",
        writing: &["-f", "mpegts"],
        sounds: &["aac", "libmp3lame", "mp2", "ac3"],
        pictures: &["libx264", "libx265", "mpeg2video"],
    },
];

#[cfg(test)]
mod tests;
