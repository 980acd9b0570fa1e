//! What commands leave behind: files that are whole or not there, lines, bars.
//!
//! An output file has no name until it is complete: it is written unnamed (`O_TMPFILE`) and
//! linked into place at the end, so neither an error nor Ctrl-C nor `kill -9` leaves half a
//! recording in clear. Where a file system cannot do that, a hidden name stands in and is
//! removed on errors.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};

use super::args::Out;
use super::failure::{Failure, exit};

/// Something being written for the caller.
pub(super) enum Sink {
    /// Standard output.
    Stdout(io::Stdout),
    /// A file that gets its name from [`Sink::finish`].
    File(NewFile),
}

pub(super) struct NewFile {
    file: File,
    path: PathBuf,
    /// The hidden name, where the file could not do without.
    stand_in: Option<PathBuf>,
    force: bool,
}

impl Sink {
    /// Opens the output. Nothing is visible under its name yet.
    pub(super) fn open(out: &Out) -> Result<Self, Failure> {
        if out.out == Path::new("-") {
            let stdout = io::stdout();
            if stdout.is_terminal() {
                return Err(Failure::usage(
                    "standard output is a terminal",
                    "pipe it into a program, or name a file with -o",
                ));
            }
            return Ok(Self::Stdout(stdout));
        }
        if !out.force && out.out.symlink_metadata().is_ok() {
            return Err(Failure::file("output file", &io::ErrorKind::AlreadyExists.into()));
        }
        NewFile::create(&out.out, out.force)
            .map(Self::File)
            .map_err(|error| Failure::file("output file", &error))
    }

    /// Makes what was written durable and gives it its name, mode 0600.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let done = match self {
            Self::Stdout(mut stdout) => stdout.flush(),
            Self::File(mut file) => file.publish(),
        };
        done.map_err(|error| Failure::file("output file", &error))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::File(file) => file.file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File(file) => file.file.flush(),
        }
    }
}

impl NewFile {
    fn create(path: &Path, force: bool) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let (Some(folder), Some(_)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::other("this is not the name of a file"));
        };
        let mode = Mode::from_raw_mode(MODE);
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::open(folder, flags, mode) {
            Ok(fd) => Ok(Self { file: fd.into(), path, stand_in: None, force }),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
                let stand_in = hidden_beside(&path);
                let file =
                    OpenOptions::new().write(true).create_new(true).mode(MODE).open(&stand_in)?;
                Ok(Self { file, path, stand_in: Some(stand_in), force })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn publish(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        if self.stand_in.is_none() {
            let named = if self.force { hidden_beside(&self.path) } else { self.path.clone() };
            let unnamed = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            rustix::fs::linkat(CWD, unnamed, CWD, &named, AtFlags::SYMLINK_FOLLOW)?;
            if !self.force {
                return Ok(());
            }
            self.stand_in = Some(named);
        }
        let stand_in = self.stand_in.as_ref().expect("set just above, or when it was created");
        let flags = if self.force { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        rustix::fs::renameat_with(CWD, stand_in, CWD, &self.path, flags)?;
        self.stand_in = None;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(stand_in) = &self.stand_in {
            // Half an output, by a name that only this process knows.
            let _ = rustix::fs::unlink(stand_in);
        }
    }
}

fn hidden_beside(path: &Path) -> PathBuf {
    path.with_file_name(format!(".recseal-{}.part", uuid::Uuid::now_v7().simple()))
}

/// A bar on stderr for `len_bytes` of work; silent where nobody looks.
pub(super) fn bar(len_bytes: u64, json: bool) -> ProgressBar {
    if json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left");
    let bar = ProgressBar::new(len_bytes);
    style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
}

/// The same for `count` things.
pub(super) fn count_bar(count: u64, json: bool) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {per_sec}  {eta} left");
    let bar = bar(count, json);
    style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
}

/// The same for work that says in words how it goes.
pub(super) fn work_bar(len_bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:20} {percent:>3} %  {wide_msg}");
    let bar = bar(len_bytes, false);
    style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
}

/// Prints to stdout. A closed pipe (`| head`) is the reader's right, not a failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(exit::FAILED, format!("standard output: {error}"), "check the disk"))
        }
        _ => Ok(()),
    }
}

/// Prints one JSON document.
pub(super) fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{value:#}\n"))
}

/// Prints rows under a header, each column as wide as its widest cell.
pub(super) fn print_table(header: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    print(&table(header, rows))
}

fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([header[at].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    let head: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&printable(cell));
            line.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count().min(*width)));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A recorder's file name may hold anything, terminal commands included.
pub(super) fn printable(cell: &str) -> String {
    let is_command = |c: char| c.is_control() || TURNS_TEXT.iter().any(|turns| turns.contains(&c));
    cell.chars().map(|c| if is_command(c) { '\u{fffd}' } else { c }).collect()
}

/// `1.5 MiB`
pub(super) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// `1:02:03`
pub(super) fn duration(millis: u64) -> String {
    let seconds = millis / 1_000;
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{:02}", seconds % 60)
    } else {
        format!("{minutes}:{:02}", seconds % 60)
    }
}

const MODE: u32 = 0o600;
/// Line separators, and marks that turn the direction of the text behind them: a name with one
/// reads as another.
const TURNS_TEXT: &[std::ops::RangeInclusive<char>] =
    &['\u{200e}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2066}'..='\u{2069}'];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn out(path: &Path, force: bool) -> Out {
        Out { out: path.to_owned(), force }
    }

    fn names(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    /// Both ways of making a file: nothing is there before the end, and nothing stays after a
    /// failure. Planted fault: writing under the final name fails at the first assertion.
    #[test]
    fn a_file_is_whole_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.wav");
        let Sink::File(mut file) = Sink::open(&out(&path, false)).unwrap() else { panic!() };
        file.file.write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(file);
        assert_eq!(names(folder.path()), 0);

        let mut sink = Sink::open(&out(&path, false)).unwrap();
        sink.write_all(b"whole").unwrap();
        sink.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(folder.path()), 1);
    }

    #[test]
    fn the_hidden_name_goes_away_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.wav");
        let stand_in = hidden_beside(&path);
        let file = File::create(&stand_in).unwrap();
        drop(NewFile { file, path: path.clone(), stand_in: Some(stand_in), force: false });
        assert_eq!(names(folder.path()), 0);

        let stand_in = hidden_beside(&path);
        let file = File::create(&stand_in).unwrap();
        let mut file = NewFile { file, path: path.clone(), stand_in: Some(stand_in), force: false };
        file.publish().unwrap();
        assert!(path.exists());

        // Planted fault: a plain rename replaces what appeared meanwhile.
        let stand_in = hidden_beside(&path);
        let file = File::create(&stand_in).unwrap();
        let mut file = NewFile { file, path, stand_in: Some(stand_in), force: false };
        assert!(file.publish().is_err());
        drop(file);
        assert_eq!(names(folder.path()), 1);
    }

    /// Planted fault: checking only at the start overwrites a file that appeared meanwhile.
    #[test]
    fn nothing_is_overwritten_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.wav");
        let mut late = Sink::open(&out(&path, false)).unwrap();
        late.write_all(b"new").unwrap();
        std::fs::write(&path, b"old").unwrap();
        assert!(late.finish().unwrap_err().hint.contains("--force"));
        assert!(Sink::open(&out(&path, false)).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");

        let mut forced = Sink::open(&out(&path, true)).unwrap();
        forced.write_all(b"new").unwrap();
        forced.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), 1);
    }

    #[test]
    fn a_table_lines_up_and_obeys_no_file_name() {
        let rows =
            vec![vec!["1".into(), "é\u{1b}[2\u{202e}".into()], vec!["22".into(), "x".into()]];
        assert_eq!(table(&["ID", "N"], &rows), "ID  N\n1   é\u{fffd}[2\u{fffd}\n22  x\n");
        assert_eq!(duration(3_723_999), "1:02:03");
        assert_eq!(duration(59_000), "0:59");
    }
}
