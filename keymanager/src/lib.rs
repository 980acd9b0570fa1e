//! The keys of recseal. Key bytes never leave this crate; everyone else gets verbs.
//!
//! ```text
//! slots (root.key file │ passphrase)
//!   └─ each wraps the same ── root key, in memory only
//!        └─ HKDF "store/1" ── store key ── seals the store:
//!             ├─ key-encryption keys (KEKs), versions with states
//!             │    └─ HKDF "wrap/1" ‖ recording ── wraps the data key of one recording
//!             ├─ signing keys (Ed25519)
//!             └─ TLS key and certificate
//! ```
//!
//! Start reading at [`KeyManager`]. The wrapped data key is kept by the catalog, in one row:
//! deleting that row erases the recording, whatever copies of the sealed file there are.
//!
//! # Invariants
//!
//! - No function returns key bytes, except those named `expose_…`. No `Debug` shows any.
//! - What holds key bytes wipes them when dropped.
//! - This crate does not know recordings but by id, does no network I/O, has no clock, and
//!   touches no file outside the folder it is given.
//! - A change is durable before it is published; one that fails leaves the old keys in use.

mod backup;
mod certificate;
mod data_key;
mod disk;
mod envelope;
mod error;
pub mod floe;
mod hex;
mod key_state;
mod keyring;
mod keystream;
mod manager;
mod secret;
mod shares;
mod signing;
mod slots;
mod speed;
mod store;
mod tls;

pub use backup::{
    BackedUpKeys, BackupError, BackupOpener, BackupPassphrase, BackupPrivateKey, BackupPublicKey,
    BackupWay, CatalogFacts, Manifest, ManifestVersion, OpenedBackup, SealedBackup, ShareSecret,
    WayKind,
};
pub use certificate::{CertificateFacts, RenewalReason};
pub use data_key::{DataKey, KeyFileError};
pub use error::KeyError;
pub use key_state::{IllegalKeyTransition, KeyEvent, KeyState};
pub use keyring::{KeyVersionInfo, WrappedKey};
pub use keystream::Keystream;
pub use manager::{CertificateChange, KeyManager, KeyWarning};
pub use shares::{Share, ShareError, check_quorum};
pub use signing::{
    PublicKey, Signature, public_keys_from_pem, public_keys_to_pem, verify_signature,
};
pub use slots::{SlotInfo, SlotKind, Unlock};
pub use speed::cipher_speed;
pub use tls::TlsIdentity;

/// 256 random bits, for whoever makes a credential out of them. Wiped when dropped.
pub fn expose_random() -> zeroize::Zeroizing<[u8; 32]> {
    zeroize::Zeroizing::new(*secret::Secret::generate().expose_bytes())
}
