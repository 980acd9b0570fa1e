//! Recordings: list, facts, verification, key, release.

use std::path::PathBuf;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::access::{ExportKey, Grant, ListRecordings, ManageRecordings, VerifyMedia};
use crate::flow::{RecordingFilter, Verified};

use super::extract::{Id, Params};
use super::media::stream_permit;
use super::view::{self, Page, RecordingView};
use super::{ApiError, Services, progress};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    state: Option<String>,
    store: Option<PathBuf>,
    after: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/recordings`
pub(super) async fn list(
    State(services): State<Services>,
    grant: Grant<ListRecordings>,
    Params(query): Params<ListQuery>,
) -> Result<Json<Page<RecordingView>>, ApiError> {
    let limit = page_limit(query.limit)?;
    let state = query.state.as_deref().map(|word| {
        view::parse_state(word).ok_or_else(|| {
            ApiError::bad_request(
                "there is no such state",
                "take available, planned_for_deletion, deleted, quarantined or waiting",
            )
        })
    });
    let filter = RecordingFilter { state: state.transpose()?, store: query.store };
    let after = query.after.as_deref().map(view::parse_recording_cursor).transpose()?;
    let sees_names = grant.principal().sees_names();
    // One more than asked for tells whether there is a next page.
    let mut found =
        services.run(move |e, _| e.recordings(&grant, &filter, after, limit + 1)).await?;
    let is_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| is_more).map(|d| view::recording_cursor(d.recording.id));
    let items = found.into_iter().map(|detail| RecordingView::new(detail, sees_names)).collect();
    Ok(Json(Page { items, next }))
}

/// `GET /api/v1/recordings/{id}`
pub(super) async fn show(
    State(services): State<Services>,
    grant: Grant<ListRecordings>,
    Id(id): Id,
) -> Result<Json<RecordingView>, ApiError> {
    let sees_names = grant.principal().sees_names();
    let detail = services.run(move |engine, _| engine.recording(&grant, id)).await?;
    Ok(Json(RecordingView::new(detail, sees_names)))
}

/// The answer to a verification.
#[derive(Serialize)]
pub(super) struct VerifiedView {
    recording: String,
    verified: bool,
    files: u64,
    plain_bytes: u64,
}

impl From<Verified> for VerifiedView {
    fn from(verified: Verified) -> Self {
        Self {
            recording: verified.recording.to_string(),
            verified: true,
            files: verified.files,
            plain_bytes: verified.plain_bytes,
        }
    }
}

/// `POST /api/v1/recordings/{id}/verify`, with lines of progress for those who accept them.
pub(super) async fn verify(
    State(services): State<Services>,
    grant: Grant<VerifyMedia>,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let permit = stream_permit(&services)?;
    progress::answer(&services, progress::is_wanted(&headers), move |engine, watch, now| {
        let _permit = permit;
        Ok(VerifiedView::from(engine.verify(&grant, id, watch, now)?))
    })
    .await
}

/// `POST /api/v1/recordings/{id}/key`: the text of a key file, for offline opening.
pub(super) async fn export_key(
    State(services): State<Services>,
    grant: Grant<ExportKey>,
    Id(id): Id,
) -> Result<Response, ApiError> {
    let text = services.run(move |engine, now| engine.export_key(&grant, id, now)).await?;
    let body = axum::body::Bytes::from_owner(SecretText(text));
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response())
}

/// `POST /api/v1/recordings/{id}/release`
pub(super) async fn release(
    State(services): State<Services>,
    grant: Grant<ManageRecordings>,
    Id(id): Id,
) -> Result<Json<serde_json::Value>, ApiError> {
    services.run(move |engine, now| engine.release(&grant, id, now)).await?;
    Ok(Json(serde_json::json!({ "recording": id.to_string(), "released": true })))
}

/// Wiped when it was sent.
pub(super) struct SecretText(pub(super) zeroize::Zeroizing<String>);

impl AsRef<[u8]> for SecretText {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Items on a page: 100 unless told, at most [`PAGE_ITEMS_MAX`].
pub(super) fn page_limit(limit: Option<usize>) -> Result<usize, ApiError> {
    match limit.unwrap_or(100) {
        limit @ 1..=PAGE_ITEMS_MAX => Ok(limit),
        _ => Err(ApiError::bad_request(
            "`limit` is out of bounds",
            format!("take 1 to {PAGE_ITEMS_MAX}"),
        )),
    }
}

const PAGE_ITEMS_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_bounded() {
        for (limit, taken) in
            [(None, Some(100)), (Some(1), Some(1)), (Some(500), Some(500)), (Some(0), None)]
        {
            assert_eq!(page_limit(limit).ok(), taken);
        }
        assert!(page_limit(Some(501)).is_err());
    }
}
