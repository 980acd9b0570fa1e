//! Bytes that occur nowhere else, to be looked for afterwards.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Some 40 bytes that no other test, run or program writes.
#[derive(Clone, Debug)]
pub struct Marker(String);

impl Marker {
    /// A new one for each call.
    pub fn new() -> Self {
        Self(format!("MARKER::{}", uuid::Uuid::now_v7()))
    }

    /// The same in 32 bytes, for the smallest files.
    pub fn short() -> Self {
        Self(uuid::Uuid::now_v7().simple().to_string())
    }

    /// The text, for names and metadata.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// `len_bytes` full of it, each with its number so that no two blocks are equal: a file
    /// system that stores equal blocks once cannot hide one.
    pub fn fill(&self, len_bytes: usize) -> Vec<u8> {
        let numbered = (0..).flat_map(|n: u64| format!("{}#{n:016x}", self.0).into_bytes());
        numbered.take(len_bytes).collect()
    }

    /// A WAV as Asterisk writes it (8 kHz, 16 bit, mono) whose samples are [`Marker::fill`].
    pub fn wav(&self, seconds: u32) -> Vec<u8> {
        let samples = self.fill(seconds as usize * 16_000);
        let len = u32::try_from(samples.len()).expect("a test recording is short");
        let mut wav = Vec::with_capacity(44 + samples.len());
        wav.extend(b"RIFF");
        wav.extend((len + 36).to_le_bytes());
        wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
        wav.extend(8_000_u32.to_le_bytes());
        wav.extend(16_000_u32.to_le_bytes());
        wav.extend(b"\x02\0\x10\0data");
        wav.extend(len.to_le_bytes());
        wav.extend(samples);
        wav
    }

    /// How often it occurs in one file, device or image. Constant memory.
    pub fn count_in_file(&self, path: &Path) -> u64 {
        let mut file = File::open(path).expect("the file to search opens");
        let (mut window, mut kept, mut found) = (vec![0; 2 * WINDOW_BYTES], 0, 0);
        loop {
            let read = file.read(&mut window[kept..]).expect("the file to search reads");
            let filled = kept + read;
            // Devices are mostly zeros, and comparing is quick where searching is not.
            if window[..filled] != ZEROS[..filled] {
                found += count(&window[..filled], self.0.as_bytes());
            }
            if read == 0 {
                return found;
            }
            // The tail may hold the beginning of one, but never a whole one: no double count.
            kept = filled.min(self.0.len() - 1);
            window.copy_within(filled - kept..filled, 0);
        }
    }

    /// How often it occurs in all files under `folder`, their names included.
    pub fn count_in_tree(&self, folder: &Path) -> u64 {
        let entries = std::fs::read_dir(folder).expect("the folder to search lists").flatten();
        entries.fold(0, |found, entry| {
            let name = u64::from(entry.file_name().to_string_lossy().contains(&self.0));
            let inside = match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.count_in_tree(&entry.path()),
                Ok(kind) if kind.is_file() => self.count_in_file(&entry.path()),
                _ => 0,
            };
            found + name + inside
        })
    }
}

fn count(haystack: &[u8], needle: &[u8]) -> u64 {
    let mut found = 0;
    let mut at = 0;
    while let Some(offset) = haystack[at..].iter().position(|byte| *byte == needle[0]) {
        at += offset;
        found += u64::from(haystack[at..].starts_with(needle));
        at += 1;
    }
    found
}

const WINDOW_BYTES: usize = 1 << 16;
static ZEROS: [u8; 2 * WINDOW_BYTES] = [0; 2 * WINDOW_BYTES];
