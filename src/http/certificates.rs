//! Certificates over HTTP: what is stored, the gate, import, requests, rollback.
//!
//! What the gate says is an answer with a body of its own, also when it refuses: every finding
//! has a code that programs may branch on.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use keymanager::gate::{Finding, Refusal, Report};
use keymanager::{Adopted, Candidate, CertificateFacts, FILE_BYTES_MAX, GatePolicy, KeyError};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::access::{Grant, ManageCertificates, ViewKeys};
use crate::clock::Timestamp;
use crate::flow::{Engine, FlowError};

use super::extract::Body;
use super::{ApiError, Services};

/// A certificate as the caller has it. Keys and passwords are wiped when dropped.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Brought {
    /// Certificates, and the key if it is in the same file, as PEM.
    #[serde(default, deserialize_with = "wiped")]
    pem: Option<Zeroizing<String>>,
    /// The same as PKCS#12, hexadecimal.
    #[serde(default, deserialize_with = "wiped")]
    pkcs12: Option<Zeroizing<String>>,
    /// The key as PEM, if it is in a file of its own.
    #[serde(default, deserialize_with = "wiped")]
    key: Option<Zeroizing<String>>,
    #[serde(default, deserialize_with = "wiped")]
    password: Option<Zeroizing<String>>,
    /// Roots to trust besides those of the host, as PEM.
    roots: Option<String>,
    /// Why it may lack some of the server's names.
    allow_names: Option<String>,
}

impl Brought {
    fn candidate(&self) -> Result<Result<Candidate, Refusal>, ApiError> {
        let (key, password) = (self.key.as_ref(), self.password.as_ref());
        match (&self.pem, &self.pkcs12) {
            (Some(pem), None) => {
                let key = key.map(|key| key.as_bytes());
                Ok(Candidate::from_pem(pem.as_bytes(), key, password))
            }
            (None, Some(digits)) => {
                let hint = "two digits for each byte";
                let bytes = unhex(digits)
                    .ok_or_else(|| ApiError::bad_request("`pkcs12` is not hexadecimal", hint))?;
                Ok(Candidate::from_pkcs12(&bytes, password))
            }
            _ => {
                let hint = "`pem` for text, `pkcs12` for hexadecimal digits";
                Err(ApiError::bad_request("give either `pem` or `pkcs12`", hint))
            }
        }
    }

    fn policy(&self, engine: &Engine) -> Result<GatePolicy, Refusal> {
        policy(engine, self.roots.as_deref(), self.allow_names.as_deref())
    }
}

fn policy(
    engine: &Engine,
    roots: Option<&str>,
    allow_names: Option<&str>,
) -> Result<GatePolicy, Refusal> {
    let mut policy = engine.certificate_policy();
    if let Some(pem) = roots {
        policy.extra_roots = keymanager::roots_from_pem(pem.as_bytes())?;
    }
    policy.allow_other_names = allow_names.map(|reason| reason.chars().take(200).collect());
    Ok(policy)
}

/// `GET /api/v1/certificates`
pub(super) async fn list(
    State(services): State<Services>,
    grant: Grant<ViewKeys>,
) -> Result<Json<Value>, ApiError> {
    let (names, (certificates, requests)) = services
        .run(move |engine, _| (engine.keys().certificate_names(), engine.certificates(&grant)))
        .await;
    let certificates = certificates.iter().map(|one| {
        let mut view = facts(&one.facts);
        view["id"] = json!(one.id);
        view["standing"] = json!(one.standing.as_str());
        view["source"] = json!(one.source.as_str());
        view["stored_at"] = json!(time(one.stored_ms));
        view["pem"] = json!(one.chain_pem);
        view
    });
    let requests = requests.iter().map(|one| {
        json!({
            "id": one.id,
            "purpose": one.purpose.as_str(),
            "names": one.names,
            "made_at": time(one.made_ms),
        })
    });
    Ok(Json(json!({
        "names": names,
        "certificates": certificates.collect::<Vec<_>>(),
        "requests": requests.collect::<Vec<_>>(),
    })))
}

/// `POST /api/v1/certificates/check`: the gate, without storing anything.
pub(super) async fn check(
    State(services): State<Services>,
    grant: Grant<ViewKeys>,
    Body(brought): Body<Brought>,
) -> Result<Response, ApiError> {
    let asked = services.run(move |engine, now| {
        let report = match (brought.candidate()?, brought.policy(engine)) {
            (Ok(candidate), Ok(policy)) => {
                engine.check_certificate(&grant, &candidate, &policy, now)
            }
            (Err(refusal), _) | (_, Err(refusal)) => Report::from(refusal),
        };
        Ok(match report.passed() {
            true => Json(report_view(&report)).into_response(),
            false => refused(&report),
        })
    });
    asked.await
}

/// `POST /api/v1/certificates`: import.
pub(super) async fn import(
    State(services): State<Services>,
    grant: Grant<ManageCertificates>,
    Body(brought): Body<Brought>,
) -> Result<Response, ApiError> {
    let imported = services.run(move |engine, now| {
        Ok(match (brought.candidate()?, brought.policy(engine)) {
            (Ok(candidate), Ok(policy)) => {
                adopted(engine.import_certificate(&grant, &candidate, &policy, now))
            }
            (Err(refusal), _) | (_, Err(refusal)) => refused(&Report::from(refusal)),
        })
    });
    imported.await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRequest {
    /// None means those names of the server that an authority can know.
    #[serde(default)]
    names: Vec<String>,
}

/// `POST /api/v1/certificates/requests`
pub(super) async fn request(
    State(services): State<Services>,
    grant: Grant<ManageCertificates>,
    Body(new): Body<NewRequest>,
) -> Response {
    let made = services
        .run(move |engine, now| {
            let names = match new.names.is_empty() {
                true => engine.certificate_policy().wanted_names,
                false => new.names,
            };
            engine.request_certificate(&grant, &names, now)
        })
        .await;
    match made {
        Ok(made) => {
            let view = json!({ "id": made.id, "pem": made.pem });
            (StatusCode::CREATED, Json(view)).into_response()
        }
        Err(error) => failed(error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    pem: String,
    roots: Option<String>,
    allow_names: Option<String>,
}

/// `POST /api/v1/certificates/requests/{id}`: the authority's answer.
pub(super) async fn complete(
    State(services): State<Services>,
    grant: Grant<ManageCertificates>,
    path: Result<Path<Uuid>, PathRejection>,
    Body(answer): Body<Answer>,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let outcome = services.run(move |engine, now| {
        let Answer { pem, roots, allow_names } = answer;
        match policy(engine, roots.as_deref(), allow_names.as_deref()) {
            Ok(policy) => {
                adopted(engine.complete_request(&grant, id, pem.as_bytes(), &policy, now))
            }
            Err(refusal) => refused(&Report::from(refusal)),
        }
    });
    Ok(outcome.await)
}

/// `DELETE /api/v1/certificates/requests/{id}`
pub(super) async fn cancel(
    State(services): State<Services>,
    grant: Grant<ManageCertificates>,
    path: Result<Path<Uuid>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let outcome = services.run(move |engine, now| engine.cancel_request(&grant, id, now)).await;
    Ok(match outcome {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => failed(error),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rollback {
    id: Option<Uuid>,
}

/// `POST /api/v1/certificates/rollback`
pub(super) async fn rollback(
    State(services): State<Services>,
    grant: Grant<ManageCertificates>,
    Body(rollback): Body<Rollback>,
) -> Response {
    services
        .run(move |engine, now| adopted(engine.rollback_certificate(&grant, rollback.id, now)))
        .await
}

fn adopted(outcome: Result<Adopted, FlowError>) -> Response {
    match outcome {
        Ok(adopted) => {
            let mut view = facts(&adopted.facts);
            view["id"] = json!(adopted.id);
            view["notices"] = findings(&adopted.notices);
            view["staged_until"] = json!(adopted.staged_until_ms.map(time));
            (StatusCode::CREATED, Json(view)).into_response()
        }
        Err(error) => failed(error),
    }
}

/// The keys' own words where they have some for the caller.
fn failed(error: FlowError) -> Response {
    let FlowError::Keys(keys) = error else { return ApiError::from(error).into_response() };
    let (status, code, hint) = match &keys {
        KeyError::Refused { report } => return refused(report),
        KeyError::NothingNew => (
            StatusCode::CONFLICT,
            "nothing-new",
            "nothing to do; `recseal certs list` shows what is stored",
        ),
        KeyError::UnknownCertificate { .. } => (
            StatusCode::NOT_FOUND,
            "no-such-certificate",
            "`recseal certs list` shows which ones are kept",
        ),
        KeyError::UnknownRequest { .. } => {
            (StatusCode::NOT_FOUND, "no-such-request", "`recseal certs list` shows those that wait")
        }
        KeyError::TooManyRequests { .. } => {
            (StatusCode::CONFLICT, "too-many-requests", "forget one with `recseal certs cancel ID`")
        }
        KeyError::BadNames { .. } => (
            StatusCode::BAD_REQUEST,
            "bad-names",
            "say --names: recorder1.example.org for names, 192.0.2.7 for addresses",
        ),
        _ => return ApiError::from(FlowError::Keys(keys)).into_response(),
    };
    ApiError::new(status, code, keys.to_string(), hint).into_response()
}

/// 422: a problem document with everything that the gate found.
fn refused(report: &Report) -> Response {
    let first = report.refusals.first();
    let mut problem = report_view(report);
    problem["type"] = json!("urn:recseal:problem:certificate-refused");
    problem["title"] = json!("Unprocessable Entity");
    problem["status"] = json!(422);
    problem["code"] = json!("certificate-refused");
    problem["detail"] = json!(format!("the certificate is refused: {report}"));
    problem["hint"] = json!(first.map_or("", |refusal| &refusal.hint));
    let mut response = (StatusCode::UNPROCESSABLE_ENTITY, Json(problem)).into_response();
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// What the gate says, as JSON. The command line shows the same when it asks the gate itself.
pub fn report_view(report: &Report) -> Value {
    json!({
        "passed": report.passed(),
        "refusals": findings(&report.refusals),
        "notices": findings(&report.notices),
        "certificate": report.facts.as_ref().map(facts),
        "staged_until": report.staged_until_ms.map(time),
    })
}

fn findings(findings: &[Finding]) -> Value {
    let view = |finding: &Finding| {
        json!({
            "code": finding.code.as_str(),
            "message": finding.message,
            "hint": finding.hint,
        })
    };
    findings.iter().map(view).collect()
}

fn facts(facts: &CertificateFacts) -> Value {
    json!({
        "names": facts.names,
        "issuer": facts.issuer,
        "serial": facts.serial,
        "not_before": time(facts.not_before_ms),
        "not_after": time(facts.not_after_ms),
        "sha256": facts.sha256,
    })
}

fn time(ms: i64) -> String {
    Timestamp::from_millis(ms).to_string()
}

fn wiped<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Zeroizing<String>>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Zeroizing::new))
}

fn unhex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    if pairs.len() > FILE_BYTES_MAX {
        return None;
    }
    let value =
        |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut bytes = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for [high, low] in pairs {
        bytes.push(value(*high)? << 4 | value(*low)?);
    }
    Some(bytes)
}

/// A chain with its key as PKCS#12 in digits, and some roots.
pub(super) const BROUGHT_BYTES_MAX: usize = 1 << 20;
