//! The doors while the keys are locked: health says so, and the unix socket takes what unlocks.
//!
//! ```text
//! unix socket ─▶ /api/v1/status       ready false, warning keys-locked
//!             ─▶ /api/v1/keys/unlock  passphrase or shares, by root or the daemon's own user
//!             ─▶ anything else        503 keys-locked
//! health      ─▶ /livez 200, /readyz 503, /metrics recseal_key_sealed 1
//! ```
//!
//! # Invariants
//!
//! - Nothing but the folder of the keys is touched: recordings stay where they are.
//! - One attempt at a time; a wrong one changes nothing and counts for nothing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use keymanager::{KeyError, KeyManager, SlotInfo, Surroundings, Unlock};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::access::{ManageKeys, Principal, authorize};
use crate::clock::{Clock, Timestamp};
use crate::daemon::pool::WorkPool;
use crate::flow::Unlocked;
use crate::telemetry::{METRICS_CONTENT_TYPE, Metrics};

use super::listen::Peer;
use super::slots::{SlotView, key_error, parse_shares, secret, secrets};
use super::view::time;
use super::{ApiError, chain, guard};

/// What the locked doors know. Cheap to clone.
#[derive(Clone)]
pub struct LockedDoor {
    inner: Arc<Inner>,
}

struct Inner {
    keys_folder: PathBuf,
    surroundings: Surroundings,
    daemon_uid: u32,
    clock: Clock,
    started_at: Timestamp,
    health: SocketAddr,
    pool: WorkPool,
    /// Status answers while an attempt goes on.
    status_pool: WorkPool,
    opened: mpsc::Sender<(KeyManager, Unlocked)>,
    attempts: Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    is_open: bool,
    /// Why no unattended slot opens, as of the last attempt.
    why: String,
    refused: Vec<(Principal, Timestamp)>,
}

impl LockedDoor {
    /// A door to the keys in `keys_folder`, locked because of `why`, with the address of the
    /// health listener. Once they open they come out of the receiver, with who did it.
    pub fn new(
        keys_folder: PathBuf,
        surroundings: Surroundings,
        daemon_uid: u32,
        clock: Clock,
        health: SocketAddr,
        why: &KeyError,
    ) -> (Self, mpsc::Receiver<(KeyManager, Unlocked)>) {
        let (opened, receiver) = mpsc::channel(1);
        let inner = Inner {
            keys_folder,
            surroundings,
            daemon_uid,
            started_at: clock.now(),
            health,
            clock,
            pool: WorkPool::new(1),
            status_pool: WorkPool::new(2),
            opened,
            attempts: Mutex::new(Attempts { why: why.to_string(), ..Attempts::default() }),
        };
        (Self { inner: Arc::new(inner) }, receiver)
    }

    /// Tries the unattended slots once more: a token may be back.
    ///
    /// # Errors
    ///
    /// As [`KeyManager::open`]; the keys stay locked.
    pub async fn retry(&self) -> Result<(), KeyError> {
        let unlock = Unlock::Unattended(self.inner.surroundings.clone());
        self.attempt(unlock, None, "unattended").await
    }

    /// Opens the keys, unless they are open.
    async fn attempt(
        &self,
        unlock: Unlock,
        by: Option<Principal>,
        with: &'static str,
    ) -> Result<(), KeyError> {
        let inner = Arc::clone(&self.inner);
        self.inner.pool.run(move || inner.attempt(&unlock, by, with)).await
    }
}

impl Inner {
    fn attempt(
        &self,
        unlock: &Unlock,
        by: Option<Principal>,
        with: &'static str,
    ) -> Result<(), KeyError> {
        if self.attempts().is_open {
            return Ok(());
        }
        let opened = KeyManager::open(&self.keys_folder, unlock);
        let mut attempts = self.attempts();
        match opened {
            Ok(keys) => {
                attempts.is_open = true;
                let refused = std::mem::take(&mut attempts.refused);
                // Nobody listens any more only if the daemon is about to end.
                let _ = self.opened.try_send((keys, Unlocked { by, with, refused }));
                Ok(())
            }
            Err(error) => {
                match by {
                    Some(who) if attempts.refused.len() < REFUSED_MAX => {
                        attempts.refused.push((who, self.clock.now()));
                    }
                    Some(_) => {}
                    None => attempts.why = error.to_string(),
                }
                Err(error)
            }
        }
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        // Each field is whole at every moment.
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> Value {
        let slots = KeyManager::slots_of(&self.keys_folder).unwrap_or_default();
        let warning = json!({
            "code": "keys-locked",
            "message": format!("the keys are locked, {}", self.attempts().why),
            "hint": hint(&slots),
        });
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "ready": false,
            "sealed_keys": true,
            "started_at": time(self.started_at),
            "recordings": {},
            "stores": [],
            "listen": { "health": self.health },
            "slots": slots.into_iter().map(SlotView::from).collect::<Vec<_>>(),
            "warnings": [warning],
        })
    }
}

/// What to do, by what there is to open them with.
fn hint(slots: &[SlotInfo]) -> &'static str {
    if slots.iter().any(|slot| slot.is_recovery) {
        "run `recseal keys unlock` on the host; recordings stay where they are until then"
    } else {
        "there is no recovery slot: bring back root.key, the credential, token or command; it is \
         tried again by itself"
    }
}

/// The router of the unix socket.
pub fn api(door: LockedDoor) -> Router {
    let router = Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/keys/unlock", post(unlock));
    finish(router, door)
}

/// The router of the health listener.
pub fn health(door: LockedDoor) -> Router {
    let not_ready = (StatusCode::SERVICE_UNAVAILABLE, "[-]keys failed\nkeys are locked\n");
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(async move || not_ready))
        .route("/metrics", get(metrics));
    finish(router, door)
}

fn finish(router: Router<LockedDoor>, door: LockedDoor) -> Router {
    router
        .fallback(locked)
        .method_not_allowed_fallback(locked)
        .layer(axum::extract::DefaultBodyLimit::max(super::BODY_BYTES_MAX))
        .layer(from_fn(guard::harden))
        .with_state(door)
}

async fn metrics() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], Metrics::render_locked())
}

async fn locked() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "keys-locked",
        "the keys are locked, so nothing can be done yet",
        "`recseal status` says why, `recseal keys unlock` on the host opens them",
    )
}

async fn status(State(door): State<LockedDoor>) -> Json<Value> {
    let inner = Arc::clone(&door.inner);
    Json(door.inner.status_pool.run(move || inner.status()).await)
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Brought {
    #[serde(deserialize_with = "some_secret")]
    passphrase: Option<Zeroizing<String>>,
    #[serde(deserialize_with = "secrets")]
    shares: Vec<Zeroizing<String>>,
}

fn some_secret<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<Zeroizing<String>>, D::Error> {
    secret(from).map(Some)
}

/// `POST /api/v1/keys/unlock`: an empty object tries the unattended slots once more.
async fn unlock(
    State(door): State<LockedDoor>,
    peer: Option<Extension<Peer>>,
    body: Result<Json<Brought>, JsonRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Some(Extension(Peer::Local { uid })) = peer else {
        return Err(ApiError::unauthenticated());
    };
    let principal = Principal::local(uid, door.inner.daemon_uid);
    if let Err(refused) = authorize::<ManageKeys>(&principal) {
        tracing::warn!(uid, "refused to unlock the keys for this user");
        return Err(ApiError::forbidden(refused));
    }
    let Json(brought) = body?;
    let (unlock, with) = match (brought.passphrase, brought.shares) {
        (Some(passphrase), shares) if shares.is_empty() => {
            (Unlock::Passphrase(passphrase), "passphrase")
        }
        (None, shares) if shares.is_empty() => {
            (Unlock::Unattended(door.inner.surroundings.clone()), "unattended")
        }
        (None, shares) if shares.len() <= SHARES_MAX => {
            (Unlock::Shares(parse_shares(&shares)?), "shares")
        }
        _ => {
            return Err(ApiError::bad_request(
                "one passphrase or the shares of one set unlock the keys",
                "give one or the other",
            ));
        }
    };
    let by = (with != "unattended").then_some(principal);
    match door.attempt(unlock, by, with).await {
        Ok(()) => Ok(Json(json!({ "unlocked": true, "were_open": false }))),
        Err(error) => {
            tracing::warn!(uid, with, error = chain(&error), "the keys stay locked");
            Err(key_error(error))
        }
    }
}

/// Refused attempts that are kept for the audit trail.
const REFUSED_MAX: usize = 64;
const SHARES_MAX: usize = 64;
