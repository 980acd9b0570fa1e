//! Files for tests, made from samples.

use std::io::Cursor;

use hound::{SampleFormat, WavSpec, WavWriter};

/// A 16-bit WAV with a header of 44 bytes.
pub(super) fn wav(channels: u16, sample_rate: u32, samples: &[i16]) -> Vec<u8> {
    let spec =
        WavSpec { channels, sample_rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut file = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut file, spec).unwrap();
    samples.iter().for_each(|sample| writer.write_sample(*sample).unwrap());
    writer.finalize().unwrap();
    file.into_inner()
}

/// The same sound as a 16-bit AIFF at 8 kHz, which takes the way through the demuxer.
pub(super) fn aiff_8khz(channels: u16, samples: &[i16]) -> Vec<u8> {
    let frames = u32::try_from(samples.len()).unwrap() / u32::from(channels);
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_be_bytes()).collect();
    let data_bytes = u32::try_from(data.len()).unwrap() + 8;
    let rate_8khz_extended = [0x40, 0x0B, 0xFA, 0, 0, 0, 0, 0, 0, 0];
    [
        &b"FORM"[..],
        &(4 + 8 + 18 + 8 + data_bytes).to_be_bytes(),
        b"AIFFCOMM",
        &18_u32.to_be_bytes(),
        &channels.to_be_bytes(),
        &frames.to_be_bytes(),
        &16_u16.to_be_bytes(),
        &rate_8khz_extended,
        b"SSND",
        &data_bytes.to_be_bytes(),
        &[0; 8],
        &data,
    ]
    .concat()
}

/// A tone of ±`height`, eight frames a wave, with flanks that touch both ends.
pub(super) fn tone(frames: usize, height: i16) -> Vec<i16> {
    let wave = [0, height / 2, height, height / 2, 0, -height / 2, -height, -height / 2];
    wave.into_iter().cycle().take(frames).collect()
}
