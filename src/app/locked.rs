//! The start with locked keys: health and the unix socket are up, and wait for what unlocks.
//!
//! The doors are bound once and lent to the locked routers, so that they keep their addresses and
//! nobody who asks in between is turned away. To the service manager the start is complete: a
//! person may need hours, and killing the daemon would not help them.

use std::io;

use keymanager::{KeyError, KeyManager};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::{AppError, NO_WATCHDOG, surroundings};
use crate::clock::Clock;
use crate::config;
use crate::config::Config;
use crate::flow::Unlocked;
use crate::http::listen::{self, UnixDoor};
use crate::http::locked::{self, LockedDoor};

/// What is bound and listened for once, however often the routers behind it change.
pub(super) struct Doors {
    pub(super) unix: UnixDoor,
    pub(super) health: TcpListener,
    pub(super) ends: Ends,
}

/// SIGTERM and SIGINT.
pub(super) struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Doors {
    /// Binds socket and health listener.
    pub(super) async fn open(config: &Config) -> Result<Self, AppError> {
        // First of all: who is told to stop before it listens for that dies of it.
        let ends = Ends {
            terminate: signal(SignalKind::terminate()).map_err(AppError::Runtime)?,
            interrupt: signal(SignalKind::interrupt()).map_err(AppError::Runtime)?,
        };
        let unix = UnixDoor::bind(&config::socket_in(&config.state))?;
        Ok(Self { unix, health: listen::bind_tcp(config.health).await?, ends })
    }
}

impl Ends {
    /// Returns at the first of them.
    pub(super) async fn come(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The keys and the doors, once somebody unlocked; `None` if the daemon is told to stop before.
pub(super) async fn wait(
    config: &Config,
    clock: &Clock,
    why: &KeyError,
) -> Result<Option<(KeyManager, Unlocked, Doors)>, AppError> {
    let mut doors = Doors::open(config).await?;
    let daemon_uid = rustix::process::geteuid().as_raw();
    let folder = config::keys_in(&config.state);
    let health = doors.health.local_addr().map_err(AppError::Runtime)?;
    let (door, mut opened) =
        LockedDoor::new(folder, surroundings(), daemon_uid, clock.clone(), health, why);
    let (stop, stopped) = watch::channel(false);
    let mut serving = JoinSet::new();
    serving.spawn(doors.unix.lend()?.serve(locked::api(door.clone()), stopped.clone()));
    let lent = listen::lend_tcp(&doors.health).map_err(AppError::Runtime)?;
    serving.spawn(listen::serve_plain(lent, locked::health(door.clone()), stopped));
    tracing::error!(%health, %why, "the keys are locked: `recseal keys unlock` opens them");
    tell("the keys are locked: run `recseal keys unlock`");
    let beat = sd_notify::watchdog_enabled().map_or(NO_WATCHDOG, |timeout| timeout / 3);
    let (mut beats, mut retries) =
        (tokio::time::interval(beat), tokio::time::interval(config.keys.retry_every));
    // The first tick of an interval is now, and the attempt of now has just failed.
    retries.reset();
    let outcome = loop {
        tokio::select! {
            unlocked = opened.recv() => break unlocked,
            () = doors.ends.come() => break None,
            _ = beats.tick() => {
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
            }
            _ = retries.tick() => {
                if let Err(error) = door.retry().await {
                    tracing::debug!(%error, "the keys stay locked");
                }
            }
        }
    };
    stop.send_replace(true);
    while serving.join_next().await.is_some() {}
    // An attempt that was under way at the end holds the lock of the keys until it is over.
    drop(door);
    let Some((keys, unlocked)) = outcome else {
        tracing::info!("stopping with locked keys");
        return Ok(None);
    };
    tracing::info!(with = unlocked.with, "the keys are open");
    tell("the keys are open");
    Ok(Some((keys, unlocked, doors)))
}

/// Ready, as far as the service manager is concerned, and why that is not all.
fn tell(status: &str) {
    use sd_notify::NotifyState::{Ready, Status};
    let _: io::Result<()> = sd_notify::notify(&[Ready, Status(status)]);
}
