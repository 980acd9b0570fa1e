//! What the tests of redaction share: redacting as a program would, and fixtures.

use std::ffi::OsStr;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

pub(super) fn redaction(ranges: &[(u64, u64)], channels: &[u16], fill: Fill) -> Redaction {
    let stretches =
        ranges.iter().map(|(from_ms, to_ms)| Stretch { from_ms: *from_ms, to_ms: *to_ms });
    Redaction::new(stretches.collect(), channels.to_vec(), fill, Parts::All).unwrap()
}

/// Redacts `file` as a program would: planned, run, probed again, listened to again.
pub(super) fn redact(
    file: &[u8],
    extension: &str,
    redaction: &Redaction,
    ffmpeg: Option<&Ffmpeg>,
) -> Result<(Plan, Vec<u8>), RedactError> {
    let hint = Hint { extension };
    let open = || -> io::Result<Box<dyn Source>> { Ok(Box::new(Cursor::new(file.to_vec()))) };
    let plan = plan(&open, hint, redaction, ffmpeg)?;
    let mut out = Vec::new();
    plan.run(&open, hint, ffmpeg, &mut out, &|_, _| ())?;
    let hint = Hint { extension: plan.extension.unwrap_or(extension) };
    plan.check(crate::media::probe(&mut Cursor::new(&out), hint))?;
    if let Some(peaks) = crate::media::peaks(Box::new(Cursor::new(out.clone())), hint, &|| true) {
        plan.listen(&peaks)?;
    }
    Ok((plan, out))
}

/// The program on this host, with the limits of the defaults. Without one the tests of the whole
/// program say that they are skipped; these go by.
pub(super) fn real_ffmpeg() -> Option<Ffmpeg> {
    let found = Ffmpeg::find(OsStr::new("/usr/local/bin:/usr/bin:/bin"))?;
    Some(Ffmpeg::new(found, 1 << 30, Duration::from_secs(120)))
}

pub(super) fn fixture_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("media-fixtures").join(name)
}

pub(super) fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixture_path(name)).unwrap()
}
