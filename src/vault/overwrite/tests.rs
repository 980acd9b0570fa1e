use super::*;
use crate::vault::storage_kind::Media;

use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;

use crate::vault::pace::Throttle;

fn storage() -> Storage {
    observe::storage_of(std::fs::File::open(std::env::temp_dir()).unwrap().as_fd()).unwrap()
}

fn victim(len_bytes: usize) -> File {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&vec![b'P'; len_bytes], 0).unwrap();
    file
}

fn content(file: &File) -> Vec<u8> {
    set_direct(file, false);
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Planted faults: the unaligned tail left out, the last piece left out, and the length
/// rounded up to a block. With random bytes a 'P' survives by chance once in 256.
#[test]
fn every_byte_of_every_length_goes() {
    let storage = storage();
    let mut overwriter = Overwriter::new();
    for len_bytes in [0, 1, 40, 4095, 4096, 4097, PIECE_BYTES, PIECE_BYTES + 1, 2_200_123] {
        let file = victim(len_bytes);
        let (_, bytes) = overwriter.run(&file, &storage).unwrap();
        let after = content(&file);
        assert_eq!((bytes, after.len()), (len_bytes as u64, len_bytes));
        for block in after.chunks(32) {
            let kept = block.iter().filter(|byte| **byte == b'P').count();
            assert!(block.len() < 32 || kept < 16, "{len_bytes}: {kept} of 32");
        }
        assert!(after.len() < 33 || after[after.len() - 33..] != vec![b'P'; 33]);
    }
}

/// Planted fault: comparing only the first piece.
#[test]
fn one_wrong_byte_is_found_wherever_it_is() {
    let len_bytes = PIECE_BYTES as u64 * 2 + 77;
    for mut by in [Overwriter::new(), Overwriter::team()] {
        for wrong in [0, 4096, PIECE_BYTES as u64, len_bytes - 78, len_bytes - 1] {
            let file = victim(len_bytes as usize);
            let mut pass = Pass::begin(&file, storage(), None).unwrap();
            pass.write(&mut by, &FullSpeed).unwrap();
            pass.verify(&mut by, &FullSpeed).unwrap();
            let mut byte = [0];
            set_direct(&file, false);
            file.read_exact_at(&mut byte, wrong).unwrap();
            file.write_all_at(&[byte[0] ^ 1], wrong).unwrap();
            let found = pass.verify(&mut by, &FullSpeed);
            assert!(matches!(found, Err(OverwriteError::Differs { .. })), "{wrong}: {found:?}");
        }
    }
}

#[test]
fn a_file_that_shrinks_under_us_is_an_error_and_no_loop() {
    let mut by = Overwriter::new();
    let file = victim(10_000);
    let mut pass = Pass::begin(&file, storage(), None).unwrap();
    pass.write(&mut by, &FullSpeed).unwrap();
    file.set_len(5_000).unwrap();
    assert!(pass.verify(&mut by, &FullSpeed).is_err());
}

/// A team that is told to stop stops, and what is told to the pace adds up to the file.
/// Planted faults: the answer of `before` ignored; the tail not told.
#[test]
fn the_pace_is_asked_and_told() {
    struct Stops(AtomicU64, u64);
    impl Pace for Stops {
        fn before(&self, bytes: u64) -> ControlFlow<()> {
            let asked = self.0.fetch_add(bytes, Ordering::SeqCst) + bytes;
            if asked > self.1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    let len_bytes = PIECE_BYTES as u64 * 5 + 77;
    for mut by in [Overwriter::new(), Overwriter::team()] {
        let file = victim(len_bytes as usize);
        for limit in [0, PIECE_BYTES as u64 * 2, len_bytes - 1] {
            let mut pass = Pass::begin(&file, storage(), None).unwrap();
            let pace = Stops(0.into(), limit);
            let done = pass.write(&mut by, &pace).and_then(|()| pass.verify(&mut by, &pace));
            assert!(matches!(done, Err(OverwriteError::Stopped)), "{limit}: {done:?}");
        }
        let pace = Throttle::new(0);
        let mut pass = Pass::begin(&file, storage(), None).unwrap();
        pass.write(&mut by, &pace).unwrap();
        pass.verify(&mut by, &pace).unwrap();
        assert_eq!(pace.done_bytes(), len_bytes);
    }
}

/// 64 MiB with three blocks in it stay three blocks. Planted fault: `parts` as one from 0 to the
/// end; the file then fills its holes.
#[test]
fn holes_stay_holes() {
    let file = tempfile::tempfile().unwrap();
    for at in [8 << 20, 9 << 20, 63 << 20] {
        file.write_all_at(&[b'P'; 4096], at).unwrap();
    }
    file.set_len(64 << 20).unwrap();
    file.sync_all().unwrap();
    if !storage().file_system.maps_holes() {
        return eprintln!("SKIP: the file system of temporary files does not map holes");
    }
    let blocks = || std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap());
    let before = blocks();
    let (_, bytes) = Overwriter::new().run(&file, &storage()).unwrap();
    assert_eq!(bytes, 3 * 4096);
    assert_eq!(blocks(), before);
    let mut block = [0; 4096];
    for at in [8 << 20, 9 << 20, 63 << 20] {
        set_direct(&file, false);
        file.read_exact_at(&mut block, at).unwrap();
        assert!(block.iter().filter(|byte| **byte == b'P').count() < 200, "{at}");
    }
}

#[test]
fn a_full_copy_on_write_disk_is_told_from_a_full_one() {
    let storage = |file_system| Storage {
        file_system,
        media: Media::Unknown,
        may_journal_data: false,
        is_no_cow: false,
        is_thin: false,
    };
    assert!(writes_in_place(&storage(FileSystem::Ext)));
    assert!(!writes_in_place(&storage(FileSystem::Btrfs)));
    let full = OverwriteError::at("writing")(io::ErrorKind::StorageFull.into());
    assert!(is_out_of_space(&full));
    assert!(!is_out_of_space(&OverwriteError::Differs { offset_bytes: 0 }));
}
