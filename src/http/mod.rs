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
mod error;
mod extract;
mod guard;
mod health;
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
use axum::routing::{MethodRouter, delete, get, post};
use keymanager::Surroundings;
use tokio::sync::Semaphore;

use crate::access::Permission;
use crate::clock::{Clock, Timestamp};
use crate::daemon::certificates::Renewals;
use crate::daemon::pool::WorkPool;
use crate::daemon::watch::Bell;
use crate::flow::Engine;
use crate::telemetry::Metrics;

use connections::Connections;
pub use error::{ApiError, chain};
use guard::Pace;

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
        }
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

/// One entry of the interface.
pub struct Route {
    /// `GET`, `POST` or `DELETE`. `GET` answers `HEAD` too.
    pub method: &'static str,
    /// The pattern.
    pub path: &'static str,
    /// What it takes; `None` is for everybody who reached the door.
    pub needs: Option<Permission>,
    pace: Pace,
    handler: fn() -> MethodRouter<Services>,
}

/// The whole interface.
pub const ROUTES: &[Route] = {
    use {Pace::Quick, Pace::Slow, Permission as P};
    const fn route(
        method: &'static str,
        path: &'static str,
        needs: Option<Permission>,
        pace: Pace,
        handler: fn() -> MethodRouter<Services>,
    ) -> Route {
        Route { method, path, needs, pace, handler }
    }
    &[
        route("GET", "/api/v1/status", Some(P::StatusView), Quick, || get(system::status)),
        route("POST", "/api/v1/scan", Some(P::RecordingManage), Quick, || post(system::scan)),
        route("POST", "/api/v1/done", Some(P::RecordingManage), Quick, || post(system::done)),
        route("GET", "/api/v1/recordings", Some(P::RecordingList), Quick, || get(recordings::list)),
        route("GET", "/api/v1/recordings/{id}", Some(P::RecordingList), Quick, || {
            get(recordings::show)
        }),
        route("GET", "/api/v1/recordings/{id}/media", Some(P::MediaPlay), Slow, || {
            get(media::play)
        }),
        route("GET", "/api/v1/recordings/{id}/peaks", Some(P::MediaPlay), Quick, || {
            get(media::peaks)
        }),
        route("POST", "/api/v1/recordings/{id}/verify", Some(P::MediaVerify), Slow, || {
            post(recordings::verify)
        }),
        route("POST", "/api/v1/recordings/{id}/key", Some(P::KeyExport), Quick, || {
            post(recordings::export_key)
        }),
        route("POST", "/api/v1/recordings/{id}/release", Some(P::RecordingManage), Quick, || {
            post(recordings::release)
        }),
        route("POST", "/api/v1/recordings/{id}/redact", Some(P::InteractionRedact), Slow, || {
            post(redact::redact)
        }),
        route("GET", "/api/v1/audit", Some(P::AuditView), Quick, || get(system::audit)),
        route("GET", "/api/v1/tokens", Some(P::TokenManage), Quick, || get(system::tokens)),
        route("POST", "/api/v1/tokens", Some(P::TokenManage), Quick, || post(system::create_token)),
        route("DELETE", "/api/v1/tokens/{id}", Some(P::TokenManage), Quick, || {
            delete(system::revoke_token)
        }),
        route("GET", "/api/v1/keys/versions", Some(P::KeyView), Quick, || get(keks::list)),
        route("POST", "/api/v1/keys/versions", Some(P::KeyManage), Quick, || post(keks::rotate)),
        route("GET", "/api/v1/keys/versions/{version}", Some(P::KeyView), Quick, || {
            get(keks::show)
        }),
        route(
            "GET",
            "/api/v1/keys/versions/{version}/certificate",
            Some(P::KeyView),
            Quick,
            || get(keks::certificate),
        ),
        route("POST", "/api/v1/keys/versions/{version}/disable", Some(P::KeyManage), Quick, || {
            post(keks::disable)
        }),
        route("POST", "/api/v1/keys/versions/{version}/enable", Some(P::KeyManage), Quick, || {
            post(keks::enable)
        }),
        route("POST", "/api/v1/keys/versions/{version}/destroy", Some(P::KeyManage), Slow, || {
            post(keks::destroy)
        }),
        route("POST", "/api/v1/keys/versions/{version}/restore", Some(P::KeyManage), Quick, || {
            post(keks::restore)
        }),
        route("POST", "/api/v1/keys/rewrap", Some(P::KeyManage), Slow, || post(keks::rewrap)),
        route("GET", "/api/v1/keys/public", None, Quick, || get(system::public_keys)),
        route("GET", "/api/v1/keys/slots", Some(P::KeyView), Quick, || get(slots::list)),
        route("POST", "/api/v1/keys/slots", Some(P::KeyManage), Slow, || post(slots::add)),
        route("DELETE", "/api/v1/keys/slots/{id}", Some(P::KeyManage), Quick, || {
            delete(slots::remove)
        }),
        route("POST", "/api/v1/keys/slots/{id}/test", Some(P::KeyManage), Slow, || {
            post(slots::test)
        }),
        route("POST", "/api/v1/keys/rotate-root", Some(P::KeyManage), Slow, || {
            post(slots::rotate_root)
        }),
        route("POST", "/api/v1/keys/unlock", Some(P::KeyManage), Quick, || post(slots::unlock)),
        route("GET", "/api/v1/seal-keys", Some(P::KeyView), Quick, || get(seal_keys::list)),
        route("POST", "/api/v1/seal-keys", Some(P::KeyManage), Quick, || post(seal_keys::add)),
        route("POST", "/api/v1/seal-keys/rotate", Some(P::KeyManage), Quick, || {
            post(seal_keys::rotate)
        }),
        route("POST", "/api/v1/seal-keys/{name}/disable", Some(P::KeyManage), Quick, || {
            post(seal_keys::disable)
        }),
        route("POST", "/api/v1/seal-keys/{name}/enable", Some(P::KeyManage), Quick, || {
            post(seal_keys::enable)
        }),
        route("GET", "/api/v1/seal-keys/{name}/public", Some(P::KeyView), Quick, || {
            get(seal_keys::public)
        }),
        route("GET", "/api/v1/certificate", None, Quick, || get(system::certificate)),
        route("GET", "/api/v1/ca", Some(P::KeyView), Quick, || get(authority::show)),
        route("POST", "/api/v1/ca", Some(P::CertificateManage), Quick, || post(authority::create)),
        route("POST", "/api/v1/ca/prepare", Some(P::CertificateManage), Quick, || {
            post(authority::prepare)
        }),
        route("POST", "/api/v1/ca/activate", Some(P::CertificateManage), Quick, || {
            post(authority::activate)
        }),
        route("POST", "/api/v1/ca/taint", Some(P::CertificateManage), Quick, || {
            post(authority::taint)
        }),
        route("POST", "/api/v1/ca/revoke", Some(P::CertificateManage), Quick, || {
            post(authority::revoke_authority)
        }),
        route("GET", "/api/v1/ca/bundle", None, Quick, || get(authority::bundle)),
        route("GET", "/api/v1/ca/crl", None, Quick, || get(authority::crl)),
        route("GET", "/api/v1/ca/certificates", Some(P::KeyView), Quick, || get(authority::issued)),
        route("POST", "/api/v1/ca/certificates", Some(P::CertificateManage), Quick, || {
            post(authority::issue)
        }),
        route(
            "POST",
            "/api/v1/ca/certificates/{id}/revoke",
            Some(P::CertificateManage),
            Quick,
            || post(authority::revoke),
        ),
        route("POST", "/api/v1/certificates/renew", Some(P::CertificateManage), Slow, || {
            post(renewal::renew)
        }),
        route("GET", "/api/v1/certificates", Some(P::KeyView), Quick, || get(certificates::list)),
        route("POST", "/api/v1/certificates", Some(P::CertificateManage), Slow, || {
            post(certificates::import).layer(DefaultBodyLimit::max(certificates::BROUGHT_BYTES_MAX))
        }),
        route("POST", "/api/v1/certificates/check", Some(P::KeyView), Slow, || {
            post(certificates::check).layer(DefaultBodyLimit::max(certificates::BROUGHT_BYTES_MAX))
        }),
        route("POST", "/api/v1/certificates/rollback", Some(P::CertificateManage), Slow, || {
            post(certificates::rollback)
        }),
        route("POST", "/api/v1/certificates/requests", Some(P::CertificateManage), Slow, || {
            post(certificates::request)
        }),
        route(
            "POST",
            "/api/v1/certificates/requests/{id}",
            Some(P::CertificateManage),
            Slow,
            || {
                post(certificates::complete)
                    .layer(DefaultBodyLimit::max(certificates::BROUGHT_BYTES_MAX))
            },
        ),
        route(
            "DELETE",
            "/api/v1/certificates/requests/{id}",
            Some(P::CertificateManage),
            Slow,
            || delete(certificates::cancel),
        ),
        route("GET", "/api/v1/backup", Some(P::KeyView), Quick, || get(backup::status)),
        route("POST", "/api/v1/backup", Some(P::BackupManage), Slow, || post(backup::create)),
        route("GET", "/api/v1/backup/tombstones", Some(P::BackupManage), Slow, || {
            get(backup::tombstones)
        }),
        route("POST", "/api/v1/backup/{id}", Some(P::BackupManage), Quick, || post(backup::note)),
    ]
};

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

#[cfg(test)]
mod tests {
    use crate::access::Role;

    use super::*;

    /// One row a route, one column a role.
    const PICTURE: &[(&str, &str)] = &[
        // manager, analyst, admin, ops, auditor, nobody
        ("GET /api/v1/status", "x x x x x ."),
        ("POST /api/v1/scan", ". . x . . ."),
        ("POST /api/v1/done", ". . x . . ."),
        ("GET /api/v1/recordings", "x x x . x ."),
        ("GET /api/v1/recordings/{id}", "x x x . x ."),
        ("GET /api/v1/recordings/{id}/media", "x x . . . ."),
        ("GET /api/v1/recordings/{id}/peaks", "x x . . . ."),
        ("POST /api/v1/recordings/{id}/verify", "x x x . x ."),
        ("POST /api/v1/recordings/{id}/key", ". x . . . ."),
        ("POST /api/v1/recordings/{id}/release", ". . x . . ."),
        ("POST /api/v1/recordings/{id}/redact", ". x . . . ."),
        ("GET /api/v1/audit", ". x . . x ."),
        ("GET /api/v1/tokens", ". . x . . ."),
        ("POST /api/v1/tokens", ". . x . . ."),
        ("DELETE /api/v1/tokens/{id}", ". . x . . ."),
        ("GET /api/v1/keys/versions", ". . x . x ."),
        ("POST /api/v1/keys/versions", ". . x . . ."),
        ("GET /api/v1/keys/versions/{version}", ". . x . x ."),
        ("GET /api/v1/keys/versions/{version}/certificate", ". . x . x ."),
        ("POST /api/v1/keys/versions/{version}/disable", ". . x . . ."),
        ("POST /api/v1/keys/versions/{version}/enable", ". . x . . ."),
        ("POST /api/v1/keys/versions/{version}/destroy", ". . x . . ."),
        ("POST /api/v1/keys/versions/{version}/restore", ". . x . . ."),
        ("POST /api/v1/keys/rewrap", ". . x . . ."),
        ("GET /api/v1/keys/public", "x x x x x x"),
        ("GET /api/v1/keys/slots", ". . x . x ."),
        ("POST /api/v1/keys/slots", ". . x . . ."),
        ("DELETE /api/v1/keys/slots/{id}", ". . x . . ."),
        ("POST /api/v1/keys/slots/{id}/test", ". . x . . ."),
        ("POST /api/v1/keys/rotate-root", ". . x . . ."),
        ("POST /api/v1/keys/unlock", ". . x . . ."),
        ("GET /api/v1/seal-keys", ". . x . x ."),
        ("POST /api/v1/seal-keys", ". . x . . ."),
        ("POST /api/v1/seal-keys/rotate", ". . x . . ."),
        ("POST /api/v1/seal-keys/{name}/disable", ". . x . . ."),
        ("POST /api/v1/seal-keys/{name}/enable", ". . x . . ."),
        ("GET /api/v1/seal-keys/{name}/public", ". . x . x ."),
        ("GET /api/v1/certificate", "x x x x x x"),
        ("GET /api/v1/ca", ". . x . x ."),
        ("POST /api/v1/ca", ". . x . . ."),
        ("POST /api/v1/ca/prepare", ". . x . . ."),
        ("POST /api/v1/ca/activate", ". . x . . ."),
        ("POST /api/v1/ca/taint", ". . x . . ."),
        ("POST /api/v1/ca/revoke", ". . x . . ."),
        ("GET /api/v1/ca/bundle", "x x x x x x"),
        ("GET /api/v1/ca/crl", "x x x x x x"),
        ("GET /api/v1/ca/certificates", ". . x . x ."),
        ("POST /api/v1/ca/certificates", ". . x . . ."),
        ("POST /api/v1/ca/certificates/{id}/revoke", ". . x . . ."),
        ("POST /api/v1/certificates/renew", ". . x . . ."),
        ("GET /api/v1/certificates", ". . x . x ."),
        ("POST /api/v1/certificates", ". . x . . ."),
        ("POST /api/v1/certificates/check", ". . x . x ."),
        ("POST /api/v1/certificates/rollback", ". . x . . ."),
        ("POST /api/v1/certificates/requests", ". . x . . ."),
        ("POST /api/v1/certificates/requests/{id}", ". . x . . ."),
        ("DELETE /api/v1/certificates/requests/{id}", ". . x . . ."),
        ("GET /api/v1/backup", ". . x . x ."),
        ("POST /api/v1/backup", ". . x . . ."),
        ("GET /api/v1/backup/tombstones", ". . x . . ."),
        ("POST /api/v1/backup/{id}", ". . x . . ."),
    ];

    /// Who may use what, as a picture: one row a route, one column a role. A new route fails here
    /// until somebody has thought about each role. Planted fault: `None` for the key export.
    #[test]
    fn every_route_and_every_role() {
        let found: Vec<(String, String)> = ROUTES
            .iter()
            .map(|route| {
                let may = |held: &[Permission]| match route.needs {
                    None => "x",
                    Some(needed) if held.contains(&needed) => "x",
                    Some(_) => ".",
                };
                let mut row: Vec<&str> =
                    Role::ALL.iter().map(|role| may(role.permissions())).collect();
                row.push(may(&[]));
                (format!("{} {}", route.method, route.path), row.join(" "))
            })
            .collect();
        let wanted: Vec<(String, String)> =
            PICTURE.iter().map(|(route, row)| (route.to_string(), row.to_string())).collect();
        assert_eq!(found, wanted);
    }
}
