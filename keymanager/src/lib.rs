//! The keys of recseal. Key bytes never leave this crate; everyone else gets verbs.
//!
//! ```text
//! slots (root.key │ credential │ token │ command │ passphrase │ shares)
//!   └─ each wraps the same ── root key, in memory only
//!        └─ HKDF "store/1" ── store key ── seals the store:
//!             ├─ key-encryption keys (KEKs), versions with states
//!             │    └─ HKDF "wrap/1" ‖ recording ── wraps the data key of one recording
//!             ├─ signing keys (Ed25519)
//!             ├─ handle key (names for what must be found again without being kept)
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
//!   touches no file outside the folder it is given, except to read what a slot names and which
//!   root certificates this host trusts.
//! - A change is durable before it is published; one that fails leaves the old keys in use.

mod acme;
mod authority;
mod backup;
mod certificate;
mod clients;
mod data_key;
mod der;
mod disk;
mod envelope;
mod error;
pub mod floe;
pub mod gate;
mod handle;
mod hex;
mod import;
mod key_state;
mod keyring;
mod keystream;
mod manager;
pub mod renewal;
mod request;
mod revocation;
mod seal_key;
mod secret;
mod shares;
mod signing;
mod slots;
mod speed;
mod store;
mod stored_tls;
mod tls;
mod tombstone;

pub use acme::{AcmeOrder, CertificateId};
pub use authority::{AuthorityChange, AuthorityError, AuthorityState, ClientKey, IssuingInfo};
pub use backup::{
    BackedUpKeys, BackupError, BackupOpener, BackupPassphrase, BackupPrivateKey, BackupPublicKey,
    BackupWay, CatalogFacts, Manifest, ManifestVersion, OpenedBackup, SealedBackup, ShareSecret,
    WayKind,
};
pub use certificate::{CertificateFacts, RenewalReason};
pub use clients::{ClientCertificate, ClientPolicy, ClientRefusal};
pub use data_key::{DataKey, KeyFileError};
pub use error::KeyError;
pub use gate::GatePolicy;
pub use import::{Candidate, FILE_BYTES_MAX, roots_from_pem};
pub use key_state::{IllegalKeyTransition, KeyEvent, KeyState};
pub use keyring::{KeyVersionInfo, Rewrapper, WrappedKey};
pub use keystream::Keystream;
pub use manager::{
    Adopted, CertificateChange, CertificateInfo, CertificateStanding, Destroyed, Destruction,
    IssuedClient, KeyManager, KeyWarning, RootRotation, RotationReason,
};
pub use request::{CertificateRequest, RequestInfo, RequestPurpose};
pub use revocation::{IssuedInfo, RevocationReason, UnknownReason};
pub use seal_key::{
    Announcement, SealAlgorithm, SealKeyError, SealKeyId, SealKeyInfo, SealKeyVersionInfo,
    SealPrivateKey, SealPublicKey, SealedDataKey, SealedKeyFile, StoredDataKey,
};
pub use shares::{Share, ShareError, check_quorum};
pub use signing::{
    PublicKey, Signature, public_keys_from_pem, public_keys_to_pem, verify_signature,
};
pub use slots::{
    Means, NewSlot, PinSource, SlotInfo, SlotKind, SlotProblem, Surroundings, TokenKey, Unlock,
};
pub use speed::cipher_speed;
pub use stored_tls::CertificateSource;
pub use tls::TlsIdentity;
pub use tombstone::{TOMBSTONE_CONTEXT, Tombstone};

/// 256 random bits, for whoever makes a credential out of them. Wiped when dropped.
pub fn expose_random() -> zeroize::Zeroizing<[u8; 32]> {
    zeroize::Zeroizing::new(*secret::Secret::generate().expose_bytes())
}

/// The roots that this host trusts, DER; none if it has none.
pub fn platform_roots() -> Vec<Vec<u8>> {
    let found = rustls_native_certs::load_native_certs();
    found.certs.iter().map(|certificate| certificate.to_vec()).collect()
}
