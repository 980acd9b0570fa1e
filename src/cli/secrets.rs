//! Secrets as people bring them: typed, or in files. Never in arguments or the environment.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::failure::{Failure, exit};

/// The passphrase in a file, without the line end; `-` is standard input.
pub(super) fn read_passphrase(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let mut text = read(path, "passphrase file")?;
    let len = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(len);
    Ok(text)
}

/// The share in a file: what stands on lines that do not begin with `#`.
pub(super) fn read_share(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = read(path, "share file")?;
    let mut share = Zeroizing::new(String::with_capacity(text.len()));
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        share.push_str(line.trim());
    }
    Ok(share)
}

/// A passphrase that exists, typed without being shown.
pub(super) fn ask_passphrase(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "nobody can be asked: standard input is no terminal",
            "name a file with --passphrase-file; - is standard input",
        ));
    }
    rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .map_err(|error| Failure::file("terminal", &error))
}

/// A new passphrase, typed twice.
pub(super) fn ask_new_passphrase() -> Result<Zeroizing<String>, Failure> {
    let first = ask_passphrase("New passphrase (a sentence of 12 bytes or more): ")?;
    let second = ask_passphrase("The same again: ")?;
    match first == second {
        true => Ok(first),
        false => Err(Failure::usage("the two are not the same", "try again")),
    }
}

/// Shares typed one by one, until an empty line.
pub(super) fn ask_shares() -> Result<Vec<Zeroizing<String>>, Failure> {
    let mut shares = Vec::new();
    loop {
        let prompt = format!("Share {} (nothing ends the list): ", shares.len() + 1);
        let share = ask_passphrase(&prompt)?;
        if share.trim().is_empty() {
            return Ok(shares);
        }
        shares.push(share);
    }
}

/// Lets a person confirm what cannot be taken back by typing `word`.
pub(super) fn confirm(yes: bool, what: &str, word: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!("{what} wants a confirmation"), "say --yes"));
    }
    eprint!("{what}. Type {word} to go on: ");
    let mut typed = String::new();
    io::stdin().read_line(&mut typed).map_err(|error| Failure::file("terminal", &error))?;
    match typed.trim() == word {
        true => Ok(()),
        false => Err(Failure::new(exit::REFUSED, "not confirmed", "nothing was changed")),
    }
}

fn read(path: &Path, what: &str) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: io::Error| Failure::file(what, &error);
    // Sized at once: a buffer that grows leaves a copy of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 1));
    let limit = SECRET_BYTES_MAX as u64 + 1;
    match path == Path::new("-") {
        true => io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(failed)?,
        false => {
            File::open(path).map_err(failed)?.take(limit).read_to_end(&mut bytes).map_err(failed)?
        }
    };
    let text = std::str::from_utf8(&bytes).ok().filter(|_| bytes.len() <= SECRET_BYTES_MAX);
    text.map(|text| Zeroizing::new(text.to_owned())).ok_or_else(|| {
        Failure::usage(
            format!("the {what} is not a text of at most {SECRET_BYTES_MAX} bytes"),
            "check which file it is",
        )
    })
}

const SECRET_BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_people_write_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        for (content, passphrase, share) in [
            ("a b\n", "a b", "a b"),
            (" a \r\n", " a ", "a"),
            (
                "# share 1 of 5\nrsshare1-a\n-b\n\n",
                "# share 1 of 5\nrsshare1-a\n-b",
                "rsshare1-a-b",
            ),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(*read_passphrase(&path).unwrap(), passphrase);
            assert_eq!(*read_share(&path).unwrap(), share);
        }
        for bad in [&[0xff][..], &[b'a'; 4_097]] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(read_passphrase(&path).unwrap_err().exit, exit::USAGE);
        }
        let missing = read_share(&folder.path().join("none")).unwrap_err();
        assert_eq!(missing.exit, exit::NOT_FOUND);
    }
}
