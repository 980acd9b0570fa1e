//! The sealed key file of one recording: what `keys export` gives where only a private key opens.
//!
//! ```text
//! recseal sealed data key, version 1
//! recording 018f6d2e-…             the recording it opens
//! capsule 212 digits               a sealed data key; 2388 digits for x-wing
//! capsule …                        one for each file that has a key of its own
//! check 16 digits                  8 bytes of SHA-256 over the lines above
//! ```
//!
//! Media and peaks share a key; each sidecar that was sealed later has one of its own. The file
//! is no secret, but it is a copy of the recording's row: while it exists, the holder of the
//! private key can open the recording, erased or not.

use uuid::Uuid;

use super::text::{Lines, VERSION, check_of};
use super::{SealKeyError, SealKeyId, SealPrivateKey, SealedDataKey};
use crate::data_key::DataKey;
use crate::hex;

/// The sealed data keys of one recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKeyFile {
    recording: Uuid,
    capsules: Vec<SealedDataKey>,
}

impl SealedKeyFile {
    /// Puts together what the catalog kept, media first; what is more than the file holds is left
    /// out.
    pub fn new(recording: Uuid, mut capsules: Vec<SealedDataKey>) -> Self {
        capsules.truncate(CAPSULES_MAX);
        Self { recording, capsules }
    }

    /// True if `text` claims to be one, so that the right errors can be told.
    pub fn is_one(text: &str) -> bool {
        text.trim_start().starts_with(TITLE)
    }

    /// Whose keys they are.
    pub fn recording(&self) -> Uuid {
        self.recording
    }

    /// What the key of the media is sealed to.
    pub fn seal_key(&self) -> Option<SealKeyId> {
        self.capsules.first().map(SealedDataKey::seal_key)
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        let mut text = format!("{TITLE}{VERSION}\nrecording {}\n", self.recording);
        for capsule in &self.capsules {
            text.push_str(&format!("capsule {}\n", *hex::encode(capsule.as_bytes())));
        }
        let check = check_of(&text);
        text.push_str(&format!("check {}\n", *check));
        text
    }

    /// Reads the file back.
    ///
    /// # Errors
    ///
    /// [`SealKeyError`], which never repeats the text.
    pub fn from_text(text: &str) -> Result<Self, SealKeyError> {
        let mut lines = Lines::open(text, WANTED, TITLE, Self::TEXT_BYTES_MAX)?;
        let recording =
            Uuid::try_parse(lines.value("recording")?).map_err(|_| lines.malformed())?;
        let mut capsules = Vec::new();
        while let Some(digits) = lines.optional("capsule") {
            let bytes = hex::decode(digits).ok_or_else(|| lines.malformed())?;
            capsules.push(SealedDataKey::from_bytes(&bytes).map_err(|_| lines.malformed())?);
        }
        let check = lines.value("check")?;
        lines.end()?;
        let file = Self { recording, capsules };
        let expected = file.to_text();
        if expected.trim_end().rsplit(' ').next() != Some(check) || file.capsules.is_empty() {
            return Err(SealKeyError::WrongCheck { wanted: WANTED });
        }
        Ok(file)
    }

    /// Opens the data key that a sealed file names in its prefix.
    ///
    /// # Errors
    ///
    /// [`SealKeyError::OtherSealedFile`], [`SealKeyError::OtherSealKey`], [`SealKeyError::Open`].
    pub fn open(&self, private: &SealPrivateKey, data_key: Uuid) -> Result<DataKey, SealKeyError> {
        let capsule = self.capsules.iter().find(|capsule| capsule.data_key_id() == data_key);
        private.open(self.recording, capsule.ok_or(SealKeyError::OtherSealedFile { data_key })?)
    }

    /// Longest text taken: twice what the most capsules need.
    pub const TEXT_BYTES_MAX: usize = 512 << 10;
}

const TITLE: &str = "recseal sealed data key, version ";
const WANTED: &str = "sealed key file";
const CAPSULES_MAX: usize = 100;
