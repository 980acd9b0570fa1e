//! Logs and metrics. Neither carries a path, a name, a number or anything else about people.
//!
//! Logs go to the journal when systemd connected us to it, as lines for people on a terminal, as
//! JSON otherwise. Metrics are drawn from one [`Status`] at the moment of asking, so they cannot
//! disagree with what `recseal status` says.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock::Timestamp;
use crate::flow::{ErasureStatus, Status};

/// Where log lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// The systemd journal, with fields.
    Journal,
    /// Lines for people.
    Terminal,
    /// One JSON object a line.
    Json,
}

/// Starts logging from `level` on. A second call in one process changes nothing.
///
/// An unreachable journal falls back to JSON on stderr: logging never stops the daemon.
pub fn start(level: LevelFilter) {
    #[expect(clippy::disallowed_methods, reason = "set by systemd, not by a person")]
    let journal_stream = std::env::var("JOURNAL_STREAM").ok();
    let stderr = std::io::stderr();
    let stream_id = rustix::fs::fstat(stderr.as_fd())
        .map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino))
        .unwrap_or_default();
    let registry = tracing_subscriber::registry().with(level);
    let lines = || tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // Failing means that a subscriber is set already, which is what we want.
    let _ = match choose(journal_stream.as_deref(), &stream_id, stderr.is_terminal()) {
        LogTarget::Terminal => registry.with(lines().with_target(false)).try_init(),
        LogTarget::Json => registry.with(lines().json()).try_init(),
        LogTarget::Journal => match tracing_journald::layer() {
            Ok(journal) => registry.with(journal).try_init(),
            Err(_) => registry.with(lines().json()).try_init(),
        },
    };
}

/// systemd names the journal's stream in `JOURNAL_STREAM`; it is ours only if stderr is still
/// that stream and not a file that somebody redirected it to.
fn choose(journal_stream: Option<&str>, stderr_id: &str, is_terminal: bool) -> LogTarget {
    match journal_stream {
        Some(stream) if stream == stderr_id => LogTarget::Journal,
        _ if is_terminal => LogTarget::Terminal,
        _ => LogTarget::Json,
    }
}

/// What is counted by the doors themselves.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
}

/// A route is a pattern of the router, never a path somebody asked for: its number is bounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

/// A version that goes on changes its label: the old line ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyVersionLabels {
    version: u32,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByLabel {
    by: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabel {
    source: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: &'static str,
}

impl Metrics {
    /// Counts one answered request. `route` is the pattern, `unmatched` where there is none.
    pub fn count_request(&self, route: &str, status: u16) {
        let labels = RequestLabels { route: route.to_owned(), status: status.into() };
        self.requests.get_or_create(&labels).inc();
    }

    /// What there is to tell while the keys are locked, in OpenMetrics text form.
    pub fn render_locked() -> &'static str {
        "# HELP recseal_key_sealed 1 while the keys are not open.\n\
         # TYPE recseal_key_sealed gauge\n\
         recseal_key_sealed 1\n\
         # EOF\n"
    }

    /// Everything in OpenMetrics text form.
    pub fn render(&self, status: &Status) -> String {
        let mut registry = Registry::with_prefix("recseal");
        let version = [("version", status.version)];
        registry.register("build", "What is running", Info::new(version));
        registry.register("http_requests", "Requests answered", self.requests.clone());
        recordings(&mut registry, status);
        key_versions(&mut registry, status);
        let totals = &status.totals;
        for (name, help, value) in [
            ("sealed", "Recordings sealed since start", totals.sealed),
            ("sealed_bytes", "Bytes of media sealed since start", totals.sealed_bytes),
            ("seal_failures", "Sealing attempts that failed since start", totals.seal_failures),
            ("originals_removed", "Originals destroyed since start", totals.originals_removed),
            ("watch_overflows", "Event queues that overflowed", totals.watch_overflows),
            ("scans", "Full scans of a store since start", totals.scans),
        ] {
            let counter: Counter = Counter::default();
            counter.inc_by(value);
            registry.register(name, help, counter);
        }
        let stores_lost = status.stores.iter().filter(|store| store.state == "lost").count();
        for (name, help, value) in [
            ("watch_watches", "Folders watched by events", gauged(totals.watches)),
            ("stores", "Watched trees", gauged(status.stores.len() as u64)),
            ("stores_lost", "Watched trees that cannot be read", gauged(stores_lost as u64)),
            ("ready", "1 once everything works", i64::from(status.ready)),
            ("key_sealed", "1 while the keys are not open", i64::from(status.sealed_keys)),
            ("warnings", "Warnings shown by status", gauged(status.warnings.len() as u64)),
            (
                "tls_not_after_seconds",
                "When the certificate ends, seconds since 1970",
                status.certificate.not_after.as_millis() / 1_000,
            ),
            (
                "started_seconds",
                "When the daemon started, seconds since 1970",
                status.started_at.as_millis() / 1_000,
            ),
        ] {
            let gauge: Gauge = Gauge::default();
            gauge.set(value);
            registry.register(name, help, gauge);
        }
        renewals(&mut registry, status);
        backups(&mut registry, status);
        erasures(&mut registry, &status.erasure);
        let mut text = String::new();
        encode(&mut text, &registry).expect("writing to a string cannot fail");
        text
    }
}

fn erasures(registry: &mut Registry, erasure: &ErasureStatus) {
    let (files, bytes) = erasure.progress.pending();
    let seconds = |span: Option<Duration>| gauged(span.map_or(0, |span| span.as_secs()));
    for (name, help, value) in [
        ("erasure_pending_files", "Recordings that are owed and may go", gauged(files)),
        ("erasure_pending_bytes", "Their bytes", gauged(bytes)),
        (
            "erasure_blocked_files",
            "Recordings that are owed and protected",
            gauged(erasure.progress.blocked_items),
        ),
        (
            "erasure_failing_files",
            "Recordings that could not be erased yet",
            gauged(erasure.progress.failing_items),
        ),
        (
            "erasure_oldest_pending_seconds",
            "How long the oldest obligation waits",
            seconds(erasure.oldest_pending),
        ),
        ("erasure_late", "1 while that is longer than was allowed", i64::from(erasure.is_late)),
        (
            "erasure_rate_bytes_per_second",
            "Bytes erased per second, of the last minute of work",
            gauged(erasure.bytes_per_second),
        ),
        ("erasure_eta_seconds", "Until all that may go is gone", seconds(erasure.eta)),
        ("erasure_paused", "1 while a person stopped it", i64::from(erasure.is_paused)),
        (
            "erasure_awaiting_approval",
            "Jobs that await a second person",
            gauged(erasure.awaiting_approval),
        ),
        (
            "erasure_not_final",
            "Erased recordings that an old backup and its keys could bring back",
            gauged(erasure.not_final),
        ),
    ] {
        let gauge: Gauge = Gauge::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    }
    for (name, help, value) in [
        ("erasure_certificates", "Certificates of erasure ever issued", erasure.certificates),
        ("erasure_files", "Recordings erased since start", erasure.files_total),
        ("erasure_bytes", "Bytes erased since start", erasure.bytes_total),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
}

fn backups(registry: &mut Registry, status: &Status) {
    let backup = &status.backup;
    for (name, help, value) in [
        (
            "backup_verified_seconds",
            "When the newest verified backup was made, seconds since 1970; 0 if there is none",
            backup.verified_of.map_or(0, |at| at.as_millis() / 1_000),
        ),
        (
            "backup_newer_recordings",
            "Recordings that the newest verified backup lacks",
            gauged(backup.newer_recordings),
        ),
        (
            "backup_failed",
            "1 while the last automatic backup failed",
            i64::from(backup.failed_at.is_some()),
        ),
    ] {
        let gauge: Gauge = Gauge::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    }
}

fn recordings(registry: &mut Registry, status: &Status) {
    let files = Family::<StateLabel, Gauge>::default();
    let counts = &status.recordings;
    for (state, count) in [
        ("available", counts.available),
        ("planned_for_deletion", counts.planned_for_deletion),
        ("deleted", counts.deleted),
        ("quarantined", counts.quarantined),
        ("waiting", counts.waiting),
    ] {
        files.get_or_create(&StateLabel { state }).set(gauged(count));
    }
    registry.register("files", "Recordings by what people see of their state", files);
    let waiting: Gauge = Gauge::default();
    waiting.set(gauged(counts.waiting_bytes));
    registry.register("waiting_bytes", "Bytes of media still to be sealed", waiting);

    let found = Family::<ByLabel, Counter>::default();
    let by_scan = status.totals.found_by_scan;
    let by_event = status.totals.found.saturating_sub(by_scan);
    found.get_or_create(&ByLabel { by: "event" }).inc_by(by_event);
    found.get_or_create(&ByLabel { by: "scan" }).inc_by(by_scan);
    registry.register("files_found", "Files found since start", found);
}

fn key_versions(registry: &mut Registry, status: &Status) {
    let keys = &status.keys;
    let states = Family::<KeyVersionLabels, Gauge>::default();
    for info in &keys.versions {
        let labels = KeyVersionLabels { version: info.version, state: info.state.as_str() };
        states.get_or_create(&labels).set(1);
    }
    registry.register("key_version_state", "The state of each key version", states);
    let next = keys.next_rotation_at.map_or(0, |moment| moment.as_millis() / 1_000);
    for (name, help, value) in [
        ("key_active_age_seconds", "Age of the active version", gauged(keys.active_age.as_secs())),
        ("key_rewrap_pending", "Data keys to be wrapped anew", gauged(keys.rewrap_pending)),
        ("key_next_rotation_timestamp_seconds", "When it is replaced; 0: by people", next),
    ] {
        let gauge: Gauge = Gauge::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    }
}

/// The certificate over time. `tls_not_after_seconds` is the older name of the first one.
fn renewals(registry: &mut Registry, status: &Status) {
    let (certificate, renewal) = (&status.certificate, &status.renewal);
    let seconds = |moment: Option<Timestamp>| moment.map_or(0, |at| at.as_millis() / 1_000);
    let by_source = |at: Option<Timestamp>| {
        let family = Family::<SourceLabel, Gauge>::default();
        family.get_or_create(&SourceLabel { source: certificate.source }).set(seconds(at));
        family
    };
    for (name, help, at) in [
        ("not_after", "When the certificate ends", Some(certificate.not_after)),
        ("not_before", "When the certificate began", Some(certificate.not_before)),
        ("renewal", "When its renewal is planned, 0 if nobody renews it", renewal.next),
        ("last_success", "When it was last renewed, 0 if never", renewal.last_success),
    ] {
        let name = format!("certificate_{name}_timestamp_seconds");
        registry.register(name, format!("{help}, seconds since 1970"), by_source(at));
    }
    let results = Family::<ResultLabel, Counter>::default();
    results.get_or_create(&ResultLabel { result: "ok" }).inc_by(renewal.renewed);
    results.get_or_create(&ResultLabel { result: "failed" }).inc_by(renewal.failed);
    registry.register("certificate_renewals", "Renewals since start", results);
    for (name, help, value) in [
        ("certificate_consecutive_failures", "Failed renewals in a row", renewal.failures.into()),
        ("clock_suspect", "1 while the clock is not believed", renewal.clock_suspect.into()),
    ] {
        let gauge: Gauge = Gauge::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    }
    let served = Family::<ListenerLabel, Gauge>::default();
    if let Some(matches) = renewal.served_matches {
        served.get_or_create(&ListenerLabel { listener: "https" }).set(matches.into());
    }
    let help = "1 if the listener serves the stored certificate, asked every ten minutes";
    registry.register("certificate_served_matches_store", help, served);
}

fn gauged(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What `/metrics` is served as.
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[cfg(test)]
mod tests {
    use crate::compliance::erasure::JobProgress;
    use crate::flow::{BackupStatus, CertificateStatus, Counts, KeysStatus, RenewalStatus, Totals};

    use super::*;

    /// Planted fault: choosing the journal whenever `JOURNAL_STREAM` is set loses the lines of
    /// `recseal serve 2> file` inside a unit.
    #[test]
    fn the_journal_only_if_stderr_is_it() {
        for (stream, stderr, terminal, target) in [
            (Some("1:2"), "1:2", false, LogTarget::Journal),
            (Some("1:2"), "1:3", false, LogTarget::Json),
            (Some("1:2"), "1:3", true, LogTarget::Terminal),
            (None, "1:2", true, LogTarget::Terminal),
            (None, "1:2", false, LogTarget::Json),
        ] {
            assert_eq!(choose(stream, stderr, terminal), target);
        }
    }

    fn owed() -> ErasureStatus {
        let progress = JobProgress {
            items: 10,
            bytes: 100,
            done_items: 3,
            done_bytes: 15,
            blocked_items: 2,
            blocked_bytes: 5,
            failing_items: 1,
            ..JobProgress::default()
        };
        ErasureStatus {
            progress,
            oldest_pending: Some(Duration::from_secs(60)),
            is_late: true,
            awaiting_approval: 4,
            is_paused: true,
            is_outside_window: false,
            limit_bytes_per_second: 0,
            bytes_per_second: 12,
            recordings_per_minute: 1,
            eta: Some(Duration::from_secs(30)),
            active: vec![],
            certificates: 8,
            not_final: 6,
            files_total: 3,
            bytes_total: 99,
            problem: None,
        }
    }

    fn status() -> Status {
        let start = Timestamp::from_millis(1_000);
        Status {
            version: "0.1.0",
            ready: true,
            sealed_keys: false,
            recordings: Counts { available: 3, waiting: 2, waiting_bytes: 9, ..Counts::default() },
            certificate: CertificateStatus {
                not_before: start,
                not_after: Timestamp::from_millis(2_000_000),
                names: vec![],
                sha256: String::new(),
                source: "self-signed",
            },
            stores: vec![],
            warnings: vec![],
            checks: vec![],
            started_at: start,
            keys: KeysStatus {
                rewrap_pending: 12,
                next_rotation_at: Some(Timestamp::from_millis(3_000)),
                ..KeysStatus::default()
            },
            totals: Totals { found: 7, found_by_scan: 5, sealed_bytes: 11, ..Totals::default() },
            renewal: RenewalStatus {
                renewed: 3,
                failures: 2,
                served_matches: Some(true),
                ..RenewalStatus::default()
            },
            backup: BackupStatus { verified_of: Some(start), ..BackupStatus::default() },
            erasure: owed(),
        }
    }

    #[test]
    fn metrics_have_their_names() {
        let metrics = Metrics::default();
        metrics.count_request("/api/v1/recordings/{id}", 404);
        metrics.count_request("/api/v1/recordings/{id}", 404);
        let text = metrics.render(&status());
        for line in [
            "recseal_build_info{version=\"0.1.0\"} 1",
            "recseal_files{state=\"available\"} 3",
            "recseal_files{state=\"quarantined\"} 0",
            "recseal_backup_verified_seconds 1",
            "recseal_files_found_total{by=\"event\"} 2",
            "recseal_files_found_total{by=\"scan\"} 5",
            "recseal_sealed_bytes_total 11",
            "recseal_seal_failures_total 0",
            "recseal_watch_overflows_total 0",
            "recseal_tls_not_after_seconds 2000",
            "recseal_certificate_not_after_timestamp_seconds{source=\"self-signed\"} 2000",
            "recseal_certificate_renewals_total{result=\"ok\"} 3",
            "recseal_certificate_renewals_total{result=\"failed\"} 0",
            "recseal_certificate_consecutive_failures 2",
            "recseal_certificate_served_matches_store{listener=\"https\"} 1",
            "recseal_clock_suspect 0",
            "recseal_waiting_bytes 9",
            "recseal_erasure_pending_files 5",
            "recseal_erasure_pending_bytes 80",
            "recseal_erasure_blocked_files 2",
            "recseal_erasure_failing_files 1",
            "recseal_erasure_oldest_pending_seconds 60",
            "recseal_erasure_late 1",
            "recseal_erasure_rate_bytes_per_second 12",
            "recseal_erasure_eta_seconds 30",
            "recseal_erasure_paused 1",
            "recseal_erasure_awaiting_approval 4",
            "recseal_erasure_not_final 6",
            "recseal_erasure_certificates_total 8",
            "recseal_erasure_files_total 3",
            "recseal_erasure_bytes_total 99",
            "recseal_key_rewrap_pending 12",
            "recseal_key_next_rotation_timestamp_seconds 3",
            "recseal_http_requests_total{route=\"/api/v1/recordings/{id}\",status=\"404\"} 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
