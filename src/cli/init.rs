//! `recseal init`: a state folder before the first start, with the certificate that is wanted.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use keymanager::gate::Report;
use keymanager::{GatePolicy, KeyError};
use serde_json::json;

use crate::app;
use crate::app::{AppError, FirstCertificate, Prepared};
use crate::clock::Clock;
use crate::config::{Config, Overrides};

use super::args::certs::{CertificateFile, Trust};
use super::args::{Global, Init, Out};
use super::certificate_file::Brought;
use super::certs::told;
use super::failure::{Failure, exit};
use super::online::{save_quietly, say};
use super::secrets;
use super::setup::{load, overrides};

/// `recseal init`
pub(super) fn run(global: &Global, mut verb: Init) -> Result<(), Failure> {
    if is_bare(&verb) && is_somebody_there(global) {
        ask(&mut verb, &mut io::stdin().lock(), &mut io::stderr())?;
    }
    let over = Overrides { names: verb.names.clone(), ..overrides(global, &verb.file)? };
    let config = load(global, &verb.file, over)?;
    let first = match (&verb.cert, &verb.csr) {
        (Some(file), _) => {
            let trust = Trust { root: verb.root.clone(), allow_names: verb.allow_names.clone() };
            let file = CertificateFile {
                file: file.clone(),
                key: verb.key.clone(),
                password_file: verb.password_file.clone(),
                trust,
            };
            let brought = match Brought::read(&file)? {
                Ok(brought) => brought,
                Err(refusal) => return told(global, &Report::from(refusal)),
            };
            let policy = GatePolicy {
                extra_roots: brought.roots,
                allow_other_names: file.trust.allow_names,
                ..GatePolicy::for_server(&config.names)
            };
            FirstCertificate::Brought(Box::new(brought.candidate), policy)
        }
        (None, Some(_)) => FirstCertificate::Requested,
        (None, None) => FirstCertificate::SelfSigned,
    };
    if verb.csr.as_ref().is_some_and(|path| path.symlink_metadata().is_ok()) {
        // Found out afterwards, it would leave a request that nobody has.
        return Err(Failure::file("request file", &io::ErrorKind::AlreadyExists.into()));
    }
    let recovery = match (&verb.passphrase_file, verb.passphrase) {
        (Some(file), _) => Some(secrets::read_passphrase(file)?),
        (None, true) => Some(secrets::ask_new_passphrase()?),
        (None, false) => None,
    };
    match app::prepare(&config, &Clock::System, &first, recovery.as_ref()) {
        Ok(made) => done(global, &config, &verb, &made),
        Err(AppError::Keys(KeyError::Refused { report })) => told(global, &report),
        Err(error) => Err(Failure::of(exit::FAILED, &error, error.hint())),
    }
}

fn done(global: &Global, config: &Config, verb: &Init, made: &Prepared) -> Result<(), Failure> {
    let state = config.state.display();
    let mut answer = json!({
        "state": config.state.to_string_lossy(),
        "created": made.created,
        "certificate_sha256": made.certificate_sha256,
    });
    let mut words = format!(
        "{} {state}: keys, certificate and catalog\n\
         certificate for {}, SHA-256 {}\n",
        if made.created { "made" } else { "found complete" },
        config.names.join(", "),
        made.certificate_sha256,
    );
    for notice in &made.notices {
        words += &format!("notice {notice}\n  hint: {}\n", notice.hint);
    }
    if let (Some(request), Some(path)) = (&made.request, &verb.csr) {
        save_quietly(&Out { out: path.clone(), force: false }, request.pem.as_bytes())?;
        if path.as_os_str() == "-" {
            return Ok(());
        }
        answer["request"] = json!(request.id);
        words += &format!(
            "request {id} in {path}: send it to your authority, then, with the daemon running,\n\
             recseal certs complete {id} CHAIN_FILE\n",
            id = request.id,
            path = path.display(),
        );
    }
    words += &format!("next: recseal serve --state {state}{}\n", watched(verb));
    say(global, &answer, &words)
}

/// What names the stores again: `init` makes keys and keeps no configuration.
fn watched(verb: &Init) -> String {
    let stores = verb.file.stores.iter().map(|store| format!(" --store {store}"));
    match &verb.file.config {
        Some(config) => format!(" --config {}", config.display()),
        None if verb.file.stores.is_empty() => " --store PATH[:PROFILE]".to_owned(),
        None => stores.collect(),
    }
}

/// Nothing was said but perhaps where.
fn is_bare(verb: &Init) -> bool {
    verb.names.is_empty()
        && verb.cert.is_none()
        && verb.csr.is_none()
        && !verb.passphrase
        && verb.passphrase_file.is_none()
        && verb.file.config.is_none()
        && verb.file.stores.is_empty()
}

fn is_somebody_there(global: &Global) -> bool {
    !global.json && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for names and certificate; an empty answer takes what stands in brackets.
fn ask(verb: &mut Init, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<(), Failure> {
    let names = question(
        input,
        output,
        "Names and addresses that clients use, with commas [localhost,127.0.0.1,::1]: ",
    )?;
    verb.names =
        names.split(',').map(|name| name.trim().to_owned()).filter(|n| !n.is_empty()).collect();
    let choice = question(
        input,
        output,
        "Certificate: 1 self-signed, 2 one that you have, 3 a request for an authority [1]: ",
    )?;
    let file = |answer: String| (!answer.is_empty()).then(|| PathBuf::from(answer));
    match choice.as_str() {
        "" | "1" => {}
        "2" => {
            let needed = || Failure::usage("no file was named", "name the certificate's file");
            let cert = question(input, output, "Its file (PEM with the chain, or .p12): ")?;
            verb.cert = Some(file(cert).ok_or_else(needed)?);
            let key = "The file of its key, if it is another one [the same]: ";
            verb.key = file(question(input, output, key)?);
            let root = "The root of your own authority, if it is a private one [none]: ";
            verb.root = file(question(input, output, root)?);
        }
        "3" => {
            let answer = question(input, output, "Where to write the request [recseal.csr]: ")?;
            verb.csr = Some(file(answer).unwrap_or_else(|| PathBuf::from("recseal.csr")));
        }
        other => {
            let message = format!("{other:?} is none of 1, 2 and 3");
            return Err(Failure::usage(message, "start again; nothing was made"));
        }
    }
    Ok(())
}

fn question(
    input: &mut dyn BufRead,
    output: &mut dyn Write,
    words: &str,
) -> Result<String, Failure> {
    let failed = |error| Failure::file("asking", &error);
    output.write_all(words.as_bytes()).and_then(|()| output.flush()).map_err(failed)?;
    let mut line = String::new();
    match input.read_line(&mut line).map_err(failed)? {
        0 => Err(Failure::usage("the answer is missing", "nothing was made")),
        _ => Ok(line.trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_options() {
        let asked = |answers: &str| {
            let mut verb = Init::default();
            let outcome = ask(&mut verb, &mut answers.as_bytes(), &mut io::sink());
            outcome.map(|()| verb)
        };
        let verb = asked("\n\n").unwrap();
        assert!(is_bare(&verb));
        let verb = asked("a.example, 192.0.2.7\n2\nc.p12\n\nr.pem\n").unwrap();
        assert_eq!(verb.names, ["a.example", "192.0.2.7"]);
        let paths = [verb.cert, verb.key, verb.root].map(|path| path.map(PathBuf::into_os_string));
        assert_eq!(paths, [Some("c.p12".into()), None, Some("r.pem".into())]);
        let verb = asked("a.example\n3\n\n").unwrap();
        assert_eq!(verb.csr, Some(PathBuf::from("recseal.csr")));
        for bad in ["", "a\n4\n", "a\n2\n\n", "a\n2\n"] {
            assert_eq!(asked(bad).unwrap_err().exit, exit::USAGE, "{bad:?}");
        }
    }
}
