//! When the authority would like a certificate to be renewed (RFC 9773).
//!
//! It is asked again when it said so, within bounds; what it says is checked by
//! [`keymanager::renewal`]. That it says nothing, or nonsense, changes no date.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::CertificateIdentifier;
use keymanager::CertificateSource;
use keymanager::renewal::FailureClass;
use serde::Deserialize;
use tokio_rustls::rustls::pki_types::Der;

use crate::daemon::pool::WorkPool;
use crate::flow::Engine;

use super::client::{Client, retry_after_ms};
use super::failure::Trouble;

/// When to ask next.
#[derive(Debug, Default)]
pub(super) struct Suggestions {
    next: Duration,
}

/// What asking brought.
#[derive(Debug)]
pub(super) struct Asked {
    /// When to ask again.
    again_after: Duration,
}

impl Suggestions {
    pub(super) fn are_due(&self, steady: Duration) -> bool {
        steady >= self.next
    }

    pub(super) fn note(&mut self, asked: Result<Asked, Trouble>, steady: Duration) {
        let pause = match asked {
            Ok(asked) => asked.again_after,
            Err(trouble) => {
                tracing::debug!(code = trouble.code, "the authority suggests no renewal time");
                trouble.retry_after_ms.map_or(AFTER_FAILURE, clamped)
            }
        };
        self.next = steady + pause;
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    renewal_info: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RenewalInfo {
    suggested_window: SuggestedWindow,
}

#[derive(Deserialize)]
struct SuggestedWindow {
    start: String,
    end: String,
}

/// Asks about the certificate that is served, if the authority issued it.
pub(super) async fn ask(
    client: &Client,
    directory: &str,
    engine: &Arc<Engine>,
    pool: &WorkPool,
) -> Result<Asked, Trouble> {
    let keys = engine.keys();
    let (CertificateSource::Acme, Some(id)) = (keys.certificate_source(), keys.certificate_id())
    else {
        // Asked again at every tick, which costs nothing: there may be one soon.
        return Ok(Asked { again_after: Duration::ZERO });
    };
    let listed = client.get(directory).await?;
    let listed: Directory = serde_json::from_slice(&listed.body).map_err(|_| nonsense(None))?;
    let Some(address) = listed.renewal_info else {
        return Ok(Asked { again_after: LONGEST });
    };
    let (key, serial) = (Der::from_slice(&id.authority_key), Der::from_slice(&id.serial));
    let id = CertificateIdentifier::new(key, serial);
    let answer = client.get(&format!("{}/{id}", address.trim_end_matches('/'))).await?;
    let wish_ms = retry_after_ms(&answer.headers);
    if !answer.status.is_success() {
        return Err(nonsense(wish_ms));
    }
    let again_after = wish_ms.map_or(UNLESS_TOLD, clamped);
    let window = serde_json::from_slice::<RenewalInfo>(&answer.body).ok().and_then(window);
    let Some(window) = window else {
        return Err(nonsense(wish_ms));
    };
    let engine = Arc::clone(engine);
    match pool.run(move || engine.take_suggestion(window)).await {
        Ok(true) => {}
        Ok(false) => tracing::warn!("the authority suggests a renewal time that cannot be meant"),
        Err(error) => tracing::warn!(%error, "a suggested renewal time could not be stored"),
    }
    Ok(Asked { again_after })
}

fn window(info: RenewalInfo) -> Option<(i64, i64)> {
    let moment = |text: &str| text.parse::<jiff::Timestamp>().ok().map(|at| at.as_millisecond());
    Some((moment(&info.suggested_window.start)?, moment(&info.suggested_window.end)?))
}

fn clamped(wish_ms: i64) -> Duration {
    Duration::from_millis(wish_ms.max(0).unsigned_abs()).clamp(SHORTEST, LONGEST)
}

fn nonsense(retry_after_ms: Option<i64>) -> Trouble {
    let detail = "the authority's renewal information cannot be read";
    let class = FailureClass::Passing;
    let mut trouble = Trouble::new("acme-renewal-info", class, detail, "none is needed");
    trouble.retry_after_ms = retry_after_ms;
    trouble
}

const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(24 * 3_600);
const UNLESS_TOLD: Duration = Duration::from_secs(6 * 3_600);
const AFTER_FAILURE: Duration = Duration::from_secs(3_600);
