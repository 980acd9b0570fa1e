//! `recseal keys seal-keys`, and the private halves that open what a recorder cannot.
//!
//! Generating a pair and opening with one need no daemon and no state folder: they happen where
//! the private half is, which is another machine.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use hyper::Method;
use keymanager::{DataKey, SealAlgorithm, SealKeyError, SealPrivateKey, SealedKeyFile};
use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::args::keys::{SealKeyFile, SealKeys};
use super::args::{Global, Out, PrivateSealKey};
use super::failure::{Failure, exit};
use super::online::{save, say, word};
use super::output::{self, Sink};
use super::remote::segment;

/// `recseal keys seal-keys`
pub(super) fn run(global: &Global, verb: &SealKeys) -> Result<(), Failure> {
    match verb {
        SealKeys::Generate { out, algorithm, passphrase_file, unprotected } => {
            let passphrase = match unprotected {
                true => None,
                false => Some(new_passphrase(passphrase_file.as_deref())?),
            };
            generate(global, out, *algorithm, passphrase.as_ref())
        }
        SealKeys::Add(file) => send(global, file, "/api/v1/seal-keys", "added"),
        SealKeys::Rotate(file) => send(global, file, "/api/v1/seal-keys/rotate", "rotated"),
        SealKeys::List => list(global),
        SealKeys::Public { name, out } => {
            let path = format!("/api/v1/seal-keys/{}/public", segment(name));
            let text = super::remote(global)?.text(Method::GET, &path, None)?;
            save(global, out, text.as_bytes())
        }
        SealKeys::Disable { name: _, yes: false } => Err(Failure::new(
            exit::REFUSED,
            "new recordings of every store that seals to it would wait in clear",
            "say --yes if that is meant, or seal to another key with `seal-keys rotate`",
        )),
        SealKeys::Disable { name, yes: true } => switch(global, name, "disable"),
        SealKeys::Enable { name } => switch(global, name, "enable"),
    }
}

fn generate(
    global: &Global,
    out: &Out,
    algorithm: SealAlgorithm,
    passphrase: Option<&Zeroizing<String>>,
) -> Result<(), Failure> {
    if out.out == Path::new("-") {
        return Err(Failure::usage(
            "a private key is not printed",
            "name a file with -o; the public half is written beside it",
        ));
    }
    let private = SealPrivateKey::generate(algorithm);
    let text = private.expose_export(passphrase).map_err(|error| refused(&error))?;
    let mut public_name = out.out.as_os_str().to_owned();
    public_name.push(".pub");
    let public = Out { out: PathBuf::from(public_name), force: out.force };
    // The private half first: a public one alone would only collect what nobody can open.
    for (out, text) in [(out, text.as_str()), (&public, &private.public().to_text())] {
        let mut sink = Sink::open(out)?;
        sink.write_all(text.as_bytes()).map_err(|e| Failure::file("output file", &e))?;
        sink.finish()?;
    }
    let id = private.public().id().to_string();
    let answer = json!({
        "id": id,
        "algorithm": algorithm.as_str(),
        "protected": passphrase.is_some(),
        "private": out.out,
        "public": public.out,
    });
    let words = format!(
        "seal key {id}\nthe file ending in .pub goes to the recording servers; compare the id there\n\
         keep the other one here, and a copy of it in a safe: without it nothing sealed opens\n"
    );
    say(global, &answer, &words)
}

fn send(global: &Global, file: &SealKeyFile, path: &str, done: &str) -> Result<(), Failure> {
    let public = read_text(&file.public, "public key file")?;
    let announced_by = match &file.announced_by {
        None => None,
        Some(path) => Some(read_text(path, "signing keys")?),
    };
    let body = json!({
        "name": file.name,
        "public": public.as_str(),
        "announced_by": announced_by.as_ref().map(|text| text.as_str()),
    });
    let answer = super::remote(global)?.send(Method::POST, path, Some(&body))?;
    say(global, &answer, &format!("{done}: seal key {}\n", word(&answer, "/id")))
}

fn switch(global: &Global, name: &str, verb: &str) -> Result<(), Failure> {
    let path = format!("/api/v1/seal-keys/{}/{verb}", segment(name));
    let answer = super::remote(global)?.send(Method::POST, &path, None)?;
    say(global, &answer, &format!("{verb}d\n"))
}

fn list(global: &Global) -> Result<(), Failure> {
    let items = super::remote(global)?.list("/api/v1/seal-keys", &[])?;
    if global.json {
        return output::print_json(&Value::Array(items));
    }
    if items.is_empty() {
        return output::print("no seal keys\n");
    }
    let mut rows = Vec::new();
    for item in &items {
        for version in item["versions"].as_array().into_iter().flatten() {
            let state = match (word(item, "/state"), word(version, "/state")) {
                ("disabled", "current") => "disabled",
                (_, state) => state,
            };
            rows.push(vec![
                word(item, "/name").to_owned(),
                word(version, "/id").to_owned(),
                word(version, "/algorithm").to_owned(),
                state.to_owned(),
                version["data_keys"].as_u64().unwrap_or(0).to_string(),
                word(version, "/added_at").to_owned(),
            ]);
        }
    }
    output::print_table(&["NAME", "ID", "ALGORITHM", "STATE", "DATA KEYS", "ADDED"], &rows)
}

/// A private key file named on the command line, read when it is needed.
pub(super) struct PrivateKey<'a> {
    file: &'a Path,
    passphrase_file: Option<&'a Path>,
}

impl<'a> PrivateKey<'a> {
    /// `None` if none was named.
    pub(super) fn named(args: &'a PrivateSealKey) -> Option<Self> {
        let file = args.seal_key.as_deref()?;
        Some(Self { file, passphrase_file: args.passphrase_file.as_deref() })
    }

    fn read(&self) -> Result<SealPrivateKey, Failure> {
        let text = read_text(self.file, "private seal key")?;
        let mut unasked = None;
        let opened = SealPrivateKey::import(&text, || {
            let passphrase = match self.passphrase_file {
                Some(path) => read_passphrase(path),
                None => ask("Passphrase of the private seal key: "),
            };
            passphrase.map_err(|failure| unasked = Some(failure)).ok()
        });
        match unasked {
            Some(failure) => Err(failure),
            None => opened.map_err(|error| refused(&error)),
        }
    }
}

/// The data key `data_key` out of a sealed key file.
pub(super) fn open_key_file(
    text: &str,
    private: Option<&PrivateKey<'_>>,
    data_key: Uuid,
) -> Result<DataKey, Failure> {
    let file = SealedKeyFile::from_text(text).map_err(|error| refused(&error))?;
    let Some(private) = private else {
        let id = file.seal_key().map(|id| id.to_string()).unwrap_or_default();
        return Err(Failure::new(
            exit::REFUSED,
            format!("this key file is sealed to seal key {id}"),
            "name its private half with --seal-key PRIVATE, on the machine that has it",
        ));
    };
    file.open(&private.read()?, data_key).map_err(|error| refused(&error))
}

fn refused(error: &SealKeyError) -> Failure {
    use SealKeyError as E;
    let (code, hint) = match error {
        E::PassphraseLength { .. } => (exit::USAGE, "five or six random words are good"),
        E::NeedsPassphrase => (exit::USAGE, "name a file with --passphrase-file"),
        E::WrongPassphrase => (exit::VERIFICATION_FAILED, "type it again"),
        E::OtherSealKey { .. } => {
            (exit::VERIFICATION_FAILED, "name the private key with the id that is needed")
        }
        E::OtherSealedFile { .. } | E::Open { .. } | E::MalformedDataKey { .. } => {
            (exit::VERIFICATION_FAILED, "export the key again: `recseal keys export ID -o KEYFILE`")
        }
        E::NotOne { .. } => (exit::VERIFICATION_FAILED, "the first line of a file says what it is"),
        E::UnsupportedVersion { .. } => (exit::VERIFICATION_FAILED, "use a newer recseal"),
        E::Malformed { .. } | E::WrongCheck { .. } | E::AbsurdCost => {
            (exit::VERIFICATION_FAILED, "take the file as it was written, unchanged")
        }
        E::NotAnnounced
        | E::WeakPublicKey
        | E::BadName { .. }
        | E::UnknownName
        | E::NameTaken
        | E::KeyTaken { .. }
        | E::Disabled
        | E::TooMany { .. } => (exit::REFUSED, "see `recseal keys seal-keys --help`"),
    };
    Failure::of(code, error, hint)
}

/// Typed twice, or the first line of a file.
fn new_passphrase(file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    if let Some(path) = file {
        return read_passphrase(path);
    }
    let first = ask("New passphrase for the private seal key: ")?;
    if first != ask("Again: ")? {
        return Err(Failure::usage("the two are not alike", "type the same passphrase twice"));
    }
    Ok(first)
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let typed = rpassword::prompt_password(prompt).map_err(|_| {
        Failure::usage(
            "there is no terminal to ask for the passphrase",
            "name a file that holds it with --passphrase-file, or - for standard input",
        )
    })?;
    Ok(Zeroizing::new(typed))
}

/// The first line, without its end.
fn read_passphrase(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: io::Error| Failure::file("passphrase file", &error);
    let source: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).map_err(failed)?),
    };
    // Read into the place that is wiped, without a buffer in between.
    let mut line = Zeroizing::new(String::with_capacity(2 * PASSPHRASE_BYTES_MAX as usize));
    source.take(PASSPHRASE_BYTES_MAX).read_to_string(&mut line).map_err(failed)?;
    let end = line.find(['\r', '\n']).unwrap_or(line.len());
    line.truncate(end);
    Ok(line)
}

fn read_text(path: &Path, what: &str) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: io::Error| Failure::file(what, &error);
    // Sized at once: a string that grows leaves a copy of a key behind.
    let mut text = Zeroizing::new(String::with_capacity(TEXT_BYTES_MAX as usize));
    let file = File::open(path).map_err(failed)?;
    file.take(TEXT_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// More than any key or list of signing keys.
const TEXT_BYTES_MAX: u64 = 32 << 10;
const PASSPHRASE_BYTES_MAX: u64 = 2_048;
