//! `recseal backup`: made by the daemon, proved and restored without it.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use hyper::Method;
use keymanager::{
    BackupError, BackupOpener, BackupPrivateKey, OpenedBackup, Share, ShareSecret, WayKind,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::flow::{self, Proof, RestoreError, RestoreTo, Since, Stage, Tombstones};

use super::args::backup::{Backup, Create, Opener, Restore, Verify};
use super::args::{Global, Out};
use super::failure::{Failure, exit};
use super::online::{say, word};
use super::output::{self, Sink};
use super::remote::Remote;

/// `recseal backup`
pub(super) fn run(global: &Global, verb: &Backup) -> Result<(), Failure> {
    match verb {
        Backup::Create(create) => self::create(global, create),
        Backup::Verify(verify) => self::verify(global, verify),
        Backup::Status => status(global),
        Backup::Restore(restore) => self::restore(global, restore),
        Backup::Keygen { out } => keygen(global, out),
        Backup::Tombstones { out } => {
            let path = "/api/v1/backup/tombstones";
            let text = super::remote(global)?.text(Method::GET, path, None)?;
            super::online::save(global, out, text.as_bytes())
        }
        Backup::Confirm { id } => confirm(global, &id.to_string()),
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

fn verify(global: &Global, verb: &Verify) -> Result<(), Failure> {
    let (input, opener) = open_backup(&verb.file, &verb.opener)?;
    let id = peek_id(&verb.file)?;
    let work = verb.work.clone().unwrap_or_else(std::env::temp_dir);
    let bar = output::bar(0, global.json);
    let tried = flow::trial(input, &opener, &work, &mut show_on(&bar));
    bar.finish_and_clear();
    let proof = match tried {
        Ok(proof) => proof,
        Err(error) => {
            let failure = refused(&error);
            if is_damage(&error) {
                // The daemon may be dead, or may never have heard of it: the verdict stands.
                let _ = tell(global, &id, &json!({ "outcome": "damaged" }));
            }
            return Err(failure);
        }
    };
    let mut answer = facts(&proof);
    let told = tell(global, &id, &verified(&proof));
    answer["verified"] = json!(true);
    answer["told_daemon"] = json!(told.is_ok());
    let manifest = &proof.manifest;
    let words = format!(
        "verified: backup {id} of {}: {} key versions, {} recordings, {} data keys and {} audit \
         entries, all of them open\n{}",
        Timestamp::from_millis(manifest.created_ms),
        manifest.versions.len(),
        manifest.catalog.recordings,
        proof.data_keys,
        proof.audit_entries,
        match told {
            Ok(()) => "",
            Err(_) => "no daemon heard of it: run `recseal backup confirm ID` on its host\n",
        }
    );
    say(global, &answer, &words)
}

fn restore(global: &Global, verb: &Restore) -> Result<(), Failure> {
    let state = super::state_folder(global)?;
    let (input, opener) = open_backup(&verb.file, &verb.opener)?;
    let passphrase = match &verb.new_passphrase_file {
        None => None,
        Some(path) => Some(read_passphrase(path)?),
    };
    let (since, keys_known) = match &verb.tombstones {
        None => (Since::Unknown, true),
        Some(path) if path.is_dir() => {
            let (catalog, keys) = (config::catalog_in(path), config::keys_in(path));
            let (tombstones, known) = Tombstones::of_state(&catalog, &keys).map_err(|error| {
                let hint = "name the old state folder, or a list of `recseal backup tombstones`";
                Failure::of(exit::FAILED, &error, hint)
            })?;
            (Since::State(tombstones), known)
        }
        Some(path) => (Since::Signed(read_list(path)?), true),
    };
    let inside = Path::new("");
    let to = RestoreTo {
        state: &state,
        keys: &config::keys_in(inside),
        catalog: &config::catalog_in(inside),
        passphrase,
        since,
    };
    let bar = output::bar(0, global.json);
    let restored = flow::restore(input, &opener, &to, Clock::System.now(), &mut show_on(&bar));
    bar.finish_and_clear();
    let restored = restored.map_err(|error| refused(&error))?;
    let vault = restored.proof.manifest.catalog.vault.clone().unwrap_or_default();
    let mut answer = facts(&restored.proof);
    answer["restored"] = json!(true);
    answer["state"] = json!(state.to_string_lossy());
    answer["kept_destroyed"] = json!({
        "key_versions": restored.buried_keys,
        "recordings": restored.buried_recordings,
        "old_keys_read": keys_known,
    });
    answer["vault_was"] = json!(vault);
    let mut words = format!(
        "restored: {} with {} recordings\n",
        state.display(),
        restored.proof.manifest.catalog.recordings
    );
    if restored.buried_keys > 0 || restored.buried_recordings > 0 {
        words.push_str(&format!(
            "stays destroyed: {} key versions, {} recordings\n",
            restored.buried_keys, restored.buried_recordings
        ));
    }
    if !keys_known {
        words.push_str("the old keys did not open, so destroyed key versions are not known\n");
    }
    words.push_str(&format!(
        "sealed recordings lay in {}: copy them to {}, or name where they are with vault.path\n\
         next: recseal serve --state {}\n",
        output::printable(&vault),
        state.join("vault").display(),
        state.display()
    ));
    say(global, &answer, &words)
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

/// The file, and what opens it. A passphrase is asked for if the backup has one and nothing else
/// was given.
fn open_backup(path: &Path, opener: &Opener) -> Result<(BufReader<File>, BackupOpener), Failure> {
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

fn peek_id(path: &Path) -> Result<String, Failure> {
    let file = File::open(path).map_err(|error| Failure::file("backup", &error))?;
    let (id, _) = OpenedBackup::peek(file).map_err(|error| no_backup(&error))?;
    Ok(id.to_string())
}

fn verified(proof: &Proof) -> Value {
    json!({
        "outcome": "verified",
        "store": proof.manifest.store.to_string(),
        "created_ms": proof.manifest.created_ms,
        "newest_version": proof.manifest.newest_version(),
        "sealed": proof.manifest.catalog.sealed,
    })
}

fn facts(proof: &Proof) -> Value {
    let manifest = &proof.manifest;
    json!({
        "backup": manifest.backup.to_string(),
        "created_at": Timestamp::from_millis(manifest.created_ms).to_string(),
        "created_ms": manifest.created_ms,
        "key_versions": manifest.versions.len(),
        "newest_version": manifest.newest_version(),
        "recordings": manifest.catalog.recordings,
        "sealed": manifest.catalog.sealed,
        "data_keys": proof.data_keys,
        "sealed_to_public_keys": proof.sealed_to_public_keys,
        "audit_entries": proof.audit_entries,
        "catalog_bytes": manifest.catalog.len_bytes,
    })
}

fn tell(global: &Global, id: &str, body: &Value) -> Result<(), Failure> {
    let remote: Remote = super::remote(global)?;
    remote.send(Method::POST, &format!("/api/v1/backup/{id}"), Some(body)).map(drop)
}

fn show_on(bar: &indicatif::ProgressBar) -> impl FnMut(Stage, u64, u64) {
    let bar = bar.clone();
    move |_stage, done, total| {
        bar.set_length(total);
        bar.set_position(done);
    }
}

/// What a refused backup means for the caller.
fn refused(error: &RestoreError) -> Failure {
    let (code, hint) = match error {
        RestoreError::Backup(BackupError::Read(_) | BackupError::Write(_)) => {
            (exit::FAILED, "check the disks, and that there is room for the catalog")
        }
        RestoreError::Backup(source) => (exit::VERIFICATION_FAILED, source.hint()),
        RestoreError::Catalog(source) if source.is_transient() => {
            (exit::FAILED, "check the disk, and that there is room for the catalog")
        }
        RestoreError::Catalog(_)
        | RestoreError::Key { .. }
        | RestoreError::Count { .. }
        | RestoreError::Audit(_) => {
            (exit::VERIFICATION_FAILED, "take another copy of this backup, or another backup")
        }
        RestoreError::Tombstones(_) => (
            exit::VERIFICATION_FAILED,
            "take the list that `recseal backup tombstones` wrote on that host, unchanged",
        ),
        RestoreError::NotEmpty => {
            (exit::REFUSED, "name a folder that does not exist yet with --state DIR")
        }
        RestoreError::Running => (exit::REFUSED, "wait until the other one is done"),
        RestoreError::Keys(keymanager::KeyError::PassphraseLength { .. }) => {
            (exit::USAGE, "take several words")
        }
        RestoreError::Keys(_) | RestoreError::Folder { .. } => {
            (exit::FAILED, "check the rights and the room of that folder")
        }
    };
    Failure::of(code, error, hint)
}

/// True if it is the file that is bad, not what was brought to open it.
fn is_damage(error: &RestoreError) -> bool {
    match error {
        RestoreError::Backup(source) => matches!(
            source,
            BackupError::Damaged(_)
                | BackupError::HeadDamaged
                | BackupError::Contradiction { .. }
                | BackupError::Keys(_)
        ),
        RestoreError::Catalog(source) => !source.is_transient(),
        RestoreError::Key { .. } | RestoreError::Count { .. } | RestoreError::Audit(_) => true,
        RestoreError::Keys(_)
        | RestoreError::Tombstones(_)
        | RestoreError::NotEmpty
        | RestoreError::Running
        | RestoreError::Folder { .. } => false,
    }
}

fn no_backup(error: &BackupError) -> Failure {
    Failure::of(exit::VERIFICATION_FAILED, error, error.hint())
}

/// A passphrase is one line; its end does not belong to it.
fn read_passphrase(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = read_text(path, "passphrase file")?;
    Ok(Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned()))
}

fn read_text(path: &Path, what: &str) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: io::Error| Failure::file(what, &error);
    let mut text = Zeroizing::new(String::with_capacity(TEXT_BYTES_MAX as usize + 1));
    let input: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).map_err(failed)?),
    };
    input.take(TEXT_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn read_list(path: &Path) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::file("tombstones", &error);
    let mut text = String::new();
    File::open(path)
        .map_err(failed)?
        .take(LIST_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}

fn ask_twice() -> Result<Zeroizing<String>, Failure> {
    let typed = ask("Passphrase for the backup: ")?;
    if *typed != *ask("The same again: ")? {
        return Err(Failure::usage("the two passphrases differ", "type the same one twice"));
    }
    Ok(typed)
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, Failure> {
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

const BUFFER_BYTES: usize = 1 << 20;
/// Far longer than any passphrase, share or key.
const TEXT_BYTES_MAX: u64 = 4_096;
/// A million erased recordings and some.
const LIST_BYTES_MAX: u64 = 256 << 20;
