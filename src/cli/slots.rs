//! `recseal keys slots`, `keys rotate-root`, `keys unlock`: the ways to the root key.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use hyper::Method;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::args::slots::{AddSlot, Brought, Pkcs11, RotateRoot, Slots, Unlock};
use super::args::{Global, Out};
use super::failure::{Failure, exit};
use super::online::{say, word};
use super::output::{self, Sink};
use super::remote::Remote;
use super::secrets;

/// `recseal keys slots`
pub(super) fn slots(global: &Global, remote: &Remote, verb: &Slots) -> Result<(), Failure> {
    match verb {
        Slots::List => list(global, remote),
        Slots::Add { what } => add(global, remote, what),
        Slots::Remove { id, yes } => {
            secrets::confirm(
                *yes,
                &format!("Slot {id} will not open the keys any more"),
                "remove",
            )?;
            remote.send(Method::DELETE, &slot(*id), None)?;
            say(global, &json!({ "id": id, "removed": true }), "removed\n")
        }
        Slots::Test { id, brought } => test(global, remote, *id, brought),
    }
}

/// `recseal keys rotate-root`
pub(super) fn rotate_root(
    global: &Global,
    remote: &Remote,
    verb: &RotateRoot,
) -> Result<(), Failure> {
    if verb.drop_slots {
        let what = "Slots that do not open with what is given are dropped for ever";
        secrets::confirm(verb.yes, what, "drop")?;
    }
    let body = Brings { drop_slots: verb.drop_slots, ..brings(&verb.brought)? };
    let answer = remote.send_secret("/api/v1/keys/rotate-root", body.to_json()?)?;
    let count = |which: &str| answer[which].as_array().map_or(0, Vec::len);
    let words = format!(
        "a new root key is in use: {} slot(s) lead to it, {} dropped\n\
         next: make a backup, the older ones open with the old root key only\n",
        count("kept"),
        count("dropped")
    );
    say(global, &answer, &words)
}

/// `recseal keys unlock`
pub(super) fn unlock(global: &Global, remote: &Remote, verb: &Unlock) -> Result<(), Failure> {
    let body = if verb.retry {
        Unlocks::default()
    } else if let Some(path) = &verb.passphrase_file {
        Unlocks { passphrase: Some(secrets::read_passphrase(path)?), ..Unlocks::default() }
    } else if !verb.share_files.is_empty() {
        let shares = verb.share_files.iter().map(|path| secrets::read_share(path));
        Unlocks { shares: shares.collect::<Result<_, _>>()?, ..Unlocks::default() }
    } else if verb.shares {
        Unlocks { shares: secrets::ask_shares()?, ..Unlocks::default() }
    } else {
        let passphrase = secrets::ask_passphrase("Passphrase: ")?;
        Unlocks { passphrase: Some(passphrase), ..Unlocks::default() }
    };
    let answer = remote.send_secret("/api/v1/keys/unlock", body.to_json()?)?;
    let words = match answer["were_open"] == true {
        true => "the keys are open already\n",
        false => "the keys are open; the daemon goes on with its start\n",
    };
    say(global, &answer, words)
}

fn list(global: &Global, remote: &Remote) -> Result<(), Failure> {
    let items = remote.list(SLOTS, &[])?;
    if global.json {
        return output::print_json(&Value::Array(items));
    }
    let rows: Vec<Vec<String>> = items
        .iter()
        .map(|slot| {
            let opens = match (slot["unattended"] == true, slot["recovery"] == true) {
                (true, _) => "by itself, on this machine",
                (false, true) => "by people, on any machine",
                (false, false) => "",
            };
            let fields = ["/id", "/kind", "/detail", "/created_at"];
            let mut row: Vec<String> =
                fields.iter().map(|field| word(slot, field).to_owned()).collect();
            row.push(opens.to_owned());
            row
        })
        .collect();
    output::print_table(&["ID", "KIND", "DETAIL", "MADE", "OPENS"], &rows)
}

fn add(global: &Global, remote: &Remote, what: &AddSlot) -> Result<(), Failure> {
    let answer = match what {
        AddSlot::Passphrase { passphrase_file } => {
            let passphrase = match passphrase_file {
                Some(path) => secrets::read_passphrase(path)?,
                None => secrets::ask_new_passphrase()?,
            };
            #[derive(Serialize)]
            struct New<'a> {
                kind: &'static str,
                passphrase: &'a str,
            }
            let body = New { kind: "passphrase", passphrase: &passphrase };
            remote.send_secret(SLOTS, to_json(&body)?)?
        }
        AddSlot::Shares { threshold, of, out } => {
            return add_shares(global, remote, *threshold, *of, out.as_deref());
        }
        AddSlot::File => remote.send(Method::POST, SLOTS, Some(&json!({ "kind": "file" })))?,
        AddSlot::Credential { name } => {
            let body = json!({ "kind": "credential", "name": name });
            remote.send(Method::POST, SLOTS, Some(&body))?
        }
        AddSlot::Exec { command } => {
            let body = json!({ "kind": "exec", "command": command });
            remote.send(Method::POST, SLOTS, Some(&body))?
        }
        AddSlot::Pkcs11(spec) => remote.send(Method::POST, SLOTS, Some(&token_body(spec)))?,
    };
    say(global, &answer, &format!("added slot {}, and opened it once\n", word(&answer, "/slot/id")))
}

fn token_body(spec: &Pkcs11) -> Value {
    let pin = match (&spec.pin_file, &spec.pin_credential) {
        (Some(file), _) => json!({ "file": file }),
        (None, name) => json!({ "credential": name }),
    };
    json!({
        "kind": "pkcs11",
        "module": spec.module,
        "token": spec.token,
        "key": spec.key,
        "pin": pin,
        "make_key": spec.make_key,
    })
}

/// Makes shares and hands them out. Shares that cannot be handed out are worth nothing, and a slot
/// that nobody can open is worse: it is taken back then.
fn add_shares(
    global: &Global,
    remote: &Remote,
    threshold: u8,
    of: u8,
    out: Option<&Path>,
) -> Result<(), Failure> {
    match out {
        Some(folder) => check_free(folder, of)?,
        None if global.json || io::stdout().is_terminal() => {}
        None => {
            return Err(Failure::usage(
                "standard output is no terminal, and shares are not for logs",
                "name a folder with -o DIR: each share becomes a file of its own",
            ));
        }
    }
    let body = json!({ "kind": "shares", "threshold": threshold, "of": of });
    let answer = remote.send(Method::POST, SLOTS, Some(&body))?;
    let id = word(&answer, "/slot/id").to_owned();
    let handed_out = hand_out(global, &answer, threshold, of, out);
    if handed_out.is_err() {
        remote.send(Method::DELETE, &format!("{SLOTS}/{id}"), None)?;
    }
    handed_out
}

fn hand_out(
    global: &Global,
    answer: &Value,
    threshold: u8,
    of: u8,
    out: Option<&Path>,
) -> Result<(), Failure> {
    let id = word(answer, "/slot/id");
    let shares = answer["shares"].as_array().into_iter().flatten();
    let Some(folder) = out else {
        let mut text = Zeroizing::new(format!(
            "added slot {id}. Any {threshold} of these {of} shares open the keys.\n\
             They are shown this one time: give each to another person.\n"
        ));
        for share in shares {
            text.push_str(&format!("\nshare {}\n{}\n", share["number"], word(share, "/text")));
        }
        return say(global, answer, &text);
    };
    for share in shares {
        let number = share["number"].as_u64().unwrap_or(0);
        let out = Out { out: folder.join(share_name(number, of)), force: false };
        let mut sink = Sink::open(&out)?;
        let text = Zeroizing::new(format!(
            "# recseal: share {number} of {of} for key slot {id}; any {threshold} open the keys\n{}\n",
            word(share, "/text")
        ));
        sink.write_all(text.as_bytes()).map_err(|error| Failure::file("share file", &error))?;
        sink.finish()?;
    }
    let told = json!({ "slot": answer["slot"], "files": of });
    let words = format!(
        "added slot {id}: {of} files, any {threshold} of them open the keys\n\
         next: give each to another person, and leave none here\n"
    );
    say(global, &told, &words)
}

/// Finds out before the shares exist whether they can be written.
fn check_free(folder: &Path, of: u8) -> Result<(), Failure> {
    if !folder.is_dir() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        return Err(Failure::file("folder for the shares", &missing));
    }
    let taken = (1..=u64::from(of))
        .any(|number| folder.join(share_name(number, of)).symlink_metadata().is_ok());
    if taken {
        let hint = "name another folder: shares are never written over others";
        return Err(Failure::new(exit::FAILED, "the folder has share files already", hint));
    }
    Ok(())
}

fn share_name(number: u64, of: u8) -> String {
    format!("recseal-share-{number}-of-{of}.txt")
}

fn test(global: &Global, remote: &Remote, id: Uuid, brought: &Brought) -> Result<(), Failure> {
    let mut body = brings(brought)?;
    if body.passphrases.is_empty() && body.shares.is_empty() {
        let slots = remote.list(SLOTS, &[])?;
        let wanted = slots.iter().find(|slot| word(slot, "/id") == id.to_string());
        match wanted.map(|slot| word(slot, "/kind")) {
            Some("passphrase") => body.passphrases.push(secrets::ask_passphrase("Passphrase: ")?),
            Some("shares") => body.shares = secrets::ask_shares()?,
            Some(_) | None => {}
        }
    }
    let tested = remote.send_secret(&format!("{}/test", slot(id)), body.to_json()?);
    let answer = tested.map_err(|failure| match failure.exit {
        exit::REFUSED => Failure { exit: exit::VERIFICATION_FAILED, ..failure },
        _ => failure,
    })?;
    say(global, &answer, &format!("slot {id} opens, and leads to the root key in use\n"))
}

/// What people brought, as the daemon reads it.
#[derive(Default)]
struct Brings {
    passphrases: Vec<Zeroizing<String>>,
    shares: Vec<Zeroizing<String>>,
    drop_slots: bool,
}

impl Brings {
    fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        #[derive(Serialize)]
        struct Body<'a> {
            passphrases: Vec<&'a str>,
            shares: Vec<&'a str>,
            drop_slots: bool,
        }
        to_json(&Body {
            passphrases: texts(&self.passphrases),
            shares: texts(&self.shares),
            drop_slots: self.drop_slots,
        })
    }
}

fn brings(brought: &Brought) -> Result<Brings, Failure> {
    let passphrases = brought.passphrase_files.iter().map(|path| secrets::read_passphrase(path));
    let shares = brought.share_files.iter().map(|path| secrets::read_share(path));
    Ok(Brings {
        passphrases: passphrases.collect::<Result<_, _>>()?,
        shares: shares.collect::<Result<_, _>>()?,
        drop_slots: false,
    })
}

/// What unlocks, as the daemon reads it.
#[derive(Default)]
struct Unlocks {
    passphrase: Option<Zeroizing<String>>,
    shares: Vec<Zeroizing<String>>,
}

impl Unlocks {
    fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            passphrase: Option<&'a str>,
            shares: Vec<&'a str>,
        }
        let passphrase = self.passphrase.as_ref().map(|text| text.as_str());
        to_json(&Body { passphrase, shares: texts(&self.shares) })
    }
}

fn texts(secrets: &[Zeroizing<String>]) -> Vec<&str> {
    secrets.iter().map(|text| text.as_str()).collect()
}

fn to_json(body: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // Sized at once: a buffer that grows leaves copies of the secrets behind.
    let mut json = Zeroizing::new(Vec::with_capacity(BODY_BYTES_MAX));
    serde_json::to_writer(&mut *json, body)
        .map_err(|error| Failure::usage(error.to_string(), "check the values"))?;
    Ok(json)
}

fn slot(id: Uuid) -> String {
    format!("{SLOTS}/{id}")
}

const SLOTS: &str = "/api/v1/keys/slots";
/// The longest body the daemon takes.
const BODY_BYTES_MAX: usize = 64 << 10;
