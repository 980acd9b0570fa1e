//! The driver of the certificate: looks every minute on the wall clock, never sleeps until a date.
//!
//! ```text
//! tick, `certs renew` ─▶ clocks compared ─▶ files │ authority's wish ─▶ Engine::tend_certificate
//!                                                                 Wanted ─▶ acme::obtain
//!                        every ten minutes and after a swap: does the listener serve it?
//! ```
//!
//! Whatever is cut off in the middle is taken up again: what counts is in the key store.

mod files;
mod probe;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time;

use crate::clock::{Clock, ClockWatch, Timestamp, Trust};
use crate::daemon::acme::{Acme, AcmeSettings};
use crate::daemon::pool::WorkPool;
use crate::flow::{Engine, TICK_MS, Tended};

pub use files::FilesSettings;
pub(super) use files::read_file;

/// Where the next certificate comes from, if not from ourselves.
#[derive(Clone, Debug, Default)]
pub enum Supply {
    /// Nothing is fetched.
    #[default]
    None,
    /// Files that somebody else renews.
    Files(FilesSettings),
    /// An authority.
    Acme(AcmeSettings),
}

/// Where people ask for a look, and hear what came of it.
#[derive(Debug)]
pub struct Renewals {
    bell: Notify,
    is_new_wanted: AtomicBool,
    asked: AtomicU64,
    last: watch::Sender<Turn>,
}

/// One look at the certificate.
#[derive(Clone, Debug)]
struct Turn {
    /// Every question up to this one is answered by it.
    answers: u64,
    outcome: Tended,
}

impl Default for Renewals {
    fn default() -> Self {
        let nothing = Turn { answers: 0, outcome: Tended::Good { until: None } };
        Self {
            bell: Notify::new(),
            is_new_wanted: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            last: watch::channel(nothing).0,
        }
    }
}

impl Renewals {
    /// Asks for a look at the certificate now, and for a new one if `is_new_wanted`, whatever the
    /// dates say. The answer is for [`Renewals::answer`].
    pub fn ask(&self, is_new_wanted: bool) -> u64 {
        if is_new_wanted {
            self.is_new_wanted.store(true, Ordering::SeqCst);
        }
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.bell.notify_one();
        number
    }

    /// Waits until the question was looked into; `None` if that took too long.
    pub async fn answer(&self, number: u64) -> Option<Tended> {
        let mut last = self.last.subscribe();
        let waited = time::timeout(ANSWER, last.wait_for(|turn| turn.answers >= number)).await;
        waited.ok()?.ok().map(|turn| turn.outcome.clone())
    }
}

/// What the driver works with.
pub struct Certificates {
    engine: Arc<Engine>,
    pool: WorkPool,
    clock: Clock,
    renewals: Arc<Renewals>,
    supply: Supplier,
    listener: SocketAddr,
    watch: ClockWatch,
    next_probe: Duration,
}

enum Supplier {
    None,
    Files(files::Files),
    Acme(Box<Acme>),
}

impl Certificates {
    /// A driver that has looked at nothing yet. `listener` is where HTTPS is served.
    pub fn new(
        engine: Arc<Engine>,
        pool: WorkPool,
        clock: Clock,
        renewals: Arc<Renewals>,
        supply: Supply,
        listener: SocketAddr,
    ) -> Self {
        let supply = match supply {
            Supply::None => Supplier::None,
            Supply::Files(settings) => Supplier::Files(files::Files::new(settings)),
            Supply::Acme(settings) => {
                let (engine, pool) = (Arc::clone(&engine), pool.clone());
                Supplier::Acme(Box::new(Acme::new(settings, engine, pool, clock.clone())))
            }
        };
        let high_ms = engine.keys().clock_high_ms();
        let watch = ClockWatch::new(Timestamp::from_millis(high_ms));
        let next_probe = Duration::ZERO;
        Self { engine, pool, clock, renewals, supply, listener, watch, next_probe }
    }

    /// Looks until `stop` becomes true. An order that runs then is cut off; the next start goes on
    /// with it.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let renewals = Arc::clone(&self.renewals);
        while !*stop.borrow() {
            let answers = renewals.asked.load(Ordering::SeqCst);
            let is_new_wanted = renewals.is_new_wanted.swap(false, Ordering::SeqCst);
            let outcome = tokio::select! {
                outcome = self.turn(is_new_wanted, answers > renewals.last.borrow().answers) => outcome,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            if outcome == Tended::Renewed || self.clock.steady() >= self.next_probe {
                self.probe().await;
            }
            renewals.last.send_replace(Turn { answers, outcome });
            tokio::select! {
                _ = time::timeout(self.tick(), renewals.bell.notified()) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
    }

    fn tick(&self) -> Duration {
        match self.supply {
            Supplier::Files(_) => FILES_TICK,
            Supplier::None | Supplier::Acme(_) => TICK,
        }
    }

    async fn turn(&mut self, is_new_wanted: bool, is_asked: bool) -> Tended {
        self.compare_clocks().await;
        // By a wrong clock the gate would refuse what is good; the files can wait.
        if let Supplier::Files(files) = &mut self.supply
            && !self.engine.is_clock_suspect()
            && let Some(outcome) = files.poll(&self.engine, &self.pool, &self.clock, is_asked).await
        {
            return outcome;
        }
        if let Supplier::Acme(acme) = &mut self.supply {
            acme.ask_when(self.clock.steady()).await;
        }
        let (engine, now) = (Arc::clone(&self.engine), self.clock.now());
        let outcome = self.pool.run(move || engine.tend_certificate(is_new_wanted, now)).await;
        match (&mut self.supply, outcome) {
            (Supplier::Acme(acme), Tended::Wanted { .. }) => acme.obtain().await,
            (Supplier::None | Supplier::Files(_) | Supplier::Acme(_), outcome) => outcome,
        }
    }

    async fn compare_clocks(&mut self) {
        let now = self.clock.now();
        let trust = self.watch.observe(now, self.clock.steady());
        let engine = Arc::clone(&self.engine);
        let (is_trusted, is_later_wrong) = (trust != Trust::Suspect, trust == Trust::Accepted);
        self.pool.run(move || engine.note_trust(is_trusted, now, is_later_wrong)).await;
    }

    /// Asks our own listener what it serves.
    async fn probe(&mut self) {
        self.next_probe = self.clock.steady() + PROBE_EVERY;
        let before = self.engine.keys().tls().facts().sha256;
        match probe::served(self.listener).await {
            Ok(served) => {
                let after = self.engine.keys().tls().facts().sha256;
                self.engine.note_served(served == before || served == after);
            }
            Err(error) => tracing::warn!(%error, "the HTTPS listener could not be asked"),
        }
    }
}

const TICK: Duration = Duration::from_millis(TICK_MS.unsigned_abs());
/// How often files are read.
const FILES_TICK: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_secs(600);
/// How long a person waits for an answer: an order and its retries are cut off before.
const ANSWER: Duration = Duration::from_secs(240);
