//! The exec slot: a command that prints the key, for every source that has a tool of its own.
//!
//! The command is run without a shell, in an empty environment but for `PATH`, in a process group
//! of its own, with nothing to read. It has ten seconds and 128 bytes; whatever is left of its
//! group afterwards is killed. What it writes to standard error is not looked at.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::problem::SlotProblem;
use super::{SlotKind, key_in};
use crate::error::KeyError;
use crate::secret::Secret;

/// The program and its arguments. They are no place for secrets: everybody can list them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exec {
    command: Vec<String>,
}

impl Exec {
    pub(super) fn new(command: &[String]) -> Result<Self, KeyError> {
        let bytes: usize = command.iter().map(String::len).sum();
        let is_absolute = command.first().is_some_and(|program| program.starts_with('/'));
        let is_sane = command.len() <= WORDS_MAX && bytes <= COMMAND_BYTES_MAX;
        match is_absolute && is_sane && !command.iter().any(|word| word.contains('\0')) {
            true => Ok(Self { command: command.to_vec() }),
            false => Err(KeyError::BadSlot {
                kind: SlotKind::Exec,
                rule: "its command begins with an absolute path and has at most 32 words",
            }),
        }
    }

    /// The name of the program, without its folder.
    pub(super) fn program(&self) -> &str {
        let path = self.command.first().map_or("", String::as_str);
        path.rsplit('/').next().unwrap_or(path)
    }

    /// Runs the command. Takes as long as it takes, at most [`LIMIT`].
    pub(super) fn key(&self) -> Result<Secret, SlotProblem> {
        key_in(&self.run(LIMIT)?).ok_or(SlotProblem::Malformed)
    }

    fn run(&self, limit: Duration) -> Result<Zeroizing<Vec<u8>>, SlotProblem> {
        let [program, arguments @ ..] = self.command.as_slice() else {
            return Err(SlotProblem::Malformed);
        };
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(SlotProblem::Spawn)?;
        let group = Pid::from_child(&child);
        let stdout = child.stdout.take().expect("it was asked to be piped");
        let (said, heard) = mpsc::channel();
        // Not waited for: what left the group may hold the pipe open for ever.
        std::thread::spawn(move || said.send(listen(stdout, group)));
        let outcome = heard.recv_timeout(limit);
        // Our child is not reaped yet, so its group cannot be anybody else's.
        let status = end(&mut child, group);
        let printed = match outcome {
            Err(_) => return Err(SlotProblem::TimedOut { limit_s: limit.as_secs() }),
            Ok(Err(error)) => return Err(SlotProblem::Spawn(error)),
            Ok(Ok(printed)) => printed,
        };
        if printed.len() > PRINTED_BYTES_MAX {
            return Err(SlotProblem::TooMuch { max_bytes: PRINTED_BYTES_MAX });
        }
        match status.map_err(SlotProblem::Spawn)? {
            status if status.success() => Ok(printed),
            status => Err(SlotProblem::Status { status: status.to_string() }),
        }
    }
}

/// All it prints, or a little more than it may; then waits for its end without reaping it.
fn listen(stdout: ChildStdout, child: Pid) -> io::Result<Zeroizing<Vec<u8>>> {
    // Sized at once: a buffer that grows leaves a copy of the key behind.
    let mut printed = Zeroizing::new(Vec::with_capacity(PRINTED_BYTES_MAX + 1));
    stdout.take(PRINTED_BYTES_MAX as u64 + 1).read_to_end(&mut printed)?;
    if printed.len() <= PRINTED_BYTES_MAX {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(error) = rustix::process::waitid(WaitId::Pid(child), options) {
            if error != rustix::io::Errno::INTR {
                return Err(error.into());
            }
        }
    }
    Ok(printed)
}

/// Kills what is left of the group, then reaps the child.
fn end(child: &mut Child, group: Pid) -> io::Result<ExitStatus> {
    let _ = rustix::process::kill_process_group(group, Signal::KILL);
    child.wait()
}

const LIMIT: Duration = Duration::from_secs(10);
const PRINTED_BYTES_MAX: usize = 128;
const WORDS_MAX: usize = 32;
const COMMAND_BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Exec {
        Exec::new(&["/bin/sh", "-c", script].map(str::to_owned)).unwrap()
    }

    #[test]
    fn what_it_prints_is_the_key() {
        let exec = sh("printf '%064d\\n' 7");
        assert_eq!(exec.program(), "sh");
        assert_eq!(exec.key().unwrap().expose_bytes()[31], 7);
        for bad in [&[][..], &["sh"], &["./x"], &["/x\0"], &["/x"; 33]] {
            let command: Vec<_> = bad.iter().map(|word| (*word).to_owned()).collect();
            assert!(matches!(Exec::new(&command), Err(KeyError::BadSlot { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_command_that_fails_is_told_apart() {
        assert!(matches!(sh("exit 3").key(), Err(SlotProblem::Status { .. })));
        assert!(matches!(sh("kill -9 $$").key(), Err(SlotProblem::Status { .. })));
        assert!(matches!(sh("echo hello").key(), Err(SlotProblem::Malformed)));
        assert!(matches!(sh(":").key(), Err(SlotProblem::Malformed)));
        let none = Exec::new(&["/nonexistent/program".to_owned()]).unwrap();
        assert!(matches!(none.key(), Err(SlotProblem::Spawn(_))));
        // A failed command that printed a key has failed.
        assert!(matches!(sh("printf %064d 7; exit 1").key(), Err(SlotProblem::Status { .. })));
    }

    /// Planted fault: the length of what it printed not compared.
    #[test]
    fn it_may_not_print_for_ever() {
        assert!(matches!(sh("yes").key(), Err(SlotProblem::TooMuch { max_bytes: 128 })));
        assert!(matches!(sh("yes & yes").key(), Err(SlotProblem::TooMuch { .. })));
    }

    /// Neither by sleeping, nor by closing its output first, nor by a child that keeps it open,
    /// be it one that left the group. Planted fault: a limit of an hour.
    #[test]
    fn it_may_not_take_for_ever() {
        let limit = Duration::from_millis(200);
        for script in
            ["sleep 60", "exec >&-; sleep 60", "sleep 60 & exit 0", "setsid sleep 3 & exit 0"]
        {
            let outcome = sh(script).run(limit);
            assert!(matches!(outcome, Err(SlotProblem::TimedOut { .. })), "{script}");
        }
    }

    /// Planted fault: the environment handed on.
    #[test]
    fn it_sees_nothing_of_us() {
        let seen = sh("env | cut -d= -f1 | sort | tr '\\n' ' '; pwd").run(LIMIT).unwrap();
        let seen = String::from_utf8(seen.to_vec()).unwrap();
        let words: Vec<_> = seen.split_whitespace().collect();
        let ours = ["PATH", "PWD", "OLDPWD", "SHLVL", "_", "/"];
        assert!(words.iter().all(|word| ours.contains(word)), "{seen}");
        assert_eq!(words.last(), Some(&"/"));
    }
}
