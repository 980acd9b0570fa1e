//! The bounded view of a source that every reader works on.
//!
//! One window of [`WINDOW_BYTES`] is kept, and every read pays from one purse of
//! [`WORK_BYTES_MAX`]; when it is empty every further read answers `None`, as at the end of the
//! file. So no loop over a stranger's numbers can run for long, whatever they are.

use std::io::SeekFrom;

use zeroize::{Zeroize, Zeroizing};

use super::Source;

/// A source of known length, read at any offset.
pub(super) struct Bytes<'a> {
    source: &'a mut dyn Source,
    len_bytes: u64,
    plaintext: Box<[u8; WINDOW_BYTES]>,
    window_at: u64,
    window_len: usize,
    work_left: u64,
}

impl<'a> Bytes<'a> {
    /// `None` if the source cannot say how long it is.
    pub(super) fn new(source: &'a mut dyn Source) -> Option<Self> {
        let len_bytes = source.seek(SeekFrom::End(0)).ok()?;
        let plaintext = Box::new([0; WINDOW_BYTES]);
        let work_left = WORK_BYTES_MAX;
        Some(Self { source, len_bytes, plaintext, window_at: 0, window_len: 0, work_left })
    }

    pub(super) fn len(&self) -> u64 {
        self.len_bytes
    }

    /// True once a read was refused for want of work left.
    pub(super) fn is_exhausted(&self) -> bool {
        self.work_left < WINDOW_BYTES as u64 + WORK_BYTES_PER_CALL
    }

    /// The `N` bytes at `at`; `None` if they are not all there or the purse is empty.
    pub(super) fn array<const N: usize>(&mut self, at: u64) -> Option<[u8; N]> {
        const { assert!(N <= WINDOW_BYTES) };
        let end = at.checked_add(N as u64).filter(|end| *end <= self.len_bytes)?;
        self.work_left = self.work_left.checked_sub(WORK_BYTES_PER_CALL)?;
        if at < self.window_at || end > self.window_at + self.window_len as u64 {
            self.fill(at)?;
        }
        let from = usize::try_from(at - self.window_at).ok()?;
        self.plaintext[..self.window_len].get(from..from + N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self, at: u64) -> Option<u8> {
        self.array::<1>(at).map(|[byte]| byte)
    }

    pub(super) fn u16_le(&mut self, at: u64) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    pub(super) fn u32_le(&mut self, at: u64) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub(super) fn u64_le(&mut self, at: u64) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    pub(super) fn u16_be(&mut self, at: u64) -> Option<u16> {
        self.array(at).map(u16::from_be_bytes)
    }

    pub(super) fn u32_be(&mut self, at: u64) -> Option<u32> {
        self.array(at).map(u32::from_be_bytes)
    }

    pub(super) fn u64_be(&mut self, at: u64) -> Option<u64> {
        self.array(at).map(u64::from_be_bytes)
    }

    /// Up to `max` bytes from `at` on, fewer at the end of the file. `max` is a constant of the
    /// caller, never a number from the file.
    pub(super) fn plaintext_from(&mut self, at: u64, max: usize) -> Option<Zeroizing<Vec<u8>>> {
        let there = self.len_bytes.saturating_sub(at).min(max as u64);
        self.work_left = self.work_left.checked_sub(there + WORK_BYTES_PER_CALL)?;
        let mut plaintext = Zeroizing::new(vec![0; there as usize]);
        self.source.seek(SeekFrom::Start(at)).ok()?;
        self.source.read_exact(&mut plaintext).ok()?;
        Some(plaintext)
    }

    /// The last bytes, up to `max`, and where they begin.
    pub(super) fn plaintext_tail(&mut self, max: usize) -> Option<(u64, Zeroizing<Vec<u8>>)> {
        let at = self.len_bytes.saturating_sub(max as u64);
        Some((at, self.plaintext_from(at, max)?))
    }

    fn fill(&mut self, at: u64) -> Option<()> {
        self.work_left = self.work_left.checked_sub(WINDOW_BYTES as u64)?;
        self.window_len = 0;
        self.source.seek(SeekFrom::Start(at)).ok()?;
        let there = (self.len_bytes - at).min(WINDOW_BYTES as u64) as usize;
        self.source.read_exact(&mut self.plaintext[..there]).ok()?;
        (self.window_at, self.window_len) = (at, there);
        Some(())
    }
}

impl Drop for Bytes<'_> {
    fn drop(&mut self) {
        self.plaintext.zeroize();
    }
}

/// Most that one look at a file may read: an hour of MP3 without an index, frame by frame.
pub(super) const WORK_BYTES_MAX: u64 = 32 << 20;

/// A read within the window is not free either: it is what bounds loops that stay there.
const WORK_BYTES_PER_CALL: u64 = 16;

/// Small, because walking boxes touches a few bytes here and there.
const WINDOW_BYTES: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn reads_end_at_the_end_and_when_the_purse_is_empty() {
        let content: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        let mut source = Cursor::new(content);
        let mut bytes = Bytes::new(&mut source).unwrap();
        assert_eq!(bytes.array(4_094), Some([254, 255, 0, 1]));
        assert_eq!(bytes.array(9_998), Some([14, 15]));
        assert_eq!(bytes.array::<2>(9_999), None);
        assert_eq!(bytes.u8(u64::MAX), None);
        assert_eq!(bytes.plaintext_tail(4).unwrap().1[..], [12, 13, 14, 15]);
        // Planted fault: hits in the window cost nothing, and this loop never ends.
        let mut reads = 0u64;
        while bytes.u8(0).is_some() {
            reads += 1;
        }
        assert!(reads <= WORK_BYTES_MAX / WORK_BYTES_PER_CALL);
    }
}
