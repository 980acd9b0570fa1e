//! Opening and verifying sealed files with the daemon dead: a file, its key, nothing else.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use keymanager::{DataKey, SealedKeyFile};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::domain::RecordingId;
use crate::seal;
use crate::seal::{Prefix, SealError, SealedReader};

use super::args::Out;
use super::failure::{Failure, exit};
use super::output::{self, Sink};
use super::seal_keys::{self, PrivateKey};

/// Where the key of a sealed file comes from.
pub(super) enum KeySource<'a> {
    /// A key file.
    File(&'a Path),
    /// The daemon, by the id that the sealed file claims to belong to.
    Daemon(&'a dyn Fn(RecordingId) -> Result<Zeroizing<String>, Failure>),
}

/// Opens `sealed` into `out`; the number of bytes written.
pub(super) fn open(
    sealed: &Path,
    key: &KeySource<'_>,
    private: Option<&PrivateKey<'_>>,
    out: &Out,
    json: bool,
) -> Result<u64, Failure> {
    let reader = unlock(sealed, key, private)?;
    let plain_bytes = reader.plain_bytes();
    let bar = output::bar(plain_bytes, json);
    let mut sink = Sink::open(out)?;
    let mut plaintext = Zeroizing::new(vec![0; BUFFER_BYTES]);
    let mut offset = 0;
    while offset < plain_bytes {
        let len = reader.read_at(&mut plaintext, offset).map_err(refused)?;
        sink.write_all(&plaintext[..len]).map_err(|e| Failure::file("output file", &e))?;
        offset += len as u64;
        bar.set_position(offset);
    }
    bar.finish_and_clear();
    sink.finish()?;
    Ok(plain_bytes)
}

/// Opens every chunk of `sealed` and keeps nothing.
pub(super) fn verify(
    sealed: &Path,
    key: &KeySource<'_>,
    private: Option<&PrivateKey<'_>>,
    json: bool,
) -> Result<Value, Failure> {
    let reader = unlock(sealed, key, private)?;
    let bar = output::bar(reader.plain_bytes(), json);
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get().min(8));
    let show = |done| bar.set_position(done);
    let verified = seal::verify_whole_watched(&reader, workers, &show);
    bar.finish_and_clear();
    let plain_bytes = verified.map_err(refused)?;
    let Prefix { recording, kind, .. } = reader.prefix();
    Ok(json!({
        "recording": recording.to_string(),
        "kind": kind.as_str(),
        "verified": true,
        "files": 1,
        "plain_bytes": plain_bytes,
    }))
}

fn unlock(
    sealed: &Path,
    key: &KeySource<'_>,
    private: Option<&PrivateKey<'_>>,
) -> Result<SealedReader<File>, Failure> {
    let file = File::open(sealed).map_err(|error| Failure::file("sealed file", &error))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(Failure::usage("this is not a file", "name a sealed file or a recording's id"));
    }
    let prefix = seal::peek_prefix(&file).map_err(refused)?;
    let text = match key {
        KeySource::File(path) => read_key_file(path)?,
        KeySource::Daemon(ask) => ask(prefix.recording)?,
    };
    if SealedKeyFile::is_one(&text) {
        let key = seal_keys::open_key_file(&text, private, prefix.data_key.0)?;
        return SealedReader::open(&key, file).map_err(refused);
    }
    let (_, key) = DataKey::import(&text).map_err(|error| {
        Failure::of(
            exit::VERIFICATION_FAILED,
            &error,
            "take the file that `recseal keys export ID -o KEYFILE` wrote, unchanged",
        )
    })?;
    SealedReader::open(&key, file).map_err(refused)
}

fn read_key_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: io::Error| Failure::file("key file", &error);
    let file = File::open(path).map_err(failed)?;
    // Sized at once: a string that grows leaves a copy of the key behind.
    let len_bytes = file.metadata().map_err(failed)?.len().min(KEY_FILE_BYTES_MAX);
    let mut text = Zeroizing::new(String::with_capacity(len_bytes as usize + 4_096));
    file.take(KEY_FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// What a sealed file's refusal means for the caller.
fn refused(error: SealError) -> Failure {
    let hint = match &error {
        SealError::NotSealed => "name a sealed file, or the id of a recording",
        SealError::WrongKey { .. } => "export the key again: `recseal keys export ID -o KEYFILE`",
        SealError::UnsupportedVersion { .. } => "open it with a newer recseal",
        SealError::ReadSealed { source } => return Failure::file("sealed file", source),
        _ => "this copy is damaged: take another one, or restore it from a backup",
    };
    Failure::of(exit::VERIFICATION_FAILED, &error, hint)
}

const BUFFER_BYTES: usize = 1 << 20;
/// Longer than any key file.
const KEY_FILE_BYTES_MAX: u64 = SealedKeyFile::TEXT_BYTES_MAX as u64;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::domain::SealedKind;
    use crate::seal::SealWriter;

    use super::*;

    struct Bench {
        folder: tempfile::TempDir,
        plaintext: Vec<u8>,
    }

    impl Bench {
        /// A sealed file `s` and its key file `k`.
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let recording = RecordingId::new();
            let key = DataKey::generate();
            let plaintext: Vec<u8> = (0..200_000_u32).map(|i| (i * 7 + 3) as u8).collect();
            let prefix = Prefix::new(recording, &key, SealedKind::Media);
            let mut writer = SealWriter::new(&key, prefix, Vec::new()).unwrap();
            writer.write_all(&plaintext).unwrap();
            let (sealed, _) = writer.finish().unwrap();
            std::fs::write(folder.path().join("s"), sealed).unwrap();
            std::fs::write(folder.path().join("k"), key.expose_export(recording.0).as_bytes())
                .unwrap();
            Self { folder, plaintext }
        }

        fn at(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn open(&self) -> Result<u64, Failure> {
            let out = Out { out: self.at("o"), force: false };
            open(&self.at("s"), &KeySource::File(&self.at("k")), None, &out, true)
        }

        fn verify(&self) -> Result<Value, Failure> {
            verify(&self.at("s"), &KeySource::File(&self.at("k")), None, true)
        }
    }

    #[test]
    fn a_sealed_file_and_its_key_are_enough() {
        let bench = Bench::new();
        assert_eq!(bench.verify().unwrap()["plain_bytes"], 200_000);
        assert_eq!(bench.open().unwrap(), 200_000);
        assert_eq!(std::fs::read(bench.at("o")).unwrap(), bench.plaintext);
    }

    /// Damage in the middle is found after much was opened already. Planted fault: a sink that
    /// publishes on drop leaves half a recording here.
    #[test]
    fn damage_leaves_no_half_file() {
        let bench = Bench::new();
        let mut sealed = std::fs::read(bench.at("s")).unwrap();
        sealed[150_000] ^= 1;
        std::fs::write(bench.at("s"), sealed).unwrap();
        assert_eq!(bench.verify().unwrap_err().exit, exit::VERIFICATION_FAILED);
        assert_eq!(bench.open().unwrap_err().exit, exit::VERIFICATION_FAILED);
        assert_eq!(std::fs::read_dir(bench.folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn wrong_things_are_told_apart() {
        let (bench, other) = (Bench::new(), Bench::new());
        std::fs::copy(other.at("k"), bench.at("k")).unwrap();
        let wrong_key = bench.verify().unwrap_err();
        assert_eq!(wrong_key.exit, exit::VERIFICATION_FAILED);
        assert!(wrong_key.hint.contains("export"), "{}", wrong_key.hint);
        std::fs::write(bench.at("k"), "not a key").unwrap();
        assert_eq!(bench.verify().unwrap_err().exit, exit::VERIFICATION_FAILED);
        std::fs::write(bench.at("s"), "not sealed").unwrap();
        assert!(bench.verify().unwrap_err().message.contains("not a sealed file"));
        let missing = KeySource::File(Path::new("/nonexistent"));
        assert_eq!(verify(&bench.at("x"), &missing, None, true).unwrap_err().exit, exit::NOT_FOUND);
    }
}
