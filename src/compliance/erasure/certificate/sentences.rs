//! The sentences of a certificate: a table from what was observed to what may be said of it.
//!
//! Nothing here knows more than the facts. Where a file system or a device may keep a copy, the
//! sentence says so; where the copy would be ciphertext without a key, it says that too.

use crate::domain::doomed::{DoomedKind, FileEvidence, JournalFate};
use crate::domain::{DestructionEvidence, Overwrite};

use super::{CertificateFacts, CertifiedFile, History, KeyFate, MetadataFate};

/// What can be stood behind, one sentence a piece, none of them with a line break.
pub fn sentences(facts: &CertificateFacts) -> Vec<String> {
    let mut says = vec![key(facts.key).to_owned()];
    says.extend(reach_of_backups(facts));
    says.extend(files(&facts.files));
    says.extend(history(facts));
    says.push(metadata(facts.metadata).to_owned());
    says
}

fn key(fate: KeyFate) -> &'static str {
    match fate {
        KeyFate::DestroyedVerified => {
            "The data key was destroyed: its wrapped form was removed from the catalog, looked \
             for in the files of the catalog and not found."
        }
        KeyFate::DestroyedMediumUnattested => {
            "The data key was destroyed: its wrapped form was removed from the catalog, looked \
             for in the files of the catalog and not found. Whether the medium below keeps older \
             copies of their blocks is not attested."
        }
        KeyFate::DestroyedNotLookedFor => {
            "The data key was destroyed: its wrapped form was removed from the catalog. The files \
             of the catalog were not searched for what is left of it."
        }
        KeyFate::NonePlaintext => {
            "There was no data key: this recording never was sealed, so overwriting its file is \
             all that was done."
        }
    }
}

fn reach_of_backups(facts: &CertificateFacts) -> Vec<String> {
    let mut says = Vec::new();
    match (facts.key_version, &facts.sealed_to) {
        (None, _) => {}
        (Some(0), sealed_to) => says.push(format!(
            "The data key was sealed to the public key {}: whoever has the private key and an \
             older copy of both the catalog and the sealed file can open that copy. This host \
             cannot change that.",
            sealed_to.as_deref().unwrap_or("of another party"),
        )),
        (Some(version), _) => says.push(format!(
            "This certificate is not final by itself: an older copy of the catalog and of the \
             sealed file can be opened with the key versions up to {version}, as long as this \
             host or a backup has them. A statement of finality says when that is over.",
        )),
    }
    match facts.backups {
        _ if facts.key_version.is_none() => {}
        0 => says.push("No backup that holds the wrapped key is known.".to_owned()),
        1 => says.push("One known backup holds the wrapped key.".to_owned()),
        many => says.push(format!("{many} known backups hold the wrapped key.")),
    }
    says
}

/// One sentence for each way in which files ended, with how many it were.
fn files(files: &[CertifiedFile]) -> Vec<String> {
    let mut groups: Vec<(bool, String, u64)> = Vec::new();
    for file in files {
        let is_plain = file.kind.is_plaintext();
        let end = match &file.evidence {
            Some(evidence) => end_of(file, evidence, is_plain),
            None => "not there any more; how it ended is not known".to_owned(),
        };
        match groups.iter_mut().find(|(plain, known, _)| *plain == is_plain && *known == end) {
            Some((_, _, count)) => *count += 1,
            None => groups.push((is_plain, end, 1)),
        }
    }
    let sentence = |(is_plain, end, count): (bool, String, u64)| {
        let what = if is_plain { "plaintext" } else { "sealed" };
        match count {
            1 => format!("1 {what} file was {end}."),
            many => format!("{many} {what} files were {end}."),
        }
    };
    groups.into_iter().map(sentence).collect()
}

fn end_of(file: &CertifiedFile, evidence: &FileEvidence, is_plain: bool) -> String {
    let is_short = evidence.destruction.overwritten_bytes < file.bytes;
    let part = if is_short { "only in part " } else { "" };
    let mut end = overwrite(&evidence.destruction, part, is_plain);
    end.push_str(match evidence.journal {
        JournalFate::FlushedZeroed => "; the journal was written out and overwritten with zeros",
        JournalFate::FlushedDiscarded => "; the journal was written out and discarded",
        JournalFate::NotApplicable => "",
        JournalFate::NotFlushed => "; the journal may hold its name, and none of its content",
        JournalFate::CopyPossible => "; the journal may hold some of its content for a while",
    });
    end.push_str(below(&evidence.destruction));
    end
}

/// What the overwrite was worth, fit for "was …". `part` goes before "overwritten".
fn overwrite(evidence: &DestructionEvidence, part: &str, is_plain: bool) -> String {
    let left = match is_plain {
        true => "older copies may hold it in clear until their blocks are used again",
        false => "older copies are ciphertext without a key",
    };
    let is_in_memory = evidence.media == MEMORY;
    match evidence.overwrite {
        Overwrite::InPlaceVerified => {
            "overwritten once with random bytes in the same blocks, and all of it was \
             read back from the device"
                .to_owned()
        }
        Overwrite::InPlaceUnverified if is_in_memory => {
            "overwritten once with random bytes in memory; whether it was ever \
             swapped out is not known"
                .to_owned()
        }
        Overwrite::InPlaceUnverified => {
            "overwritten once with random bytes in the same blocks; it was read back from \
             the page cache only, which does not show what reached the device"
                .to_owned()
        }
        Overwrite::JournalCopyPossible => {
            "overwritten once with random bytes in the same blocks, on a file system that \
             writes content to its journal, too"
                .to_owned()
        }
        Overwrite::NotGuaranteedCow => format!(
            "{part}overwritten through a file system that keeps old blocks (copy-on-write), or \
             that moved it meanwhile; {left}"
        ),
        Overwrite::NotGuaranteedShared => format!(
            "{part}overwritten, but its blocks were shared with a clone or snapshot, which keeps \
             them; {left}"
        ),
        Overwrite::NotGuaranteedInlineOrCompressed => format!(
            "{part}overwritten, but its content lay compressed or inside metadata, where an \
             overwrite goes elsewhere; {left}"
        ),
        Overwrite::NotGuaranteedRemote => format!(
            "{part}overwritten through a server, which alone decides where that goes; {left}"
        ),
        Overwrite::NotGuaranteedUnknownFs => format!(
            "{part}overwritten through a file system of which it is not known where that goes; \
             {left}"
        ),
        Overwrite::Skipped => format!("removed without being overwritten; {left}"),
    }
}

fn below(evidence: &DestructionEvidence) -> &'static str {
    match evidence.media.as_str() {
        "rotational" => "; sectors that the disk had replaced before are not attested",
        "flash" => "; what flash keeps in cells that no program can reach is not attested",
        "virtual" => "; what lies below the virtual disk is not attested",
        "network" => "; what lies behind the network is not attested",
        MEMORY => "",
        _ => "; what kind of device lies below is not known",
    }
}

fn history(facts: &CertificateFacts) -> Vec<String> {
    let is_here = facts.files.iter().any(|file| file.kind == DoomedKind::Original);
    let was_in_clear = match &facts.history {
        History::NeverInClear => {
            return vec!["This host never had it on disk in clear.".to_owned()];
        }
        History::WasInClear { original: Some(evidence) } => format!(
            "Its recorder wrote it in clear; that file was {}{}.",
            overwrite(evidence, "", true),
            below(evidence),
        ),
        History::WasInClear { original: None } if is_here => {
            "It lay on disk in clear until it was erased.".to_owned()
        }
        History::WasInClear { original: None } => {
            "Its recorder wrote it in clear; what became of that file is not known.".to_owned()
        }
    };
    let others = "Copies in clear that its recorder or others made elsewhere are not known to \
                  this program.";
    vec![was_in_clear, others.to_owned()]
}

fn metadata(fate: MetadataFate) -> &'static str {
    match fate {
        MetadataFate::RowsOverwrittenAndLogScrubbed => {
            "What the catalog told about it was overwritten in the database and in its log."
        }
        MetadataFate::RowsOverwritten => {
            "What the catalog told about it was overwritten in the database; its log may hold it \
             for a while."
        }
        MetadataFate::Pending => {
            "What the catalog tells about it was not yet overwritten when this was issued."
        }
    }
}

const MEMORY: &str = "memory";
