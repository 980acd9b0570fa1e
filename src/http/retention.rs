//! Retention rules: listed, added, removed, and what they would let go today.

use std::path::PathBuf;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::access::{Grant, ManageRetention, OrderErasures, ViewHolds};
use crate::clock::Timestamp;
use crate::compliance::retention::{MediaKind, RetentionRule};
use crate::domain::{RuleId, StoreId};
use crate::flow::{Engine, FlowError};

use super::erasures::{AmountView, PlanView};
use super::extract::Body;
use super::view::Page;
use super::{ApiError, Services};

/// One rule. The store is named by its id: its path may not be for everybody.
#[derive(Serialize)]
pub(super) struct RuleView {
    id: String,
    name: String,
    store_id: Option<String>,
    kind: Option<&'static str>,
    tag: Option<String>,
    metadata_key: Option<String>,
    metadata_value: Option<String>,
    keep_days: Option<u32>,
    erase_days: Option<u32>,
    mifid: bool,
    created_by: String,
    created_at: String,
}

impl From<RetentionRule> for RuleView {
    fn from(rule: RetentionRule) -> Self {
        let (metadata_key, metadata_value) = rule.metadata.unzip();
        Self {
            id: rule.id.to_string(),
            name: rule.name,
            store_id: rule.store.map(|id| id.to_string()),
            kind: rule.kind.map(MediaKind::as_str),
            tag: rule.tag,
            metadata_key,
            metadata_value: metadata_value.flatten(),
            keep_days: rule.keep_days,
            erase_days: rule.erase_days,
            mifid: rule.mifid,
            created_by: rule.created_by,
            created_at: rule.created_at.to_string(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleBody {
    name: String,
    /// The id or the path of a store.
    store: Option<String>,
    kind: Option<KindWord>,
    tag: Option<String>,
    metadata_key: Option<String>,
    metadata_value: Option<String>,
    keep_days: Option<u32>,
    erase_days: Option<u32>,
    #[serde(default)]
    mifid: bool,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindWord {
    Audio,
    Video,
}

impl RuleBody {
    fn rule(self, engine: &Engine, now: Timestamp) -> Result<RetentionRule, FlowError> {
        let store = self.store.map(|text| store_of(engine, &text)).transpose()?;
        Ok(RetentionRule {
            id: RuleId::new(),
            name: self.name,
            store,
            kind: self.kind.map(|word| match word {
                KindWord::Audio => MediaKind::Audio,
                KindWord::Video => MediaKind::Video,
            }),
            tag: self.tag,
            metadata: self.metadata_key.map(|key| (key, self.metadata_value)),
            keep_days: self.keep_days,
            erase_days: self.erase_days,
            mifid: self.mifid,
            created_by: String::new(),
            created_at: now,
        })
    }

    /// What the engine cannot know, because it is only said here.
    fn check(&self) -> Result<(), ApiError> {
        if self.metadata_value.is_some() && self.metadata_key.is_none() {
            let hint = "say which key has that value in `metadata_key`";
            return Err(ApiError::bad_request("`metadata_value` needs a key", hint));
        }
        let texts = [&self.store, &self.tag, &self.metadata_key, &self.metadata_value];
        let is_bad = |text: &&String| text.is_empty() || text.len() > TEXT_BYTES_MAX;
        match texts.into_iter().flatten().find(is_bad) {
            Some(_) => Err(ApiError::bad_request(
                "a word of the rule is empty or too long",
                format!("leave out what does not matter; else give 1 to {TEXT_BYTES_MAX} bytes"),
            )),
            None => Ok(()),
        }
    }
}

fn store_of(engine: &Engine, text: &str) -> Result<StoreId, FlowError> {
    if let Ok(id) = text.parse::<StoreId>() {
        return Ok(id);
    }
    let path = PathBuf::from(text);
    let slot = engine.stores().iter().find(|slot| slot.is_at(&path));
    slot.and_then(|slot| slot.id()).ok_or(FlowError::NoSuchStore)
}

/// `GET /api/v1/retention/rules`: all of them on one page; there are few.
pub(super) async fn list(
    State(services): State<Services>,
    grant: Grant<ViewHolds>,
) -> Result<Json<Page<RuleView>>, ApiError> {
    let rules = services.run(move |engine, _| engine.retention_rules(&grant)).await?;
    Ok(Json(Page { items: rules.into_iter().map(Into::into).collect(), next: None }))
}

/// `POST /api/v1/retention/rules`
pub(super) async fn add(
    State(services): State<Services>,
    grant: Grant<ManageRetention>,
    Body(body): Body<RuleBody>,
) -> Result<(StatusCode, Json<RuleView>), ApiError> {
    body.check()?;
    let work = move |engine: &Engine, now| {
        let rule = body.rule(engine, now)?;
        engine.add_retention_rule(&grant, rule, now)
    };
    Ok((StatusCode::CREATED, Json(services.run(work).await?.into())))
}

/// `DELETE /api/v1/retention/rules/{id}`
pub(super) async fn remove(
    State(services): State<Services>,
    grant: Grant<ManageRetention>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    let Path(text) = id?;
    let id = text.parse().map_err(|_| {
        ApiError::bad_request("this is not the id of a rule", "`recseal retention list` shows them")
    })?;
    services.run(move |engine, now| engine.remove_retention_rule(&grant, id, now)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is due today, and by which rule.
#[derive(Serialize)]
pub(super) struct DueView {
    plan: PlanView,
    rules: Vec<RuleDueView>,
}

#[derive(Serialize)]
struct RuleDueView {
    rule: String,
    name: String,
    due: AmountView,
}

/// `POST /api/v1/retention/plan`: nothing is marked.
pub(super) async fn plan(
    State(services): State<Services>,
    grant: Grant<OrderErasures>,
) -> Result<Json<DueView>, ApiError> {
    let work = move |engine: &Engine, now| {
        let (plan, rules) = engine.plan_retention(&grant, now)?;
        let rules = rules.into_iter().map(|count| RuleDueView {
            rule: count.rule.to_string(),
            name: count.name,
            due: count.due.into(),
        });
        let plan = PlanView::new(&plan, engine.erasure_policy(), VERDICTS_MAX);
        Ok::<_, FlowError>(DueView { plan, rules: rules.collect() })
    };
    Ok(Json(services.run(work).await?))
}

const TEXT_BYTES_MAX: usize = 1_000;
const VERDICTS_MAX: usize = 1_000;
