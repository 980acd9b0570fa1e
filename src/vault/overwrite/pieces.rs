//! What is written where: the parts of a file that have a place, cut into pieces, and the bytes
//! that go there.

use std::ops::Range;

use keymanager::Keystream;

use crate::sys::Extent;

/// Bytes that a pass leaves at the very start of a file, so that it is known again as the one that
/// it began with. The first sector is written at once, so a crash leaves the old start or this.
pub(in crate::vault) type Stamp = [u8; STAMP_BYTES];

/// A keyed stream that only this pass knows, with a stamp at its start.
pub(super) struct Pattern {
    stream: Keystream,
    stamp: Option<Stamp>,
}

impl Pattern {
    pub(super) fn generate(stamp: Option<Stamp>) -> Self {
        Self { stream: Keystream::generate(), stamp }
    }

    /// The bytes at `offset`, which is a multiple of 16; the same on every call.
    pub(super) fn fill_at(&self, offset: u64, buffer: &mut [u8]) {
        self.stream.fill_at(offset, buffer);
        if let (Some(stamp), 0) = (&self.stamp, offset) {
            let len = stamp.len().min(buffer.len());
            buffer[..len].copy_from_slice(&stamp[..len]);
        }
    }
}

/// The parts of a file of `len_bytes` that have a place on the device, rounded outwards to whole
/// blocks, in order and apart. Holes are not among them: there is nothing to overwrite. Only where
/// a stamp goes to the first block, that is one of them, hole or not.
pub(super) fn mapped_parts(
    extents: &[Extent],
    len_bytes: u64,
    with_first_block: bool,
) -> Vec<Range<u64>> {
    let mut parts: Vec<Range<u64>> = Vec::new();
    if with_first_block && len_bytes > 0 {
        parts.push(0..len_bytes.min(ALIGN_BYTES as u64));
    }
    for extent in extents {
        let start = extent.logical - extent.logical % ALIGN_BYTES as u64;
        let end = extent.logical.saturating_add(extent.len_bytes);
        let end = end.checked_next_multiple_of(ALIGN_BYTES as u64).unwrap_or(end).min(len_bytes);
        match parts.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ if start < end => parts.push(start..end),
            _ => {} // reserved behind the end of the file: never ours
        }
    }
    parts
}

/// `parts` up to `end`, in pieces of at most [`PIECE_BYTES`]: where each starts and its length.
pub(super) fn pieces(parts: &[Range<u64>], end: u64) -> impl Iterator<Item = (u64, usize)> {
    parts.iter().flat_map(move |part| {
        let end = part.end.min(end);
        (part.start..end).step_by(PIECE_BYTES).map(move |start| {
            let left = usize::try_from(end - start).unwrap_or(PIECE_BYTES);
            (start, left.min(PIECE_BYTES))
        })
    })
}

/// A buffer whose start suits direct access, without asking the allocator for alignment.
pub(super) struct AlignedBuffer {
    bytes: Vec<u8>,
    start: usize,
}

impl AlignedBuffer {
    pub(super) fn new() -> Self {
        let bytes = vec![0; PIECE_BYTES + ALIGN_BYTES];
        let start = bytes.as_ptr().align_offset(ALIGN_BYTES);
        Self { bytes, start }
    }

    pub(super) fn whole(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + PIECE_BYTES]
    }
}

/// Large enough to keep a disk busy, small enough that a recorder's write waits for one only.
pub(super) const PIECE_BYTES: usize = 1 << 20;
/// Suits the block size of every common disk; one that wants more falls back to the cache.
pub(super) const ALIGN_BYTES: usize = 4096;
/// Of a SHA-256, and far within one sector.
pub(in crate::vault) const STAMP_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(logical: u64, len_bytes: u64) -> Extent {
        Extent { logical, physical: 1 << 30, len_bytes, flags: 0 }
    }

    /// Planted faults: holes filled (one part from 0 to the end), and what is reserved behind the
    /// end counted in.
    #[test]
    fn holes_are_left_alone_and_blocks_are_whole() {
        let parts =
            mapped_parts(&[extent(0, 1024), extent(1024, 3072), extent(5120, 1024)], 6000, false);
        let one = |end: u64| Vec::from_iter(std::iter::once(0..end));
        assert_eq!(parts, one(6000), "blocks of 1 KiB are rounded to whole ones");
        let sparse = [extent(65_536, 4096), extent(1 << 20, 8192), extent(2 << 20, 4096)];
        let parts = mapped_parts(&sparse, (1 << 20) + 5000, false);
        assert_eq!(parts, [65_536..69_632, 1 << 20..(1 << 20) + 5000]);
        assert_eq!(mapped_parts(&[], 10_000, false), []);
        assert_eq!(mapped_parts(&[], 10_000, true), one(4096));
        assert_eq!(mapped_parts(&[extent(0, 8192)], 10_000, true), one(8192));
        assert_eq!(mapped_parts(&sparse[..1], 40, true), one(40));
    }

    #[test]
    fn pieces_cover_each_part_once() {
        let parts = [0..10, 4096..4096 + 2 * PIECE_BYTES as u64 + 7];
        let found: Vec<_> = pieces(&parts, u64::MAX).collect();
        let one = PIECE_BYTES as u64;
        let expected =
            [(0, 10), (4096, PIECE_BYTES), (4096 + one, PIECE_BYTES), (4096 + 2 * one, 7)];
        assert_eq!(found, expected);
        assert_eq!(pieces(&parts, 4096 + one).count(), 2, "the rest is behind the end");
    }

    /// Planted fault: the stamp put at the start of every piece.
    #[test]
    fn the_stamp_is_at_the_start_and_nowhere_else() {
        let pattern = Pattern::generate(Some([7; STAMP_BYTES]));
        let (mut first, mut second) = ([0; 64], [0; 64]);
        pattern.fill_at(0, &mut first);
        pattern.fill_at(32, &mut second);
        assert_eq!(first[..32], [7; 32]);
        assert_eq!(first[32..], second[..32]);
        assert_ne!(second[..32], [7; 32]);
    }
}
