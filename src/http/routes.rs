//! The table of the interface: what there is, and what each of it takes.
//!
//! The router is built from it, the picture below says it again, and tests over HTTPS walk it.

use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, delete, get, post, put};

use crate::access::Permission;

use super::guard::Pace;
use super::{
    Services, authority, backup, certificates, erasures, holds, keks, media, recordings, redact,
    renewal, retention, seal_keys, slots, system,
};

/// One entry of the interface.
pub struct Route {
    /// `GET`, `POST`, `PUT` or `DELETE`. `GET` answers `HEAD` too.
    pub method: &'static str,
    /// The pattern.
    pub path: &'static str,
    /// What it takes; `None` is for everybody who reached the door.
    pub needs: Option<Permission>,
    pub(super) pace: Pace,
    pub(super) handler: fn() -> MethodRouter<Services>,
}

/// The whole interface.
pub const ROUTES: &[Route] = {
    use {Pace::Quick, Pace::Slow, Permission as P};
    const fn route(
        method: &'static str,
        path: &'static str,
        needs: Option<Permission>,
        pace: Pace,
        handler: fn() -> MethodRouter<Services>,
    ) -> Route {
        Route { method, path, needs, pace, handler }
    }
    &[
        route("GET", "/api/v1/status", Some(P::StatusView), Quick, || get(system::status)),
        route("POST", "/api/v1/scan", Some(P::RecordingManage), Quick, || post(system::scan)),
        route("POST", "/api/v1/done", Some(P::RecordingManage), Quick, || post(system::done)),
        route("GET", "/api/v1/recordings", Some(P::RecordingList), Quick, || get(recordings::list)),
        route("GET", "/api/v1/recordings/{id}", Some(P::RecordingList), Quick, || {
            get(recordings::show)
        }),
        route("GET", "/api/v1/recordings/{id}/media", Some(P::MediaPlay), Slow, || {
            get(media::play)
        }),
        route("GET", "/api/v1/recordings/{id}/peaks", Some(P::MediaPlay), Quick, || {
            get(media::peaks)
        }),
        route("POST", "/api/v1/recordings/{id}/verify", Some(P::MediaVerify), Slow, || {
            post(recordings::verify)
        }),
        route("POST", "/api/v1/recordings/{id}/key", Some(P::KeyExport), Quick, || {
            post(recordings::export_key)
        }),
        route("POST", "/api/v1/recordings/{id}/release", Some(P::RecordingManage), Quick, || {
            post(recordings::release)
        }),
        route("POST", "/api/v1/recordings/{id}/redact", Some(P::InteractionRedact), Slow, || {
            post(redact::redact)
        }),
        route("GET", "/api/v1/audit", Some(P::AuditView), Quick, || get(system::audit)),
        route("GET", "/api/v1/tokens", Some(P::TokenManage), Quick, || get(system::tokens)),
        route("POST", "/api/v1/tokens", Some(P::TokenManage), Quick, || post(system::create_token)),
        route("DELETE", "/api/v1/tokens/{id}", Some(P::TokenManage), Quick, || {
            delete(system::revoke_token)
        }),
        route("GET", "/api/v1/keys/versions", Some(P::KeyView), Quick, || get(keks::list)),
        route("POST", "/api/v1/keys/versions", Some(P::KeyManage), Quick, || post(keks::rotate)),
        route("GET", "/api/v1/keys/versions/{version}", Some(P::KeyView), Quick, || {
            get(keks::show)
        }),
        route(
            "GET",
            "/api/v1/keys/versions/{version}/certificate",
            Some(P::KeyView),
            Quick,
            || get(keks::certificate),
        ),
        route("POST", "/api/v1/keys/versions/{version}/disable", Some(P::KeyManage), Quick, || {
            post(keks::disable)
        }),
        route("POST", "/api/v1/keys/versions/{version}/enable", Some(P::KeyManage), Quick, || {
            post(keks::enable)
        }),
        route("POST", "/api/v1/keys/versions/{version}/destroy", Some(P::KeyManage), Slow, || {
            post(keks::destroy)
        }),
        route("POST", "/api/v1/keys/versions/{version}/restore", Some(P::KeyManage), Quick, || {
            post(keks::restore)
        }),
        route("POST", "/api/v1/keys/rewrap", Some(P::KeyManage), Slow, || post(keks::rewrap)),
        route("GET", "/api/v1/keys/public", None, Quick, || get(system::public_keys)),
        route("GET", "/api/v1/keys/slots", Some(P::KeyView), Quick, || get(slots::list)),
        route("POST", "/api/v1/keys/slots", Some(P::KeyManage), Slow, || post(slots::add)),
        route("DELETE", "/api/v1/keys/slots/{id}", Some(P::KeyManage), Quick, || {
            delete(slots::remove)
        }),
        route("POST", "/api/v1/keys/slots/{id}/test", Some(P::KeyManage), Slow, || {
            post(slots::test)
        }),
        route("POST", "/api/v1/keys/rotate-root", Some(P::KeyManage), Slow, || {
            post(slots::rotate_root)
        }),
        route("POST", "/api/v1/keys/unlock", Some(P::KeyManage), Quick, || post(slots::unlock)),
        route("GET", "/api/v1/seal-keys", Some(P::KeyView), Quick, || get(seal_keys::list)),
        route("POST", "/api/v1/seal-keys", Some(P::KeyManage), Quick, || post(seal_keys::add)),
        route("POST", "/api/v1/seal-keys/rotate", Some(P::KeyManage), Quick, || {
            post(seal_keys::rotate)
        }),
        route("POST", "/api/v1/seal-keys/{name}/disable", Some(P::KeyManage), Quick, || {
            post(seal_keys::disable)
        }),
        route("POST", "/api/v1/seal-keys/{name}/enable", Some(P::KeyManage), Quick, || {
            post(seal_keys::enable)
        }),
        route("GET", "/api/v1/seal-keys/{name}/public", Some(P::KeyView), Quick, || {
            get(seal_keys::public)
        }),
        route("GET", "/api/v1/certificate", None, Quick, || get(system::certificate)),
        route("GET", "/api/v1/ca", Some(P::KeyView), Quick, || get(authority::show)),
        route("POST", "/api/v1/ca", Some(P::CertificateManage), Quick, || post(authority::create)),
        route("POST", "/api/v1/ca/prepare", Some(P::CertificateManage), Quick, || {
            post(authority::prepare)
        }),
        route("POST", "/api/v1/ca/activate", Some(P::CertificateManage), Quick, || {
            post(authority::activate)
        }),
        route("POST", "/api/v1/ca/taint", Some(P::CertificateManage), Quick, || {
            post(authority::taint)
        }),
        route("POST", "/api/v1/ca/revoke", Some(P::CertificateManage), Quick, || {
            post(authority::revoke_authority)
        }),
        route("GET", "/api/v1/ca/bundle", None, Quick, || get(authority::bundle)),
        route("GET", "/api/v1/ca/crl", None, Quick, || get(authority::crl)),
        route("GET", "/api/v1/ca/certificates", Some(P::KeyView), Quick, || get(authority::issued)),
        route("POST", "/api/v1/ca/certificates", Some(P::CertificateManage), Quick, || {
            post(authority::issue)
        }),
        route(
            "POST",
            "/api/v1/ca/certificates/{id}/revoke",
            Some(P::CertificateManage),
            Quick,
            || post(authority::revoke),
        ),
        route("POST", "/api/v1/certificates/renew", Some(P::CertificateManage), Slow, || {
            post(renewal::renew)
        }),
        route("GET", "/api/v1/certificates", Some(P::KeyView), Quick, || get(certificates::list)),
        route("POST", "/api/v1/certificates", Some(P::CertificateManage), Slow, || {
            post(certificates::import).layer(DefaultBodyLimit::max(certificates::BROUGHT_BYTES_MAX))
        }),
        route("POST", "/api/v1/certificates/check", Some(P::KeyView), Slow, || {
            post(certificates::check).layer(DefaultBodyLimit::max(certificates::BROUGHT_BYTES_MAX))
        }),
        route("POST", "/api/v1/certificates/rollback", Some(P::CertificateManage), Slow, || {
            post(certificates::rollback)
        }),
        route("POST", "/api/v1/certificates/requests", Some(P::CertificateManage), Slow, || {
            post(certificates::request)
        }),
        route(
            "POST",
            "/api/v1/certificates/requests/{id}",
            Some(P::CertificateManage),
            Slow,
            || {
                post(certificates::complete)
                    .layer(DefaultBodyLimit::max(certificates::BROUGHT_BYTES_MAX))
            },
        ),
        route(
            "DELETE",
            "/api/v1/certificates/requests/{id}",
            Some(P::CertificateManage),
            Slow,
            || delete(certificates::cancel),
        ),
        route("GET", "/api/v1/backup", Some(P::KeyView), Quick, || get(backup::status)),
        route("POST", "/api/v1/backup", Some(P::BackupManage), Slow, || post(backup::create)),
        route("GET", "/api/v1/backup/tombstones", Some(P::BackupManage), Slow, || {
            get(backup::tombstones)
        }),
        route("POST", "/api/v1/backup/{id}", Some(P::BackupManage), Quick, || post(backup::note)),
        route("POST", "/api/v1/erasures/plan", Some(P::ErasureOrder), Slow, || {
            post(erasures::plan).layer(DefaultBodyLimit::max(erasures::ORDER_BYTES_MAX))
        }),
        route("POST", "/api/v1/erasures", Some(P::ErasureOrder), Slow, || {
            post(erasures::order).layer(DefaultBodyLimit::max(erasures::ORDER_BYTES_MAX))
        }),
        route("GET", "/api/v1/erasures", Some(P::ErasureView), Quick, || get(erasures::list)),
        route("GET", "/api/v1/erasures/status", Some(P::ErasureView), Quick, || {
            get(erasures::status)
        }),
        route("GET", "/api/v1/erasures/events", Some(P::ErasureView), Quick, || {
            get(erasures::events)
        }),
        route("POST", "/api/v1/erasures/pause", Some(P::ErasureManage), Quick, || {
            post(erasures::pause)
        }),
        route("POST", "/api/v1/erasures/resume", Some(P::ErasureManage), Quick, || {
            post(erasures::resume)
        }),
        route("PUT", "/api/v1/erasures/limit", Some(P::ErasureManage), Quick, || {
            put(erasures::limit)
        }),
        route("POST", "/api/v1/erasures/finalize", Some(P::KeyManage), Slow, || {
            post(erasures::finalize)
        }),
        route("GET", "/api/v1/erasures/{id}", Some(P::ErasureView), Quick, || get(erasures::show)),
        route("GET", "/api/v1/erasures/{id}/items", Some(P::ErasureView), Quick, || {
            get(erasures::items)
        }),
        route("POST", "/api/v1/erasures/{id}/approve", Some(P::ErasureApprove), Quick, || {
            post(erasures::approve)
        }),
        route("POST", "/api/v1/erasures/{id}/pause", Some(P::ErasureManage), Quick, || {
            post(erasures::pause_one)
        }),
        route("POST", "/api/v1/erasures/{id}/resume", Some(P::ErasureManage), Quick, || {
            post(erasures::resume_one)
        }),
        route("POST", "/api/v1/erasures/{id}/cancel", Some(P::ErasureManage), Quick, || {
            post(erasures::cancel)
        }),
        route("GET", "/api/v1/recordings/{id}/certificate", Some(P::ErasureView), Quick, || {
            get(erasures::certificate)
        }),
        route("GET", "/api/v1/recordings/{id}/protections", Some(P::HoldView), Quick, || {
            get(holds::protections)
        }),
        route("PUT", "/api/v1/recordings/{id}/mifid", Some(P::HoldPlace), Quick, || {
            put(holds::mark)
        }),
        route("DELETE", "/api/v1/recordings/{id}/mifid", Some(P::HoldLift), Quick, || {
            delete(holds::unmark)
        }),
        route("GET", "/api/v1/holds", Some(P::HoldView), Quick, || get(holds::list)),
        route("POST", "/api/v1/holds", Some(P::HoldPlace), Quick, || post(holds::place)),
        route("GET", "/api/v1/holds/{id}", Some(P::HoldView), Quick, || get(holds::show)),
        route("DELETE", "/api/v1/holds/{id}", Some(P::HoldLift), Quick, || delete(holds::lift)),
        route("GET", "/api/v1/retention/rules", Some(P::HoldView), Quick, || get(retention::list)),
        route("POST", "/api/v1/retention/rules", Some(P::RetentionManage), Quick, || {
            post(retention::add)
        }),
        route("DELETE", "/api/v1/retention/rules/{id}", Some(P::RetentionManage), Quick, || {
            delete(retention::remove)
        }),
        route("POST", "/api/v1/retention/plan", Some(P::ErasureOrder), Slow, || {
            post(retention::plan)
        }),
        route("POST", "/api/v1/backup/{id}/forget", Some(P::BackupManage), Quick, || {
            post(erasures::forget_backup)
        }),
    ]
};

#[cfg(test)]
mod tests {
    use crate::access::Role;

    use super::*;

    /// One row a route, one column a role.
    const PICTURE: &[(&str, &str)] = &[
        // manager, analyst, admin, ops, auditor, nobody
        ("GET /api/v1/status", "x x x x x ."),
        ("POST /api/v1/scan", ". . x . . ."),
        ("POST /api/v1/done", ". . x . . ."),
        ("GET /api/v1/recordings", "x x x . x ."),
        ("GET /api/v1/recordings/{id}", "x x x . x ."),
        ("GET /api/v1/recordings/{id}/media", "x x . . . ."),
        ("GET /api/v1/recordings/{id}/peaks", "x x . . . ."),
        ("POST /api/v1/recordings/{id}/verify", "x x x . x ."),
        ("POST /api/v1/recordings/{id}/key", ". x . . . ."),
        ("POST /api/v1/recordings/{id}/release", ". . x . . ."),
        ("POST /api/v1/recordings/{id}/redact", ". x . . . ."),
        ("GET /api/v1/audit", ". x . . x ."),
        ("GET /api/v1/tokens", ". . x . . ."),
        ("POST /api/v1/tokens", ". . x . . ."),
        ("DELETE /api/v1/tokens/{id}", ". . x . . ."),
        ("GET /api/v1/keys/versions", ". . x . x ."),
        ("POST /api/v1/keys/versions", ". . x . . ."),
        ("GET /api/v1/keys/versions/{version}", ". . x . x ."),
        ("GET /api/v1/keys/versions/{version}/certificate", ". . x . x ."),
        ("POST /api/v1/keys/versions/{version}/disable", ". . x . . ."),
        ("POST /api/v1/keys/versions/{version}/enable", ". . x . . ."),
        ("POST /api/v1/keys/versions/{version}/destroy", ". . x . . ."),
        ("POST /api/v1/keys/versions/{version}/restore", ". . x . . ."),
        ("POST /api/v1/keys/rewrap", ". . x . . ."),
        ("GET /api/v1/keys/public", "x x x x x x"),
        ("GET /api/v1/keys/slots", ". . x . x ."),
        ("POST /api/v1/keys/slots", ". . x . . ."),
        ("DELETE /api/v1/keys/slots/{id}", ". . x . . ."),
        ("POST /api/v1/keys/slots/{id}/test", ". . x . . ."),
        ("POST /api/v1/keys/rotate-root", ". . x . . ."),
        ("POST /api/v1/keys/unlock", ". . x . . ."),
        ("GET /api/v1/seal-keys", ". . x . x ."),
        ("POST /api/v1/seal-keys", ". . x . . ."),
        ("POST /api/v1/seal-keys/rotate", ". . x . . ."),
        ("POST /api/v1/seal-keys/{name}/disable", ". . x . . ."),
        ("POST /api/v1/seal-keys/{name}/enable", ". . x . . ."),
        ("GET /api/v1/seal-keys/{name}/public", ". . x . x ."),
        ("GET /api/v1/certificate", "x x x x x x"),
        ("GET /api/v1/ca", ". . x . x ."),
        ("POST /api/v1/ca", ". . x . . ."),
        ("POST /api/v1/ca/prepare", ". . x . . ."),
        ("POST /api/v1/ca/activate", ". . x . . ."),
        ("POST /api/v1/ca/taint", ". . x . . ."),
        ("POST /api/v1/ca/revoke", ". . x . . ."),
        ("GET /api/v1/ca/bundle", "x x x x x x"),
        ("GET /api/v1/ca/crl", "x x x x x x"),
        ("GET /api/v1/ca/certificates", ". . x . x ."),
        ("POST /api/v1/ca/certificates", ". . x . . ."),
        ("POST /api/v1/ca/certificates/{id}/revoke", ". . x . . ."),
        ("POST /api/v1/certificates/renew", ". . x . . ."),
        ("GET /api/v1/certificates", ". . x . x ."),
        ("POST /api/v1/certificates", ". . x . . ."),
        ("POST /api/v1/certificates/check", ". . x . x ."),
        ("POST /api/v1/certificates/rollback", ". . x . . ."),
        ("POST /api/v1/certificates/requests", ". . x . . ."),
        ("POST /api/v1/certificates/requests/{id}", ". . x . . ."),
        ("DELETE /api/v1/certificates/requests/{id}", ". . x . . ."),
        ("GET /api/v1/backup", ". . x . x ."),
        ("POST /api/v1/backup", ". . x . . ."),
        ("GET /api/v1/backup/tombstones", ". . x . . ."),
        ("POST /api/v1/backup/{id}", ". . x . . ."),
        ("POST /api/v1/erasures/plan", ". x . . . ."),
        ("POST /api/v1/erasures", ". x . . . ."),
        ("GET /api/v1/erasures", "x x x x x ."),
        ("GET /api/v1/erasures/status", "x x x x x ."),
        ("GET /api/v1/erasures/events", "x x x x x ."),
        ("POST /api/v1/erasures/pause", ". x x . . ."),
        ("POST /api/v1/erasures/resume", ". x x . . ."),
        ("PUT /api/v1/erasures/limit", ". x x . . ."),
        ("POST /api/v1/erasures/finalize", ". . x . . ."),
        ("GET /api/v1/erasures/{id}", "x x x x x ."),
        ("GET /api/v1/erasures/{id}/items", "x x x x x ."),
        ("POST /api/v1/erasures/{id}/approve", ". x . . . ."),
        ("POST /api/v1/erasures/{id}/pause", ". x x . . ."),
        ("POST /api/v1/erasures/{id}/resume", ". x x . . ."),
        ("POST /api/v1/erasures/{id}/cancel", ". x x . . ."),
        ("GET /api/v1/recordings/{id}/certificate", "x x x x x ."),
        ("GET /api/v1/recordings/{id}/protections", "x x . . x ."),
        ("PUT /api/v1/recordings/{id}/mifid", ". x . . . ."),
        ("DELETE /api/v1/recordings/{id}/mifid", ". x . . . ."),
        ("GET /api/v1/holds", "x x . . x ."),
        ("POST /api/v1/holds", ". x . . . ."),
        ("GET /api/v1/holds/{id}", "x x . . x ."),
        ("DELETE /api/v1/holds/{id}", ". x . . . ."),
        ("GET /api/v1/retention/rules", "x x . . x ."),
        ("POST /api/v1/retention/rules", ". x . . . ."),
        ("DELETE /api/v1/retention/rules/{id}", ". x . . . ."),
        ("POST /api/v1/retention/plan", ". x . . . ."),
        ("POST /api/v1/backup/{id}/forget", ". . x . . ."),
    ];

    /// Who may use what, as a picture: one row a route, one column a role. A new route fails here
    /// until somebody has thought about each role. Planted fault: `None` for the key export.
    #[test]
    fn every_route_and_every_role() {
        let found: Vec<(String, String)> = ROUTES
            .iter()
            .map(|route| {
                let may = |held: &[Permission]| match route.needs {
                    None => "x",
                    Some(needed) if held.contains(&needed) => "x",
                    Some(_) => ".",
                };
                let mut row: Vec<&str> =
                    Role::ALL.iter().map(|role| may(role.permissions())).collect();
                row.push(may(&[]));
                (format!("{} {}", route.method, route.path), row.join(" "))
            })
            .collect();
        let wanted: Vec<(String, String)> =
            PICTURE.iter().map(|(route, row)| (route.to_string(), row.to_string())).collect();
        assert_eq!(found, wanted);
    }
}
