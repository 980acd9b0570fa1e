//! Health and metrics: for supervisors and scrapers, without anybody's name on it.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::telemetry::METRICS_CONTENT_TYPE;

use super::extract::Params;
use super::{ApiError, Services};

/// `GET /livez`: the program answers.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ReadyQuery {
    verbose: Option<String>,
}

/// `GET /readyz[?verbose]`: 200 once everything works, 503 before. Machines read the status code.
pub(super) async fn readyz(
    State(services): State<Services>,
    Params(query): Params<ReadyQuery>,
) -> Result<Response, ApiError> {
    let status = services.run(|engine, now| engine.status(now)).await?;
    let code = if status.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut text = String::new();
    if query.verbose.is_some() {
        for (name, is_ok) in &status.checks {
            text.push_str(if *is_ok { "[+]" } else { "[-]" });
            text.push_str(name);
            text.push_str(if *is_ok { " ok\n" } else { " failed\n" });
        }
    }
    text.push_str(if status.ready { "ok\n" } else { "not ready\n" });
    Ok((code, text).into_response())
}

/// `GET /metrics`
pub(super) async fn metrics(State(services): State<Services>) -> Result<Response, ApiError> {
    let status = services.run(|engine, now| engine.status(now)).await?;
    let text = services.metrics.render(&status);
    Ok(([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response())
}
