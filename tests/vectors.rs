//! Frozen sealed files, opened by recseal, by a second reader that was written from the manual, and
//! by someone else's FLOE. The format of the vectors is in `src/manual/format.md`.
//!
//! Planted faults that this finds and no round trip can: another label, another order or another
//! byte order on both sides, and a cipher or a layout that changes with a dependency.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "vectors/second_reader.rs"]
mod second_reader;

use std::fs;
use std::io::Write;
use std::path::Path;

use keymanager::DataKey;
use recseal::domain::{RecordingId, SealedKind};
use recseal::seal::{Prefix, SealError, SealWriter, SealedReader, prove_equal, verify_whole};
use second_reader::{CHUNK, KeyFile, TEXT, hex};
use sha2::{Digest, Sha256};

#[test]
fn every_vector_is_as_its_header_says() {
    let mut seen = 0;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")).unwrap()
    {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let name = path.file_stem().unwrap().to_str().unwrap();
            check(name, &Vector::parse(&fs::read_to_string(&path).unwrap()));
            seen += 1;
        }
    }
    assert_eq!(seen, 31, "a vector was added or lost");
}

fn check(name: &str, vector: &Vector) {
    let sealed = vector.build();
    assert_eq!(sealed.len(), vector.length, "{name}: length");
    assert_eq!(hex::encode(&Sha256::digest(&sealed)), vector.sha256, "{name}: digest");

    let plain = pattern(vector.plain_len);
    let expected = if vector.expect == "opens" { Some(&plain) } else { None };
    let ours = open_by_recseal(&vector.key_file, &sealed);
    assert_eq!(ours.as_ref().ok(), expected, "{name}: recseal");
    let verdict = ours.map_or_else(|error| name_of(&error), |_| "opens".to_owned());
    assert_eq!(verdict, vector.expect, "{name}: recseal");

    let key = KeyFile::read(&vector.key_file);
    assert_eq!(second_reader::open(&key, &sealed).ok().as_ref(), expected, "{name}: second reader");
    assert_eq!(open_by_fast_floe(&key, &sealed).as_ref(), expected, "{name}: fast-floe");
}

/// The direction that vectors cannot cover, because real IVs are random.
#[test]
fn the_others_open_what_recseal_seals() {
    for len in [0, 1, TEXT - 1, TEXT, TEXT + 1, 17 * TEXT + 9] {
        let (key, recording) = (DataKey::generate(), RecordingId::new());
        let prefix = Prefix::new(recording, &key, SealedKind::Media);
        let mut writer = SealWriter::new(&key, prefix, Vec::new()).unwrap();
        writer.write_all(&pattern(len)).unwrap();
        let (sealed, _) = writer.finish().unwrap();
        let exported = KeyFile::read(&key.expose_export(recording.0));
        assert_eq!(second_reader::open(&exported, &sealed).unwrap(), pattern(len), "{len}");
        assert_eq!(open_by_fast_floe(&exported, &sealed).unwrap(), pattern(len), "{len}");
    }
}

fn open_by_recseal(key_file: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let (recording, key) = DataKey::import(key_file).unwrap();
    let reader = SealedReader::open(&key, sealed)?;
    let plain_bytes = verify_whole(&reader, 1)?;
    let mut plain = vec![0; plain_bytes as usize];
    reader.read_at(&mut plain, 0)?;
    let proof = prove_equal(&reader, &plain, 1)?;
    assert_eq!(proof.recording(), RecordingId(recording));
    Ok(plain)
}

fn open_by_fast_floe(key: &KeyFile, sealed: &[u8]) -> Option<Vec<u8>> {
    let (prefix, message) = sealed.split_at_checked(64)?;
    let key = fast_floe::Key::from_bytes(key.key.clone().try_into().unwrap());
    let parameters = fast_floe::Parameters::with_segment_length(CHUNK as u32).unwrap();
    fast_floe::decrypt_with_parameters(&key, prefix, parameters, message).ok()
}

/// The names of the vectors' `expect` field.
fn name_of(error: &SealError) -> String {
    match error {
        SealError::NotSealed => "not sealed".into(),
        SealError::UnsupportedVersion { .. } => "unsupported version".into(),
        SealError::UnsupportedPrefix => "unsupported prefix".into(),
        SealError::UnsupportedParameters { .. } => "unsupported parameters".into(),
        SealError::WrongKey { .. } => "wrong key".into(),
        SealError::DamagedChunk { chunk, .. } => format!("damaged chunk {chunk}"),
        SealError::Truncated { .. } => "truncated".into(),
        SealError::TooLong { .. } => "too long".into(),
        other => panic!("no vector is refused with: {other}"),
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (7 * i + i / 251 + 3) as u8).collect()
}

#[derive(Default)]
struct Vector {
    expect: String,
    plain_len: usize,
    kind: u8,
    iv: Vec<u8>,
    has_empty_last: bool,
    edits: Vec<String>,
    length: usize,
    sha256: String,
    key_file: String,
    sealed: Option<Vec<u8>>,
}

impl Vector {
    fn parse(text: &str) -> Self {
        let mut vector = Self::default();
        let mut sections = text.split("\n\n");
        let fields = sections.next().unwrap().lines().filter(|line| !line.starts_with('#'));
        for field in fields {
            let (name, value) = field.split_once(": ").unwrap();
            match name {
                "expect" => vector.expect = value.into(),
                "plaintext" => {
                    vector.plain_len = value.strip_prefix("pattern ").unwrap().parse().unwrap();
                }
                "kind" => vector.kind = value.parse().unwrap(),
                "iv" => vector.iv = hex::decode(value),
                "chunks" => vector.has_empty_last = value == "empty last",
                "edit" => vector.edits.push(value.into()),
                "length" => vector.length = value.parse().unwrap(),
                "sha256" => vector.sha256 = value.into(),
                other => panic!("unknown field {other}"),
            }
        }
        for section in sections {
            match section.split_once('\n').unwrap() {
                ("key-file", text) => vector.key_file = text.into(),
                ("sealed", text) => vector.sealed = Some(hex::decode(&text.replace('\n', ""))),
                (other, _) => panic!("unknown section {other}"),
            }
        }
        vector
    }

    /// As written out, or else as the manual says how to build it. The builder has the data key of
    /// the key file, so a vector for the wrong key must be written out.
    fn build(&self) -> Vec<u8> {
        let plain = pattern(self.plain_len);
        let mut texts: Vec<_> = plain.chunks(TEXT).collect();
        if texts.is_empty() || self.has_empty_last {
            texts.push(&[]);
        }
        let key = KeyFile::read(&self.key_file);
        let mut file = second_reader::seal(&key, self.kind, &self.iv, &texts);
        for edit in &self.edits {
            apply(&mut file, edit);
        }
        match &self.sealed {
            Some(sealed) => {
                assert!(*sealed == file || self.expect == "wrong key");
                sealed.clone()
            }
            None => file,
        }
    }
}

fn apply(file: &mut Vec<u8>, edit: &str) {
    let words: Vec<&str> = edit.split(' ').collect();
    let number = |at: usize| words[at].parse::<usize>().unwrap();
    match words[0] {
        "flip" => file[number(1)] ^= 1 << number(2),
        "set" => {
            let bytes = hex::decode(words[2]);
            file[number(1)..][..bytes.len()].copy_from_slice(&bytes);
        }
        "cut" => file.truncate(number(1)),
        "append" => file.extend(hex::decode(words[1])),
        "swap" => {
            let chunk = |at: usize| 138 + number(at) * CHUNK..138 + (number(at) + 1) * CHUNK;
            let first = file[chunk(1)].to_vec();
            file.copy_within(chunk(2), chunk(1).start);
            file[chunk(2)].copy_from_slice(&first);
        }
        other => panic!("unknown edit {other}"),
    }
}
