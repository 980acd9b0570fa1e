//! How fast an eraser may go, and when it has to stop.
//!
//! ```text
//! eraser ── before(bytes) ──▶ Pace: Continue at once, Continue after a while, or Break
//!        ── done(bytes) ────▶ Pace: so much is behind us
//! ```
//!
//! The bytes of a file are told half when they are written and half when they are read back, so a
//! rate is one of bytes erased and verified, and the sum for a file is its length.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::sys::IoPriority;

/// Asked before each piece of an overwrite, about 1 MiB, by several threads at once.
pub trait Pace: Sync {
    /// May block to hold a rate. `Break` ends the call for everything that is not finished yet,
    /// with [`super::VaultError::Stopped`]; all of that can be resumed.
    fn before(&self, bytes: u64) -> ControlFlow<()>;

    /// So many bytes were written or read back.
    fn done(&self, bytes: u64) {
        let _ = bytes;
    }
}

/// As fast as the disk takes it.
#[derive(Clone, Copy, Debug)]
pub struct FullSpeed;

impl Pace for FullSpeed {
    fn before(&self, _bytes: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// A rate in bytes per second that may change while it is kept, and a switch that stops.
#[derive(Debug)]
pub struct Throttle {
    bytes_per_second: AtomicU64,
    is_stopped: AtomicBool,
    done_bytes: AtomicU64,
    bucket: Mutex<Bucket>,
    changed: Condvar,
    began: Instant,
}

impl Throttle {
    /// Holds `bytes_per_second`; 0 is no limit.
    #[expect(clippy::disallowed_methods, reason = "a rate is measured on the monotonic clock")]
    pub fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.into(),
            is_stopped: false.into(),
            done_bytes: 0.into(),
            bucket: Mutex::new(Bucket::default()),
            changed: Condvar::new(),
            began: Instant::now(),
        }
    }

    /// From now on holds this rate; 0 is no limit. Who waits is woken.
    pub fn set_rate(&self, bytes_per_second: u64) {
        self.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
        self.wake();
    }

    /// The rate in force; 0 is no limit.
    pub fn rate(&self) -> u64 {
        self.bytes_per_second.load(Ordering::Relaxed)
    }

    /// Ends every call that asks, until [`Self::go_on`].
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Takes a [`Self::stop`] back.
    pub fn go_on(&self) {
        self.is_stopped.store(false, Ordering::Relaxed);
    }

    /// Bytes erased since it was made.
    pub fn done_bytes(&self) -> u64 {
        self.done_bytes.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        // Whoever decided to wait holds the lock until it waits, so it is not missed.
        drop(self.bucket.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

impl Pace for Throttle {
    fn before(&self, bytes: u64) -> ControlFlow<()> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.is_stopped.load(Ordering::Relaxed) {
                return ControlFlow::Break(());
            }
            match bucket.take(bytes, self.rate(), self.began.elapsed()) {
                Duration::ZERO => return ControlFlow::Continue(()),
                wait => {
                    bucket.waiting += 1;
                    let waited = self.changed.wait_timeout(bucket, wait);
                    bucket = waited.unwrap_or_else(PoisonError::into_inner).0;
                    bucket.waiting -= 1;
                }
            }
        }
    }

    fn done(&self, bytes: u64) {
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What was taken and is not paid back yet by the time that passed.
#[derive(Debug, Default)]
struct Bucket {
    debt_bytes: u64,
    as_of: Duration,
    /// Threads that wait for it.
    waiting: usize,
}

impl Bucket {
    /// Takes `bytes` if nothing is owed at `now`, else says how long to wait. A piece larger than
    /// the rate is let through and owed for.
    fn take(&mut self, bytes: u64, bytes_per_second: u64, now: Duration) -> Duration {
        if bytes_per_second == 0 {
            (self.debt_bytes, self.as_of) = (0, now);
            return Duration::ZERO;
        }
        let passed = now.saturating_sub(self.as_of);
        let paid = passed.as_nanos().saturating_mul(bytes_per_second.into()) / NANOS;
        if paid > 0 || self.debt_bytes == 0 {
            self.debt_bytes =
                self.debt_bytes.saturating_sub(u64::try_from(paid).unwrap_or(u64::MAX));
            self.as_of = now;
        }
        if self.debt_bytes == 0 {
            self.debt_bytes = bytes;
            return Duration::ZERO;
        }
        let nanos = u128::from(self.debt_bytes) * NANOS / u128::from(bytes_per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX).max(1))
    }
}

/// While it lives, the calling thread and the threads it starts are served last by the disk, where
/// its scheduler knows priorities. Best effort: many have none, and the rate is the real control.
#[derive(Debug)]
pub struct IdlePriority(Option<IoPriority>);

impl IdlePriority {
    /// Takes the priority down until the value is dropped, on the same thread.
    pub fn take() -> Self {
        let before = IoPriority::current().ok();
        Self(before.filter(|_| IoPriority::IDLE.set().is_ok()))
    }
}

impl Drop for IdlePriority {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            before.set().ok();
        }
    }
}

const NANOS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row asks for bytes at a moment. Planted fault: every rate treated as no limit.
    #[test]
    fn a_rate_is_kept() {
        let mut bucket = Bucket::default();
        let ms = Duration::from_millis;
        let rows = [
            (5_000, 1_000, 1_000, 0), // nothing is owed, however long nobody asked
            (5_000, 1_000, 1_000, 1_000),
            (5_400, 1_000, 1_000, 600),
            (5_400, 1_000, 2_000, 300), // twice the rate, half the wait
            (5_700, 1_000, 2_000, 0),
            (5_700, 50, 2_000, 500),
            (5_700, 50, 0, 0), // no limit, and the debt is gone
            (5_700, 50, 2_000, 0),
            (5_700, 50, 2_000, 25),
        ];
        for (row, (at, bytes, rate, wait)) in rows.into_iter().enumerate() {
            assert_eq!(bucket.take(bytes, rate, ms(at)), ms(wait), "row {row}");
        }
    }

    /// Asked every microsecond at a slow rate, time still passes. Planted fault: `as_of` moved
    /// although less than a byte was paid.
    #[test]
    fn short_waits_add_up() {
        let mut bucket = Bucket::default();
        bucket.take(1, 1_000, Duration::ZERO);
        let freed = (1..2_000).find(|n| bucket.take(1, 1_000, Duration::from_micros(*n)).is_zero());
        assert_eq!(freed, Some(1_000));
    }

    /// Planted faults: no wake-up in `set_rate` and in `stop`; the test then never ends.
    #[test]
    fn who_waits_hears_of_changes() {
        let throttle = Throttle::new(1);
        let has_waiting = || throttle.bucket.lock().unwrap().waiting == 1;
        std::thread::scope(|scope| {
            assert!(throttle.before(1 << 40).is_continue());
            let waiting = scope.spawn(|| throttle.before(1));
            while !has_waiting() {
                std::thread::yield_now();
            }
            throttle.set_rate(0);
            assert!(waiting.join().unwrap().is_continue());
            throttle.set_rate(1);
            assert!(throttle.before(1 << 40).is_continue());
            let waiting = scope.spawn(|| throttle.before(1));
            while !has_waiting() {
                std::thread::yield_now();
            }
            throttle.stop();
            assert!(waiting.join().unwrap().is_break());
        });
        throttle.go_on();
        throttle.set_rate(0);
        assert!(throttle.before(1).is_continue());
        throttle.done(7);
        throttle.done(1);
        assert_eq!((throttle.done_bytes(), throttle.rate()), (8, 0));
    }

    /// Planted fault: no restoring on drop.
    #[test]
    fn the_priority_is_given_back_and_passed_on() {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let Ok(before) = IoPriority::current() else { return };
                let idle = IdlePriority::take();
                assert_eq!(IoPriority::current().unwrap(), IoPriority::IDLE);
                let child = std::thread::spawn(|| IoPriority::current().unwrap());
                assert_eq!(child.join().unwrap(), IoPriority::IDLE);
                drop(idle);
                assert_eq!(IoPriority::current().unwrap(), before);
            });
        });
    }
}
