//! ffmpeg as it is on this host: where it lies, what it may use, which encoders it has.

use std::fmt;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use zeroize::Zeroizing;

use super::super::Source;
use super::RedactError;
use super::child::{self, Input, Job};

/// The program and its limits. Starting it costs some hundredths of a second.
pub struct Ffmpeg {
    program: PathBuf,
    memory_bytes: u64,
    time_limit: Duration,
    /// Asked once: `None` if it did not answer.
    encoders: OnceLock<Option<Vec<String>>>,
}

/// How ffmpeg reads a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// From a pipe, once.
    Streamed,
    /// From memory, because the index may stand at the end.
    InMemory,
}

/// What ffmpeg sees in a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// The codec of each sound track.
    pub(super) sounds: Vec<String>,
    /// Each picture that moves: a cover is none.
    pub(super) pictures: Vec<Picture>,
}

/// One moving picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) codec: String,
    /// Pictures a second, as far as that is known.
    pub(super) rate: Option<u32>,
}

impl Ffmpeg {
    /// The program at `program`, which may use `memory_bytes` of address space for `time_limit`.
    /// A recording that has to be held in memory may have half as many.
    pub fn new(program: PathBuf, memory_bytes: u64, time_limit: Duration) -> Self {
        Self { program, memory_bytes, time_limit, encoders: OnceLock::new() }
    }

    /// The first `ffmpeg` in the folders of `path`, as `$PATH` has them.
    pub fn find(path: &std::ffi::OsStr) -> Option<PathBuf> {
        let mut folders = std::env::split_paths(path).filter(|folder| folder.is_absolute());
        folders.find_map(|folder| Some(folder.join("ffmpeg")).filter(|program| program.is_file()))
    }

    /// Where it lies.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The encoders it has; empty if it cannot be asked.
    pub fn encoders(&self) -> &[String] {
        let asked = self.encoders.get_or_init(|| {
            let arguments = ["-hide_banner", "-encoders"].map(str::to_owned);
            let mut said = Vec::new();
            let job = Job { time_limit: LOOK_LIMIT, ..self.job(&arguments, LIST_BYTES_MAX) };
            let status = child::run(&job, Input::Nothing, &mut said, &mut |_| ()).ok()?;
            status.success().then(|| encoders_in(&String::from_utf8_lossy(&said)))
        });
        asked.as_deref().unwrap_or_default()
    }

    /// Asks what it sees in `source`, which it reads as `format`.
    pub(super) fn look(
        &self,
        source: &mut dyn Source,
        format: &str,
        reading: Reading,
    ) -> Result<Look, RedactError> {
        let mut arguments = words(&["-hide_banner", "-nostdin"]);
        arguments.extend(reading_arguments(format, reading));
        let mut look = Look::default();
        let job = Job { time_limit: LOOK_LIMIT, ..self.job(&arguments, LIST_BYTES_MAX) };
        // It ends with a complaint that nothing is to be written.
        self.run(&job, source, reading, &mut Vec::new(), &mut |line| look.take(line))?;
        Ok(look)
    }

    /// Runs it on `source` and lets `out` have what it writes.
    pub(super) fn encode(
        &self,
        arguments: &[String],
        source: &mut dyn Source,
        reading: Reading,
        out: &mut dyn Write,
        hear: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), RedactError> {
        let source_bytes = source.seek(SeekFrom::End(0)).map_err(RedactError::Read)?;
        let bytes_max = source_bytes.saturating_mul(GROWTH_MAX).saturating_add(GROWTH_BYTES);
        let status = self.run(&self.job(arguments, bytes_max), source, reading, out, hear)?;
        if status.success() { Ok(()) } else { Err(child::bad_end(status)) }
    }

    fn run(
        &self,
        job: &Job<'_>,
        source: &mut dyn Source,
        reading: Reading,
        out: &mut dyn Write,
        hear: &mut (dyn FnMut(&str) + Send),
    ) -> Result<ExitStatus, RedactError> {
        source.seek(SeekFrom::Start(0)).map_err(RedactError::Read)?;
        match reading {
            Reading::Streamed => child::run(job, Input::Stream(&mut &mut *source), out, hear),
            Reading::InMemory => {
                let memory = in_memory(source, self.memory_bytes / 2)?;
                child::run(job, Input::Memory(memory.into()), out, hear)
            }
        }
    }

    fn job<'a>(&'a self, arguments: &'a [String], output_bytes_max: u64) -> Job<'a> {
        Job {
            program: &self.program,
            arguments,
            memory_bytes: self.memory_bytes,
            time_limit: self.time_limit,
            output_bytes_max,
        }
    }
}

impl fmt::Debug for Ffmpeg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ffmpeg").finish_non_exhaustive()
    }
}

impl Look {
    /// Takes one line of what it says. Only those of streams are looked at: `  Stream #0:1[0x2](und):
    /// Audio: aac (LC), 8000 Hz, mono`. Those of tags are indented further.
    fn take(&mut self, line: &str) {
        let Some(stream) = line.strip_prefix("  Stream #0:") else { return };
        let codec_in =
            |rest: &str| rest.split([' ', ',', '(']).next().unwrap_or_default().to_owned();
        if let Some((_, rest)) = stream.split_once(": Audio: ") {
            self.sounds.push(codec_in(rest));
        } else if let Some((_, rest)) = stream.split_once(": Video: ")
            && !rest.contains("(attached pic)")
        {
            let rate = rest.split(", ").find_map(|part| part.strip_suffix(" fps"));
            #[expect(clippy::cast_possible_truncation, reason = "it is cut at both ends")]
            #[expect(clippy::cast_sign_loss, reason = "it is cut at both ends")]
            let rate = rate
                .and_then(|rate| rate.trim().parse::<f64>().ok())
                .map(|rate| rate.ceil() as u32);
            self.pictures.push(Picture { codec: codec_in(rest), rate });
        }
    }
}

/// The arguments with which it reads a recording as `format` and as nothing else.
pub(super) fn reading_arguments(format: &str, reading: Reading) -> Vec<String> {
    let (protocols, input) = match reading {
        Reading::Streamed => ("pipe", "pipe:0"),
        Reading::InMemory => ("file", "file:/proc/self/fd/0"),
    };
    words(&["-threads", "2", "-protocol_whitelist", protocols, "-f", format, "-i", input])
}

pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The names in the list that `-encoders` prints.
fn encoders_in(list: &str) -> Vec<String> {
    let rows = list.lines().skip_while(|line| !line.contains("------")).skip(1);
    rows.filter_map(|row| row.split_whitespace().nth(1)).map(str::to_owned).collect()
}

/// All of `source` in memory that no file system knows, and that nobody can write to any more.
fn in_memory(source: &mut dyn Source, bytes_max: u64) -> Result<OwnedFd, RedactError> {
    let bytes = source.seek(SeekFrom::End(0)).map_err(RedactError::Read)?;
    if bytes > bytes_max {
        return Err(RedactError::TooLarge { bytes, max_bytes: bytes_max });
    }
    source.seek(SeekFrom::Start(0)).map_err(RedactError::Read)?;
    let at = |errno: rustix::io::Errno| RedactError::Write(errno.into());
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = std::fs::File::from(memfd_create("recseal", flags).map_err(at)?);
    let mut plaintext = Zeroizing::new(vec![0; 1 << 20]);
    let mut left = bytes;
    while left > 0 {
        let len = source.read(&mut plaintext).map_err(RedactError::Read)?;
        if len == 0 {
            return Err(RedactError::Read(std::io::ErrorKind::UnexpectedEof.into()));
        }
        (&memory).write_all(&plaintext[..len]).map_err(RedactError::Write)?;
        left = left.saturating_sub(len as u64);
    }
    (&memory).seek(SeekFrom::Start(0)).map_err(RedactError::Write)?;
    fcntl_add_seals(
        &memory,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )
    .map_err(at)?;
    Ok(memory.into())
}

/// A look and a list take far less.
const LOOK_LIMIT: Duration = Duration::from_secs(60);
const LIST_BYTES_MAX: u64 = 1 << 20;
/// An encoding anew may be that many times as long, for a codec that packs less well,
const GROWTH_MAX: u64 = 8;
/// and that much longer, for a short one.
const GROWTH_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted fault: a cover counted as a picture.
    #[test]
    fn streams_are_read_from_what_it_says() {
        let mut look = Look::default();
        for line in [
            "Input #0, matroska,webm, from 'pipe:0':",
            "    title           :   Stream #0:9: Audio: evil",
            "  Stream #0:0(eng): Video: h264 (High), yuv420p(tv), 320x240, 29.97 fps, 30 tbr (default)",
            "  Stream #0:1[0x2](und): Audio: aac (LC) (mp4a / 0x6134706D), 8000 Hz, mono, fltp",
            "  Stream #0:2: Audio: pcm_mulaw ([7][0][0][0] / 0x0007), 8000 Hz, 1 channels, s16",
            "  Stream #0:3: Video: mjpeg (Baseline), yuvj420p, 32x32, 90k tbr (attached pic)",
            "  Stream #0:4: Subtitle: subrip",
        ] {
            look.take(line);
        }
        assert_eq!(look.sounds, ["aac", "pcm_mulaw"]);
        assert_eq!(look.pictures, [Picture { codec: "h264".to_owned(), rate: Some(30) }]);
    }

    #[test]
    fn encoders_are_read_from_the_list() {
        let list =
            "Encoders:\n V..... = Video\n ------\n V....D libx264   H.264\n A....D aac  AAC\n";
        assert_eq!(encoders_in(list), ["libx264", "aac"]);
    }
}
