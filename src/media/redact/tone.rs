//! What is written in the place of sound: silence, or a tone, in the recording's own coding.

use std::f64::consts::TAU;

use super::{Fill, SampleCodec};

/// Writes `fill` as sample number `frame` of a stretch into `sample`, which has the length of one
/// sample of `codec`.
pub(super) fn write(codec: SampleCodec, fill: Fill, frame: u64, rate_hz: u32, sample: &mut [u8]) {
    match fill {
        Fill::Mute => sample.fill(silence(codec)),
        Fill::Beep => encode(codec, beep(frame, rate_hz), sample),
    }
}

/// The byte of which silence is made.
fn silence(codec: SampleCodec) -> u8 {
    match codec {
        SampleCodec::PcmU8 => 0x80,
        SampleCodec::MuLaw => 0xFF,
        SampleCodec::ALaw => 0xD5,
        SampleCodec::PcmS16Le
        | SampleCodec::PcmS16Be
        | SampleCodec::PcmS24Le
        | SampleCodec::PcmS32Le
        | SampleCodec::PcmF32Le
        | SampleCodec::PcmF64Le
        | SampleCodec::Gsm
        | SampleCodec::GsmMs => 0,
    }
}

/// The tone at sample number `frame`, within ±1. It begins at zero, so that it does not click.
fn beep(frame: u64, rate_hz: u32) -> f64 {
    // Below 4 kHz a tone of 1 kHz would have less than four samples a wave.
    let tone_hz = TONE_HZ.min(rate_hz / 4).max(1);
    let in_second = frame % u64::from(rate_hz);
    #[expect(clippy::cast_precision_loss, reason = "both are far below 2^52")]
    let turns = (in_second * u64::from(tone_hz)) as f64 / f64::from(rate_hz);
    TONE_HEIGHT * (turns * TAU).sin()
}

#[expect(clippy::cast_possible_truncation, reason = "the height of the tone keeps it in bounds")]
fn encode(codec: SampleCodec, value: f64, sample: &mut [u8]) {
    let scaled = |full: f64| (value * full).round() as i32;
    let pcm16 = scaled(32_767.0) as i16;
    match codec {
        SampleCodec::PcmU8 => sample.fill((scaled(127.0) + 128) as u8),
        SampleCodec::PcmS16Le => sample.copy_from_slice(&pcm16.to_le_bytes()),
        SampleCodec::PcmS16Be => sample.copy_from_slice(&pcm16.to_be_bytes()),
        SampleCodec::PcmS24Le => {
            sample.copy_from_slice(&scaled(8_388_607.0).to_le_bytes()[..3]);
        }
        SampleCodec::PcmS32Le => sample.copy_from_slice(&scaled(2_147_483_647.0).to_le_bytes()),
        SampleCodec::PcmF32Le => sample.copy_from_slice(&(value as f32).to_le_bytes()),
        SampleCodec::PcmF64Le => sample.copy_from_slice(&value.to_le_bytes()),
        SampleCodec::MuLaw => sample.fill(to_mu_law(pcm16)),
        SampleCodec::ALaw => sample.fill(to_a_law(pcm16)),
        SampleCodec::Gsm | SampleCodec::GsmMs => sample.fill(silence(codec)),
    }
}

/// ITU-T G.711 µ-law of a 16-bit sample.
fn to_mu_law(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let size = i32::from(sample).unsigned_abs().min(32_635) + 0x84;
    let segment = size.ilog2() - 7;
    let step = size >> (segment + 3) & 0xF;
    !(sign | (segment << 4 | step).to_le_bytes()[0])
}

/// ITU-T G.711 A-law of a 16-bit sample.
fn to_a_law(sample: i16) -> u8 {
    let sign = if sample < 0 { 0 } else { 0x80 };
    let size = u32::from(if sample < 0 { !sample } else { sample }.unsigned_abs());
    let code = match size {
        0..256 => size >> 4,
        _ => {
            let segment = size.ilog2() - 7;
            segment << 4 | size >> (segment + 3) & 0xF
        }
    };
    (sign | code.to_le_bytes()[0]) ^ 0x55
}

const TONE_HZ: u32 = 1_000;
/// -12 dBFS.
const TONE_HEIGHT: f64 = 0.251_188_643_150_958;

#[cfg(test)]
mod tests {
    use super::*;

    /// Decoding is checked against sox in `pcm`; encoding has to undo it. Planted fault: A-law's
    /// sign the wrong way round.
    #[test]
    fn g711_encodes_what_it_decodes() {
        for (codec, to) in
            [(SampleCodec::MuLaw, to_mu_law as fn(i16) -> u8), (SampleCodec::ALaw, to_a_law)]
        {
            for code in 0..=255_u8 {
                let mut plaintext = Vec::new();
                codec.decode(&[code], &mut plaintext);
                // µ-law has two zeros; the other one is silence.
                let expected =
                    if codec == SampleCodec::MuLaw && code == 0x7F { 0xFF } else { code };
                assert_eq!(to(plaintext[0]), expected, "{codec:?} {code:#x}");
            }
        }
    }

    /// Meant to catch: 0.5 for the height.
    #[test]
    fn the_tone_is_a_thousand_hertz_at_twelve_below_full() {
        let samples: Vec<f64> = (0..8_000).map(|frame| beep(frame, 8_000)).collect();
        let rises = samples.windows(2).filter(|pair| pair[0] < -1e-9 && pair[1] >= -1e-9).count();
        assert!((999..=1_001).contains(&rises), "{rises}");
        let peak = samples.iter().fold(0.0_f64, |peak, sample| peak.max(sample.abs()));
        assert!((20.0 * peak.log10() + 12.0).abs() < 0.1, "{peak}");
        assert_eq!(samples[0], 0.0);
    }
}
