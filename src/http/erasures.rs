//! Erasures: planned, ordered, agreed to, watched, steered, made final.

mod events;
mod order;
mod view;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::{ApproveErasures, Grant, ManageErasures, ManageKeys, ViewErasures};
use crate::catalog::ItemFilter;
use crate::compliance::erasure::certificate::{
    hexadecimal, html, parse_with_finality, with_finality,
};
use crate::domain::JobId;
use crate::flow::{DestroyWhen, JobControl};

use super::extract::{Body, Id, Params};
use super::recordings::page_limit;
use super::view::{self as words, Page};
use super::{ApiError, Services};

pub(super) use events::{Feed, events};
pub(super) use order::{InFlight, ORDER_BYTES_MAX, order, parse_ids, plan};
pub(super) use view::{AmountView, ErasureView, PlanView, ProtectionView};
use view::{ItemView, JobView};

/// The job named in a path.
type Job = Result<Path<String>, PathRejection>;

fn job_in(path: Job) -> Result<JobId, ApiError> {
    let Path(text) = path?;
    text.parse().map_err(|_| {
        ApiError::bad_request("this is not the id of an erasure", "`recseal erase list` shows them")
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    after: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/erasures`: newest first.
pub(super) async fn list(
    State(services): State<Services>,
    grant: Grant<ViewErasures>,
    Params(query): Params<ListQuery>,
) -> Result<Json<Page<JobView>>, ApiError> {
    let limit = page_limit(query.limit)?;
    let after = query.after.as_deref().map(|text| words::parse_cursor('j', text)).transpose()?;
    let before = after.map(JobId);
    let mut found =
        services.run(move |e, now| e.erasure_jobs(&grant, before, limit + 1, now)).await?;
    let is_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| is_more).map(|one| words::cursor('j', one.job.id.0));
    Ok(Json(Page { items: found.into_iter().map(Into::into).collect(), next }))
}

/// `GET /api/v1/erasures/status`
pub(super) async fn status(
    State(services): State<Services>,
    _grant: Grant<ViewErasures>,
) -> Result<Json<ErasureView>, ApiError> {
    Ok(Json(services.run(|engine, now| engine.erasure_status(now)).await?.into()))
}

/// `GET /api/v1/erasures/{id}`
pub(super) async fn show(
    State(services): State<Services>,
    grant: Grant<ViewErasures>,
    job: Job,
) -> Result<Json<JobView>, ApiError> {
    let id = job_in(job)?;
    Ok(Json(services.run(move |engine, now| engine.erasure_job(&grant, id, now)).await?.into()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ItemsQuery {
    only: Option<Only>,
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Only {
    Blocked,
    Failing,
}

/// `GET /api/v1/erasures/{id}/items`
pub(super) async fn items(
    State(services): State<Services>,
    grant: Grant<ViewErasures>,
    job: Job,
    Params(query): Params<ItemsQuery>,
) -> Result<Json<Page<ItemView>>, ApiError> {
    let (id, limit) = (job_in(job)?, page_limit(query.limit)?);
    let filter = match query.only {
        None => ItemFilter::All,
        Some(Only::Blocked) => ItemFilter::Blocked,
        Some(Only::Failing) => ItemFilter::Failing,
    };
    let after = query.after.as_deref().map(words::parse_recording_cursor).transpose()?;
    let mut found =
        services.run(move |e, _| e.erasure_items(&grant, id, filter, after, limit + 1)).await?;
    let is_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| is_more).map(|i| words::recording_cursor(i.recording));
    Ok(Json(Page { items: found.into_iter().map(Into::into).collect(), next }))
}

/// `POST /api/v1/erasures/{id}/approve`: the second person.
pub(super) async fn approve(
    State(services): State<Services>,
    grant: Grant<ApproveErasures>,
    job: Job,
) -> Result<Json<JobView>, ApiError> {
    let id = job_in(job)?;
    let work = move |engine: &crate::flow::Engine, now| engine.approve_erasure(&grant, id, now);
    Ok(Json(services.run(work).await?.into()))
}

/// `POST /api/v1/erasures/{id}/pause`
pub(super) async fn pause_one(
    services: State<Services>,
    grant: Grant<ManageErasures>,
    job: Job,
) -> Result<Json<JobView>, ApiError> {
    control(services, grant, job, JobControl::Pause).await
}

/// `POST /api/v1/erasures/{id}/resume`
pub(super) async fn resume_one(
    services: State<Services>,
    grant: Grant<ManageErasures>,
    job: Job,
) -> Result<Json<JobView>, ApiError> {
    control(services, grant, job, JobControl::Resume).await
}

/// `POST /api/v1/erasures/{id}/cancel`: what was begun is finished, the rest is taken back.
pub(super) async fn cancel(
    services: State<Services>,
    grant: Grant<ManageErasures>,
    job: Job,
) -> Result<Json<JobView>, ApiError> {
    control(services, grant, job, JobControl::Cancel).await
}

async fn control(
    State(services): State<Services>,
    grant: Grant<ManageErasures>,
    job: Job,
    control: JobControl,
) -> Result<Json<JobView>, ApiError> {
    let id = job_in(job)?;
    let job = services.run(move |e, now| e.control_erasure(&grant, id, control, now)).await?;
    Ok(Json(job.into()))
}

/// `POST /api/v1/erasures/pause`: the whole queue, over a restart too.
pub(super) async fn pause(
    State(services): State<Services>,
    grant: Grant<ManageErasures>,
) -> Result<Json<Value>, ApiError> {
    services.run(move |engine, now| engine.pause_erasures(&grant, true, now)).await?;
    Ok(Json(json!({ "paused": true })))
}

/// `POST /api/v1/erasures/resume`
pub(super) async fn resume(
    State(services): State<Services>,
    grant: Grant<ManageErasures>,
) -> Result<Json<Value>, ApiError> {
    services.run(move |engine, now| engine.pause_erasures(&grant, false, now)).await?;
    Ok(Json(json!({ "paused": false })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    bytes_per_second: u64,
}

/// `PUT /api/v1/erasures/limit`: 0 is no limit; over a restart too.
pub(super) async fn limit(
    State(services): State<Services>,
    grant: Grant<ManageErasures>,
    Body(limit): Body<Limit>,
) -> Result<Json<Value>, ApiError> {
    let rate = limit.bytes_per_second;
    services.run(move |engine, now| engine.limit_erasures(&grant, rate, now)).await?;
    Ok(Json(json!({ "limit_bytes_per_second": rate })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Finalize {
    /// A date; without it and without `now`, after the configured time.
    at: Option<String>,
    #[serde(default)]
    now: bool,
    /// With `now`: `"destroy"`, because there is no way back.
    confirm: Option<String>,
}

impl Finalize {
    fn when(&self) -> Result<DestroyWhen, ApiError> {
        match (&self.at, self.now) {
            (None, false) => Ok(DestroyWhen::Later),
            (Some(text), false) => words::parse_time(text).map(DestroyWhen::At).ok_or_else(|| {
                ApiError::bad_request(
                    "`at` is a moment",
                    "write 2027-01-31 or 2027-01-31T10:00:00Z",
                )
            }),
            (None, true) if self.confirm.as_deref() == Some("destroy") => Ok(DestroyWhen::Now),
            (None, true) => Err(ApiError::bad_request(
                "destroying key versions now takes `confirm`: \"destroy\"",
                "without `now` there is time to think again",
            )),
            (Some(_), true) => {
                Err(ApiError::bad_request("`at` and `now` contradict each other", "take one"))
            }
        }
    }
}

/// `POST /api/v1/erasures/finalize`: what is left to do for certificates to become final.
pub(super) async fn finalize(
    State(services): State<Services>,
    grant: Grant<ManageKeys>,
    Body(body): Body<Finalize>,
) -> Result<Json<Value>, ApiError> {
    let when = body.when()?;
    let done = services.run(move |engine, now| engine.finalize_erasures(&grant, when, now)).await?;
    Ok(Json(json!({
        "rotated_to": done.rotated_to,
        "scheduled": done.scheduled,
        "still_needed": done.still_needed,
        "waiting_for_backups": done.waiting_for_backups,
        "not_final": done.open,
        "final_now": done.final_now,
    })))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CertificateQuery {
    format: Format,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// As it was signed, with its finality behind it: what `certificate verify` reads.
    #[default]
    Text,
    /// A page to print.
    Html,
    /// Facts about it, and both texts.
    Json,
}

/// `GET /api/v1/recordings/{id}/certificate`: what was seen of its end, signed.
pub(super) async fn certificate(
    State(services): State<Services>,
    grant: Grant<ViewErasures>,
    Id(id): Id,
    Params(query): Params<CertificateQuery>,
) -> Result<Response, ApiError> {
    let row = services.run(move |engine, _| engine.erasure_certificate(&grant, id)).await?;
    let finality = row.finality.as_ref().map(|(_, text)| text.as_str());
    let text = with_finality(&row.text, finality);
    Ok(match query.format {
        Format::Text => {
            ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
        }
        Format::Html => {
            // What the daemon signed itself reads back, or the catalog is damaged.
            let (certificate, finality) =
                parse_with_finality(&text).map_err(|_| ApiError::internal())?;
            let page = html(&certificate, finality.as_slice());
            let head = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
            ];
            (head, page).into_response()
        }
        Format::Json => Json(json!({
            "number": row.number,
            "recording": row.recording.to_string(),
            "issued_at": row.issued_at.to_string(),
            "sha256": hexadecimal(&row.sha256),
            "key_version": row.key_version,
            "final_at": row.finality.as_ref().map(|(at, _)| at.to_string()),
            "certificate": row.text,
            "finality": finality,
        }))
        .into_response(),
    })
}

/// `POST /api/v1/backup/{id}/forget`: the word of an operator that the file of a backup is gone.
pub(super) async fn forget_backup(
    State(services): State<Services>,
    grant: Grant<crate::access::ManageBackups>,
    id: Job,
) -> Result<StatusCode, ApiError> {
    let Path(text) = id?;
    let id = uuid::Uuid::try_parse(&text).map_err(|_| {
        ApiError::bad_request(
            "this is not the id of a backup",
            "`recseal backup status` lists them",
        )
    })?;
    services.run(move |engine, now| engine.forget_backup(&grant, id, now)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The page brings its own style and nothing else.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox";
