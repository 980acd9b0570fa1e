//! Sample codings: the arithmetic that turns stored bytes into 16-bit samples.
//!
//! Stateless codings only, so any block can be decoded on its own; GSM, which remembers, is in
//! [`gsm`](super::gsm). Wider samples are cut to their top 16 bits, floats are clipped at ±1 and
//! a float that is not a number is silence.

use super::SampleCodec;

impl SampleCodec {
    /// Bytes and frames of one block of `channels`; what a header says must agree with it.
    pub(super) fn block(self, channels: u16) -> (u32, u32) {
        let channels = u32::from(channels);
        match self {
            Self::PcmU8 | Self::MuLaw | Self::ALaw => (channels, 1),
            Self::PcmS16Le | Self::PcmS16Be => (2 * channels, 1),
            Self::PcmS24Le => (3 * channels, 1),
            Self::PcmS32Le | Self::PcmF32Le => (4 * channels, 1),
            Self::PcmF64Le => (8 * channels, 1),
            Self::Gsm => (33, 160),
            Self::GsmMs => (65, 320),
        }
    }

    /// Appends the samples of `bytes`, which are whole blocks of a coding without memory.
    pub(super) fn decode(self, bytes: &[u8], plaintext: &mut Vec<i16>) {
        match self {
            Self::PcmU8 => plaintext.extend(bytes.iter().map(|b| (i16::from(*b) - 128) << 8)),
            Self::MuLaw => plaintext.extend(bytes.iter().map(|b| mu_law(*b))),
            Self::ALaw => plaintext.extend(bytes.iter().map(|b| a_law(*b))),
            Self::PcmS16Le => each(bytes, plaintext, i16::from_le_bytes),
            Self::PcmS16Be => each(bytes, plaintext, i16::from_be_bytes),
            Self::PcmS24Le => each(bytes, plaintext, |[_, b, c]| i16::from_le_bytes([b, c])),
            Self::PcmS32Le => each(bytes, plaintext, |[_, _, c, d]| i16::from_le_bytes([c, d])),
            Self::PcmF32Le => {
                each(bytes, plaintext, |b| from_float(f64::from(f32::from_le_bytes(b))));
            }
            Self::PcmF64Le => each(bytes, plaintext, |b| from_float(f64::from_le_bytes(b))),
            Self::Gsm | Self::GsmMs => unreachable!("GSM has memory and a decoder of its own"),
        }
    }
}

fn each<const N: usize>(bytes: &[u8], plaintext: &mut Vec<i16>, sample: fn([u8; N]) -> i16) {
    plaintext.extend(bytes.as_chunks::<N>().0.iter().map(|chunk| sample(*chunk)));
}

/// `as` clips at both ends and turns "not a number" into zero, which is what we want here.
#[expect(clippy::cast_possible_truncation, reason = "clipping is the point")]
fn from_float(sample: f64) -> i16 {
    (sample * 32_768.0) as i16
}

/// ITU-T G.711 µ-law, scaled to 16 bits.
fn mu_law(code: u8) -> i16 {
    let code = !code;
    let size = ((i16::from(code & 0xF) << 3) + 0x84) << (code >> 4 & 7);
    if code & 0x80 == 0 { size - 0x84 } else { 0x84 - size }
}

/// ITU-T G.711 A-law, scaled to 16 bits.
fn a_law(code: u8) -> i16 {
    let code = code ^ 0x55;
    let step = (i16::from(code & 0xF) << 4) + 8;
    let size = match code >> 4 & 7 {
        0 => step,
        segment => (step + 0x100) << (segment - 1),
    };
    if code & 0x80 == 0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// All 256 codes against `sox -t ul -r 8000 -c 1 all.raw -t s16 -` (and `-t al`). Planted
    /// fault: A-law segment 0 shifted like the others.
    #[test]
    fn g711_decodes_as_sox_does() {
        let codes: Vec<u8> = (0..=255).collect();
        for (codec, expected) in
            [(SampleCodec::MuLaw, MU_LAW_DIGEST), (SampleCodec::ALaw, A_LAW_DIGEST)]
        {
            let bytes: Vec<u8> =
                decoded(codec, &codes).iter().flat_map(|sample| sample.to_le_bytes()).collect();
            let digest: String =
                Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digest, expected, "{codec:?}");
        }
    }

    /// Both ends and the middle of every linear coding, and what is outside.
    #[test]
    fn linear_codings_keep_their_top_16_bits() {
        use SampleCodec as C;
        let float = |sample: f32| sample.to_le_bytes().to_vec();
        let double = |sample: f64| sample.to_le_bytes().to_vec();
        for (codec, bytes, expected) in [
            (C::PcmU8, vec![0, 128, 255], vec![-32_768, 0, 32_512]),
            (C::PcmS16Le, vec![0x34, 0x12, 0, 0x80], vec![0x1234, -32_768]),
            (C::PcmS16Be, vec![0x12, 0x34, 0x80, 0], vec![0x1234, -32_768]),
            (C::PcmS24Le, vec![0xFF, 0x34, 0x12, 1, 0, 0x80], vec![0x1234, -32_768]),
            (C::PcmS32Le, vec![9, 9, 0x34, 0x12, 0, 0, 0, 0x80], vec![0x1234, -32_768]),
            (C::PcmF32Le, float(0.5), vec![16_384]),
            (C::PcmF32Le, float(7.0), vec![32_767]),
            (C::PcmF32Le, float(f32::NAN), vec![0]),
            (C::PcmF64Le, double(f64::NEG_INFINITY), vec![-32_768]),
            (C::PcmF64Le, double(-0.25), vec![-8_192]),
        ] {
            assert_eq!(decoded(codec, &bytes), expected, "{codec:?}");
        }
    }

    fn decoded(codec: SampleCodec, bytes: &[u8]) -> Vec<i16> {
        let mut plaintext = Vec::new();
        codec.decode(bytes, &mut plaintext);
        plaintext
    }

    const MU_LAW_DIGEST: &str = "3dab54339e520bb2c924826e3b72a917a2b612e9fd12fc867500f1d983a75827";
    const A_LAW_DIGEST: &str = "e04788d110e58ff8c70c93b8480190d973e3b67876b6119abbaec766cc75c174";
}
