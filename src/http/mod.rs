//! The HTTP doors: one router for people and programs, one for health and metrics.
//!
//! ```text
//! unix socket (peer's user id) ─┐
//!                               ├─▶ api: ROUTES ─▶ Grant<A> ─▶ one call of the Engine ─▶ view
//! HTTPS (bearer token)         ─┘
//! plain, loopback ────────────────▶ health: /livez /readyz /metrics
//! ```
//!
//! A handler unwraps, asks the [`Engine`] once on the work pool, and wraps. [`ROUTES`] is the one
//! table of what there is and what it takes; the router is built from it and tests walk it.
//!
//! # Invariants
//!
//! - No handler for anything secret compiles without a [`Grant`](crate::access::Grant) of its kind.
//! - Every error, the router's own included, is a problem document with a code and a hint.
//! - Bodies, requests at a time, streams at a time and seconds are bounded.

mod auth;
mod authority;
pub mod backup;
pub mod certificates;
pub mod connections;
mod erasures;
mod error;
mod extract;
mod guard;
mod health;
mod holds;
mod keks;
pub mod listen;
pub mod locked;
mod media;
mod moment;
mod progress;
mod range;
mod recordings;
mod redact;
mod renewal;
mod retention;
mod routes;
mod seal_keys;
mod slots;
mod system;
pub mod view;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use keymanager::Surroundings;
use tokio::sync::{Semaphore, watch};

use crate::clock::{Clock, Timestamp};
use crate::daemon::certificates::Renewals;
use crate::daemon::pool::WorkPool;
use crate::daemon::watch::Bell;
use crate::flow::Engine;
use crate::telemetry::Metrics;

use connections::Connections;
pub use error::{ApiError, chain};
use guard::Pace;
pub use routes::{ROUTES, Route};

/// What every handler can reach. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// Answers everything; blocks, so only [`Services::run`] touches it.
    engine: Arc<Engine>,
    pool: WorkPool,
    clock: Clock,
    /// Rung by those who want a look at the stores now.
    bell: Arc<Bell>,
    metrics: Metrics,
    daemon_uid: u32,
    addresses: Arc<OnceLock<Addresses>>,
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    playbacks: Arc<media::Playbacks>,
    refusals: Arc<auth::RefusalBudget>,
    /// What slots open with.
    surroundings: Surroundings,
    connections: Arc<Connections>,
    renewals: Arc<Renewals>,
    erasure_feed: Arc<erasures::Feed>,
    /// Orders that are being answered.
    in_flight: erasures::InFlight,
    /// Becomes true when the daemon stops: what has no end of its own ends then.
    stopped: Option<watch::Receiver<bool>>,
}

/// Where the doors really listen, port 0 resolved.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// API and console.
    pub https: SocketAddr,
    /// Health and metrics.
    pub health: SocketAddr,
}

impl Services {
    /// Puts the doors' needs together. `daemon_uid` is the user trusted on the socket besides root.
    pub fn new(
        engine: Arc<Engine>,
        pool: WorkPool,
        clock: Clock,
        bell: Arc<Bell>,
        daemon_uid: u32,
    ) -> Self {
        let connections = Arc::new(Connections::new(clock.clone()));
        Self {
            connections,
            engine,
            pool,
            clock,
            bell,
            metrics: Metrics::default(),
            daemon_uid,
            addresses: Arc::default(),
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            playbacks: Arc::default(),
            refusals: Arc::default(),
            surroundings: Surroundings::default(),
            renewals: Arc::default(),
            erasure_feed: erasures::Feed::new(),
            in_flight: erasures::InFlight::default(),
            stopped: None,
        }
    }

    /// The same with word of the stop, which ends what would go on for ever.
    #[must_use]
    pub fn until(self, stopped: watch::Receiver<bool>) -> Self {
        Self { stopped: Some(stopped), ..self }
    }

    /// With what unattended slots open with.
    #[must_use]
    pub fn within(self, surroundings: Surroundings) -> Self {
        Self { surroundings, ..self }
    }

    /// The same with somebody who hears when a certificate is asked for.
    #[must_use]
    pub fn with_renewals(self, renewals: Arc<Renewals>) -> Self {
        Self { renewals, ..self }
    }

    /// Makes the bound addresses known to `status`. Later calls change nothing.
    pub fn announce(&self, addresses: Addresses) {
        let _ = self.addresses.set(addresses);
    }

    /// Who is connected with a certificate; the HTTPS listener fills it.
    pub fn connections(&self) -> Arc<Connections> {
        Arc::clone(&self.connections)
    }

    /// The present moment.
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Runs `work` on the pool with the engine and the present moment.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine, Timestamp) -> T + Send + 'static,
    ) -> T {
        let (engine, now) = (Arc::clone(&self.engine), self.now());
        self.pool.run(move || work(&engine, now)).await
    }
}

/// The router of the unix socket and of HTTPS. Its listener puts a [`listen::Peer`] into every
/// request; without one nobody is authenticated.
pub fn api(services: Services) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let guard = from_fn_with_state((services.clone(), route.pace), guard::bound);
        router = router.route(route.path, (route.handler)().layer(guard));
    }
    finish(router, services)
}

/// The router of the health listener. Knows nothing about anybody.
pub fn health(services: Services) -> Router {
    let router = Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics));
    let guard = from_fn_with_state((services.clone(), Pace::Quick), guard::bound);
    finish(router.route_layer(guard), services)
}

fn finish(router: Router<Services>, services: Services) -> Router {
    router
        .fallback(no_such_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(guard::harden))
        .layer(from_fn_with_state(services.clone(), guard::count))
        .with_state(services)
}

async fn no_such_route() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "no-such-route",
        "nothing is served at this address",
        "the interface begins with /api/v1/",
    )
}

async fn wrong_method() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "this address does not take that method",
        "the `Allow` header lists those it takes",
    )
}

/// No request has more to say.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Requests worked on at the same time.
const REQUESTS_MAX: usize = 256;
/// Media streams and verifications at the same time.
const STREAMS_MAX: usize = 64;
