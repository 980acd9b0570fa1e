//! System calls that rustix lacks: leases, early write-back, the map of a file's extents, what
//! ext4 does to its journal, and the I/O priority of a thread.
//!
//! The only module that may say `unsafe`. Each function makes one kind of call, states why it is
//! sound, and is tested against the real kernel.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What the kernel says about other openers of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseVerdict {
    /// Nobody has the file open in a conflicting way at this moment.
    Granted,
    /// Somebody has.
    Busy,
    /// The kernel will not say: not our file and no `CAP_LEASE`, or a file system without leases.
    Refused,
}

/// Asks whether anybody has `file` open for writing. `file` must be open for reading only.
///
/// The lease is given back at once: it is a question, not a lock.
///
/// # Errors
///
/// Whatever `fcntl` says besides "busy" and "not for you". No lease is left behind.
pub fn try_read_lease(file: &File) -> io::Result<LeaseVerdict> {
    try_lease(file, libc::F_RDLCK)
}

/// Asks whether anybody but `file` has this file open at all, in this process or another.
///
/// # Errors
///
/// As [`try_read_lease`].
pub fn try_write_lease(file: &File) -> io::Result<LeaseVerdict> {
    try_lease(file, libc::F_WRLCK)
}

/// Starts writing dirty pages of `file` to the disk and does not wait, so that the sync at the
/// end finds little to do. `len_bytes` 0 means to the end. Promises nothing about durability.
///
/// # Errors
///
/// The first error met while queueing; the sync at the end would meet it again.
#[expect(unsafe_code, reason = "rustix has no sync_file_range")]
pub fn kick_writeback(file: &File, offset: u64, len_bytes: u64) -> io::Result<()> {
    let (Ok(offset), Ok(len_bytes)) = (i64::try_from(offset), i64::try_from(len_bytes)) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = libc::SYNC_FILE_RANGE_WRITE;
    // SAFETY: the descriptor is open as long as `file` is borrowed, and no memory is passed.
    ok(unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len_bytes, flags) })
}

/// One run of a file's bytes on its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it starts in the file, in bytes.
    pub logical: u64,
    /// Where it starts on the device, in bytes.
    pub physical: u64,
    /// Its length in bytes.
    pub len_bytes: u64,
    /// `FIEMAP_EXTENT_…` bits; those that matter here are constants of this type.
    pub flags: u32,
}

impl Extent {
    /// No place was given out yet.
    pub const DELAYED: u32 = 0x4;
    /// Compressed or encrypted by the file system.
    pub const ENCODED: u32 = 0x8;
    /// Lies inside metadata.
    pub const INLINE: u32 = 0x200;
    /// Shared with a clone or a snapshot.
    pub const SHARED: u32 = 0x2000;
}

/// Where the bytes of `file` lie on its device, after writing out what was dirty.
///
/// # Errors
///
/// `Unsupported` or the like where the file system has no extents to tell of, and `InvalidData`
/// above a million extents: nobody needs that proof, and it would not fit in memory.
#[expect(unsafe_code, reason = "rustix has no FIEMAP")]
pub fn extents(file: &File) -> io::Result<Vec<Extent>> {
    let mut found: Vec<Extent> = Vec::new();
    let mut request = Box::new(Fiemap::default());
    loop {
        let start = found.last().map_or(0, |last| last.logical.saturating_add(last.len_bytes));
        request.start = start;
        request.length = u64::MAX - start;
        request.flags = FIEMAP_FLAG_SYNC;
        request.mapped = 0;
        request.capacity = EXTENTS_PER_CALL as u32;
        // SAFETY: `request` is laid out as `struct fiemap` with room for `capacity` extents, and
        // lives across the call; the kernel writes no more than that.
        ok(unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FIEMAP, &raw mut *request) })?;
        let mapped = &request.extents[..(request.mapped as usize).min(EXTENTS_PER_CALL)];
        for raw in mapped {
            if raw.length == 0 || found.last().is_some_and(|last| last.logical >= raw.logical) {
                return Err(io::ErrorKind::InvalidData.into()); // would never end
            }
            found.push(Extent {
                logical: raw.logical,
                physical: raw.physical,
                len_bytes: raw.length,
                flags: raw.flags,
            });
        }
        if mapped.last().is_none_or(|last| last.flags & FIEMAP_EXTENT_LAST != 0) {
            return Ok(found);
        }
        if found.len() > EXTENTS_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// Which inode this is among all that had its number; `None` where the file system does not count.
#[expect(unsafe_code, reason = "rustix has no FS_IOC_GETVERSION")]
pub fn generation(file: &File) -> Option<u32> {
    let mut version = [0_u32; 2]; // declared as a long, written as an int: room for both
    // SAFETY: the kernel writes no more than a long, which is what is lent to it.
    ok(unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_GETVERSION, &raw mut version) }).ok()?;
    Some(version[0])
}

/// How many pages of `file` the page cache holds.
///
/// # Errors
///
/// `NOSYS` before Linux 6.5.
#[expect(unsafe_code, reason = "rustix has no cachestat")]
pub fn cached_pages(file: &File) -> io::Result<u64> {
    let whole = [0_u64; 2]; // from 0, length 0: to the end
    let mut counts = [0_u64; 5];
    let (fd, range, counted) = (file.as_raw_fd(), &raw const whole, &raw mut counts);
    // SAFETY: the kernel reads a `struct cachestat_range` of two u64 and writes a `struct
    // cachestat` of five; both live across the call.
    if unsafe { libc::syscall(SYS_CACHESTAT, fd, range, counted, 0) } == -1 {
        return Err(last_error());
    }
    Ok(counts[0])
}

/// What is done to the blocks of a journal once nothing in it is needed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalWipe {
    /// Zeros are written over it, or the device is told to.
    Zero,
    /// The device is told that nobody needs it.
    Discard,
}

/// Makes ext4 write its journal home and then wipe it. `on` is any open file or folder of the file
/// system; needs `CAP_SYS_ADMIN`. Every change to that file system waits meanwhile: a few
/// milliseconds where the device zeroes by itself, else as long as writing the journal takes.
///
/// # Errors
///
/// `PERM` without the right, `NOTTY` where it is no ext4 or an old kernel, `NODEV` where it has no
/// journal, `NOTSUP` if the device cannot discard. The journal is as it was, or wiped in part.
#[expect(unsafe_code, reason = "rustix has no EXT4_IOC_CHECKPOINT")]
pub fn checkpoint_journal(on: BorrowedFd<'_>, wipe: JournalWipe) -> io::Result<()> {
    let flags: u32 = match wipe {
        JournalWipe::Discard => 1,
        JournalWipe::Zero => 2,
    };
    // SAFETY: the kernel reads one u32, which lives across the call.
    ok(unsafe { libc::ioctl(on.as_raw_fd(), EXT4_IOC_CHECKPOINT, &raw const flags) })
}

/// The I/O priority of the calling thread, as the kernel packs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoPriority(libc::c_int);

impl IoPriority {
    /// Served when nobody else wants the disk, where its scheduler knows priorities.
    pub const IDLE: Self = Self(3 << 13);

    /// What the calling thread has now.
    ///
    /// # Errors
    ///
    /// Where the kernel has no such thing.
    #[expect(unsafe_code, reason = "rustix has no ioprio_get")]
    pub fn current() -> io::Result<Self> {
        // SAFETY: takes and gives numbers only.
        let got = unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0) };
        libc::c_int::try_from(got).ok().filter(|got| *got >= 0).map(Self).ok_or_else(last_error)
    }

    /// Gives the calling thread this priority.
    ///
    /// # Errors
    ///
    /// Where the kernel has no such thing, or forbids it.
    #[expect(unsafe_code, reason = "rustix has no ioprio_set")]
    pub fn set(self) -> io::Result<()> {
        // SAFETY: takes and gives numbers only.
        let set = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, self.0) };
        if set == -1 { Err(last_error()) } else { Ok(()) }
    }
}

#[expect(unsafe_code, reason = "rustix has no leases")]
fn try_lease(file: &File, kind: libc::c_int) -> io::Result<LeaseVerdict> {
    let fd = file.as_raw_fd();
    // Whoever opens the file while we hold the lease makes the kernel signal us, and the default
    // signal, SIGIO, would end the process. SIGURG is ignored unless someone asks for it.
    // SAFETY: the descriptor is open as long as `file` is borrowed, and no memory is passed.
    ok(unsafe { libc::fcntl(fd, F_SETSIG, libc::SIGURG) })?;
    // SAFETY: as above.
    let taken = ok(unsafe { libc::fcntl(fd, libc::F_SETLEASE, kind) });
    match taken {
        Ok(()) => {
            // SAFETY: as above.
            ok(unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) })?;
            Ok(LeaseVerdict::Granted)
        }
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EBUSY) => Ok(LeaseVerdict::Busy),
            Some(libc::EACCES | libc::EPERM | libc::EINVAL | libc::ENOLCK | libc::EOPNOTSUPP) => {
                Ok(LeaseVerdict::Refused)
            }
            _ => Err(error),
        },
    }
}

fn ok(returned: libc::c_int) -> io::Result<()> {
    if returned == -1 { Err(last_error()) } else { Ok(()) }
}

fn last_error() -> io::Error {
    io::Error::last_os_error()
}

/// `struct fiemap` of `linux/fiemap.h` with a fixed number of extents.
#[repr(C)]
struct Fiemap {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    capacity: u32,
    reserved: u32,
    extents: [FiemapExtent; EXTENTS_PER_CALL],
}

impl Default for Fiemap {
    fn default() -> Self {
        let extents = [FiemapExtent::default(); EXTENTS_PER_CALL];
        Self { start: 0, length: 0, flags: 0, mapped: 0, capacity: 0, reserved: 0, extents }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct FiemapExtent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

const EXTENTS_PER_CALL: usize = 64;
const EXTENTS_MAX: usize = 1 << 20;
/// `_IOWR('f', 11, struct fiemap)`.
const FS_IOC_FIEMAP: libc::Ioctl = 0xC020_660B_u32 as libc::Ioctl;
/// `_IOR('v', 1, long)`; its number tells the length of a long.
const FS_IOC_GETVERSION: libc::Ioctl =
    (0x8000_7601_u32 | ((size_of::<libc::c_long>() as u32) << 16)) as libc::Ioctl;
/// `_IOW('f', 43, __u32)`.
const EXT4_IOC_CHECKPOINT: libc::Ioctl = 0x4004_662B_u32 as libc::Ioctl;
/// Not in `libc` for every target; the number is the same on all of Linux but alpha.
const SYS_CACHESTAT: libc::c_long = 451;
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
const FIEMAP_FLAG_SYNC: u32 = 1;
const FIEMAP_EXTENT_LAST: u32 = 1;
/// Not in `libc` for every target; the number is the same on all of Linux.
const F_SETSIG: libc::c_int = 10;

#[cfg(test)]
mod tests {
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
}
