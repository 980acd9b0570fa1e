//! GSM 06.10 full rate: the speech of Asterisk's `gsm` and `wav49` recordings.
//!
//! ```text
//! plain  33 bytes = mark 0xD (4 bits) │ frame (260 bits), most significant bit first  = 20 ms
//! wav49  65 bytes = frame (260 bits)  │ frame (260 bits), least significant bit first = 40 ms
//! frame           = 8 log area ratios (36 bits) │ 4 × { lag, gain, grid, peak, 13 pulses }
//! ```
//!
//! Each frame goes through three stages: pulses to excitation, excitation through the long-term
//! predictor (pitch), the result through an eight-stage lattice (the vocal tract). The arithmetic
//! is ETSI EN 300 961's saturating 16-bit one, so the output is the same on every machine and
//! sample for sample that of other decoders.
//!
//! # Invariants
//!
//! - Any bytes decode to something: no input panics, allocates or loops.
//! - A decoder's state is derived from speech, so it is wiped when dropped.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Samples of one frame: 20 ms at 8 kHz.
pub(super) const FRAME_SAMPLES: usize = 160;
/// Bytes of a plain frame.
pub(super) const PLAIN_BYTES: usize = 33;
/// Bytes of a `wav49` block, which holds two frames.
pub(super) const WAV49_BYTES: usize = 65;

/// A decoder between two frames. Cloning it is how a seek finds its way back.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct Gsm {
    /// Excitation of the last 120 samples, then of the subframe being decoded.
    excitation: [i16; LAG_MAX + SUBFRAME],
    lag: u8,
    /// Log area ratios of the frame before, towards which the first 40 samples are smoothed.
    ratios: [i16; 8],
    lattice: [i16; 9],
    /// De-emphasis filter.
    tail: i16,
}

impl Gsm {
    pub(super) fn new() -> Self {
        Self {
            excitation: [0; LAG_MAX + SUBFRAME],
            lag: 40,
            ratios: [0; 8],
            lattice: [0; 9],
            tail: 0,
        }
    }

    /// Appends the 160 samples of a plain frame. A frame without its mark is damaged: it becomes
    /// silence and the state stays, so one bad frame does not shift or spoil the rest.
    pub(super) fn decode_plain(&mut self, frame: &[u8; PLAIN_BYTES], plaintext: &mut Vec<i16>) {
        if frame[0] >> 4 != PLAIN_MARK {
            plaintext.resize(plaintext.len() + FRAME_SAMPLES, 0);
            return;
        }
        self.decode(&mut Bits { bytes: frame, at: 4, order: Order::HighFirst }, plaintext);
    }

    /// Appends the 320 samples of a `wav49` block.
    pub(super) fn decode_wav49(&mut self, block: &[u8; WAV49_BYTES], plaintext: &mut Vec<i16>) {
        let mut bits = Bits { bytes: block, at: 0, order: Order::LowFirst };
        self.decode(&mut bits, plaintext);
        self.decode(&mut bits, plaintext);
    }

    fn decode(&mut self, bits: &mut Bits<'_>, plaintext: &mut Vec<i16>) {
        let mut ratios = [0; 8];
        for (ratio, coding) in ratios.iter_mut().zip(&RATIO_CODINGS) {
            *ratio = coding.decode(bits.take(coding.bits));
        }
        let start = plaintext.len();
        for _ in 0..FRAME_SAMPLES / SUBFRAME {
            self.excite(bits);
            plaintext.extend_from_slice(&self.excitation[LAG_MAX..]);
            self.excitation.copy_within(SUBFRAME.., 0);
        }
        let before = std::mem::replace(&mut self.ratios, ratios);
        let frame = &mut plaintext[start..];
        let mix =
            |smooth: fn(i16, i16) -> i16| std::array::from_fn(|i| smooth(before[i], ratios[i]));
        self.filter(mix(|a, b| add(add(a >> 2, b >> 2), a >> 1)), &mut frame[..13]);
        self.filter(mix(|a, b| add(a >> 1, b >> 1)), &mut frame[13..27]);
        self.filter(mix(|a, b| add(add(a >> 2, b >> 2), b >> 1)), &mut frame[27..40]);
        self.filter(ratios, &mut frame[40..]);
        for sample in frame {
            self.tail = add(*sample, mul(self.tail, 28_180));
            *sample = add(self.tail, self.tail) & !7;
        }
    }

    /// Reads one subframe and leaves its 40 samples of excitation behind the 120 of history.
    fn excite(&mut self, bits: &mut Bits<'_>) {
        let lag = bits.take(7);
        // A lag outside its range is a transmission error; the standard says: keep the last one.
        if (40..=120).contains(&lag) {
            self.lag = lag;
        }
        let gain = GAINS[usize::from(bits.take(2))];
        let grid = usize::from(bits.take(2));
        let (exponent, mantissa) = peak(bits.take(6));
        let mut pulses = [0; SUBFRAME];
        for k in 0..13 {
            let level = (i16::from(bits.take(3)) * 2 - 7) << 12;
            let shift = 6 - exponent;
            let half = if shift == 0 { 0 } else { 1 << (shift - 1) };
            pulses[grid + 3 * k] = add(mul(MANTISSAS[mantissa], level), half) >> shift;
        }
        for (k, pulse) in pulses.into_iter().enumerate() {
            let pitch = self.excitation[LAG_MAX + k - usize::from(self.lag)];
            self.excitation[LAG_MAX + k] = add(pulse, mul(gain, pitch));
        }
    }

    /// The lattice, in place, with the reflection coefficients of `ratios`.
    fn filter(&mut self, ratios: [i16; 8], samples: &mut [i16]) {
        let reflections = ratios.map(reflection);
        for sample in samples {
            let mut sum = *sample;
            for i in (0..8).rev() {
                sum = sum.saturating_sub(mul(reflections[i], self.lattice[i]));
                self.lattice[i + 1] = add(self.lattice[i], mul(reflections[i], sum));
            }
            self.lattice[0] = sum;
            *sample = sum;
        }
    }
}

/// How one log area ratio is quantised (EN 300 961 table 4.1).
struct RatioCoding {
    bits: u32,
    smallest: i16,
    offset: i16,
    inverse_scale: i16,
}

impl RatioCoding {
    fn decode(&self, code: u8) -> i16 {
        let level = (i16::from(code) + self.smallest) << 10;
        let ratio = mul(self.inverse_scale, level.saturating_sub(self.offset * 2));
        add(ratio, ratio)
    }
}

/// Exponent -4..=6 and mantissa 0..=7 of a subframe's peak.
fn peak(code: u8) -> (i16, usize) {
    let mut exponent = if code > 15 { i16::from(code >> 3) - 1 } else { 0 };
    let mut mantissa = i16::from(code) - (exponent << 3);
    if mantissa == 0 {
        return (-4, 7);
    }
    while mantissa <= 7 {
        mantissa = mantissa << 1 | 1;
        exponent -= 1;
    }
    (exponent, usize::from(mantissa.unsigned_abs() & 7))
}

/// Log area ratio to reflection coefficient, in three straight lines.
fn reflection(ratio: i16) -> i16 {
    let size = ratio.saturating_abs();
    let value = match size {
        ..11_059 => size << 1,
        11_059..20_070 => size + 11_059,
        20_070.. => add(size >> 2, 26_112),
    };
    if ratio < 0 { -value } else { value }
}

fn add(a: i16, b: i16) -> i16 {
    a.saturating_add(b)
}

/// The standard's rounding product of two fractions.
fn mul(a: i16, b: i16) -> i16 {
    let product = (i32::from(a) * i32::from(b) + 0x4000) >> 15;
    i16::try_from(product).unwrap_or(i16::MAX)
}

enum Order {
    HighFirst,
    LowFirst,
}

/// A cursor over the bits of one frame or block.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    order: Order,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> u8 {
        let mut value = 0;
        for i in 0..count {
            let byte = self.bytes[self.at / 8];
            match self.order {
                Order::HighFirst => value = value << 1 | (byte >> (7 - self.at % 8) & 1),
                Order::LowFirst => value |= (byte >> (self.at % 8) & 1) << i,
            }
            self.at += 1;
        }
        value
    }
}

const PLAIN_MARK: u8 = 0xD;
const SUBFRAME: usize = 40;
const LAG_MAX: usize = 120;
const GAINS: [i16; 4] = [3_277, 11_469, 21_299, 32_767];
const MANTISSAS: [i16; 8] = [18_431, 20_479, 22_527, 24_575, 26_623, 28_671, 30_719, 32_767];
const RATIO_CODINGS: [RatioCoding; 8] = [
    RatioCoding { bits: 6, smallest: -32, offset: 0, inverse_scale: 13_107 },
    RatioCoding { bits: 6, smallest: -32, offset: 0, inverse_scale: 13_107 },
    RatioCoding { bits: 5, smallest: -16, offset: 2_048, inverse_scale: 13_107 },
    RatioCoding { bits: 5, smallest: -16, offset: -2_560, inverse_scale: 13_107 },
    RatioCoding { bits: 4, smallest: -8, offset: 94, inverse_scale: 19_223 },
    RatioCoding { bits: 4, smallest: -8, offset: -1_792, inverse_scale: 17_476 },
    RatioCoding { bits: 3, smallest: -4, offset: -341, inverse_scale: 31_454 },
    RatioCoding { bits: 3, smallest: -4, offset: -1_144, inverse_scale: 29_708 },
];

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// Twenty frames of synthetic speech, then twelve of random bits, which reach the ends of
    /// every table; the digest is that of `sox plain.gsm -t s16 -`. Planted faults: `add` that
    /// wraps; a lag above 120 taken.
    #[test]
    fn plain_frames_decode_as_sox_does() {
        let mut plaintext = Vec::new();
        let mut gsm = Gsm::new();
        for frame in PLAIN.as_chunks().0 {
            gsm.decode_plain(frame, &mut plaintext);
        }
        assert_eq!(plaintext.len(), 32 * FRAME_SAMPLES);
        assert_eq!(digest(&plaintext), PLAIN_DIGEST);
    }

    /// Ten blocks of speech and six of random bits, as the `data` of a WAV given to sox.
    #[test]
    fn wav49_blocks_decode_as_sox_does() {
        let mut plaintext = Vec::new();
        let mut gsm = Gsm::new();
        for block in WAV49.as_chunks().0 {
            gsm.decode_wav49(block, &mut plaintext);
        }
        assert_eq!(plaintext.len(), 16 * 2 * FRAME_SAMPLES);
        assert_eq!(digest(&plaintext), WAV49_DIGEST);
    }

    /// Corners that speech hardly reaches. Planted faults: a product that wraps; 20,069 for
    /// 20,070 in `reflection`. The vectors above pass with both.
    #[test]
    fn the_arithmetic_keeps_its_corners() {
        assert_eq!(mul(i16::MIN, i16::MIN), i16::MAX);
        assert_eq!(mul(i16::MIN, i16::MAX), -i16::MAX);
        for (ratio, expected) in [
            (11_058, 22_116),
            (11_059, 22_118),
            (20_069, 31_128),
            (20_070, 31_129),
            (-20_070, -31_129),
            (i16::MAX, i16::MAX),
            (i16::MIN, -i16::MAX),
        ] {
            assert_eq!(reflection(ratio), expected, "{ratio}");
        }
        assert_eq!(
            [peak(0), peak(1), peak(15), peak(16), peak(63)],
            [(-4, 7), (-3, 7), (0, 7), (1, 0), (6, 7)]
        );
    }

    #[test]
    fn a_frame_without_its_mark_is_silence_of_the_same_length() {
        let mut plaintext = Vec::new();
        Gsm::new().decode_plain(&[0; PLAIN_BYTES], &mut plaintext);
        assert_eq!(plaintext, [0; FRAME_SAMPLES]);
    }

    fn digest(plaintext: &[i16]) -> String {
        let bytes: Vec<u8> = plaintext.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    const PLAIN: &[u8] = include_bytes!("vectors/plain.gsm");
    const PLAIN_DIGEST: &str = "6c5a13fc15aa91ef5e7cf0d12da0186855284e963153cabb3f67494a9ccbdf44";
    const WAV49: &[u8] = include_bytes!("vectors/wav49.gsm");
    const WAV49_DIGEST: &str = "695e8e10425b5fce7d77a95ee8828cedb9a2f237094b9df7a54f547bf44495e3";
}
