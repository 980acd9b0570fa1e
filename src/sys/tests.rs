use super::*;
use std::fs::OpenOptions;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

/// Planted faults: asking for the wrong kind of lease (the reader is then seen as a writer),
/// and not giving it back (the second question says busy or the next opener hangs).
#[test]
fn a_lease_tells_readers_from_writers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call");
    std::fs::write(&path, b"x").unwrap();
    let ours = File::open(&path).unwrap();
    for _ in 0..2 {
        assert_eq!(try_read_lease(&ours).unwrap(), LeaseVerdict::Granted);
        assert_eq!(try_write_lease(&ours).unwrap(), LeaseVerdict::Granted);
    }
    let reader = File::open(&path).unwrap();
    assert_eq!(try_read_lease(&ours).unwrap(), LeaseVerdict::Granted);
    assert_eq!(try_write_lease(&ours).unwrap(), LeaseVerdict::Busy);
    drop(reader);
    let _writer = OpenOptions::new().append(true).open(&path).unwrap();
    assert_eq!(try_read_lease(&ours).unwrap(), LeaseVerdict::Busy);
}

/// Planted fault: without `F_SETSIG` the kernel sends SIGIO and this test process is gone.
#[test]
fn an_opener_in_the_middle_of_the_question_does_not_end_us() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call");
    std::fs::write(&path, b"x").unwrap();
    std::thread::scope(|scope| {
        let opener = scope.spawn(|| {
            for _ in 0..20_000 {
                drop(OpenOptions::new().append(true).open(&path).unwrap());
            }
        });
        let ours = File::open(&path).unwrap();
        while !opener.is_finished() {
            try_read_lease(&ours).unwrap();
        }
    });
}

/// Planted fault: starting each call at zero, which never ends for a fragmented file.
#[test]
fn extents_cover_a_file_of_many_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse");
    let file = OpenOptions::new().create_new(true).write(true).open(&path).unwrap();
    let pieces = EXTENTS_PER_CALL as u64 * 2 + 3;
    for piece in 0..pieces {
        file.write_all_at(&[7; 4096], piece * 65_536).unwrap();
    }
    kick_writeback(&file, 0, 0).unwrap();
    let found = match extents(&file) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            eprintln!("SKIP: the file system of temporary files has no extents");
            return;
        }
        found => found.unwrap(),
    };
    let mapped: u64 = found.iter().map(|extent| extent.len_bytes).sum();
    assert_eq!(mapped, pieces * 4096, "{} extents", found.len());
    assert!(found.is_sorted_by_key(|extent| extent.logical));
    assert!(kick_writeback(&file, u64::MAX, 0).is_err());
}

/// Planted fault: dirty pages counted, the second number.
#[test]
fn what_was_just_written_is_cached_until_it_is_dropped() {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&[7; 3 * 4096], 0).unwrap();
    file.sync_data().unwrap();
    let Ok(pages) = cached_pages(&file) else { return eprintln!("SKIP: before Linux 6.5") };
    assert_eq!(pages, 3);
    let magic = rustix::fs::fstatfs(&file).unwrap().f_type as u64;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let is_in_memory = magic == 0x0102_1994;
    assert_eq!(cached_pages(&file).unwrap(), if is_in_memory { 3 } else { 0 });
}

/// Planted fault: the number without the length of a long, which the kernel does not know.
#[test]
fn an_inode_number_used_again_has_another_generation() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = std::collections::HashSet::new();
    for name in ["first", "second", "third"] {
        let file = File::create(folder.path().join(name)).unwrap();
        let counts = rustix::fs::fstatfs(&file).unwrap().f_type as u64 == 0xEF53; // ext4 does
        let Some(generation) = generation(&file) else {
            assert!(!counts);
            return eprintln!("SKIP: no generations here");
        };
        seen.insert(generation);
    }
    assert!(seen.len() > 1, "{seen:?}");
}

/// What a success does is shown on raw devices.
#[test]
fn only_ext4_has_such_a_journal() {
    let proc = File::open("/proc/self").unwrap();
    for wipe in [JournalWipe::Zero, JournalWipe::Discard] {
        let error = checkpoint_journal(proc.as_fd(), wipe).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
    }
}

/// Planted fault: the class not shifted, which the kernel takes for a priority of no class.
#[test]
fn an_idle_thread_is_told_from_others() {
    let thread = std::thread::spawn(|| {
        let before = IoPriority::current().unwrap();
        IoPriority::IDLE.set().unwrap();
        assert_eq!(IoPriority::current().unwrap(), IoPriority::IDLE);
        before.set().unwrap();
        assert_eq!(IoPriority::current().unwrap(), before);
        assert_ne!(before, IoPriority::IDLE);
    });
    thread.join().unwrap();
}
