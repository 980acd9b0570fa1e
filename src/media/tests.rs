//! The manifest of `media-fixtures/`, walked; and damage of every kind done to every file of it.

use std::io::Cursor;

use proptest::prelude::*;
use proptest::sample::Index;
use sha2::Digest;

use super::*;

/// One row of `media-fixtures/manifest.toml`.
#[derive(Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    file: String,
    renamed: Option<String>,
    cut: Option<usize>,
    #[serde(default)]
    fill: Vec<(usize, usize, u8)>,
    container: String,
    codec: Option<String>,
    duration_ms: Option<u64>,
    channels: Option<u16>,
    sample_rate_hz: Option<u32>,
    width: Option<u32>,
    height: Option<u32>,
    damage: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    #[expect(dead_code, reason = "for people")]
    origin: String,
    #[expect(dead_code, reason = "for people")]
    licence: String,
    case: Vec<Case>,
}

impl Case {
    fn content(&self) -> Vec<u8> {
        let mut content = fixture(&self.file);
        content.truncate(self.cut.unwrap_or(usize::MAX));
        for (at, len, byte) in &self.fill {
            content[*at..at + len].fill(*byte);
        }
        content
    }

    fn extension(&self) -> &str {
        self.renamed.as_deref().unwrap_or_else(|| self.file.rsplit('.').next().unwrap())
    }

    fn name(&self) -> String {
        let Self { file, renamed, cut, fill, .. } = self;
        format!("{file} renamed {renamed:?} cut {cut:?} fill {fill:?}")
    }

    /// Everything but the duration, which may be off by [`DURATION_OFF_MS`], by twice that
    /// in a damaged file.
    fn expected(&self) -> MediaInfo {
        MediaInfo {
            container: self.container.clone(),
            codec: self.codec.clone(),
            duration_ms: None,
            channels: self.channels,
            sample_rate_hz: self.sample_rate_hz,
            width: self.width,
            height: self.height,
            damage: self.damage.as_deref().map(|name| Damage::from_name(name).expect(name)),
        }
    }
}

fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("media-fixtures")
}

fn fixture(file: &str) -> Vec<u8> {
    std::fs::read(folder().join(file)).expect(file)
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(folder().join("manifest.toml")).unwrap();
    toml::from_str::<Manifest>(&text).unwrap().case
}

fn whole_files() -> Vec<Case> {
    let is_whole = |case: &Case| case.cut.is_none() && case.fill.is_empty();
    cases().into_iter().filter(|case| is_whole(case) && case.renamed.is_none()).collect()
}

fn probed(content: &[u8], extension: &str) -> MediaInfo {
    probe(&mut Cursor::new(content), Hint { extension })
}

fn read_directly(content: &[u8], extension: &str) -> MediaInfo {
    // Not `probe`, which would hide a panic.
    read(&mut Cursor::new(content), Hint { extension })
}

/// Planted faults: the size of `data` believed, a cut Ogg page taken, channels taken from beside
/// `esds`, the last `moof` counted without its data, a FLAC as long as its header says.
#[test]
fn every_case_probes_as_its_row_says() {
    for case in cases() {
        // By content: the name may be missing or lie, unless it is all there is.
        let needs_name = case.container == "raw" || case.container == "unknown";
        let others = if needs_name { &[][..] } else { &["", "mp3", "wav", "gsm", "mp4"] };
        for extension in others.iter().copied().chain([case.extension()]) {
            let found = probed(&case.content(), extension);
            let name = format!("{} as {extension:?}", case.name());
            let off_ms = match (found.duration_ms, case.duration_ms) {
                (Some(found), Some(expected)) => found.abs_diff(expected),
                (None, None) => 0,
                (found, expected) => panic!("{name}: {found:?} ms, expected {expected:?}"),
            };
            let is_whole = case.damage.is_none();
            let allowed_ms = if is_whole { DURATION_OFF_MS } else { 2 * DURATION_OFF_MS };
            assert!(off_ms <= allowed_ms, "{name}: off by {off_ms} ms: {found:?}");
            assert_eq!(MediaInfo { duration_ms: None, ..found }, case.expected(), "{name}");
        }
    }
}

#[test]
fn the_fixtures_are_the_pinned_ones() {
    let sums = std::fs::read_to_string(folder().join("SHA256SUMS")).unwrap();
    for line in sums.lines() {
        let (sum, file) = line.split_once("  ").expect("as sha256sum writes it");
        let digest = sha2::Sha256::digest(fixture(file));
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, sum, "{file}");
    }
    for case in cases() {
        assert!(sums.contains(&format!("  {}\n", case.file)), "{} is not pinned", case.file);
    }
}

/// A cut anywhere shows, and never makes a recording longer. Excepted are formats that are a row
/// of equal pieces and nothing else, because between two of them there is nothing to see, and a
/// tag behind the sound.
///
/// Planted fault: the end flag of Ogg ignored.
#[test]
fn a_cut_anywhere_is_damage() {
    for case in whole_files() {
        let whole = case.content();
        let whole_ms = case.duration_ms.unwrap();
        let is_row = matches!(case.container.as_str(), "raw" | "mpegts" | "aac" | "flv")
            || case.file.starts_with("fragmented")
            || matches!(case.file.as_str(), "no_index.mp3" | "tagged.mp3");
        let step = whole.len() / 41;
        let lengths = (1..whole.len()).step_by(step).chain(whole.len() - 40..whole.len());
        for len in lengths {
            let found = probed(&whole[..len], case.extension());
            let ms = found.duration_ms.unwrap_or(0);
            assert!(ms <= whole_ms + DURATION_OFF_MS, "{} cut to {len}: {ms} ms", case.file);
            assert!(is_row || found.damage.is_some(), "{} cut to {len}: {found:?}", case.file);
        }
    }
}

/// Planted fault: the declared size of `data` is believed.
#[test]
fn samples_are_where_they_were_written() {
    for frames in [0usize, 1, 2, 7_999, 8_000] {
        let mut file = Cursor::new(Vec::new());
        let written: Vec<i16> = (0..frames * 2).map(|n| (n * 37) as i16).collect();
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: 8_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
        written.iter().for_each(|sample| writer.write_sample(*sample).unwrap());
        writer.finalize().unwrap();
        let mut content = file.into_inner();
        for cut in [0, 1, 2, 3] {
            content.truncate(content.len() - cut);
            let found = samples(&mut Cursor::new(&content[..]), Hint { extension: "" }).unwrap();
            assert_eq!((found.codec, found.block_bytes), (SampleCodec::PcmS16Le, 4));
            let data = &content[found.data_at as usize..][..found.data_bytes as usize];
            let read = data.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
            assert!(read.eq(written[..data.len() / 2].iter().copied()), "{frames} cut by {cut}");
            assert_eq!(found.data_at as usize + data.len(), content.len());
            if frames < 2 {
                break;
            }
        }
    }
}

#[test]
fn samples_of_the_fixtures_are_as_long_as_they_are() {
    let mut seen = 0;
    for case in whole_files() {
        let mut source = Cursor::new(case.content());
        let Some(found) = samples(&mut source, Hint { extension: case.extension() }) else {
            continue;
        };
        let frames =
            found.data_bytes / u64::from(found.block_bytes) * u64::from(found.frames_per_block);
        let ms = to_ms(frames, found.sample_rate_hz.into()).unwrap();
        assert!(ms.abs_diff(1_500) <= 20, "{}: {found:?}", case.file);
        assert_eq!(Some(found.channels), case.channels, "{}", case.file);
        seen += 1;
    }
    assert_eq!(seen, 19);
}

/// A file that repeats one pattern for gigabytes, and counts what is read of it.
struct Pattern {
    head: Vec<u8>,
    pattern: Vec<u8>,
    len_bytes: u64,
    at: u64,
    read_bytes: u64,
}

impl std::io::Read for Pattern {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let at = self.at as usize;
        let rest = match self.head.get(at..) {
            Some(head) if !head.is_empty() => head,
            _ => &self.pattern[(at - self.head.len()) % self.pattern.len()..],
        };
        let there = self.len_bytes.saturating_sub(self.at).min(buffer.len() as u64) as usize;
        let there = there.min(rest.len());
        buffer[..there].copy_from_slice(&rest[..there]);
        self.at += there as u64;
        self.read_bytes += there as u64;
        Ok(there)
    }
}

impl Seek for Pattern {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.at = match to {
            std::io::SeekFrom::Start(at) => at,
            std::io::SeekFrom::End(back) => self.len_bytes.saturating_add_signed(back),
            std::io::SeekFrom::Current(by) => self.at.saturating_add_signed(by),
        };
        Ok(self.at)
    }
}

/// Planted fault: filling the window is free.
#[test]
fn a_file_made_to_cost_time_costs_what_the_purse_holds() {
    let mut far_apart = b"\0\0\x20\0free".to_vec();
    far_apart.resize(0x2000, 0);
    let hostile: [(&str, &[u8], &[u8]); 8] = [
        ("boxes far apart", b"\0\0\0\x08ftyp", &far_apart),
        ("boxes", b"\0\0\0\x08ftyp", b"\0\0\0\x08free"),
        ("chunks", b"RIFF\0\0\0\0WAVE", b"junk\0\0\0\0"),
        ("lists", b"RIFF\0\0\0\0AVI ", b"LIST\x04\0\0\0hdrl"),
        ("elements", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff", b"\xec\x80"),
        ("tags", b"ID3\x04\0\0\0\0\0\0", b"ID3\x04\0\0\0\0\0\0"),
        ("frames", b"", b"\xff\xf1\x6c\x40\x01\x1f\xfc\0"),
        ("packets", b"", b"\x47\x40\0\x10\0"),
    ];
    for (name, head, pattern) in hostile {
        let (head, pattern) = (head.to_vec(), pattern.repeat(1_000));
        let mut source = Pattern { head, pattern, len_bytes: 3 << 30, at: 0, read_bytes: 0 };
        probe(&mut source, Hint { extension: "" });
        assert!(source.read_bytes <= bytes::WORK_BYTES_MAX, "{name}: {}", source.read_bytes);
    }
}

/// Six gigabytes of 48 kHz stereo in the flavour made for it.
#[test]
fn a_long_rf64_is_measured_by_its_long_sizes() {
    let mut head = fixture("pcm.rf64")[..80].to_vec();
    let data_bytes = 6u64 << 30;
    head[20..28].copy_from_slice(&(data_bytes + 72).to_le_bytes());
    head[28..36].copy_from_slice(&data_bytes.to_le_bytes());
    let len_bytes = data_bytes + 80;
    let mut source = Pattern { head, pattern: vec![0; 4_096], len_bytes, at: 0, read_bytes: 0 };
    let found = probe(&mut source, Hint { extension: "" });
    assert_eq!((found.damage, found.duration_ms), (None, Some(data_bytes / 16)));
}

#[test]
fn what_a_browser_gets() {
    let served = |file: &str| {
        let info = probed(&fixture(file), file.rsplit('.').next().unwrap());
        (content_type(&info), browser_plays(&info))
    };
    for (file, expected) in [
        ("pcm_s16.wav", ("audio/wav", true)),
        ("mulaw.wav", ("audio/wav", true)),
        ("mp3_in.wav", ("audio/wav", true)),
        ("gsm610.wav", ("audio/wav", false)),
        ("ima_adpcm.wav", ("audio/wav", false)),
        ("raw.gsm", ("application/octet-stream", false)),
        ("speex.ogg", ("audio/ogg", false)),
        ("opus.ogg", ("audio/ogg", true)),
        ("aac.m4a", ("audio/mp4", true)),
        ("alac.m4a", ("audio/mp4", false)),
        ("silent.mp4", ("video/mp4", true)),
        ("opus.webm", ("audio/webm", true)),
        ("h264_mulaw.mkv", ("video/x-matroska", true)),
        ("mpeg4_pcm.avi", ("video/x-msvideo", false)),
    ] {
        assert_eq!(served(file), expected, "{file}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    /// Every fixture, cut and with some bytes changed; half of the changes in its header. No
    /// panic, no number that the file's length does not allow.
    #[test]
    fn damage_never_panics(
        cut in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), any::<bool>(), any::<u8>()), 1..12),
        is_cut in any::<bool>(),
    ) {
        for case in whole_files() {
            let mut content = case.content();
            if is_cut {
                content.truncate(cut.index(content.len()) + 1);
            }
            for (at, is_in_header, byte) in &changes {
                let range = if *is_in_header { content.len().min(200) } else { content.len() };
                content[at.index(range)] = *byte;
            }
            check_sound(&content, case.extension());
        }
    }

    /// Nonsense behind every beginning that a reader believes.
    #[test]
    fn nonsense_never_panics(
        nonsense in prop::collection::vec(any::<u8>(), 0..2_000),
        keep in 0..64usize,
    ) {
        for case in whole_files() {
            let mut content = case.content();
            content.truncate(keep);
            content.extend(&nonsense);
            check_sound(&content, case.extension());
        }
        check_sound(&nonsense, "gsm");
    }
}

fn check_sound(content: &[u8], extension: &str) {
    let info = read_directly(content, extension);
    assert!(info.duration_ms.is_none_or(|ms| ms < DURATION_MS_MAX));
    assert!(info.channels != Some(0) && info.sample_rate_hz != Some(0), "{info:?}");
    if let Some(found) = samples(&mut Cursor::new(content), Hint { extension }) {
        assert!(found.data_at + found.data_bytes <= content.len() as u64);
        assert!(found.channels > 0 && found.sample_rate_hz > 0);
        assert!(found.block_bytes > 0 && found.frames_per_block > 0);
    }
}

const DURATION_OFF_MS: u64 = 50;
