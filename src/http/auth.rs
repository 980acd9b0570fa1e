//! Who asks, and may they: a [`Grant`] is taken out of a request like a path or a body.
//!
//! Because grants are extractors and stand first, 401 and 403 come before anything else of the
//! request is read. Every refusal is an audit entry; those of nobody in particular share a small
//! budget, so that a stranger cannot fill the disk with them.

use std::sync::{Arc, Mutex};

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use keymanager::ClientCertificate;

use crate::access;
use crate::access::{Act, Grant, Permission, Principal};
use crate::clock::Timestamp;
use crate::domain::RecordingId;

use super::listen::Peer;
use super::{ApiError, Services};

impl<A: Act> FromRequestParts<Services> for Grant<A> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, services: &Services) -> Result<Self, ApiError> {
        let principal = identify(parts, services).await?;
        let recording = recording_in(parts.uri.path());
        let Some(principal) = principal else {
            note(services, None, A::PERMISSION, recording).await;
            return Err(ApiError::unauthenticated());
        };
        match access::authorize::<A>(&principal) {
            Ok(grant) => Ok(grant),
            Err(refused) => {
                note(services, Some(principal), A::PERMISSION, recording).await;
                Err(ApiError::forbidden(refused))
            }
        }
    }
}

/// The kernel's word on the socket, the token's or the certificate's on HTTPS, nobody elsewhere.
/// A token that is shown decides alone. A certificate is looked at for each request: it may have
/// ended since the handshake.
async fn identify(parts: &Parts, services: &Services) -> Result<Option<Principal>, ApiError> {
    match parts.extensions.get::<Peer>() {
        None => Ok(None),
        Some(Peer::Local { uid }) => Ok(Some(Principal::local(*uid, services.daemon_uid))),
        Some(Peer::Remote) => {
            let header = parts.headers.get(header::AUTHORIZATION);
            if header.is_none() {
                let Some(shown) = parts.extensions.get::<Arc<ClientCertificate>>().cloned() else {
                    return Ok(None);
                };
                return Ok(services.run(move |engine, now| engine.recognise(&shown, now)).await);
            }
            let Some(token) = header.and_then(|value| bearer(value.as_bytes())) else {
                return Ok(None);
            };
            Ok(services.run(move |engine, now| engine.authenticate(&token, now)).await?)
        }
    }
}

/// The token of an `Authorization` header.
fn bearer(header: &[u8]) -> Option<zeroize::Zeroizing<String>> {
    let (scheme, token) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    let token = token.trim();
    let is_bearer = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty();
    (is_bearer && token.len() <= TOKEN_CHARS_MAX).then(|| token.to_owned().into())
}

async fn note(
    services: &Services,
    who: Option<Principal>,
    what: Permission,
    recording: Option<RecordingId>,
) {
    if who.is_none() && !services.refusals.spend(services.now()) {
        tracing::warn!(permission = %what, "refused somebody without a valid token; not audited");
        return;
    }
    services.run(move |engine, now| engine.note_refusal(who.as_ref(), what, recording, now)).await;
}

/// The recording a path is about, if it is about one.
fn recording_in(path: &str) -> Option<RecordingId> {
    path.strip_prefix("/api/v1/recordings/")?.split('/').next()?.parse().ok()
}

/// How many refusals of unknown callers are audited per minute.
#[derive(Debug, Default)]
pub(super) struct RefusalBudget(Mutex<(i64, u32)>);

impl RefusalBudget {
    /// True if one more may be written.
    fn spend(&self, now: Timestamp) -> bool {
        let minute = now.as_millis().div_euclid(60_000);
        let mut slot = self.0.lock().expect("nothing panics while holding it");
        if slot.0 != minute {
            *slot = (minute, 0);
        }
        slot.1 = slot.1.saturating_add(1);
        slot.1 <= UNKNOWN_REFUSALS_A_MINUTE
    }
}

const TOKEN_CHARS_MAX: usize = 256;
const UNKNOWN_REFUSALS_A_MINUTE: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_header_by_hand() {
        for (header, token) in [
            ("Bearer rst_1", Some("rst_1")),
            ("bearer  rst_1 ", Some("rst_1")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Basic cm9vdDo=", None),
            ("rst_1", None),
            ("", None),
        ] {
            assert_eq!(bearer(header.as_bytes()).as_ref().map(|t| t.as_str()), token, "{header}");
        }
        assert!(bearer(b"Bearer \xff").is_none());
        assert!(bearer(format!("Bearer {}", "a".repeat(257)).as_bytes()).is_none());
    }

    /// Planted fault: a budget that never refills, and one that never ends.
    #[test]
    fn the_budget_of_unknown_callers_ends_and_refills() {
        let budget = RefusalBudget::default();
        let at = |minute: i64| Timestamp::from_millis(minute * 60_000);
        let spent = |minute| (0..100).filter(|_| budget.spend(at(minute))).count();
        assert_eq!((spent(1), spent(1), spent(2)), (60, 0, 60));
    }

    #[test]
    fn the_recording_of_a_path() {
        let id = "0192f0c8-7a3b-7c4d-8e5f-123456789abc";
        assert!(recording_in(&format!("/api/v1/recordings/{id}/media")).is_some());
        assert!(recording_in(&format!("/api/v1/recordings/{id}")).is_some());
        assert!(recording_in("/api/v1/recordings").is_none());
        assert!(recording_in("/api/v1/recordings/x").is_none());
        assert!(recording_in(&format!("/api/v1/tokens/{id}")).is_none());
    }
}
