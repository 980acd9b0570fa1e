//! Bounds around every handler: how many at a time, how long, and what a panic becomes.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{ApiError, Services};

/// How long a handler may take before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Seconds.
    Quick,
    /// As long as reading a whole recording takes.
    Slow,
}

/// Takes one of the places for requests, and gives up when the pace is over. A panic in the
/// handler costs this one request its answer and nobody else anything.
pub(super) async fn bound(
    State((services, pace)): State<(Services, Pace)>,
    request: Request,
    next: Next,
) -> Response {
    let Ok(permit) = Arc::clone(&services.requests).try_acquire_owned() else {
        return ApiError::busy("busy", "too many requests at the same time").into_response();
    };
    let limit = match pace {
        Pace::Quick => QUICK,
        Pace::Slow => SLOW,
    };
    // A task of its own, so that a panic arrives here as a value.
    let mut handler = tokio::spawn(async move {
        let _permit = permit;
        next.run(request).await
    });
    match tokio::time::timeout(limit, &mut handler).await {
        Ok(Ok(response)) => response,
        Ok(Err(_panic)) => ApiError::internal().into_response(),
        Err(_late) => {
            handler.abort();
            ApiError::new(
                StatusCode::GATEWAY_TIMEOUT,
                "timeout",
                format!("no answer within {} seconds", limit.as_secs()),
                "the disk may be busy: try again, then look at `recseal status`",
            )
            .into_response()
        }
    }
}

/// Nothing of ours may be cached, sniffed, framed or run.
pub(super) async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Counts the answer under its route's pattern.
pub(super) async fn count(
    State(services): State<Services>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    services.metrics.count_request(route, response.status().as_u16());
    response
}

const QUICK: Duration = Duration::from_secs(30);
const SLOW: Duration = Duration::from_secs(2 * 3600);
