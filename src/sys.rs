//! System calls that rustix does not offer, each with the reason why it is sound.

#![expect(unsafe_code, reason = "the one place for calls that rustix lacks")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// What asking for a read lease on a file told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseVerdict {
    /// Nobody on this host has the file open, or mapped, for writing.
    Granted,
    /// Somebody has.
    Busy,
    /// The file belongs to another user and we lack `CAP_LEASE`: nothing was learned.
    Refused,
}

/// Asks for a read lease on `file`, which must be open for reading only, and gives it back at
/// once: while it is held, a recorder that opens the file for writing would wait.
///
/// # Errors
///
/// Where the file system has no leases, or `file` is open for writing. Nothing is held then.
pub fn try_read_lease(file: &File) -> io::Result<LeaseVerdict> {
    match set_lease(file, libc::F_RDLCK) {
        Ok(()) => set_lease(file, libc::F_UNLCK).map(|()| LeaseVerdict::Granted),
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN) => Ok(LeaseVerdict::Busy),
            Some(libc::EACCES) => Ok(LeaseVerdict::Refused),
            _ => Err(error),
        },
    }
}

fn set_lease(file: &File, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: `file` keeps the descriptor open during the call; F_SETLEASE takes an integer and
    // reads or writes no memory of ours.
    let outcome = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted fault: keeping the lease makes the second writer's `open` hang for 45 s.
    #[test]
    fn a_writer_is_seen_and_a_reader_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("call.wav");
        let writer = File::create(&path).unwrap();
        let ours = File::open(&path).unwrap();
        assert_eq!(try_read_lease(&ours).unwrap(), LeaseVerdict::Busy);
        drop(writer);
        let _reader = File::open(&path).unwrap();
        assert_eq!(try_read_lease(&ours).unwrap(), LeaseVerdict::Granted);
        let _writer = File::options().append(true).open(&path).unwrap();
        assert_eq!(try_read_lease(&ours).unwrap(), LeaseVerdict::Busy);
    }
}
