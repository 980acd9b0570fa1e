//! What went wrong, as the caller sees it: RFC 9457 problems with a stable `code` and a `hint`.
//!
//! The caller sees the code and one sentence; the log sees the whole chain of sources. Both are
//! free of paths and names, because the errors below are.

use std::error::Error;

use axum::Json;
use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use keymanager::{BackupError, KeyError};
use serde::Serialize;

use crate::access::Refused;
use crate::domain::lifecycle::RecordingState;
use crate::flow::FlowError;

/// One answer that is not a success.
#[derive(Debug)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable word that programs may branch on. Never rename one.
    pub code: &'static str,
    /// One sentence about this case.
    pub detail: String,
    /// What to do about it.
    pub hint: String,
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    hint: &'a str,
}

impl ApiError {
    /// An error with its four parts.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { status, code, detail: detail.into(), hint: hint.into() }
    }

    /// 400 with what is wrong and what would be right.
    pub fn bad_request(detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail, hint)
    }

    /// 401: nobody, or a token that is unknown, expired or revoked. Does not say which.
    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "a valid bearer token is needed",
            "send `Authorization: Bearer rst_…`; `recseal tokens create` on the host makes one",
        )
    }

    /// 403 with the permission that is missing.
    pub fn forbidden(refused: Refused) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            refused.to_string(),
            "ask for a role that includes it, or run the command as root on the host",
        )
    }

    /// 503 because a limit was reached.
    pub fn busy(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail, "try again in a few seconds")
    }

    /// 500 for a broken invariant.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the daemon failed to answer",
            "this is a defect: its log says more",
        )
    }
}

impl ApiError {
    /// The problem document, where it is not the whole answer.
    pub(super) fn document(&self) -> serde_json::Value {
        serde_json::to_value(self.problem()).unwrap_or_default()
    }

    fn problem(&self) -> Problem<'_> {
        Problem {
            r#type: format!("urn:recseal:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            hint: &self.hint,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.problem())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"recseal\""),
            );
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// The one place where what went wrong inside becomes what is said outside.
impl From<FlowError> for ApiError {
    fn from(error: FlowError) -> Self {
        use {FlowError as F, StatusCode as S};
        if let F::Keys(keymanager::KeyError::Authority(error)) = &error {
            return super::authority::refused(error);
        }
        if let F::Keys(error) = &error
            && let Some((status, code, hint)) = key_refusal(error)
        {
            return Self::new(status, code, error.to_string(), hint);
        }
        let detail = error.to_string();
        let (status, code, hint) = match &error {
            F::NotFound(_) => (S::NOT_FOUND, "not-found", "`recseal recordings` lists the ids"),
            F::NoSuchStore => (S::NOT_FOUND, "no-such-store", "`recseal status` lists the stores"),
            F::NoSuchToken => {
                (S::NOT_FOUND, "no-such-token", "list them with `recseal tokens list`")
            }
            F::NotOpen { state, .. } => not_open(*state),
            F::SealedToPublicKey { to, .. } => return super::seal_keys::sealed(detail, to),
            F::Keys(KeyError::SealKey(error)) => return super::seal_keys::refusal(error),
            F::Invalid { .. } => (S::UNPROCESSABLE_ENTITY, "invalid", "nothing was changed"),
            F::Damaged { .. } => (
                S::INTERNAL_SERVER_ERROR,
                "damaged",
                "restore the sealed copy from a backup, then run `recseal verify`",
            ),
            F::KeyInUse { .. } => (S::CONFLICT, "key-in-use", KEY_IN_USE),
            F::NoTombstone { .. } => {
                (S::NOT_FOUND, "no-certificate", "`recseal keys list` shows the versions")
            }
            F::ConfirmCount { recordings, .. } => return confirm_count(detail, *recordings),
            F::SamePerson => (S::FORBIDDEN, "same-person", SAME_PERSON),
            F::NoSuchJob => (S::NOT_FOUND, "no-such-erasure", "`recseal erase list` shows them"),
            F::JobState { .. } => {
                (S::CONFLICT, "erasure-state", "`recseal erase status JOB` shows it")
            }
            F::NoSuchHold => (S::NOT_FOUND, "no-such-hold", "`recseal holds list` shows them"),
            F::NoSuchRule => (S::NOT_FOUND, "no-such-rule", "`recseal retention list` shows them"),
            F::NotErased { .. } => (S::CONFLICT, "not-erased", NOT_ERASED),
            F::ClockSuspect => (S::CONFLICT, "clock-suspect", CLOCK_SUSPECT),
            F::Backup(source) => backup_refusal(source),
            F::BackupRunning => {
                (S::CONFLICT, "backup-running", "wait until it is done, then try again")
            }
            F::NoSuchBackup => {
                (S::NOT_FOUND, "no-such-backup", "`recseal backup status` lists them")
            }
            F::BackupFolder { .. } => (S::SERVICE_UNAVAILABLE, "backup-failed", BACKUP_FOLDER),
            F::Keys(_) => (S::SERVICE_UNAVAILABLE, "keys-refused", KEYS_REFUSED),
            F::Catalog(_) => (
                S::INTERNAL_SERVER_ERROR,
                "catalog-failed",
                "check the disk of the state folder, then the log of the daemon",
            ),
            F::Redaction { source, .. } => super::redact::refusal(source),
            F::RedactionRunning => super::redact::RUNNING,
            F::Vault { .. } | F::Sidecar { .. } => (
                S::SERVICE_UNAVAILABLE,
                "storage-failed",
                "check that the disk of the vault is mounted and has free space",
            ),
        };
        if status.is_server_error() {
            tracing::error!(code, error = chain(&error), "request failed");
        }
        Self::new(status, code, detail, hint)
    }
}

fn confirm_count(detail: String, recordings: u64) -> ApiError {
    let hint = format!(
        "look at the plan, then repeat the number: `confirm` {recordings}, or --confirm {recordings}"
    );
    ApiError::new(StatusCode::CONFLICT, "confirm-count", detail, hint)
}

/// What is wrong with the ways that a backup should open by, or with writing it.
fn backup_refusal(error: &BackupError) -> (StatusCode, &'static str, &'static str) {
    use BackupError as B;
    let (status, code) = match error {
        B::PassphraseLength { .. } | B::KeyText { .. } | B::Ways { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "backup-way")
        }
        _ => (StatusCode::SERVICE_UNAVAILABLE, "backup-failed"),
    };
    (status, code, error.hint())
}

/// What the keys refuse because it makes no sense, and not because they are not well.
fn key_refusal(error: &KeyError) -> Option<(StatusCode, &'static str, &'static str)> {
    match error {
        KeyError::UnknownVersion { .. } => Some((
            StatusCode::NOT_FOUND,
            "no-such-key-version",
            "`recseal keys list` shows the versions",
        )),
        KeyError::ActiveVersion { .. } => Some((
            StatusCode::CONFLICT,
            "key-active",
            "let another version take over first: `recseal keys rotate`",
        )),
        KeyError::IllegalKeyTransition { .. } => Some((
            StatusCode::CONFLICT,
            "key-state",
            "disabled: `recseal keys enable VERSION`; destroy_scheduled: `recseal keys restore \
             VERSION`; from destroying and destroyed there is no way back",
        )),
        KeyError::DamagedGenerationLeft { .. } => Some((
            StatusCode::CONFLICT,
            "key-destruction-blocked",
            "remove `damaged-gen-N` from the key store once nothing in it is needed",
        )),
        _ => None,
    }
}

fn not_open(state: RecordingState) -> (StatusCode, &'static str, &'static str) {
    use RecordingState as S;
    match state {
        S::Found | S::Settled | S::Sealing => (
            StatusCode::CONFLICT,
            "not-sealed-yet",
            "wait until `recseal recordings show ID` says Available",
        ),
        S::Quarantined => (
            StatusCode::CONFLICT,
            "quarantined",
            "`recseal recordings show ID` says why; release it when that is mended",
        ),
        S::Erasing | S::Erased => {
            (StatusCode::GONE, "deleted", "its key was destroyed: nobody can open it any more")
        }
        S::Sealed | S::Stored => (
            StatusCode::CONFLICT,
            "not-open",
            "try again; if it stays so, `recseal verify ID` says more",
        ),
    }
}

/// `error` and its sources on one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let hint = "correct the member that is named, and leave out what is not known";
        match rejection.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "the body must be JSON",
                "send `Content-Type: application/json`",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => too_large(),
            _ => Self::bad_request(one_line(&rejection.body_text()), hint),
        }
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(),
            _ => Self::bad_request(one_line(&rejection.body_text()), "send the whole body"),
        }
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::bad_request(one_line(&rejection.body_text()), "ids are UUIDs, as the lists show them")
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(one_line(&rejection.body_text()), "correct or leave out the parameter")
    }
}

fn too_large() -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        "the body is longer than this address takes",
        "no request of this interface needs that much",
    )
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ").chars().take(300).collect()
}

const NOT_ERASED: &str =
    "a certificate comes with the end: `recseal erase status` shows how far it is";
const SAME_PERSON: &str =
    "somebody else has to approve it: another user, or a token of another name";
const BACKUP_FOLDER: &str = "check that the folder exists, has room and is writable";
const CLOCK_SUSPECT: &str = "set the clock of this host right, by NTP for example, then try again";
const KEYS_REFUSED: &str = "`recseal doctor` on the host says what the Key Manager lacks";
const KEY_IN_USE: &str = "`recseal keys rewrap --wait` moves them to the active version; those of \
     a disabled version need `recseal keys enable VERSION` first";

#[cfg(test)]
mod tests {
    use std::io;

    use keymanager::{SealKeyError, SealKeyId};
    use uuid::Uuid;

    use crate::catalog::CatalogError;
    use crate::compliance::erasure::JobState;
    use crate::domain::RecordingId;
    use crate::flow::SealedTo;
    use crate::media::redact::RedactError;
    use crate::seal::SealError;
    use crate::vault::VaultError;

    use super::*;

    /// Codes and statuses are part of the interface. Planted fault: mapping `Erased` to 409
    /// makes clients try again for ever.
    #[test]
    fn inside_errors_have_stable_outsides() {
        let id = RecordingId(Uuid::nil());
        let source = || io::Error::other("device is gone");
        let seal_key = SealKeyId::from_bytes(&[7; 8]).unwrap();
        let cases = [
            (FlowError::NotFound(id), 404, "not-found"),
            (FlowError::NoSuchStore, 404, "no-such-store"),
            (FlowError::NoSuchToken, 404, "no-such-token"),
            (FlowError::NotOpen { id, state: RecordingState::Settled }, 409, "not-sealed-yet"),
            (FlowError::NotOpen { id, state: RecordingState::Quarantined }, 409, "quarantined"),
            (FlowError::NotOpen { id, state: RecordingState::Erased }, 410, "deleted"),
            (FlowError::Invalid { what: "name", why: "empty".into() }, 422, "invalid"),
            (
                FlowError::Damaged { id, source: SealError::ReadSealed { source: source() } },
                500,
                "damaged",
            ),
            (FlowError::Keys(KeyError::NoStore), 503, "keys-refused"),
            (
                FlowError::SealedToPublicKey { id, to: SealedTo { id: seal_key, name: None } },
                409,
                "sealed-to-public-key",
            ),
            (FlowError::Keys(SealKeyError::UnknownName.into()), 404, "no-such-seal-key"),
            (FlowError::Keys(KeyError::ActiveVersion { version: 1 }), 409, "key-active"),
            (FlowError::Keys(KeyError::UnknownVersion { version: 1 }), 404, "no-such-key-version"),
            (FlowError::KeyInUse { version: 1, recordings: 2 }, 409, "key-in-use"),
            (FlowError::ClockSuspect, 409, "clock-suspect"),
            (FlowError::ConfirmCount { recordings: 7, bytes: 1 }, 409, "confirm-count"),
            (FlowError::SamePerson, 403, "same-person"),
            (FlowError::NoSuchJob, 404, "no-such-erasure"),
            (FlowError::JobState { state: JobState::Paused }, 409, "erasure-state"),
            (FlowError::NoSuchHold, 404, "no-such-hold"),
            (FlowError::NoSuchRule, 404, "no-such-rule"),
            (FlowError::NotErased { id, state: RecordingState::Stored }, 409, "not-erased"),
            (FlowError::NoTombstone { version: 1 }, 404, "no-certificate"),
            (CatalogError::File { source: source() }.into(), 500, "catalog-failed"),
            (FlowError::Vault { id, source: VaultError::Missing }, 503, "storage-failed"),
            (FlowError::RedactionRunning, 409, "redaction-running"),
            (
                FlowError::Redaction { id, source: RedactError::NoFfmpeg },
                422,
                "redaction-needs-ffmpeg",
            ),
        ];
        for (error, status, code) in cases {
            let outside = ApiError::from(error);
            assert_eq!((outside.status.as_u16(), outside.code), (status, code));
            assert!(!outside.hint.is_empty());
            // The cause is for the log.
            assert!(!outside.detail.contains("device is gone"), "{}", outside.detail);
            let response = outside.into_response();
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            assert_eq!(response.headers().contains_key("retry-after"), status == 503);
        }
    }

    #[test]
    fn a_chain_names_every_cause() {
        let source = io::Error::other("device is gone");
        let error = FlowError::from(CatalogError::File { source });
        let whole = chain(&error);
        assert!(whole.starts_with("the catalog failed: "), "{whole}");
        assert!(whole.ends_with(": device is gone"), "{whole}");
    }
}
