//! The one place that builds the parts and hands them to each other.
//!
//! Order matters twice. Starting: keys before catalog before stores before doors, so that nobody
//! is let in before there is something to answer with. Stopping: tasks end their activation while
//! the doors finish what they serve; then the trail is signed and closed.
//!
//! Keys that no unattended slot opens are no reason not to start: the daemon comes up locked and
//! goes on once somebody unlocks them. A damaged store or a lock held elsewhere fails at once.

mod first;
mod locked;

use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keymanager::{ClientPolicy, GatePolicy, KeyError, KeyManager, Surroundings, Unlock};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::catalog::{Catalog, CatalogError};
use crate::clock::Clock;
use crate::compliance::audit::Activity;
use crate::config;
use crate::config::{ClientCertificates, Config, Poll, RedactionConfig, StoreConfig};
use crate::daemon::Daemon;
use crate::daemon::certificates::{Certificates, Renewals};
use crate::daemon::pool::WorkPool;
use crate::daemon::task::Heartbeat;
use crate::daemon::watch::Bell;
use crate::flow::{
    AutomaticBackups, BackupSettings, ClientRule, Engine, ErasurePolicy, FlowError, KeyPolicy,
    Layout, Parts, StoreSpec, Window,
};
use crate::http;
use crate::http::listen::{self, ListenError};
use crate::http::{Addresses, Services};
use crate::intake::profile::{Profile, UnknownProfile};
use crate::intake::{PollChoice, StoreSettings};
use crate::media::redact::ffmpeg::Ffmpeg;
use crate::vault;
use crate::vault::{LocalVault, VaultError};

use locked::{Doors, Ends};

pub use first::{FirstCertificate, Prepared, prepare};

/// Why the program does not start. Nothing that existed was changed.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A folder of our own cannot be made.
    #[error("making the folder for {what}")]
    Folder {
        /// What it is for.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The keys do not open.
    #[error("opening the keys")]
    Keys(#[from] KeyError),
    /// The catalog does not open.
    #[error("opening the catalog")]
    Catalog(#[from] CatalogError),
    /// The vault does not open.
    #[error("opening the vault")]
    Vault(#[from] VaultError),
    /// A store names a recorder that is not known.
    #[error("a store's profile")]
    Profile(#[from] UnknownProfile),
    /// The engine does not come together.
    #[error("starting")]
    Flow(#[from] FlowError),
    /// A door does not open.
    #[error("opening a door")]
    Listen(#[from] ListenError),
    /// No runtime, no signals.
    #[error("starting the runtime")]
    Runtime(#[source] io::Error),
}

impl AppError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Keys(KeyError::InUse) | Self::Listen(ListenError::SocketInUse) => {
                "stop the daemon that uses this state folder, or name another one with --state DIR"
            }
            Self::Listen(ListenError::Address { .. }) => {
                "choose another address with --listen or --health-listen; port 0 picks a free one"
            }
            Self::Listen(ListenError::NotASocket) => "move the file away, or choose another folder",
            Self::Keys(KeyError::Refused { .. }) => "`recseal certs check FILE` says what to do",
            Self::Keys(KeyError::BadNames { .. }) => {
                "say --names recorder1.example.org: names that an authority can know"
            }
            Self::Folder { .. } => "check that it can be made there, and by this user",
            Self::Keys(KeyError::Locked { .. }) => {
                "start `recseal serve`: it comes up locked, then `recseal keys unlock` opens the keys"
            }
            Self::Keys(KeyError::PassphraseLength { .. }) => "take a sentence that nobody guesses",
            Self::Keys(_)
            | Self::Catalog(_)
            | Self::Vault(_)
            | Self::Profile(_)
            | Self::Flow(_)
            | Self::Listen(ListenError::Socket(_))
            | Self::Runtime(_) => "`recseal doctor` checks this host; the log says more",
        }
    }
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
///
/// [`AppError`] if it does not come up. Once it is up it ends well.
pub fn serve(config: Config) -> Result<(), AppError> {
    let clock = Clock::System;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(DOOR_THREADS)
        .enable_all()
        .build()
        .map_err(AppError::Runtime)?;
    let (keys, created, unlocked, doors) = match open_keys(&config, &clock) {
        Ok((keys, created)) => (keys, created, None, None),
        Err(AppError::Keys(why @ KeyError::Locked { .. })) => {
            match runtime.block_on(locked::wait(&config, &clock, &why))? {
                None => return Ok(()),
                Some((keys, unlocked, doors)) => (keys, false, Some(unlocked), Some(doors)),
            }
        }
        Err(error) => return Err(error),
    };
    let engine = Arc::new(build_with(&config, &clock, keys, created)?);
    engine.note_daemon(Activity::DaemonStarted, clock.now())?;
    if let Some(unlocked) = unlocked {
        engine.note_unlocked(&unlocked, clock.now())?;
    }
    let outcome = runtime.block_on(run(Arc::clone(&engine), &config, clock.clone(), doors));
    finish(runtime, &engine, &clock);
    outcome
}

/// Everything but the doors and the timers: the engine on a complete state folder.
///
/// # Errors
///
/// [`AppError`]; what was made so far stays and is used by the next call.
pub fn build(config: &Config, clock: &Clock) -> Result<Engine, AppError> {
    let (keys, created) = open_keys(config, clock)?;
    build_with(config, clock, keys, created)
}

fn build_with(
    config: &Config,
    clock: &Clock,
    keys: KeyManager,
    created: bool,
) -> Result<Engine, AppError> {
    // Renewals are the driver's affair: by then it is known whether the clock is to be believed.
    // The gate looks at what is served, too: it goes on being served, but somebody should know.
    // Which root its clients have is not known here.
    let lenient = GatePolicy { allow_private: true, ..GatePolicy::default() };
    for refusal in keys.check_live_certificate(&lenient, clock.now().as_millis()).refusals {
        tracing::warn!(code = refusal.code.as_str(), "the certificate in use would be refused");
    }
    let catalog = open_catalog(config)?;
    if created {
        let sha256 = keys.tls().facts().sha256;
        tracing::info!(certificate_sha256 = sha256, "made keys, certificate and catalog");
    }
    let vault = LocalVault::open(&config.vault, vault::Layout::Own, config.reserve_bytes)?;
    let stores = config.stores.iter().map(spec_of).collect::<Result<_, _>>()?;
    let engine = Engine::new(Parts {
        catalog,
        keys,
        vault,
        state: config.state.clone(),
        vault_path: config.vault.clone(),
        reserve_bytes: config.reserve_bytes,
        stores,
        workers: config.workers,
        batch: config.batch,
        started_at: clock.now(),
        backups: backups_of(config),
        erasure: erasure_of(config),
        ffmpeg: ffmpeg_of(&config.redaction),
    })?
    .with_key_policy(KeyPolicy {
        rotate_every: config.keys.rotate_every,
        destroy_wait: config.keys.destroy_wait,
    });
    accept_clients(&engine, config);
    if let Err(error) = engine.tend_authority(clock.now()) {
        tracing::error!(error = %error, "the internal authority was not tended");
    }
    engine.plan_certificate(config.certificate.plan(config.chosen_names()));
    Ok(engine)
}

/// Sets who may show a certificate. Authorities that cannot be read are no reason not to start:
/// nobody is let in by them, and tokens and the socket go on working.
fn accept_clients(engine: &Engine, config: &Config) {
    let rules = config
        .clients
        .iter()
        .map(|client| ClientRule { name: client.name.clone(), role: client.role });
    let read = |path: &PathBuf| {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(CLIENT_CA_BYTES_MAX).read_to_end(&mut bytes).map(|_| bytes)
    };
    let other_authorities = config.client_ca.as_ref().map(read).transpose();
    let other_authorities = other_authorities.unwrap_or_else(|error| {
        tracing::error!(%error, "listen.client_ca cannot be read: its clients are refused");
        None
    });
    let ask = config.client_certificates == ClientCertificates::Optional;
    let other_authorities = other_authorities.unwrap_or_default();
    let policy = ClientPolicy { ask, other_authorities };
    let rules: Vec<ClientRule> = rules.collect();
    if let Err(error) = engine.accept_clients(policy, rules.clone()) {
        tracing::error!(%error, "listen.client_ca is no PEM file of certificates");
        let policy = ClientPolicy { ask, other_authorities: Vec::new() };
        if let Err(error) = engine.accept_clients(policy, rules) {
            tracing::error!(%error, "no client certificates are accepted");
        }
    }
}

/// The keys of the state folder, made if there are none, opened by a slot that needs nobody.
fn open_keys(config: &Config, clock: &Clock) -> Result<(KeyManager, bool), AppError> {
    make_folder(&config.state, "state")?;
    make_folder(&config.vault, "the vault")?;
    let folder = config::keys_in(&config.state);
    let created = !KeyManager::exists(&folder);
    let keys = if created {
        KeyManager::create(&folder, &config.names, clock.now().as_millis())?
    } else {
        KeyManager::open(&folder, &Unlock::Unattended(surroundings()))?
    };
    Ok((keys, created))
}

fn open_catalog(config: &Config) -> Result<Catalog, AppError> {
    Ok(Catalog::open(&config::catalog_in(&config.state))?)
}

/// What this process was started with, as far as key slots open with it.
pub fn surroundings() -> Surroundings {
    #[expect(clippy::disallowed_methods, reason = "the service manager names the folder so")]
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
    let is_absolute = |folder: &std::ffi::OsString| Path::new(folder).is_absolute();
    Surroundings { credentials: credentials.filter(is_absolute).map(Into::into) }
}

/// Keeps keys and passphrases out of core files and away from debuggers of the same user. Call it
/// before there are any. Where a kernel refuses, the unit's own limits still hold.
pub fn harden() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(Resource::Core, none);
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Makes a folder of our own, 0700, if it is missing. One that exists keeps its mode.
fn make_folder(path: &Path, what: &'static str) -> Result<(), AppError> {
    let failed = |source| AppError::Folder { what, source };
    if path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(path, mode).map_err(failed)
}

/// ffmpeg as it is configured, or the first one in `$PATH`; `None` if there is none.
pub fn ffmpeg_of(config: &RedactionConfig) -> Option<Ffmpeg> {
    #[expect(clippy::disallowed_methods, reason = "where programs lie is asked once, here")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = config.ffmpeg.clone().or_else(|| Ffmpeg::find(&path))?;
    Some(Ffmpeg::new(program, config.max_memory_bytes, config.time_limit))
}

fn backups_of(config: &Config) -> BackupSettings {
    let automatic = config.backup.automatic.clone().map(|automatic| AutomaticBackups {
        every: automatic.every,
        folder: automatic.folder,
        recipient: automatic.recipient,
        keep: automatic.keep,
    });
    BackupSettings { automatic, remind_after: config.backup.remind_after }
}

fn erasure_of(config: &Config) -> ErasurePolicy {
    let erasure = &config.erasure;
    ErasurePolicy {
        mass_from: erasure.mass_from,
        approve_mass: erasure.approve_mass,
        bytes_per_second: erasure.bytes_per_second,
        window: erasure.window.map(|(from, to)| Window { from, to }),
        deadline: erasure.deadline,
        retention_daily: erasure.retention_daily,
        finalize_after: erasure.finalize_after,
    }
}

fn spec_of(store: &StoreConfig) -> Result<StoreSpec, AppError> {
    let layout = match store.layout {
        config::Layout::Vault => Layout::Vault,
        config::Layout::Beside => Layout::Beside,
    };
    let poll = match store.poll {
        Poll::Auto => PollChoice::Auto,
        Poll::Always => PollChoice::Always,
        Poll::Never => PollChoice::Never,
    };
    let settings = StoreSettings {
        settle: Some(store.settle),
        poll,
        poll_settle: store.poll_settle,
        empty_wait: store.empty_wait,
        unfinished_wait: store.unfinished_wait,
        pair_within: store.pair_within,
        ..StoreSettings::default()
    };
    let profile = Profile::named(&store.profile)?;
    let (overwrite, seal_to) = (store.overwrite, store.seal_to.clone());
    Ok(StoreSpec { path: store.path.clone(), profile, layout, settings, overwrite, seal_to })
}

/// Opens the doors, starts the tasks, says so, and waits for the end.
async fn run(
    engine: Arc<Engine>,
    config: &Config,
    clock: Clock,
    doors: Option<Doors>,
) -> Result<(), AppError> {
    let Doors { unix, health, mut ends } = match doors {
        Some(doors) => doors,
        None => Doors::open(config).await?,
    };
    let (stop, stopped) = watch::channel(false);
    let bell = Arc::new(Bell::default());
    let doors_pool = WorkPool::new(DOOR_JOBS);
    let renewals = Arc::new(Renewals::default());
    let parts = (Arc::clone(&engine), doors_pool.clone(), clock.clone(), Arc::clone(&bell));
    let services = services_of(parts).with_renewals(Arc::clone(&renewals)).until(stopped.clone());
    let https = listen::bind_tcp(config.https).await?;
    let addresses = Addresses { https: address_of(&https)?, health: address_of(&health)? };
    services.announce(addresses);

    let mut doors = tokio::task::JoinSet::new();
    let api = http::api(services.clone());
    doors.spawn(unix.serve(api.clone(), stopped.clone()));
    let tls = Arc::clone(&engine);
    let identity = move || tls.keys().tls().current();
    let connections = services.connections();
    doors.spawn(listen::serve_tls(https, api, identity, connections, stopped.clone()));
    doors.spawn(listen::serve_plain(health, http::health(services), stopped.clone()));

    let certificates = Certificates::new(
        Arc::clone(&engine),
        WorkPool::new(1),
        clock.clone(),
        renewals,
        config.certificate.supply(),
        addresses.https,
    );
    let daemon = Daemon {
        engine: Arc::clone(&engine),
        clock,
        pool: WorkPool::new(TASKS),
        bell,
        reconcile_every: config.reconcile_every,
        heartbeat: Heartbeat::default(),
    };
    let mut tasks = daemon.start(&stopped);
    tasks.spawn(certificates.run(stopped.clone()));
    tracing::info!(https = %addresses.https, health = %addresses.health, "ready");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);

    until_told_to_stop(&mut ends, &engine, &doors_pool).await;
    tracing::info!("stopping");
    engine.stop_eraser();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    stop.send_replace(true);
    let all_ended = async {
        while tasks.join_next().await.is_some() {}
        while doors.join_next().await.is_some() {}
    };
    // Whatever does not end in time is cut off: every line of work can be cut anywhere.
    let _ = tokio::time::timeout(GRACE, all_ended).await;
    Ok(())
}

fn services_of((engine, pool, clock, bell): (Arc<Engine>, WorkPool, Clock, Arc<Bell>)) -> Services {
    let daemon_uid = rustix::process::geteuid().as_raw();
    Services::new(engine, pool, clock, bell, daemon_uid).within(surroundings())
}

fn address_of(listener: &tokio::net::TcpListener) -> Result<SocketAddr, AppError> {
    listener.local_addr().map_err(AppError::Runtime)
}

/// Returns at SIGTERM or SIGINT. Until then the watchdog is told that work goes through: the pool
/// runs a job, and the catalog answers it.
async fn until_told_to_stop(ends: &mut Ends, engine: &Arc<Engine>, pool: &WorkPool) {
    let beat = sd_notify::watchdog_enabled().map_or(NO_WATCHDOG, |timeout| timeout / 3);
    loop {
        tokio::select! {
            () = ends.come() => return,
            () = tokio::time::sleep(beat) => {
                let engine = Arc::clone(engine);
                if pool.run(move || engine.is_answering()).await {
                    let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
                }
            }
        }
    }
}

/// Signs and notes the end. The catalog needs no closing: killed, it opens as well.
fn finish(runtime: Runtime, engine: &Engine, clock: &Clock) {
    runtime.shutdown_timeout(GRACE);
    let noted = engine
        .note_daemon(Activity::DaemonStopped, clock.now())
        .and_then(|()| engine.checkpoint_audit(clock.now()));
    if let Err(error) = noted {
        tracing::error!(%error, "the end could not be recorded");
    }
}

/// Threads that talk; the work is done elsewhere.
const DOOR_THREADS: usize = 2;
/// Blocking jobs of the doors at the same time.
const DOOR_JOBS: usize = 16;
/// Longer ones hold something else than authorities.
const CLIENT_CA_BYTES_MAX: u64 = 1 << 20;
/// One place for each task.
const TASKS: usize = 6;
/// How long running work may take to end.
const GRACE: Duration = Duration::from_secs(10);
/// How often work is checked where no watchdog wants to know.
const NO_WATCHDOG: Duration = Duration::from_secs(60);
