//! States and moments as people write them.

use crate::catalog::MediaState as StateGroup;
use crate::clock::Timestamp;

/// The word people see. `Waiting` is everything from found to being sealed.
pub fn state_word(group: StateGroup) -> &'static str {
    match group {
        StateGroup::Available => "Available",
        StateGroup::PlannedForDeletion => "Planned for deletion of media files",
        StateGroup::Deleted => "Deleted",
        StateGroup::Quarantined => "Quarantined",
        StateGroup::Waiting => "Waiting",
    }
}

/// The group of a word in any case and with any separators, as `--state-is` takes it.
pub fn parse_state(text: &str) -> Option<StateGroup> {
    let letters: String =
        text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    match letters.as_str() {
        "available" => Some(StateGroup::Available),
        "planned" | "plannedfordeletion" | "plannedfordeletionofmediafiles" => {
            Some(StateGroup::PlannedForDeletion)
        }
        "deleted" => Some(StateGroup::Deleted),
        "quarantined" => Some(StateGroup::Quarantined),
        "waiting" => Some(StateGroup::Waiting),
        _ => None,
    }
}

/// A moment as people write it: RFC 3339, or a day, which begins at midnight UTC.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let midnight = format!("{text}T00:00:00Z");
    let moment: jiff::Timestamp = text.parse().or_else(|_| midnight.parse()).ok()?;
    Some(Timestamp::from_millis(moment.as_millisecond()))
}
