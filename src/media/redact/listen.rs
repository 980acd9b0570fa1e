//! Listening again: the waveform of the result has to show the silence or the tone that was asked
//! for. So a filter that did nothing, or a clock that ran away, is found before the original goes.

use super::{Fill, Plan, RedactError, Redaction};

impl Plan {
    /// Looks at the waveform of the result, in the layout of [`crate::media::peaks`].
    ///
    /// Says nothing about pictures, and nothing about stretches of less than some tenths of a
    /// second.
    ///
    /// # Errors
    ///
    /// [`RedactError::BadResult`] if something is heard in a stretch, or no tone where one was
    /// asked for.
    pub fn listen(&self, peaks: &[u8]) -> Result<(), RedactError> {
        if self.redaction.parts() == super::Parts::Picture {
            return Ok(());
        }
        let Some(waveform) = Waveform::of(peaks) else { return Ok(()) };
        // What is encoded anew rings at its edges, and MP3 and AAC come late by what their encoder
        // puts before them: up to 0.14 s.
        let margin = if self.is_encoded() { 4 } else { 1 };
        match waveform.is_as_asked(&self.redaction, margin, self.is_encoded()) {
            true => Ok(()),
            false => Err(RedactError::BadResult { why: "a stretch does not sound redacted" }),
        }
    }
}

struct Waveform<'p> {
    rate_hz: u64,
    frames_per_pixel: u64,
    channels: usize,
    pixels: &'p [u8],
}

impl<'p> Waveform<'p> {
    fn of(peaks: &'p [u8]) -> Option<Self> {
        let field = |index: usize| {
            let bytes = peaks.get(4 * index..4 * index + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let channels = field(5)? as usize;
        let (rate_hz, frames_per_pixel) = (u64::from(field(2)?), u64::from(field(3)?));
        let is_sound = channels > 0 && frames_per_pixel > 0 && rate_hz > 0;
        let pixels = peaks.get(24..)?;
        is_sound.then_some(Self { rate_hz, frames_per_pixel, channels, pixels })
    }

    fn is_as_asked(&self, redaction: &Redaction, margin: u64, is_lossy: bool) -> bool {
        let per_pixel = self.frames_per_pixel * 1_000;
        redaction.stretches().iter().all(|stretch| {
            let first = (stretch.from_ms * self.rate_hz).div_ceil(per_pixel) + margin;
            let behind = (stretch.to_ms * self.rate_hz / per_pixel).saturating_sub(margin);
            (first..behind).all(|pixel| self.pixel_is(pixel, redaction, is_lossy))
        })
    }

    fn pixel_is(&self, pixel: u64, redaction: &Redaction, is_lossy: bool) -> bool {
        let at = usize::try_from(pixel).unwrap_or(usize::MAX).saturating_mul(2 * self.channels);
        let Some(pixel) = self.pixels.get(at..at.saturating_add(2 * self.channels)) else {
            return true; // behind the end
        };
        let heights = pixel.as_chunks::<2>().0.iter().map(|[low, high]| {
            low.cast_signed().unsigned_abs().max(high.cast_signed().unsigned_abs())
        });
        (0_u16..).zip(heights).filter(|(channel, _)| redaction.takes_channel(*channel)).all(
            |(_, height)| match (redaction.fill(), is_lossy) {
                (Fill::Mute, false) => height == 0,
                (Fill::Mute, true) => height <= QUIET,
                (Fill::Beep, _) => (TONE_LEAST..=TONE_MOST).contains(&height),
            },
        )
    }
}

/// Of 127: about -33 dBFS at most, and far below any voice worth hearing.
const QUIET: u8 = 2;
/// A tone of -12 dBFS has 32.
const TONE_LEAST: u8 = 16;
const TONE_MOST: u8 = 48;
