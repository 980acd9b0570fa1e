//! The ring and what listeners read out of it.

use crate::clock::Timestamp;
use crate::compliance::erasure::{ErasureJob, ErasureReason, JobProgress, JobState, SelectedBy};
use crate::flow::{ErasureStatus, JobDetail};

use super::*;

fn state(done: u64, oldest_secs: u64, jobs: &[(JobId, JobState)]) -> ErasurePulse {
    let progress = JobProgress { items: 10_000, done_items: done, ..JobProgress::default() };
    let status = ErasureStatus {
        progress,
        oldest_pending: Some(Duration::from_secs(oldest_secs)),
        is_late: false,
        awaiting_approval: 0,
        is_paused: false,
        is_outside_window: false,
        limit_bytes_per_second: 0,
        bytes_per_second: 0,
        recordings_per_minute: 0,
        eta: None,
        active: Vec::new(),
        certificates: 0,
        not_final: 0,
        files_total: 0,
        bytes_total: 0,
        problem: None,
    };
    let detail = |&(id, state): &(JobId, JobState)| JobDetail {
        job: ErasureJob {
            id,
            created_at: Timestamp::from_millis(0),
            requested_by: "uid:0".to_owned(),
            selection: SelectedBy::Recording,
            reason: ErasureReason::Request,
            state,
            approved: None,
            ended_at: (state == JobState::Finished).then(|| Timestamp::from_millis(1)),
            progress,
        },
        eta: None,
    };
    let (open, ended) =
        jobs.iter().map(detail).partition(|one| one.job.state != JobState::Finished);
    ErasurePulse { status, open, ended }
}

fn names(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("event: ")).collect()
}

fn last_id(text: &str) -> String {
    text.lines().rev().find_map(|line| line.strip_prefix("id: ")).unwrap_or_default().to_owned()
}

/// Planted fault: what did not change as an event. Meant to catch, too: an ended job not told; the
/// age of the oldest as an event, one every second for ever.
#[test]
fn only_what_changed_is_an_event() {
    let (feed, job) = (Feed::new(), JobId::new());
    feed.take(state(0, 1, &[(job, JobState::Running)]));
    feed.take(state(0, 2, &[(job, JobState::Running)]));
    let (text, place) = feed.after(0).unwrap();
    assert_eq!((names(&text), place), (vec!["job", "queue"], 2));
    feed.take(state(1, 3, &[(job, JobState::Running)]));
    feed.take(state(1, 3, &[(job, JobState::Finished)]));
    let (text, place) = feed.after(place).unwrap();
    assert_eq!(names(&text), ["job", "queue", "job"]);
    assert!(text.contains("\"finished\""));
    assert!(feed.ring().jobs.is_empty());
    assert_eq!(feed.after(place), Some((String::new(), place)));
}

/// At least the last 1,000 events are there. Planted fault: ids of this start taken for another's.
/// Meant to catch, too: a place that is gone answered with what is left.
#[test]
fn what_was_missed_is_replayed_or_the_listener_is_told() {
    let feed = Feed::new();
    for done in 0..3_000 {
        feed.take(state(done, 0, &[]));
    }
    let id = |number: u64| format!("{}-{number}", feed.start).into_bytes();
    let begin = |id: &[u8]| feed.begin(Some(id), state(2_999, 0, &[]));
    let (text, place) = begin(&id(2_000));
    assert_eq!((names(&text).len(), place), (1_000, 3_000));
    assert_eq!(last_id(&text).into_bytes(), id(3_000));
    assert!(text.starts_with(&format!("id: {}-2001\n", feed.start)));
    assert_eq!(begin(&id(3_000)), (String::new(), 3_000));
    let gone = 3_000 - EVENTS_MAX as u64 - 1;
    for unknown in [id(gone), id(3_001), b"".to_vec(), b"x-1".to_vec(), b"\xff".to_vec()] {
        let (text, place) = begin(&unknown);
        assert_eq!((names(&text), place), (vec!["reset", "queue"], 3_000));
    }
    assert_eq!(names(&begin(&id(gone + 1)).0).len(), EVENTS_MAX);
    let (first, _) = feed.begin(None, state(2_999, 0, &[(JobId::new(), JobState::Paused)]));
    assert_eq!(names(&first), ["queue", "job"], "nothing is reset at the first visit");
}

/// Planted fault: a place that is never given back locks everybody out after a day.
#[test]
fn listeners_are_bounded_and_leave() {
    let feed = Feed::new();
    let seats: Vec<Seat> = (0..LISTENERS_MAX).map(|_| feed.seat().unwrap()).collect();
    assert!(feed.seat().is_none());
    drop(seats);
    assert!(feed.seat().is_some());
}
