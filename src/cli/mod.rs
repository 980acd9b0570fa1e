//! The command line. It changes state only through the daemon's socket, so there is one writer
//! and one audit trail; what must work with the daemon dead is in `offline`.
//!
//! Every command returns a [`Failure`] or nothing; [`main`] alone prints it and picks the code.

pub mod args;
mod audit;
mod authority;
mod backup;
mod certificate;
mod certificate_file;
mod certs;
mod doctor;
mod erase;
pub mod failure;
mod holds;
mod init;
mod keks;
mod keys;
mod offline;
mod online;
mod output;
mod redact;
mod remote;
mod renewal;
mod retention;
mod seal_keys;
mod secrets;
mod setup;
mod slots;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command, Global};
use failure::Failure;

/// The whole program.
pub fn main() -> ExitCode {
    crate::app::harden();
    let parsed = match Cli::try_parse() {
        // Help and versions are answers, not failures; clap knows where they go.
        Err(asked) if !asked.use_stderr() || is_help(&asked) => asked.exit(),
        Err(wrong) => Err(Failure::from(wrong)),
        Ok(cli) => Ok(cli),
    };
    match parsed.and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", failure.lines());
            ExitCode::from(failure.exit)
        }
    }
}

/// A command without what it needs at least is answered with its help.
fn is_help(error: &clap::Error) -> bool {
    error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

fn run(cli: Cli) -> Result<(), Failure> {
    let global = &cli.global;
    match cli.command {
        Command::Serve(serve) => setup::serve(global, &serve),
        Command::Init(init) => init::run(global, init),
        Command::Status => online::status(global),
        Command::Recordings(recordings) => online::recordings(global, &recordings),
        Command::Open(open) => online::open(global, &open),
        Command::Verify(verify) => online::verify(global, &verify),
        Command::Erase(erase) => erase::run(global, &erase),
        Command::Holds { what } => holds::run(global, &what),
        Command::Retention { what } => retention::run(global, &what),
        Command::Redact(redact) => redact::run(global, &redact),
        Command::Keys { what } => keys::run(global, &what),
        Command::Certs { what } => certs::run(global, &what),
        Command::Certificate(verb) => certificate::run(global, &verb),
        Command::Backup { what } => backup::run(global, &what),
        Command::Tokens { what } => online::tokens(global, &what),
        Command::Audit(audit) => audit::run(global, &audit),
        Command::Config { what } => setup::config(global, &what),
        Command::Doctor(file) => doctor::run(global, &file),
        Command::Done { path } => online::done(global, &path),
        Command::Completions { shell } => setup::completions(shell),
        Command::Man { out } => setup::man(&out),
    }
}

/// The state folder in force: `--state`, else `$STATE_DIRECTORY`, else `./recseal-state`.
fn state_folder(global: &Global) -> Result<PathBuf, Failure> {
    let state = match &global.state {
        Some(state) => state.clone(),
        None => default_state(),
    };
    std::path::absolute(&state).map_err(|error| Failure::file("state folder", &error))
}

fn default_state() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "systemd names the state folder so")]
    let named = std::env::var("STATE_DIRECTORY").ok();
    // systemd separates several folders by colons; ours is the first.
    match named.as_deref().and_then(|names| names.split(':').next()) {
        Some(first) if !first.is_empty() => PathBuf::from(first),
        _ => PathBuf::from("recseal-state"),
    }
}

/// The daemon of this state folder.
fn remote(global: &Global) -> Result<remote::Remote, Failure> {
    let socket = match &global.socket {
        Some(socket) => socket.clone(),
        None => crate::config::socket_in(&state_folder(global)?),
    };
    remote::Remote::new(socket)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    const ID: &str = "0192f0c8-7a3b-7c4d-8e5f-123456789abc";

    const LINES: &[&str] = &[
        "status",
        "recordings",
        "recordings --state-is planned-for-deletion --store /r",
        "recordings show ID",
        "recordings release ID",
        "open ID -o f",
        "open f.sealed --key k -o - --force",
        "verify ID",
        "verify f.sealed --key k",
        "erase --recording ID --recording ID --reason decision --dry-run",
        "erase --conversation ID --yes --wait",
        "erase --person - --confirm 7",
        "erase --query q",
        "erase --due",
        "erase --files l",
        "erase status",
        "erase status ID --follow",
        "erase list",
        "erase items ID --only failing",
        "erase approve ID",
        "erase pause",
        "erase pause ID",
        "erase resume",
        "erase resume ID",
        "erase cancel ID",
        "erase limit 50M",
        "erase finalize",
        "erase finalize --now --yes",
        "holds place --reason r --recording ID --conversation ID --until 2030-01-31",
        "holds list --all",
        "holds show ID",
        "holds lift ID",
        "retention list",
        "retention add n --store /r --kind audio --tag t --metadata k=v --keep 5y --erase-after 6y --mifid",
        "retention remove ID",
        "retention plan",
        "retention protect ID --until 2030-01-31",
        "retention unprotect ID",
        "retention protections ID",
        "redact ID --range 10s-15s",
        "redact ID --range 1:05-1:09 --range 2m-3m --channel 2 --beep --audio-only --dry-run",
        "redact ID --range 0-1 --video-only",
        "keys export ID -o k",
        "keys public -o k",
        "keys slots list",
        "keys slots add file",
        "keys slots add passphrase --passphrase-file p",
        "keys slots add shares --threshold 3 --of 5 -o d",
        "keys slots add credential recseal-root",
        "keys slots add pkcs11 --module /m.so --token t --key k --pin-file p --make-key",
        "keys slots remove ID --yes",
        "keys slots test ID --share-file a --share-file b",
        "keys rotate-root --passphrase-file p --drop-slots --yes",
        "keys unlock",
        "keys unlock --passphrase-file -",
        "keys unlock --share-file a --share-file b",
        "keys unlock --retry",
        "open f.sealed --key k --seal-key p --passphrase-file w -o o",
        "verify f.sealed --key k --seal-key p",
        "keys seal-keys generate -o p --algorithm x-wing --passphrase-file w",
        "keys seal-keys generate -o p --unprotected",
        "keys seal-keys add archive p.pub --announced-by s",
        "keys seal-keys list",
        "keys seal-keys public archive -o p.pub",
        "keys seal-keys rotate archive q.pub",
        "keys seal-keys disable archive --yes",
        "keys seal-keys enable archive",
        "keys list",
        "keys show 2",
        "keys usage",
        "keys rotate --compromised --wait",
        "keys rewrap --wait",
        "keys disable 2",
        "keys enable 2",
        "keys destroy 2",
        "keys destroy 2 --at 2027-01-31 --reason r",
        "keys destroy 2 --now --yes",
        "keys restore 2",
        "keys certificate 2 -o f",
        "keys certificate --verify f --public-key k",
        "certificate ID -o f",
        "certificate ID -o - --html --force",
        "certificate verify f g --public-key k",
        "certificate render f",
        "certificate render f --html -o g --force",
        "certs show",
        "certs show --pem",
        "certs ca create",
        "certs ca show",
        "certs ca bundle -o f",
        "certs ca crl",
        "certs ca prepare",
        "certs ca activate",
        "certs ca taint 1 --yes",
        "certs ca revoke 1",
        "certs issue prometheus -o f",
        "certs issue a --csr f --days 90 -o f --force",
        "certs issued",
        "certs revoke 5c --reason superseded",
        "certs renew",
        "certs renew --now --wait",
        "certs list",
        "certs check c.pem --key k --password-file - --root r.pem --names a,b",
        "certs import c.p12 --password-file p --allow-names reason",
        "certs csr --names a,b -o r.csr",
        "certs complete ID c.pem --root r.pem",
        "certs cancel ID --yes",
        "certs rollback",
        "certs rollback ID",
        "certs history",
        "backup create -o f",
        "backup create -o f --passphrase-file p --shares 3/5 --share-dir d --recipient k",
        "backup verify f --private-key k --work d",
        "backup verify f --share-file a --share-file b",
        "backup status",
        "backup restore f --passphrase-file p --tombstones t --new-passphrase-file -",
        "backup keygen -o k",
        "backup tombstones -o t",
        "backup confirm ID",
        "backup forget ID",
        "tokens create t --role ops --expires 90d",
        "tokens list",
        "tokens revoke x",
        "audit",
        "audit --from 2026-11-01 --to 2026-11-23 --activity A --user u --result ok",
        "audit verify --public-key k",
        "config check",
        "config check f.toml",
        "config show --config f.toml",
        "doctor",
        "done /r/a.wav",
        "completions bash",
        "man --out m",
        "serve",
        "serve --config f --store /a:obs --store /b --listen 127.0.0.1:0",
        "init --names a,b",
        "init --passphrase-file p",
        "init --passphrase",
        "init --cert c.pem --key k --password-file - --root r.pem --allow-names reason",
        "init --names a.example --csr a.csr",
    ];

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.replace("ID", ID).split_whitespace())
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    /// Every command, with `--state` and `--json` before and after it. Planted fault: `global`
    /// left off `--state` fails at the second form of the first line.
    #[test]
    fn every_command_takes_state_before_and_after() {
        for line in LINES {
            for whole in [
                format!("recseal --state /s --json {line}"),
                format!("recseal {line} --json --state /s"),
                format!("recseal --socket /s/x.sock {line}"),
            ] {
                let cli = parse(&whole).unwrap_or_else(|error| panic!("{whole}: {error}"));
                assert!(cli.global.json || cli.global.socket.is_some(), "{whole}");
            }
        }
    }

    #[test]
    fn nonsense_is_usage() {
        for line in [
            "",
            "nonsense",
            "open ID",
            "erase",
            "erase --recording x",
            "erase --recording ID --due",
            "erase --due --reason none",
            "erase limit fast",
            "erase items ID --only done",
            "holds place --reason r",
            "retention add n --keep soon",
            "retention add n --mifid",
            "redact ID",
            "redact ID --range 15s-10s",
            "redact ID --range 1-2 --channel 0",
            "redact ID --range 1-2 --video-only --audio-only",
            "keys slots add exec",
            "keys slots add pkcs11 --module /m.so --token t --key k",
            "keys unlock --retry --passphrase-file p",
            "recordings --state-is sealed",
            "recordings show x",
            "keys seal-keys generate -o p --algorithm rot13",
            "open f.sealed -o o --passphrase-file w",
            "keys destroy",
            "keys destroy 2 --now --at 2027-01-31",
            "keys certificate",
            "keys certificate 2",
            "keys certificate --verify f",
            "certificate",
            "certificate ID",
            "certificate -o f",
            "certificate verify f",
            "certificate verify --public-key k",
            "certificate render",
            "backup create",
            "backup create -o f --shares 3/5",
            "backup create -o f --shares 6/5 --share-dir d",
            "backup verify f --private-key k --passphrase-file p",
            "tokens create t",
            "tokens create t --role king",
            "serve --listen nowhere",
            "status --jsn",
        ] {
            let error = parse(&format!("recseal {line}")).unwrap_err();
            assert_eq!(error.exit_code(), i32::from(failure::exit::USAGE), "{line}");
        }
    }

    /// Each command teaches: what it does, and, where there is something to show, an example.
    #[test]
    fn every_command_explains_itself() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name}");
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.contains("recseal"), "{name} shows no example");
        }
    }
}
