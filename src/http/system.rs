//! The daemon itself: status, scan, audit, tokens, public keys, certificate.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::{Grant, ManageRecordings, ManageTokens, Refused, Role, ViewAudit, ViewStatus};
use crate::clock::Timestamp;
use crate::flow::AuditFilter;

use super::extract::{Body, Params};
use super::recordings::page_limit;
use super::view::{self, AuditEntryView, Page, StatusView, TokenView};
use super::{ApiError, Services};

/// `GET /api/v1/status`
pub(super) async fn status(
    State(services): State<Services>,
    grant: Grant<ViewStatus>,
) -> Result<Json<StatusView>, ApiError> {
    let status = services.run(|engine, now| engine.status(now)).await?;
    let sees_names = grant.principal().sees_names();
    Ok(Json(StatusView::new(status, services.addresses.get(), sees_names)))
}

/// `POST /api/v1/scan`: every store is looked at now.
pub(super) async fn scan(
    State(services): State<Services>,
    _grant: Grant<ManageRecordings>,
) -> (StatusCode, Json<Value>) {
    services.bell.ring();
    (StatusCode::ACCEPTED, Json(json!({ "scan": "requested" })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Done {
    path: std::path::PathBuf,
}

/// `POST /api/v1/done`: a recorder's word that it is done with a file.
pub(super) async fn done(
    State(services): State<Services>,
    _grant: Grant<ManageRecordings>,
    Body(done): Body<Done>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let (store, folder) = services.run(move |engine, _| engine.tell_done(&done.path)).await?;
    services.bell.ring_folder(store, folder);
    Ok((StatusCode::ACCEPTED, Json(json!({ "done": "noted" }))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    from: Option<String>,
    to: Option<String>,
    activity: Option<String>,
    user: Option<String>,
    result: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/audit`: the last ten days unless told otherwise.
pub(super) async fn audit(
    State(services): State<Services>,
    grant: Grant<ViewAudit>,
    Params(query): Params<AuditQuery>,
) -> Result<Json<Page<AuditEntryView>>, ApiError> {
    let limit = page_limit(query.limit)?;
    let after = query.after.as_deref().map(view::parse_audit_cursor).transpose()?;
    let time = |text: Option<String>| match text {
        None => Ok(None),
        Some(text) => view::parse_time(&text).map(Some).ok_or_else(|| {
            ApiError::bad_request(
                "`from` and `to` are moments",
                "write 2026-11-23 or 2026-11-23T10:00:00Z",
            )
        }),
    };
    let ten_days_ago = Timestamp::from_millis(services.now().as_millis() - AUDIT_MS);
    let filter = AuditFilter {
        from: Some(time(query.from)?.unwrap_or(ten_days_ago)),
        to: time(query.to)?,
        activity: query.activity,
        user: query.user,
        result: query.result,
    };
    let mut found =
        services.run(move |e, now| e.audit(&grant, &filter, after, limit + 1, now)).await?;
    let is_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| is_more).map(|entry| view::audit_cursor(entry.seq));
    Ok(Json(Page { items: found.into_iter().map(Into::into).collect(), next }))
}

/// `GET /api/v1/tokens`
pub(super) async fn tokens(
    State(services): State<Services>,
    grant: Grant<ManageTokens>,
) -> Result<Json<Page<TokenView>>, ApiError> {
    let tokens = services.run(move |engine, _| engine.tokens(&grant)).await?;
    Ok(Json(Page { items: tokens.into_iter().map(Into::into).collect(), next: None }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    name: String,
    role: String,
    expires_in_seconds: Option<u64>,
}

/// `POST /api/v1/tokens`: the one time that the token itself is shown.
pub(super) async fn create_token(
    State(services): State<Services>,
    grant: Grant<ManageTokens>,
    Body(new): Body<NewToken>,
) -> Result<Response, ApiError> {
    let role: Role = new.role.parse().map_err(|unknown: crate::access::UnknownRole| {
        ApiError::bad_request(unknown.to_string(), "take one of these")
    })?;
    if new.name.is_empty() || new.name.chars().count() > 64 || new.name.contains(char::is_control) {
        return Err(ApiError::bad_request(
            "a token needs a name of 1 to 64 characters",
            "name it after the program that will use it",
        ));
    }
    if !grant.principal().may_give(role) {
        let held = |p: &&crate::access::Permission| !grant.principal().has(**p);
        let missing = role.permissions().iter().find(held);
        return Err(missing.map_or_else(ApiError::internal, |permission| {
            ApiError::forbidden(Refused { permission: *permission })
        }));
    }
    let (token, secret) = services
        .run(move |engine, now| {
            let expires = new.expires_in_seconds.map(|s| now.plus(Duration::from_secs(s)));
            engine.create_token(&grant, &new.name, role, expires, now)
        })
        .await?;
    let answer = json!({ "token": TokenView::from(token), "secret": secret.as_str() });
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// `DELETE /api/v1/tokens/{id}`
pub(super) async fn revoke_token(
    State(services): State<Services>,
    grant: Grant<ManageTokens>,
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Result<StatusCode, ApiError> {
    let Path(id) = path?;
    let id = id.parse().map_err(|_| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "no-such-token",
            "there is no such token",
            "list them with `recseal tokens list`",
        )
    })?;
    services.run(move |engine, now| engine.revoke_token(&grant, id, now)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/v1/keys/public`: what `audit verify` needs, for everybody.
pub(super) async fn public_keys(State(services): State<Services>) -> Response {
    let text = services.run(|engine, _| engine.public_keys()).await;
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// `GET /api/v1/certificate`: the chain that HTTPS serves, as PEM.
pub(super) async fn certificate(State(services): State<Services>) -> Response {
    let pem = services.run(|engine, _| engine.keys().tls().chain_pem()).await;
    ([(header::CONTENT_TYPE, "application/x-pem-file")], pem).into_response()
}

const AUDIT_MS: i64 = 10 * 24 * 3_600_000;
