//! `recseal backup`: made by the daemon, proved and restored without it.

mod restore;
mod secrets;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hyper::Method;
use keymanager::{BackupPrivateKey, Share, ShareSecret};
use serde_json::json;
use zeroize::Zeroizing;

use crate::clock::Timestamp;

use super::args::backup::{Backup, Create};
use super::args::{Global, Out};
use super::failure::{Failure, exit};
use super::online::{say, word};
use super::output::{self, Sink};
use secrets::{ask_twice, read_passphrase, read_text};

/// `recseal backup`
pub(super) fn run(global: &Global, verb: &Backup) -> Result<(), Failure> {
    match verb {
        Backup::Create(create) => self::create(global, create),
        Backup::Verify(verify) => restore::verify(global, verify),
        Backup::Status => status(global),
        Backup::Restore(verb) => restore::restore(global, verb),
        Backup::Keygen { out } => keygen(global, out),
        Backup::Tombstones { out } => {
            let path = "/api/v1/backup/tombstones";
            let text = super::remote(global)?.text(Method::GET, path, None)?;
            super::online::save(global, out, text.as_bytes())
        }
        Backup::Confirm { id } => confirm(global, &id.to_string()),
        Backup::Forget { id } => {
            let path = format!("/api/v1/backup/{id}/forget");
            super::remote(global)?.send(Method::POST, &path, None)?;
            say(global, &json!({ "backup": id, "forgotten": true }), "noted: it is gone\n")
        }
    }
}

fn create(global: &Global, verb: &Create) -> Result<(), Failure> {
    let to_stdout = verb.out.out == Path::new("-");
    if to_stdout && global.json {
        return Err(Failure::usage("--json and -o - both want stdout", "leave one of them out"));
    }
    let remote = super::remote(global)?;
    let mut recipients = Vec::new();
    for path in &verb.recipients {
        recipients.push(read_text(path, "public key file")?.to_string());
    }
    let shared = match verb.shares {
        None => None,
        Some((threshold, of)) => Some(
            ShareSecret::generate(threshold, of)
                .map_err(|error| Failure::usage(error.to_string(), error.hint()))?,
        ),
    };
    let passphrase = match &verb.passphrase_file {
        Some(path) => Some(read_passphrase(path)?),
        None if recipients.is_empty() && shared.is_none() => Some(ask_twice()?),
        None => None,
    };
    let secret = shared.as_ref().map(|(secret, _)| secret.expose_text());
    let body = request(passphrase.as_ref(), secret.as_ref(), &recipients);
    // Shares first: a backup that nobody can open would be worse than shares without a backup.
    let written = match (&shared, &verb.share_dir) {
        (Some((_, shares)), Some(folder)) => write_shares(folder, shares)?,
        _ => Vec::new(),
    };
    let mut sink = Sink::open(&verb.out)?;
    let bar = output::bar(0, global.json);
    let show = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let (len_bytes, id) = remote.download_by_post("/api/v1/backup", &body, &mut sink, &show)?;
    bar.finish_and_clear();
    sink.finish()?;
    remote.send(
        Method::POST,
        &format!("/api/v1/backup/{id}"),
        Some(&json!({"outcome": "kept"})),
    )?;
    if to_stdout {
        return Ok(());
    }
    let answer = json!({
        "backup": id,
        "bytes": len_bytes,
        "share_files": written.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
    });
    let shares = match written.len() {
        0 => String::new(),
        count => format!("{count} shares written: give each to another person, keep none here\n"),
    };
    let size = output::bytes(len_bytes);
    let words = format!(
        "backup {id}: {size}\n{shares}next: recseal backup verify {}\n",
        verb.out.out.display()
    );
    say(global, &answer, &words)
}

/// The request as JSON, written once and wiped: `serde_json` would leave copies.
fn request(
    passphrase: Option<&Zeroizing<String>>,
    share_secret: Option<&Zeroizing<String>>,
    recipients: &[String],
) -> Zeroizing<Vec<u8>> {
    let secrets: usize = [passphrase, share_secret].iter().flatten().map(|s| s.len() * 6).sum();
    let public: usize = recipients.iter().map(|text| text.len() * 6).sum();
    let mut body = Zeroizing::new(Vec::with_capacity(secrets + public + 256));
    let write = |body: &mut Vec<u8>, name: &str, value: &str| {
        body.extend_from_slice(format!("\"{name}\":").as_bytes());
        serde_json::to_writer(&mut *body, value).expect("text can be written into memory");
        body.push(b',');
    };
    body.push(b'{');
    if let Some(passphrase) = passphrase {
        write(&mut body, "passphrase", passphrase);
    }
    if let Some(secret) = share_secret {
        write(&mut body, "share_secret", secret);
    }
    body.extend_from_slice(b"\"recipients\":");
    serde_json::to_writer(&mut *body, recipients).expect("text can be written into memory");
    body.push(b'}');
    body
}

/// One file for each share, 0600. None of them exists before.
fn write_shares(folder: &Path, shares: &[Share]) -> Result<Vec<PathBuf>, Failure> {
    let mut written = Vec::new();
    for share in shares {
        let name = format!("backup-share-{}-of-{}.txt", share.number(), share.count());
        let out = Out { out: folder.join(name), force: false };
        let mut sink = Sink::open(&out)?;
        let text = share.expose_text();
        sink.write_all(text.as_bytes())
            .and_then(|()| sink.write_all(b"\n"))
            .map_err(|error| Failure::file("share file", &error))?;
        sink.finish()?;
        written.push(out.out);
    }
    Ok(written)
}

fn keygen(global: &Global, out: &Out) -> Result<(), Failure> {
    if out.out == Path::new("-") {
        return Err(Failure::usage("two files are written", "name a file with -o"));
    }
    let (private, public) = BackupPrivateKey::generate();
    let public_out = Out { out: out.out.with_added_extension("pub"), force: out.force };
    let (mut private_sink, mut public_sink) = (Sink::open(out)?, Sink::open(&public_out)?);
    let failed = |error: io::Error| Failure::file("output file", &error);
    private_sink.write_all(private.expose_text().as_bytes()).map_err(failed)?;
    public_sink.write_all(public.to_text().as_bytes()).map_err(failed)?;
    // The private one first: a public key whose private half was never kept is a trap.
    private_sink.finish()?;
    public_sink.finish()?;
    let answer = json!({
        "private_key": out.out.to_string_lossy(),
        "public_key": public_out.out.to_string_lossy(),
    });
    let words = format!(
        "private key {}: take it off this host and keep it in a safe, nothing else opens the \
         backups\npublic key {}: name it with --recipient, or in the configuration\n",
        out.out.display(),
        public_out.out.display()
    );
    say(global, &answer, &words)
}

fn status(global: &Global) -> Result<(), Failure> {
    let answer = super::remote(global)?.get("/api/v1/backup")?;
    if global.json {
        return output::print_json(&answer);
    }
    let or_never = |pointer: &str| match word(&answer, pointer) {
        "" => "never".to_owned(),
        at => at.to_owned(),
    };
    let number = |name: &str| answer[name].as_u64().unwrap_or(0);
    output::print(&format!(
        "last backup    {}\nlast verified  {} (backup of {})\n\
         {} key versions and {} recordings are newer than it\n",
        or_never("/created_at"),
        or_never("/verified_at"),
        or_never("/verified_of"),
        number("newer_key_versions"),
        number("newer_recordings"),
    ))?;
    for (name, label) in [("failed_at", "automatic backup FAILED"), ("next_at", "next automatic")] {
        if let Some(at) = answer[name].as_str() {
            output::print(&format!("{label}  {at}\n"))?;
        }
    }
    let rows: Vec<Vec<String>> = answer["backups"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| {
            let state = match row {
                _ if row["damaged_at"].is_string() => "DAMAGED",
                _ if row["verified_at"].is_string() => "verified",
                _ if row["kept_at"].is_string() => "kept",
                _ => "not finished",
            };
            let by = if row["automatic"] == true { "daemon" } else { "person" };
            vec![
                word(row, "/id").to_owned(),
                word(row, "/created_at").to_owned(),
                state.to_owned(),
                by.to_owned(),
                row["sealed_recordings"].to_string(),
            ]
        })
        .collect();
    match rows.is_empty() {
        true => Ok(()),
        false => output::print_table(&["ID", "MADE", "STATE", "BY", "RECORDINGS"], &rows),
    }
}

/// What this daemon knows of the backup is enough: it made it.
fn confirm(global: &Global, id: &str) -> Result<(), Failure> {
    let remote = super::remote(global)?;
    let known = remote.get("/api/v1/backup")?;
    let row = known["backups"].as_array().into_iter().flatten().find(|row| row["id"] == *id);
    let row = row.ok_or_else(|| {
        let hint = "`recseal backup status` lists those that were made here";
        Failure::new(exit::NOT_FOUND, "there is no such backup", hint)
    })?;
    let created = crate::http::view::parse_time(word(row, "/created_at"));
    let body = json!({
        "outcome": "verified",
        "created_ms": created.map(Timestamp::as_millis),
        "newest_version": row["newest_key_version"],
        "sealed": row["sealed_recordings"],
    });
    remote.send(Method::POST, &format!("/api/v1/backup/{id}"), Some(&body))?;
    say(global, &json!({ "backup": id, "verified": true }), "noted as verified\n")
}
