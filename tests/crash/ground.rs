//! Two stores to record into, one of each layout, and what was recorded there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where recorders of the tests write: `vault` and `beside`, named after their layout.
pub(crate) struct Ground {
    root: PathBuf,
    /// What has to survive: path below the root, content.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    chance: Chance,
}

impl Ground {
    /// Makes both stores below `root`.
    pub(crate) fn new(root: &Path, seed: u64) -> Self {
        for layout in LAYOUTS {
            fs::create_dir_all(root.join(layout).join("2026/11")).unwrap();
        }
        Self { root: root.to_owned(), files: BTreeMap::new(), chance: Chance(seed | 1) }
    }

    /// The folder of both.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Writes the configuration for stores below `root` to `folder`; where it lies.
    pub(crate) fn config(root: &Path, folder: &Path) -> String {
        // Three at a time, so that a dozen recordings pass each place several times.
        let mut text = "log = \"warn\"\n[vault]\nreserve = \"1MiB\"\n\
             [ingest]\nworkers = 2\nbatch = 3\nreconcile_every = \"2s\"\n"
            .to_owned();
        for layout in LAYOUTS {
            let path = root.join(layout);
            text += &format!(
                "[[store]]\npath = {path:?}\nlayout = \"{layout}\"\nsettle = \"1s\"\n\
                 empty_wait = \"1s\"\nunfinished_wait = \"1s\"\npair_within = \"3s\"\n"
            );
        }
        let file = folder.join("recseal.toml");
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// Records `content` and remembers it; the folders exist.
    pub(crate) fn record(&mut self, path: &str, content: Vec<u8>) {
        fs::write(self.root.join(path), &content).unwrap();
        self.files.insert(path.to_owned(), content);
    }

    /// A dozen recordings, four of them with a sidecar, one empty, one of 20 MB.
    pub(crate) fn record_a_dozen(&mut self) {
        for number in 0..12_u64 {
            let layout = LAYOUTS[number as usize % 2];
            let folder = if number % 3 == 0 { "2026/11/" } else { "" };
            let content = match number {
                4 => Vec::new(),
                5 => self.chance.bytes(20 << 20),
                _ => self.wav(2_000 + 37_001 * number as usize),
            };
            let suffix = if number == 5 { "mp4" } else { "wav" };
            self.record(&format!("{layout}/{folder}call-{number}.{suffix}"), content);
            if number < 8 && number % 4 < 2 {
                let text = format!("{{\"caller\": {}}}", self.chance.next());
                self.record(&format!("{layout}/{folder}call-{number}.json"), text.into_bytes());
            }
        }
    }

    /// Some more files, as a recorder makes them: in place, by rename, with a sidecar. Durable
    /// before this returns if `is_synced`; else they are not remembered.
    pub(crate) fn record_some(&mut self, is_synced: bool) {
        for _ in 0..1 + self.chance.below(4) {
            let layout = LAYOUTS[self.chance.below(2) as usize];
            let folder = ["", "2026/", "2026/11/"][self.chance.below(3) as usize];
            let stem = format!("{layout}/{folder}call-{:016x}", self.chance.next());
            let len = self.chance.below(150_000) as usize;
            let wav = self.wav(len);
            self.write(&format!("{stem}.wav"), wav, is_synced);
            if self.chance.below(3) == 0 {
                let text = format!("{{\"caller\": {}}}", self.chance.next());
                self.write(&format!("{stem}.json"), text.into_bytes(), is_synced);
            }
        }
    }

    fn write(&mut self, path: &str, content: Vec<u8>, is_synced: bool) {
        let target = self.root.join(path);
        let by_rename = self.chance.below(2) == 0;
        let name = if by_rename { target.with_extension("tmp") } else { target.clone() };
        let mut file = File::create(&name).unwrap();
        let half = content.len() / 2;
        file.write_all(&content[..half]).unwrap();
        file.write_all(&content[half..]).unwrap();
        if is_synced {
            file.sync_all().unwrap();
        }
        drop(file);
        if by_rename {
            fs::rename(&name, &target).unwrap();
        }
        if is_synced {
            File::open(target.parent().unwrap()).unwrap().sync_all().unwrap();
            self.files.insert(path.to_owned(), content);
        }
    }

    /// A WAV of about `len` bytes that no other one equals.
    pub(crate) fn wav(&mut self, len: usize) -> Vec<u8> {
        let samples = self.chance.bytes(len.next_multiple_of(2) + 16);
        let len = samples.len() as u32;
        let mut wav = [b"RIFF".as_slice(), &(len + 36).to_le_bytes()].concat();
        wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
        wav.extend(8_000_u32.to_le_bytes());
        wav.extend(16_000_u32.to_le_bytes());
        wav.extend(b"\x02\0\x10\0data");
        wav.extend(len.to_le_bytes());
        wav.extend(samples);
        wav
    }
}

/// What lies in the stores below `root` that is neither a finished sealed file nor an id file:
/// originals, drafts, removals. Paths below `root`.
pub(crate) fn left_in(root: &Path) -> Vec<String> {
    let mut left = Vec::new();
    let mut waiting: Vec<PathBuf> = LAYOUTS.iter().map(|layout| root.join(layout)).collect();
    while let Some(folder) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            } else if name != ".recseal-store" && !name.ends_with(".sealed") {
                let path = entry.path();
                left.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    left
}

/// Enough chance for tests, and the same again for the same seed.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// One of the numbers below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// Stores, and how each keeps its sealed files.
pub(crate) const LAYOUTS: [&str; 2] = ["vault", "beside"];
