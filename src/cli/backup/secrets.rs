//! What makes and opens backups, as it comes from files, from standard input or from a keyboard.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
use std::path::Path;

use keymanager::{BackupError, BackupOpener, BackupPrivateKey, OpenedBackup, Share, WayKind};
use zeroize::Zeroizing;

use crate::cli::args::backup::Opener;
use crate::cli::failure::{Failure, exit};

/// The file, and what opens it. A passphrase is asked for if the backup has one and nothing else
/// was given.
pub(super) fn open_backup(
    path: &Path,
    opener: &Opener,
) -> Result<(BufReader<File>, BackupOpener), Failure> {
    let file = File::open(path).map_err(|error| Failure::file("backup", &error))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(Failure::usage("this is not a file", "name the file of a backup"));
    }
    let input = BufReader::with_capacity(BUFFER_BYTES, file);
    let given = if let Some(path) = &opener.private_key {
        let text = read_text(path, "private key file")?;
        BackupOpener::PrivateKey(BackupPrivateKey::parse(&text).map_err(|e| no_backup(&e))?)
    } else if !opener.share_files.is_empty() {
        let mut shares = Vec::new();
        for path in &opener.share_files {
            let text = read_text(path, "share file")?;
            shares.push(Share::parse(&text).map_err(|error| no_backup(&error.into()))?);
        }
        BackupOpener::Shares(shares)
    } else if let Some(path) = &opener.passphrase_file {
        BackupOpener::passphrase(read_passphrase(path)?)
    } else {
        let again = File::open(path).map_err(|error| Failure::file("backup", &error))?;
        let (_, kinds) = OpenedBackup::peek(again).map_err(|error| no_backup(&error))?;
        if !kinds.contains(&WayKind::Passphrase) {
            return Err(Failure::usage(
                format!("the backup opens by {}", WayKind::list(&kinds)),
                "give --private-key FILE, or --share-file FILE once for each share",
            ));
        }
        BackupOpener::passphrase(ask("Passphrase of the backup: ")?)
    };
    Ok((input, given))
}

pub(super) fn peek_id(path: &Path) -> Result<String, Failure> {
    let file = File::open(path).map_err(|error| Failure::file("backup", &error))?;
    let (id, _) = OpenedBackup::peek(file).map_err(|error| no_backup(&error))?;
    Ok(id.to_string())
}

/// A passphrase is one line; its end does not belong to it.
pub(super) fn read_passphrase(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = read_text(path, "passphrase file")?;
    Ok(Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned()))
}

pub(super) fn read_text(path: &Path, what: &str) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: io::Error| Failure::file(what, &error);
    let mut text = Zeroizing::new(String::with_capacity(TEXT_BYTES_MAX as usize + 1));
    let input: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).map_err(failed)?),
    };
    input.take(TEXT_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

pub(super) fn ask_twice() -> Result<Zeroizing<String>, Failure> {
    let typed = ask("Passphrase for the backup: ")?;
    if *typed != *ask("The same again: ")? {
        return Err(Failure::usage("the two passphrases differ", "type the same one twice"));
    }
    Ok(typed)
}

pub(super) fn ask(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "a passphrase is needed and nobody can type it",
            "give --passphrase-file FILE, or - for standard input",
        ));
    }
    rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .map_err(|error| Failure::file("terminal", &error))
}

fn no_backup(error: &BackupError) -> Failure {
    Failure::of(exit::VERIFICATION_FAILED, error, error.hint())
}

const BUFFER_BYTES: usize = 1 << 20;
/// Far longer than any passphrase, share or key.
const TEXT_BYTES_MAX: u64 = 4_096;
