use super::*;
use crate::domain::lifecycle::RecordingState;

#[test]
fn every_state_has_a_word_that_reads_back() {
    for state in RecordingState::ALL {
        for is_planned in [false, true] {
            let word = state_word(StateGroup::of(state, is_planned));
            assert_eq!(parse_state(word).map(state_word), Some(word));
        }
    }
    for spelling in ["planned_for_deletion", "PLANNED-FOR-DELETION", "planned for deletion"] {
        assert_eq!(parse_state(spelling), Some(StateGroup::PlannedForDeletion), "{spelling}");
    }
    assert_eq!(parse_state("sealed"), None);
    // Planted fault: a planned recording shown as Available.
    assert_eq!(StateGroup::of(RecordingState::Stored, true), StateGroup::PlannedForDeletion);
}

#[test]
fn cursors_read_back_and_do_not_mix() {
    let id = RecordingId::new();
    assert_eq!(parse_recording_cursor(&recording_cursor(id)).unwrap(), id);
    assert_eq!(parse_audit_cursor(&audit_cursor(u64::MAX)).unwrap(), u64::MAX);
    for bad in ["", "r", "a", "a-1", "rxyz", &audit_cursor(5), &format!("r{id}x")] {
        assert!(parse_recording_cursor(bad).is_err(), "{bad}");
    }
    assert!(parse_audit_cursor(&recording_cursor(id)).is_err());
}

#[test]
fn times_as_people_write_them() {
    let read = |text| parse_time(text).map(|t| t.to_string());
    assert_eq!(read("2026-11-23").as_deref(), Some("2026-11-23T00:00:00.000Z"));
    assert_eq!(read("2026-11-23T10:00:00+02:00").as_deref(), Some("2026-11-23T08:00:00.000Z"));
    for bad in ["", "yesterday", "2026-13-01", "10:00"] {
        assert_eq!(read(bad), None, "{bad}");
    }
}
