//! Renewal of the certificate: asking for it, and how it is going.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access::{Grant, ManageCertificates};
use crate::clock::Timestamp;
use crate::flow::{RenewalStatus, Tended};

use super::extract::Body;
use super::{ApiError, Services};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub(super) struct Renew {
    /// A new one, whatever the dates say.
    now: bool,
    /// Answer when it was looked into.
    wait: bool,
}

/// `POST /api/v1/certificates/renew`: the certificate is looked at now.
pub(super) async fn renew(
    State(services): State<Services>,
    _grant: Grant<ManageCertificates>,
    Body(asked): Body<Renew>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let number = services.renewals.ask(asked.now);
    if !asked.wait {
        return Ok((StatusCode::ACCEPTED, Json(json!({ "renewal": "requested" }))));
    }
    let Some(tended) = services.renewals.answer(number).await else {
        return Err(ApiError::new(
            StatusCode::GATEWAY_TIMEOUT,
            "renewal-runs",
            "the renewal is still running",
            "`recseal status` tells when it is done",
        ));
    };
    match tended {
        Tended::Renewed => Ok(done(json!({ "renewal": "renewed" }))),
        Tended::Good { until } => {
            Ok(done(json!({ "renewal": "not-due", "due": until.map(|at| at.to_string()) })))
        }
        Tended::ByNobody if asked.now => Err(ApiError::new(
            StatusCode::CONFLICT,
            "renewed-by-nobody",
            "the certificate was imported, and nothing is configured that could renew it",
            NOBODY_RENEWS,
        )),
        Tended::ByNobody => Ok(done(json!({ "renewal": "by-nobody", "due": null }))),
        Tended::Held { reason, until } => Ok(done(
            json!({ "renewal": "held", "reason": reason.as_str(), "until": until.to_string() }),
        )),
        Tended::Wanted { reason } => {
            Ok(done(json!({ "renewal": "due", "reason": reason.as_str() })))
        }
        Tended::Failed(failure) => Err(ApiError::new(
            StatusCode::BAD_GATEWAY,
            "renewal-failed",
            format!("{}: {}", failure.code, failure.message),
            failure.hint,
        )),
    }
}

/// What can be done about a certificate that a person brought.
const NOBODY_RENEWS: &str = "import the next one (`recseal certs import`), ask for one \
    (`recseal certs csr`), or name who renews it in [certificate] source: files, acme, internal-ca";

fn done(answer: Value) -> (StatusCode, Json<Value>) {
    (StatusCode::OK, Json(answer))
}

/// How renewals are going, as `status` shows it.
#[derive(Serialize)]
pub(super) struct RenewalView {
    next_at: Option<String>,
    consecutive_failures: u32,
    retry_at: Option<String>,
    last_failure: Option<String>,
    last_success_at: Option<String>,
    clock_suspect: bool,
    served_matches_store: Option<bool>,
}

impl From<RenewalStatus> for RenewalView {
    fn from(status: RenewalStatus) -> Self {
        let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            next_at: text(status.next),
            consecutive_failures: status.failures,
            retry_at: text(status.retry_at),
            last_failure: status.last_code,
            last_success_at: text(status.last_success),
            clock_suspect: status.clock_suspect,
            served_matches_store: status.served_matches,
        }
    }
}
