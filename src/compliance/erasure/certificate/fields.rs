//! What each line of a certificate means, in a sentence: for people who read one.

use crate::compliance::erasure::{ErasureReason, SelectedBy};
use crate::domain::doomed::DoomedKind;

use super::text::{Hex, unknown_as_dash};
use super::{CertificateFacts, CertifiedFile, History, KeyFate, MetadataFate};

/// One line of a certificate, explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// As it stands in the text.
    pub label: &'static str,
    /// As it stands in the text.
    pub value: String,
    /// What that means.
    pub meaning: &'static str,
}

/// Every line except those of files, in the order of the text.
pub fn fields(facts: &CertificateFacts) -> Vec<Field> {
    let field = |label, value: String, meaning| Field { label, value, meaning };
    vec![
        field("number", facts.number.to_string(), "certificates are numbered from 1 without gaps"),
        field(
            "previous",
            Hex(&facts.previous).to_string(),
            "SHA-256 of the certificate before it, so that none can be left out",
        ),
        field("issued at", facts.issued_at.to_string(), "when the erasure was complete"),
        field("recording", facts.recording.to_string(), "which recording was erased"),
        field(
            "conversation",
            unknown_as_dash(facts.conversation),
            "the conversation it belonged to",
        ),
        field("data key", unknown_as_dash(facts.data_key), "the one key that sealed its files"),
        field("job", facts.job.to_string(), "the erasure that it was part of"),
        field("chosen by", facts.selection.as_str().to_owned(), chosen_by(facts.selection)),
        field("reason", facts.reason.as_str().to_owned(), reason(facts.reason)),
        field("requested by", facts.requested_by.clone(), "the user who asked for the erasure"),
        field(
            "approved by",
            unknown_as_dash(facts.approved_by.as_ref()),
            "the second person who agreed, where one has to",
        ),
        field("planned at", facts.planned_at.to_string(), "when it was marked for erasure"),
        field(
            "nothing protected it at",
            facts.cleared_at.to_string(),
            "when no hold, tag or rule was found to protect it and its key was destroyed",
        ),
        field("key", facts.key.as_str().to_owned(), key(facts.key)),
        field("key version", unknown_as_dash(facts.key_version), key_version(facts.key_version)),
        field(
            "sealed to",
            unknown_as_dash(facts.sealed_to.as_ref()),
            "the public key to which the data key was sealed, if it was",
        ),
        field("history", history_word(&facts.history).to_owned(), history(&facts.history)),
        field("metadata", facts.metadata.as_str().to_owned(), metadata(facts.metadata)),
        field(
            "known backups with the key",
            facts.backups.to_string(),
            "backups that hold the wrapped key and are not known to be gone",
        ),
        field(
            "below the block device",
            "not attested".to_owned(),
            "what the device keeps inside itself, no program on the host can see",
        ),
        field("program", facts.program.clone(), "what erased it"),
        field("host", facts.host.clone(), "on which system"),
    ]
}

/// What a file was, in words.
pub(super) fn kind_of(file: &CertifiedFile) -> &'static str {
    match file.kind {
        DoomedKind::Sealed(kind) => kind.as_str(),
        DoomedKind::Original => "original, in clear",
        DoomedKind::Leftover => "working file of the recorder, in clear",
    }
}

fn chosen_by(selection: SelectedBy) -> &'static str {
    match selection {
        SelectedBy::Recording => "it was named by its id",
        SelectedBy::Conversation => "its conversation was named",
        SelectedBy::Person => "a person was named whom it was about",
        SelectedBy::Query => "a query chose it",
        SelectedBy::Due => "rules of retention chose it",
        SelectedBy::Files => "it was on a list of files",
        SelectedBy::Anonymization => "its conversation was anonymized",
        SelectedBy::Redaction => "a redacted recording took its place",
        SelectedBy::Tombstone => "it had been erased before and came back",
    }
}

fn reason(reason: ErasureReason) -> &'static str {
    match reason {
        ErasureReason::Request => "a person asked for the erasure of their data",
        ErasureReason::Retention => "its time of retention was over",
        ErasureReason::Anonymization => "its conversation was anonymized",
        ErasureReason::Redaction => "a redacted recording took its place",
        ErasureReason::Decision => "the operator decided so",
        ErasureReason::ErasedBefore => "it had been erased before and came back",
    }
}

fn key(fate: KeyFate) -> &'static str {
    match fate {
        KeyFate::DestroyedVerified => {
            "its wrapped form was removed, looked for in the catalog's files and not found"
        }
        KeyFate::DestroyedMediumUnattested => {
            "the same, on a medium that may keep old blocks where no program can look"
        }
        KeyFate::DestroyedNotLookedFor => "its wrapped form was removed, and not looked for",
        KeyFate::NonePlaintext => "there was none: the recording never was sealed",
    }
}

fn key_version(version: Option<u32>) -> &'static str {
    match version {
        None => "no key of this host ever wrapped its data key",
        Some(0) => "its data key was sealed to a public key and not wrapped by this host",
        Some(_) => "the newest version of this host's key that may have wrapped its data key",
    }
}

pub(super) fn history_word(history: &History) -> &'static str {
    match history {
        History::NeverInClear => "never_in_clear",
        History::WasInClear { .. } => "was_in_clear",
    }
}

fn history(history: &History) -> &'static str {
    match history {
        History::NeverInClear => "this host never had it on disk in clear",
        History::WasInClear { original: Some(_) } => {
            "its recorder wrote it in clear; what was seen of the end of that file follows"
        }
        History::WasInClear { original: None } => {
            "its recorder wrote it in clear; that file is among those below, or its end is unknown"
        }
    }
}

fn metadata(fate: MetadataFate) -> &'static str {
    match fate {
        MetadataFate::RowsOverwrittenAndLogScrubbed => {
            "its names were overwritten in the catalog and in the catalog's log"
        }
        MetadataFate::RowsOverwritten => {
            "its names were overwritten in the catalog; the log may hold them for a while"
        }
        MetadataFate::Pending => "its names were not yet overwritten when this was issued",
    }
}
