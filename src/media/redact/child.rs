//! One run of ffmpeg: a child process with three sockets and nothing else of ours.
//!
//! ```text
//! source ─▶ feeder thread ─▶ stdin │ child │ stdout ─▶ this thread ─▶ out
//!              (or memory, whole)  │       │ stderr ─▶ listener thread, bounded
//!                           timer thread ─▶ SIGKILL for its whole group, and hanging up
//! ```
//!
//! How it is confined says [`crate::sys::confine`]. Its environment is empty, its folder is `/`,
//! and whatever it says on stderr is looked through and forgotten.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use zeroize::Zeroizing;

use super::RedactError;
use crate::sys::{self, Confinement};

/// What the child reads.
pub(super) enum Input<'a> {
    /// Nothing.
    Nothing,
    /// This, once, from its beginning.
    Stream(&'a mut (dyn Read + Send)),
    /// A file in memory, in which it may seek.
    Memory(File),
}

/// What is run, and what it may use.
pub(super) struct Job<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [String],
    pub(super) memory_bytes: u64,
    pub(super) time_limit: Duration,
    /// More than this is no result.
    pub(super) output_bytes_max: u64,
}

/// Runs `job` to its end. `hear` gets each line of its stderr, cut at [`LINE_BYTES_MAX`].
///
/// # Errors
///
/// [`RedactError::Ffmpeg`] if it could not be started or had to be ended, [`RedactError::Read`]
/// and [`RedactError::Write`] for our own ends. No process is left.
pub(super) fn run(
    job: &Job<'_>,
    input: Input<'_>,
    out: &mut dyn Write,
    hear: &mut (dyn FnMut(&str) + Send),
) -> Result<ExitStatus, RedactError> {
    let mut command = Command::new(job.program);
    command.args(job.arguments).env_clear().current_dir("/").process_group(0);
    let not_started = |error: io::Error| failed(format!("could not be started: {}", error.kind()));
    let ends = Ends::attach(&mut command, &input).map_err(not_started)?;
    let source = match input {
        Input::Nothing => None,
        Input::Stream(source) => Some(source),
        Input::Memory(file) => {
            command.stdin(file);
            None
        }
    };
    sys::confine(&mut command, confinement(job)).map_err(not_started)?;
    let mut child = command.spawn().map_err(not_started)?;
    drop(command); // and our copies of its ends
    let pid = Pid::from_child(&child);
    let was_late = AtomicBool::new(false);
    let (ended, waiting) = mpsc::channel::<()>();
    let (copied, fed) = std::thread::scope(|scope| {
        let (time_limit, was_late, ends) = (job.time_limit, &was_late, &ends);
        let timer = scope.spawn(move || {
            if waiting.recv_timeout(time_limit) == Err(RecvTimeoutError::Timeout) {
                was_late.store(true, Ordering::Relaxed);
                end_group(pid);
                ends.hang_up();
            }
        });
        let feeder = source.map(|source| scope.spawn(|| feed(source, &ends.stdin)));
        let listener = scope.spawn(|| listen(&ends.stderr, hear));
        let copied = copy(&ends.stdout, out, job.output_bytes_max);
        if copied.is_err() {
            end_group(pid);
        }
        // It stays a zombie, so that its number is not given to somebody else while it is killed.
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        drop(ended);
        let _ = timer.join();
        end_group(pid); // whatever it started itself
        ends.hang_up(); // on whatever left its group
        let fed = feeder.map_or(Ok(()), |feeder| feeder.join().unwrap_or(Ok(())));
        let _ = listener.join();
        (copied, fed)
    });
    let status = child.wait().map_err(not_started)?;
    if was_late.into_inner() {
        return Err(failed(format!("was ended after {} s", job.time_limit.as_secs())));
    }
    fed?;
    copied?;
    Ok(status)
}

/// Our ends of its three. Sockets and not pipes: on a socket one can hang up, even if a process
/// that nobody knows of holds the other end.
struct Ends {
    stdin: UnixStream,
    stdout: UnixStream,
    stderr: UnixStream,
}

impl Ends {
    fn attach(command: &mut Command, input: &Input<'_>) -> io::Result<Self> {
        let (stdin, its_stdin) = UnixStream::pair()?;
        let (stdout, its_stdout) = UnixStream::pair()?;
        let (stderr, its_stderr) = UnixStream::pair()?;
        match input {
            Input::Stream(_) => command.stdin(OwnedFd::from(its_stdin)),
            Input::Nothing | Input::Memory(_) => command.stdin(Stdio::null()),
        };
        command.stdout(OwnedFd::from(its_stdout)).stderr(OwnedFd::from(its_stderr));
        Ok(Self { stdin, stdout, stderr })
    }

    /// What was written to us can still be read; nobody waits any more.
    fn hang_up(&self) {
        for end in [&self.stdin, &self.stdout, &self.stderr] {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

/// An end that is not a success, in words that hold nothing of its own.
pub(super) fn bad_end(status: ExitStatus) -> RedactError {
    failed(match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "did not end well".to_owned(),
    })
}

fn failed(why: String) -> RedactError {
    RedactError::Ffmpeg { why }
}

fn confinement(job: &Job<'_>) -> Confinement {
    Confinement {
        memory_bytes: job.memory_bytes,
        // Two threads at most work at the same time.
        cpu_seconds: job.time_limit.as_secs().saturating_mul(2).max(1),
        open_files: OPEN_FILES,
        processes: PROCESSES,
    }
}

fn end_group(pid: Pid) {
    let _ = kill_process_group(pid, Signal::KILL);
}

/// Gives it what it reads. That it does not want all of it is its own affair.
fn feed(source: &mut (dyn Read + Send), mut end: &UnixStream) -> Result<(), RedactError> {
    let mut plaintext = Zeroizing::new(vec![0; PIECE_BYTES]);
    loop {
        let len = source.read(&mut plaintext).map_err(RedactError::Read)?;
        if len == 0 || end.write_all(&plaintext[..len]).is_err() {
            let _ = end.shutdown(Shutdown::Write);
            return Ok(());
        }
    }
}

fn copy(mut stdout: &UnixStream, out: &mut dyn Write, bytes_max: u64) -> Result<(), RedactError> {
    let mut plaintext = Zeroizing::new(vec![0; PIECE_BYTES]);
    let mut copied = 0_u64;
    loop {
        let len = match stdout.read(&mut plaintext) {
            Ok(0) => return Ok(()),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(RedactError::Read(error)),
        };
        copied += len as u64;
        if copied > bytes_max {
            return Err(failed(format!("wrote more than {bytes_max} bytes")));
        }
        out.write_all(&plaintext[..len]).map_err(RedactError::Write)?;
    }
}

/// Hears it out, so that it never waits for us; what is long is cut, and nothing is kept.
fn listen(mut stderr: &UnixStream, hear: &mut (dyn FnMut(&str) + Send)) {
    let mut plaintext = Zeroizing::new(vec![0; 4_096]);
    let mut line_plaintext = Zeroizing::new(Vec::with_capacity(LINE_BYTES_MAX));
    while let Ok(len) = stderr.read(&mut plaintext) {
        if len == 0 {
            break;
        }
        for byte in &plaintext[..len] {
            match byte {
                b'\n' | b'\r' => {
                    hear(&String::from_utf8_lossy(&line_plaintext));
                    line_plaintext.clear();
                }
                _ if line_plaintext.len() < LINE_BYTES_MAX => line_plaintext.push(*byte),
                _ => {}
            }
        }
    }
}

const PIECE_BYTES: usize = 64 << 10;
const LINE_BYTES_MAX: usize = 512;
/// Three, and what loading libraries takes for a moment.
const OPEN_FILES: u64 = 32;
/// Of all of its user, so not too few.
const PROCESSES: u64 = 512;

#[cfg(test)]
mod tests;
