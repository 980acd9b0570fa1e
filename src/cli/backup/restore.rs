//! Trials and restores: what works with the daemon dead.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use hyper::Method;
use keymanager::{BackupError, Unlock};
use serde_json::{Value, json};

use crate::app;
use crate::cli::args::Global;
use crate::cli::args::backup::{Restore, Verify};
use crate::cli::failure::{Failure, exit};
use crate::cli::online::say;
use crate::cli::output;
use crate::cli::remote::Remote;
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::flow::{self, Proof, RestoreError, RestoreTo, Since, Stage, Tombstones};

use super::secrets::{open_backup, peek_id, read_passphrase};

/// `recseal backup verify`
pub(super) fn verify(global: &Global, verb: &Verify) -> Result<(), Failure> {
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

/// `recseal backup restore`
pub(super) fn restore(global: &Global, verb: &Restore) -> Result<(), Failure> {
    let state = crate::cli::state_folder(global)?;
    let (input, opener) = open_backup(&verb.file, &verb.opener)?;
    let passphrase = match &verb.new_passphrase_file {
        None => None,
        Some(path) => Some(read_passphrase(path)?),
    };
    let (since, keys_known) = match &verb.tombstones {
        None => (Since::Unknown, true),
        Some(path) if path.is_dir() => {
            let unlock = Unlock::Unattended(app::surroundings());
            let (catalog, keys) = (config::catalog_in(path), config::keys_in(path));
            let (tombstones, known) =
                Tombstones::of_state(&catalog, &keys, &unlock).map_err(|error| {
                    let hint =
                        "name the old state folder, or a list of `recseal backup tombstones`";
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
        "rescued_recordings": restored.rescued_recordings,
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
    let remote: Remote = crate::cli::remote(global)?;
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

/// A million erased recordings and some.
const LIST_BYTES_MAX: u64 = 256 << 20;
