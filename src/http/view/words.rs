//! States as people write them.

use crate::catalog::MediaState as StateGroup;

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
