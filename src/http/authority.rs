//! The internal certificate authority: what it is, what it issued, and changing both.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use keymanager::{AuthorityError, IssuedInfo, IssuingInfo, RevocationReason, UnknownReason};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access::{Grant, ManageCertificates, ViewKeys};
use crate::clock::Timestamp;
use crate::flow::AuthorityView;

use super::extract::Body;
use super::view::Page;
use super::{ApiError, Services};

#[derive(Serialize)]
pub(super) struct AuthorityDocument {
    issuing: Vec<IssuingDocument>,
    issued: usize,
    revoked: usize,
}

#[derive(Serialize)]
struct IssuingDocument {
    number: u32,
    root: u32,
    state: &'static str,
    not_before: String,
    not_after: String,
    prepare_at: String,
    activate_at: String,
    crl_until: Option<String>,
}

#[derive(Serialize)]
pub(super) struct IssuedDocument {
    serial: String,
    name: String,
    kind: String,
    issuer: u32,
    sha256: String,
    issued_at: String,
    not_after: String,
    revoked_at: Option<String>,
    reason: Option<&'static str>,
}

impl From<IssuingInfo> for IssuingDocument {
    fn from(info: IssuingInfo) -> Self {
        Self {
            number: info.number,
            root: info.root,
            state: info.state.as_str(),
            not_before: time(info.not_before_ms),
            not_after: time(info.not_after_ms),
            prepare_at: time(info.prepare_ms),
            activate_at: time(info.activate_ms),
            crl_until: info.crl_until_ms.map(time),
        }
    }
}

impl From<IssuedInfo> for IssuedDocument {
    fn from(info: IssuedInfo) -> Self {
        Self {
            serial: info.serial,
            name: info.name,
            kind: info.kind,
            issuer: info.issuer,
            sha256: info.sha256,
            issued_at: time(info.issued_ms),
            not_after: time(info.not_after_ms),
            revoked_at: info.revoked.map(|(at_ms, _)| time(at_ms)),
            reason: info.revoked.map(|(_, reason)| reason.as_str()),
        }
    }
}

/// `GET /api/v1/ca`
pub(super) async fn show(
    State(services): State<Services>,
    grant: Grant<ViewKeys>,
) -> Json<AuthorityDocument> {
    let AuthorityView { issuing, issued, revoked } =
        services.run(move |engine, _| engine.authority(&grant)).await;
    let issuing = issuing.into_iter().map(Into::into).collect();
    Json(AuthorityDocument { issuing, issued, revoked })
}

/// `POST /api/v1/ca`: makes one.
pub(super) async fn create(
    State(services): State<Services>,
    grant: Grant<ManageCertificates>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    services.run(move |engine, now| engine.create_authority(&grant, now)).await?;
    Ok((StatusCode::CREATED, Json(json!({ "created": true }))))
}

/// `POST /api/v1/ca/prepare`
pub(super) async fn prepare(
    State(services): State<Services>,
    grant: Grant<ManageCertificates>,
) -> Result<Json<Value>, ApiError> {
    let number = services.run(move |engine, now| engine.prepare_authority(&grant, now)).await?;
    Ok(Json(json!({ "prepared": number })))
}

/// `POST /api/v1/ca/activate`
pub(super) async fn activate(
    State(services): State<Services>,
    grant: Grant<ManageCertificates>,
) -> Result<Json<Value>, ApiError> {
    let number = services.run(move |engine, now| engine.activate_authority(&grant, now)).await?;
    Ok(Json(json!({ "active": number })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    number: u32,
}

/// `POST /api/v1/ca/taint`
pub(super) async fn taint(
    State(services): State<Services>,
    grant: Grant<ManageCertificates>,
    Body(Which { number }): Body<Which>,
) -> Result<Json<Value>, ApiError> {
    let active =
        services.run(move |engine, now| engine.taint_authority(&grant, number, now)).await?;
    Ok(Json(json!({ "tainted": number, "active": active })))
}

/// `POST /api/v1/ca/revoke`: open connections of its clients end with it.
pub(super) async fn revoke_authority(
    State(services): State<Services>,
    grant: Grant<ManageCertificates>,
    Body(Which { number }): Body<Which>,
) -> Result<Json<Value>, ApiError> {
    services.run(move |engine, now| engine.revoke_authority(&grant, number, now)).await?;
    let ended = end_refused(&services).await;
    Ok(Json(json!({ "revoked": number, "connections_ended": ended })))
}

/// `GET /api/v1/ca/bundle`: the roots to trust, as PEM, for everybody.
pub(super) async fn bundle(State(services): State<Services>) -> Result<Response, ApiError> {
    let pem = services.run(|engine, _| engine.keys().authority_bundle_pem()).await;
    public(pem, "application/x-pem-file")
}

/// `GET /api/v1/ca/crl`: the revocation lists, as PEM, for everybody.
pub(super) async fn crl(State(services): State<Services>) -> Result<Response, ApiError> {
    let pem = services.run(|engine, _| engine.keys().authority_crl_pem()).await;
    public(pem, "application/x-pem-file")
}

/// `GET /api/v1/ca/certificates`
pub(super) async fn issued(
    State(services): State<Services>,
    grant: Grant<ViewKeys>,
) -> Json<Page<IssuedDocument>> {
    let issued = services.run(move |engine, _| engine.issued_certificates(&grant)).await;
    Json(Page { items: issued.into_iter().map(Into::into).collect(), next: None })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewClient {
    name: String,
    /// A signing request as PEM; without one a key is made here.
    csr: Option<String>,
    lifetime_seconds: Option<u64>,
}

/// `POST /api/v1/ca/certificates`: the one time that a key made here is shown.
pub(super) async fn issue(
    State(services): State<Services>,
    grant: Grant<ManageCertificates>,
    Body(new): Body<NewClient>,
) -> Result<Response, ApiError> {
    let lifetime = new.lifetime_seconds.map_or(LIFETIME, Duration::from_secs);
    let issued = services
        .run(move |engine, now| {
            let request = new.csr.as_deref().map(str::as_bytes);
            engine.issue_client(&grant, &new.name, request, lifetime, now)
        })
        .await?;
    let answer =
        json!({ "certificate": IssuedDocument::from(issued.info), "pem": issued.bundle.as_str() });
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    reason: Option<String>,
}

/// `POST /api/v1/ca/certificates/{id}/revoke`: open connections that showed it end at once.
pub(super) async fn revoke(
    State(services): State<Services>,
    grant: Grant<ManageCertificates>,
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
    Body(revocation): Body<Revocation>,
) -> Result<Json<Value>, ApiError> {
    let Path(serial) = path?;
    let reason = revocation.reason.as_deref().map_or(Ok(RevocationReason::default()), str::parse);
    let reason = reason.map_err(|unknown: UnknownReason| {
        ApiError::bad_request(unknown.to_string(), "take one of these")
    })?;
    let info = services
        .run(move |engine, now| engine.revoke_certificate(&grant, &serial, reason, now))
        .await?;
    let ended = end_refused(&services).await;
    let certificate = IssuedDocument::from(info);
    Ok(Json(json!({ "certificate": certificate, "connections_ended": ended })))
}

/// Ends the open connections whose certificate is not accepted any more.
async fn end_refused(services: &Services) -> usize {
    let connections = services.connections();
    services
        .run(move |engine, now| connections.end_unless(|shown| engine.is_accepted(shown, now)))
        .await
}

fn public(pem: Option<String>, content_type: &'static str) -> Result<Response, ApiError> {
    let pem = pem.ok_or_else(|| refused(&AuthorityError::None))?;
    Ok(([(header::CONTENT_TYPE, content_type)], pem).into_response())
}

/// What the authority refuses, as the caller sees it.
pub(super) fn refused(error: &AuthorityError) -> ApiError {
    use AuthorityError as E;
    let (status, code) = match error {
        E::None => (StatusCode::NOT_FOUND, "no-authority"),
        E::Unknown { .. } => (StatusCode::NOT_FOUND, "no-such-authority"),
        E::UnknownSerial => (StatusCode::NOT_FOUND, "no-such-certificate"),
        E::Exists => (StatusCode::CONFLICT, "authority-exists"),
        E::AlreadyPrepared { .. } => (StatusCode::CONFLICT, "already-prepared"),
        E::NonePrepared => (StatusCode::CONFLICT, "none-prepared"),
        E::WrongState { .. } => (StatusCode::CONFLICT, "wrong-state"),
        E::AlreadyRevoked => (StatusCode::CONFLICT, "already-revoked"),
        E::LedgerFull { .. } => (StatusCode::CONFLICT, "ledger-full"),
        E::BadClientName { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "bad-client-name"),
        E::BadLifetime { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "bad-lifetime"),
        E::RequestDamaged => (StatusCode::UNPROCESSABLE_ENTITY, "request-damaged"),
        E::RequestKey => (StatusCode::UNPROCESSABLE_ENTITY, "request-key"),
    };
    ApiError::new(status, code, error.to_string(), error.hint())
}

fn time(ms: i64) -> String {
    Timestamp::from_millis(ms).to_string()
}

/// A client's certificate lives this long unless asked otherwise.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
