//! What a handler takes out of a request, with our errors instead of the framework's.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::domain::RecordingId;

use super::{ApiError, Services};

/// The recording named in the path.
pub(super) struct Id(pub(super) RecordingId);

impl FromRequestParts<Services> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, services: &Services) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, services).await?;
        text.parse().map(Self).map_err(|_| {
            ApiError::bad_request(
                "this is not the id of a recording",
                "ids are UUIDs, as the lists show them",
            )
        })
    }
}

/// The query string; unknown parameters are refused where `T` says so.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Services> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, services: &Services) -> Result<Self, ApiError> {
        let Query(value) = Query::<T>::from_request_parts(parts, services).await?;
        Ok(Self(value))
    }
}

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Services> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, services: &Services) -> Result<Self, ApiError> {
        let Json(value) = Json::<T>::from_request(request, services).await?;
        Ok(Self(value))
    }
}
