//! Planning and ordering: what is meant, why, and the number that confirms it.
//!
//! An order may be sent twice. With an `Idempotency-Key` the second is answered as the first was,
//! for a day; without one nothing bad happens either, because nothing is owed twice.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use crate::access::{Grant, OrderErasures};
use crate::compliance::erasure::ErasureReason;
use crate::flow::{ErasureOrder, FlowError, Ordered, Recalled, Selection};
use crate::http::extract::Body;
use crate::http::{ApiError, Services};

use super::view::{JobView, PlanView};

/// What is to be erased. Exactly one of the six ways to say it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    recordings: Option<Vec<String>>,
    conversations: Option<Vec<String>>,
    person: Option<String>,
    query: Option<String>,
    #[serde(default)]
    due: bool,
    files: Option<Vec<PathBuf>>,
    reason: Option<ReasonWord>,
    confirm: Option<u64>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ReasonWord {
    Request,
    Retention,
    Decision,
}

/// `POST /api/v1/erasures/plan`: nothing is marked.
pub(crate) async fn plan(
    State(services): State<Services>,
    grant: Grant<OrderErasures>,
    Body(wanted): Body<Wanted>,
) -> Result<Json<PlanView>, ApiError> {
    let order = wanted.order()?;
    Ok(Json(planned(&services, grant, order).await?))
}

async fn planned(
    services: &Services,
    grant: Grant<OrderErasures>,
    order: ErasureOrder,
) -> Result<PlanView, ApiError> {
    let work = move |engine: &crate::flow::Engine, now| {
        let plan = engine.plan_erasure(&grant, &order.selection, now)?;
        Ok::<_, FlowError>(PlanView::new(&plan, engine.erasure_policy(), VERDICTS_MAX))
    };
    Ok(services.run(work).await?)
}

/// `POST /api/v1/erasures`
pub(crate) async fn order(
    State(services): State<Services>,
    grant: Grant<OrderErasures>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body = body?;
    if !is_json(&headers) {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "the body must be JSON",
            "send `Content-Type: application/json`",
        ));
    }
    // The same reading, and so the same words of refusal, as of any other body.
    let Json(wanted) = Json::<Wanted>::from_bytes(&body)?;
    let is_dry = wanted.dry_run;
    let order = wanted.order()?;
    if is_dry {
        return Ok(Json(planned(&services, grant, order).await?).into_response());
    }
    let Some(key) = idempotency_key(&headers)? else {
        return answer(placed(&services, grant, order).await?);
    };
    let user = grant.principal().user.clone();
    let asked = services.run(move |engine, _| engine.repeatable(&user, ROUTE, &key, &body)).await;
    let _turn = services.in_flight.enter(asked.handle()).ok_or_else(|| {
        ApiError::new(
            StatusCode::CONFLICT,
            "in-progress",
            "a request with this Idempotency-Key is being answered",
            "wait a second, then send the same again",
        )
    })?;
    match services.run(move |engine, now| engine.recall_answer(asked, now)).await? {
        Recalled::Answer(status, text) => return answer((status, text)),
        Recalled::OtherRequest => {
            return Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "this Idempotency-Key came with another request",
                "take a new key for each order",
            ));
        }
        Recalled::Nothing => {}
    }
    let (status, text) = placed(&services, grant, order).await?;
    let kept = text.clone();
    let work =
        move |engine: &crate::flow::Engine, now| engine.keep_answer(asked, status, &kept, now);
    if let Err(error) = services.run(work).await {
        // The order stands; only a repetition would be answered in other words.
        tracing::warn!(error = crate::flow::chain(&error), "an answer was not kept");
    }
    answer((status, text))
}

/// Orders, and says what it came to: 201 with the job, 202 if all of it is protected and waits,
/// 200 if there was nothing to do.
async fn placed(
    services: &Services,
    grant: Grant<OrderErasures>,
    order: ErasureOrder,
) -> Result<(u16, String), ApiError> {
    let work = move |engine: &crate::flow::Engine, now| {
        let Ordered { job, plan } = engine.order_erasure(&grant, &order, now)?;
        let status = match (&job, plan.erase.recordings) {
            (None, _) => StatusCode::OK,
            (Some(_), 0) => StatusCode::ACCEPTED,
            (Some(_), _) => StatusCode::CREATED,
        };
        let plan = PlanView::new(&plan, engine.erasure_policy(), VERDICTS_TOLD);
        let document = json!({ "job": job.map(JobView::from), "plan": plan });
        Ok::<_, FlowError>((status.as_u16(), document.to_string()))
    };
    Ok(services.run(work).await?)
}

fn answer((status, text): (u16, String)) -> Result<Response, ApiError> {
    let status = StatusCode::from_u16(status).map_err(|_| ApiError::internal())?;
    let document: serde_json::Value =
        serde_json::from_str(&text).map_err(|_| ApiError::internal())?;
    let mut response = (status, Json(&document)).into_response();
    let id = document["job"]["id"].as_str();
    let location = id.and_then(|id| HeaderValue::from_str(&format!("{ROUTE}/{id}")).ok());
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<Vec<u8>>, ApiError> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() || value.is_empty() || value.len() > KEY_BYTES_MAX {
        return Err(ApiError::bad_request(
            "Idempotency-Key is empty, too long or given twice",
            "take a random UUID",
        ));
    }
    Ok(Some(value.as_bytes().to_vec()))
}

impl Wanted {
    fn order(self) -> Result<ErasureOrder, ApiError> {
        let confirm = self.confirm;
        let reason = match (self.reason, self.due) {
            (Some(ReasonWord::Request), _) => ErasureReason::Request,
            (Some(ReasonWord::Retention), _) | (None, true) => ErasureReason::Retention,
            (Some(ReasonWord::Decision), _) => ErasureReason::Decision,
            (None, false) => ErasureReason::Request,
        };
        Ok(ErasureOrder { selection: self.selection()?, reason, confirm })
    }

    fn selection(self) -> Result<Selection, ApiError> {
        let mut said = Vec::new();
        said.extend(self.recordings.map(|ids| parse_ids(&ids).map(Selection::Recordings)));
        said.extend(self.conversations.map(|ids| parse_ids(&ids).map(Selection::Conversations)));
        said.extend(self.person.map(|text| bounded("person", text).map(Selection::Person)));
        said.extend(self.query.map(|text| bounded("query", text).map(Selection::Query)));
        said.extend(self.due.then_some(Ok(Selection::Due)));
        said.extend(self.files.map(|paths| absolute(paths).map(Selection::Files)));
        match (said.pop(), said.is_empty()) {
            (Some(selection), true) => selection,
            (_, _) => Err(ApiError::bad_request(
                "what is to be erased is said in exactly one way",
                "take one of `recordings`, `conversations`, `person`, `query`, `due` and `files`",
            )),
        }
    }
}

/// Reads ids; none, or one that is none, is refused.
pub(crate) fn parse_ids<T: std::str::FromStr>(texts: &[String]) -> Result<Vec<T>, ApiError> {
    if texts.is_empty() || texts.len() > IDS_MAX {
        let hint = format!("give 1 to {IDS_MAX} of them");
        return Err(ApiError::bad_request("a list of ids is empty or too long", hint));
    }
    let parsed = texts.iter().enumerate().map(|(at, text)| {
        text.parse().map_err(|_| {
            let detail = format!("number {} of a list is not an id", at + 1);
            ApiError::bad_request(detail, "ids are UUIDs, as the lists show them")
        })
    });
    parsed.collect()
}

fn bounded(what: &str, text: String) -> Result<String, ApiError> {
    if text.trim().is_empty() || text.len() > TEXT_BYTES_MAX {
        return Err(ApiError::bad_request(
            format!("`{what}` is empty or longer than {TEXT_BYTES_MAX} bytes"),
            "see `recseal erase --help` for what can be written there",
        ));
    }
    Ok(text)
}

fn absolute(paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, ApiError> {
    let is_bad = |path: &PathBuf| !path.is_absolute();
    match paths.iter().position(is_bad) {
        Some(at) => Err(ApiError::bad_request(
            format!("number {} of `files` is not an absolute path", at + 1),
            "write whole paths from / on",
        )),
        None if paths.is_empty() || paths.len() > IDS_MAX => Err(ApiError::bad_request(
            "`files` is empty or too long",
            format!("give 1 to {IDS_MAX} of them"),
        )),
        None => Ok(paths),
    }
}

/// The keys whose requests are being answered now.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight(Arc<Mutex<HashSet<[u8; 32]>>>);

/// One of them; dropped, it is answered.
struct Turn {
    all: InFlight,
    key: [u8; 32],
}

impl InFlight {
    fn enter(&self, key: [u8; 32]) -> Option<Turn> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key).then(|| Turn { all: self.clone(), key })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

const ROUTE: &str = "/api/v1/erasures";
/// Verdicts shown of a plan.
const VERDICTS_MAX: usize = 1_000;
/// And with the answer to an order, which is kept.
const VERDICTS_TOLD: usize = 20;
const IDS_MAX: usize = 50_000;
const TEXT_BYTES_MAX: usize = 4_000;
const KEY_BYTES_MAX: usize = 200;

/// Longest order: a list of [`IDS_MAX`] ids.
pub(crate) const ORDER_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<ErasureOrder, ApiError> {
        let wanted: Wanted = serde_json::from_str(body).expect("these are well-formed");
        wanted.order()
    }

    /// Planted fault: one of two selections taken. Meant to catch, too: an empty list that selects
    /// nothing and so "succeeds".
    #[test]
    fn an_order_says_what_it_means_in_one_way() {
        let id = "0192f0c8-7a3b-7c4d-8e5f-123456789abc";
        for (body, is_good) in [
            (format!(r#"{{"recordings":["{id}"]}}"#), true),
            (format!(r#"{{"conversations":["{id}"],"reason":"decision","confirm":1}}"#), true),
            (r#"{"person":"+12025550143"}"#.to_owned(), true),
            (r#"{"query":"from = x"}"#.to_owned(), true),
            (r#"{"due":true}"#.to_owned(), true),
            (r#"{"files":["/r/a.wav"]}"#.to_owned(), true),
            ("{}".to_owned(), false),
            (r#"{"due":false}"#.to_owned(), false),
            (format!(r#"{{"recordings":["{id}"],"due":true}}"#), false),
            (r#"{"recordings":[]}"#.to_owned(), false),
            (format!(r#"{{"recordings":["{id}","x"]}}"#), false),
            (r#"{"person":"  "}"#.to_owned(), false),
            (format!(r#"{{"query":"{}"}}"#, "x".repeat(4_001)), false),
            (r#"{"files":["a.wav"]}"#.to_owned(), false),
            (r#"{"files":[]}"#.to_owned(), false),
        ] {
            let found = read(&body);
            assert_eq!(found.is_ok(), is_good, "{body}");
            if let Err(error) = found {
                assert_eq!((error.status.as_u16(), error.code), (400, "bad-request"), "{body}");
            }
        }
        assert_eq!(read(r#"{"due":true}"#).unwrap().reason, ErasureReason::Retention);
        assert_eq!(read(r#"{"person":"x"}"#).unwrap().reason, ErasureReason::Request);
    }

    /// Meant to catch: a turn that is not given back keeps its key busy for good.
    #[test]
    fn one_request_a_key_at_a_time() {
        let mut headers = HeaderMap::new();
        assert_eq!(idempotency_key(&headers).unwrap(), None);
        headers.insert("idempotency-key", HeaderValue::from_static("a"));
        assert_eq!(idempotency_key(&headers).unwrap(), Some(b"a".to_vec()));
        headers.append("idempotency-key", HeaderValue::from_static("b"));
        assert!(idempotency_key(&headers).is_err());
        let in_flight = InFlight::default();
        let turn = in_flight.enter([1; 32]);
        assert!(turn.is_some() && in_flight.enter([1; 32]).is_none());
        assert!(in_flight.enter([2; 32]).is_some());
        drop(turn);
        assert!(in_flight.enter([1; 32]).is_some());
    }
}
