//! Legal holds and marks: placed, lifted, listed, and what protects one recording.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::access::{Grant, LiftHolds, PlaceHolds, ViewHolds};
use crate::clock::Timestamp;
use crate::compliance::hold::{HoldTarget, LegalHold};
use crate::domain::HoldId;
use crate::flow::NewHold;

use super::erasures::{ProtectionView, parse_ids};
use super::extract::{Body, Id, Params};
use super::recordings::page_limit;
use super::view::{self, Page};
use super::{ApiError, Services};

/// One hold, reason and all: only for those who may see holds.
#[derive(Serialize)]
pub(super) struct HoldView {
    id: String,
    reason: String,
    placed_by: String,
    placed_at: String,
    until: Option<String>,
    lifted_by: Option<String>,
    lifted_at: Option<String>,
    recordings: Vec<String>,
    conversations: Vec<String>,
}

impl From<LegalHold> for HoldView {
    fn from(hold: LegalHold) -> Self {
        let (lifted_by, lifted_at) = hold.lifted.unzip();
        let (mut recordings, mut conversations) = (Vec::new(), Vec::new());
        for target in &hold.targets {
            match target {
                HoldTarget::Recording(id) => recordings.push(id.to_string()),
                HoldTarget::Conversation(id) => conversations.push(id.to_string()),
            }
        }
        Self {
            id: hold.id.to_string(),
            reason: hold.reason,
            placed_by: hold.placed_by,
            placed_at: hold.placed_at.to_string(),
            until: hold.until.map(|at| at.to_string()),
            lifted_by,
            lifted_at: lifted_at.map(|at| at.to_string()),
            recordings,
            conversations,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldBody {
    reason: String,
    #[serde(default)]
    recordings: Vec<String>,
    #[serde(default)]
    conversations: Vec<String>,
    until: Option<String>,
}

/// A hold, and what it came too late for.
#[derive(Serialize)]
pub(super) struct PlacedView {
    hold: HoldView,
    too_late: Vec<String>,
}

/// `POST /api/v1/holds`
pub(super) async fn place(
    State(services): State<Services>,
    grant: Grant<PlaceHolds>,
    Body(body): Body<HoldBody>,
) -> Result<(StatusCode, Json<PlacedView>), ApiError> {
    fn some_ids<T: std::str::FromStr>(texts: &[String]) -> Result<Vec<T>, ApiError> {
        if texts.is_empty() { Ok(Vec::new()) } else { parse_ids(texts) }
    }
    let new = NewHold {
        recordings: some_ids(&body.recordings)?,
        conversations: some_ids(&body.conversations)?,
        until: moment(body.until.as_deref())?,
        reason: body.reason,
    };
    let placed = services.run(move |engine, now| engine.place_hold(&grant, new, now)).await?;
    let too_late = placed.too_late.iter().map(ToString::to_string).collect();
    Ok((StatusCode::CREATED, Json(PlacedView { hold: placed.hold.into(), too_late })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldsQuery {
    #[serde(default)]
    all: bool,
    after: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/holds`: those in force, or with `all=true` the lifted ones too; oldest first.
pub(super) async fn list(
    State(services): State<Services>,
    grant: Grant<ViewHolds>,
    Params(query): Params<HoldsQuery>,
) -> Result<Json<Page<HoldView>>, ApiError> {
    let (limit, all) = (page_limit(query.limit)?, query.all);
    let after = query.after.as_deref().map(|text| view::parse_cursor('h', text)).transpose()?;
    let after = after.map(HoldId);
    let mut found = services.run(move |e, _| e.holds(&grant, all, after, limit + 1)).await?;
    let is_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| is_more).map(|hold| view::cursor('h', hold.id.0));
    Ok(Json(Page { items: found.into_iter().map(Into::into).collect(), next }))
}

/// The hold named in a path.
type Hold = Result<Path<String>, PathRejection>;

fn hold_in(path: Hold) -> Result<HoldId, ApiError> {
    let Path(text) = path?;
    text.parse().map_err(|_| {
        ApiError::bad_request("this is not the id of a hold", "`recseal holds list` shows them")
    })
}

/// `GET /api/v1/holds/{id}`
pub(super) async fn show(
    State(services): State<Services>,
    grant: Grant<ViewHolds>,
    hold: Hold,
) -> Result<Json<HoldView>, ApiError> {
    let id = hold_in(hold)?;
    Ok(Json(services.run(move |engine, _| engine.hold(&grant, id)).await?.into()))
}

/// `DELETE /api/v1/holds/{id}`: lifted. It stays in the list of all.
pub(super) async fn lift(
    State(services): State<Services>,
    grant: Grant<LiftHolds>,
    hold: Hold,
) -> Result<Json<HoldView>, ApiError> {
    let id = hold_in(hold)?;
    Ok(Json(services.run(move |engine, now| engine.lift_hold(&grant, id, now)).await?.into()))
}

/// `GET /api/v1/recordings/{id}/protections`: what keeps it from being erased now.
pub(super) async fn protections(
    State(services): State<Services>,
    grant: Grant<ViewHolds>,
    Id(id): Id,
) -> Result<Json<Page<ProtectionView>>, ApiError> {
    let found = services.run(move |engine, now| engine.protections(&grant, id, now)).await?;
    Ok(Json(Page { items: found.iter().map(Into::into).collect(), next: None }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mifid {
    /// Without it for good.
    until: Option<String>,
}

/// `PUT /api/v1/recordings/{id}/mifid`: it is a MiFID record until a date.
pub(super) async fn mark(
    State(services): State<Services>,
    grant: Grant<PlaceHolds>,
    Id(id): Id,
    Body(body): Body<Mifid>,
) -> Result<StatusCode, ApiError> {
    let (target, until) = (HoldTarget::Recording(id), moment(body.until.as_deref())?);
    services.run(move |engine, now| engine.protect_mifid(&grant, target, until, now)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /api/v1/recordings/{id}/mifid`
pub(super) async fn unmark(
    State(services): State<Services>,
    grant: Grant<LiftHolds>,
    Id(id): Id,
) -> Result<StatusCode, ApiError> {
    let target = HoldTarget::Recording(id);
    services.run(move |engine, now| engine.unprotect_mifid(&grant, target, now)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn moment(text: Option<&str>) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    view::parse_time(text).map(Some).ok_or_else(|| {
        ApiError::bad_request("`until` is a moment", "write 2027-01-31 or 2027-01-31T10:00:00Z")
    })
}
