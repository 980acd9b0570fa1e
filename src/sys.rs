//! System calls that rustix lacks: leases, early write-back, the map of a file's extents, what
//! ext4 does to its journal, the I/O priority of a thread, and what a child process gives up before
//! it becomes another program.
//!
//! The only module that may say `unsafe`. Each function makes one kind of call, states why it is
//! sound, and is tested against the real kernel.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

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

/// Asks whether anybody but `file` has this file open at all, in this process or another. Whoever
/// has gets a moment, some 20 ms: a child that this process starts holds every descriptor of it
/// until it becomes another program.
///
/// # Errors
///
/// As [`try_read_lease`].
pub fn try_write_lease(file: &File) -> io::Result<LeaseVerdict> {
    for _ in 0..LEASE_TRIES {
        match try_lease(file, libc::F_WRLCK)? {
            LeaseVerdict::Busy => pause_a_moment(),
            verdict => return Ok(verdict),
        }
    }
    try_lease(file, libc::F_WRLCK)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a millisecond, and nothing that could be waited for"
)]
fn pause_a_moment() {
    std::thread::sleep(std::time::Duration::from_millis(1));
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

/// What a confined child process may use.
#[derive(Clone, Copy, Debug)]
pub struct Confinement {
    /// Bytes of address space.
    pub memory_bytes: u64,
    /// Seconds of processor time.
    pub cpu_seconds: u64,
    /// Highest descriptor.
    pub open_files: u64,
    /// Processes and threads of its user.
    pub processes: u64,
}

/// Makes `command` start a program that keeps nothing of ours but its three standard descriptors,
/// gains no rights, writes to no file, leaves no core, and dies with the thread that started it.
/// Where the kernel lets it, it has an empty network and may create, change and remove nothing in
/// any file system; started by root, it is nobody.
///
/// # Errors
///
/// None here; the start of the program fails if a limit cannot be set.
#[expect(unsafe_code, reason = "what happens between fork and exec")]
pub fn confine(command: &mut Command, allowed: Confinement) -> io::Result<()> {
    let rules = no_writing();
    let (parent, is_root) = (rustix::process::getpid(), rustix::process::geteuid().is_root());
    let between = move || {
        for (resource, limit) in [
            (libc::RLIMIT_AS, allowed.memory_bytes),
            (libc::RLIMIT_CPU, allowed.cpu_seconds),
            (libc::RLIMIT_FSIZE, 0),
            (libc::RLIMIT_CORE, 0),
            (libc::RLIMIT_NOFILE, allowed.open_files),
            (libc::RLIMIT_NPROC, allowed.processes),
        ] {
            let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
            // SAFETY: `limit` lives across the call, which only reads it.
            ok(unsafe { libc::setrlimit(resource, &raw const limit) })?;
        }
        let own_network =
            if is_root { libc::CLONE_NEWNET } else { libc::CLONE_NEWUSER | libc::CLONE_NEWNET };
        // SAFETY: plain system calls with numbers, but for the rules, whose descriptor is open as
        // long as this closure lives. The wrappers of libc for user ids talk to other threads,
        // which a forked child does not have, so they are not used.
        unsafe {
            libc::unshare(own_network); // where it may
            if is_root {
                ok(raw(libc::syscall(libc::SYS_setgroups, 0, 0)))?;
                ok(raw(libc::syscall(libc::SYS_setresgid, NOBODY, NOBODY, NOBODY)))?;
                ok(raw(libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY)))?;
            }
            ok(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            ok(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0))?;
            // After the change of user, which takes it back.
            ok(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
            if let Some(rules) = &rules {
                ok(raw(libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0)))?;
            }
            let (first, last) = (3, libc::c_uint::MAX);
            ok(raw(libc::syscall(libc::SYS_close_range, first, last, CLOSE_RANGE_CLOEXEC)))?;
        }
        if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(orphaned()) }
    };
    // SAFETY: the closure makes system calls and touches nothing that another thread could have
    // held when the process was forked: it takes no lock and no memory.
    unsafe { command.pre_exec(between) };
    Ok(())
}

/// Rules under which nothing can be written, made or removed, and no TCP connection made; `None`
/// where the kernel has none.
#[expect(unsafe_code, reason = "rustix has no Landlock")]
fn no_writing() -> Option<OwnedFd> {
    const VERSION: libc::c_uint = 1;
    let none = std::ptr::null::<u64>();
    // SAFETY: asks for the version and passes no memory.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, VERSION) };
    // What each version knows: writing, removing and making; renaming; cutting; the network.
    let files = match version {
        ..=0 => return None,
        1 => 0x1ff2,
        2 => 0x3ff2,
        3.. => 0x7ff2,
    };
    let handled: [u64; 2] = [files, 3];
    let len_bytes: usize = if version >= 4 { 16 } else { 8 };
    let (rules, at) = (libc::SYS_landlock_create_ruleset, handled.as_ptr());
    // SAFETY: `handled` lives across the call, which reads `len_bytes` of it.
    let fd = raw(unsafe { libc::syscall(rules, at, len_bytes, 0) });
    // SAFETY: a descriptor that the kernel has just given us, and nobody else has.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The result of a system call as `libc` would give it.
fn raw(returned: libc::c_long) -> libc::c_int {
    libc::c_int::try_from(returned).unwrap_or(-1)
}

fn orphaned() -> io::Error {
    io::Error::from_raw_os_error(libc::ESRCH)
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
const LEASE_TRIES: u32 = 20;
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
const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
/// The user and the group of nobody.
const NOBODY: libc::c_uint = 65_534;
/// Not in `libc` for every target; the number is the same on all of Linux.
const F_SETSIG: libc::c_int = 10;

#[cfg(test)]
mod tests;
