//! Looking for bytes in the files of the catalog: was it really taken out?
//!
//! After a scrub nothing of a destroyed key may be left in the database file or its log. Whoever
//! certifies that looks first, with the bytes that were there. The bytes are looked for as they
//! are, so a row that SQLite would have split over two pages is found by its larger half.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use aho_corasick::AhoCorasick;

use super::Catalog;
use super::CatalogError;

impl Catalog {
    /// For each of `needles`, of at least 32 bytes, whether it stands in the database file or in
    /// its log. Reads both, in constant memory, beside running transactions: what they hold is
    /// not what is looked for.
    ///
    /// # Errors
    ///
    /// [`CatalogError::File`], [`CatalogError::ReadOnly`].
    pub fn look_for(&self, needles: &[&[u8]]) -> Result<Vec<bool>, CatalogError> {
        let failed = |source| CatalogError::File { source };
        let mut found = vec![false; needles.len()];
        if needles.is_empty() {
            return Ok(found);
        }
        let parts = needles.iter().map(|needle| &needle[..needle.len().min(PART_BYTES)]);
        let automaton =
            AhoCorasick::new(parts).map_err(|error| failed(io::Error::other(error.to_string())))?;
        let Some(file) = &self.file else { return Err(CatalogError::ReadOnly) };
        search(file, &automaton, &mut found).map_err(failed)?;
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        match File::open(PathBuf::from(log)) {
            Ok(log) => search(&log, &automaton, &mut found).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        Ok(found)
    }
}

fn search(file: &File, automaton: &AhoCorasick, found: &mut [bool]) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES + PART_BYTES];
    let mut at = 0;
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read_at(&mut buffer[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        for hit in automaton.find_overlapping_iter(&buffer[..filled]) {
            found[hit.pattern().as_usize()] = true;
        }
        if filled < buffer.len() {
            return Ok(());
        }
        at += PIECE_BYTES as u64;
    }
}

/// Enough to be nobody else's: what is looked for is random.
const PART_BYTES: usize = 64;
const PIECE_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted faults: the log not searched, and pieces without their overlap.
    #[test]
    fn what_is_there_is_found_wherever_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
        let needle = |number: u8| vec![number | 0x80; 60];
        let (first, second, third) = (needle(1), needle(2), needle(3));
        catalog.write(|tx| tx.set_meta("a", &first)).unwrap();
        let look = || catalog.look_for(&[&first, &second, &third]).unwrap();
        assert_eq!(look(), [true, false, false], "in the log");
        catalog.scrub().unwrap();
        assert_eq!(look(), [true, false, false], "in the file");
        catalog.write(|tx| tx.set_meta("a", b"")).unwrap();
        catalog.scrub().unwrap();
        assert_eq!(look(), [false, false, false]);
        let across = dir.path().join("across");
        let mut bytes = vec![0; PIECE_BYTES * 2 + 500];
        bytes[PIECE_BYTES - 30..PIECE_BYTES + 30].copy_from_slice(&second);
        std::fs::write(&across, &bytes).unwrap();
        let automaton = AhoCorasick::new([&second]).unwrap();
        let mut found = [false];
        search(&File::open(&across).unwrap(), &automaton, &mut found).unwrap();
        assert!(found[0]);
    }
}
