//! What lies inside a backup besides the catalog: the manifest, and the keys.

use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::BackupError;
use crate::data_key::DataKey;
use crate::error::KeyError;
use crate::hex::HexBytes;
use crate::key_state::KeyState;
use crate::keyring::{KeyVersionInfo, WrappedKey};
use crate::manager::KeyManager;
use crate::secret::Secret;
use crate::signing::{PublicKey, SigningKey, verify_signature};
use crate::store::Contents;
use crate::{envelope, store};

/// What a backup says about itself, inside its encryption. Nothing in it is a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: u32,
    /// Its id, as the head says.
    pub backup: Uuid,
    /// When its keys were taken, in milliseconds since 1970.
    pub created_ms: i64,
    /// The version of the crate that made it.
    pub program: String,
    /// Id of the key store.
    pub store: Uuid,
    /// Generation of the key store.
    pub generation: u64,
    /// The key versions in it, oldest first.
    pub versions: Vec<ManifestVersion>,
    /// The catalog in it.
    pub catalog: CatalogFacts,
    keys_sha256: HexBytes,
}

/// One key version, as a manifest lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestVersion {
    /// Its number.
    pub version: u32,
    /// Where in its life it was.
    pub state: KeyState,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
}

/// What the maker of a backup knows about the catalog in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogFacts {
    /// Its length.
    pub len_bytes: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// When it was copied, in milliseconds since 1970.
    pub taken_ms: i64,
    /// Recordings in it, in any state.
    pub recordings: u64,
    /// Those that were sealed before it was copied, erased ones included.
    pub sealed: u64,
    /// Wrapped data keys by the key version that wraps them.
    pub data_keys: Vec<(u32, u64)>,
    /// Where sealed files lay, for the one who restores. Personal only as far as a folder's name
    /// can be.
    pub vault: Option<String>,
}

impl Manifest {
    pub(super) fn new(
        backup: Uuid,
        store: Uuid,
        generation: u64,
        contents: &Contents,
        keys_sha256: &[u8],
        catalog: CatalogFacts,
        now_ms: i64,
    ) -> Self {
        let versions = contents.keyring.versions();
        Self {
            format: FORMAT,
            backup,
            created_ms: now_ms,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            store,
            generation,
            versions: versions
                .iter()
                .map(|&KeyVersionInfo { version, state, created_ms, .. }| ManifestVersion {
                    version,
                    state,
                    created_ms,
                })
                .collect(),
            catalog,
            keys_sha256: HexBytes::new(keys_sha256),
        }
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    pub(super) fn parse(json: &[u8]) -> Result<Self, BackupError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let format: Format = serde_json::from_slice(json)
            .map_err(|_| BackupError::Contradiction { rule: "it has a manifest" })?;
        if format.format != FORMAT {
            return Err(BackupError::LaterVersion);
        }
        serde_json::from_slice(json).map_err(|_| BackupError::LaterVersion)
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest has only text keys")
    }

    pub(super) fn keys_sha256(&self) -> &[u8] {
        self.keys_sha256.as_bytes()
    }

    /// The highest key version in it.
    pub fn newest_version(&self) -> u32 {
        self.versions.last().map_or(0, |version| version.version)
    }
}

/// The keys of a backup, in memory only, good for a trial and for a restore.
pub struct BackedUpKeys {
    store: Uuid,
    generation: u64,
    contents: Contents,
}

impl BackedUpKeys {
    /// Reads the keys and tries them: they are consistent, a store with a root key made for the
    /// trial takes them and gives them back, each signing key signs, and the certificate serves.
    pub(super) fn parse(store: Uuid, generation: u64, json: &[u8]) -> Result<Self, BackupError> {
        let contents: Contents =
            serde_json::from_slice(json).map_err(|_| BackupError::LaterVersion)?;
        let keys = Self { store, generation, contents };
        keys.try_out(json).map_err(BackupError::Keys)?;
        Ok(keys)
    }

    fn try_out(&self, json: &[u8]) -> Result<(), KeyError> {
        self.contents.check()?;
        let root = Secret::generate();
        let sealed = envelope::seal(&root, self.store.as_bytes(), json);
        let opened = envelope::open(&root, self.store.as_bytes(), &sealed)
            .ok_or(KeyError::Inconsistent { rule: "what was sealed opens" })?;
        let again: Contents = serde_json::from_slice(&opened)
            .map_err(|_| KeyError::LaterFormat { generation: self.generation })?;
        if *store::to_plaintext_json(&again) != *store::to_plaintext_json(&self.contents) {
            return Err(KeyError::Inconsistent { rule: "keys read back as they were written" });
        }
        let public = self.public_signing_keys();
        for key in &self.contents.signing {
            let signature = key.sign(TRIAL, TRIAL.as_bytes());
            verify_signature(&public, TRIAL, TRIAL.as_bytes(), &signature)?;
        }
        self.contents.tls.live.certified().map(drop)
    }

    /// The key versions, oldest first.
    pub fn versions(&self) -> Vec<KeyVersionInfo> {
        self.contents.keyring.versions()
    }

    /// The public halves of the signing keys: they prove the audit trail beside them.
    pub fn public_signing_keys(&self) -> Vec<PublicKey> {
        self.contents.signing.iter().map(SigningKey::public).collect()
    }

    /// Unwraps the data key of `recording`.
    ///
    /// # Errors
    ///
    /// As [`KeyManager::unwrap`].
    pub fn unwrap(&self, recording: Uuid, wrapped: &WrappedKey) -> Result<DataKey, KeyError> {
        self.contents.keyring.unwrap(recording, wrapped)
    }

    /// Proves that `wrapped` opens for `recording`, also under a version that is disabled.
    ///
    /// # Errors
    ///
    /// As [`KeyManager::unwrap`], but for disabled versions.
    pub fn try_unwrap(&self, recording: Uuid, wrapped: &WrappedKey) -> Result<(), KeyError> {
        self.contents.keyring.try_unwrap(recording, wrapped)
    }

    /// Makes a key store of them in `folder`, with a new root key, a file slot and, if one is
    /// given, a passphrase slot; its generation is the one after the backup's.
    ///
    /// # Errors
    ///
    /// As [`KeyManager::create`], and [`KeyError::PassphraseLength`]. Nothing that looks like a
    /// store is left then.
    pub fn restore(
        &self,
        folder: &Path,
        passphrase: Option<&Zeroizing<String>>,
        now_ms: i64,
    ) -> Result<KeyManager, KeyError> {
        KeyManager::create_from(
            folder,
            self.store,
            self.generation,
            &self.contents,
            passphrase,
            now_ms,
        )
    }
}

impl std::fmt::Debug for BackedUpKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackedUpKeys").field("versions", &self.versions()).finish_non_exhaustive()
    }
}

const FORMAT: u32 = 1;
const TRIAL: &str = "recseal-trial";
