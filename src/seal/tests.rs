use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use keymanager::DataKey;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::domain::SealedKind;

const TEXT: usize = TEXT_BYTES as usize;
const BODY: usize = BODY_AT as usize;
const CHUNK: usize = floe::CHUNK_BYTES;

/// In memory, what a file is to the vault.
#[derive(Default)]
struct Memory {
    bytes: Mutex<Vec<u8>>,
    /// Operations until one fails; negative for never.
    fails_in: Mutex<i64>,
    hinted: AtomicU64,
}

impl Memory {
    fn failing(fails_in: i64) -> Self {
        Self { fails_in: Mutex::new(fails_in), ..Self::default() }
    }
}

impl WriteAt for Memory {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        count_down(&mut self.fails_in.lock().unwrap())?;
        let (mut bytes, at) = (self.bytes.lock().unwrap(), offset as usize);
        let end = bytes.len().max(at + buf.len());
        bytes.resize(end, 0);
        bytes[at..at + buf.len()].copy_from_slice(buf);
        Ok(())
    }

    fn written(&self, _offset: u64, len: u64) {
        self.hinted.fetch_add(len, Ordering::Relaxed);
    }
}

/// Reads like its bytes, in pieces, and can fail or change.
struct Source {
    bytes: Vec<u8>,
    fails_in: Mutex<i64>,
    /// What `len_bytes` says, one after the other; the last one stays.
    lens: Mutex<Vec<u64>>,
}

impl Source {
    fn new(bytes: &[u8], fails_in: i64) -> Self {
        let lens = Mutex::new(vec![bytes.len() as u64]);
        Self { bytes: bytes.to_vec(), fails_in: Mutex::new(fails_in), lens }
    }
}

impl ReadAt for Source {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        count_down(&mut self.fails_in.lock().unwrap())?;
        let len = buf.len().min(40_000);
        self.bytes.read_at(&mut buf[..len], offset)
    }

    fn len_bytes(&self) -> io::Result<u64> {
        count_down(&mut self.fails_in.lock().unwrap())?;
        let mut lens = self.lens.lock().unwrap();
        Ok(if lens.len() > 1 { lens.remove(0) } else { lens[0] })
    }
}

fn count_down(left: &mut i64) -> io::Result<()> {
    *left -= 1;
    if *left == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (7 * i + i / 251 + 3) as u8).collect()
}

fn prefix(key: &DataKey) -> Prefix {
    Prefix::new(RecordingId::new(), key, SealedKind::Media)
}

fn seal(key: &DataKey, plain: &[u8], workers: usize) -> Vec<u8> {
    let memory = Memory::default();
    let sealed = seal_file(key, prefix(key), &plain.to_vec(), &memory, workers).unwrap();
    let bytes = memory.bytes.into_inner().unwrap();
    assert_eq!(sealed.plain_bytes, plain.len() as u64);
    assert_eq!(sealed.sealed_bytes, bytes.len() as u64);
    assert_eq!(sealed_len(plain.len() as u64), bytes.len() as u64);
    assert_eq!(memory.hinted.into_inner(), (bytes.len() - BODY) as u64);
    bytes
}

fn seal_stream(key: &DataKey, plain: &[u8], piece: usize) -> Vec<u8> {
    let mut writer = SealWriter::new(key, prefix(key), Vec::new()).unwrap();
    for piece in plain.chunks(piece) {
        writer.write_all(piece).unwrap();
        // Planted fault: nothing more, taken for more, leaves a full chunk that is not the last.
        assert_eq!(writer.write(&[]).unwrap(), 0);
    }
    let (bytes, sealed) = writer.finish().unwrap();
    assert_eq!((sealed.plain_bytes, sealed.sealed_bytes), (plain.len() as u64, bytes.len() as u64));
    assert_eq!(sealed_len(plain.len() as u64), bytes.len() as u64);
    bytes
}

fn open_whole(key: &DataKey, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let reader = SealedReader::open(key, sealed)?;
    verify_whole(&reader, 2)?;
    let mut plain = vec![0; reader.plain_bytes() as usize];
    assert_eq!(reader.read_at(&mut plain, 0)?, plain.len());
    Ok(plain)
}

/// Both sides of every border of chunks and of batches.
fn lengths() -> impl Strategy<Value = usize> {
    let borders = [0, TEXT, 2 * TEXT, 16 * TEXT, 17 * TEXT].into_iter();
    let edges: Vec<_> =
        borders.flat_map(|border| [border.saturating_sub(1), border, border + 1]).collect();
    prop_oneof![select(edges), 0..3 * TEXT]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn opening_undoes_sealing(len in lengths(), workers in 0..4_usize, piece in 1..100_000_usize) {
        let (key, plain) = (DataKey::generate(), pattern(len));
        for sealed in [seal(&key, &plain, workers), seal_stream(&key, &plain, piece)] {
            prop_assert_eq!(open_whole(&key, &sealed).unwrap(), &plain[..]);
            let reader = SealedReader::open(&key, sealed).unwrap();
            let proof = prove_equal(&reader, &plain, workers).unwrap();
            prop_assert_eq!(proof.recording(), reader.prefix().recording);
            prop_assert_eq!(proof.plain_bytes(), len as u64);
        }
    }

    #[test]
    fn any_range_reads_as_in_the_original(
        len in lengths(),
        ranges in prop::collection::vec((any::<Index>(), 0..200_000_usize), 8),
    ) {
        let (key, plain) = (DataKey::generate(), pattern(len));
        let reader = SealedReader::open(&key, seal(&key, &plain, 1)).unwrap();
        let mut stream = SealedReader::open(&key, seal(&key, &plain, 1)).unwrap().into_stream();
        let mut model = Cursor::new(&plain);
        for (start, want) in ranges {
            let start = start.index(len + 2);
            let mut buf = vec![0xee; want];
            let got = reader.read_at(&mut buf, start as u64).unwrap();
            let end = len.min(start.saturating_add(want));
            prop_assert_eq!(&buf[..got], plain.get(start..end).unwrap_or_default());
            // A stream goes on reading where a seek put it.
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for reads in [want as u64, 90_000] {
                stream.by_ref().take(reads).read_to_end(&mut ours).unwrap();
                model.by_ref().take(reads).read_to_end(&mut theirs).unwrap();
            }
            prop_assert_eq!(ours, theirs);
            let to = SeekFrom::End(-(start.min(len) as i64));
            prop_assert_eq!(stream.seek(to).unwrap(), model.seek(to).unwrap());
        }
    }
}

proptest! {
    // Each case tries some hundred positions.
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Cut and flipped at every byte of prefix and header, on both sides of every chunk border,
    /// and once anywhere. Planted faults: no last mark in a chunk's associated data, a header tag
    /// that is not compared, a prefix that is not associated data.
    #[test]
    fn damage_is_refused(
        chunks in 0..4_usize,
        tail in 0..3_usize,
        anywhere in any::<Index>(),
        bit in 0..8_u32,
    ) {
        let (key, len) = (DataKey::generate(), (chunks * TEXT + tail).saturating_sub(1));
        let sealed = seal_stream(&key, &pattern(len), 1 << 20);
        let borders = (0..=chunks + 1).map(|chunk| BODY + chunk * CHUNK);
        let edges = borders.flat_map(|at| [at - 17, at - 16, at - 1, at, at + 3, at + 4, at + 16]);
        let positions = (0..BODY).chain(edges).chain([sealed.len() - 1, anywhere.index(sealed.len())]);
        for at in positions.filter(|at| *at < sealed.len()) {
            prop_assert!(open_whole(&key, &sealed[..at]).is_err(), "cut at {} of {}", at, len);
            prop_assert!(open_whole(&key, &flip(&sealed, at, bit)).is_err(), "flip at {} of {}", at, len);
        }
        for more in [1, 16, 32, CHUNK - 1, CHUNK, CHUNK + 1] {
            let longer = [&sealed[..], &vec![0; more]].concat();
            prop_assert!(SealedReader::open(&key, longer).is_err(), "{} more than {}", more, len);
        }
    }
}

fn flip(sealed: &[u8], at: usize, bit: u32) -> Vec<u8> {
    let mut flipped = sealed.to_vec();
    flipped[at] ^= 1 << bit;
    flipped
}

fn chunk(sealed: &[u8], index: usize) -> &[u8] {
    let from = BODY + index * CHUNK;
    &sealed[from..sealed.len().min(from + CHUNK)]
}

/// Planted fault: the index left out of a chunk's associated data lets the first two pass.
#[test]
fn chunks_that_were_moved_are_refused() {
    let key = DataKey::generate();
    let sealed = seal(&key, &pattern(4 * TEXT), 1);
    let other = seal(&key, &pattern(4 * TEXT), 1);
    let with = |chunks: [&[u8]; 4]| [&sealed[..BODY], &chunks.concat()].concat();
    let [a, b, c, d] = [0, 1, 2, 3].map(|index| chunk(&sealed, index));
    assert_eq!(open_whole(&key, &with([a, b, c, d])).unwrap(), pattern(4 * TEXT));
    for (what, chunks, bad) in [
        ("swapped", [b, a, c, d], 0),
        ("duplicated", [a, b, b, d], 2),
        ("from another file of the same key", [a, chunk(&other, 1), c, d], 1),
        ("a last chunk inside", [a, d, c, d], 1),
    ] {
        match open_whole(&key, &with(chunks)) {
            Err(SealError::DamagedChunk { chunk, .. }) => assert_eq!(chunk, bad, "{what}"),
            other => panic!("{what}: {:?}", other.map(|_| ())),
        }
    }
    // Cut at a border, with the length mark of a last chunk. Planted fault: whether a chunk is the
    // last one left out of its associated data.
    let mut cut = with([a, b, c, d])[..BODY + 3 * CHUNK].to_vec();
    cut[BODY + 2 * CHUNK..][..4].copy_from_slice(&(CHUNK as u32).to_be_bytes());
    assert!(matches!(open_whole(&key, &cut), Err(SealError::DamagedChunk { chunk: 2, .. })));
    let spliced = [&sealed[..BODY], &other[BODY..]].concat();
    assert!(matches!(open_whole(&key, &spliced), Err(SealError::DamagedChunk { chunk: 3, .. })));
}

#[test]
fn refusals_are_told_apart() {
    let key = DataKey::generate();
    let sealed = seal(&key, &pattern(2 * TEXT + 9), 1);
    let opened = |bytes: Vec<u8>| SealedReader::open(&key, bytes).map(|_| ()).unwrap_err();
    let end = sealed.len();
    assert!(matches!(opened(Vec::new()), SealError::NotSealed));
    assert!(matches!(opened(b"RIFF....WAVE".to_vec()), SealError::NotSealed));
    assert!(matches!(opened(flip(&sealed, 7, 1)), SealError::UnsupportedVersion { version: 3 }));
    assert!(matches!(opened(flip(&sealed, 40, 2)), SealError::UnsupportedPrefix));
    assert!(matches!(opened(flip(&sealed, 63, 0)), SealError::UnsupportedPrefix));
    assert!(matches!(opened(flip(&sealed, 67, 0)), SealError::UnsupportedParameters { .. }));
    for at in [8, 24, 80, 120] {
        assert!(matches!(opened(flip(&sealed, at, 0)), SealError::WrongKey { .. }), "byte {at}");
    }
    for cut in [10, 63, 64, 100, BODY, BODY + 31, end - 1, end - 41, end - 42, BODY + CHUNK] {
        let sealed_bytes = match opened(sealed[..cut].to_vec()) {
            SealError::Truncated { sealed_bytes } => sealed_bytes,
            other => panic!("cut at {cut}: {other}"),
        };
        assert_eq!(sealed_bytes, cut as u64);
    }
    assert!(matches!(opened([&sealed[..], b"x"].concat()), SealError::TooLong { .. }));
    let damaged = opened(flip(&sealed, end - 1, 0));
    assert!(matches!(damaged, SealError::DamagedChunk { chunk: 2, .. }));
    // A length that lies: nothing is reserved for what is not there.
    for (claimed, is_too_long) in [(u64::MAX, true), (end as u64 + 100_000, false)] {
        let mut liar = Source::new(&sealed, -1);
        liar.lens = Mutex::new(vec![claimed]);
        let refused = SealedReader::open(&key, liar).map(|_| ()).unwrap_err();
        assert_eq!(matches!(refused, SealError::TooLong { .. }), is_too_long, "{refused}");
        assert_eq!(matches!(refused, SealError::Truncated { .. }), !is_too_long, "{refused}");
    }
    let stranger = DataKey::generate();
    let refused = SealedReader::open(&stranger, &sealed[..]).map(|_| ());
    assert!(matches!(refused, Err(SealError::WrongKey { .. })));
    assert!(matches!(peek_prefix(&sealed), Ok(found) if found.kind == SealedKind::Media));
}

/// The specification allows it, though this writer never does it.
#[test]
fn an_empty_last_chunk_behind_full_ones_opens() {
    let key = DataKey::generate();
    let prefix = prefix(&key);
    let sealer = key.sealer(&prefix.to_bytes());
    let mut full = [vec![0; floe::CHUNK_PLAIN_AT], pattern(TEXT), vec![0; 16]].concat();
    sealer.seal_chunk(0, false, &mut full);
    let mut empty = vec![0; floe::CHUNK_OVERHEAD_BYTES];
    sealer.seal_chunk(1, true, &mut empty);
    let sealed = [&prefix.to_bytes()[..], sealer.header(), &full, &empty].concat();
    assert_eq!(open_whole(&key, &sealed).unwrap(), pattern(TEXT));
}

/// Planted fault: a stream that keeps calling its buffer opened after a failed read-ahead has put
/// something else there.
#[test]
fn a_stream_survives_a_damaged_chunk() {
    let (key, plain) = (DataKey::generate(), pattern(4 * TEXT));
    let sealed = flip(&seal(&key, &plain, 1), BODY + 2 * CHUNK + 99, 0);
    let mut stream = SealedReader::open(&key, sealed).unwrap().into_stream();
    let mut text = vec![0; TEXT];
    stream.read_exact(&mut text).unwrap();
    let error = stream.read_exact(&mut text).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    for start in [0, 3 * TEXT, TEXT] {
        stream.seek(SeekFrom::Start(start as u64)).unwrap();
        stream.read_exact(&mut text).unwrap();
        assert!(text == plain[start..start + TEXT], "from {start}");
    }
}

/// Every read and every write fails once, for both ways of sealing; none of what is left opens.
/// Planted fault: a writer that goes on after an error seals its chunk twice and says nothing.
#[test]
fn a_failed_operation_is_never_a_sealed_file() {
    let (key, plain) = (DataKey::generate(), pattern(20 * TEXT));
    for fails_in in 1.. {
        let memory = Memory::failing(fails_in);
        let done = seal_file(&key, prefix(&key), &plain, &memory, 2);
        let Err(error) = done else {
            assert_eq!(fails_in, 4, "a head and two batches are three writes");
            break;
        };
        assert!(matches!(error, SealError::WriteSealed { .. }) && error.is_transient());
        assert!(open_whole(&key, &memory.bytes.into_inner().unwrap()).is_err());
    }
    for fails_in in 1.. {
        let memory = Memory::default();
        let source = Source::new(&plain, fails_in);
        let done = seal_file(&key, prefix(&key), &source, &memory, 1);
        if done.is_ok() {
            assert!(fails_in > 40, "no operation was ever made to fail");
            break;
        }
        assert!(matches!(done, Err(SealError::ReadPlaintext { .. })), "read {fails_in}");
    }
    for fails_in in 1.. {
        let out = FailingOnce { memory: Vec::new(), fails_in };
        let Ok(mut writer) = SealWriter::new(&key, prefix(&key), out) else { continue };
        let mut failed = false;
        for piece in plain.chunks(TEXT / 2) {
            failed |= writer.write_all(piece).is_err();
        }
        match writer.finish() {
            Err(error) => assert!(matches!(error, SealError::WriteSealed { .. })),
            Ok((out, _)) => {
                assert!(!failed, "write {fails_in} failed and the file was finished all the same");
                assert_eq!(open_whole(&key, &out.memory).unwrap(), plain);
                assert_eq!(fails_in, 22, "a head and twenty chunks are 21 writes");
                break;
            }
        }
    }
}

struct FailingOnce {
    memory: Vec<u8>,
    fails_in: i64,
}

impl Write for FailingOnce {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        count_down(&mut self.fails_in)?;
        self.memory.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Planted faults: the length not asked again at the end, and a short read taken for the end.
#[test]
fn an_original_that_changes_is_neither_sealed_nor_proved() {
    let (key, plain) = (DataKey::generate(), pattern(2 * TEXT));
    let reader = SealedReader::open(&key, seal(&key, &plain, 1)).unwrap();
    let len = plain.len() as u64;
    for (what, real, lens, actual) in [
        ("grew", plain.clone(), vec![len, len + 1], len + 1),
        ("shrank", plain.clone(), vec![len, len - 1], len - 1),
        ("shrank before it was read", plain[..100].to_vec(), vec![len, len], 100),
    ] {
        let mut source = Source::new(&real, -1);
        source.lens = Mutex::new(lens.clone());
        let sealed = seal_file(&key, prefix(&key), &source, &Memory::default(), 1).map(|_| ());
        source.lens = Mutex::new(lens[1..].to_vec());
        let proved = prove_equal(&reader, &source, 1).map(|_| ());
        for refused in [sealed, proved] {
            match refused {
                Err(error @ SealError::SourceChanged { expected_bytes, actual_bytes, .. }) => {
                    assert_eq!((expected_bytes, actual_bytes), (len, actual), "{what}");
                    assert!(error.is_transient());
                }
                other => panic!("{what}: {other:?}"),
            }
        }
    }
    let mut endless = Source::new(b"", -1);
    endless.lens = Mutex::new(vec![u64::MAX]);
    let refused = seal_file(&key, prefix(&key), &endless, &Memory::default(), 1);
    assert!(matches!(refused, Err(SealError::TooLarge { .. })));
}

/// Planted fault: comparing lengths only.
#[test]
fn one_different_byte_is_no_proof() {
    let (key, plain) = (DataKey::generate(), pattern(17 * TEXT + 5));
    let reader = SealedReader::open(&key, seal(&key, &plain, 2)).unwrap();
    for at in [0, TEXT - 1, TEXT, 16 * TEXT, plain.len() - 1] {
        match prove_equal(&reader, &flip(&plain, at, 3), 2) {
            Err(SealError::Differs { chunk, .. }) => assert_eq!(chunk, (at / TEXT) as u64),
            other => panic!("byte {at}: {other:?}"),
        }
    }
    for fails_in in 1..20 {
        let source = Source::new(&plain, fails_in);
        assert!(matches!(prove_equal(&reader, &source, 1), Err(SealError::ReadPlaintext { .. })));
    }
}

/// As the vault uses it: files, and sources it does not know the type of.
#[test]
fn files_are_sealed_and_opened() {
    let (key, plain) = (DataKey::generate(), pattern(33 * TEXT + 7));
    let original = tempfile::tempfile().unwrap();
    WriteAt::write_all_at(&original, &plain, 0).unwrap();
    let file = tempfile::tempfile().unwrap();
    let sealed = seal_file(&key, prefix(&key), &original, &file, 3).unwrap();
    assert_eq!(file.len_bytes().unwrap(), sealed.sealed_bytes);
    let source: Box<dyn ReadAt + Send + Sync> = Box::new(file);
    let reader = SealedReader::open(&key, source).unwrap();
    assert_eq!(prove_equal(&reader, &original, 3).unwrap().plain_bytes(), plain.len() as u64);
    let mut read = Vec::new();
    reader.into_stream().read_to_end(&mut read).unwrap();
    assert!(read == plain);
}

#[test]
fn a_prefix_that_names_another_key_is_not_sealed() {
    let (key, other) = (DataKey::generate(), DataKey::generate());
    let refused = seal_file(&key, prefix(&other), &vec![1], &Memory::default(), 1);
    assert!(matches!(refused, Err(SealError::WrongKey { .. })));
    assert!(SealWriter::new(&key, prefix(&other), Vec::new()).is_err());
}
