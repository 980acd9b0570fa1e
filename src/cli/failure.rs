//! How a command fails: one line, one hint, one exit code.

use std::error::Error;
use std::io;

use crate::config::ConfigError;
use crate::http::chain;

/// Exit codes are part of the interface: scripts and systemd units branch on them.
pub mod exit {
    /// Something went wrong that has no code of its own.
    pub const FAILED: u8 = 1;
    /// The command line makes no sense. Also what clap itself returns.
    pub const USAGE: u8 = 2;
    /// The configuration makes no sense.
    pub const CONFIGURATION: u8 = 3;
    /// A sealed file, an audit trail or a certificate is not what it claims to be.
    pub const VERIFICATION_FAILED: u8 = 4;
    /// A hold, a policy or a missing right.
    pub const REFUSED: u8 = 5;
    /// There is no such thing.
    pub const NOT_FOUND: u8 = 6;
    /// Nobody answers on the socket.
    pub const UNREACHABLE: u8 = 7;
    /// Some of it was done, and some could not be.
    pub const PARTLY_DONE: u8 = 8;
}

/// Why a command did not do what it was told.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// One of [`exit`].
    pub exit: u8,
    /// One line.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Failure {
    /// A failure with its three parts.
    pub fn new(exit: u8, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: hint.into() }
    }

    /// A failure whose message is `error` with all its causes.
    pub fn of(exit: u8, error: &(dyn Error + 'static), hint: impl Into<String>) -> Self {
        Self::new(exit, chain(error), hint)
    }

    /// Wrong usage.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(exit::USAGE, message, hint)
    }

    /// A file of the caller that could not be read or written.
    pub fn file(what: &str, error: &io::Error) -> Self {
        let (exit, hint) = match error.kind() {
            io::ErrorKind::NotFound => (exit::NOT_FOUND, "check the path"),
            io::ErrorKind::PermissionDenied => {
                (exit::REFUSED, "check the rights, or run as the user it belongs to")
            }
            io::ErrorKind::AlreadyExists => {
                (exit::FAILED, "choose another name, or say --force to replace it")
            }
            io::ErrorKind::StorageFull => (exit::FAILED, "make room and try again"),
            _ => (exit::FAILED, "check the disk and try again"),
        };
        Self::new(exit, format!("{what}: {error}"), hint)
    }

    /// What stderr shows: exactly two lines.
    pub fn lines(&self) -> String {
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("recseal: {}\nhint: {}", flat(&self.message), flat(&self.hint))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(exit::CONFIGURATION, format!("configuration: {error}"), error.hint())
    }
}

/// clap's paragraphs become the two lines that every failure has.
impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        let text = error.render().to_string();
        let mut paragraphs = text.split("\n\n").map(str::trim);
        let first = paragraphs.next().unwrap_or_default();
        let tip = paragraphs.find_map(|paragraph| paragraph.strip_prefix("tip: "));
        Self::usage(
            first.strip_prefix("error: ").unwrap_or(first),
            tip.unwrap_or("put --help behind the command to see how it is used"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted fault: clap left to print for itself, without a hint.
    #[test]
    fn wrong_usage_is_two_lines_too() {
        use clap::Parser;
        let said = |line: &str| {
            let parsed = super::super::args::Cli::try_parse_from(line.split_whitespace());
            Failure::from(parsed.unwrap_err()).lines()
        };
        for (line, message, hint) in [
            ("recseal stauts", "recseal: unrecognized subcommand 'stauts'", "'status'"),
            ("recseal recordings --state-is x", "recseal: invalid value 'x'", "--help"),
            ("recseal verify", "recseal: the following required arguments", "--help"),
        ] {
            let lines = said(line);
            let (first, second) = lines.split_once("\nhint: ").expect("two lines");
            assert!(first.starts_with(message) && second.contains(hint), "{lines}");
        }
    }

    #[test]
    fn a_failure_is_two_lines() {
        let failure = Failure::new(1, "one\ntwo", "three\r\nfour");
        assert_eq!(failure.lines(), "recseal: one two\nhint: three four");
    }

    /// The numbers of the contract. Planted fault: any two swapped.
    #[test]
    fn exit_codes_are_frozen() {
        assert_eq!(
            [
                exit::FAILED,
                exit::USAGE,
                exit::CONFIGURATION,
                exit::VERIFICATION_FAILED,
                exit::REFUSED,
                exit::NOT_FOUND,
                exit::UNREACHABLE,
                exit::PARTLY_DONE,
            ],
            [1, 2, 3, 4, 5, 6, 7, 8]
        );
    }
}
