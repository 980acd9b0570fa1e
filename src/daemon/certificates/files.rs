//! Certificates in files that somebody else renews, such as certbot or a configuration manager.
//!
//! Polled by content, links followed: an event says that something changed, not that it is whole.
//! Who replaces key and chain one after the other is seen half-way by one read and not by the
//! next, so two equal reads in a row are needed, and then the gate still looks at them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keymanager::renewal::FailureClass;
use sha2::{Digest, Sha256};
use tokio::time;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::daemon::pool::WorkPool;
use crate::flow::{Engine, RenewalFailure, Tended};

/// Where the files lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesSettings {
    /// PEM with the chain, or a PKCS#12 file with everything.
    pub chain: PathBuf,
    /// PEM with the key, if it is not in `chain`.
    pub key: Option<PathBuf>,
    /// What opens the key or the PKCS#12 file: the first line of this one.
    pub password_file: Option<PathBuf>,
}

/// The poller. What it remembers is lost with the program, which then looks once more.
pub(super) struct Files {
    settings: FilesSettings,
    /// Content of the last read, as a digest.
    seen: Option<Seen>,
    /// Content that was taken, or refused and reported.
    settled: Option<Seen>,
}

type Seen = [u8; 32];

struct Content {
    chain: Zeroizing<Vec<u8>>,
    key: Option<Zeroizing<Vec<u8>>>,
    password: Option<Zeroizing<String>>,
    digest: Seen,
}

impl Files {
    pub(super) fn new(settings: FilesSettings) -> Self {
        Self { settings, seen: None, settled: None }
    }

    /// Reads the files, and takes them if they are new and stand still. A person who asks gets
    /// the second read a moment later instead of at the next tick. `None` if nothing is new.
    pub(super) async fn poll(
        &mut self,
        engine: &Arc<Engine>,
        pool: &WorkPool,
        clock: &Clock,
        is_asked: bool,
    ) -> Option<Tended> {
        let mut content = self.read(pool).await;
        if is_asked && content.as_ref().is_ok_and(|content| self.seen != Some(content.digest)) {
            self.seen = content.as_ref().ok().map(|content| content.digest);
            time::sleep(SECOND_LOOK).await;
            content = self.read(pool).await;
        }
        let content = match content {
            Ok(content) => content,
            Err(error) => return self.unreadable(&error, engine, pool, clock).await,
        };
        let stands_still = self.seen.replace(content.digest) == Some(content.digest);
        if !stands_still || self.settled == Some(content.digest) {
            return None;
        }
        self.settled = Some(content.digest);
        let (engine, now) = (Arc::clone(engine), clock.now());
        let take = move || {
            let key = content.key.as_ref().map(|key| key.as_slice());
            engine.take_files(&content.chain, key, content.password.as_ref(), now)
        };
        Some(pool.run(take).await)
    }

    async fn read(&self, pool: &WorkPool) -> io::Result<Content> {
        let settings = self.settings.clone();
        pool.run(move || read(&settings)).await
    }

    /// Reported once until something can be read again.
    async fn unreadable(
        &mut self,
        error: &io::Error,
        engine: &Arc<Engine>,
        pool: &WorkPool,
        clock: &Clock,
    ) -> Option<Tended> {
        let kind = error.kind();
        let mark: Seen = Sha256::digest(kind.to_string()).into();
        self.seen = None;
        if self.settled.replace(mark) == Some(mark) {
            return None;
        }
        let failure = RenewalFailure {
            code: "files-unreadable".to_owned(),
            class: FailureClass::Passing,
            message: format!("the files of the certificate cannot be read: {kind}"),
            hint: "check the paths in [certificate] and let the service read them".to_owned(),
            retry_after_ms: None,
        };
        let (engine, now) = (Arc::clone(engine), clock.now());
        Some(pool.run(move || engine.renewal_failed(failure, now)).await)
    }
}

fn read(settings: &FilesSettings) -> io::Result<Content> {
    let chain = read_file(&settings.chain)?;
    let key = settings.key.as_deref().map(read_file).transpose()?;
    let password = settings.password_file.as_deref().map(read_password).transpose()?;
    let mut digest = Sha256::new();
    for part in [Some(chain.as_slice()), key.as_ref().map(|key| key.as_slice())] {
        let bytes = part.unwrap_or_default();
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    }
    digest.update(password.as_ref().map_or("", |password| password.as_str()));
    Ok(Content { chain, key, password, digest: digest.finalize().into() })
}

fn read_password(path: &Path) -> io::Result<Zeroizing<String>> {
    let bytes = read_file(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

/// The whole file, but not more than anything of the kind could hold.
pub(in crate::daemon) fn read_file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    // Taken in one piece, so that no half of a key is left behind in freed memory.
    let len_bytes = usize::try_from(file.metadata()?.len()).unwrap_or(FILE_BYTES_MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(len_bytes.min(FILE_BYTES_MAX) + 1));
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

const FILE_BYTES_MAX: usize = 1 << 20;
/// Longer than any program needs between two files that belong together.
const SECOND_LOOK: Duration = Duration::from_millis(500);
