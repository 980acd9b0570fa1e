//! The unused middle of each database page, where SQLite leaves old rows behind.
//!
//! ```text
//! page │ header │ cell pointers ▶│ gap: nobody reads it │◀ cells                    │
//!      0        8 or 12          p                      c                        4,096
//! ```
//!
//! When a page is split or joined with its neighbour, SQLite copies the rows to their new places
//! and forgets to clear the old ones: `secure_delete` zeroes what is deleted, not what is moved.
//! So a row's bytes can lie in the gap of a page it once was on, and stay when the row is deleted
//! (seen: 2 of 600 marks, in the name index). Only the bytes between `p` and `c` are written
//! here, and no reader ever looks at them.
//!
//! If the power goes here: each write touches gap bytes only, so a torn one harms nothing.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::CatalogError;

/// Zeroes every gap of the database in `file` and syncs it. Returns how many bytes were not zero.
/// Reads the whole file, in constant memory.
///
/// The caller makes sure that nobody writes to the file meanwhile, and throws away every page
/// that a writer has in memory: it would be written back, gap and all.
pub(super) fn zero_gaps(file: &File) -> Result<u64, CatalogError> {
    let failed = |source: io::Error| CatalogError::File { source };
    let pages = file.metadata().map_err(failed)?.len() / PAGE_BYTES as u64;
    if pages > PAGES_MAX {
        return Err(CatalogError::TooLargeToScrub { pages });
    }
    let mut zeroed_bytes = 0;
    let mut buffer = vec![0; PAGES_AT_ONCE * PAGE_BYTES];
    for first in (0..pages).step_by(PAGES_AT_ONCE) {
        let count = usize::try_from(pages - first).unwrap_or(usize::MAX).min(PAGES_AT_ONCE);
        let read = &mut buffer[..count * PAGE_BYTES];
        file.read_exact_at(read, first * PAGE_BYTES as u64).map_err(failed)?;
        for (number, page) in (first..).zip(read.chunks_exact(PAGE_BYTES)) {
            let gap = gap_of(page, number).ok_or(CatalogError::DamagedPage { page: number + 1 })?;
            if page[gap.clone()].iter().any(|byte| *byte != 0) {
                let at = number * PAGE_BYTES as u64 + gap.start as u64;
                file.write_all_at(&ZEROS[..gap.len()], at).map_err(failed)?;
                zeroed_bytes += gap.len() as u64;
            }
        }
    }
    file.sync_data().map_err(failed)?;
    Ok(zeroed_bytes)
}

/// The gap of page `number`, from 0; empty for a page that is not of a B-tree, `None` if the page
/// contradicts itself.
///
/// Pages of other kinds begin with a page number, whose first byte is 0 below [`PAGES_MAX`], or
/// with a zeroed page's 0; the four kinds of B-tree pages begin with their kind.
fn gap_of(page: &[u8], number: u64) -> Option<Range<usize>> {
    let header = if number == 0 { FILE_HEADER_BYTES } else { 0 };
    let header_bytes = match page[header] {
        KIND_INTERIOR_INDEX | KIND_INTERIOR_TABLE => 12,
        KIND_LEAF_INDEX | KIND_LEAF_TABLE => 8,
        0 => return Some(0..0),
        _ => return None,
    };
    let number_at = |at: usize| usize::from(u16::from_be_bytes([page[at], page[at + 1]]));
    let (cells, content) = (number_at(header + 3), number_at(header + 5));
    let start = header + header_bytes + 2 * cells;
    (start <= content && content <= PAGE_BYTES).then_some(start..content)
}

/// What the first connection sets, before there is a table.
const PAGE_BYTES: usize = 4096;
const PAGES_AT_ONCE: usize = 256;
/// 64 GiB, some 100 million recordings: from here on a page number fills four bytes.
const PAGES_MAX: u64 = (1 << 24) - 1;
const FILE_HEADER_BYTES: usize = 100;
const KIND_INTERIOR_INDEX: u8 = 2;
const KIND_INTERIOR_TABLE: u8 = 5;
const KIND_LEAF_INDEX: u8 = 10;
const KIND_LEAF_TABLE: u8 = 13;
const ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

#[cfg(test)]
mod tests {
    use super::*;

    fn page(kind: u8, cells: u16, content: u16, header: usize) -> Vec<u8> {
        let mut page = vec![0x5A; PAGE_BYTES];
        page[header] = kind;
        page[header + 3..header + 5].copy_from_slice(&cells.to_be_bytes());
        page[header + 5..header + 7].copy_from_slice(&content.to_be_bytes());
        page
    }

    /// Planted faults: the longer header of interior pages forgotten, the file header forgotten,
    /// a page that contradicts itself written to all the same.
    #[test]
    fn the_gap_is_between_pointers_and_cells() {
        assert_eq!(gap_of(&page(KIND_LEAF_INDEX, 36, 302, 0), 35), Some(80..302));
        assert_eq!(gap_of(&page(KIND_LEAF_TABLE, 0, 4096, 0), 1), Some(8..4096));
        assert_eq!(gap_of(&page(KIND_INTERIOR_TABLE, 1, 14, 0), 1), Some(14..14));
        assert_eq!(gap_of(&page(KIND_INTERIOR_INDEX, 2, 200, 0), 9), Some(16..200));
        assert_eq!(gap_of(&page(KIND_LEAF_TABLE, 3, 500, 100), 0), Some(114..500));
        assert_eq!(gap_of(&page(0, 9, 9, 0), 2), Some(0..0), "overflow, free or empty");
        for bad in [
            page(KIND_LEAF_TABLE, 10, 27, 0),
            page(KIND_LEAF_TABLE, 0, 4097, 0),
            page(KIND_LEAF_TABLE, u16::MAX, 4096, 0),
            page(KIND_LEAF_TABLE, 1, 0, 0),
            page(7, 0, 4096, 0),
        ] {
            assert_eq!(gap_of(&bad, 1), None);
        }
    }
}
