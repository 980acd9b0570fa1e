//! `recseal audit`: the trail through the daemon, or its proof without.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use hyper::Method;
use keymanager::{KeyManager, PublicKey, Unlock};
use serde_json::{Value, json};

use crate::app;
use crate::catalog::{Catalog, CatalogError};
use crate::compliance::audit::CheckpointSignature;
use crate::config;
use crate::flow::CHECKPOINT_CONTEXT;
use crate::http::view::parse_time;

use super::args::{Audit, AuditVerb, Global};
use super::failure::{Failure, exit};
use super::online::{say, word};
use super::output;

/// `recseal audit`
pub(super) fn run(global: &Global, verb: &Audit) -> Result<(), Failure> {
    match &verb.what {
        None => list(global, verb),
        Some(AuditVerb::Verify { public_key }) => verify(global, public_key.as_deref()),
    }
}

fn list(global: &Global, verb: &Audit) -> Result<(), Failure> {
    for time in [&verb.from, &verb.to].into_iter().flatten() {
        if parse_time(time).is_none() {
            return Err(Failure::usage(
                format!("{time:?} is no moment"),
                "write 2026-11-23 or 2026-11-23T10:00:00Z",
            ));
        }
    }
    let query = [
        ("from", &verb.from),
        ("to", &verb.to),
        ("activity", &verb.activity),
        ("user", &verb.user),
        ("result", &verb.result),
    ]
    .map(|(key, value)| (key, value.as_deref().map(str::as_bytes)));
    let entries = super::remote(global)?.list("/api/v1/audit", &query)?;
    if global.json {
        return output::print_json(&Value::Array(entries));
    }
    if entries.is_empty() {
        return output::print("no entries\n");
    }
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            let fields = ["/at", "/user", "/activity", "/result", "/recording", "/detail"];
            fields.iter().map(|field| word(entry, field).to_owned()).collect()
        })
        .collect();
    output::print_table(&["AT", "USER", "ACTIVITY", "RESULT", "RECORDING", "DETAIL"], &rows)
}

/// Walks the whole trail in the catalog of the state folder, with the daemon running or dead.
///
/// Whoever does not trust this host brings the public keys along: keys found on the host prove
/// only that nobody without its private keys has rewritten the trail.
fn verify(global: &Global, public_key: Option<&Path>) -> Result<(), Failure> {
    let state = super::state_folder(global)?;
    let keys = match public_key {
        Some(path) => read_public_keys(path)?,
        None => keys_of_host(global, &state)?,
    };
    let is_signed = |message: &[u8], signature: &CheckpointSignature| {
        let CheckpointSignature { key_id, bytes } = *signature;
        let signature = keymanager::Signature { key_id, bytes };
        keymanager::verify_signature(&keys, CHECKPOINT_CONTEXT, message, &signature).is_ok()
    };
    let unreadable = |error: CatalogError| {
        Failure::of(exit::FAILED, &error, "name the state folder with --state DIR")
    };
    let catalog = Catalog::open_read_only(&config::catalog_in(&state)).map_err(unreadable)?;
    let verdict =
        catalog.read::<_, CatalogError>(|tx| tx.verify_audit(&is_signed)).map_err(unreadable)?;
    if let Some(fault) = verdict.fault {
        let hint = "everything before that entry is in order; compare with a backup";
        return Err(Failure::of(exit::VERIFICATION_FAILED, &fault, hint));
    }
    let answer = json!({
        "verified": true,
        "entries": verdict.head.seq,
        "checkpoints": verdict.checkpoints,
        "signed_to": verdict.signed_to,
    });
    let words = format!(
        "verified: {} entries, signed up to entry {} by {} checkpoint(s)\n",
        verdict.head.seq, verdict.signed_to, verdict.checkpoints
    );
    say(global, &answer, &words)
}

pub(super) fn read_public_keys(path: &Path) -> Result<Vec<PublicKey>, Failure> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| Failure::file("public key file", &error))?;
    file.take(PEM_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Failure::file("public key file", &error))?;
    parse_public_keys(&text)
}

fn parse_public_keys(text: &str) -> Result<Vec<PublicKey>, Failure> {
    keymanager::public_keys_from_pem(text).map_err(|error| {
        let hint = "take the file that `recseal keys public -o FILE` wrote";
        Failure::of(exit::VERIFICATION_FAILED, &error, hint)
    })
}

/// From the daemon if it runs, because it holds the lock of the key store; else from the store.
fn keys_of_host(global: &Global, state: &Path) -> Result<Vec<PublicKey>, Failure> {
    match super::remote(global)?.text(Method::GET, "/api/v1/keys/public", None) {
        Ok(text) => return parse_public_keys(&text),
        Err(failure) if failure.exit != exit::UNREACHABLE => return Err(failure),
        Err(_) => {}
    }
    let unlock = Unlock::Unattended(app::surroundings());
    let keys = KeyManager::open(&config::keys_in(state), &unlock).map_err(|error| {
        let hint = "name the state folder with --state, or bring the keys with --public-key FILE";
        Failure::of(exit::FAILED, &error, hint)
    })?;
    Ok(keys.public_signing_keys())
}

/// More than any number of signing keys a host will ever have.
const PEM_BYTES_MAX: u64 = 1 << 20;
