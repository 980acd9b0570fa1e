//! A vault that fails when told to, for tests that fail every operation in turn.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::{DestructionEvidence, JournalFate, StorePath};
use crate::seal::ReadAt;

use super::pace::Pace;
use super::{Doomed, Draft, Overwritten, SealedMedia, Vault, VaultError};

/// Counts operations and fails one of them, or each from one on.
#[derive(Clone, Debug)]
pub struct Tripwire(Arc<Counter>);

#[derive(Debug)]
struct Counter {
    steps: AtomicU64,
    fails_at: u64,
    stays_broken: bool,
}

impl Tripwire {
    /// Fails operation number `n`, counted from zero, and no other.
    pub fn failing_once(n: u64) -> Self {
        Self::new(n, false)
    }

    /// Fails operation number `n` and all after it, like a disk that died.
    pub fn failing_from(n: u64) -> Self {
        Self::new(n, true)
    }

    fn new(fails_at: u64, stays_broken: bool) -> Self {
        Self(Arc::new(Counter { steps: AtomicU64::new(0), fails_at, stays_broken }))
    }

    /// How many operations were asked for so far.
    pub fn steps(&self) -> u64 {
        self.0.steps.load(Ordering::SeqCst)
    }

    /// Counts one operation.
    ///
    /// # Errors
    ///
    /// If it is the one to fail.
    pub fn step(&self) -> io::Result<()> {
        let n = self.0.steps.fetch_add(1, Ordering::SeqCst);
        if n == self.0.fails_at || (self.0.stays_broken && n > self.0.fails_at) {
            return Err(io::Error::other("planted fault"));
        }
        Ok(())
    }
}

/// `V`, with a [`Tripwire`] before each operation, each write and each read.
#[derive(Debug)]
pub struct FaultyVault<V> {
    inner: V,
    tripwire: Tripwire,
}

impl<V: Vault> FaultyVault<V> {
    /// Puts `tripwire` before everything `inner` does.
    pub fn new(inner: V, tripwire: Tripwire) -> Self {
        Self { inner, tripwire }
    }

    fn step(&self) -> Result<(), VaultError> {
        self.tripwire.step().map_err(VaultError::io("planted fault"))
    }
}

impl<V: Vault> Vault for FaultyVault<V> {
    fn begin(&self, path: &StorePath, expected_bytes: u64) -> Result<Draft, VaultError> {
        self.step()?;
        let mut draft = self.inner.begin(path, expected_bytes)?;
        draft.guard(self.tripwire.clone());
        Ok(draft)
    }

    fn publish(&self, drafts: Vec<Draft>) -> Vec<Result<(), VaultError>> {
        drafts
            .into_iter()
            .map(|draft| {
                self.step()?;
                self.inner.publish(vec![draft]).pop().expect("one draft has one result")?;
                self.step() // published, and nobody heard of it
            })
            .collect()
    }

    fn open(&self, path: &StorePath) -> Result<SealedMedia, VaultError> {
        self.step()?;
        let inner = self.inner.open(path)?;
        Ok(Box::new(FaultyReader { inner, tripwire: self.tripwire.clone() }))
    }

    fn open_uncached(&self, path: &StorePath) -> Result<SealedMedia, VaultError> {
        self.step()?;
        let inner = self.inner.open_uncached(path)?;
        Ok(Box::new(FaultyReader { inner, tripwire: self.tripwire.clone() }))
    }

    fn destroy(&self, path: &StorePath) -> Result<DestructionEvidence, VaultError> {
        self.step()?;
        let evidence = self.inner.destroy(path)?;
        self.step()?; // destroyed, and nobody heard of it
        Ok(evidence)
    }

    fn overwrite_many(
        &self,
        doomed: &[Doomed],
        pace: &dyn Pace,
    ) -> Vec<Result<Overwritten, VaultError>> {
        let one = |doomed: &Doomed| {
            self.step()?;
            let done = self.inner.overwrite_many(std::slice::from_ref(doomed), pace);
            let done = done.into_iter().next().expect("one copy has one result")?;
            self.step()?; // overwritten, and nobody heard of it
            Ok(done)
        };
        doomed.iter().map(one).collect()
    }

    fn unlink_many(&self, doomed: &[Doomed]) -> Vec<Result<JournalFate, VaultError>> {
        let one = |doomed: &Doomed| {
            self.step()?;
            let done = self.inner.unlink_many(std::slice::from_ref(doomed));
            let fate = done.into_iter().next().expect("one copy has one result")?;
            self.step()?; // gone, and nobody heard of it
            Ok(fate)
        };
        doomed.iter().map(one).collect()
    }

    fn exists(&self, path: &StorePath) -> Result<bool, VaultError> {
        self.step()?;
        self.inner.exists(path)
    }

    fn list(&self, visit: &mut dyn FnMut(StorePath, u64)) -> Result<(), VaultError> {
        self.step()?;
        self.inner.list(visit)
    }

    fn sweep_drafts(&self) -> Result<u64, VaultError> {
        self.step()?;
        self.inner.sweep_drafts()
    }
}

struct FaultyReader {
    inner: SealedMedia,
    tripwire: Tripwire,
}

impl ReadAt for FaultyReader {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.tripwire.step()?;
        self.inner.read_at(buf, offset)
    }

    fn len_bytes(&self) -> io::Result<u64> {
        self.inner.len_bytes()
    }
}
