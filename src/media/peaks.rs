//! The waveform of a recording, small enough to draw at once.
//!
//! ```text
//! version 2 │ flags 1 (8 bit) │ rate │ frames per pixel │ pixels │ channels    six 32-bit numbers
//! pixel 0: min max of channel 0, min max of channel 1, … │ pixel 1 │ …         signed bytes
//! ```
//!
//! This is version 2 of the binary layout of the BBC's audiowaveform, little end first, with
//! [`PIXELS_PER_SECOND`] pixels; players for browsers read it. Peaks are speech-derived data: seal
//! and erase them with their recording.

use zeroize::Zeroizing;

use super::samples::{self, SampleSource, append};
use super::{Hint, Source};

/// Draws the waveform of `source`: 20 pixels a second, 144 kB for an hour of one channel.
///
/// Decodes everything, so it costs what playing costs at full speed; memory holds the peaks and
/// one piece of sound. `keep_going` is asked after every piece.
///
/// `None` without a decoder for it, when `keep_going` said no, or beyond 64 MiB of peaks (18
/// days of one channel). Damaged sound gives the peaks of what came before the damage.
pub fn peaks(
    source: Box<dyn Source>,
    hint: Hint<'_>,
    keep_going: &dyn Fn() -> bool,
) -> Option<Zeroizing<Vec<u8>>> {
    draw(&mut *samples::open(source, hint)?, keep_going)
}

fn draw(sound: &mut dyn SampleSource, keep_going: &dyn Fn() -> bool) -> Option<Zeroizing<Vec<u8>>> {
    let mut brush = Brush::new(sound.channels(), sound.sample_rate_hz());
    let mut plaintext = Zeroizing::default();
    while sound.next_piece(&mut plaintext) {
        if !keep_going() {
            return None;
        }
        brush.stroke(&plaintext);
        if brush.drawn_plaintext.len() > PEAKS_BYTES_MAX {
            return None;
        }
    }
    Some(brush.finish())
}

/// The pixel being drawn, and those before it.
struct Brush {
    channels: usize,
    frames_per_pixel: u32,
    frames_in_pixel: u32,
    /// Lowest and highest sample of each channel in this pixel.
    ranges: Zeroizing<Vec<(i16, i16)>>,
    pixels: u32,
    drawn_plaintext: Zeroizing<Vec<u8>>,
}

impl Brush {
    fn new(channels: u16, sample_rate_hz: u32) -> Self {
        let frames_per_pixel = (sample_rate_hz / PIXELS_PER_SECOND).max(1);
        let mut drawn_plaintext = Zeroizing::default();
        for field in [2, 1, sample_rate_hz, frames_per_pixel, 0, u32::from(channels)] {
            append(&mut drawn_plaintext, &field.to_le_bytes());
        }
        Self {
            channels: usize::from(channels),
            frames_per_pixel,
            frames_in_pixel: 0,
            ranges: Zeroizing::new(vec![NOTHING; usize::from(channels)]),
            pixels: 0,
            drawn_plaintext,
        }
    }

    fn stroke(&mut self, plaintext: &[i16]) {
        for frame in plaintext.chunks_exact(self.channels) {
            for ((low, high), sample) in self.ranges.iter_mut().zip(frame) {
                *low = (*low).min(*sample);
                *high = (*high).max(*sample);
            }
            self.frames_in_pixel += 1;
            if self.frames_in_pixel == self.frames_per_pixel {
                self.close_pixel();
            }
        }
    }

    fn close_pixel(&mut self) {
        for i in 0..self.channels {
            let (low, high) = std::mem::replace(&mut self.ranges[i], NOTHING);
            // Towards zero, so that faint noise draws a line and not a band.
            let pair = [(low / 256).to_le_bytes()[0], (high / 256).to_le_bytes()[0]];
            append(&mut self.drawn_plaintext, &pair);
        }
        self.frames_in_pixel = 0;
        self.pixels += 1;
    }

    fn finish(mut self) -> Zeroizing<Vec<u8>> {
        if self.frames_in_pixel > 0 {
            self.close_pixel();
        }
        self.drawn_plaintext[16..20].copy_from_slice(&self.pixels.to_le_bytes());
        self.drawn_plaintext
    }
}

const PIXELS_PER_SECOND: u32 = 20;
const PEAKS_BYTES_MAX: usize = 64 << 20;
const NOTHING: (i16, i16) = (i16::MAX, i16::MIN);

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Cursor;

    use super::super::testing::{aiff_8khz, tone, wav};
    use super::*;

    /// One second, a tone left and silence right. Planted faults: minimum and maximum swapped;
    /// the channels of a pixel swapped; a pixel not begun anew.
    #[test]
    fn a_tone_draws_a_band_and_silence_a_line() {
        let loud = tone(4_000, 0x4000).into_iter().chain(vec![0; 4_000]);
        let samples: Vec<i16> = loud.flat_map(|sample| [sample, 0]).collect();
        let drawn = peaks_of(wav(2, 8_000, &samples));
        assert_eq!(fields(&drawn), [2, 1, 8_000, 400, 20, 2]);
        let (loud, quiet) = drawn[24..].split_at(4 * 10);
        assert!(loud.chunks(4).all(|pixel| pixel == [0xC0, 0x40, 0, 0]), "{loud:?}");
        assert_eq!(quiet, [0; 40]);
    }

    /// 11,025 does not divide by 20, and the last pixel is not full.
    #[test]
    fn the_last_pixel_is_drawn_though_it_is_not_full() {
        let drawn = peaks_of(wav(1, 11_025, &[vec![0; 551], vec![-0x100; 1]].concat()));
        assert_eq!(fields(&drawn), [2, 1, 11_025, 551, 2, 1]);
        assert_eq!(drawn[24..], [0, 0, 0xFF, 0xFF]);
    }

    #[test]
    fn both_ways_to_the_samples_draw_the_same() {
        for channels in [1, 2] {
            let samples = tone(3_000, i16::MAX);
            let direct = peaks_of(wav(channels, 8_000, &samples));
            assert_eq!(peaks_of(aiff_8khz(channels, &samples)), direct);
        }
    }

    /// Planted fault: asked once, before the first piece.
    #[test]
    fn drawing_stops_when_told() {
        let asked = Cell::new(0);
        let keep_going = || asked.replace(asked.get() + 1) < 2;
        let source = Box::new(Cursor::new(wav(1, 8_000, &tone(80_000, 9))));
        assert!(peaks(source, Hint { extension: "" }, &keep_going).is_none());
        assert_eq!(asked.get(), 3);
    }

    #[test]
    fn what_nobody_can_decode_has_no_waveform() {
        for bytes in [vec![], vec![0; 5_000], b"not a recording".to_vec()] {
            assert!(
                peaks(Box::new(Cursor::new(bytes)), Hint { extension: "" }, &|| true).is_none()
            );
        }
    }

    fn peaks_of(file: Vec<u8>) -> Vec<u8> {
        peaks(Box::new(Cursor::new(file)), Hint { extension: "" }, &|| true).unwrap().to_vec()
    }

    fn fields(drawn: &[u8]) -> Vec<u32> {
        drawn[..24].as_chunks().0.iter().map(|field| u32::from_le_bytes(*field)).collect()
    }
}
