//! The ways to the backup key, and the table of them at the front of the file.
//!
//! ```text
//! entry     kind (1) │ length (2) │ body
//! 1         memory KiB (4) │ passes (4) │ lanes (4) │ salt (16) │ envelope of the key (60)
//! 2         set id (16) │ threshold (1) │ count (1) │ envelope of the key (60)
//! 3         key id (8) │ encapsulated (32) │ sealed key (48)
//! ```

use argon2::{Algorithm, Argon2, Params, Version};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::BackupError;
use super::recipient::{BackupPrivateKey, BackupPublicKey, KEY_ID_BYTES, WRAPPED_BYTES};
use crate::envelope::{self, ENVELOPE_BYTES};
use crate::hex;
use crate::secret::{SECRET_BYTES, Secret};
use crate::shares::{self, Share, ShareError};

/// The kinds of ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WayKind {
    /// A passphrase.
    Passphrase,
    /// Some number of shares.
    Shares,
    /// The private key of a recipient.
    Recipient,
}

impl WayKind {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passphrase => "passphrase",
            Self::Shares => "shares",
            Self::Recipient => "recipient",
        }
    }

    /// `passphrase, recipient`
    pub fn list(kinds: &[Self]) -> String {
        kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn code(self) -> u8 {
        match self {
            Self::Passphrase => 1,
            Self::Shares => 2,
            Self::Recipient => 3,
        }
    }
}

/// One way that a new backup is to open by.
#[derive(Debug)]
pub enum BackupWay {
    /// Whoever knows it.
    Passphrase(BackupPassphrase),
    /// Whoever brings enough shares of it.
    Shares(ShareSecret),
    /// Whoever has the private key.
    Recipient(BackupPublicKey),
}

/// A passphrase that may protect a backup.
pub struct BackupPassphrase(Zeroizing<String>);

impl BackupWay {
    /// A passphrase, if it is neither too short nor too long.
    ///
    /// # Errors
    ///
    /// [`BackupError::PassphraseLength`].
    pub fn passphrase(passphrase: Zeroizing<String>) -> Result<Self, BackupError> {
        match (PASSPHRASE_BYTES_MIN..=PASSPHRASE_BYTES_MAX).contains(&passphrase.len()) {
            true => Ok(Self::Passphrase(BackupPassphrase(passphrase))),
            false => Err(BackupError::PassphraseLength {
                min_bytes: PASSPHRASE_BYTES_MIN,
                max_bytes: PASSPHRASE_BYTES_MAX,
            }),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> WayKind {
        match self {
            Self::Passphrase(_) => WayKind::Passphrase,
            Self::Shares(_) => WayKind::Shares,
            Self::Recipient(_) => WayKind::Recipient,
        }
    }
}

impl std::fmt::Debug for BackupPassphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BackupPassphrase(..)")
    }
}

/// What the shares of one backup are made from: 256 random bits and the name of the set.
pub struct ShareSecret {
    secret: Secret,
    set: Uuid,
    threshold: u8,
    count: u8,
}

impl ShareSecret {
    /// A fresh one with its shares, of which `threshold` open.
    ///
    /// # Errors
    ///
    /// [`ShareError::Quorum`].
    pub fn generate(threshold: u8, count: u8) -> Result<(Self, Vec<Share>), ShareError> {
        let secret = Secret::generate();
        let shares = shares::split(&secret, threshold, count)?;
        let set = shares.first().map_or(Uuid::nil(), Share::set);
        Ok((Self { secret, set, threshold, count }, shares))
    }

    /// The text by which whoever wrote the shares hands their secret to the daemon, once.
    pub fn expose_text(&self) -> Zeroizing<String> {
        let digits = hex::encode(self.secret.expose_bytes());
        Zeroizing::new(format!("{}:{}:{}:{}", self.set, self.threshold, self.count, *digits))
    }

    /// Reads that text.
    ///
    /// # Errors
    ///
    /// [`BackupError::KeyText`].
    pub fn parse(text: &str) -> Result<Self, BackupError> {
        let parsed = || {
            let mut fields = text.split(':');
            let set = Uuid::try_parse(fields.next()?).ok()?;
            let (threshold, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            shares::check_quorum(threshold, count).ok()?;
            let bytes = hex::decode(fields.next()?)?;
            let secret = Secret::from_bytes(bytes.as_slice().try_into().ok()?);
            fields.next().is_none().then_some(Self { secret, set, threshold, count })
        };
        parsed().ok_or(BackupError::KeyText { what: "share secret" })
    }
}

impl std::fmt::Debug for ShareSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ShareSecret({} of {})", self.threshold, self.count)
    }
}

/// What a backup is to be opened with.
#[derive(Debug)]
pub enum BackupOpener {
    /// The passphrase.
    Passphrase(BackupPassphrase),
    /// As many shares as are needed, or more.
    Shares(Vec<Share>),
    /// The private key.
    PrivateKey(BackupPrivateKey),
}

impl BackupOpener {
    /// Any passphrase: whether it is the right one is seen by opening.
    pub fn passphrase(passphrase: Zeroizing<String>) -> Self {
        Self::Passphrase(BackupPassphrase(passphrase))
    }

    fn kind(&self) -> WayKind {
        match self {
            Self::Passphrase(_) => WayKind::Passphrase,
            Self::Shares(_) => WayKind::Shares,
            Self::PrivateKey(_) => WayKind::Recipient,
        }
    }
}

/// One entry of the table.
enum Entry<'b> {
    Passphrase { stretch: Stretch, wrapped: &'b [u8] },
    Shares { set: Uuid, wrapped: &'b [u8] },
    Recipient { key_id: &'b [u8], wrapped: &'b [u8] },
}

/// Writes one entry for each way.
pub(super) fn table(
    backup: Uuid,
    key: &Secret,
    ways: &[BackupWay],
) -> Result<Vec<u8>, BackupError> {
    if !(1..=WAYS_MAX).contains(&ways.len()) {
        return Err(BackupError::Ways { max: WAYS_MAX });
    }
    let mut table = Vec::new();
    for way in ways {
        let kind = way.kind();
        let aad = associated_data(backup, kind);
        let wrap = |slot: &Secret| envelope::seal(slot, &aad, key.expose_bytes());
        let body = match way {
            BackupWay::Passphrase(passphrase) => {
                let stretch = Stretch::generate();
                let slot = stretch.key(&passphrase.0, backup)?;
                [stretch.to_bytes().as_slice(), &wrap(&slot)].concat()
            }
            BackupWay::Shares(shared) => {
                let slot = share_key(&shared.secret, backup);
                let counts = [shared.threshold, shared.count];
                [shared.set.as_bytes(), counts.as_slice(), &wrap(&slot)].concat()
            }
            BackupWay::Recipient(public) => {
                let wrapped = public.wrap(key, &aad);
                let wrapped = wrapped.ok_or(BackupError::KeyText { what: "public key" })?;
                [public.id().as_slice(), &wrapped].concat()
            }
        };
        table.push(kind.code());
        let len = u16::try_from(body.len()).expect("an entry has about a hundred bytes");
        table.extend_from_slice(&len.to_be_bytes());
        table.extend_from_slice(&body);
    }
    Ok(table)
}

/// The kinds in a table.
pub(super) fn kinds(table: &[u8]) -> Result<Vec<WayKind>, BackupError> {
    Ok(entries(table)?.iter().map(Entry::kind).collect())
}

/// The backup key, by the first entry that opens. A passphrase costs half a second and 64 MiB
/// for each entry of its kind.
pub(super) fn unlock(
    backup: Uuid,
    table: &[u8],
    opener: &BackupOpener,
) -> Result<Secret, BackupError> {
    let entries = entries(table)?;
    let has = entries.iter().map(Entry::kind).collect();
    let mut refusal = BackupError::NoSuchWay { asked: opener.kind(), has };
    let aad = associated_data(backup, opener.kind());
    for entry in &entries {
        let opened = match (entry, opener) {
            (Entry::Passphrase { stretch, wrapped }, BackupOpener::Passphrase(passphrase)) => {
                refusal = BackupError::WrongPassphrase;
                open(&stretch.key(&passphrase.0, backup)?, &aad, wrapped)
            }
            (Entry::Shares { set, wrapped }, BackupOpener::Shares(given)) => {
                refusal = BackupError::OtherShares;
                match given.first().is_some_and(|share| share.set() != *set) {
                    true => None,
                    false => open(&share_key(&shares::combine(given)?, backup), &aad, wrapped),
                }
            }
            (Entry::Recipient { key_id, wrapped }, BackupOpener::PrivateKey(private)) => {
                refusal = BackupError::WrongRecipient;
                match private.public().id() == *key_id {
                    true => private.unwrap(wrapped, &aad),
                    false => None,
                }
            }
            _ => None,
        };
        if let Some(key) = opened {
            return Ok(key);
        }
    }
    Err(refusal)
}

impl Entry<'_> {
    fn kind(&self) -> WayKind {
        match self {
            Self::Passphrase { .. } => WayKind::Passphrase,
            Self::Shares { .. } => WayKind::Shares,
            Self::Recipient { .. } => WayKind::Recipient,
        }
    }
}

fn entries(table: &[u8]) -> Result<Vec<Entry<'_>>, BackupError> {
    let mut entries = Vec::new();
    let mut rest = table;
    while let Some((&kind, after)) = rest.split_first() {
        let parsed = || {
            let (len, after) = after.split_first_chunk::<2>()?;
            let (body, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
            Some((entry(kind, body)?, after))
        };
        let (entry, after) = parsed().ok_or(BackupError::HeadDamaged)?;
        entries.push(entry);
        rest = after;
    }
    match (1..=WAYS_MAX).contains(&entries.len()) {
        true => Ok(entries),
        false => Err(BackupError::HeadDamaged),
    }
}

fn entry(kind: u8, body: &[u8]) -> Option<Entry<'_>> {
    match kind {
        1 => {
            let (stretch, wrapped) = body.split_first_chunk::<STRETCH_BYTES>()?;
            (wrapped.len() == ENVELOPED_BYTES)
                .then(|| Entry::Passphrase { stretch: Stretch::from_bytes(stretch), wrapped })
        }
        2 => {
            let (set, rest) = body.split_first_chunk::<16>()?;
            let (_counts, wrapped) = rest.split_first_chunk::<2>()?;
            (wrapped.len() == ENVELOPED_BYTES)
                .then(|| Entry::Shares { set: Uuid::from_bytes(*set), wrapped })
        }
        3 => {
            let (key_id, wrapped) = body.split_at_checked(KEY_ID_BYTES)?;
            (wrapped.len() == WRAPPED_BYTES).then_some(Entry::Recipient { key_id, wrapped })
        }
        _ => None,
    }
}

fn open(slot: &Secret, aad: &[u8], wrapped: &[u8]) -> Option<Secret> {
    let opened = envelope::open(slot, aad, wrapped)?;
    Some(Secret::from_bytes(opened.as_slice().try_into().ok()?))
}

fn share_key(secret: &Secret, backup: Uuid) -> Secret {
    secret.derive(&[b"backup-shares/1", backup.as_bytes()])
}

fn associated_data(backup: Uuid, kind: WayKind) -> Vec<u8> {
    [b"recseal/backup/1", backup.as_bytes().as_slice(), &[kind.code()]].concat()
}

/// How a passphrase becomes a key: argon2id with its cost and salt.
struct Stretch {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; SALT_BYTES],
}

impl Stretch {
    fn generate() -> Self {
        let mut salt = [0; SALT_BYTES];
        aws_lc_rs::rand::fill(&mut salt).expect("the random generator of this machine works");
        Self { memory_kib: MEMORY_KIB, passes: PASSES, lanes: 1, salt }
    }

    fn to_bytes(&self) -> [u8; STRETCH_BYTES] {
        let mut bytes = [0; STRETCH_BYTES];
        for (place, number) in [self.memory_kib, self.passes, self.lanes].iter().enumerate() {
            bytes[place * 4..][..4].copy_from_slice(&number.to_be_bytes());
        }
        bytes[12..].copy_from_slice(&self.salt);
        bytes
    }

    fn from_bytes(bytes: &[u8; STRETCH_BYTES]) -> Self {
        let number = |at: usize| {
            u32::from_be_bytes(*bytes[at..].first_chunk().expect("four bytes lie at each place"))
        };
        let salt = *bytes.last_chunk().expect("28 bytes have 16");
        Self { memory_kib: number(0), passes: number(4), lanes: number(8), salt }
    }

    /// An absurd cost is refused before it is paid: the file may come from a stranger.
    fn key(&self, passphrase: &str, backup: Uuid) -> Result<Secret, BackupError> {
        let &Self { memory_kib, passes, lanes, ref salt } = self;
        if memory_kib > MEMORY_KIB_MAX || passes > PASSES_MAX || lanes > LANES_MAX {
            return Err(BackupError::HeadDamaged);
        }
        let params = Params::new(memory_kib, passes, lanes, Some(SECRET_BYTES))
            .map_err(|_| BackupError::HeadDamaged)?;
        let mut key = Zeroizing::new([0; SECRET_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), salt, &mut *key)
            .map_err(|_| BackupError::HeadDamaged)?;
        Ok(Secret::from_bytes(&key).derive(&[b"backup-passphrase/1", backup.as_bytes()]))
    }
}

const WAYS_MAX: usize = 8;
const SALT_BYTES: usize = 16;
const STRETCH_BYTES: usize = 12 + SALT_BYTES;
const ENVELOPED_BYTES: usize = SECRET_BYTES + ENVELOPE_BYTES;
/// 64 MiB and three passes: half a second on a small server.
const MEMORY_KIB: u32 = if cfg!(test) { 8 } else { 64 * 1_024 };
const PASSES: u32 = if cfg!(test) { 1 } else { 3 };
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 8;
const PASSPHRASE_BYTES_MIN: usize = 12;
const PASSPHRASE_BYTES_MAX: usize = 1_024;
