//! Sound behind a demuxer: symphonia decodes, from start to end.
//!
//! The parsers are other people's and the bytes are anybody's, so they work inside three walls: a
//! panic ends the sound, reads come out of a budget in proportion to the file, and so many packets
//! without sound are the end.

use std::io::{self, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint as ProbeHint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;
use zeroize::Zeroizing;

use super::Source;
use super::samples::{CHANNELS_MAX, RATE_HZ_MAX, SampleSource, make_room};

/// The first audio track of a file that symphonia knows.
pub(super) struct Packets {
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    channels: u16,
    sample_rate_hz: u32,
    /// The first sound, decoded early because only it tells channels and rate for certain.
    first_plaintext: Option<Zeroizing<Vec<i16>>>,
    barren_packets: u32,
    has_ended: bool,
}

impl Packets {
    /// `None` if no decoder knows the sound, or there is none.
    pub(super) fn open(mut source: Box<dyn Source>) -> Option<Self> {
        if is_transport_stream(&mut source) {
            return None;
        }
        let source = Metered::new(source).ok()?;
        let mut packets = walled(|| Self::find_track(source))?;
        let mut plaintext = Zeroizing::default();
        while packets.next_piece(&mut plaintext) {
            if !plaintext.is_empty() {
                packets.first_plaintext = Some(plaintext);
                return Some(packets);
            }
        }
        None
    }

    fn find_track(source: Metered) -> Option<Self> {
        let stream = MediaSourceStream::new(Box::new(source), Default::default());
        let (format_options, meta_options) = (FormatOptions::default(), MetadataOptions::default());
        let format = symphonia::default::get_probe()
            .probe(&ProbeHint::new(), stream, format_options, meta_options)
            .ok()?;
        let track = format.default_track(TrackType::Audio)?;
        let parameters = track.codec_params.as_ref()?.audio()?;
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .ok()?;
        Some(Self {
            track: track.id,
            format,
            decoder,
            channels: 0,
            sample_rate_hz: 0,
            first_plaintext: None,
            barren_packets: 0,
            has_ended: false,
        })
    }

    /// One packet further: `None` at the end, nothing in `plaintext` if it held no sound of ours.
    fn decode_packet(&mut self, plaintext: &mut Zeroizing<Vec<i16>>) -> Option<()> {
        let packet = self.format.next_packet().ok()??;
        if packet.track_id != self.track {
            return Some(());
        }
        let decoded = match self.decoder.decode(&packet) {
            Ok(decoded) => decoded,
            // One spoilt packet is a gap, not the end.
            Err(Error::DecodeError(_) | Error::IoError(_)) => return Some(()),
            Err(_) => return None,
        };
        let channels = u16::try_from(decoded.spec().channels().count()).ok()?;
        let sample_rate_hz = decoded.spec().rate();
        if self.channels == 0 {
            let is_sound = (1..=CHANNELS_MAX).contains(&channels)
                && (1..=RATE_HZ_MAX).contains(&sample_rate_hz);
            (self.channels, self.sample_rate_hz) =
                is_sound.then_some((channels, sample_rate_hz))?;
        }
        // A stream that changes its shape half-way has no one waveform; it ends here for us.
        if (self.channels, self.sample_rate_hz) != (channels, sample_rate_hz) {
            return None;
        }
        make_room(plaintext, decoded.samples_interleaved());
        plaintext.resize(decoded.samples_interleaved(), 0);
        decoded.copy_to_slice_interleaved(&mut plaintext[..]);
        Some(())
    }
}

impl SampleSource for Packets {
    fn channels(&self) -> u16 {
        self.channels
    }

    fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    fn next_piece(&mut self, plaintext: &mut Zeroizing<Vec<i16>>) -> bool {
        if let Some(first) = self.first_plaintext.take() {
            *plaintext = first;
            return true;
        }
        plaintext.clear();
        if self.has_ended || walled(|| self.decode_packet(plaintext)).is_none() {
            self.has_ended = true;
            plaintext.clear();
            return false;
        }
        self.barren_packets = if plaintext.is_empty() { self.barren_packets + 1 } else { 0 };
        self.has_ended = self.barren_packets >= BARREN_PACKETS_MAX;
        !self.has_ended
    }
}

/// Runs a third-party parser; its panic is a `None`. What it was working on must not be used
/// again, which `has_ended` sees to.
fn walled<T>(parse: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(parse)).ok().flatten()
}

/// Symphonia takes an MPEG transport stream for bare AAC and decodes noise out of it.
fn is_transport_stream(source: &mut dyn Source) -> bool {
    [0, 188, 376].into_iter().all(|at| {
        let mut byte = [0];
        source.seek(SeekFrom::Start(at)).is_ok()
            && source.read_exact(&mut byte).is_ok()
            && byte == [0x47]
    })
}

/// A source whose reads come out of a budget, so that a file which sends its parser in circles
/// costs no more than a few honest passes over it.
struct Metered {
    source: Box<dyn Source>,
    len_bytes: u64,
    budget_bytes: u64,
}

impl Metered {
    fn new(mut source: Box<dyn Source>) -> io::Result<Self> {
        let len_bytes = source.seek(SeekFrom::End(0))?;
        source.rewind()?;
        let budget_bytes = len_bytes.saturating_mul(PASSES_MAX).saturating_add(BUDGET_BYTES_MIN);
        Ok(Self { source, len_bytes, budget_bytes })
    }
}

impl Read for Metered {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = buf.len().min(usize::try_from(self.budget_bytes).unwrap_or(usize::MAX));
        let read = self.source.read(&mut buf[..wanted])?;
        self.budget_bytes -= read as u64;
        Ok(read)
    }
}

impl Seek for Metered {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.source.seek(to)
    }
}

impl MediaSource for Metered {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len_bytes)
    }
}

/// Video between two sounds, or a damaged stretch; about an hour of both.
const BARREN_PACKETS_MAX: u32 = 300_000;
/// Files whose audio lies apart from the video are read in small overlapping steps.
const PASSES_MAX: u64 = 8;
const BUDGET_BYTES_MIN: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::testing::{aiff_8khz, tone};
    use super::*;

    /// Planted fault: the parser called without the wall.
    #[test]
    fn a_panic_of_the_parser_is_no_sound() {
        let parse: fn() -> Option<()> = || panic!("planted by this test");
        assert!(walled(parse).is_none());
    }

    /// Planted fault: reads that cost nothing, so that a parser sent in circles never ends.
    #[test]
    fn going_in_circles_comes_to_an_end() {
        let len = 1 << 20;
        let mut source = Metered::new(Box::new(Cursor::new(vec![0; len]))).unwrap();
        let mut buf = vec![0; len];
        let passes = (0..1_000).take_while(|_| {
            source.rewind().unwrap();
            source.read(&mut buf).unwrap() > 0
        });
        assert_eq!(passes.count() as u64, PASSES_MAX + 16);
    }

    /// Planted fault: the parser called again after it panicked.
    #[test]
    fn what_has_ended_is_not_touched_again() {
        let file = aiff_8khz(1, &tone(30_000, 99));
        let mut packets = Packets::open(Box::new(Cursor::new(file))).unwrap();
        let mut plaintext = Zeroizing::default();
        assert!(packets.next_piece(&mut plaintext) && packets.next_piece(&mut plaintext));
        packets.has_ended = true;
        assert!(!packets.next_piece(&mut plaintext) && plaintext.is_empty());
    }

    #[test]
    fn a_transport_stream_is_not_taken_for_audio() {
        let packet = [&[0x47][..], &[0xFF; 187]].concat();
        assert!(is_transport_stream(&mut Cursor::new(packet.repeat(3))));
        assert!(!is_transport_stream(&mut Cursor::new(packet.repeat(2))));
        assert!(!is_transport_stream(&mut Cursor::new(aiff_8khz(1, &tone(3_000, 99)))));
    }
}
