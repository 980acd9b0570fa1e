//! Key versions: list, rotate, wrap anew, disable, destroy, certify.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access::{Grant, ManageKeys, ViewKeys};
use crate::clock::Timestamp;
use crate::flow::{DestroyWhen, KeyVersionDetail, KeysStatus, RewrapStep};

use super::extract::Body;
use super::view::{self, Page};
use super::{ApiError, Services};

/// The keys in `status`.
#[derive(Serialize)]
pub(super) struct KeysView {
    versions: usize,
    active_version: u32,
    active_age_seconds: u64,
    next_rotation_at: Option<String>,
    rewrap: RewrapView,
}

#[derive(Serialize)]
struct RewrapView {
    pending: u64,
    failed: u64,
    per_second: u64,
    eta_seconds: Option<u64>,
}

impl From<KeysStatus> for KeysView {
    fn from(keys: KeysStatus) -> Self {
        Self {
            versions: keys.versions.len(),
            active_version: keys.active_version,
            active_age_seconds: keys.active_age.as_secs(),
            next_rotation_at: keys.next_rotation_at.map(|moment| moment.to_string()),
            rewrap: RewrapView {
                pending: keys.rewrap_pending,
                failed: keys.rewrap_failed,
                per_second: keys.rewrap_per_second,
                eta_seconds: keys.rewrap_eta_seconds,
            },
        }
    }
}

#[derive(Serialize)]
pub(super) struct KeyVersionView {
    version: u32,
    state: &'static str,
    compromised: bool,
    recordings: u64,
    created_at: String,
    retired_at: Option<String>,
    destroy_at: Option<String>,
    destroyed_at: Option<String>,
    fingerprint: Option<String>,
}

impl From<KeyVersionDetail> for KeyVersionView {
    fn from(detail: KeyVersionDetail) -> Self {
        let time = |millis: i64| Timestamp::from_millis(millis).to_string();
        let info = detail.info;
        let hex = |bytes: [u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            version: info.version,
            state: info.state.as_str(),
            compromised: info.compromised,
            recordings: detail.recordings,
            created_at: time(info.created_ms),
            retired_at: info.retired_ms.map(time),
            destroy_at: info.destroy_at_ms.map(time),
            destroyed_at: info.destroyed_ms.map(time),
            fingerprint: detail.fingerprint.map(hex),
        }
    }
}

/// The version named in the path.
type Version = Result<Path<u32>, axum::extract::rejection::PathRejection>;

/// `GET /api/v1/keys/versions`: all of them on one page; there are few.
pub(super) async fn list(
    State(services): State<Services>,
    grant: Grant<ViewKeys>,
) -> Result<Json<Page<KeyVersionView>>, ApiError> {
    let versions = services.run(move |engine, _| engine.key_versions(&grant)).await?;
    Ok(Json(Page { items: versions.into_iter().map(Into::into).collect(), next: None }))
}

/// `GET /api/v1/keys/versions/{version}`
pub(super) async fn show(
    State(services): State<Services>,
    grant: Grant<ViewKeys>,
    version: Version,
) -> Result<Json<KeyVersionView>, ApiError> {
    let Path(version) = version?;
    let versions = services.run(move |engine, _| engine.key_versions(&grant)).await?;
    let found = versions.into_iter().find(|detail| detail.info.version == version);
    let unknown = keymanager::KeyError::UnknownVersion { version };
    found
        .map(|detail| Json(detail.into()))
        .ok_or_else(|| crate::flow::FlowError::Keys(unknown).into())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    #[serde(default)]
    compromised: bool,
}

/// `POST /api/v1/keys/versions`: a new one takes over at once.
pub(super) async fn rotate(
    State(services): State<Services>,
    grant: Grant<ManageKeys>,
    Body(rotation): Body<Rotation>,
) -> Result<Json<Value>, ApiError> {
    let is_compromised = rotation.compromised;
    let version =
        services.run(move |engine, now| engine.rotate_keys(&grant, is_compromised, now)).await?;
    Ok(Json(json!({ "version": version, "state": "active" })))
}

#[derive(Serialize)]
pub(super) struct StepView {
    moved: u64,
    pending: u64,
    failed: u64,
    done: bool,
}

impl From<RewrapStep> for StepView {
    fn from(step: RewrapStep) -> Self {
        let RewrapStep { moved, pending, failed, is_done } = step;
        Self { moved, pending, failed, done: is_done }
    }
}

/// `POST /api/v1/keys/rewrap`: one batch now. The daemon goes on by itself; who wants to wait for
/// the end asks again until `done`.
pub(super) async fn rewrap(
    State(services): State<Services>,
    _grant: Grant<ManageKeys>,
) -> Result<Json<StepView>, ApiError> {
    let step = services.run(|engine, now| engine.rewrap_step(now)).await?;
    Ok(Json(step.into()))
}

/// `POST /api/v1/keys/versions/{version}/disable`
pub(super) async fn disable(
    State(services): State<Services>,
    grant: Grant<ManageKeys>,
    version: Version,
) -> Result<Json<Value>, ApiError> {
    let Path(version) = version?;
    services.run(move |engine, now| engine.disable_key(&grant, version, now)).await?;
    Ok(Json(json!({ "version": version, "state": "disabled" })))
}

/// `POST /api/v1/keys/versions/{version}/enable`
pub(super) async fn enable(
    State(services): State<Services>,
    grant: Grant<ManageKeys>,
    version: Version,
) -> Result<Json<Value>, ApiError> {
    let Path(version) = version?;
    services.run(move |engine, now| engine.enable_key(&grant, version, now)).await?;
    Ok(Json(json!({ "version": version, "state": "retired" })))
}

/// `POST /api/v1/keys/versions/{version}/restore`: the date is taken back.
pub(super) async fn restore(
    State(services): State<Services>,
    grant: Grant<ManageKeys>,
    version: Version,
) -> Result<Json<Value>, ApiError> {
    let Path(version) = version?;
    services.run(move |engine, now| engine.restore_key(&grant, version, now)).await?;
    Ok(Json(json!({ "version": version, "state": "disabled" })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DestroyBody {
    /// A date; without it and without `now`, after the configured time.
    at: Option<String>,
    #[serde(default)]
    now: bool,
    /// With `now`: the version once more, because there is no way back.
    confirm: Option<u32>,
    reason: Option<String>,
}

/// `POST /api/v1/keys/versions/{version}/destroy`
pub(super) async fn destroy(
    State(services): State<Services>,
    grant: Grant<ManageKeys>,
    version: Version,
    Body(body): Body<DestroyBody>,
) -> Result<Json<Value>, ApiError> {
    let Path(version) = version?;
    let when = body.when(version)?;
    let reason = body.reason.unwrap_or_else(|| "not given".to_owned());
    let work = move |engine: &crate::flow::Engine, now| {
        let tombstone = engine.destroy_key_version(&grant, version, when, &reason, now)?;
        let versions = engine.keys().versions();
        Ok::<_, crate::flow::FlowError>((tombstone, versions))
    };
    let (tombstone, versions) = services.run(work).await?;
    let info = versions.into_iter().find(|info| info.version == version);
    let time = |millis: i64| Timestamp::from_millis(millis).to_string();
    Ok(Json(json!({
        "version": version,
        "state": info.map(|info| info.state.as_str()),
        "destroy_at": info.and_then(|info| info.destroy_at_ms).map(time),
        "certificate": tombstone.map(|tombstone| tombstone.to_text()),
    })))
}

impl DestroyBody {
    fn when(&self, version: u32) -> Result<DestroyWhen, ApiError> {
        match (&self.at, self.now) {
            (None, false) => Ok(DestroyWhen::Later),
            (Some(text), false) => view::parse_time(text).map(DestroyWhen::At).ok_or_else(|| {
                ApiError::bad_request(
                    "`at` is a moment",
                    "write 2027-01-31 or 2027-01-31T10:00:00Z",
                )
            }),
            (None, true) if self.confirm == Some(version) => Ok(DestroyWhen::Now),
            (None, true) => Err(ApiError::bad_request(
                "destroying now takes the number of the version in `confirm`",
                "without `now` there is time to think again",
            )),
            (Some(_), true) => {
                Err(ApiError::bad_request("`at` and `now` contradict each other", "take one"))
            }
        }
    }
}

/// `GET /api/v1/keys/versions/{version}/certificate`: that it was destroyed, signed.
pub(super) async fn certificate(
    State(services): State<Services>,
    grant: Grant<ViewKeys>,
    version: Version,
) -> Result<Response, ApiError> {
    let Path(version) = version?;
    let text = services.run(move |engine, _| engine.key_certificate(&grant, version)).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
