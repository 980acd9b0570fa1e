use std::io::Cursor;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use proptest::prelude::*;

use super::super::testing::{fixture, redact, redaction};
use super::super::{Fill, RedactError, SampleCodec};

/// Samples of one file before and after, byte for byte, and how long one sample is.
#[derive(Debug)]
struct Case {
    codec: SampleCodec,
    channels: u16,
    rate_hz: u32,
    data: Vec<u8>,
}

impl Case {
    fn sample_bytes(&self) -> usize {
        self.codec.block(1).0 as usize
    }

    fn frame_bytes(&self) -> usize {
        self.sample_bytes() * usize::from(self.channels)
    }

    /// By hand, so that the writer under test is not its own judge; with a chunk of tags before
    /// and one behind the data, and the sizes that `declared` says.
    fn file(&self, declared: Option<u32>) -> Vec<u8> {
        let (tag, bits) = match self.codec {
            SampleCodec::PcmF32Le | SampleCodec::PcmF64Le => (3_u16, 8 * self.sample_bytes()),
            SampleCodec::MuLaw => (7, 8),
            SampleCodec::ALaw => (6, 8),
            _ => (1, 8 * self.sample_bytes()),
        };
        let size = u32::try_from(self.data.len()).unwrap();
        let mut file = b"RIFF".to_vec();
        file.extend(declared.unwrap_or(size + 100).to_le_bytes());
        file.extend(b"WAVELIST\x12\0\0\0INFOIART\x06\0\0\0MARKER");
        file.extend(b"fmt \x10\0\0\0");
        file.extend(tag.to_le_bytes());
        file.extend(self.channels.to_le_bytes());
        file.extend(self.rate_hz.to_le_bytes());
        file.extend((self.rate_hz * self.frame_bytes() as u32).to_le_bytes());
        file.extend((self.frame_bytes() as u16).to_le_bytes());
        file.extend((bits as u16).to_le_bytes());
        file.extend(b"data");
        file.extend(declared.unwrap_or(size).to_le_bytes());
        file.extend(&self.data);
        if declared.is_none() {
            file.resize(file.len().next_multiple_of(2), 0);
            file.extend(b"bext\x06\0\0\0MARKER");
        }
        file
    }
}

const EXACT: [SampleCodec; 8] = [
    SampleCodec::PcmU8,
    SampleCodec::PcmS16Le,
    SampleCodec::PcmS24Le,
    SampleCodec::PcmS32Le,
    SampleCodec::PcmF32Le,
    SampleCodec::PcmF64Le,
    SampleCodec::MuLaw,
    SampleCodec::ALaw,
];

fn a_case() -> impl Strategy<Value = Case> {
    let shape = (
        prop::sample::select(&EXACT[..]),
        1..4_u16,
        prop::sample::select(&[8_000, 11_025, 48_000][..]),
    );
    (shape, 1..3_000_usize, any::<u64>()).prop_map(|((codec, channels, rate_hz), frames, seed)| {
        let len = frames * codec.block(channels).0 as usize;
        let mut state = seed | 1;
        let data = (0..len)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
                state.to_le_bytes()[6]
            })
            .collect();
        Case { codec, channels, rate_hz, data }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Outside of the stretches and channels no bit changes; inside is silence or a tone. Planted
    /// fault: the end of a stretch rounded down.
    #[test]
    fn only_what_was_named_changes(
        case in a_case(),
        ranges in prop::collection::vec((0..60_u64, 1..40_u64), 1..4),
        channel in 0..4_u16,
        beep in any::<bool>(),
        open_ended in prop::sample::select(&[None, Some(0), Some(u32::MAX)][..]),
    ) {
        let frames = case.data.len() / case.frame_bytes();
        let ranges: Vec<(u64, u64)> = ranges.into_iter().map(|(at, len)| (at, at + len)).collect();
        let fill = if beep { Fill::Beep } else { Fill::Mute };
        let channels: Vec<u16> = (channel > 0).then_some(channel).into_iter().collect();
        let wanted = redaction(&ranges, &channels, fill);
        let file = case.file(open_ended);
        let duration_ms = (frames as u64 * 1_000).div_ceil(u64::from(case.rate_hz));
        let outcome = redact(&file, "wav", &wanted, None);
        if channel > case.channels {
            let is_refused = matches!(outcome, Err(RedactError::NoSuchChannel { .. }));
            prop_assert!(is_refused);
            return Ok(());
        }
        if ranges.iter().any(|(from, _)| *from >= duration_ms) {
            let is_refused = matches!(outcome, Err(RedactError::BeyondEnd { .. }));
            // Merged with one that begins before the end, it is not there any more.
            prop_assert!(is_refused || wanted.stretches().iter().all(|s| s.from_ms < duration_ms));
            return Ok(());
        }
        let (plan, out) = outcome.unwrap();
        prop_assert!(plan.is_exact());
        prop_assert_eq!(out.len() as u64, plan.expected_bytes);
        prop_assert!(!out.windows(6).any(|window| window == b"MARKER"));
        let data = data_of(&out, &case);
        prop_assert_eq!(data.len(), case.data.len());
        let rate = u64::from(case.rate_hz);
        for frame in 0..frames {
            let now = frame as u64 * 1_000;
            let is_inside = ranges.iter().any(|(from, to)| now + 1_000 > from * rate && now < to * rate);
            for at in 0..case.channels {
                let from = frame * case.frame_bytes() + usize::from(at) * case.sample_bytes();
                let range = from..from + case.sample_bytes();
                let (before, after) = (&case.data[range.clone()], &data[range]);
                if is_inside && (channel == 0 || at + 1 == channel) {
                    match fill {
                        Fill::Mute => prop_assert_eq!(sample(case.codec, after), 0.0),
                        Fill::Beep => prop_assert!(sample(case.codec, after).abs() < 0.27),
                    }
                } else {
                    prop_assert_eq!(before, after, "frame {} channel {}", frame, at);
                }
            }
        }
    }

    /// Whatever a header says: an answer, and never more than what was there. Meant to
    /// catch: `data_at` not checked against the length, which reads behind the end.
    #[test]
    fn damaged_headers_are_survived(
        case in a_case(),
        damage in prop::collection::vec((0..80_usize, any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut file = case.file(None);
        for (at, byte) in damage {
            let len = file.len();
            file[at % len] = byte;
        }
        if is_cut {
            file.truncate(cut.index(file.len()));
        }
        let wanted = redaction(&[(0, 5)], &[], Fill::Mute);
        if let Ok((plan, out)) = redact(&file, "wav", &wanted, None) {
            prop_assert!(!plan.is_exact() || out.len() <= file.len() + 200);
        }
    }
}

/// hound reads what comes out, sample by sample. Meant to catch: `fact` counted into the header
/// of PCM, too.
#[test]
fn the_second_reader_agrees() {
    for (bits, format) in [
        (8, SampleFormat::Int),
        (16, SampleFormat::Int),
        (24, SampleFormat::Int),
        (32, SampleFormat::Float),
    ] {
        let spec = WavSpec {
            channels: 2,
            sample_rate: 8_000,
            bits_per_sample: bits,
            sample_format: format,
        };
        let mut file = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut file, spec).unwrap();
        for frame in 0..1_600 {
            match format {
                SampleFormat::Int => {
                    writer.write_sample(100 - frame % 2 * 7).unwrap();
                    writer.write_sample(55).unwrap();
                }
                SampleFormat::Float => {
                    writer.write_sample(0.5_f32).unwrap();
                    writer.write_sample(0.25_f32).unwrap();
                }
            }
        }
        writer.finalize().unwrap();
        let file = file.into_inner();
        let wanted = redaction(&[(50, 100)], &[2], Fill::Mute);
        let (_, out) = redact(&file, "wav", &wanted, None).unwrap();
        let numbers = |file: &[u8]| -> Vec<f64> {
            let mut reader = WavReader::new(Cursor::new(file)).unwrap();
            assert_eq!(reader.spec(), spec, "{bits} bits");
            match format {
                SampleFormat::Int => {
                    reader.samples::<i32>().map(|s| f64::from(s.unwrap())).collect()
                }
                SampleFormat::Float => {
                    reader.samples::<f32>().map(|s| f64::from(s.unwrap())).collect()
                }
            }
        };
        let (before, after) = (numbers(&file), numbers(&out));
        for (index, (before, after)) in before.iter().zip(&after).enumerate() {
            let is_inside = index % 2 == 1 && (400..800).contains(&(index / 2));
            assert_eq!(
                *after,
                if is_inside { 0.0 } else { *before },
                "{bits} bits, sample {index}"
            );
        }
    }
}

/// Every fixture that is plain sound, without any other program. Meant to catch: RF64 written
/// as RIFF of size -1.
#[test]
fn plain_fixtures_need_no_other_program() {
    for (name, way) in [
        ("pcm_s16.wav", "exact"),
        ("pcm_s16_stereo.wav", "exact"),
        ("pcm_u8.wav", "exact"),
        ("pcm_s24.wav", "exact"),
        ("pcm_s32.wav", "exact"),
        ("pcm_f32.wav", "exact"),
        ("mulaw.wav", "exact"),
        ("mulaw_stereo.wav", "exact"),
        ("alaw.wav", "exact"),
        ("streamed.wav", "exact"),
        ("pcm.rf64", "exact"),
        ("pcm.w64", "exact"),
        ("raw.ulaw", "exact"),
        ("raw.alaw", "exact"),
        ("raw.sln16", "exact"),
        ("pcm_rifx.wav", "decoded"),
        ("gsm610.wav", "decoded"),
        ("ima_adpcm.wav", "decoded"),
        ("ms_adpcm.wav", "decoded"),
        ("raw.gsm", "decoded"),
        ("pcm.aiff", "decoded"),
        ("pcm.caf", "decoded"),
    ] {
        let file = fixture(name);
        let extension = name.rsplit('.').next().unwrap();
        for fill in [Fill::Mute, Fill::Beep] {
            let wanted = redaction(&[(300, 900)], &[], fill);
            let (plan, out) = redact(&file, extension, &wanted, None)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(plan.way(), way, "{name}");
            let expected = plan.expected_bytes;
            assert_eq!(out.len() as u64, expected, "{name}");
        }
    }
}

/// The bytes of the samples, found by the second reader where that can read the coding.
fn data_of(file: &[u8], case: &Case) -> Vec<u8> {
    if let Ok(reader) = WavReader::new(Cursor::new(file)) {
        let spec = reader.spec();
        assert_eq!((spec.channels, spec.sample_rate), (case.channels, case.rate_hz));
        assert_eq!(usize::from(spec.bits_per_sample), 8 * case.sample_bytes());
        let frames = case.data.len() / case.frame_bytes();
        assert_eq!(reader.duration() as usize, frames);
    }
    let at = file.windows(4).position(|window| window == b"data").unwrap();
    let size = u32::from_le_bytes(file[at + 4..at + 8].try_into().unwrap()) as usize;
    let riff = u32::from_le_bytes(file[4..8].try_into().unwrap()) as usize;
    assert_eq!(riff + 8, file.len(), "the size of the whole");
    assert_eq!(at + 8 + size + size % 2, file.len(), "nothing behind the data");
    file[at + 8..at + 8 + size].to_vec()
}

/// One sample within ±1.
fn sample(codec: SampleCodec, bytes: &[u8]) -> f64 {
    match codec {
        SampleCodec::PcmF32Le => f64::from(f32::from_le_bytes(bytes.try_into().unwrap())),
        SampleCodec::PcmF64Le => f64::from_le_bytes(bytes.try_into().unwrap()),
        _ => {
            let mut plaintext = Vec::new();
            codec.decode(bytes, &mut plaintext);
            // A-law has no zero: its silence is the smallest step.
            let value =
                if codec == SampleCodec::ALaw && plaintext[0] == 8 { 0 } else { plaintext[0] };
            f64::from(value) / 32_768.0
        }
    }
}
